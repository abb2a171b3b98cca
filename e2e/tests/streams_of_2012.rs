//! The processes of 52°North's Streaming based WPS, as a client of 2012 sees them: by WPS 1.0.0, with GML and GeoTIFFs.

use base64::Engine as _;
use e2e::{DEADLINE, Reply, Server, eventually, get_as};

const STREAMING: &str = "org.n52.wps.server.algorithm.streaming.";

/// A road network of two lines, and the points of the worked example.
fn collection(members: &str) -> String {
    format!(
        r#"<wfs:FeatureCollection xmlns:wfs="http://www.opengis.net/wfs" xmlns:gml="http://www.opengis.net/gml" xmlns:x="http://x.example">{members}</wfs:FeatureCollection>"#
    )
}

fn member(id: &str, geometry: &str) -> String {
    format!(
        r#"<gml:featureMember><x:f fid="{id}"><x:name>{id}</x:name><x:geom>{geometry}</x:geom></x:f></gml:featureMember>"#
    )
}

fn line(id: &str, coordinates: &str) -> String {
    member(
        id,
        &format!(
            r#"<gml:LineString srsName="EPSG:4326"><gml:coordinates>{coordinates}</gml:coordinates></gml:LineString>"#
        ),
    )
}

fn point(id: &str, coordinates: &str) -> String {
    member(
        id,
        &format!(
            r#"<gml:Point srsName="EPSG:4326"><gml:coordinates>{coordinates}</gml:coordinates></gml:Point>"#
        ),
    )
}

fn roads(count: usize) -> String {
    collection(
        &(0..count)
            .map(|n| line(&format!("r{n}"), &format!("{n},0 {n}.1,0.5 {n}.2,0.51 {n}.3,3")))
            .collect::<String>(),
    )
}

fn literal(id: &str, value: impl std::fmt::Display) -> String {
    format!(
        "<wps:Input><ows:Identifier>{id}</ows:Identifier><wps:Data><wps:LiteralData>{value}</wps:LiteralData></wps:Data></wps:Input>"
    )
}

fn complex(id: &str, attributes: &str, content: &str) -> String {
    format!(
        "<wps:Input><ows:Identifier>{id}</ows:Identifier><wps:Data><wps:ComplexData {attributes}>{content}</wps:ComplexData></wps:Data></wps:Input>"
    )
}

const GML: &str =
    r#"mimeType="text/xml; subtype=gml/2.1.2" schema="http://schemas.opengis.net/gml/2.1.2/feature.xsd""#;
const PLAYLIST_OF_GML: &str = r#"mimeType="application/x-ogc-playlist+text/xml; subtype=gml/2.1.2" schema="http://schemas.opengis.net/gml/2.1.2/feature.xsd""#;

async fn execute(server: &Server, process: &str, inputs: &str, output: &str) -> Reply {
    let request = format!(
        r#"<wps:Execute service="WPS" version="1.0.0" xmlns:wps="http://www.opengis.net/wps/1.0.0" xmlns:ows="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink"><ows:Identifier>{process}</ows:Identifier><wps:DataInputs>{inputs}</wps:DataInputs><wps:ResponseForm><wps:ResponseDocument storeExecuteResponse="false" lineage="false" status="false"><wps:Output {output}><ows:Identifier>result</ows:Identifier></wps:Output></wps:ResponseDocument></wps:ResponseForm></wps:Execute>"#
    );
    server.post("/wps", "text/xml", request).await
}

async fn get(url: &str) -> Reply {
    get_as(url, "*/*").await
}

/// What stands between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let start = text.find(before).unwrap_or_else(|| panic!("{before} is not in {text}")) + before.len();
    let length = text[start..].find(after).unwrap_or_else(|| panic!("{after} is not in {text}"));
    &text[start..start + length]
}

/// The playlist that an answer refers to, once it has ended: its chunks.
async fn chunks(answer: &str) -> Vec<String> {
    assert!(answer.contains("ProcessSucceeded"), "{answer}");
    let href = between(answer, "<wps:Reference href=\"", "\"").replace("&amp;", "&");
    let first = get(&href).await;
    assert!(first.text().starts_with("#SPATIAL-DATA-PLAYLIST\n"), "it can be read when the answer is sent");
    let ended = eventually("the playlist ends", DEADLINE, async || {
        let text = get(&href).await.text();
        text.ends_with("#PLAYLIST-END\n").then_some(text)
    })
    .await;
    assert!(!ended.contains("#EXCEPTION"), "{ended}");
    let mut chunks = Vec::new();
    for address in ended.lines().filter(|line| !line.starts_with('#')) {
        let chunk = get(address).await;
        assert_eq!(chunk.status, 200);
        chunks.push(chunk.text());
    }
    chunks
}

#[tokio::test]
async fn the_processes_describe_themselves_as_in_2012() {
    let server = Server::start().await;
    let capabilities =
        get(&server.url("/wps?service=WPS&request=GetCapabilities&version=1.0.0")).await.text();
    #[rustfmt::skip]
    let processes = [
        ("OutputStreamingSimplifyDouglasPeucker", vec!["FEATURES", "TOLERANCE", "NumberOfChunks"],
         "text/xml; subtype=gml/2.1.2", "application/x-ogc-playlist+text/xml; subtype=gml/2.1.2"),
        ("FullStreamingSnapPointsToLines", vec!["Points", "Lines", "MaximumDistance", "MaxTimeIdle"],
         "application/x-ogc-playlist+text/xml", "application/x-ogc-playlist+text/xml; subtype=gml/2.1.2"),
        ("OutputStreamingNDWI", vec!["NIR", "SWIR", "chunksByRow", "chunksByColumn"],
         "image/tiff", "application/x-ogc-playlist+image/tiff"),
    ];
    for (name, inputs, input_format, output_format) in processes {
        let id = format!("{STREAMING}{name}");
        assert!(capabilities.contains(&format!("<ows:Identifier>{id}</ows:Identifier>")), "{id}");
        let query = format!("/wps?service=WPS&version=1.0.0&request=DescribeProcess&identifier={id}");
        let described = get(&server.url(&query)).await.text();
        let inside = between(&described, "<DataInputs>", "</DataInputs>");
        let found: Vec<_> =
            inside.split("<ows:Identifier>").skip(1).map(|part| part.split('<').next().unwrap()).collect();
        assert_eq!(found, inputs, "the inputs of the base process in their order, then those added");
        assert_eq!(inside.matches(r#"minOccurs="1" maxOccurs="1""#).count(), inputs.len(), "{inside}");
        assert_eq!(between(inside, "<MimeType>", "<"), input_format);
        let output = between(&described, "<ProcessOutputs>", "</ProcessOutputs>");
        assert_eq!(
            (output.matches("<ows:Identifier>").count(), between(output, "<ows:Identifier>", "<")),
            (1, "result")
        );
        assert_eq!(between(output, "<MimeType>", "<"), output_format);
        assert!(between(&described, "<ows:Title>", "<").ends_with(name));
    }
}

#[tokio::test]
async fn lines_are_simplified_in_pieces_of_gml() {
    let server = Server::start().await;
    let process = format!("{STREAMING}OutputStreamingSimplifyDouglasPeucker");
    let inputs = |chunks| {
        complex("FEATURES", GML, &roads(10)) + &literal("TOLERANCE", 0.1) + &literal("NumberOfChunks", chunks)
    };
    let by_reference = format!(r#"asReference="true" {PLAYLIST_OF_GML}"#);
    let answer = execute(&server, &process, &inputs(4), &by_reference).await.text();
    let chunks = chunks(&answer).await;
    let counts: Vec<_> = chunks.iter().map(|chunk| chunk.matches("<gml:featureMember>").count()).collect();
    assert_eq!(counts, [3, 3, 2, 2]);
    assert!(chunks[0].contains("<gml:coordinates>0,0 0.2,0.51 0.3,3</gml:coordinates>"), "{}", chunks[0]);
    // Written into the answer it is the address.
    let inline = execute(&server, &process, &inputs(1), PLAYLIST_OF_GML).await.text();
    let address = between(between(&inline, "<wps:ComplexData", "/wps:ComplexData>"), ">", "<");
    assert!(address.contains("/wps/RetrieveResultServlet?id=playlist"), "{inline}");
    // What is wrong is told before the playlist is open.
    for (inputs, code, locator) in [
        (inputs(11), "InvalidParameterValue", "NumberOfChunks"),
        (inputs(0), "InvalidParameterValue", "NumberOfChunks"),
        (
            complex("FEATURES", GML, &roads(1)) + &literal("NumberOfChunks", 1),
            "MissingParameterValue",
            "TOLERANCE",
        ),
    ] {
        let refused = execute(&server, &process, &inputs, &by_reference).await;
        let expected = format!(r#"exceptionCode="{code}" locator="{locator}""#);
        assert!(refused.status == 400 && refused.text().contains(&expected), "{}", refused.text());
    }
}

#[tokio::test]
async fn points_of_a_growing_playlist_are_snapped_to_lines() {
    let server = Server::start().await;
    // The points are the stream of another process of the same server, simplified by nothing.
    let points = collection(
        &[("P0", "3,1"), ("P1", "5,5"), ("P2", "12,0"), ("P3", "11,11.5"), ("P4", "2,8")]
            .map(|(id, at)| point(id, at))
            .concat(),
    );
    let source = format!("{STREAMING}OutputStreamingSimplifyDouglasPeucker");
    let inputs = complex("FEATURES", GML, &points) + &literal("TOLERANCE", 0) + &literal("NumberOfChunks", 5);
    let by_reference = format!(r#"asReference="true" {PLAYLIST_OF_GML}"#);
    let upstream = execute(&server, &source, &inputs, &by_reference).await.text();
    let playlist = between(&upstream, "<wps:Reference href=\"", "\"").to_owned();
    let lines = collection(&(line("L1", "0,0 10,0") + &line("L2", "0,10 10,10")));
    let shared =
        complex("Lines", GML, &lines) + &literal("MaximumDistance", 2) + &literal("MaxTimeIdle", 10_000);
    let by_address = format!(
        r#"<wps:Input><ows:Identifier>Points</ows:Identifier><wps:Reference xlink:href="{playlist}" {PLAYLIST_OF_GML}/></wps:Input>"#
    );
    let inline = complex("Points", PLAYLIST_OF_GML, &playlist);
    for points in [by_address, inline] {
        let process = format!("{STREAMING}FullStreamingSnapPointsToLines");
        let answer = execute(&server, &process, &(points + &shared), &by_reference).await.text();
        let chunks = chunks(&answer).await;
        assert_eq!(chunks.len(), 5, "one for each chunk that came in, though it be empty");
        let all = chunks.concat();
        let snapped: Vec<_> =
            all.split("<gml:coordinates>").skip(1).map(|part| part.split('<').next().unwrap()).collect();
        assert_eq!(snapped, ["3,0", "10,0", "10,10", "2,10"], "the one that is too far away is dropped");
    }
    let short = complex("Points", PLAYLIST_OF_GML, &playlist)
        + &complex("Lines", GML, &lines)
        + &literal("MaximumDistance", 2)
        + &literal("MaxTimeIdle", 999);
    let refused =
        execute(&server, &format!("{STREAMING}FullStreamingSnapPointsToLines"), &short, &by_reference).await;
    assert!(refused.text().contains(r#"locator="MaxTimeIdle""#), "{}", refused.text());
}

#[tokio::test]
async fn tolerances_count_in_the_units_of_the_data() {
    let server = Server::start().await;
    let metres = r#"<gml:LineString srsName="EPSG:25832"><gml:coordinates>400000,5700000 400050,5700004 400100,5700000 400150,5700020</gml:coordinates></gml:LineString>"#;
    let features = collection(&member("r1", metres));
    let inputs =
        complex("FEATURES", GML, &features) + &literal("TOLERANCE", 5) + &literal("NumberOfChunks", 1);
    let process = format!("{STREAMING}OutputStreamingSimplifyDouglasPeucker");
    let answer =
        execute(&server, &process, &inputs, &format!(r#"asReference="true" {PLAYLIST_OF_GML}"#)).await.text();
    let chunks = chunks(&answer).await;
    let kept = between(&chunks[0], "<gml:coordinates>", "<");
    assert_eq!(kept, "400000,5700000 400100,5700000 400150,5700020", "{}", chunks[0]);
    assert!(chunks[0].contains("25832"), "{}", chunks[0]);
}

#[tokio::test]
async fn an_index_of_two_rasters_comes_in_tiles_in_base64() {
    let server = Server::start().await;
    let raster = std::fs::read("../examples/data/jacksboro_dem.tif").unwrap();
    let raster = base64::engine::general_purpose::STANDARD.encode(raster);
    let tiff = r#"mimeType="image/tiff" encoding="base64""#;
    let inputs = complex("NIR", tiff, &raster)
        + &complex("SWIR", tiff, &raster)
        + &literal("chunksByRow", 3)
        + &literal("chunksByColumn", 2);
    let process = format!("{STREAMING}OutputStreamingNDWI");
    let output = r#"asReference="true" mimeType="application/x-ogc-playlist+image/tiff" encoding="base64""#;
    let answer = execute(&server, &process, &inputs, output).await.text();
    let chunks = chunks(&answer).await;
    assert_eq!(chunks.len(), 6);
    for chunk in chunks {
        let tile = base64::engine::general_purpose::STANDARD.decode(chunk.trim()).unwrap();
        assert!(tile.starts_with(b"II*\0"), "it is a TIFF");
    }
    for (counts, locator) in [((0, 1), "chunksByRow"), ((1, 100_000), "chunksByColumn")] {
        let inputs = complex("NIR", tiff, &raster)
            + &complex("SWIR", tiff, &raster)
            + &literal("chunksByRow", counts.0)
            + &literal("chunksByColumn", counts.1);
        let refused = execute(&server, &process, &inputs, output).await.text();
        assert!(refused.contains(&format!(r#"locator="{locator}""#)), "{refused}");
    }
}
