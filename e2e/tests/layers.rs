//! Outputs that become layers. A server of the test's own stands for GeoServer: it knows the part of its REST interface that is used, and
//! notes whatever it would not have taken.

#![allow(clippy::unwrap_used)]

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use e2e::{DEADLINE, Server, eventually};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const SERVICE: &str = r#"
namespace = "default"
identifier = "Made"
title = "Made"
[outputs.contours]
title = "Contour lines"
abstract = "From the terrain"
type = "complex"
formats = ["application/zip"]
file = "contours.zip"
publish = { as_layer = true, layer_name = "contour", default_style = "line", workspace = "terrain" }
[outputs.heights]
title = "Heights"
type = "complex"
formats = ["image/tiff"]
file = "heights.tif"
publish = { as_layer = true, default_style = "nowhere" }
[outputs.roads]
title = "Roads"
type = "complex"
formats = ["application/geopackage+sqlite3"]
file = "roads.gpkg"
publish = { as_layer = true }
[outputs.notes]
title = "Notes"
type = "complex"
formats = ["text/plain"]
file = "notes.txt"
publish = { as_layer = true }
[outputs.map]
title = "A map"
type = "string"
layers = ["contours", "heights"]
[command]
program = "/bin/sh"
arguments = ["-c", "for f in contours.zip heights.tif roads.gpkg notes.txt; do printf $f > $f; done"]
time_limit = "1 min"
"#;

#[derive(Default)]
struct Catalogue {
    /// Answers 503 to everything.
    is_down: bool,
    workspaces: BTreeSet<String>,
    /// Tables that are not published yet, by the path of their store.
    available: BTreeMap<String, Vec<String>>,
    /// Resources by the path of their store.
    made: BTreeMap<String, Vec<Value>>,
    files: BTreeMap<String, String>,
    styles: BTreeMap<String, Value>,
    wrong: Vec<String>,
}

/// The stand-in.
#[derive(Clone)]
struct GeoServer {
    address: String,
    catalogue: Arc<Mutex<Catalogue>>,
}

impl GeoServer {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let catalogue = Arc::<Mutex<Catalogue>>::default();
        let state = Arc::clone(&catalogue);
        let router = Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, catalogue }
    }

    fn config(&self, services: &TempDir, password: &str) -> String {
        std::fs::write(services.path().join("made.toml"), SERVICE).unwrap();
        let secret = services.path().join("password");
        std::fs::write(&secret, password).unwrap();
        format!(
            "[geoserver]\nurl = \"http://{}/geoserver\"\nuser = \"admin\"\npassword_file = {secret:?}\nworkspace = \"results\"\n\
             [services]\nfolder = {:?}\n",
            self.address,
            services.path()
        )
    }
}

/// `admin:geo`
const AUTHORIZATION: &str = "Basic YWRtaW46Z2Vv";

async fn answer(
    State(catalogue): State<Arc<Mutex<Catalogue>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut catalogue = catalogue.lock().unwrap();
    let (status, body) = catalogue.answer(&method, &uri, &headers, &body);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        catalogue.wrong.push(format!("{method} {uri}"));
    }
    Response::builder()
        .status(status)
        .header("Content-Type", "application/json")
        .body(body.to_string().into())
        .unwrap()
}

impl Catalogue {
    fn answer(
        &mut self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> (StatusCode, Value) {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if self.is_down {
            return (StatusCode::SERVICE_UNAVAILABLE, Value::Null);
        }
        if header("authorization") != AUTHORIZATION {
            return (StatusCode::UNAUTHORIZED, Value::Null);
        }
        let path: Vec<&str> = uri.path().trim_start_matches("/geoserver/rest/").split('/').collect();
        let (query, kind) = (uri.query().unwrap_or_default(), header("content-type"));
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let found = |is: bool| (if is { StatusCode::OK } else { StatusCode::NOT_FOUND }, json!({}));
        let created = (StatusCode::CREATED, Value::Null);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match (method.as_str(), path.as_slice(), kind) {
            ("GET", ["workspaces", file], _) => {
                found(self.workspaces.contains(file.trim_end_matches(".json")))
            }
            ("POST", ["workspaces"], "application/json") => {
                self.workspaces.insert(text(&json["workspace"]["name"]));
                created
            }
            (
                "PUT",
                ["workspaces", workspace, stores @ ("datastores" | "coveragestores"), store, file],
                kind,
            ) if self.workspaces.contains(*workspace) => {
                let wanted = match (*stores, *file) {
                    ("datastores", "file.shp") => {
                        ("application/zip", "configure=none&update=overwrite".to_owned())
                    }
                    ("datastores", "file.gpkg") => {
                        ("application/geopackage+sqlite3", "configure=none&update=overwrite".to_owned())
                    }
                    ("coveragestores", "file.geotiff") => {
                        ("image/tiff", format!("configure=first&coverageName={store}&update=overwrite"))
                    }
                    _ => return (StatusCode::METHOD_NOT_ALLOWED, Value::Null),
                };
                if (kind, query) != (wanted.0, wanted.1.as_str()) {
                    return (StatusCode::METHOD_NOT_ALLOWED, Value::Null);
                }
                let place = format!("{workspace}/{store}");
                self.files.insert(place.clone(), String::from_utf8_lossy(body).into_owned());
                let tables: &[&str] =
                    if *file == "file.gpkg" { &["main roads", "paths"] } else { &["lines"] };
                self.available.insert(place, tables.iter().map(|&table| table.to_owned()).collect());
                created
            }
            ("GET", ["workspaces", workspace, "datastores", store, "featuretypes.json"], _) => {
                let place = format!("{workspace}/{store}");
                let made = self.made.entry(place.clone()).or_default();
                let answer = match query {
                    "list=available" => json!({ "list": { "string": self.available[&place] } }),
                    // As GeoServer has it.
                    _ if made.is_empty() => json!({ "featureTypes": "" }),
                    _ => json!({ "featureTypes": { "featureType": made } }),
                };
                (StatusCode::OK, answer)
            }
            ("POST", ["workspaces", workspace, "datastores", store, "featuretypes"], "application/json") => {
                let place = format!("{workspace}/{store}");
                let native = text(&json["featureType"]["nativeName"]);
                let available = self.available.get_mut(&place).unwrap();
                let before = available.len();
                available.retain(|table| *table != native);
                if available.len() == before {
                    return (StatusCode::METHOD_NOT_ALLOWED, Value::Null);
                }
                self.made.entry(place).or_default().push(json["featureType"].clone());
                created
            }
            (
                "PUT",
                ["workspaces", workspace, "coveragestores", store, "coverages", name],
                "application/json",
            ) => {
                assert_eq!(store, name);
                self.made.insert(format!("{workspace}/{store}"), vec![json["coverage"].clone()]);
                (StatusCode::OK, Value::Null)
            }
            ("GET", ["styles", file], _) => found(*file == "line.json"),
            ("GET", ["workspaces", _, "styles", _], _) => found(false),
            ("PUT", ["layers", layer], "application/json") => {
                self.styles.insert((*layer).to_owned(), json["layer"]["defaultStyle"].clone());
                (StatusCode::OK, Value::Null)
            }
            _ => (StatusCode::METHOD_NOT_ALLOWED, Value::Null),
        }
    }
}

async fn log_with(server: &Server, job: &str, text: &str) -> String {
    eventually(text, DEADLINE, async || {
        let log = server.get(&format!("/jobs/{job}/log")).await.text();
        log.contains(text).then_some(log)
    })
    .await
}

#[tokio::test]
async fn outputs_become_layers_and_a_map_names_them() {
    let (geoserver, services) = (GeoServer::start().await, tempfile::tempdir().unwrap());
    let server = Server::with_config(&geoserver.config(&services, "geo")).await;
    server.published("default:Made", true).await;
    let job = server.submit("default:Made", &json!({ "inputs": {} })).await;
    let status = server.job_in(&job, &["successful", "failed"], DEADLINE).await;
    assert_eq!(status["status"], "successful", "{status}");
    let log = log_with(&server, &job, "'notes' was not published").await;
    for line in [
        format!("output 'contours' was published as layer terrain:contour_{job} with style line"),
        format!(
            "output 'heights' was published as layer results:heights_{job}, without its style: there is no nowhere"
        ),
        format!("output 'roads' was published as layer results:roads_{job}_main_roads"),
        format!("output 'roads' was published as layer results:roads_{job}_paths"),
        "text/plain is none of zipped Shapefile, GeoPackage and GeoTIFF".to_owned(),
    ] {
        assert!(log.contains(&line), "{line}\n{log}");
    }
    {
        let catalogue = geoserver.catalogue.lock().unwrap();
        assert_eq!(catalogue.wrong, Vec::<String>::new());
        assert_eq!(catalogue.workspaces.iter().collect::<Vec<_>>(), ["results", "terrain"]);
        assert_eq!(catalogue.files[&format!("results/heights_{job}")], "heights.tif");
        let contours = &catalogue.made[&format!("terrain/contour_{job}")][0];
        assert_eq!(
            (&contours["title"], &contours["abstract"]),
            (&json!("Contour lines"), &json!("From the terrain"))
        );
        assert_eq!(contours["nativeName"], "lines");
        assert_eq!(contours["metadata"]["entry"][0], json!({ "@key": "anabranch_job", "$": job }));
        assert_eq!(catalogue.styles[&format!("terrain:contour_{job}")], json!({ "name": "line" }));
    }
    let map = server.get(&format!("/jobs/{job}/results/map")).await.text();
    let map: Value = serde_json::from_str(&map).unwrap();
    assert_eq!(map["features"][0]["id"], format!("terrain:contour_{job}"));
    let address = map["features"][1]["properties"]["offerings"][0]["operations"][1]["href"].as_str().unwrap();
    let wanted = format!(
        "http://{}/geoserver/results/ows?service=WMS&version=1.3.0&request=GetMap&layers=results:heights_{job}",
        geoserver.address
    );
    assert!(address.starts_with(&wanted), "{address}");
    let due = server.data_folder().join("layers");
    eventually("nothing is due", DEADLINE, async || due.read_dir().unwrap().next().is_none().then_some(()))
        .await;
}

#[tokio::test]
async fn layers_that_are_due_survive_a_killed_server() {
    let (geoserver, services) = (GeoServer::start().await, tempfile::tempdir().unwrap());
    geoserver.catalogue.lock().unwrap().is_down = true;
    let mut server = Server::with_config(&geoserver.config(&services, "geo")).await;
    server.published("default:Made", true).await;
    let job = server.submit("default:Made", &json!({ "inputs": {} })).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    log_with(
        &server,
        &job,
        "layers are not published yet: GET workspaces/terrain.json gave 503; it is tried again",
    )
    .await;
    server.kill().await;
    geoserver.catalogue.lock().unwrap().is_down = false;
    server.start_again().await;
    log_with(&server, &job, &format!("was published as layer terrain:contour_{job}")).await;
    assert_eq!(server.job(&job).await["status"], "successful");
}

#[tokio::test]
async fn a_refused_account_fails_no_job() {
    let (geoserver, services) = (GeoServer::start().await, tempfile::tempdir().unwrap());
    let server = Server::with_config(&geoserver.config(&services, "wrong")).await;
    server.published("default:Made", true).await;
    let job = server.submit("default:Made", &json!({ "inputs": {} })).await;
    server.job_in(&job, &["successful"], DEADLINE).await;
    log_with(&server, &job, "layers could not be published: GeoServer refuses the account").await;
}

/// Passes tiles on.
const TILES: &str = r#"
identifier = "Tiles"
title = "Tiles"
[chunking]
inputs = ["dem"]
output = "copy"
cut = "tiles"
[inputs.dem]
type = "complex"
formats = ["image/tiff; application=geotiff"]
[outputs.copy]
type = "complex"
formats = ["image/tiff; application=geotiff"]
file = "copy.tif"
publish = { as_layer = true, layer_name = "copied" }
[command]
program = "/bin/cp"
arguments = ["{dem}", "{copy}"]
"#;

#[tokio::test]
async fn the_layer_of_a_stream_is_made_once_of_the_joined_whole() {
    let (geoserver, services) = (GeoServer::start().await, tempfile::tempdir().unwrap());
    let config = geoserver.config(&services, "geo");
    std::fs::write(services.path().join("tiles.toml"), TILES).unwrap();
    let server = Server::with_config(&config).await;
    let process = "default:OutputStreamingTiles";
    server.published(process, true).await;
    let dem = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/jacksboro_dem.tif");
    let dem = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, std::fs::read(dem).unwrap());
    let geotiff = "image/tiff; application=geotiff";
    let request = |media_type: &str| {
        json!({
            "inputs": {
                "dem": { "value": dem, "mediaType": geotiff, "encoding": "base64" },
                "chunksByRow": 2, "chunksByColumn": 2,
            },
            "outputs": { "result": { "format": { "mediaType": media_type } } },
            "response": "document",
        })
    };
    let joined = server.submit(process, &request(geotiff)).await;
    let name = format!("copied_{joined}");
    log_with(&server, &joined, &format!("output 'result' was published as layer results:{name}")).await;
    let playlist = server.submit(process, &request(&format!("application/x-ogc-playlist+{geotiff}"))).await;
    log_with(&server, &playlist, "output 'result' was not published as a layer: it is a playlist").await;
    let catalogue = geoserver.catalogue.lock().unwrap();
    assert_eq!(catalogue.wrong, Vec::<String>::new());
    assert_eq!(catalogue.files.keys().collect::<Vec<_>>(), [&format!("results/{name}")]);
}
