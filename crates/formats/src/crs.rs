//! Coordinate reference systems: which are known, how they are named, and which coordinate a name puts first.
//!
//! Known are OGC:CRS84 and a list of systems of the EPSG register ([`EpsgCode::all`]): those for which our transformations agree
//! with PROJ's to a centimetre, which `make crs` checks. Others need PROJ itself, so a program like `ogr2ogr` or
//! `gdalwarp` run as a process.

mod parse;
mod table;
mod transform;

pub use transform::{OutsideDomain, Transform};

use std::fmt;
use std::hash::{Hash, Hasher};

/// A coordinate reference system.
///
/// Inside this crate coordinates always stand in the order x, y (east, north; longitude, latitude) whatever the system says:
/// readers and writers swap where the form of an identifier asks for it ([`CrsRef::order`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Crs {
    /// Longitude and latitude of WGS 84 in degrees (OGC:CRS84): what GeoJSON and KML are always in.
    Crs84,
    /// A system of the EPSG register.
    Epsg(EpsgCode),
}

/// The code of a system of the EPSG register that is known here.
#[derive(Clone, Copy)]
pub struct EpsgCode(&'static System);

/// What is known of a system.
#[derive(Debug)]
struct System {
    code: u32,
    name: &'static str,
    register_order: AxisOrder,
    unit: Unit,
    area: [f64; 4],
    definition: &'static str,
}

/// Which coordinate of a position comes first in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisOrder {
    /// East (or longitude), then north (or latitude).
    Xy,
    /// North (or latitude), then east (or longitude).
    Yx,
}

/// What coordinates are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Degrees: the system is a geographic one.
    Degree,
    /// Metres: the system is a projected one, as with the others.
    Metre,
    /// International feet of 0.3048 m.
    Foot,
    /// Feet of the US survey, 1200/3937 m.
    UsSurveyFoot,
}

/// How the identifier of a system is written.
///
/// The form decides about the order of the coordinates too:
///
/// | form | order of coordinates | who says so |
/// |---|---|---|
/// | [`Short`](Self::Short) | x, y | no standard; GeoServer, GDAL, OpenLayers and most data in GML 2 and 3.1.1 |
/// | [`Fragment`](Self::Fragment) | x, y | GML 2 knew no other order; GeoServer, GDAL |
/// | [`Urn`](Self::Urn) | the register's | OGC 05-103; OGC 07-092r3 section 7.5.2 |
/// | [`Uri`](Self::Uri) | the register's | OGC 09-048r6 and OGC 08-038r7 |
/// | [`Curie`](Self::Curie) | the register's | OGC API: it is short for the URI |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CrsForm {
    /// `EPSG:4326`
    Short,
    /// `http://www.opengis.net/gml/srs/epsg.xml#4326`
    Fragment,
    /// `urn:ogc:def:crs:EPSG::4326`
    Urn,
    /// `http://www.opengis.net/def/crs/EPSG/0/4326`
    Uri,
    /// `[EPSG:4326]`
    Curie,
}

/// A system as a document names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CrsRef {
    /// The system.
    pub crs: Crs,
    /// The form of its identifier.
    pub form: CrsForm,
}

/// An identifier of no system that is known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the coordinate reference system {0:?} is not supported; OGC:CRS84 and {count} systems of the EPSG register are, and a \
     program such as ogr2ogr or gdalwarp can be run for the others",
    count = table::TABLE.len()
)]
pub struct UnsupportedCrs(pub String);

impl Crs {
    /// The system of the EPSG register with this code.
    ///
    /// # Errors
    /// Where it is not known here.
    pub fn epsg(code: u32) -> Result<Self, UnsupportedCrs> {
        match EpsgCode::new(code) {
            Some(code) => Ok(Self::Epsg(code)),
            None => Err(UnsupportedCrs(format!("EPSG:{code}"))),
        }
    }

    /// The system that an identifier names; all [forms](CrsForm) are read, in all versions and in any case.
    ///
    /// Codes that others gave Web Mercator (EPSG:900913, EPSG:102100 and the like) are EPSG:3857.
    ///
    /// # Errors
    /// The identifier, where it names no system that is known here.
    pub fn parse(identifier: &str) -> Result<CrsRef, UnsupportedCrs> {
        parse::parse(identifier).ok_or_else(|| UnsupportedCrs(parse::shortened(identifier)))
    }

    /// What identifies it in a form.
    #[must_use]
    pub fn in_form(self, form: CrsForm) -> CrsRef {
        CrsRef { crs: self, form }
    }

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crs84 => "WGS 84 longitude-latitude",
            Self::Epsg(code) => code.0.name,
        }
    }

    /// What its coordinates are counted in.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::Crs84 => Unit::Degree,
            Self::Epsg(code) => code.0.unit,
        }
    }

    /// Its code in the EPSG register. CRS84 has EPSG:4326's, for formats that say apart from it which coordinate comes first.
    #[must_use]
    pub fn epsg_code(self) -> u32 {
        match self {
            Self::Crs84 => 4326,
            Self::Epsg(code) => code.code(),
        }
    }
}

/// The short form.
impl fmt::Display for Crs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.in_form(CrsForm::Short).fmt(f)
    }
}

impl CrsRef {
    /// The order in which coordinates stand under this identifier.
    #[must_use]
    pub fn order(self) -> AxisOrder {
        match (self.form, self.crs) {
            (CrsForm::Short | CrsForm::Fragment, _) | (_, Crs::Crs84) => AxisOrder::Xy,
            (CrsForm::Urn | CrsForm::Uri | CrsForm::Curie, Crs::Epsg(code)) => code.register_order(),
        }
    }
}

/// The identifier, as it is to be written.
impl fmt::Display for CrsRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.form, self.crs) {
            (CrsForm::Short, Crs::Crs84) => f.write_str("OGC:CRS84"),
            (CrsForm::Short, Crs::Epsg(code)) => write!(f, "EPSG:{code}"),
            // EPSG:4326 with longitude first is CRS84, and the register of this form has no other name for it.
            (CrsForm::Fragment, Crs::Crs84) => f.write_str("http://www.opengis.net/gml/srs/epsg.xml#4326"),
            (CrsForm::Fragment, Crs::Epsg(code)) => {
                write!(f, "http://www.opengis.net/gml/srs/epsg.xml#{code}")
            }
            (CrsForm::Urn, Crs::Crs84) => f.write_str("urn:ogc:def:crs:OGC:1.3:CRS84"),
            (CrsForm::Urn, Crs::Epsg(code)) => write!(f, "urn:ogc:def:crs:EPSG::{code}"),
            (CrsForm::Uri, Crs::Crs84) => f.write_str("http://www.opengis.net/def/crs/OGC/1.3/CRS84"),
            (CrsForm::Uri, Crs::Epsg(code)) => write!(f, "http://www.opengis.net/def/crs/EPSG/0/{code}"),
            (CrsForm::Curie, Crs::Crs84) => f.write_str("[OGC:CRS84]"),
            (CrsForm::Curie, Crs::Epsg(code)) => write!(f, "[EPSG:{code}]"),
        }
    }
}

impl EpsgCode {
    /// `None` where the code is not known here.
    #[must_use]
    pub fn new(code: u32) -> Option<Self> {
        let found = table::TABLE.binary_search_by_key(&code, |system| system.code).ok()?;
        table::TABLE.get(found).map(Self)
    }

    /// All that are known here, ascending.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        table::TABLE.iter().map(Self)
    }

    /// As a number.
    #[must_use]
    pub fn code(self) -> u32 {
        self.0.code
    }

    /// Which coordinate comes first by the register.
    #[must_use]
    pub fn register_order(self) -> AxisOrder {
        self.0.register_order
    }

    /// Where the system is meant to be used: longitudes and latitudes of WGS 84 in degrees, west, south, east, north. West is
    /// greater than east where the area crosses the antimeridian.
    #[must_use]
    pub fn area_of_use(self) -> [f64; 4] {
        self.0.area
    }

    /// The definition as PROJ 4 wrote it.
    #[must_use]
    pub fn definition(self) -> &'static str {
        self.0.definition
    }
}

impl PartialEq for EpsgCode {
    fn eq(&self, other: &Self) -> bool {
        self.code() == other.code()
    }
}

impl Eq for EpsgCode {}

impl Hash for EpsgCode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.code().hash(state);
    }
}

impl fmt::Debug for EpsgCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EpsgCode({})", self.code())
    }
}

/// The number.
impl fmt::Display for EpsgCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code().fmt(f)
    }
}
