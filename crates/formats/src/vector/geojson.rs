//! GeoJSON (RFC 7946) and GeoJSON text sequences (RFC 8142) as features.
//!
//! A document is a FeatureCollection, a Feature, a geometry, or several of them, each on a new line or after a record separator; the
//! reader is one for both formats. Coordinates are longitude and latitude of WGS 84 (section 4), unless the member `crs`
//! of the form of 2008 names another system; under that form too the order is x, y.
//!
//! Accepted on purpose: empty geometries, which are none. Ignored on purpose: foreign members, `bbox`, what comes after the third
//! number of a position; a member `crs` that stands behind more than [`TRAILER_BYTES_MAX`] bytes of other members after the features.

mod geometry;

pub(super) use geometry::read as read_geometry;

use super::{Feature, FeatureReader, FeatureWriter, FormatError, Place, Property, Summary};
use crate::crs::{Crs, UnsupportedCrs};
use crate::geojson::{Error, Piece, Splitter};
use anabranch_model::Data;
use geometry::{AnyCoordinates, Written};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::io::{Read, Write};

const FORMAT: &str = "GeoJSON";

/// Begins each record of a sequence.
const RECORD_SEPARATOR: u8 = 0x1e;

/// Bytes looked at for a member `crs` behind the features of a collection.
pub const TRAILER_BYTES_MAX: usize = 64 << 10;

/// Reads GeoJSON and sequences of it.
pub struct Reader {
    splitter: Splitter<Box<dyn Read + Send>>,
    /// Of the collection that is being read.
    crs: Crs,
    /// What stands before the next feature.
    between: Vec<u8>,
}

impl Reader {
    /// Reads from the start.
    ///
    /// # Errors
    /// Where the data can't be read.
    pub fn open(data: &Data) -> Result<Self, FormatError> {
        Ok(Self { splitter: Splitter::new(data.open()?), crs: Crs::Crs84, between: Vec::new() })
    }
}

/// A feature, or a geometry in the place of one.
#[derive(Deserialize)]
struct Root<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    id: Option<Value>,
    #[serde(borrow)]
    geometry: Option<Written<'a>>,
    properties: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "given")]
    crs: Option<Value>,
    coordinates: Option<AnyCoordinates>,
    #[serde(borrow)]
    geometries: Option<Vec<Option<Written<'a>>>>,
}

/// A member that is there counts, though it be null.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// What surrounds the features of a collection.
#[derive(Deserialize)]
struct Surroundings {
    #[serde(default, deserialize_with = "given")]
    crs: Option<Value>,
}

impl FeatureReader for Reader {
    fn next(&mut self) -> Result<Option<Feature>, FormatError> {
        loop {
            let feature = match self.splitter.next().map_err(refused)? {
                None => {
                    trailer(&self.between, self.crs)?;
                    return Ok(None);
                }
                Some(Piece::Between(bytes)) => {
                    // Heads are limited by the splitter; what follows features may be as long as it likes.
                    let room = TRAILER_BYTES_MAX.max(bytes.len()).saturating_sub(self.between.len());
                    self.between.extend_from_slice(&bytes[..bytes.len().min(room)]);
                    continue;
                }
                Some(Piece::Feature(feature)) => feature,
            };
            if let Some(crs) = head(&self.between, self.crs)? {
                self.crs = crs;
            }
            self.between.clear();
            let malformed = |rule: String| FormatError::Malformed {
                format: FORMAT,
                rule,
                place: Some(Place::Feature(feature.number)),
            };
            let root: Root<'_> = serde_json::from_slice(feature.bytes)
                .map_err(|error| malformed(format!("must have features and geometries ({error})")))?;
            let crs = match &root.crs {
                Some(member) => crs_member(member)?,
                None => self.crs,
            };
            if root.kind == "Feature" {
                let geometry = root.geometry.map_or(Ok(None), Written::into_geometry).map_err(malformed)?;
                let properties = root.properties.unwrap_or_default().into_iter();
                let properties = properties.map(|(name, value)| (name, property(value))).collect();
                return Ok(Some(Feature { id: root.id.and_then(identifier), geometry, crs, properties }));
            }
            if feature.place == crate::geojson::Place::Collection {
                return Err(malformed(format!(
                    "must have features in a collection, not the type {:?}",
                    root.kind
                )));
            }
            let geometry = Written::new(root.kind, root.coordinates, root.geometries).into_geometry();
            let geometry = geometry.map_err(malformed)?;
            return Ok(Some(Feature { id: None, geometry, crs, properties: Vec::new() }));
        }
    }
}

/// The system that the head of a collection names, where what stands before a feature is one.
fn head(between: &[u8], before: Crs) -> Result<Option<Crs>, FormatError> {
    let Some(begin) = between.iter().rposition(|byte| *byte == b'[') else { return Ok(None) };
    // A collection may have ended before this one.
    if let Some(start) = between[..begin].iter().position(|byte| *byte == b'{') {
        trailer(&between[..start], before)?;
        let mut document = between[start..=begin].to_vec();
        document.extend_from_slice(b"]}");
        let named = serde_json::from_slice::<Surroundings>(&document).ok().and_then(|found| found.crs);
        return named.map_or(Ok(Some(Crs::Crs84)), |member| crs_member(&member).map(Some));
    }
    Ok(None)
}

/// Refuses a collection that says only behind its features what their coordinates meant.
fn trailer(between: &[u8], read_as: Crs) -> Result<(), FormatError> {
    let Some(end) = between.iter().position(|byte| *byte == b']') else { return Ok(()) };
    let mut document = b"{\"features\":[".to_vec();
    document.extend_from_slice(between[end..].trim_ascii_end());
    let named = serde_json::from_slice::<Surroundings>(&document).ok().and_then(|found| found.crs);
    let Some(member) = named else { return Ok(()) };
    if crs_member(&member)?.epsg_code() == read_as.epsg_code() {
        return Ok(());
    }
    let rule = "must name its coordinate reference system before its features, not behind them".to_owned();
    Err(FormatError::Malformed { format: FORMAT, rule, place: None })
}

/// The member `crs` of GeoJSON 2008 (section 3).
fn crs_member(member: &Value) -> Result<Crs, FormatError> {
    match (member, member["properties"]["name"].as_str()) {
        (Value::Null, _) => Ok(Crs::Crs84),
        (_, Some(name)) => Ok(Crs::parse(name)?.crs),
        _ => Err(UnsupportedCrs(member.to_string().chars().take(100).collect()).into()),
    }
}

fn identifier(id: Value) -> Option<String> {
    match id {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn property(value: Value) -> Property {
    match value {
        Value::Null => Property::Null,
        Value::Bool(value) => Property::Boolean(value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Property::Integer(whole),
            (None, Some(number)) if number.is_finite() => Property::Number(number),
            _ => Property::Text(number.to_string()),
        },
        Value::String(text) => Property::Text(text),
        nested @ (Value::Array(_) | Value::Object(_)) => Property::Json(nested.to_string()),
    }
}

fn refused(error: Error) -> FormatError {
    match error {
        Error::Read(error) => FormatError::Io(error),
        Error::Invalid { offset, rule, .. } => FormatError::Malformed {
            format: FORMAT,
            rule: format!("breaks a rule: {rule}"),
            place: Some(Place::Byte(offset)),
        },
        error @ Error::TooLarge { offset, .. } => FormatError::Malformed {
            format: FORMAT,
            rule: format!("is refused: {error}"),
            place: Some(Place::Byte(offset)),
        },
    }
}

/// How the features of a document follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// As a FeatureCollection.
    Collection,
    /// As a text sequence, each after a record separator.
    Sequence,
}

/// Writes GeoJSON; its features have to be in one system, CRS84 but where the form of 2008 is written.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    framing: Framing,
    crs: Crs,
    features: u64,
}

impl<'a> Writer<'a> {
    /// Begins a document.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn new(framing: Framing, out: &'a mut dyn Write) -> Result<Self, FormatError> {
        if framing == Framing::Collection {
            out.write_all(b"{\"type\":\"FeatureCollection\",\"features\":[")?;
        }
        Ok(Self { out, framing, crs: Crs::Crs84, features: 0 })
    }

    /// Begins a collection of the form of 2008 (section 3), which names its system where that is not CRS84.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn in_any_crs(summary: &Summary, out: &'a mut dyn Write) -> Result<Self, FormatError> {
        let crs = summary.crs.unwrap_or(Crs::Crs84);
        out.write_all(b"{\"type\":\"FeatureCollection\",")?;
        if crs != Crs::Crs84 {
            let name = Value::from(format!("urn:ogc:def:crs:EPSG::{}", crs.epsg_code()));
            write!(out, "\"crs\":{{\"type\":\"name\",\"properties\":{{\"name\":{name}}}}},")?;
        }
        out.write_all(b"\"features\":[")?;
        Ok(Self { out, framing: Framing::Collection, crs, features: 0 })
    }
}

impl FeatureWriter for Writer<'_> {
    fn write(&mut self, feature: &Feature) -> Result<(), FormatError> {
        if feature.crs.epsg_code() != self.crs.epsg_code() {
            let what = format!("coordinates of {}", feature.crs);
            return Err(FormatError::Unrepresentable { format: FORMAT, what });
        }
        match self.framing {
            Framing::Sequence => self.out.write_all(&[RECORD_SEPARATOR])?,
            Framing::Collection if self.features > 0 => self.out.write_all(b",\n")?,
            Framing::Collection => self.out.write_all(b"\n")?,
        }
        self.features += 1;
        self.out.write_all(b"{\"type\":\"Feature\",")?;
        if let Some(id) = &feature.id {
            write!(self.out, "\"id\":{},", Value::from(id.as_str()))?;
        }
        self.out.write_all(b"\"geometry\":")?;
        geometry::write(feature.geometry.as_ref(), self.out)?;
        self.out.write_all(b",\"properties\":{")?;
        for (index, (name, property)) in feature.properties.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(self.out, "{comma}{}:", Value::from(name.as_str()))?;
            match property {
                Property::Null => write!(self.out, "null")?,
                Property::Boolean(value) => write!(self.out, "{value}")?,
                Property::Integer(value) => write!(self.out, "{value}")?,
                Property::Number(value) => write!(self.out, "{}", Value::from(*value))?,
                Property::Text(text) => write!(self.out, "{}", Value::from(text.as_str()))?,
                Property::Json(json) => self.out.write_all(json.as_bytes())?,
            }
        }
        self.out.write_all(b"}}")?;
        if self.framing == Framing::Sequence {
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), FormatError> {
        if self.framing == Framing::Collection {
            self.out.write_all(b"\n]}\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
