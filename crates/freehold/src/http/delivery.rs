//! When the end of an answer is with the kernel.
//!
//! An answer's body leaves its receipt in an [`End`] when it gives out its last bytes. The connection takes it from
//! there: what hyper writes from then on is held until it flushes, since it flushes only after it has written all that
//! the body gave out. So the end of the answer goes out in the last of the system calls that empty what is held, and
//! that call notes in the delivery journal that it did ([`Receipt::hand_over`]).
//!
//! A client that does not read is not waited for: its connection ends, and the answer counts as one that nobody took.
//!
//! **Invariant:** a receipt is confirmed after the bytes that it is for were taken by the socket, and never otherwise.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use freehold_control::billing::Receipt;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long a client may read nothing, and how long it may take to read the end of an answer.
const STALL_MAX: Duration = Duration::from_secs(60);
/// Most bytes that are held for a flush; what is longer is not the end yet, and goes out as it comes.
const HELD_MAX: usize = 64 << 10;

/// Where a body leaves its receipt with its last bytes.
#[derive(Clone, Debug, Default)]
pub struct End(Arc<Mutex<Option<Receipt>>>);

impl End {
    /// The bytes that are given out next are the last.
    pub fn leave(&self, receipt: Receipt) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(receipt);
    }

    fn take(&self) -> Option<Receipt> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The ends that a connection has not handed over yet.
#[derive(Debug, Default)]
pub struct Delivery {
    any: AtomicBool,
    expected: Mutex<Vec<Receipt>>,
}

impl Delivery {
    fn expect(&self, receipt: Receipt) {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).push(receipt);
        self.any.store(true, Ordering::Release);
    }

    fn is_expected(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Gives the last bytes of the answers to the socket. How many it took.
    fn hand_over(&self, socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        // A client that sends requests without waiting for answers can have several ends in one flush. The last makes
        // the note; the others are noted right after.
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = expected.last().and_then(|receipt| receipt.hand_over(socket.as_fd(), bytes));
        sent.unwrap_or_else(|| socket.try_write(bytes))
    }

    fn flushed(&self) {
        if self.any.swap(false, Ordering::AcqRel) {
            let ends = std::mem::take(&mut *self.expected.lock().unwrap_or_else(PoisonError::into_inner));
            ends.into_iter().for_each(Receipt::confirm);
        }
    }
}

/// Watches an answer on a connection, if it has an end to watch for.
pub fn watch(mut response: Response, delivery: &Arc<Delivery>) -> Response {
    let Some(end) = response.extensions_mut().remove::<End>() else { return response };
    let delivery = Arc::clone(delivery);
    response.map(|body| Body::new(WatchedBody { body, end, delivery }))
}

struct WatchedBody {
    body: Body,
    end: End,
    delivery: Arc<Delivery>,
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if !matches!(frame, Some(Err(_)))
            && let Some(receipt) = self.end.take()
        {
            self.delivery.expect(receipt);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that hands over the ends of answers.
#[derive(Debug)]
pub struct Watched {
    stream: TcpStream,
    delivery: Arc<Delivery>,
    /// Bytes that wait for the flush, and how many of them are sent.
    held: Vec<u8>,
    sent: usize,
    /// Runs while the client takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    /// Watches a connection.
    pub fn new(stream: TcpStream, delivery: Arc<Delivery>) -> Self {
        Self { stream, delivery, held: Vec::new(), sent: 0, stall: None }
    }

    /// Gives a write that cannot go on an end.
    fn patient<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL_MAX)));
        ready!(stall.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }

    /// Sends what is held, as the end of what it belongs to, or as bytes that more will follow.
    fn poll_send(&mut self, context: &mut Context<'_>, is_end: bool) -> Poll<io::Result<()>> {
        while self.sent < self.held.len() {
            let bytes = &self.held[self.sent..];
            let sent = if is_end {
                ready!(self.stream.poll_write_ready(context))?;
                match self.stream.try_io(Interest::WRITABLE, || self.delivery.hand_over(&self.stream, bytes)) {
                    Ok(sent) => sent,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            } else {
                ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?
            };
            self.sent += sent;
        }
        self.held.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if !this.delivery.is_expected() {
            let written = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
            return this.patient(context, written);
        }
        if this.held.len() >= HELD_MAX {
            let sent = this.poll_send(context, false);
            ready!(this.patient(context, sent))?;
        }
        let before = this.held.len();
        for part in parts {
            let room = HELD_MAX - this.held.len();
            this.held.extend_from_slice(&part[..part.len().min(room)]);
        }
        Poll::Ready(Ok(this.held.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = self.poll_send(context, true);
        ready!(self.patient(context, sent))?;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.delivery.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
