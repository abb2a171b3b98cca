//! Formats: what a process does not know is converted for it, on the way in and out.

use super::*;
use crate::Submitter;
use anabranch_model::{ChunkReader, Feed, OutputRequest, Transmission, Viewer};

const LINE: &str = r#"{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"name":"Rhine"},"geometry":{"type":"LineString","coordinates":[[8,50],[7,51]]}}]}"#;
const WKT: &str = "LINESTRING (8 50, 7 51)";

/// Only knows GeoJSON.
fn geojson_only<F, R>(on_restart: OnRestart, script: F) -> Arc<dyn Process>
where
    F: Fn(Execution) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), Error>> + Send + 'static,
{
    let mut description = describe("geojson", true);
    let domain = ComplexDomain { formats: vec![Format::new(Format::GEOJSON)], bytes_max: None };
    description.inputs[1].data = DataDescription::Complex(domain.clone());
    description.outputs[1].data = DataDescription::Complex(domain);
    let description = Arc::new(description);
    Arc::new(Scripted { description, on_restart, script: Box::new(move |e| Box::pin(script(e))) })
}

/// Gives its data back.
async fn give_back(execution: Execution) -> Result<(), Error> {
    let asked = execution.outputs[0].format.media_type.clone();
    assert_eq!(asked.as_deref(), Some(Format::GEOJSON), "it is asked for its own format only");
    for value in execution.inputs.all("data") {
        let Value::Complex(complex) = value else { panic!("complex") };
        assert_eq!(complex.format, Format::new(Format::GEOJSON));
        let content = complex.data.read_all(1 << 20).unwrap();
        assert!(content.starts_with(b"{"), "{content:?}");
        execution.sink.write("data", value.clone()).await?;
    }
    Ok(())
}

fn given(text: &str, media_type: Option<&str>) -> InputItem {
    let mut item = item("data", text);
    item.format.media_type = media_type.map(str::to_owned);
    item
}

fn asked(media_type: &str) -> OutputRequest {
    let format = FormatHint { media_type: Some(media_type.into()), ..FormatHint::default() };
    OutputRequest { id: "data".into(), format, transmission: Transmission::Value, uom: None }
}

fn converting(mode: ExecutionMode, input: InputItem, output: OutputRequest) -> ExecuteRequest {
    ExecuteRequest { inputs: vec![input], outputs: vec![output], ..request("geojson", mode) }
}

async fn execute(bench: &Bench, input: InputItem, output: OutputRequest) -> Result<(String, String), Error> {
    let request = converting(ExecutionMode::Sync, input, output);
    let mut job = bench.engine.submit(request, &Submitter::default()).await?;
    soon(job.finished()).await;
    Ok(content(&*job.results()?))
}

/// The media type and the text of the first chunk.
fn content(results: &crate::Results) -> (String, String) {
    let Value::Complex(chunk) = &results.outputs[0].chunks[0] else { panic!("complex") };
    let content = chunk.data.read_all(1 << 20).unwrap();
    (chunk.format.media_type.clone(), String::from_utf8_lossy(&content).into_owned())
}

async fn bench() -> Bench {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(geojson_only(OnRestart::Requeue, give_back));
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_names_the_process_s_own_formats_first_and_all_others_once() {
    let bench = bench().await;
    let process = bench.engine.registry().get(&ProcessId::new("geojson").unwrap()).unwrap();
    let description = process.description();
    let DataDescription::Complex(domain) = &description.input("data").unwrap().data else {
        panic!("complex")
    };
    assert_eq!(domain.formats[0].media_type, Format::GEOJSON);
    let mut names: Vec<_> = domain.formats.iter().map(|format| format.media_type.as_str()).collect();
    assert!(names.contains(&"application/wkt") && names.contains(&"application/geopackage+sqlite3"));
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    let echo = bench.engine.registry().get(&ProcessId::new("echo").unwrap()).unwrap();
    assert_eq!(
        echo.description().inputs[1],
        describe("echo", true).inputs[1],
        "what can't be converted stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_and_outputs_are_converted_by_name() {
    let bench = bench().await;
    let (media_type, text) =
        execute(&bench, given(WKT, Some("text/wkt")), asked("application/wkt")).await.unwrap();
    assert_eq!(media_type, "application/wkt");
    assert_eq!(
        text.trim().replace(", ", ",").replace("LINESTRING (", "LINESTRING("),
        "LINESTRING(8 50,7 51)"
    );
    let (media_type, text) = execute(&bench, given(LINE, None), asked("application/zip")).await.unwrap();
    assert_eq!(media_type, "application/x-zipped-shp", "it is given under its described name");
    assert!(text.starts_with("PK"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn content_tells_where_nothing_is_said_or_too_little() {
    let bench = bench().await;
    let sequence =
        format!("\u{1e}{}\n", r#"{"type":"Feature","properties":{"name":"Rhine"},"geometry":null}"#);
    let (_, text) = execute(&bench, given(&sequence, None), asked(Format::GEOJSON)).await.unwrap();
    assert!(text.contains("FeatureCollection") && text.contains("Rhine"), "{text}");
    let kml = r#"<kml xmlns="http://www.opengis.net/kml/2.2"><Placemark><name>Rhine</name><Point><coordinates>8,50</coordinates></Point></Placemark></kml>"#;
    let (_, text) = execute(&bench, given(kml, None), asked(Format::GEOJSON)).await.unwrap();
    assert!(text.contains("Rhine") && text.contains("[8,50]"), "{text}");
    // What clients of WPS call GML.
    let gml = r#"<a:r xmlns:a="urn:a" xmlns:gml="http://www.opengis.net/gml"><a:name>Rhine</a:name><a:g><gml:Point srsName="urn:ogc:def:crs:EPSG::4326"><gml:pos>50 8</gml:pos></gml:Point></a:g></a:r>"#;
    for said in [None, Some("text/xml"), Some("text/xml; charset=utf-8"), Some("text/xml; subtype=gml/3.1.1")]
    {
        let (_, text) = execute(&bench, given(gml, said), asked(Format::GEOJSON)).await.unwrap();
        assert!(text.contains("Rhine") && text.contains("[8,50]"), "{said:?} {text}");
    }
    for (said, version) in [
        ("application/gml+xml", "application/gml+xml; version=3.2"),
        ("application/gml-2.1.2", "text/xml; subtype=gml/2.1.2"),
        ("text/xml; subtype=gml/3.2.1", "application/gml+xml; version=3.2"),
    ] {
        let (media_type, text) = execute(&bench, given(LINE, None), asked(said)).await.unwrap();
        assert_eq!(media_type, version, "{said}");
        assert!(text.contains("FeatureCollection") && text.contains("LineString"), "{said} {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_rules_of_its_format_is_a_fault_of_its_input() {
    let bench = bench().await;
    let refused =
        execute(&bench, given("LINESTRING (8", Some("application/wkt")), asked(Format::GEOJSON)).await;
    let Err(Error::Invalid(faults)) = refused else { panic!("{refused:?}") };
    assert_eq!(faults[0].subject, anabranch_model::Subject::Input("data".into()));
    let text = faults[0].to_string();
    assert!(text.starts_with("input 'data' can't be read: WKT data "), "{text}");
    let refused = execute(&bench, given("x", Some("image/png")), asked(Format::GEOJSON)).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_own_format_can_t_hold_is_a_fault_of_its_input() {
    let bench = bench().await;
    let far = "SRID=32632;POINT (1e9 1e9)";
    let refused = execute(&bench, given(far, Some("application/wkt")), asked(Format::GEOJSON)).await;
    let Err(Error::Invalid(faults)) = refused else { panic!("{refused:?}") };
    let text = faults[0].to_string();
    assert!(text.starts_with("input 'data' can't be read: ") && text.contains("1000000000"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_too_large_in_another_format_is_refused() {
    let bench = Bench::new(Limits { converted_bytes_max: 250, ..Limits::default() }).await;
    bench.engine.registry().publish(geojson_only(OnRestart::Requeue, give_back));
    let many = format!("MULTIPOINT ({}9 9)", "1 2,".repeat(50));
    let refused = execute(&bench, given(&many, Some("application/wkt")), asked(Format::GEOJSON)).await;
    let what = "input 'data' converted from WKT to GeoJSON".to_owned();
    assert_eq!(refused, Err(Error::TooLarge { what, bytes_max: 250 }));
    let refused = execute(&bench, given(WKT, Some("application/wkt")), asked("application/zip")).await;
    let what = "output 'data' converted from GeoJSON to zipped Shapefile, with what was converted before,"
        .to_owned();
    assert_eq!(refused, Err(Error::TooLarge { what, bytes_max: 250 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_in_a_format_that_can_t_be_converted_to_the_one_asked_for_fails() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(geojson_only(OnRestart::Requeue, |execution| async move {
        execution.sink.write("data", bytes("neither")).await
    }));
    let kml = "application/vnd.google-earth.kml+xml";
    let refused = execute(&bench, given(LINE, None), asked(kml)).await;
    let Err(Error::ProcessFailed { message, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(
        message,
        format!(
            "output 'data' can't be given as {kml}: the process wrote text/plain, which can't be converted"
        )
    );
}

/// A job with a converted input and output, in the middle of its run; the data folder as a crash at this moment leaves it.
async fn crashed_while_running(on_restart: OnRestart) -> (JobId, TempDir) {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(geojson_only(on_restart, |execution| async move {
        execution.sink.started(None);
        execution.sink.cancelled().await;
        Err(Error::Dismissed)
    }));
    let input = given(WKT, Some("application/wkt"));
    let request = converting(ExecutionMode::Async, input, asked("application/wkt"));
    let id = bench.engine.submit(request, &Submitter::default()).await.unwrap().id();
    bench.running(id).await;
    let copy = bench.crash().await;
    let converted = copy.path().join("jobs").join(id.to_string()).join("scratch/converted/0");
    assert!(converted.exists(), "the run had converted its input");
    (id, copy)
}

async fn recovered(folder: &TempDir, id: JobId, process: Arc<dyn Process>) -> (Engine, Arc<JobView>) {
    let engine = open(folder.path(), Limits::default()).await;
    engine.registry().publish(process);
    engine.recover().await.unwrap();
    let mut watched = engine.watch(&Viewer::Operator, id).await.unwrap();
    let view = Arc::clone(&*soon(watched.wait_for(|view| view.job.is_finished())).await.unwrap());
    (engine, view)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_repeated_after_a_crash_converts_its_inputs_afresh() {
    let (id, folder) = crashed_while_running(OnRestart::Requeue).await;
    let process = geojson_only(OnRestart::Requeue, give_back);
    let (engine, view) = recovered(&folder, id, process).await;
    assert_eq!(view.job.attempt, 2);
    let (media_type, text) = content(&engine.results(&Viewer::Operator, id).await.unwrap());
    assert_eq!(media_type, "application/wkt");
    assert!(text.starts_with("LINESTRING"), "{text}");
    assert!(!folder.path().join("jobs").join(id.to_string()).join("scratch").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_found_again_has_its_inputs_and_its_outputs_are_converted() {
    let (id, folder) = crashed_while_running(OnRestart::Reattach).await;
    let process = geojson_only(OnRestart::Reattach, |execution| async move {
        assert!(execution.resume);
        let value = ComplexValue::new(Data::Bytes(LINE.into()), Format::new(Format::GEOJSON));
        execution.sink.write("data", Value::Complex(value)).await
    });
    let (engine, view) = recovered(&folder, id, process).await;
    assert_eq!(view.job.attempt, 1);
    let (media_type, text) = content(&engine.results(&Viewer::Operator, id).await.unwrap());
    assert_eq!(media_type, "application/wkt");
    assert!(text.starts_with("LINESTRING"), "{text}");
    let log = engine.log(&Viewer::Operator, id, 0, 100).await.unwrap();
    let conversions = log.lines.iter().filter(|line| line.text.contains("converting input"));
    assert_eq!(conversions.count(), 1, "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn coordinates_stay_in_their_system_where_the_process_takes_that() {
    const GML: &str = r#"<gml:LineString xmlns:gml="http://www.opengis.net/gml" srsName="EPSG:25832"><gml:coordinates>400000,5700000 400010,5700020</gml:coordinates></gml:LineString>"#;
    let bench = Bench::new(Limits::default()).await;
    let mut description = describe("geojson", true);
    let formats = vec![Format::new(Format::GEOJSON), Format::new(Format::GEOJSON_2008)];
    let domain = ComplexDomain { formats, bytes_max: None };
    description.inputs[1].data = DataDescription::Complex(domain.clone());
    description.outputs[1].data = DataDescription::Complex(domain);
    let script = |execution: Execution| async move {
        let Some(Value::Complex(value)) = execution.inputs.first("data") else { panic!("complex") };
        let text = String::from_utf8(value.data.read_all(1 << 20).unwrap().to_vec()).unwrap();
        assert_eq!(value.format.media_type, Format::GEOJSON_2008);
        assert!(text.contains("EPSG::25832") && text.contains("400010"), "{text}");
        execution.sink.write("data", Value::Complex(value.clone())).await
    };
    bench.engine.registry().publish(Arc::new(Scripted {
        description: Arc::new(description),
        on_restart: OnRestart::Requeue,
        script: Box::new(move |execution| Box::pin(script(execution))),
    }));
    let gml = || given(GML, Some("text/xml; subtype=gml/2.1.2"));
    let (media_type, text) = execute(&bench, gml(), asked("text/xml; subtype=gml/2.1.2")).await.unwrap();
    assert_eq!(media_type, "text/xml; subtype=gml/2.1.2");
    assert!(text.contains("25832") && text.contains("400010,5700020"), "{text}");
    let (media_type, text) = execute(&bench, gml(), asked(Format::GEOJSON_2008)).await.unwrap();
    assert!(media_type == Format::GEOJSON_2008 && text.contains("EPSG::25832"), "{text}");
    // GeoJSON proper is in degrees.
    let (media_type, text) = execute(&bench, gml(), asked(Format::GEOJSON)).await.unwrap();
    assert_eq!(media_type, Format::GEOJSON);
    assert!(!text.contains("crs") && text.contains("[7.5") && text.contains("51.4"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_says_which_gml_is_asked_for() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(geojson_only(OnRestart::Fail, give_back));
    for (version, expected) in
        [("2.1.2", "text/xml; subtype=gml/2.1.2"), ("3.1.1", "text/xml; subtype=gml/3.1.1")]
    {
        let mut output = asked("text/xml");
        output.format.schema = Some(format!("http://schemas.opengis.net/gml/{version}/feature.xsd"));
        let (media_type, text) = execute(&bench, given(LINE, None), output).await.unwrap();
        assert_eq!(media_type, expected);
        assert!(text.contains("Rhine"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_features_is_known_of_what_they_are_converted_to() {
    let bench = Bench::new(Limits::default()).await;
    bench.engine.registry().publish(geojson_only(OnRestart::Fail, give_back));
    for media_type in [Format::GEOJSON, "text/xml; subtype=gml/3.1.1", "application/flatgeobuf"] {
        let request = converting(ExecutionMode::Sync, given(LINE, None), asked(media_type));
        let mut job = bench.engine.submit(request, &Submitter::default()).await.unwrap();
        soon(job.finished()).await;
        let results = job.results().unwrap();
        let Value::Complex(value) = &results.outputs[0].chunks[0] else { panic!("complex") };
        assert_eq!((value.facts.features, value.facts.bbox), (Some(1), Some([7.0, 50.0, 8.0, 51.0])));
        assert!(value.facts.stored.is_some());
    }
}

/// Three pieces of well-known text.
struct Pieces(u32);

impl ChunkReader for Pieces {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<ComplexValue>, Error>> {
        self.0 += 1;
        let text = WKT.replace("50", &(50 + self.0).to_string());
        let piece = ComplexValue::new(Data::Bytes(text.into()), Format::new("application/wkt"));
        Box::pin(std::future::ready(Ok((self.0 < 4).then_some(piece))))
    }
}

/// Feeds another process with pieces that it does not know.
fn feeding(inner: Arc<dyn Process>) -> Arc<dyn Process> {
    let description = Arc::new(describe("feeding", true));
    let script = move |execution: Execution| {
        let (inner, inputs) = (Arc::clone(&inner), anabranch_model::Inputs::new(Vec::new()));
        let outputs = vec![asked("application/wkt")];
        let feed = Some(Feed::new("data", Box::new(Pieces(0))));
        inner.execute(Execution { feed, inputs, outputs, ..execution })
    };
    Arc::new(Scripted { description, on_restart: OnRestart::Fail, script: Box::new(script) })
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_a_feed_are_converted_one_by_one_and_leave_nothing() {
    // Room for one piece at a time, in and out.
    let bench = Bench::new(Limits { converted_bytes_max: 400, ..Limits::default() }).await;
    let reading = |execution: Execution| async move {
        let mut pieces = execution.feed.unwrap().into_pieces();
        while let Some(piece) = pieces.next().await? {
            assert_eq!(piece.format.media_type, Format::GEOJSON);
            execution.sink.write("data", Value::Complex(piece.clone())).await?;
            assert!(piece.data.path().is_some());
        }
        let left = std::fs::read_dir(execution.sink.scratch().join("converted-feed")).unwrap().count();
        assert_eq!(left, 0);
        Ok(())
    };
    bench.engine.registry().publish(geojson_only(OnRestart::Fail, reading));
    let inner = bench.engine.registry().get(&ProcessId::new("geojson").unwrap()).unwrap();
    bench.engine.registry().publish(feeding(inner));
    let request = ExecuteRequest {
        outputs: vec![OutputRequest { format: FormatHint::default(), ..asked("x") }],
        ..request("feeding", ExecutionMode::Sync)
    };
    let mut job = bench.engine.submit(request, &Submitter::default()).await.unwrap();
    let view = soon(job.finished()).await;
    let results = job.results().unwrap_or_else(|error| panic!("{error}: {:?}", view.job.state));
    let texts = results.outputs[0].chunks.iter().map(|chunk| match chunk {
        Value::Complex(value) => String::from_utf8(value.data.read_all(1000).unwrap().to_vec()).unwrap(),
        other => panic!("{other:?}"),
    });
    let expected = ["LINESTRING (8 51, 7 51)", "LINESTRING (8 52, 7 51)", "LINESTRING (8 53, 7 51)"];
    assert_eq!(texts.map(|text| text.trim_end().to_owned()).collect::<Vec<_>>(), expected);
}
