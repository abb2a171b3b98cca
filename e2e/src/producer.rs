//! A playlist that grows as a test says: what sensors do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Serves `/playlist` and its chunks, `/chunk/1` and so on: each one line of three points, which a tolerance of 0.1 makes two. A raster
/// lies at `/dem.tif`.
pub struct Producer {
    pub address: SocketAddr,
    playlist: Arc<Mutex<String>>,
}

impl Producer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let playlist = Arc::new(Mutex::new("#SPATIAL-DATA-PLAYLIST\n".to_owned()));
        let shown = Arc::clone(&playlist);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let shown = Arc::clone(&shown);
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let count = socket.read(&mut request).await.unwrap_or(0);
                    let request = String::from_utf8_lossy(&request[..count]).into_owned();
                    let path = request.split(' ').nth(1).unwrap_or_default();
                    let (media_type, body) = match path.strip_prefix("/chunk/") {
                        Some(number) => ("application/geo+json", chunk(number).into_bytes()),
                        None if path == "/report" => ("text/xml", REPORT.into()),
                        None if path == "/dem.tif" => ("image/tiff", DEM.into()),
                        None => ("text/plain", shown.lock().unwrap().clone().into_bytes()),
                    };
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                        body.len()
                    );
                    let _client_left = socket.write_all(&[head.as_bytes(), &body].concat()).await;
                    let _client_left = socket.shutdown().await;
                });
            }
        });
        Self { address, playlist }
    }

    pub fn url(&self) -> String {
        format!("http://{}/playlist", self.address)
    }

    /// One more chunk.
    pub fn add(&self) {
        let mut playlist = self.playlist.lock().unwrap();
        let number = playlist.lines().filter(|line| !line.starts_with('#')).count() + 1;
        playlist.push_str(&format!("http://{}/chunk/{number}\n", self.address));
    }

    /// A chunk that lies somewhere on this producer.
    pub fn add_at(&self, path: &str) {
        self.playlist.lock().unwrap().push_str(&format!("{path}\n"));
    }

    /// No more.
    pub fn end(&self) {
        self.playlist.lock().unwrap().push_str("#PLAYLIST-END\n");
    }

    /// No more, because something failed.
    pub fn fail(&self) {
        let mut playlist = self.playlist.lock().unwrap();
        playlist.push_str(&format!("#EXCEPTION:http://{}/report\n#PLAYLIST-END\n", self.address));
    }
}

const DEM: &[u8] = include_bytes!("../../examples/data/jacksboro_dem.tif");

const REPORT: &str = r#"<ows:ExceptionReport xmlns:ows="http://www.opengis.net/ows/1.1" version="1.1.0">
 <ows:Exception exceptionCode="NoApplicableCode"><ows:ExceptionText>the sensor is on fire</ows:ExceptionText></ows:Exception>
</ows:ExceptionReport>"#;

fn chunk(number: &str) -> String {
    let n: u32 = number.parse().unwrap_or(0);
    let (west, y) = (n % 10, 40 + n / 10 % 20);
    format!(
        r#"{{"type":"FeatureCollection","features":[{{"type":"Feature","id":"f{n}","properties":{{"n":{n}}},"geometry":{{"type":"LineString","coordinates":[[{west},{y}],[{west}.5,{y}.01],[{},{y}]]}}}}]}}"#,
        west + 1
    )
}
