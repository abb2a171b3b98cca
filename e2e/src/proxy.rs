//! What stands before several servers: a relay that gives each connection to one that is ready.

use crate::try_get;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Longest wait for a server to say that it is ready.
const READY_WAIT: Duration = Duration::from_secs(2);

/// Relays connections to servers in turn.
pub struct Proxy {
    pub address: SocketAddr,
}

impl Proxy {
    /// On an address that the servers have to know beforehand.
    pub async fn start(address: SocketAddr, targets: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (targets, turn) = (Arc::new(targets), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(relay(stream, Arc::clone(&targets), turn.fetch_add(1, Ordering::Relaxed)));
            }
        });
        Self { address }
    }
}

async fn relay(mut from: TcpStream, targets: Arc<Vec<SocketAddr>>, turn: usize) {
    for n in 0..targets.len() {
        let target = targets[(turn + n) % targets.len()];
        let url = format!("http://{target}/readyz");
        let ready = timeout(READY_WAIT, try_get(&url)).await;
        if ready.is_ok_and(|reply| reply.is_ok_and(|reply| reply.status == 200))
            && let Ok(mut to) = TcpStream::connect(target).await
        {
            let _either_side_closed = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            return;
        }
    }
}
