//! A geometry of GeoJSON (RFC 7946 section 3.1) in a cell.

use crate::vector::{Geometry, LineString, Polygon, Position};
use serde_json::Value;

/// Reads a geometry; `None` is an empty one. JSON nested deeper than 128 is refused before it gets here.
///
/// # Errors
/// The rule that is broken, to be read after "… data".
pub(super) fn read(text: &str) -> Result<Option<Geometry>, String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("must have sound JSON in its geometry ({error})"))?;
    geometry(&value)
}

fn geometry(value: &Value) -> Result<Option<Geometry>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let kind = value["type"].as_str().unwrap_or_default();
    let coordinates = &value["coordinates"];
    Ok(match kind {
        "Point" if coordinates.as_array().is_some_and(Vec::is_empty) => None,
        "Point" => Some(Geometry::Point(position(coordinates)?)),
        "LineString" => some(line(coordinates)?).map(Geometry::LineString),
        "Polygon" => some(polygon(coordinates)?).map(Geometry::Polygon),
        "MultiPoint" => some(list(coordinates, position)?).map(Geometry::MultiPoint),
        "MultiLineString" => some(list(coordinates, line)?).map(Geometry::MultiLineString),
        "MultiPolygon" => some(list(coordinates, polygon)?).map(Geometry::MultiPolygon),
        "GeometryCollection" => {
            let members = list(&value["geometries"], geometry)?;
            some(members.into_iter().flatten().collect()).map(Geometry::GeometryCollection)
        }
        other => return Err(format!("must have a geometry of GeoJSON, not the type {other:?}")),
    })
}

fn some<T>(members: Vec<T>) -> Option<Vec<T>> {
    (!members.is_empty()).then_some(members)
}

fn list<T>(value: &Value, item: impl Fn(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    value.as_array().ok_or("must have arrays of coordinates")?.iter().map(item).collect()
}

fn position(value: &Value) -> Result<Position, String> {
    let number = |index: usize| value.get(index).and_then(Value::as_f64);
    match (number(0), number(1)) {
        (Some(x), Some(y)) => Ok(Position { x, y, z: number(2) }),
        _ => Err("must have two numbers or more in a position".to_owned()),
    }
}

fn line(value: &Value) -> Result<LineString, String> {
    let line = list(value, position)?;
    if line.len() == 1 { Err("must have two positions or more in a line".to_owned()) } else { Ok(line) }
}

fn polygon(value: &Value) -> Result<Polygon, String> {
    let rings = list(value, line)?;
    if rings.iter().any(|ring| ring.first() != ring.last()) {
        return Err("must have closed rings".to_owned());
    }
    Ok(rings)
}
