//! The examples as they stand: each folder by an agent, its request, and the result it promises.

#![allow(clippy::unwrap_used)]

use e2e::replay::Replay;
use e2e::{Agent, DEADLINE, Reply, Server, command, try_get};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// How far a number may be off, as a part of it: versions of PROJ and GDAL differ in the last digits.
const RELATIVE_ERROR_MAX: f64 = 1e-3;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples")
}

/// Executes an example's request.
async fn executed(folder: &str, process: &str) -> Reply {
    let server = Server::start().await;
    let agent = Agent::start_in(&server, folder, &examples().join(folder));
    server.published(process, true).await;
    let request = std::fs::read_to_string(examples().join(folder).join("request.json")).unwrap();
    let reply = server.execute(process, &serde_json::from_str(&request).unwrap()).await;
    assert_eq!(reply.status, 200, "{} {}", reply.text(), agent.log());
    reply
}

fn expected(folder: &str) -> Value {
    let file = examples().join(folder).join("expected.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Everything that is expected is there; there may be more.
fn assert_holds(found: &Value, expected: &Value) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            for (name, expected) in expected {
                assert_holds(found.get(name).unwrap_or_else(|| panic!("no {name} in {found:?}")), expected);
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{found:?} {expected:?}");
            found.iter().zip(expected).for_each(|(found, expected)| assert_holds(found, expected));
        }
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!((found - expected).abs() <= RELATIVE_ERROR_MAX * expected.abs(), "{found} {expected}");
        }
        _ => assert_eq!(found, expected),
    }
}

/// What GDAL says of a raster.
async fn raster(reply: &Reply) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result.tif");
    std::fs::write(&path, &reply.body).unwrap();
    let said = command("gdalinfo").args(["-json", "-stats"]).arg(&path).output().await.unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    serde_json::from_slice(&said.stdout).unwrap()
}

#[tokio::test]
async fn contour_lines() {
    let found = executed("gdal-contour", "default:GdalContour").await.json();
    let features = found["features"].as_array().unwrap();
    assert!(features.len() > 100);
    assert!(features.iter().all(|feature| feature["properties"]["elev"].as_f64().unwrap() % 100.0 == 0.0));
}

#[tokio::test]
async fn shaded_relief() {
    let reply = executed("gdaldem-hillshade", "default:Hillshade").await;
    assert_holds(&raster(&reply).await, &expected("gdaldem-hillshade"));
}

#[tokio::test]
async fn features_in_another_system() {
    let reply = executed("ogr2ogr-reproject", "default:ReprojectFeatures").await;
    assert_holds(&reply.json(), &expected("ogr2ogr-reproject"));
}

#[tokio::test]
async fn a_raster_in_another_system() {
    let reply = executed("gdalwarp-reproject", "default:ReprojectRaster").await;
    assert_holds(&raster(&reply).await, &expected("gdalwarp-reproject"));
}

#[tokio::test]
async fn a_python_script() {
    let reply = executed("python-statistics", "default:FeatureStatistics").await;
    assert_holds(&reply.json(), &expected("python-statistics"));
}

#[tokio::test]
async fn a_shell_pipeline() {
    let reply = executed("shell-pipeline", "default:CountValues").await;
    let expected = std::fs::read_to_string(examples().join("shell-pipeline/expected.csv")).unwrap();
    assert_eq!(reply.text(), expected);
}

#[tokio::test]
async fn a_script_that_is_fed() {
    let reply = executed("python-odometer", "default:Odometer").await;
    assert_holds(&reply.json(), &expected("python-odometer"));
}

/// As its folder says: the buses of the made-up town, live.
#[tokio::test]
async fn a_script_that_follows_a_stream() {
    let vehicles = examples().join("data/vehicles.geojson");
    let replay = Replay::start(&[vehicles.to_str().unwrap(), "--rate", "250", "--by", "time"]).await;
    let server = Server::with_config(&format!("[egress]\nallow = [\"{}\"]\n", replay.address())).await;
    let _agent = Agent::start_in(&server, "a1", &examples().join("python-odometer"));
    server.published("default:FullStreamingOdometer", true).await;
    let playlist = "application/x-ogc-playlist+application/geo+json";
    let request = json!({
        "inputs": { "positions": { "href": replay.url, "type": playlist } },
        "outputs": { "result": { "format": { "mediaType": playlist } } },
        "response": "document",
    });
    let job = server.submit("default:FullStreamingOdometer", &request).await;
    let status = server.job_in(&job, &["successful", "failed"], DEADLINE).await;
    assert_eq!(status["status"], "successful", "{status}");
    let lines =
        try_get(&server.url(&format!("/jobs/{job}/results/result/playlist?f=ndjson"))).await.unwrap().text();
    let mut features: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(features.pop(), Some(json!({ "type": "stream-end", "features": 500 })));
    let driven = |feature: &Value| feature["properties"]["distance_m"].as_f64().unwrap();
    assert!(features[..5].iter().all(|feature| driven(feature) == 0.0), "five buses begin");
    assert!(features[495..].iter().all(|feature| driven(feature) > 5000.0), "{:?}", &features[495..]);
}
