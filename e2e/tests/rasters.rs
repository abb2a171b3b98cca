//! Rasters in another format than the process's own, by an agent: in and out, through every interface.

#![allow(clippy::unwrap_used)]

use e2e::{Agent, Server, binary, command};
use serde_json::json;
use std::path::{Path, PathBuf};

const PROCESS: &str = "default:Hillshade";
const GRID: &str = "application/arcgrid";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples")
}

async fn gdal(program: &str, arguments: &[&str]) -> String {
    let run = command(program).args(arguments).output().await.unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// The values of an Esri ASCII grid with their value of no data, which is the last line of its head.
fn values(grid: &str) -> &str {
    assert!(grid.starts_with("ncols 403\nnrows 344\nxllcorner -84.41375\n"), "{}", &grid[..100]);
    &grid[grid.find("NODATA_value").unwrap()..]
}

#[tokio::test]
async fn a_grid_of_text_goes_into_a_process_for_geotiff_and_comes_out_of_it() {
    let server = Server::start().await;
    let _agent = Agent::start_in(&server, "a1", &examples().join("gdaldem-hillshade"));
    server.published(PROCESS, true).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
    let (dem, grid, result) =
        (examples().join("data/jacksboro_dem.tif"), path("dem.asc"), path("result.tif"));
    gdal("gdal_translate", &["-q", "-of", "AAIGrid", dem.to_str().unwrap(), &grid]).await;
    let text = std::fs::read_to_string(&grid).unwrap();

    // Out alone: the elevation model is the example's own GeoTIFF.
    let as_grid = json!({ "hillshade": { "format": { "mediaType": GRID } } });
    let request = json!({ "inputs": {}, "outputs": as_grid, "response": "raw" });
    let out = server.execute(PROCESS, &request).await;
    assert_eq!((out.status, out.content_type.as_str()), (200, GRID), "{}", out.text());
    let expected = out.text();

    // In and out.
    let input = json!({ "dem": { "value": text, "mediaType": GRID } });
    let request = json!({ "inputs": input, "outputs": as_grid, "response": "raw" });
    let both = server.execute(PROCESS, &request).await;
    assert_eq!(both.status, 200, "{}", both.text());
    assert!(values(&both.text()) == values(&expected));
    let execute = format!(
        r#"<wps:Execute service="WPS" version="1.0.0" xmlns:wps="http://www.opengis.net/wps/1.0.0"
        xmlns:ows="http://www.opengis.net/ows/1.1"><ows:Identifier>{PROCESS}</ows:Identifier><wps:DataInputs><wps:Input>
        <ows:Identifier>dem</ows:Identifier><wps:Data><wps:ComplexData mimeType="{GRID}">{text}</wps:ComplexData></wps:Data>
        </wps:Input></wps:DataInputs><wps:ResponseForm><wps:RawDataOutput mimeType="{GRID}"><ows:Identifier>hillshade</ows:Identifier>
        </wps:RawDataOutput></wps:ResponseForm></wps:Execute>"#
    );
    let by_wps = server.post("/wps", "text/xml", execute).await;
    assert_eq!((by_wps.status, by_wps.content_type.as_str()), (200, GRID), "{}", by_wps.text());
    assert!(values(&by_wps.text()) == values(&expected));

    // In alone: a file whose format nobody names.
    let (input, output) = (format!("dem=@{grid}"), format!("hillshade={result}"));
    let url = server.url("/");
    let run = ["run", PROCESS, "-i", &input, "-o", &output, "--server", &url];
    let run = command(binary()).args(run).output().await.unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let checksum = gdal("gdalinfo", &["-checksum", &result]).await;
    std::fs::write(&grid, &expected).unwrap();
    let checksum_of_grid = gdal("gdalinfo", &["-checksum", &grid]).await;
    let line = |said: &str| said.lines().find(|line| line.contains("Checksum=")).unwrap().to_owned();
    assert_eq!(line(&checksum), line(&checksum_of_grid));
}

#[tokio::test]
async fn a_grid_that_can_t_be_read_is_refused_with_its_fault() {
    let server = Server::start().await;
    let _agent = Agent::start_in(&server, "a1", &examples().join("gdaldem-hillshade"));
    server.published(PROCESS, true).await;
    let broken = "ncols 2\nnrows 2\nxllcorner 0\nyllcorner 0\ncellsize 1\n1 2\n3 four\n";
    let request = json!({ "inputs": { "dem": { "value": broken, "mediaType": GRID } } });
    let refused = server.execute(PROCESS, &request).await;
    assert_eq!(refused.status, 400);
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("input 'dem'") && detail.contains("not \"four\" (in line 7)"), "{detail}");
}

/// All cells of a raster, as they lie in a file without any head.
async fn cells(folder: &Path, raster: &str) -> Vec<u8> {
    let raw = folder.join("cells.raw");
    gdal("gdal_translate", &["-q", "-of", "ENVI", raster, raw.to_str().unwrap()]).await;
    std::fs::read(raw).unwrap()
}

#[tokio::test]
async fn a_hillshade_of_overlapping_tiles_on_two_agents_is_that_of_the_whole() {
    let server = Server::start().await;
    let _agents =
        ["a1", "a2"].map(|name| Agent::start_in(&server, name, &examples().join("gdaldem-hillshade")));
    let process = "default:OutputStreamingHillshade";
    server.published(process, true).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
    let dem = examples().join("data/jacksboro_dem.tif");
    let dem = dem.to_str().unwrap();
    let whole = path("whole.tif");
    gdal("gdaldem", &["hillshade", "-q", "-az", "315", "-alt", "45", "-s", "111120", dem, &whole]).await;
    let expected = cells(folder.path(), &whole).await;

    // Joined to one GeoTIFF, tiled as a COG is.
    let joined = path("joined.tif");
    let tif = std::fs::read(dem).unwrap();
    let tif = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, tif);
    let geotiff = "image/tiff; application=geotiff";
    let request = json!({
        "inputs": {
            "dem": { "value": tif, "mediaType": geotiff, "encoding": "base64" },
            "chunksByRow": 4, "chunksByColumn": 4,
        },
        "outputs": { "result": { "format": { "mediaType": geotiff } } },
        "response": "raw",
    });
    let reply = server.execute(process, &request).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    std::fs::write(&joined, &reply.body).unwrap();
    assert!(cells(folder.path(), &joined).await == expected, "the joined tiles differ from the whole");
    let info = gdal("gdalinfo", &[&joined]).await;
    assert!(info.contains("Block=256x256") || info.contains("Block=512x512"), "{info}");
    let jobs = server.get("/jobs?f=json").await.json();
    let id = jobs["jobs"][0]["jobID"].as_str().unwrap();
    let log = server.get(&format!("/jobs/{id}/log")).await.json();
    let texts: Vec<_> =
        log["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect();
    let at = |agent: &str| {
        texts.iter().filter(|text| text.contains("runs at agent") && text.ends_with(agent)).count()
    };
    assert!(at("/a1") > 0 && at("/a2") > 0 && at("/a1") + at("/a2") == 16, "{texts:?}");

    // As a client follows it: the file is the list of its tiles.
    let list = path("tiles.txt");
    let (input, output) = (format!("dem=@{dem}"), format!("result={list}"));
    let url = server.url("/");
    let mut run = command(binary());
    run.args(["run", process, "-i", &input, "-i", "chunksByRow=4", "-i", "chunksByColumn=4"]);
    let run = run.args(["-o", &output, "--server", &url]).output().await.unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(std::fs::read_to_string(&list).unwrap().lines().count(), 16);
    let mosaic = path("mosaic.vrt");
    gdal("gdalbuildvrt", &["-q", "-input_file_list", &list, &mosaic]).await;
    assert!(cells(folder.path(), &mosaic).await == expected, "the tiles side by side differ from the whole");
}
