//! Connections: accepted up to a limit, with a deadline for each head of a request, and ended with grace.
//!
//! **Invariant:** a connection that is slow, silent or one too many costs a bounded amount of memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use super::caller::Peer;
use super::delivery::{Delivery, Watched, watch};
use super::lanes::Lanes;

/// How long a client may take to send the head of a request, or to stay silent between two.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Pause after the system refused to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` resolves; then accepts no more and returns when every connection has ended.
pub async fn serve(listener: TcpListener, router: Router, lanes: Arc<Lanes>, connections_max: u32, stop: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(connections_max as usize));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = &mut stop => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let put = lanes.put(stream, |stream| {
            let connection = graceful.watch(connection(stream, peer, router.clone()));
            async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, %peer, "a connection broke");
                }
                drop(place);
            }
        });
        if let Err(error) = put {
            tracing::warn!(%error, "a connection could not be given to its thread");
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
) -> http1::Connection<
    TokioIo<Watched>,
    impl hyper::service::HttpService<
        hyper::body::Incoming,
        ResBody = axum::body::Body,
        Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        Future: Send,
    > + Send,
> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let delivery = Arc::new(Delivery::default());
    let ends = Arc::clone(&delivery);
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.map(axum::body::Body::new)
    });
    let service = service.map_response(move |response| watch(response, &ends));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Watched::new(stream, delivery)), TowerToHyperService::new(service))
}
