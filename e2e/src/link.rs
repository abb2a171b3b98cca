//! A TCP link that can be cut: a relay on a loopback port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Relays connections to an address, until cut.
pub struct Link {
    pub address: SocketAddr,
    up: Arc<watch::Sender<bool>>,
}

impl Link {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let up = Arc::new(watch::Sender::new(true));
        let state = Arc::clone(&up);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut state = state.subscribe();
                if *state.borrow_and_update() {
                    tokio::spawn(async move {
                        tokio::select! {
                            () = relay(stream, target) => {}
                            _ = state.wait_for(|up| !up) => {}
                        }
                    });
                }
            }
        });
        Self { address, up }
    }

    /// Breaks every connection and refuses new ones for a while.
    pub async fn cut_for(&self, time: Duration) {
        self.up.send_replace(false);
        tokio::time::sleep(time).await;
        self.up.send_replace(true);
    }
}

async fn relay(mut from: TcpStream, target: SocketAddr) {
    if let Ok(mut to) = TcpStream::connect(target).await {
        let _either_side_closed = tokio::io::copy_bidirectional(&mut from, &mut to).await;
    }
}
