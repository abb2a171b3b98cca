//! What some bytes are, by how they begin.

use anabranch_model::Format;

/// Bytes that are enough to tell: magic numbers are shorter, and a JSON or XML document shows its root within them.
pub const DETECT_BYTES: usize = 512;

/// The media type of data, from its first [`DETECT_BYTES`] bytes or fewer; `None` where nothing fits.
///
/// Looks at content only, never at names. JSON whose first bytes hold a GeoJSON `type` is GeoJSON; whether the rest is, only
/// reading it can tell.
#[must_use]
pub fn detect(first_bytes: &[u8]) -> Option<&'static str> {
    let bytes = &first_bytes[..first_bytes.len().min(DETECT_BYTES)];
    if bytes.starts_with(b"fgb\x03fgb") {
        return Some("application/flatgeobuf");
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Some("application/zip");
    }
    // Classic TIFF and BigTIFF, both byte orders.
    if [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|magic| bytes.starts_with(*magic)) {
        return Some("image/tiff");
    }
    // The head of an SQLite database, with the application id that GeoPackages of all versions have (OGC 12-128r17 clause 1.1.1).
    if bytes.starts_with(b"SQLite format 3\0") {
        let geopackages = [&b"GPKG"[..], b"GP10", b"GP11"];
        let is_geopackage = bytes.get(68..72).is_some_and(|application| geopackages.contains(&application));
        return is_geopackage.then_some("application/geopackage+sqlite3");
    }
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let text = text.trim_ascii_start();
    match text.first()? {
        0x1e => Some("application/geo+json-seq"),
        b'{' if names_geojson(text) => Some(Format::GEOJSON),
        b'{' | b'[' => Some("application/json"),
        b'<' if names_kml(text) => Some("application/vnd.google-earth.kml+xml"),
        b'<' if memchr::memmem::find(text, b"opengis.net/gml").is_some() => Some("application/gml+xml"),
        b'<' => Some("application/xml"),
        _ => None,
    }
}

fn names_kml(text: &[u8]) -> bool {
    [&b"opengis.net/kml/"[..], b"earth.google.com/kml/"]
        .iter()
        .any(|namespace| memchr::memmem::find(text, namespace).is_some())
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
    while let Some(hit) = memchr::memmem::find(&text[from..], b"\"type\"") {
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
                Some("application/gml+xml"),
            ),
            (
                b"<?xml version='1.0'?><kml xmlns='http://www.opengis.net/kml/2.2'/>",
                Some("application/vnd.google-earth.kml+xml"),
            ),
            (&geopackage, Some("application/geopackage+sqlite3")),
            (b"SQLite format 3\0", None),
            (b"<a/>", Some("application/xml")),
            (b"", None),
            (b"hello", None),
        ] {
            assert_eq!(detect(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
