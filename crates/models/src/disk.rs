//! How much room a disk has.

use std::io;
use std::path::Path;

/// Bytes that an ordinary user may still write where `path` is, or would be: folders that do not exist yet count
/// as their nearest parent that does.
///
/// # Errors
/// The system does not say.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let absolute = std::path::absolute(path)?;
    let existing = absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let facts = nix::sys::statvfs::statvfs(existing)?;
    Ok(facts.blocks_available().saturating_mul(facts.fragment_size()))
}

/// A number of bytes for people: `98.4 MB`, `4.9 GB`.
pub fn human(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*size);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        assert_eq!(human(999), "999 bytes");
        assert_eq!(human(98_362_432), "98.3 MB");
        assert_eq!(human(4_920_739_232), "4.9 GB");
        assert_eq!(human(u64::MAX), "18446744.0 TB");
    }

    #[test]
    fn a_folder_to_be_has_the_room_of_its_parent() {
        let here = tempfile::tempdir().expect("a folder");
        assert!(free_bytes(&here.path().join("not/yet/there")).expect("an answer") > 0);
    }
}
