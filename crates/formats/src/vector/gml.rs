//! GML: features of versions 2.1.2 (OGC 02-069), 3.1.1 (OGC 03-105r1) and 3.2.1 (OGC 07-036), one after the other.
//!
//! One reader takes all versions. A document is a collection (any root element whose name ends with `Collection`, WFS's and GDAL's
//! among them) of features in `featureMember`, `featureMembers`, `member` or `members`; or one feature; or one geometry.
//!
//! Properties are the elements of a feature, named without prefix; elements within them get names as `address.street`. Schemas are
//! never fetched, so that texts tell what they are ([`Property::of_text`](super::Property::of_text)). A reference (`xlink:href`) in the
//! place of a value is its text. Other attributes (units of measure) are passed over, as is every geometry of a feature but its first.
//!
//! Geometries are points, lines and areas, also as curves, surfaces and their composites, whose segments are straight. Arcs, splines,
//! solids and references to geometries elsewhere are refused by name. The order of coordinates is that of the form of the
//! `srsName` ([`CrsRef::order`](crate::crs::CrsRef::order)); where a geometry has none, that of the `boundedBy` around it counts, and
//! where nothing says anything, coordinates are longitude and latitude (CRS84).
//!
//! Written is a collection of features `a:feature` in the namespace [`FEATURES_NAMESPACE`]; a property is an element, its name
//! spelled as XML allows it, and what is nothing is left out. An identifier is written where XML allows it as one.

mod coordinates;
mod geometry;
mod reader;
mod shape;
mod writer;

use super::xml::Language;

pub use reader::Reader;
pub use writer::Writer;

const FORMAT: &str = "GML";

/// Namespace of the features that are written, as they have no schema.
pub const FEATURES_NAMESPACE: &str = "urn:anabranch:features";

const LANGUAGE: Language = Language { format: FORMAT, feature: "feature", owns: is_gml };

/// Both namespaces of GML; `http://www.opengis.net/gml/3.3` and others are extensions.
fn is_gml(namespace: Option<&str>) -> bool {
    namespace.is_some_and(|namespace| [NAMESPACE, NAMESPACE_3_2].contains(&namespace))
}

const NAMESPACE: &str = "http://www.opengis.net/gml";
const NAMESPACE_3_2: &str = "http://www.opengis.net/gml/3.2";

/// The version to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 2.1.2
    V2,
    /// 3.1.1
    V3_1,
    /// 3.2.1
    V3_2,
}

#[cfg(test)]
mod tests;
