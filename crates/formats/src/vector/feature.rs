//! A feature: geometry and properties, as all vector formats have them.

use crate::crs::Crs;
use std::borrow::Cow;

/// One thing on the map.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Its identifier within the data, where it has one.
    pub id: Option<String>,
    /// Where it is.
    pub geometry: Option<Geometry>,
    /// What the coordinates mean.
    pub crs: Crs,
    /// What is known of it, in the order of the data; names are unique.
    pub properties: Vec<(String, Property)>,
}

/// A value of a property.
#[derive(Clone, Debug, PartialEq)]
pub enum Property {
    /// Known to be nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number; finite.
    Number(f64),
    /// Characters. Dates and times too, as ISO 8601 writes them.
    Text(String),
    /// An object or array, as JSON.
    Json(String),
}

impl Property {
    /// What a text says in a format that has no types: digits are a number, `true` and `false` are booleans, nothing is nothing, and
    /// the rest is text; so are numbers with leading zeros, which are names of things, and whole numbers beyond 64 bits.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        match text {
            "" => return Self::Null,
            "true" | "TRUE" | "True" => return Self::Boolean(true),
            "false" | "FALSE" | "False" => return Self::Boolean(false),
            _ => {}
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        let leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        let numeric = digits.starts_with(|c: char| c.is_ascii_digit()) && !leading_zero;
        if numeric && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map_or_else(|_| Self::Text(text.to_owned()), Self::Integer);
        }
        match text.parse::<f64>() {
            Ok(number) if numeric && number.is_finite() => Self::Number(number),
            _ => Self::Text(text.to_owned()),
        }
    }

    /// Its characters; none where it is nothing.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Null => Cow::Borrowed(""),
            Self::Boolean(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Integer(value) => Cow::Owned(value.to_string()),
            Self::Number(value) => Cow::Owned(value.to_string()),
            Self::Text(text) | Self::Json(text) => Cow::Borrowed(text),
        }
    }
}

/// A position: x to the east (or longitude), y to the north (or latitude), in the units of the system; z upwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// To the east.
    pub x: f64,
    /// To the north.
    pub y: f64,
    /// Upwards.
    pub z: Option<f64>,
}

/// Two positions or more.
pub type LineString = Vec<Position>;

/// The outer ring, then the holes; each ring is closed.
pub type Polygon = Vec<LineString>;

/// The geometries of OGC Simple Features. Curves are not among them.
#[derive(Clone, Debug, PartialEq)]
pub enum Geometry {
    /// One position.
    Point(Position),
    /// One line.
    LineString(LineString),
    /// One area.
    Polygon(Polygon),
    /// Positions.
    MultiPoint(Vec<Position>),
    /// Lines.
    MultiLineString(Vec<LineString>),
    /// Areas.
    MultiPolygon(Vec<Polygon>),
    /// Any of them.
    GeometryCollection(Vec<Self>),
}

impl Geometry {
    /// Any position has a z.
    #[must_use]
    pub fn has_z(&self) -> bool {
        let line = |line: &LineString| line.iter().any(|position| position.z.is_some());
        match self {
            Self::Point(position) => position.z.is_some(),
            Self::LineString(positions) | Self::MultiPoint(positions) => line(positions),
            Self::Polygon(lines) | Self::MultiLineString(lines) => lines.iter().any(line),
            Self::MultiPolygon(polygons) => polygons.iter().flatten().any(line),
            Self::GeometryCollection(geometries) => geometries.iter().any(Self::has_z),
        }
    }

    /// Shows every position, in the order of the data.
    pub fn for_each(&self, see: &mut impl FnMut(&Position)) {
        match self {
            Self::Point(position) => see(position),
            Self::LineString(positions) | Self::MultiPoint(positions) => positions.iter().for_each(see),
            Self::Polygon(lines) | Self::MultiLineString(lines) => lines.iter().flatten().for_each(see),
            Self::MultiPolygon(polygons) => polygons.iter().flatten().flatten().for_each(see),
            Self::GeometryCollection(geometries) => {
                geometries.iter().for_each(|geometry| geometry.for_each(see));
            }
        }
    }

    /// Changes every position, in place.
    ///
    /// # Errors
    /// The first error of `change`.
    pub fn try_map<E>(&mut self, change: &mut impl FnMut(&mut Position) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Point(position) => change(position),
            Self::LineString(positions) | Self::MultiPoint(positions) => {
                positions.iter_mut().try_for_each(change)
            }
            Self::Polygon(lines) | Self::MultiLineString(lines) => {
                lines.iter_mut().flatten().try_for_each(change)
            }
            Self::MultiPolygon(polygons) => polygons.iter_mut().flatten().flatten().try_for_each(change),
            Self::GeometryCollection(geometries) => {
                geometries.iter_mut().try_for_each(|geometry| geometry.try_map(change))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_tell_what_they_are() {
        for (text, expected) in [
            ("", Property::Null),
            ("true", Property::Boolean(true)),
            ("0", Property::Integer(0)),
            ("-12", Property::Integer(-12)),
            ("0.5", Property::Number(0.5)),
            ("-0.5e3", Property::Number(-500.0)),
            ("1e999", Property::Text("1e999".to_owned())),
            ("007", Property::Text("007".to_owned())),
            ("00.5", Property::Text("00.5".to_owned())),
            ("+5", Property::Text("+5".to_owned())),
            (" 5", Property::Text(" 5".to_owned())),
            ("nan", Property::Text("nan".to_owned())),
            ("inf", Property::Text("inf".to_owned())),
            ("9223372036854775808", Property::Text("9223372036854775808".to_owned())),
        ] {
            assert_eq!(Property::of_text(text), expected, "{text:?}");
        }
    }
}
