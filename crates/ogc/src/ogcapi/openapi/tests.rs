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

/// What the execution route answers besides success; each is declared (req/oas30/exceptions-codes).
#[test]
fn execution_declares_its_faults() {
    let document = document(&processes(), &ServiceInfo::default(), &BaseUrl::new("http://localhost:8080/"));
    let paths = document["paths"].as_object().unwrap();
    let (_, execution) = paths.iter().find(|(path, _)| path.ends_with("/execution")).unwrap();
    for status in ["400", "404", "410", "413", "415", "500", "503", "507"] {
        assert!(!execution["post"]["responses"][status].is_null(), "{status} is not declared");
    }
    for status in ["303", "400", "403", "404", "410", "413", "414", "500", "503", "507"] {
        assert!(!execution["get"]["responses"][status].is_null(), "{status} is not declared");
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
