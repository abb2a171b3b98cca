//! A process with every kind of data, and golden documents, for the tests of all protocols.

use anabranch_model::{
    AllowedValue, BoundingBoxDomain, ComplexDomain, DataDescription, Error, FaultKind, Format,
    InputDescription, Job, JobId, Limit, LimitKind, LimitOf, LimitSort, LiteralDomain, LiteralType, Metadata,
    Occurs, OutputDescription, OutputRequest, ProcessDescription, ProcessId, RangeClosure, Timestamp,
    Transmission,
};
use std::path::Path;
use std::sync::Arc;

pub(crate) fn process() -> ProcessDescription {
    let input = |id: &str, occurs, data| InputDescription {
        title: format!("The {id}"),
        ..InputDescription::new(id, occurs, data)
    };
    let output =
        |id: &str, data| OutputDescription { title: format!("The {id}"), ..OutputDescription::new(id, data) };
    let distance = LiteralDomain {
        allowed: vec![AllowedValue::Range {
            minimum: Some("0".into()),
            maximum: Some("100".into()),
            closure: RangeClosure::OpenClosed,
        }],
        default: Some("10".into()),
        uoms: vec!["m".into(), "km".into()],
        ..LiteralDomain::any(LiteralType::Double)
    };
    let mode = LiteralDomain {
        allowed: vec![AllowedValue::Value("fast & loose".into()), AllowedValue::Value("exact".into())],
        ..LiteralDomain::any(LiteralType::String)
    };
    let features = ComplexDomain {
        formats: vec![
            Format::new(Format::GEOJSON),
            Format {
                schema: Some("http://schemas.opengis.net/gml/3.2.1/feature.xsd".into()),
                ..Format::new("text/xml; subtype=gml/3.2.1")
            },
        ],
        bytes_max: Some(10 << 20),
    };
    let raster = ComplexDomain { formats: vec![Format::base64(Format::GEOTIFF)], bytes_max: None };
    let crs = BoundingBoxDomain {
        crs: vec![
            "http://www.opengis.net/def/crs/OGC/1.3/CRS84".into(),
            "http://www.opengis.net/def/crs/EPSG/0/4326".into(),
        ],
    };
    ProcessDescription {
        id: ProcessId::new("test:buffer").unwrap(),
        title: "Buffer <all> & everything".into(),
        description: "Takes every kind of data.".into(),
        keywords: vec!["buffer".into()],
        metadata: vec![Metadata {
            title: "More".into(),
            href: "https://example.org/a?b=1&c=2".into(),
            role: String::new(),
        }],
        version: "1.2.0".into(),
        inputs: vec![
            input("distance", Occurs::OPTIONAL, DataDescription::Literal(distance)),
            input("mode", Occurs { min: 0, max: None }, DataDescription::Literal(mode)),
            input("features", Occurs::ONE, DataDescription::Complex(features.clone())),
            input("raster", Occurs { min: 0, max: Some(3) }, DataDescription::Complex(raster.clone())),
            input("extent", Occurs::OPTIONAL, DataDescription::BoundingBox(crs.clone())),
        ],
        outputs: vec![
            output(
                "area",
                DataDescription::Literal(LiteralDomain {
                    uoms: vec!["m2".into()],
                    ..LiteralDomain::any(LiteralType::Double)
                }),
            ),
            output("buffered", DataDescription::Complex(features)),
            output("picture", DataDescription::Complex(raster)),
            output("bounds", DataDescription::BoundingBox(crs)),
        ],
        groups: Vec::new(),
        sync_execute: true,
        async_execute: true,
        idempotent: true,
        chunking: None,
        on_agent_restart: None,
    }
}

pub(crate) fn processes() -> Vec<Arc<ProcessDescription>> {
    vec![Arc::new(process())]
}

pub(crate) fn job() -> Job {
    let now: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
    Job::new(JobId::from_bytes([7; 16]), ProcessId::new("test:buffer").unwrap(), now)
}

pub(crate) fn request(id: &str) -> OutputRequest {
    OutputRequest {
        id: id.into(),
        format: anabranch_model::FormatHint::default(),
        transmission: Transmission::Value,
        uom: None,
    }
}

/// Kind and name of every fault.
pub(crate) fn faults(error: &Error) -> Vec<(FaultKind, String)> {
    match error {
        Error::Invalid(faults) => {
            faults.iter().map(|fault| (fault.kind, fault.subject.name().to_owned())).collect()
        }
        other => panic!("not invalid: {other}"),
    }
}

/// Compares with `testdata/<name>`; with `ANABRANCH_BLESS=1` in the environment the file is written instead.
#[track_caller]
pub(crate) fn check_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    if std::env::var_os("ANABRANCH_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{} differs from what is written:\n{text}", path.display());
}

#[track_caller]
pub(crate) fn check_golden_json(name: &str, document: &impl serde::Serialize) {
    check_golden(name, &(serde_json::to_string_pretty(document).unwrap() + "\n"));
}

/// A limit that was reached; with when to try again where time helps.
pub(crate) fn over(kind: LimitKind, of: LimitOf) -> Error {
    let limit = Limit { kind, max: 10, of };
    let retries = matches!(limit.sort(), LimitSort::UserBusy | LimitSort::ServerBusy);
    Error::OverLimit { limit, retry_after_s: retries.then_some(9) }
}
