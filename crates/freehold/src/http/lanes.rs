//! The threads that serve connections: each has a runtime of its own, and a connection stays where it was put.
//!
//! A request then waits on the thread that works for it: nothing is handed from one to the other, and nobody has to be
//! woken. What blocks goes to threads for that, as everywhere.
//!
//! **Invariant:** the threads end when the [`Lanes`] are dropped, and not before.

use std::net::TcpStream as StdStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use freehold_control::lane::Lane;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// More threads than this do not serve more.
const LANES_MAX: usize = 8;

/// Most threads of a lane for what blocks.
const BLOCKING_MAX: usize = 64;

/// The threads.
pub struct Lanes {
    handles: Vec<Handle>,
    next: AtomicUsize,
    _end: DropGuard,
}

impl Lanes {
    /// Starts a thread for each processor, two at least.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn start() -> std::io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, LANES_MAX);
        let end = CancellationToken::new();
        let start = |number: usize| {
            let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_MAX).build()?;
            let (handle, ended) = (runtime.handle().clone(), end.clone());
            std::thread::Builder::new().name(format!("http-{number}")).spawn(move || {
                let lane = Lane::enter(number);
                runtime.block_on(ended.run_until_cancelled(lane.run()));
                runtime.shutdown_background();
            })?;
            Ok(handle)
        };
        let handles = (0..count).map(start).collect::<std::io::Result<_>>()?;
        Ok(Self { handles, next: AtomicUsize::new(0), _end: end.drop_guard() })
    }

    /// The lane of the next connection, in turn.
    fn next(&self) -> &Handle {
        &self.handles[self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len()]
    }

    /// Puts a connection on a lane: `serve` says what is to be done with it there.
    ///
    /// # Errors
    /// The system does not let the connection be moved.
    pub fn put<F: Future<Output = ()> + Send + 'static>(
        &self,
        stream: TcpStream,
        serve: impl FnOnce(TcpStream) -> F,
    ) -> std::io::Result<()> {
        let stream: StdStream = stream.into_std()?;
        let lane = self.next();
        let stream = {
            let _inside = lane.enter();
            TcpStream::from_std(stream)?
        };
        lane.spawn(serve(stream));
        Ok(())
    }
}
