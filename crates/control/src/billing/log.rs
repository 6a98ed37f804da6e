//! The usage log: where a record is on the disk before the end of its answer goes out.
//!
//! Files of one size, written over and over. What is written has its place on the disk beforehand, so that bringing it
//! there is one flush, and the database takes its time. Each frame carries the number of the turn in which its file is
//! in use: what an earlier turn left behind in the file is not of this one. A frame is
//! `length u32, crc32 u32, turn u64, kind u8, record` (little-endian; the checksum is of what stands after it), and a
//! frame that does not fit ends its file.
//!
//! Durable is what [`UsageLog::append`] has returned for, if it was asked to flush. A file gets its next turn when
//! everything in it is on the disk in the database, and loses its first frame before that; a new process makes new files.
//!
//! **Invariant:** what is in the log and not in the database is read again at the next start; nothing else is.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use freehold_ledger::UsageRecord;
use freehold_store::LoggedUsage;

use super::BillingError;

/// The number is that of the layout.
const PREFIX: &str = "usage-log.1.";
/// Bytes of a file.
const FILE_LEN: usize = 4 << 20;
/// Files that are there from the start.
const FILES_MIN: u32 = 2;
/// Most files. When all are full, the database has not taken usage for long, and no more is accepted.
const FILES_MAX: u32 = 64;
/// Bytes of a frame before its record.
const HEAD_LEN: usize = 17;
/// Bytes of a frame's head that the checksum does not cover.
const UNCHECKED: usize = 8;

/// Whether a record waits for the end of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// It does.
    Pending = 1,
    /// It is to be posted.
    Final = 2,
}

impl Kind {
    fn read(byte: u8) -> Option<Self> {
        [Self::Pending, Self::Final].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A file of the log during one turn.
#[derive(Debug)]
pub(super) struct Segment {
    file: Arc<File>,
    turn: u64,
    len: usize,
}

impl Segment {
    /// The number that its frames carry.
    pub fn turn(&self) -> u64 {
        self.turn
    }
}

/// Files that have no turn.
#[derive(Debug)]
pub(super) struct Spare {
    dir: PathBuf,
    state: Mutex<SpareState>,
}

#[derive(Debug)]
struct SpareState {
    files: Vec<Arc<File>>,
    made: u32,
    turn: u64,
}

impl Spare {
    fn state(&self) -> MutexGuard<'_, SpareState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file for the next turn.
    fn take(&self) -> io::Result<Segment> {
        let mut state = self.state();
        let file = match state.files.pop() {
            Some(file) => file,
            None if state.made >= FILES_MAX => {
                return Err(io::Error::other("the usage log is full: the database does not take usage, or the disk takes no records"));
            }
            None => {
                let file = Arc::new(make(&path(&self.dir, state.made))?);
                File::open(&self.dir)?.sync_all()?;
                state.made += 1;
                file
            }
        };
        state.turn += 1;
        Ok(Segment { file, turn: state.turn, len: 0 })
    }

    /// Everything in the file is on the disk in the database.
    pub fn give_back(&self, segment: Segment) -> io::Result<()> {
        segment.file.write_all_at(&[0; HEAD_LEN], 0)?;
        segment.file.sync_data()?;
        self.state().files.push(segment.file);
        Ok(())
    }
}

fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{PREFIX}{number}"))
}

fn make(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // Zeros that are written, not a hole: a write into a hole changes the file system.
    file.write_all_at(&vec![0; FILE_LEN], 0)?;
    file.sync_all()?;
    Ok(file)
}

/// Appends records. The thread that writes usage has it.
#[derive(Debug)]
pub(super) struct UsageLog {
    spare: Arc<Spare>,
    current: Option<Segment>,
    buffer: Vec<u8>,
}

/// What an append did.
#[derive(Debug, Default)]
pub(super) struct Appended {
    /// The turn of each record.
    pub turns: Vec<u64>,
    /// Files that are full.
    pub full: Vec<Segment>,
}

impl UsageLog {
    /// Opens the log of a data directory. Whatever is in it is shown to `recover`, file by file, and is gone afterwards.
    pub fn open(dir: &Path, mut recover: impl FnMut(Vec<LoggedUsage>) -> Result<(), BillingError>) -> Result<Self, BillingError> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |error| BillingError::Io { path, error }
        };
        let found = files(dir).map_err(fail(dir))?;
        for path in &found {
            let logged = std::fs::read(path).and_then(|bytes| read(&bytes)).map_err(fail(path))?;
            if !logged.is_empty() {
                recover(logged)?;
            }
        }
        // The files are made anew: nothing of an earlier process lies in them, and turns are counted from the beginning.
        for path in &found {
            std::fs::remove_file(path).map_err(fail(path))?;
        }
        let made = |number| {
            let path = path(dir, number);
            make(&path).map(Arc::new).map_err(fail(&path))
        };
        let files = (0..FILES_MIN).map(made).collect::<Result<Vec<_>, _>>()?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail(dir))?;
        let state = Mutex::new(SpareState { files, made: FILES_MIN, turn: 0 });
        Ok(Self { spare: Arc::new(Spare { dir: dir.to_owned(), state }), current: None, buffer: Vec::new() })
    }

    /// Where files go when they are done with.
    pub fn spare(&self) -> Arc<Spare> {
        Arc::clone(&self.spare)
    }

    /// Appends records in their JSON form; flushes them if that is asked for.
    ///
    /// # Errors
    /// The disk's, with the files that are then done with. None of the records counts as appended.
    pub fn append<'a>(
        &mut self,
        records: impl Iterator<Item = (Kind, &'a str)>,
        flush: bool,
    ) -> Result<Appended, (io::Error, Vec<Segment>)> {
        let mut done = Appended::default();
        match self.append_to(&mut done, records, flush) {
            Ok(()) => Ok(done),
            Err(error) => {
                self.buffer.clear();
                done.full.extend(self.current.take());
                Err((error, done.full))
            }
        }
    }

    fn append_to<'a>(&mut self, done: &mut Appended, records: impl Iterator<Item = (Kind, &'a str)>, flush: bool) -> io::Result<()> {
        for (kind, record) in records {
            let len = HEAD_LEN + record.len();
            if len > FILE_LEN {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("a record of {} bytes", record.len())));
            }
            if self.current.as_ref().is_some_and(|segment| segment.len + self.buffer.len() + len > FILE_LEN) {
                self.write_out(flush)?;
                done.full.extend(self.current.take());
            }
            let turn = match &self.current {
                Some(segment) => segment.turn,
                None => self.current.insert(self.spare.take()?).turn,
            };
            frame(&mut self.buffer, turn, kind, record);
            done.turns.push(turn);
        }
        self.write_out(flush)
    }

    fn write_out(&mut self, flush: bool) -> io::Result<()> {
        let Some(segment) = self.current.as_mut().filter(|_| !self.buffer.is_empty()) else { return Ok(()) };
        segment.file.write_all_at(&self.buffer, segment.len as u64)?;
        if flush {
            segment.file.sync_data()?;
        }
        segment.len += self.buffer.len();
        self.buffer.clear();
        Ok(())
    }

    /// Ends the turn of the file in use, if anything is in it.
    pub fn end_turn(&mut self) -> Option<Segment> {
        self.current.take()
    }
}

fn frame(buffer: &mut Vec<u8>, turn: u64, kind: Kind, record: &str) {
    let start = buffer.len();
    buffer.extend_from_slice(&(record.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&turn.to_le_bytes());
    buffer.push(kind as u8);
    buffer.extend_from_slice(record.as_bytes());
    let checksum = crc32fast::hash(&buffer[start + UNCHECKED..]);
    buffer[start + 4..start + UNCHECKED].copy_from_slice(&checksum.to_le_bytes());
}

/// The files of the log, in the order of their numbers.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(number) = name.strip_prefix(PREFIX).and_then(|number| number.parse::<u32>().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// What was written in a file in its last turn.
fn read(mut bytes: &[u8]) -> io::Result<Vec<LoggedUsage>> {
    let (mut of, mut logged) = (0, Vec::new());
    while let Some((turn, kind, record, rest)) = read_frame(bytes) {
        if of != 0 && turn != of {
            break;
        }
        (of, bytes) = (turn, rest);
        let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, format!("a usage record: {error}"));
        let value = serde_json::from_slice(record).map_err(|error| invalid(error.to_string()))?;
        logged.push(LoggedUsage { record: UsageRecord::from_json(value).map_err(invalid)?, is_final: kind == Kind::Final });
    }
    Ok(logged)
}

fn read_frame(bytes: &[u8]) -> Option<(u64, Kind, &[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (checksum, checked) = rest.split_first_chunk()?;
    let len = (u32::from_le_bytes(*len) as usize).checked_add(HEAD_LEN - UNCHECKED)?;
    let (checked, rest) = checked.split_at_checked(len)?;
    if crc32fast::hash(checked) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (turn, checked) = checked.split_first_chunk()?;
    let (kind, record) = checked.split_first()?;
    let turn = u64::from_le_bytes(*turn);
    (turn != 0).then_some((turn, Kind::read(*kind)?, record, rest))
}

#[cfg(test)]
mod tests {
    use freehold_domain::{Currency, PriceListId, TenantId, Timestamp, UsageId};
    use freehold_ledger::UsageOutcome;
    use freehold_ledger::usage::{Quantities, Subject, Usage};
    use uuid::Uuid;

    use super::*;

    fn record(n: u128) -> UsageRecord {
        let usage = Usage {
            id: UsageId::from_uuid(Uuid::from_u128(n)),
            tenant: TenantId::from_uuid(Uuid::from_u128(1)),
            key: None,
            request: None,
            subject: Subject::Model { model: "m".repeat(300) },
            provider: "own".to_owned(),
            started: Timestamp::from_unix_ms(0),
            ended: Timestamp::from_unix_ms(1),
            outcome: UsageOutcome::Complete,
            served: Quantities::tokens(1, 2, 3),
            provider_reported: None,
        };
        UsageRecord::free(usage, PriceListId::from_uuid(Uuid::nil()), 0, Currency::EUR)
    }

    fn open(dir: &Path) -> (UsageLog, Vec<LoggedUsage>) {
        let mut found = Vec::new();
        let log = UsageLog::open(dir, |logged| {
            found.extend(logged);
            Ok(())
        });
        (log.expect("opens"), found)
    }

    fn append(log: &mut UsageLog, records: &[(Kind, UsageRecord)]) -> Appended {
        let texts: Vec<_> = records.iter().map(|(kind, record)| (*kind, record.to_json_text())).collect();
        log.append(texts.iter().map(|(kind, text)| (*kind, text.as_str())), true).expect("appended")
    }

    #[test]
    fn what_was_appended_is_found_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut log, found) = open(dir.path());
        assert!(found.is_empty());
        append(&mut log, &[(Kind::Pending, record(1)), (Kind::Final, record(2))]);
        append(&mut log, &[(Kind::Pending, record(3))]);
        drop(log);
        let (_, found) = open(dir.path());
        let found: Vec<_> = found.into_iter().map(|one| (one.record, one.is_final)).collect();
        assert_eq!(found, [(record(1), false), (record(2), true), (record(3), false)]);
        assert!(open(dir.path()).1.is_empty());
    }

    #[test]
    fn a_file_of_an_earlier_turn_says_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut log, _) = open(dir.path());
        append(&mut log, &[(Kind::Final, record(1)), (Kind::Final, record(2)), (Kind::Final, record(3))]);
        let ended = log.end_turn().expect("a file");
        log.spare().give_back(ended).expect("given back");
        // It is the one that was given back last.
        append(&mut log, &[(Kind::Final, record(4))]);
        drop(log);
        let (mut log, found) = open(dir.path());
        assert_eq!(found.into_iter().map(|one| one.record).collect::<Vec<_>>(), [record(4)]);
        // Nor after a start: what lay behind the first frame is not there any more.
        append(&mut log, &[(Kind::Final, record(5))]);
        drop(log);
        assert_eq!(open(dir.path()).1.into_iter().map(|one| one.record).collect::<Vec<_>>(), [record(5)]);
    }

    #[test]
    fn files_fill_up_and_are_used_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut log, _) = open(dir.path());
        let spare = log.spare();
        let (mut turns, mut written) = (Vec::new(), 0);
        for round in 0..30 {
            let records: Vec<_> = (0..1000).map(|n| (Kind::Final, record(round * 1000 + n + 1))).collect();
            let done = append(&mut log, &records);
            assert_eq!(done.turns.len(), records.len());
            written += done.turns.len();
            turns.extend(done.turns);
            done.full.into_iter().for_each(|full| spare.give_back(full).expect("given back"));
        }
        assert!(turns.is_sorted() && turns.last() > Some(&3), "{:?}", turns.last());
        assert_eq!(files(dir.path()).expect("a list").len(), FILES_MIN as usize);
        let last = turns.last().expect("a turn");
        let of_the_last = turns.iter().filter(|turn| *turn == last).count();
        drop(log);
        let (_, found) = open(dir.path());
        assert_eq!(found.len(), of_the_last);
        assert_eq!(found.last().map(|one| one.record.id), Some(record(written as u128).id));
    }

    #[test]
    fn a_log_that_nobody_empties_is_full_at_some_time() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut log, _) = open(dir.path());
        let large = UsageRecord { provider: "p".repeat(FILE_LEN - 4096), ..record(1) }.to_json_text();
        let mut full = Vec::new();
        for _ in 0..FILES_MAX {
            full.extend(log.append([(Kind::Final, large.as_str())].into_iter(), false).expect("appended").full);
        }
        let (_, more) = log.append([(Kind::Final, large.as_str())].into_iter(), false).expect_err("full");
        assert_eq!(more.len(), 1);
        log.spare().give_back(full.remove(0)).expect("given back");
        assert!(log.append([(Kind::Final, large.as_str())].into_iter(), false).is_ok());
        let larger = "x".repeat(FILE_LEN);
        assert!(log.append([(Kind::Final, larger.as_str())].into_iter(), false).is_err());
    }

    #[test]
    fn a_write_that_was_torn_ends_its_file_and_no_bytes_panic() {
        let mut bytes = Vec::new();
        for n in 1..=3 {
            frame(&mut bytes, 7, Kind::Pending, &record(n).to_json_text());
        }
        assert_eq!(read(&bytes).expect("reads").len(), 3);
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).expect("reads").len() < 3);
        }
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 0x55;
            assert!(read(&torn).expect("reads").len() < 3, "{at}");
        }
        let mut other = bytes.clone();
        frame(&mut other, 6, Kind::Final, &record(9).to_json_text());
        assert_eq!(read(&other).expect("reads").len(), 3);
        frame(&mut bytes, 7, Kind::Final, "{}");
        assert!(read(&bytes).is_err(), "a whole frame with another program's record");
        assert_eq!(read(&[0; 64]).expect("reads"), []);
        assert_eq!(read(&[0xff; 64]).expect("reads"), []);
    }
}
