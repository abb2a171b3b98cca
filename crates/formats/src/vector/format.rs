//! The vector formats and their media types.

use anabranch_model::Format;
use anabranch_model::description::{media_type_essence, media_types_match};

/// A vector format that can be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VectorFormat {
    /// GeoJSON, RFC 7946.
    GeoJson,
    /// GeoJSON text sequences, RFC 8142; read without record separators too.
    GeoJsonSeq,
    /// GML 2.1.2 (OGC 02-069).
    Gml2,
    /// GML 3.1.1 (OGC 03-105r1).
    Gml31,
    /// GML 3.2.1 (OGC 07-036).
    Gml32,
    /// Well-known text, one geometry a line (OGC 06-103r4).
    Wkt,
    /// Comma-separated values with coordinates or WKT in columns.
    Csv,
    /// KML 2.2 (OGC 07-147r2).
    Kml,
    /// A Shapefile in a ZIP archive.
    Shapefile,
    /// FlatGeobuf 3.
    FlatGeobuf,
    /// GeoPackage 1.3 (OGC 12-128r17).
    GeoPackage,
    /// GeoJSON of 2008, whose member `crs` may name any system.
    GeoJson2008,
}

impl VectorFormat {
    /// All of them, the ones that people ask for first in front.
    pub const ALL: [Self; 12] = [
        Self::GeoJson,
        Self::GeoJsonSeq,
        Self::Gml32,
        Self::Gml31,
        Self::Gml2,
        Self::Kml,
        Self::Wkt,
        Self::Csv,
        Self::Shapefile,
        Self::FlatGeobuf,
        Self::GeoPackage,
        Self::GeoJson2008,
    ];

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GeoJson => "GeoJSON",
            Self::GeoJsonSeq => "GeoJSON text sequence",
            Self::Gml32 => "GML 3.2.1",
            Self::Gml31 => "GML 3.1.1",
            Self::Gml2 => "GML 2.1.2",
            Self::Kml => "KML",
            Self::Wkt => "WKT",
            Self::Csv => "CSV",
            Self::Shapefile => "zipped Shapefile",
            Self::FlatGeobuf => "FlatGeobuf",
            Self::GeoPackage => "GeoPackage",
            Self::GeoJson2008 => "GeoJSON of 2008",
        }
    }

    /// Media types in use; the first is the one we give.
    #[must_use]
    pub fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::GeoJson => &[Format::GEOJSON],
            Self::GeoJsonSeq => &["application/geo+json-seq", "application/vnd.geo+json-seq"],
            Self::Gml32 => &[
                "application/gml+xml; version=3.2",
                "text/xml; subtype=gml/3.2",
                "text/xml; subtype=gml/3.2.1",
                "application/gml-3.2.1",
            ],
            Self::Gml31 => {
                &["text/xml; subtype=gml/3.1.1", "application/gml+xml; version=3.1", "application/gml-3.1.1"]
            }
            // 2.1.2.1 is a correction of the schemas.
            Self::Gml2 => &[
                "text/xml; subtype=gml/2.1.2",
                "text/xml; subtype=gml/2.1.2.1",
                "application/gml+xml; version=2.1",
                "application/gml-2.1.2",
            ],
            Self::Kml => &["application/vnd.google-earth.kml+xml"],
            Self::Wkt => &["application/wkt", "text/wkt"],
            Self::Csv => &["text/csv"],
            Self::Shapefile => &["application/x-zipped-shp", "application/zip"],
            Self::FlatGeobuf => &["application/flatgeobuf"],
            Self::GeoPackage => &["application/geopackage+sqlite3"],
            Self::GeoJson2008 => &[Format::GEOJSON_2008],
        }
    }

    /// How it is described to clients.
    #[must_use]
    pub fn format(self) -> Format {
        let media_type = self.media_types()[0];
        if self.is_binary() { Format::base64(media_type) } else { Format::new(media_type) }
    }

    /// No text: it travels as base64 inside XML and JSON.
    #[must_use]
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Shapefile | Self::FlatGeobuf | Self::GeoPackage)
    }

    /// The format of a media type; `None` where it is none of ours, or could be several (`text/xml`).
    #[must_use]
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let essence = media_type_essence(media_type);
        // Without their parameter these fit several.
        let parameter = match essence.as_str() {
            "text/xml" => "subtype=",
            "application/gml+xml" => "version=",
            _ => "",
        };
        if !media_type.contains(parameter) {
            return None;
        }
        Self::ALL
            .into_iter()
            .find(|format| format.media_types().iter().any(|known| media_types_match(known, media_type)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_tell_formats_apart() {
        for format in VectorFormat::ALL {
            for media_type in format.media_types() {
                assert_eq!(VectorFormat::of_media_type(media_type), Some(format), "{media_type}");
            }
        }
        for unclear in
            ["text/xml", "text/xml; charset=utf-8", "application/gml+xml", "application/json", "image/tiff"]
        {
            assert_eq!(VectorFormat::of_media_type(unclear), None, "{unclear}");
        }
    }
}
