//! Bytes on a socket, as an attacker sends them.

use crate::{DEADLINE, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends these bytes, and gives all that comes back until the server closes, or until it has said nothing for a second.
pub async fn exchange(server: &Server, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(server.http).await.unwrap();
    // It may answer and close before it has taken all of it.
    let _closed = socket.write_all(bytes).await;
    let mut seen = Vec::new();
    let mut block = [0; 16 << 10];
    loop {
        match tokio::time::timeout(std::time::Duration::from_secs(1), socket.read(&mut block)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(count)) => seen.extend_from_slice(&block[..count]),
            // Nothing has come yet: it may be busy.
            Err(_silent) if seen.is_empty() => continue,
            Err(_silent) => break,
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// Statuses of the answers on a connection, in order.
pub fn statuses(answers: &str) -> Vec<u16> {
    let heads = answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..]);
    heads.filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

/// A connection that begins a request and never ends it.
pub async fn half_open(server: &Server, begin: &str) -> TcpStream {
    let mut socket = TcpStream::connect(server.http).await.unwrap();
    socket.write_all(begin.as_bytes()).await.unwrap();
    socket
}

/// Waits until the server has closed it.
pub async fn closed(socket: &mut TcpStream) {
    let mut block = [0; 4096];
    let closing = async { while matches!(socket.read(&mut block).await, Ok(count) if count > 0) {} };
    tokio::time::timeout(DEADLINE, closing).await.expect("the connection is closed");
}
