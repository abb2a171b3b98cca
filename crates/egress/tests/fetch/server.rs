//! A loopback server that plays a script: what came in is recorded, what goes out is raw bytes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// The request line and headers.
    pub(crate) head: String,
    /// The body, as long as `Content-Length` said.
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The request line without its version, such as `GET /a`.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap().trim_end_matches(" HTTP/1.1")
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// What the server does with a request.
pub(crate) enum Reply {
    /// Sends these bytes and goes on with the connection.
    Answer(Vec<u8>),
    /// Sends these bytes and closes the connection.
    Close(Vec<u8>),
    /// Sends these bytes, then nothing, for ever.
    Stall(Vec<u8>),
}

/// A running server. It ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<Mutex<usize>>,
}

type Script = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

impl Server {
    /// Starts on a free loopback port.
    pub(crate) async fn start(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(script, None).await
    }

    /// The same behind TLS.
    pub(crate) async fn start_tls(
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
        config: rustls::ServerConfig,
    ) -> Self {
        Self::start_with(script, Some(Arc::new(config).into())).await
    }

    async fn start_with(
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
        tls: Option<tokio_rustls::TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (received, connections) =
            (Arc::<Mutex<Vec<Received>>>::default(), Arc::<Mutex<usize>>::default());
        let (record, count, script) =
            (Arc::clone(&received), Arc::clone(&connections), Arc::new(script) as Script);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                let (record, script, tls) = (Arc::clone(&record), Arc::clone(&script), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => talk(socket, &script, &record).await,
                        // A client that distrusts the certificate ends the handshake; so be it.
                        Some(tls) => match tls.accept(socket).await {
                            Ok(socket) => talk(socket, &script, &record).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { address, received, connections }
    }

    /// `path` on this server.
    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The request lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.received().iter().map(|request| request.line().to_owned()).collect()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

/// `None` when the client leaves or the script closes.
async fn talk(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    script: &Script,
    record: &Mutex<Vec<Received>>,
) -> Option<()> {
    loop {
        let request = read_request(&mut socket).await?;
        record.lock().unwrap().push(request.clone());
        let (bytes, stall) = match script(&request) {
            Reply::Answer(bytes) => {
                socket.write_all(&bytes).await.ok()?;
                continue;
            }
            Reply::Close(bytes) => (bytes, false),
            Reply::Stall(bytes) => (bytes, true),
        };
        socket.write_all(&bytes).await.ok()?;
        socket.flush().await.ok()?;
        if stall {
            std::future::pending::<()>().await;
        }
        socket.shutdown().await.ok()?;
        return None;
    }
}

async fn read_request(socket: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let mut request = Received { head: String::from_utf8(head).unwrap(), body: Vec::new() };
    let length = request.header("content-length").map_or(0, |value| value.parse().unwrap());
    request.body.resize(length, 0);
    socket.read_exact(&mut request.body).await.ok()?;
    Some(request)
}

/// An answer with a body of known length.
pub(crate) fn ok(body: &str) -> Reply {
    with_headers("200 OK", &[], body)
}

/// An answer with a status, headers and a body of known length.
pub(crate) fn with_headers(status: &str, headers: &[&str], body: &str) -> Reply {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    Reply::Answer(
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes(),
    )
}

/// A redirect.
pub(crate) fn redirect(status: &str, location: &str) -> Reply {
    with_headers(status, &[&format!("Location: {location}")], "inside: secret")
}
