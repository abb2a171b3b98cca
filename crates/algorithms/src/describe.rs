//! Descriptions without boilerplate.

use anabranch_model::description::media_type_essence;
use anabranch_model::{
    AllowedValue, BoundingBoxDomain, ComplexDomain, DataDescription, Format, InputDescription, LiteralDomain,
    LiteralType, Metadata, Occurs, OutputDescription, ProcessId, RangeClosure,
};

/// The media type of a GeoJSON text sequence (RFC 8142).
pub(crate) const GEOJSON_SEQ: &str = "application/geo+json-seq";

/// The identifier of a built-in.
///
/// # Panics
/// Where the text is none: it is a constant of this crate, and a test publishes every built-in.
pub(crate) fn built_in(id: &'static str) -> ProcessId {
    ProcessId::new(id).expect("identifiers of built-ins are constants that fit the rule")
}

pub(crate) fn input(
    id: &str,
    title: &str,
    description: &str,
    occurs: Occurs,
    data: DataDescription,
) -> InputDescription {
    InputDescription {
        title: title.into(),
        description: description.into(),
        ..InputDescription::new(id, occurs, data)
    }
}

pub(crate) fn output(id: &str, title: &str, description: &str, data: DataDescription) -> OutputDescription {
    OutputDescription {
        title: title.into(),
        description: description.into(),
        ..OutputDescription::new(id, data)
    }
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Any value of a type.
pub(crate) fn literal(data_type: LiteralType) -> DataDescription {
    DataDescription::Literal(LiteralDomain::any(data_type))
}

/// One of some values.
pub(crate) fn choice(data_type: LiteralType, values: &[&str]) -> DataDescription {
    let allowed = values.iter().map(|value| AllowedValue::Value((*value).to_owned())).collect();
    DataDescription::Literal(LiteralDomain { allowed, ..LiteralDomain::any(data_type) })
}

/// Between two values, which both belong to it.
pub(crate) fn range(data_type: LiteralType, minimum: &str, maximum: Option<&str>) -> LiteralDomain {
    let range = AllowedValue::Range {
        minimum: Some(minimum.to_owned()),
        maximum: maximum.map(str::to_owned),
        closure: RangeClosure::Closed,
    };
    LiteralDomain { allowed: vec![range], ..LiteralDomain::any(data_type) }
}

/// Above a value, which does not belong to it.
pub(crate) fn above(data_type: LiteralType, minimum: &str) -> DataDescription {
    let range = AllowedValue::Range {
        minimum: Some(minimum.to_owned()),
        maximum: None,
        closure: RangeClosure::OpenClosed,
    };
    DataDescription::Literal(LiteralDomain { allowed: vec![range], ..LiteralDomain::any(data_type) })
}

/// Described data with a value that is taken where none is given.
pub(crate) fn with_default(data: DataDescription, default: &str) -> DataDescription {
    match data {
        DataDescription::Literal(domain) => {
            DataDescription::Literal(LiteralDomain { default: Some(default.to_owned()), ..domain })
        }
        other => other,
    }
}

/// GeoJSON in any of its forms, in any coordinate reference system.
pub(crate) fn geojson() -> DataDescription {
    complex([
        Format::new(Format::GEOJSON),
        Format::new("application/json"),
        Format::new(GEOJSON_SEQ),
        Format::new(Format::GEOJSON_2008),
    ])
}

/// The forms of GeoJSON that are written.
pub(crate) fn written_geojson() -> DataDescription {
    complex([Format::new(Format::GEOJSON), Format::new(GEOJSON_SEQ), Format::new(Format::GEOJSON_2008)])
}

/// In which of them the result of data in such a format is written; a sequence stays one.
pub(crate) fn written_as(format: &Format, is_sequence: bool) -> Format {
    let is_in_any_crs = media_type_essence(&format.media_type) == Format::GEOJSON_2008;
    Format::new(match (is_in_any_crs, is_sequence) {
        (true, _) => Format::GEOJSON_2008,
        (false, true) => GEOJSON_SEQ,
        (false, false) => Format::GEOJSON,
    })
}

/// Where the algorithm comes from.
pub(crate) fn paper(title: &str, href: &str) -> Metadata {
    Metadata { title: title.into(), href: href.into(), role: String::new() }
}

/// Data in any of some formats; the first is the default.
pub(crate) fn complex(formats: impl IntoIterator<Item = Format>) -> DataDescription {
    DataDescription::Complex(ComplexDomain { formats: formats.into_iter().collect(), bytes_max: None })
}

/// A box in WGS 84, longitude first or latitude first.
pub(crate) fn bounding_box() -> DataDescription {
    let crs = ["http://www.opengis.net/def/crs/OGC/1.3/CRS84", "urn:ogc:def:crs:EPSG::4326", "EPSG:4326"];
    DataDescription::BoundingBox(BoundingBoxDomain { crs: words(&crs) })
}
