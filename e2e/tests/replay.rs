//! A file as a live stream, and a process that follows it.

#![allow(clippy::unwrap_used)]

use e2e::replay::Replay;
use e2e::{DEADLINE, Server, binary, command, eventually, try_get};
use serde_json::json;
use std::path::Path;

const GEOJSON: &str = "application/geo+json";

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/data").join(name);
    path.display().to_string()
}

/// The features of the chunks that a playlist lists.
async fn features(server: &Server, playlist: &serde_json::Value) -> usize {
    let mut count = 0;
    for chunk in playlist["chunks"].as_array().unwrap() {
        let reply = try_get(chunk["href"].as_str().unwrap()).await.unwrap();
        assert_eq!(reply.status, 200, "{} {}", reply.text(), server.log());
        count += reply.json()["features"].as_array().unwrap().len();
    }
    count
}

#[tokio::test]
async fn a_process_follows_a_replay_while_it_runs() {
    let replay = Replay::start(&[&example("vehicles.geojson"), "--rate", "100", "--by", "time"]).await;
    let config = format!("[egress]\nallow = [\"{}\"]\n[streaming]\npoll_ms = 50\n", replay.address());
    let server = Server::with_config(&config).await;
    let roads: serde_json::Value =
        serde_json::from_slice(&std::fs::read(example("roads.geojson")).unwrap()).unwrap();
    let body = json!({
        "inputs": {
            "points": { "href": replay.url, "type": "application/x-ogc-playlist+application/geo+json" },
            "lines": { "value": roads, "mediaType": GEOJSON },
            "max_distance": 50,
            "geodesic": true,
            "unmatched": "flag",
        },
        "outputs": { "result": { "format": { "mediaType": "application/x-ogc-playlist+application/geo+json" } } },
        "response": "document",
    });
    let job = server.submit("FullStreamingSnapPointsToLines", &body).await;
    let path = format!("/jobs/{job}/results/result/playlist");
    eventually("a chunk of the result", DEADLINE, async || {
        let playlist = server.get(&path).await.json();
        (!playlist["chunks"].as_array()?.is_empty()).then_some(())
    })
    .await;
    // Asked after it was seen: the input was not whole then.
    let input = try_get(&replay.url).await.unwrap().text();
    assert!(!input.contains("#PLAYLIST-END"), "the replay had ended: {input}");
    let status = server.job_in(&job, &["successful", "failed"], DEADLINE).await;
    assert_eq!(status["status"], "successful", "{status}");
    let playlist = server.get(&path).await.json();
    let input = try_get(&replay.url).await.unwrap().text();
    assert!(input.ends_with("#PLAYLIST-END\n"), "{input}");
    let chunks = input.lines().filter(|line| line.starts_with("http")).count();
    assert_eq!((playlist["chunks"].as_array().unwrap().len(), chunks), (100, 100));
    assert_eq!(features(&server, &playlist).await, 500);
    let text = server.get(&format!("/wps/RetrieveResultServlet?id=playlist{job}")).await.text();
    assert!(text.ends_with("\n#PLAYLIST-END\n"), "{text}");
    assert!(replay.stop().await.success());
}

#[tokio::test]
async fn a_loop_slides_and_other_formats_are_made() {
    let file = example("roads.geojson");
    let replay = Replay::start(&[&file, "--rate", "5000", "--chunk", "2", "--loop", "--format", "KML"]).await;
    let window = eventually("a window that slides", DEADLINE, async || {
        let text = try_get(&format!("{}?f=m3u8", replay.url)).await.unwrap().text();
        (!text.contains("#EXT-X-MEDIA-SEQUENCE:0\n")).then_some(text)
    })
    .await;
    let addresses: Vec<_> = window.lines().filter(|line| line.starts_with("http")).collect();
    assert!(addresses.len() == 64 && !window.contains("#EXT-X-ENDLIST"), "{window}");
    let chunk = try_get(addresses[63]).await.unwrap();
    assert_eq!((chunk.status, chunk.content_type.as_str()), (200, "application/vnd.google-earth.kml+xml"));
    assert_eq!(chunk.text().matches("<Placemark").count(), 2, "{}", chunk.text());
    let early =
        try_get(&format!("{}/chunks/99999999", replay.url.trim_end_matches("/playlist.txt"))).await.unwrap();
    assert_eq!(early.status, 404);
    assert_eq!(try_get(&format!("{}?f=html", replay.url)).await.unwrap().status, 400);
    assert!(replay.stop().await.success());
}

#[tokio::test]
async fn a_file_that_cannot_be_replayed_is_refused_at_once() {
    for (file, rate, expected) in [
        ("/nowhere.geojson".into(), "1", "/nowhere.geojson"),
        (example("jacksboro_dem.tif"), "1", "it is image/tiff, and must be one of GeoJSON"),
        (example("roads.geojson"), "0", "must be a number of features per second"),
    ] {
        let output = command(binary()).args(["replay", &file, "--rate", rate]).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(expected), "{text}");
    }
}
