//! KML 2.2 (OGC 07-147r2): placemarks, in any document or folder, one after the other.
//!
//! Properties are `name`, `description`, what stands in `ExtendedData` (typed by a `Schema` that comes before it), and the times of
//! `TimeStamp` (`timestamp`) and `TimeSpan` (`begin`, `end`). Coordinates are longitude, latitude and altitude of WGS 84; how
//! an altitude is to be taken is not looked at. Passed over: styles, overlays, views. Links are never followed, to other
//! documents least of all. Models and tracks are refused. Documents with a DTD are refused too, as are entities but those of XML.
//!
//! Written is one document with one `Schema`. Whole numbers are declared as `int`, the only type that KML has for them, even where they
//! need 64 bits. What is nothing is left out. An identifier is written where XML allows it as one.

mod geometry;
mod reader;
mod writer;

use super::xml::Language;

pub use reader::Reader;
pub use writer::Writer;

const FORMAT: &str = "KML";

/// The namespace; readers take Google's of older versions too, and none.
const NAMESPACE: &str = "http://www.opengis.net/kml/2.2";

const LANGUAGE: Language = Language { format: FORMAT, feature: "placemark", owns: is_kml };

fn is_kml(namespace: Option<&str>) -> bool {
    namespace.is_none_or(|namespace| {
        namespace == NAMESPACE || namespace.starts_with("http://earth.google.com/kml/2")
    })
}

#[cfg(test)]
mod tests;
