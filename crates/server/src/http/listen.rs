//! The accept loop: connections limited in number, slow in their head cut off, ended in order.

use super::connections::Connections;
use super::pace::{Paced, Taken};
use super::tls::Tls;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// Pause after the system refused a connection (no file descriptors left): without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection; every request has it as an extension.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// The user that a client certificate of a trusted authority names.
    pub(crate) certificate: Option<String>,
}

impl Default for Peer {
    fn default() -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), certificate: None }
    }
}

/// Limits of the loop.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections_max: usize,
    /// For the whole head of a request, and for the next request to begin.
    pub(crate) head_timeout: Duration,
    /// For answers under way when the server stops.
    pub(crate) drain: Duration,
}

/// Serves until `shutdown`; then takes no more requests, and waits for the answers under way, bounded by [`Limits::drain`].
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    limits: Limits,
    admitted: Arc<Connections>,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let connections = TaskTracker::new();
    loop {
        // A place first: connections beyond the limit wait in the system's queue.
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = shutdown.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, address)) => {
                // Closed without a word: an answer would cost what the limit is to save.
                let Some(of_address) = admitted.admit(address.ip()) else { continue };
                let peer = Peer { address: address.ip(), certificate: None };
                let serving =
                    secured(stream, tls.clone(), peer, router.clone(), limits.head_timeout, shutdown.clone());
                connections.spawn(async move {
                    serving.await;
                    drop((place, of_address));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection can't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "answers were still under way at the end");
    }
}

/// By TLS, where that is configured; who takes longer for its handshake than for the head of a request is cut off.
async fn secured(
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    peer: Peer,
    router: Router,
    head_timeout: Duration,
    shutdown: CancellationToken,
) {
    // Small answers must not wait for the acknowledgement of earlier ones.
    let _works_without = stream.set_nodelay(true);
    let Some(tls) = tls else { return connection(stream, peer, router, head_timeout, shutdown).await };
    match tokio::time::timeout(head_timeout, tls.accept(stream)).await {
        Ok(Ok((stream, certificate))) => {
            let peer = Peer { certificate, ..peer };
            connection(stream, peer, router, head_timeout, shutdown).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a connection did not become one by TLS"),
        Err(_elapsed) => tracing::debug!("a connection took too long to become one by TLS"),
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    router: Router,
    head_timeout: Duration,
    shutdown: CancellationToken,
) {
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request.map(|body| axum::body::Body::new(Paced::new(body))))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .serve_connection(TokioIo::new(Taken::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => log(ended),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            log(connection.await);
        }
    }
}

fn log(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}
