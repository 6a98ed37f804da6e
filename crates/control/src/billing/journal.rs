//! The delivery journal: which answers' ends were handed to the kernel.
//!
//! A mark is one small write to a file opened for appending, without a flush to the disk: it survives the process, not
//! the machine. After a loss of power an answer without a mark is void, so the error is on the customer's side.
//!
//! **Invariant:** the file is emptied only while every marked record is posted, and no mark can come in between.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use freehold_domain::{Timestamp, UsageId};
use uuid::Uuid;

use super::BillingError;

const FILE: &str = "delivered.journal";
/// 16 bytes of the record's id, 8 of the time in milliseconds.
const ENTRY_LEN: usize = 24;
/// The file is emptied once it is longer than this and nothing in it is needed.
const EMPTY_ABOVE: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    len: u64,
    /// Marked records that are not posted yet.
    open: u64,
}

impl Journal {
    /// Opens the file of a data directory and reads what is in it.
    pub fn open(dir: &Path) -> Result<(Self, HashMap<UsageId, Timestamp>), BillingError> {
        let path = dir.join(FILE);
        let io = |error| BillingError::Io { path: path.clone(), error };
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path).map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let marks = bytes.chunks_exact(ENTRY_LEN).filter_map(read).collect();
        let len = bytes.len() as u64;
        Ok((Self { path: path.clone(), file: Mutex::new(State { file, len, open: 0 }) }, marks))
    }

    /// Empties the file: everything in it is settled.
    pub fn clear(&self) -> Result<(), BillingError> {
        let mut state = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        state.empty().map_err(|error| BillingError::Io { path: self.path.clone(), error })
    }

    /// The end was handed over.
    pub fn mark(&self, id: UsageId, at: Timestamp) {
        let mut entry = [0; ENTRY_LEN];
        entry[..16].copy_from_slice(id.to_uuid().as_bytes());
        entry[16..].copy_from_slice(&at.unix_ms().to_le_bytes());
        let mut state = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        state.open += 1;
        match state.file.write_all(&entry) {
            Ok(()) => state.len += ENTRY_LEN as u64,
            // It is posted all the same, unless the process dies before that. What was written of it must go: the next
            // entry begins where this one did.
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "a delivery cannot be noted");
                if let Err(error) = state.file.set_len(state.len) {
                    tracing::error!(%error, path = %self.path.display(), "the delivery journal has a torn entry");
                }
            }
        }
    }

    /// So many marked records are posted.
    pub fn posted(&self, count: u64) {
        let mut state = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        state.open = state.open.saturating_sub(count);
        if state.open == 0
            && state.len > EMPTY_ABOVE
            && let Err(error) = state.empty()
        {
            tracing::warn!(%error, path = %self.path.display(), "the delivery journal cannot be emptied");
        }
    }
}

impl State {
    fn empty(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.len = 0;
        Ok(())
    }
}

fn read(entry: &[u8]) -> Option<(UsageId, Timestamp)> {
    let id = Uuid::from_slice(entry.get(..16)?).ok()?;
    let at = i64::from_le_bytes(entry.get(16..24)?.try_into().ok()?);
    Some((UsageId::from_uuid(id), Timestamp::from_unix_ms(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> UsageId {
        UsageId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn marks_are_found_again_and_a_torn_one_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let (journal, marks) = Journal::open(dir.path()).expect("opens");
        assert!(marks.is_empty());
        journal.mark(id(1), Timestamp::from_unix_ms(10));
        journal.mark(id(2), Timestamp::from_unix_ms(20));
        let path = dir.path().join(FILE);
        let mut bytes = std::fs::read(&path).expect("bytes");
        bytes.extend_from_slice(&[7; 11]);
        std::fs::write(&path, bytes).expect("written");
        let (journal, marks) = Journal::open(dir.path()).expect("opens");
        assert_eq!(marks, HashMap::from([(id(1), Timestamp::from_unix_ms(10)), (id(2), Timestamp::from_unix_ms(20))]));
        journal.clear().expect("empties");
        assert_eq!(std::fs::metadata(&path).expect("a file").len(), 0);
    }

    #[test]
    fn the_file_is_emptied_when_nothing_in_it_is_open() {
        let dir = tempfile::tempdir().expect("a folder");
        let (journal, _) = Journal::open(dir.path()).expect("opens");
        let count = EMPTY_ABOVE / ENTRY_LEN as u64 + 2;
        for n in 0..count {
            journal.mark(id(u128::from(n)), Timestamp::from_unix_ms(0));
        }
        journal.posted(count - 1);
        assert!(std::fs::metadata(dir.path().join(FILE)).expect("a file").len() > EMPTY_ABOVE);
        journal.posted(1);
        assert_eq!(std::fs::metadata(dir.path().join(FILE)).expect("a file").len(), 0);
    }
}
