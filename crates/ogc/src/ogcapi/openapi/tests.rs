use super::*;
use crate::testing::{check_golden_json, processes};

#[test]
fn definition_names_every_path_and_resolves_every_reference() {
    let document = document(&processes(), &ServiceInfo::default(), &BaseUrl::new("http://localhost:8080/"));
    check_golden_json("ogcapi/openapi.json", &document);
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name == "$ref" => references.push(text.clone()),
                    other => collect(other, references),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
