//! HTTP to a worker over its Unix socket, or to another server over TCP.
//!
//! **Invariant:** dropping a response's body closes the connection, which is how a worker learns that nobody wants
//! the rest.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, UnixStream};
use tower::ServiceExt;

use super::wire::{Failure, Pool, WireBody};
use crate::lane::{self, LANES_MAX};

/// Most bytes of an answer that is read whole.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a worker did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The request could not be built.
    #[error("the request cannot be built: {0}")]
    Request(#[from] http::Error),
    /// There is no connection.
    #[error("the worker cannot be reached: {0}")]
    Unreachable(#[source] ConnectError),
    /// The connection broke.
    #[error("the connection to the worker broke: {0}")]
    Connection(#[source] hyper::Error),
    /// The certificates to trust cannot be read.
    #[error("the certificates cannot be used: {0}")]
    Certificates(String),
    /// The answer broke off or is too large.
    #[error("the worker's answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

/// How long it may take to reach a server: its name, the connection, TLS.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// A connection to a server that was not used for so long is closed: uvicorn, and so vLLM, closes its own after 5 s, and a
/// request that meets that is lost.
const IDLE_MAX: Duration = Duration::from_secs(4);
/// Most connections to a worker that wait for their next request.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// A server that is asked over TCP.
#[derive(Clone, Debug)]
pub struct Server<'a> {
    /// The address of its API, without a slash at the end; it stands for the `/v1` of paths.
    pub url: &'a str,
    /// The value of `Authorization`.
    pub authorization: Option<&'a HeaderValue>,
    /// Certificates in PEM that it may be signed by, beside the public ones.
    pub ca_pem: Option<&'a str>,
    /// Most connections that wait for their next request.
    pub idle_connections_max: usize,
}

/// A client of one worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WorkerClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// By lane; the first is that of all threads without one.
    pools: [Arc<Pool>; LANES_MAX],
    connector: Connector,
    /// Where requests go, as far as the slash before the path.
    server: Uri,
    base: Arc<str>,
    authorization: Option<HeaderValue>,
    socket: Option<Arc<PathBuf>>,
}

impl Inner {
    /// The connections of this thread.
    fn pool(&self) -> &Arc<Pool> {
        &self.pools[lane::number()]
    }

    async fn connect(&self, to: &Uri) -> Result<Stream, ClientError> {
        self.connector.clone().oneshot(to.clone()).await.map_err(ClientError::Unreachable)
    }

    /// Sends a request whose URI is a path.
    async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<WireBody>, ClientError> {
        if let Some(authority) = self.server.authority() {
            request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str()).map_err(http::Error::from)?);
        }
        let failed = |failure| match failure {
            Failure::Failed(error) => ClientError::Connection(error),
            Failure::NotSent(_) => ClientError::Unreachable("the connection was closed at once".into()),
        };
        match self.pool().send(request).await {
            Err(Failure::NotSent(request)) => self.pool().send_over(self.connect(&self.server).await?, *request).await.map_err(failed),
            other => other.map_err(failed),
        }
    }
}

impl WorkerClient {
    /// A client of the worker behind `socket`. Connects when it is first used.
    pub fn new(socket: &Path) -> Self {
        let socket = Arc::new(socket.to_owned());
        let connector = Connector::Socket(Arc::clone(&socket));
        Self(Arc::new(Inner {
            pools: std::array::from_fn(|_| Pool::new(IDLE_CONNECTIONS_MAX, None)),
            connector,
            server: Uri::from_static("http://worker/"),
            base: "/v1".into(),
            authorization: None,
            socket: Some(socket),
        }))
    }

    /// A client of another server. Connects when it is first used; over TLS only to who proves that it is the server.
    ///
    /// # Errors
    /// The certificates are none.
    pub fn to_server(server: &Server<'_>) -> Result<Self, ClientError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_PATIENCE));
        http.set_keepalive(Some(IDLE_MAX));
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls(server.ca_pem)?).https_or_http().enable_http1().wrap_connector(http);
        let uri: Uri = server.url.parse().map_err(http::Error::from)?;
        Ok(Self(Arc::new(Inner {
            pools: std::array::from_fn(|_| Pool::new(server.idle_connections_max, Some(IDLE_MAX))),
            connector: Connector::Server(tls),
            base: uri.path().trim_end_matches('/').into(),
            server: uri,
            authorization: server.authorization.cloned(),
            socket: None,
        })))
    }

    /// Both reach the same process: a worker that is started again has a socket of its own.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.0.socket.is_some() && self.0.socket == other.0.socket
    }

    /// Sends a JSON body and returns the answer's head and its body as it comes.
    ///
    /// # Errors
    /// The worker cannot be reached.
    pub async fn post(&self, path: &str, headers: &[(&'static str, String)], body: Bytes) -> Result<Response<WireBody>, ClientError> {
        let mut request = Request::post(self.path(path)).header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.send(request, Full::new(body)).await
    }

    /// Asks for a path and returns status and body.
    ///
    /// # Errors
    /// The worker cannot be reached, or its answer breaks off.
    pub async fn get(&self, path: &str) -> Result<(u16, Bytes), ClientError> {
        let answer = self.send(Request::get(self.path(path)), Full::default()).await?;
        let status = answer.status().as_u16();
        Ok((status, read_whole(answer.into_body()).await?))
    }

    /// Asks for a path of the server that is not of its API, without the key.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn get_outside(&self, path: &str) -> Result<Response<WireBody>, ClientError> {
        self.0.send(Request::get(path).body(Full::default())?).await
    }

    async fn send(&self, request: http::request::Builder, body: Full<Bytes>) -> Result<Response<WireBody>, ClientError> {
        let mut request = request.body(body)?;
        if let Some(authorization) = &self.0.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.0.send(request).await
    }

    fn path(&self, path: &str) -> String {
        let base = &*self.0.base;
        match path.strip_prefix("/v1/") {
            Some(rest) => format!("{base}/{rest}"),
            None => format!("{}{path}", base.strip_suffix("/v1").unwrap_or(base)),
        }
    }
}

/// The public certificates and those that are named: nobody else is believed.
fn tls(ca_pem: Option<&str>) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = ca_pem {
        let mut added = 0;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| ClientError::Certificates(error.to_string()))?;
            roots.add(certificate).map_err(|error| ClientError::Certificates(error.to_string()))?;
            added += 1;
        }
        if added == 0 {
            return Err(ClientError::Certificates("there is none in the text".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Certificates(error.to_string()))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// Reads the whole of a body.
///
/// # Errors
/// It breaks off, or is over the limit.
pub async fn read_whole(body: WireBody) -> Result<Bytes, ClientError> {
    Ok(Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(ClientError::Body)?.to_bytes())
}

/// The way to a worker or to a server.
#[derive(Clone, Debug)]
enum Connector {
    Socket(Arc<PathBuf>),
    Server(HttpsConnector<HttpConnector>),
}

/// Why there is no connection.
pub type ConnectError = Box<dyn std::error::Error + Send + Sync>;

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        match self {
            Self::Socket(_) => Poll::Ready(Ok(())),
            Self::Server(server) => server.poll_ready(context),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self {
            Self::Socket(socket) => {
                let socket = Arc::clone(socket);
                Box::pin(async move { Ok(Stream::Socket(TokioIo::new(UnixStream::connect(&*socket).await?))) })
            }
            Self::Server(server) => {
                let connecting = server.call(uri);
                Box::pin(async move { Ok(Stream::Server(Box::new(tokio::time::timeout(CONNECT_PATIENCE, connecting).await??))) })
            }
        }
    }
}

/// A connection.
pub(super) enum Stream {
    Socket(TokioIo<UnixStream>),
    Server(Box<MaybeHttpsStream<TokioIo<TcpStream>>>),
}

impl hyper::rt::Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: hyper::rt::ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
        match &mut *self {
            Self::Socket(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Server(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match &mut *self {
            Self::Socket(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Server(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match &mut *self {
            Self::Socket(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Server(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Socket(stream) => stream.is_write_vectored(),
            Self::Server(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut *self {
            Self::Socket(stream) => Pin::new(stream).poll_flush(context),
            Self::Server(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut *self {
            Self::Socket(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Server(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
