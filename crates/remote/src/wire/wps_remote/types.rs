//! The types that parameters may be declared with, and what they are here.

use anabranch_model::description::media_type_essence;
use anabranch_model::{ComplexDomain, DataDescription, Format, LiteralDomain, LiteralType};

/// Of an output that is sent as text. Not declared: outputs declared as `string` come so.
pub(super) const TEXTUAL: &str = "textual";

/// A map context: names of layers of GeoServer's catalogue, which mean nothing here. It is passed on as text.
const MAP_CONTEXT: &str = "application/owc";

const GML: [&str; 5] = [
    "application/xml",
    "application/gml-3.1.1",
    "application/gml-2.1.2",
    "text/xml; subtype=gml/3.1.1",
    "text/xml; subtype=gml/2.1.2",
];

/// What a declared type is here; the first format is the default. A media type that GeoServer's table does not have stands
/// for itself. `None` for anything else.
pub(super) fn data(declared: &str) -> Option<DataDescription> {
    let declared = declared.trim();
    let declared = declared.strip_suffix("[]").unwrap_or(declared);
    let declared = declared.strip_suffix(";stream").unwrap_or(declared);
    if let Some(data_type) = literal(declared) {
        return Some(DataDescription::Literal(LiteralDomain::any(data_type)));
    }
    let text = |types: &[&str]| types.iter().map(|media_type| Format::new(*media_type)).collect();
    let binary = |types: &[&str]| types.iter().map(|media_type| Format::base64(*media_type)).collect();
    let formats: Vec<Format> = match declared {
        "complex" => binary(&["application/octet-stream"]),
        "application/xml" | "text/xml" => text(&["application/xml", "text/xml"]),
        "application/json" => text(&["application/json", "application/vnd.geo+json"]),
        "image/geotiff" => binary(&["image/geotiff", "image/tiff"]),
        "application/zip" => binary(&["application/zip"]),
        "application/x-netcdf" => binary(&["application/x-netcdf"]),
        "video/mp4" => binary(&["video/mp4"]),
        gml if gml.contains("gml") || gml == "text/xml;subtype" => text(&GML),
        other if other.contains('/') => vec![format(other)],
        _ => return None,
    };
    Some(DataDescription::Complex(ComplexDomain { formats, bytes_max: None }))
}

/// What a parameter declared with a media type besides its type is: that media type and no other.
pub(super) fn data_with_media_type(declared: &str, media_type: Option<&str>) -> Option<DataDescription> {
    match (data(declared)?, media_type.filter(|text| !text.trim().is_empty())) {
        (DataDescription::Complex(domain), Some(media_type)) => {
            let formats = vec![format(media_type)];
            Some(DataDescription::Complex(ComplexDomain { formats, ..domain }))
        }
        (data, _) => Some(data),
    }
}

/// A format of a media type as declared.
pub(super) fn format(media_type: &str) -> Format {
    let plain = Format::new(media_type.trim());
    if plain.is_binary() { Format::base64(plain.media_type) } else { plain }
}

fn literal(declared: &str) -> Option<LiteralType> {
    Some(match declared {
        "string" | "char" | MAP_CONTEXT | TEXTUAL => LiteralType::String,
        "url" => LiteralType::AnyUri,
        "boolean" => LiteralType::Boolean,
        "byte" | "short" | "int" | "long" => LiteralType::Integer,
        "float" | "double" => LiteralType::Double,
        "datetime" => LiteralType::DateTime,
        _ => return None,
    })
}

/// The type to declare an input or output with.
pub(super) fn declared(data: &DataDescription) -> &'static str {
    match data {
        DataDescription::Literal(domain) => match domain.data_type {
            LiteralType::String | LiteralType::Date | LiteralType::Time => "string",
            LiteralType::AnyUri => "url",
            LiteralType::Boolean => "boolean",
            LiteralType::Integer => "long",
            LiteralType::Double => "double",
            LiteralType::DateTime => "datetime",
        },
        // As `minx,miny,maxx,maxy`.
        DataDescription::BoundingBox(_) => "string",
        DataDescription::Complex(domain) => domain.formats.first().map_or("complex", declared_format),
    }
}

/// The type for data of a format; `complex` where GeoServer's table has none.
pub(super) fn declared_format(format: &Format) -> &'static str {
    let media_type = format.media_type.as_str();
    match media_type_essence(media_type).as_str() {
        "application/zip" => "application/zip",
        "application/x-netcdf" | "application/netcdf" => "application/x-netcdf",
        "video/mp4" => "video/mp4",
        "image/tiff" | "image/geotiff" => "image/geotiff",
        "application/gml+xml" | "application/gml-3.1.1" => "application/gml-3.1.1",
        "application/gml-2.1.2" => "application/gml-2.1.2",
        _ if format.is_json() => "application/json",
        "text/xml" if media_type.contains("gml/2") => "application/gml-2.1.2",
        "text/xml" if media_type.contains("gml/3") => "application/gml-3.1.1",
        _ if format.is_xml() => "text/xml",
        _ => "complex",
    }
}
