//! When the end of an answer is with the kernel.
//!
//! An answer's body leaves its receipt in an [`End`] when it gives out its last bytes. The connection takes it from
//! there: hyper flushes the socket only after it has written everything that the body gave out before, so the next
//! flush that succeeds is the moment at which the end was handed over.
//!
//! **Invariant:** a receipt is confirmed after the bytes that it is for were taken by the socket, and never otherwise.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use freehold_control::billing::Receipt;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

/// A stream of bytes that tells when what was written is flushed.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    delivery: Arc<Delivery>,
}

impl<S> Watched<S> {
    /// Watches a stream.
    pub fn new(stream: S, delivery: Arc<Delivery>) -> Self {
        Self { stream, delivery }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.delivery.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
