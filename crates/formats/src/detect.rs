//! What some bytes are, by how they begin.

use crate::raster::RasterFormat;
use crate::vector::VectorFormat;
use anabranch_model::Format;
use memchr::memmem::find;

/// Bytes that are enough to tell: magic numbers are shorter, and a JSON or XML document shows its root within them.
pub const DETECT_BYTES: usize = 2048;

/// The media type of data, from its first [`DETECT_BYTES`] bytes or fewer; `None` where nothing fits.
///
/// Looks at content only, never at names. JSON whose first bytes hold a GeoJSON `type` is GeoJSON; whether the rest is, only
/// reading it can tell.
#[must_use]
pub fn detect(first_bytes: &[u8]) -> Option<&'static str> {
    let bytes = &first_bytes[..first_bytes.len().min(DETECT_BYTES)];
    if bytes.starts_with(b"fgb\x03fgb") {
        return Some(VectorFormat::FlatGeobuf.media_types()[0]);
    }
    if bytes.starts_with(b"SQLite format 3\0") {
        // The application's id stands at byte 68 (GeoPackage 1.3 section 1.1.1.1.1; two older ones).
        let is_geopackage = [b"GPKG", b"GP10", b"GP11"].iter().any(|id| bytes.get(68..72) == Some(&id[..]));
        return Some(if is_geopackage {
            VectorFormat::GeoPackage.media_types()[0]
        } else {
            "application/vnd.sqlite3"
        });
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Some(if names_shapefile(bytes) {
            VectorFormat::Shapefile.media_types()[0]
        } else {
            "application/zip"
        });
    }
    // Classic TIFF and BigTIFF, both byte orders.
    if [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|magic| bytes.starts_with(*magic)) {
        return Some("image/tiff");
    }
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some("image/png");
    }
    if bytes.starts_with(b"\xff\xd8\xff") {
        return Some("image/jpeg");
    }
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let text = text.trim_ascii_start();
    match text.first()? {
        0x1e => Some(VectorFormat::GeoJsonSeq.media_types()[0]),
        b'{' if names_geojson(text) => Some(Format::GEOJSON),
        b'{' | b'[' => Some("application/json"),
        b'<' => Some(of_xml(text)),
        _ if is_esri_grid(text) => Some(RasterFormat::EsriGrid.media_types()[0]),
        _ if is_wkt(text) => Some(VectorFormat::Wkt.media_types()[0]),
        _ => None,
    }
}

fn of_xml(text: &[u8]) -> &'static str {
    let names = |part: &str| find(text, part.as_bytes()).is_some();
    if names("opengis.net/kml/") || names("earth.google.com/kml/") {
        return VectorFormat::Kml.media_types()[0];
    }
    if !names("opengis.net/gml") {
        return "application/xml";
    }
    // The namespace tells 3.2 from older versions; those differ in the elements of their coordinates only.
    if names("opengis.net/gml/3.2") {
        VectorFormat::Gml32.media_types()[0]
    } else if names(":coordinates") || names(":coord>") || names("<coordinates") {
        VectorFormat::Gml2.media_types()[0]
    } else {
        VectorFormat::Gml31.media_types()[0]
    }
}

/// The first entries of the archive are a Shapefile's.
fn names_shapefile(bytes: &[u8]) -> bool {
    [".shp", ".SHP", ".shx", ".SHX", ".dbf", ".DBF", ".prj", ".cpg"]
        .iter()
        .any(|end| find(bytes, end.as_bytes()).is_some())
}

/// The first two names of its head are how many columns and rows there are, in any case.
fn is_esri_grid(text: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&text[..text.len().min(100)]).to_ascii_lowercase();
    let mut words = head.split_ascii_whitespace().step_by(2);
    matches!((words.next(), words.next()), (Some("ncols"), Some("nrows")) | (Some("nrows"), Some("ncols")))
}

fn is_wkt(text: &[u8]) -> bool {
    let kinds = [
        "POINT",
        "LINESTRING",
        "POLYGON",
        "MULTIPOINT",
        "MULTILINESTRING",
        "MULTIPOLYGON",
        "GEOMETRYCOLLECTION",
    ];
    let head = String::from_utf8_lossy(&text[..text.len().min(40)]).to_ascii_uppercase();
    let tag = head
        .split_once(';')
        .filter(|(srid, _)| srid.starts_with("SRID="))
        .map_or(head.as_str(), |(_, rest)| rest);
    kinds.iter().any(|kind| {
        tag.strip_prefix(kind).is_some_and(|rest| {
            let rest = rest.trim_start().trim_start_matches(['Z', 'M']).trim_start();
            rest.starts_with('(') || rest.starts_with("EMPTY")
        })
    })
}

fn names_geojson(text: &[u8]) -> bool {
    let types = [
        "FeatureCollection",
        "Feature",
        "Point",
        "LineString",
        "Polygon",
        "MultiPoint",
        "MultiLineString",
        "MultiPolygon",
        "GeometryCollection",
    ];
    let mut from = 0;
    while let Some(hit) = find(&text[from..], b"\"type\"") {
        from += hit + b"\"type\"".len();
        let value = text[from..].trim_ascii_start();
        let Some(value) = value.strip_prefix(b":").map(<[u8]>::trim_ascii_start) else { continue };
        let Some(value) = value.strip_prefix(b"\"") else { continue };
        if types
            .iter()
            .any(|name| value.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"\"")))
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_tells() {
        let mut geopackage = [0; 100];
        geopackage[..16].copy_from_slice(b"SQLite format 3\0");
        geopackage[68..72].copy_from_slice(b"GPKG");
        for (bytes, expected) in [
            (
                &b"\xef\xbb\xbf \n{ \"name\": \"x\", \"type\" : \"FeatureCollection\""[..],
                Some(Format::GEOJSON),
            ),
            (b"{\"type\":\"Features\"}", Some("application/json")),
            (b"[1]", Some("application/json")),
            (b"\x1e{\"type\":\"Feature\"", Some("application/geo+json-seq")),
            (b"II*\0\x08\0", Some("image/tiff")),
            (b"MM\0+\0\x08", Some("image/tiff")),
            (b"fgb\x03fgb\0", Some("application/flatgeobuf")),
            (b"PK\x03\x04\x14", Some("application/zip")),
            (
                b"<?xml version='1.0'?><gml:x xmlns:gml='http://www.opengis.net/gml/3.2'/>",
                Some("application/gml+xml; version=3.2"),
            ),
            (
                b"<g:FeatureCollection xmlns:g='http://www.opengis.net/gml'><g:coordinates>1,2</g:coordinates>",
                Some("text/xml; subtype=gml/2.1.2"),
            ),
            (b"<x xmlns:g='http://www.opengis.net/gml'><g:pos>", Some("text/xml; subtype=gml/3.1.1")),
            (b"<kml xmlns='http://www.opengis.net/kml/2.2'>", Some("application/vnd.google-earth.kml+xml")),
            (b"\nSRID=4326;Polygon Z ((1 2 3", Some("application/wkt")),
            (b"POINT EMPTY", Some("application/wkt")),
            (b"POINTS of interest", None),
            (b"NCOLS 4\r\nNROWS 3\r\n", Some("application/arcgrid")),
            (b"ncols        403\nnrows        344\nxllcorner", Some("application/arcgrid")),
            (b"ncols of a table", None),
            (b"\x89PNG\r\n\x1a\n\0", Some("image/png")),
            (b"PK\x03\x04............................rivers/rivers.shp", Some("application/x-zipped-shp")),
            (&geopackage, Some("application/geopackage+sqlite3")),
            (b"SQLite format 3\0", Some("application/vnd.sqlite3")),
            (b"<a/>", Some("application/xml")),
            (b"", None),
            (b"hello", None),
        ] {
            assert_eq!(detect(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
