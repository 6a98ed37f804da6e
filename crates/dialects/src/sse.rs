//! Server-sent events, read piece by piece.
//!
//! Knows the framing only (WHATWG HTML, section 9.2, "Server-sent events"), not what the data mean.
//!
//! **Invariant:** how a stream is cut into pieces makes no difference to the frames, and no more than one frame of
//! bounded size is held.

/// Most bytes of one frame's data, and of one line.
pub const FRAME_BYTES_MAX: usize = 8 << 20;

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Frame {
    /// The value of `event:`; empty if there was none.
    pub event: String,
    /// The values of `data:`, joined by line feeds.
    pub data: Vec<u8>,
}

/// A frame is over [`FRAME_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {FRAME_BYTES_MAX} bytes")]
pub struct FrameTooLong;

/// Turns the bytes of a stream into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    frame: Frame,
    has_data: bool,
    after_cr: bool,
    past_first_line: bool,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next piece and appends the frames that it completes.
    ///
    /// # Errors
    /// A frame that is too long. The decoder is of no more use then.
    pub fn push(&mut self, mut piece: &[u8], frames: &mut Vec<Frame>) -> Result<(), FrameTooLong> {
        if self.after_cr && !piece.is_empty() {
            self.after_cr = false;
            piece = piece.strip_prefix(b"\n").unwrap_or(piece);
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', piece) {
            self.extend_line(&piece[..end])?;
            self.end_line(frames)?;
            let carriage_return = piece[end] == b'\r';
            piece = &piece[end + 1..];
            if carriage_return {
                match piece.first() {
                    Some(b'\n') => piece = &piece[1..],
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
        }
        self.extend_line(piece)
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), FrameTooLong> {
        if self.line.len() + bytes.len() > FRAME_BYTES_MAX {
            return Err(FrameTooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, frames: &mut Vec<Frame>) -> Result<(), FrameTooLong> {
        let mut line = self.line.as_slice();
        if !self.past_first_line {
            self.past_first_line = true;
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            let frame = std::mem::take(&mut self.frame);
            if std::mem::take(&mut self.has_data) {
                frames.push(frame);
            }
        } else {
            let (name, value) = match line.iter().position(|&byte| byte == b':') {
                Some(colon) => (&line[..colon], &line[colon + 1..]),
                None => (line, &b""[..]),
            };
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match name {
                b"data" => {
                    if self.frame.data.len() + value.len() > FRAME_BYTES_MAX {
                        return Err(FrameTooLong);
                    }
                    if self.has_data {
                        self.frame.data.push(b'\n');
                    }
                    self.frame.data.extend_from_slice(value);
                    self.has_data = true;
                }
                b"event" => self.frame.event = String::from_utf8_lossy(value).into_owned(),
                _ => {}
            }
        }
        self.line.clear();
        Ok(())
    }
}
