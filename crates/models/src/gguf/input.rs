//! A reader that knows where it is and how much is left.
//!
//! **Invariant:** it never reads or skips past the end of the file or past [`HEADER_BYTES_MAX`], and allocates
//! only after it has checked that the file has that many bytes.

use std::io::{Read, Seek, SeekFrom};

use super::{GgufError, HEADER_BYTES_MAX};

pub(super) struct Input<R> {
    reader: R,
    at: u64,
    file_bytes: u64,
}

impl<R: Read + Seek> Input<R> {
    pub(super) fn new(mut reader: R) -> Result<Self, GgufError> {
        let file_bytes = reader
            .seek(SeekFrom::End(0))
            .and_then(|end| reader.seek(SeekFrom::Start(0)).map(|_| end))
            .map_err(|source| GgufError::Read { at: 0, source })?;
        Ok(Self { reader, at: 0, file_bytes })
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    pub(super) fn left(&self) -> u64 {
        self.file_bytes - self.at
    }

    /// Checks that `needed` more bytes may be read.
    pub(super) fn check(&self, needed: u64, what: &str) -> Result<(), GgufError> {
        if needed > self.left() {
            return Err(GgufError::Truncated { what: what.to_owned(), at: self.at, needed, file_bytes: self.file_bytes });
        }
        if self.at + needed > HEADER_BYTES_MAX {
            return Err(GgufError::OverLimit {
                what: format!("the length of the header, up to {what},"),
                got: self.at + needed,
                max: HEADER_BYTES_MAX,
                at: self.at,
            });
        }
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), GgufError> {
        self.reader.read_exact(bytes).map_err(|source| GgufError::Read { at: self.at, source })?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// At most `N` bytes from the start of the file, without moving; for telling what kind of file it is.
    pub(super) fn peek<const N: usize>(&mut self) -> Result<Vec<u8>, GgufError> {
        let fail = |source| GgufError::Read { at: 0, source };
        let mut start = Vec::with_capacity(N);
        self.reader.by_ref().take(N as u64).read_to_end(&mut start).map_err(fail)?;
        self.reader.seek(SeekFrom::Start(self.at)).map_err(fail)?;
        Ok(start)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufError> {
        self.check(N as u64, what)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// `length` bytes; the caller has bounded `length`.
    pub(super) fn bytes(&mut self, length: u64, what: &str) -> Result<Vec<u8>, GgufError> {
        self.check(length, what)?;
        let length = usize::try_from(length).map_err(|_| self.over(what, length, usize::MAX as u64))?;
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn skip(&mut self, length: u64, what: &str) -> Result<(), GgufError> {
        self.check(length, what)?;
        let step = i64::try_from(length).map_err(|_| self.over(what, length, i64::MAX as u64))?;
        self.reader.seek_relative(step).map_err(|source| GgufError::Read { at: self.at, source })?;
        self.at += length;
        Ok(())
    }

    /// A length-prefixed text that must be UTF-8 and at most `max` bytes long.
    pub(super) fn text(&mut self, max: u64, what: &str) -> Result<String, GgufError> {
        let at = self.at;
        let length = self.u64(what)?;
        if length > max {
            return Err(GgufError::OverLimit { what: format!("the length of {what}"), got: length, max, at });
        }
        String::from_utf8(self.bytes(length, what)?).map_err(|_| GgufError::Corrupt { what: format!("{what} is not UTF-8"), at })
    }

    pub(super) fn over(&self, what: &str, got: u64, max: u64) -> GgufError {
        GgufError::OverLimit { what: what.to_owned(), got, max, at: self.at }
    }

    pub(super) fn corrupt(&self, what: impl Into<String>) -> GgufError {
        GgufError::Corrupt { what: what.into(), at: self.at }
    }
}
