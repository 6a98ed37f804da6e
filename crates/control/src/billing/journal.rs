//! The delivery journal: which answers' ends were handed to the kernel.
//!
//! It is a file of slots, mapped into memory. A slot holds the header that `sendmmsg(2)` is called with, so the kernel
//! itself writes into the file how many bytes it took, within the system call that takes them: a process that is
//! killed at any moment has either not sent the end, or has noted it. A slot survives the process, not the machine:
//! after a loss of power an answer whose slot was not written back is void, so the error is on the customer's side.
//!
//! **Invariant:** a slot says "handed over" from the moment at which the socket took the last byte until its record
//! is posted, and at no other time.
#![expect(unsafe_code, reason = "sendmmsg writes into memory that a file backs; each block says why that is sound")]

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use freehold_domain::{Timestamp, UsageId};
use memmap2::MmapRaw;
use nix::libc;
use uuid::Uuid;

use super::BillingError;

/// The number is that of the layout.
const FILE: &str = "deliveries.1";
/// As many answers can be between their record and their posting.
const SLOTS: u32 = 16384;
const SLOT_LEN: usize = size_of::<Slot>();

/// What lies in the file, once for each answer that is being handed over.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Slot {
    /// What the kernel reads, and where it writes how much it took.
    message: libc::mmsghdr,
    id: [u8; 16],
    at_ms: i64,
    /// Bytes that are still to be taken; 0: nothing is handed over here.
    wanted: u32,
}

#[derive(Debug)]
pub(super) struct Journal {
    map: MmapRaw,
    free: Mutex<Vec<u32>>,
}

/// A slot of one answer. Dropping it empties the slot, unless it says "handed over": only [`Mark::posted`] ends that.
#[derive(Debug)]
pub(super) struct Mark {
    journal: Arc<Journal>,
    index: u32,
}

impl Journal {
    /// Opens the file of a data directory and reads what is in it.
    pub fn open(dir: &Path) -> Result<(Self, HashMap<UsageId, Timestamp>), BillingError> {
        let path = dir.join(FILE);
        let io = |error| BillingError::Io { path: path.clone(), error };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io)?;
        let len = u64::from(SLOTS) * SLOT_LEN as u64;
        match file.metadata().map_err(io)?.len() {
            // What is written through the map later must have its place on the disk now.
            0 => nix::fcntl::posix_fallocate(&file, 0, len.cast_signed()).map_err(|errno| io(errno.into()))?,
            found if found == len => {}
            found => return Err(io(io::Error::new(io::ErrorKind::InvalidData, format!("is {found} bytes long instead of {len}")))),
        }
        let map = MmapRaw::map_raw(&file).map_err(io)?;
        let journal = Self { map, free: Mutex::new((0..SLOTS).rev().collect()) };
        let marks = (0..SLOTS).filter_map(|index| journal.read(index)).collect();
        Ok((journal, marks))
    }

    /// Empties every slot: all are settled.
    pub fn clear(&self) {
        (0..SLOTS).for_each(|index| self.empty(index));
    }

    /// A slot for a record; `None` when all are in use.
    pub fn mark(self: &Arc<Self>, id: UsageId, at: Timestamp) -> Option<Mark> {
        let index = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        let slot = self.slot(index);
        // SAFETY: `slot` lies in the map, is aligned, and no one else uses a slot that is not free.
        unsafe {
            (&raw mut (*slot).id).write_volatile(*id.to_uuid().as_bytes());
            (&raw mut (*slot).at_ms).write_volatile(at.unix_ms());
        }
        Some(Mark { journal: Arc::clone(self), index })
    }

    fn slot(&self, index: u32) -> *mut Slot {
        assert!(index < SLOTS, "a slot of the file");
        // SAFETY: the map is `SLOTS` slots long, and begins at a page, which is aligned for a slot.
        unsafe { self.map.as_mut_ptr().cast::<Slot>().add(index as usize) }
    }

    fn empty(&self, index: u32) {
        let slot = self.slot(index);
        // SAFETY: as in `mark`; at the start nobody has a slot. Without a wish nothing that was taken counts.
        unsafe {
            (&raw mut (*slot).wanted).write_volatile(0);
            (&raw mut (*slot).message.msg_len).write_volatile(0);
        }
    }

    fn read(&self, index: u32) -> Option<(UsageId, Timestamp)> {
        // SAFETY: the slot lies in the map, and every pattern of bits is a `Slot`.
        let slot = unsafe { self.slot(index).read_volatile() };
        let handed_over = slot.wanted > 0 && slot.message.msg_len == slot.wanted;
        handed_over.then(|| (UsageId::from_uuid(Uuid::from_bytes(slot.id)), Timestamp::from_unix_ms(slot.at_ms)))
    }
}

impl Mark {
    /// Gives the last bytes of the answer to a socket that does not block. How many it took: when all, the end is
    /// handed over.
    pub fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(i32::MAX as usize)];
        let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let slot = self.journal.slot(self.index);
        // SAFETY: only this mark uses the slot. The kernel reads `part` and `bytes`, which outlive the call, and writes
        // nothing but `msg_len`. That is emptied before `wanted` is set: what a call before took is never compared
        // with what this one is to take.
        let sent = unsafe {
            (&raw mut (*slot).message.msg_len).write_volatile(0);
            let mut header: libc::msghdr = std::mem::zeroed();
            (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
            (&raw mut (*slot).message.msg_hdr).write_volatile(header);
            (&raw mut (*slot).wanted).write_volatile(bytes.len() as u32);
            let sent = libc::sendmmsg(socket.as_raw_fd(), &raw mut (*slot).message, 1, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
            (&raw mut (*slot).message.msg_hdr).write_volatile(std::mem::zeroed());
            sent
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as above.
        Ok(unsafe { (&raw const (*slot).message.msg_len).read_volatile() } as usize)
    }

    /// The record is posted.
    pub fn posted(self) {
        self.journal.empty(self.index);
    }

    /// The end was handed over, in another way if the slot does not say so.
    pub fn note(&self) {
        if self.journal.read(self.index).is_some() {
            return;
        }
        let slot = self.journal.slot(self.index);
        // SAFETY: only this mark uses the slot.
        unsafe {
            (&raw mut (*slot).message.msg_len).write_volatile(1);
            (&raw mut (*slot).wanted).write_volatile(1);
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if self.journal.read(self.index).is_some() {
            // The service ends before its record is posted: the next one reads this.
            return;
        }
        self.journal.empty(self.index);
        self.journal.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn id(n: u128) -> UsageId {
        UsageId::from_uuid(Uuid::from_u128(n))
    }

    fn open(dir: &Path) -> (Arc<Journal>, HashMap<UsageId, Timestamp>) {
        let (journal, marks) = Journal::open(dir).expect("opens");
        (Arc::new(journal), marks)
    }

    #[test]
    fn the_last_byte_makes_the_mark() {
        let dir = tempfile::tempdir().expect("a folder");
        let (journal, marks) = open(dir.path());
        assert!(marks.is_empty());
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let sent = journal.mark(id(1), Timestamp::from_unix_ms(10)).expect("a slot");
        assert_eq!(sent.send(near.as_fd(), b"the end").expect("sent"), 7);
        let noted = journal.mark(id(2), Timestamp::from_unix_ms(20)).expect("a slot");
        noted.note();
        let posted = journal.mark(id(3), Timestamp::from_unix_ms(30)).expect("a slot");
        posted.send(near.as_fd(), b"!").expect("sent");
        posted.posted();
        drop(noted);
        let _waits = journal.mark(id(4), Timestamp::from_unix_ms(40)).expect("a slot");
        let mut got = [0; 8];
        far.read_exact(&mut got).expect("bytes");
        assert_eq!(&got, b"the end!");
        // The process ends here: its map is in the file.
        let (after, marks) = open(dir.path());
        assert_eq!(marks, HashMap::from([(id(1), Timestamp::from_unix_ms(10)), (id(2), Timestamp::from_unix_ms(20))]));
        after.clear();
        assert!(open(dir.path()).1.is_empty());
    }

    #[test]
    fn a_part_is_not_the_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let (journal, _) = open(dir.path());
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let bytes = vec![7; 8 << 20];
        let mark = journal.mark(id(1), Timestamp::from_unix_ms(10)).expect("a slot");
        let mut sent = mark.send(near.as_fd(), &bytes).expect("a part");
        assert!(sent < bytes.len(), "the socket's buffer is smaller");
        assert!(open(dir.path()).1.is_empty());
        let full = mark.send(near.as_fd(), &bytes[sent..]).expect_err("full");
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            far.read_to_end(&mut all).map(|_| all.len())
        });
        while sent < bytes.len() {
            assert!(open(dir.path()).1.is_empty());
            match mark.send(near.as_fd(), &bytes[sent..]) {
                Ok(more) => sent += more,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert_eq!(open(dir.path()).1.len(), 1);
        drop(near);
        assert_eq!(reader.join().expect("ends").expect("read"), bytes.len());
    }

    #[test]
    fn slots_are_used_again_and_none_is_lent_twice() {
        let dir = tempfile::tempdir().expect("a folder");
        let (journal, _) = open(dir.path());
        let marks: Vec<Mark> = (0..SLOTS).map(|n| journal.mark(id(n.into()), Timestamp::from_unix_ms(0)).expect("a slot")).collect();
        assert!(journal.mark(id(0), Timestamp::from_unix_ms(0)).is_none());
        drop(marks);
        assert!(journal.mark(id(0), Timestamp::from_unix_ms(0)).is_some());
    }

    #[test]
    fn a_file_that_is_no_journal_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join(FILE), b"something else").expect("written");
        let error = Journal::open(dir.path()).expect_err("refused");
        assert!(error.to_string().contains("14 bytes long"), "{error}");
    }
}
