use super::*;
use crate::testing::{faults, process};
use anabranch_model::{BoundingBox, ExecutionMode, bind};

fn parsed(query: &str) -> Execute {
    parse(query, &process(), Prefer::default()).unwrap()
}

fn untyped(text: &str) -> InputData {
    InputData::Text { text: text.into(), form: TextForm::Untyped }
}

#[test]
fn every_form_of_input_is_read() {
    let execute = parsed(
        "distance=2.5&distance[uom]=km&mode=exact,fast+%26%20loose&features=%7B%22type%22:%22FeatureCollection%22%7D\
         &raster[href]=http://x/1&raster[type]=image/tiff&extent=1,2,3,4&extent[crs]=EPSG:4326",
    );
    let items = &execute.request.inputs;
    let ids: Vec<_> = items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["distance", "mode", "mode", "features", "raster", "extent"]);
    assert_eq!((&items[0].data, items[0].uom.as_deref()), (&untyped("2.5"), Some("km")));
    assert_eq!(items[2].data, untyped("fast & loose"));
    let features = r#"{"type":"FeatureCollection"}"#.to_owned();
    assert_eq!(items[3].data, InputData::Text { text: features, form: TextForm::Json });
    assert_eq!(items[4].data, InputData::Reference(Reference::get("http://x/1")));
    assert_eq!(items[4].format.media_type.as_deref(), Some("image/tiff"));
    assert_eq!(items[5].data, untyped("1,2,3,4,EPSG:4326"));
    bind(&process(), &execute.request).unwrap();
}

#[test]
fn json_is_read_as_in_a_body() {
    let execute = parsed(
        r#"distance={"value":3,"uom":"m"}&raster=[{"href":"http://x/1"},{"href":"http://x/2"}]&extent={"bbox":[1,2,3,4]}&mode={"a":1}"#,
    );
    let items = &execute.request.inputs;
    assert_eq!(items[0].uom.as_deref(), Some("m"));
    assert_eq!(items[1].data, InputData::Reference(Reference::get("http://x/1")));
    assert_eq!(items[2].data, InputData::Reference(Reference::get("http://x/2")));
    let lower = BoundingBox { crs: None, lower: vec![1.0, 2.0], upper: vec![3.0, 4.0] };
    assert_eq!(items[3].data, InputData::BoundingBox(lower));
    // What is a string stays one.
    assert_eq!(items[4].data, untyped(r#"{"a":1}"#));
}

#[test]
fn a_comma_within_a_value_is_encoded() {
    let ids =
        |query: &str| parsed(query).request.inputs.into_iter().map(|item| item.data).collect::<Vec<_>>();
    assert_eq!(ids("mode=a%2Cb,c&mode=d"), [untyped("a,b"), untyped("c"), untyped("d")]);
    let one = |form| ids(form).len();
    assert_eq!((one("raster=a%2Cb"), one("raster=a,b")), (1, 2));
    assert_eq!(ids("distance=1,5"), [untyped("1,5")], "it takes one value, which binding refuses");
}

#[test]
fn outputs_are_included_or_excluded() {
    let ids =
        |query: &str| parsed(query).request.outputs.into_iter().map(|output| output.id).collect::<Vec<_>>();
    assert_eq!(ids("outputs=area,buffered"), ["area", "buffered"]);
    assert_eq!(ids("area[include]=true&buffered[include]=false"), ["area"]);
    assert_eq!(ids("area[include]=false"), ["buffered", "picture", "bounds"]);
    let execute =
        parsed("buffered[include]=true&buffered[mediaType]=text/xml&buffered[transmissionMode]=reference");
    let output = &execute.request.outputs[0];
    assert_eq!(output.format.media_type.as_deref(), Some("text/xml"));
    assert_eq!(output.transmission, Transmission::Reference);
}

#[test]
fn outputs_without_a_name_are_a_fault() {
    for query in ["outputs=", "outputs=area,,buffered", "outputs=area,"] {
        let refused = faults(&parse(query, &process(), Prefer::default()).unwrap_err());
        assert_eq!(refused, [(FaultKind::NotAllowed, "outputs".to_owned())], "{query}");
    }
}

#[test]
fn parameters_say_how_it_is_executed() {
    let execute = parsed("distance=1&prefer=respond-async&response=document&f=json&validate=true");
    assert_eq!(execute.request.mode, ExecutionMode::Async);
    assert_eq!(execute.request.response, ResponseForm::Document);
    assert_eq!(execute.preference_applied.as_deref(), Some("respond-async"));
    let minimal = parsed("outputs=area,buffered&prefer=return%3Dminimal");
    let transmissions: Vec<_> = minimal.request.outputs.iter().map(|output| output.transmission).collect();
    assert_eq!(transmissions, [Transmission::Value, Transmission::Reference]);
    assert_eq!(minimal.request.response, ResponseForm::Document);
    let one = parsed("outputs=area&prefer=return=representation");
    assert_eq!(one.request.response, ResponseForm::Raw);
    assert_eq!(one.preference_applied.as_deref(), Some("return=representation"));
}

#[test]
fn every_fault_is_named() {
    let query =
        "response=pretty&area[include]=maybe&distance[colour]=red&raster[type]=image/tiff&mode=%FF&typo=1";
    let refused = faults(&parse(query, &process(), Prefer::default()).unwrap_err());
    let names: Vec<_> = refused.into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["response", "area", "distance[colour]", "mode", "raster"]);
    // Binding knows the inputs there are.
    let unknown = bind(&process(), &parsed("typo=1").request).unwrap_err();
    assert!(faults(&unknown).iter().any(|(_, name)| name == "typo"));
    let many = "mode=a&".repeat(PARAMETERS_MAX + 1);
    assert!(parse(&many, &process(), Prefer::default()).unwrap_err().client_text().contains("500"));
    let none = "area[include]=false&buffered[include]=false&picture[include]=false&bounds[include]=false";
    assert!(parse(none, &process(), Prefer::default()).is_err());
    let deep = format!("features={}1", "[".repeat(100_000));
    assert_eq!(parsed(&deep).request.inputs.len(), 1);
}
