//! Reading a stream of events, whatever its dialect: the order of its end.
//!
//! **Invariant:** exactly one last event is given out, `Usage` or `Error`, and nothing after it.

use freehold_domain::{Error, ErrorCode};

use crate::canonical::ChatEvent;
use crate::sse;

/// Whether more events can follow.
pub(crate) enum Next {
    /// They can.
    More,
    /// The account was given out.
    Done,
}

/// Cuts a stream into frames and watches over its end.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    sse: sse::Decoder,
    frames: Vec<sse::Frame>,
    done: bool,
}

impl Reader {
    /// The last event was given out.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Reads a piece; `read` turns each frame into events.
    pub(crate) fn push<F>(&mut self, piece: &[u8], events: &mut Vec<ChatEvent>, mut read: F)
    where
        F: FnMut(&sse::Frame, &mut Vec<ChatEvent>) -> Result<Next, Error>,
    {
        if self.done {
            return;
        }
        let mut frames = std::mem::take(&mut self.frames);
        let framing = self.sse.push(piece, &mut frames);
        for frame in frames.drain(..) {
            if self.done {
                break;
            }
            match read(&frame, events) {
                Ok(Next::More) => {}
                Ok(Next::Done) => self.done = true,
                Err(fault) => self.fail(fault, events),
            }
        }
        self.frames = frames;
        if let Err(fault) = framing {
            self.fail(Error::internal(fault), events);
        }
    }

    /// The stream has ended; too early, if its last event was not there yet.
    pub(crate) fn finish(&mut self, events: &mut Vec<ChatEvent>) {
        let message = "The model's worker stopped before the answer was complete. Try again.";
        self.fail(Error::new(ErrorCode::WorkerLost, message), events);
    }

    fn fail(&mut self, fault: Error, events: &mut Vec<ChatEvent>) {
        if !self.done {
            self.done = true;
            events.push(ChatEvent::Error(fault));
        }
    }
}
