//! Geometries of GeoJSON (RFC 7946 section 3.1).

use crate::vector::{Geometry, LineString, Polygon, Position};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

/// Reads a geometry; `None` is an empty one. JSON nested deeper than 128 is refused.
///
/// # Errors
/// The rule that is broken, to be read after "… data".
pub(in crate::vector) fn read(text: &str) -> Result<Option<Geometry>, String> {
    let geometry: Option<Written<'_>> = serde_json::from_str(text)
        .map_err(|error| format!("must have sound JSON in its geometry ({error})"))?;
    geometry.map_or(Ok(None), Written::into_geometry)
}

/// A geometry as it is written.
#[derive(Deserialize)]
pub(super) struct Written<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    coordinates: Option<Coordinates>,
    geometries: Option<Vec<Option<Self>>>,
}

/// Arrays of arrays of numbers.
enum Coordinates {
    Position(Position),
    List(Vec<Self>),
}

impl<'a> Written<'a> {
    pub(super) fn new(
        kind: Cow<'a, str>,
        coordinates: Option<AnyCoordinates>,
        geometries: Option<Vec<Option<Self>>>,
    ) -> Self {
        Self { kind, coordinates: coordinates.map(|any| any.0), geometries }
    }

    pub(super) fn into_geometry(self) -> Result<Option<Geometry>, String> {
        if self.kind == "GeometryCollection" {
            let members = self.geometries.ok_or("must have geometries in a GeometryCollection")?;
            let members = members.into_iter().flatten().map(Self::into_geometry);
            let members = members.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?;
            return Ok(some(members).map(Geometry::GeometryCollection));
        }
        let coordinates = self.coordinates.unwrap_or(Coordinates::List(Vec::new()));
        Ok(match self.kind.as_ref() {
            "Point" if matches!(&coordinates, Coordinates::List(list) if list.is_empty()) => None,
            "Point" => Some(Geometry::Point(position(&coordinates)?)),
            "LineString" => some(line(coordinates)?).map(Geometry::LineString),
            "Polygon" => some(polygon(coordinates)?).map(Geometry::Polygon),
            "MultiPoint" => some(list(coordinates, |one| position(&one))?).map(Geometry::MultiPoint),
            "MultiLineString" => some(list(coordinates, line)?).map(Geometry::MultiLineString),
            "MultiPolygon" => some(list(coordinates, polygon)?).map(Geometry::MultiPolygon),
            other => return Err(format!("must have a geometry of GeoJSON, not the type {other:?}")),
        })
    }
}

/// [`Coordinates`] for the feature that is a bare geometry.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct AnyCoordinates(Coordinates);

fn some<T>(members: Vec<T>) -> Option<Vec<T>> {
    (!members.is_empty()).then_some(members)
}

fn list<T>(
    coordinates: Coordinates,
    item: impl Fn(Coordinates) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    match coordinates {
        Coordinates::List(list) => list.into_iter().map(item).collect(),
        Coordinates::Position(_) => Err("must have arrays of positions".to_owned()),
    }
}

fn position(coordinates: &Coordinates) -> Result<Position, String> {
    match coordinates {
        Coordinates::Position(position) => Ok(*position),
        Coordinates::List(_) => Err("must have two numbers or more in a position".to_owned()),
    }
}

fn line(coordinates: Coordinates) -> Result<LineString, String> {
    let line = list(coordinates, |one| position(&one))?;
    if line.len() == 1 { Err("must have two positions or more in a line".to_owned()) } else { Ok(line) }
}

fn polygon(coordinates: Coordinates) -> Result<Polygon, String> {
    let rings = list(coordinates, line)?;
    if rings.iter().any(|ring| ring.first() != ring.last()) {
        return Err("must have closed rings".to_owned());
    }
    Ok(rings)
}

impl<'de> Deserialize<'de> for Coordinates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Nested)
    }
}

/// An element of an array of coordinates.
enum Element {
    Number(f64),
    Array(Coordinates),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or an array")
    }

    fn visit_f64<E>(self, number: f64) -> Result<Element, E> {
        Ok(Element::Number(number))
    }

    #[expect(clippy::cast_precision_loss, reason = "coordinates are doubles")]
    fn visit_i64<E>(self, number: i64) -> Result<Element, E> {
        Ok(Element::Number(number as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "coordinates are doubles")]
    fn visit_u64<E>(self, number: u64) -> Result<Element, E> {
        Ok(Element::Number(number as f64))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Element, A::Error> {
        Nested.visit_seq(elements).map(Element::Array)
    }
}

struct Nested;

impl<'de> Visitor<'de> for Nested {
    type Value = Coordinates;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of coordinates")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Coordinates, A::Error> {
        match elements.next_element()? {
            None => Ok(Coordinates::List(Vec::new())),
            Some(Element::Array(first)) => {
                let mut list = vec![first];
                while let Some(next) = elements.next_element()? {
                    list.push(next);
                }
                Ok(Coordinates::List(list))
            }
            Some(Element::Number(x)) => {
                let y = elements
                    .next_element()?
                    .ok_or_else(|| A::Error::custom("a position has two numbers or more"))?;
                let z = elements.next_element()?;
                // What a fourth number means nobody says (RFC 7946 section 3.1.1).
                while elements.next_element::<f64>()?.is_some() {}
                Ok(Coordinates::Position(Position { x, y, z }))
            }
        }
    }
}

/// Writes a geometry.
pub(in crate::vector) fn write(geometry: Option<&Geometry>, out: &mut dyn Write) -> io::Result<()> {
    let Some(geometry) = geometry else { return out.write_all(b"null") };
    let kind = match geometry {
        Geometry::Point(_) => "Point",
        Geometry::LineString(_) => "LineString",
        Geometry::Polygon(_) => "Polygon",
        Geometry::MultiPoint(_) => "MultiPoint",
        Geometry::MultiLineString(_) => "MultiLineString",
        Geometry::MultiPolygon(_) => "MultiPolygon",
        Geometry::GeometryCollection(_) => "GeometryCollection",
    };
    let member = if kind == "GeometryCollection" { "geometries" } else { "coordinates" };
    write!(out, "{{\"type\":\"{kind}\",\"{member}\":")?;
    match geometry {
        Geometry::Point(position) => write_position(position, out)?,
        Geometry::LineString(positions) | Geometry::MultiPoint(positions) => {
            write_list(positions, out, write_position)?;
        }
        Geometry::Polygon(lines) | Geometry::MultiLineString(lines) => write_list(lines, out, write_line)?,
        Geometry::MultiPolygon(polygons) => {
            write_list(polygons, out, |polygon, out| write_list(polygon, out, write_line))?;
        }
        Geometry::GeometryCollection(members) => {
            write_list(members, out, |member, out| write(Some(member), out))?
        }
    }
    out.write_all(b"}")
}

fn write_list<T>(
    items: &[T],
    out: &mut dyn Write,
    mut item: impl FnMut(&T, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    out.write_all(b"[")?;
    for (index, one) in items.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        item(one, out)?;
    }
    out.write_all(b"]")
}

fn write_line(line: &LineString, out: &mut dyn Write) -> io::Result<()> {
    write_list(line, out, write_position)
}

/// Numbers are the shortest that read back the same.
fn write_position(position: &Position, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "[{},{}", position.x, position.y)?;
    if let Some(z) = position.z {
        write!(out, ",{z}")?;
    }
    out.write_all(b"]")
}
