//! Connections that are driven by whoever waits for an answer, and kept for the next one.
//!
//! hyper gives a connection in two halves: one that takes requests, and one that reads and writes. Both are kept
//! together here and polled by the same task, so that an answer's pieces are not handed from one task to another.
//!
//! **Invariant:** a connection is kept only when its last answer was read to its end; in any other case it is closed,
//! which is how the other side learns that nobody wants the rest.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};

use super::client::Stream;

/// What reads and writes.
type Driver = Pin<Box<Connection<Stream, Full<Bytes>>>>;

/// Both halves of a connection.
struct Wire {
    sender: SendRequest<Full<Bytes>>,
    /// `None` when the connection is over: dropping it gives back a request that was not sent.
    driver: Option<Driver>,
}

impl Wire {
    /// Reads and writes what can be read and written now.
    fn drive(&mut self, context: &mut Context<'_>) {
        drive(&mut self.driver, context);
    }

    fn is_ready(&self) -> bool {
        self.driver.is_some() && self.sender.is_ready()
    }
}

fn drive(driver: &mut Option<Driver>, context: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(context).is_ready()) {
        *driver = None;
    }
}

/// A connection without a request.
struct Idle {
    wire: Wire,
    since: Instant,
}

/// Connections without a request, all to the same address.
pub(super) struct Pool {
    idle: Mutex<Vec<Idle>>,
    idle_max: usize,
    /// How long one is kept; `None`: as long as the other side keeps it.
    kept_for: Option<Duration>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("idle", &self.idle().len()).finish_non_exhaustive()
    }
}

/// Why there is no answer.
pub(super) enum Failure {
    /// Nothing of the request was sent, because the connection was closed meanwhile: it can be sent again.
    NotSent(Box<Request<Full<Bytes>>>),
    Failed(hyper::Error),
}

impl Pool {
    pub fn new(idle_max: usize, kept_for: Option<Duration>) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), idle_max, kept_for })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, wire: Wire) {
        let now = Instant::now();
        let mut idle = self.idle();
        if let Some(kept_for) = self.kept_for {
            // The oldest are first.
            let stale = idle.iter().take_while(|idle| now - idle.since >= kept_for).count();
            idle.drain(..stale);
        }
        if idle.len() < self.idle_max {
            idle.push(Idle { wire, since: now });
        }
    }

    /// A connection that is ready, the last one that was used.
    async fn take(&self) -> Option<Wire> {
        loop {
            let mut idle = self.idle().pop()?;
            if self.kept_for.is_some_and(|kept_for| idle.since.elapsed() >= kept_for) {
                // So are all that are left.
                self.idle().clear();
                return None;
            }
            poll_fn(|context| {
                idle.wire.drive(context);
                Poll::Ready(())
            })
            .await;
            if idle.wire.is_ready() {
                return Some(idle.wire);
            }
        }
    }

    /// Sends a request over a connection that was kept; `Err` gives it back when there is none.
    pub async fn send(self: &Arc<Self>, request: Request<Full<Bytes>>) -> Result<Response<WireBody>, Failure> {
        match self.take().await {
            Some(wire) => self.ask(wire, request).await,
            None => Err(Failure::NotSent(Box::new(request))),
        }
    }

    /// Sends a request over a new connection.
    pub async fn send_over(self: &Arc<Self>, stream: Stream, request: Request<Full<Bytes>>) -> Result<Response<WireBody>, Failure> {
        let (sender, driver) = handshake(stream).await.map_err(Failure::Failed)?;
        let mut wire = Wire { sender, driver: Some(Box::pin(driver)) };
        poll_fn(|context| {
            wire.drive(context);
            if wire.driver.is_none() { Poll::Ready(Ok(())) } else { wire.sender.poll_ready(context) }
        })
        .await
        .map_err(Failure::Failed)?;
        self.ask(wire, request).await
    }

    async fn ask(self: &Arc<Self>, mut wire: Wire, request: Request<Full<Bytes>>) -> Result<Response<WireBody>, Failure> {
        let mut answer = pin!(wire.sender.try_send_request(request));
        let answered = poll_fn(|context| {
            drive(&mut wire.driver, context);
            answer.as_mut().poll(context)
        });
        match answered.await {
            Ok(response) => Ok(response.map(|body| WireBody { body, wire: Some(wire), pool: Arc::downgrade(self) })),
            Err(mut error) => Err(match error.take_message() {
                Some(request) => Failure::NotSent(Box::new(request)),
                None => Failure::Failed(error.into_error()),
            }),
        }
    }
}

/// The body of an answer. Dropping it before its end closes the connection.
pub struct WireBody {
    body: Incoming,
    wire: Option<Wire>,
    pool: Weak<Pool>,
}

impl std::fmt::Debug for WireBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireBody").finish_non_exhaustive()
    }
}

impl WireBody {
    /// The body was read to its end.
    fn end(&mut self, context: &mut Context<'_>) {
        let Some(mut wire) = self.wire.take() else { return };
        wire.drive(context);
        if let Some(pool) = self.pool.upgrade().filter(|_| wire.is_ready()) {
            pool.keep(wire);
        }
    }
}

impl Body for WireBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let mut polled = Pin::new(&mut this.body).poll_frame(context);
        if polled.is_pending()
            && let Some(wire) = &mut this.wire
        {
            wire.drive(context);
            polled = Pin::new(&mut this.body).poll_frame(context);
        }
        if matches!(polled, Poll::Ready(None)) || (matches!(polled, Poll::Ready(Some(Ok(_)))) && this.body.is_end_stream()) {
            this.end(context);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
