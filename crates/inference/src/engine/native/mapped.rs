//! Pages of mapped files that a process holds for nothing.
//!
//! llama.cpp maps a model's file and brings all of it into memory. Weights that it, or `tiles`, puts in another order for the
//! processor lie in memory of their own then, and nobody looks at their pages of the file again.
//!
//! **Invariant:** only pages that the system can read from their file again are given back.

use std::ffi::c_void;
use std::num::NonZero;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

/// Gives back the pages of all files that this process has mapped to read; what is looked at again is there again, most often
/// from the system's own cache of the file.
pub(crate) fn give_back() {
    let maps = match std::fs::read_to_string("/proc/self/maps") {
        Ok(maps) => maps,
        Err(error) => {
            tracing::debug!(%error, "the mapped file stays in memory, beside the weights that were made of it");
            return;
        }
    };
    for (start, length) in maps.lines().filter_map(read_only) {
        // SAFETY: the pages are those of a file, shared and not writable: what they show does not change.
        if let Err(error) = unsafe { madvise(start, length, MmapAdvise::MADV_DONTNEED) } {
            tracing::debug!(%error, "pages of a mapped file stay in memory");
        }
    }
}

/// Where a shared mapping of a file that is only read lies, and how long it is.
fn read_only(line: &str) -> Option<(NonNull<c_void>, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (rights, _offset, _device, inode) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if rights != "r--s" || inode == "0" {
        return None;
    }
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((NonNull::without_provenance(NonZero::new(start)?), end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_are_shared_and_read_are_given_back() {
        let found = |line| read_only(line).map(|(start, length)| (start.addr().get(), length));
        assert_eq!(found("7f0000000000-7f0000003000 r--s 00000000 08:01 1234   /models/a b.gguf"), Some((0x7f00_0000_0000, 0x3000)));
        for line in [
            "7f0000000000-7f0000003000 r--p 00000000 08:01 1234 /usr/bin/freehold",
            "7f0000000000-7f0000003000 rw-s 00000000 08:01 1234 /data/deliveries.1",
            "7f0000000000-7f0000003000 r-xp 00000000 08:01 1234 /usr/bin/freehold",
            "7f0000000000-7f0000003000 r--s 00000000 00:00 0 ",
            "7f0000003000-7f0000000000 r--s 00000000 08:01 1234 /x",
            "x-y r--s 00000000 08:01 1234 /x",
            "7f0000000000 r--s",
            "",
        ] {
            assert_eq!(found(line), None, "{line}");
        }
    }
}
