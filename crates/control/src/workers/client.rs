//! HTTP to a worker over its Unix socket.
//!
//! **Invariant:** dropping a response's body closes the connection, which is how a worker learns that nobody wants
//! the rest.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

/// Most bytes of an answer that is read whole.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a worker did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The request could not be built.
    #[error("the request cannot be built: {0}")]
    Request(#[from] http::Error),
    /// The worker cannot be reached, or the connection broke.
    #[error("the worker cannot be reached: {0}")]
    Connection(#[from] hyper_util::client::legacy::Error),
    /// The answer broke off or is too large.
    #[error("the worker's answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

/// A client of one worker.
#[derive(Clone, Debug)]
pub struct WorkerClient {
    client: Client<SocketConnector, Full<Bytes>>,
    socket: Arc<PathBuf>,
}

impl WorkerClient {
    /// A client of the worker behind `socket`. Connects when it is first used.
    pub fn new(socket: &Path) -> Self {
        let socket = Arc::new(socket.to_owned());
        let connector = SocketConnector { socket: Arc::clone(&socket) };
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(64).build(connector);
        Self { client, socket }
    }

    /// Both reach the same process: a worker that is started again has a socket of its own.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.socket == other.socket
    }

    /// Sends a JSON body and returns the answer's head and its body as it comes.
    ///
    /// # Errors
    /// The worker cannot be reached.
    pub async fn post(&self, path: &str, headers: &[(&'static str, String)], body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::post(uri(path)).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        Ok(self.client.request(request.body(Full::new(body))?).await?)
    }

    /// Asks for a path and returns status and body.
    ///
    /// # Errors
    /// The worker cannot be reached, or its answer breaks off.
    pub async fn get(&self, path: &str) -> Result<(u16, Bytes), ClientError> {
        let answer = self.client.request(Request::get(uri(path)).body(Full::default())?).await?;
        let status = answer.status().as_u16();
        Ok((status, read_whole(answer.into_body()).await?))
    }
}

/// Reads the whole of a body.
///
/// # Errors
/// It breaks off, or is over the limit.
pub async fn read_whole(body: Incoming) -> Result<Bytes, ClientError> {
    Ok(Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(ClientError::Body)?.to_bytes())
}

fn uri(path: &str) -> String {
    format!("http://worker{path}")
}

#[derive(Clone, Debug)]
struct SocketConnector {
    socket: Arc<PathBuf>,
}

impl tower::Service<Uri> for SocketConnector {
    type Response = SocketStream;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<SocketStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let socket = Arc::clone(&self.socket);
        Box::pin(async move { Ok(SocketStream(TokioIo::new(UnixStream::connect(&*socket).await?))) })
    }
}

/// A Unix socket with the one method that the client's pool asks for.
struct SocketStream(TokioIo<UnixStream>);

impl Connection for SocketStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for SocketStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: hyper::rt::ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for SocketStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
