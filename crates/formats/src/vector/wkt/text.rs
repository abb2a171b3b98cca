//! Well-known text of geometries (OGC 06-103r4 section 7), and EWKT, which puts `SRID=…;` before it.

use crate::crs::Crs;
use crate::vector::{Geometry, LineString, Polygon, Position};
use std::fmt::Write as _;

/// Collections within collections.
const DEPTH_MAX: usize = 32;

/// Reads a geometry and its system, where it names one; no geometry is an empty one. Measures (M) are left out.
///
/// # Errors
/// The rule that is broken, to be read after "… data".
pub(in crate::vector) fn read(text: &str) -> Result<(Option<Crs>, Option<Geometry>), String> {
    let text = text.trim();
    let (crs, text) = match text.split_at_checked(5) {
        Some((srid, rest)) if srid.eq_ignore_ascii_case("SRID=") => {
            let (code, rest) =
                rest.split_once(';').ok_or("must have a semicolon after the SRID of a geometry")?;
            let code: u32 =
                code.trim().parse().map_err(|_| format!("must have a whole number as SRID, not {code:?}"))?;
            (Some(Crs::epsg(code).map_err(|error| format!("can't be read: {error}"))?), rest)
        }
        _ => (None, text),
    };
    let mut parser = Parser { rest: text.trim_start() };
    let geometry = parser.geometry(0)?;
    if parser.rest.is_empty() { Ok((crs, geometry)) } else { Err(parser.expected("nothing more")) }
}

struct Parser<'a> {
    rest: &'a str,
}

#[derive(Clone, Copy)]
struct Dimensions {
    /// The tag says that there is a measure and no z.
    measure_only: bool,
}

impl<'a> Parser<'a> {
    fn expected(&self, what: &str) -> String {
        let found: String = self.rest.chars().take(20).collect();
        format!("must have {what} in its well-known text, not {found:?}")
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn symbol(&mut self, symbol: char) -> bool {
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn need(&mut self, symbol: char) -> Result<(), String> {
        if self.symbol(symbol) { Ok(()) } else { Err(self.expected(&format!("{symbol:?}"))) }
    }

    fn number(&mut self) -> Result<Option<f64>, String> {
        let end = self.rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if number.is_empty() {
            return Ok(None);
        }
        match number.parse::<f64>() {
            Ok(value) if value.is_finite() => {
                self.rest = rest.trim_start();
                Ok(Some(value))
            }
            _ => Err(self.expected("a number")),
        }
    }

    fn position(&mut self, dimensions: Dimensions) -> Result<Position, String> {
        let mut numbers = [None; 4];
        for number in &mut numbers {
            *number = self.number()?;
        }
        match numbers {
            [Some(x), Some(y), third, _] => {
                Ok(Position { x, y, z: if dimensions.measure_only { None } else { third } })
            }
            _ => Err(self.expected("a number")),
        }
    }

    /// `(item, item)`; nothing for `EMPTY`.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        let mut items = Vec::new();
        if !self.rest.starts_with('(') {
            let before = self.rest;
            if self.word().eq_ignore_ascii_case("EMPTY") {
                return Ok(items);
            }
            self.rest = before;
        }
        self.need('(')?;
        loop {
            items.push(item(self)?);
            if !self.symbol(',') {
                break;
            }
        }
        self.need(')')?;
        Ok(items)
    }

    fn line(&mut self, dimensions: Dimensions) -> Result<LineString, String> {
        let line = self.list(|parser| parser.position(dimensions))?;
        if line.len() == 1 { Err(self.expected("two positions or more in a line")) } else { Ok(line) }
    }

    fn polygon(&mut self, dimensions: Dimensions) -> Result<Polygon, String> {
        let mut rings = self.list(|parser| parser.line(dimensions))?;
        rings.retain(|ring| !ring.is_empty());
        if rings.iter().any(|ring| ring.first() != ring.last()) {
            return Err(self.expected("closed rings"));
        }
        Ok(rings)
    }

    fn geometry(&mut self, depth: usize) -> Result<Option<Geometry>, String> {
        let named = self.rest;
        let word = self.word().to_ascii_uppercase();
        let (kind, mut tag) = match word.strip_suffix("ZM").or_else(|| word.strip_suffix(['Z', 'M'])) {
            Some(kind) => (kind, &word[kind.len()..]),
            None => (word.as_str(), ""),
        };
        let apart = self.rest;
        let next = self.word().to_ascii_uppercase();
        if tag.is_empty() && ["Z", "M", "ZM"].contains(&next.as_str()) {
            tag = &next;
        } else {
            self.rest = apart;
        }
        let dimensions = Dimensions { measure_only: tag == "M" };
        let some = |empty: bool, geometry: Geometry| (!empty).then_some(geometry);
        Ok(match kind {
            "POINT" => match self.list(|parser| parser.position(dimensions))?[..] {
                [] => None,
                [position] => Some(Geometry::Point(position)),
                _ => return Err(self.expected("one position in a point")),
            },
            "LINESTRING" => {
                let line = self.line(dimensions)?;
                some(line.is_empty(), Geometry::LineString(line))
            }
            "POLYGON" => {
                let rings = self.polygon(dimensions)?;
                some(rings.is_empty(), Geometry::Polygon(rings))
            }
            // Both `(1 2, 3 4)` and `((1 2), (3 4))` are in use.
            "MULTIPOINT" => {
                let positions = self.list(|parser| {
                    let inner = parser.symbol('(');
                    let position = parser.position(dimensions)?;
                    if inner { parser.need(')').map(|()| position) } else { Ok(position) }
                })?;
                some(positions.is_empty(), Geometry::MultiPoint(positions))
            }
            "MULTILINESTRING" => {
                let mut lines = self.list(|parser| parser.line(dimensions))?;
                lines.retain(|line| !line.is_empty());
                some(lines.is_empty(), Geometry::MultiLineString(lines))
            }
            "MULTIPOLYGON" => {
                let mut polygons = self.list(|parser| parser.polygon(dimensions))?;
                polygons.retain(|polygon| !polygon.is_empty());
                some(polygons.is_empty(), Geometry::MultiPolygon(polygons))
            }
            "GEOMETRYCOLLECTION" => {
                if depth == DEPTH_MAX {
                    return Err(format!("may nest collections {DEPTH_MAX} deep"));
                }
                let members = self.list(|parser| parser.geometry(depth + 1))?;
                let members: Vec<Geometry> = members.into_iter().flatten().collect();
                some(members.is_empty(), Geometry::GeometryCollection(members))
            }
            _ => {
                self.rest = named;
                return Err(self.expected("a point, line, polygon or collection of them"));
            }
        })
    }
}

/// A geometry as well-known text. It has z everywhere or nowhere: a missing one is written as 0.
pub(in crate::vector) fn write(geometry: &Geometry) -> String {
    let mut writer = Writer { has_z: geometry.has_z(), text: String::new() };
    writer.geometry(geometry);
    writer.text
}

struct Writer {
    has_z: bool,
    text: String,
}

impl Writer {
    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        if items.is_empty() {
            return self.text.push_str("EMPTY");
        }
        for (index, item) in items.iter().enumerate() {
            self.text.push_str(if index == 0 { "(" } else { ", " });
            write(self, item);
        }
        self.text.push(')');
    }

    fn position(&mut self, position: &Position) {
        // Writing into a string can't fail.
        let _infallible = write!(self.text, "{} {}", position.x, position.y);
        if self.has_z {
            let _infallible = write!(self.text, " {}", position.z.unwrap_or(0.0));
        }
    }

    fn line(&mut self, line: &LineString) {
        self.list(line, Self::position);
    }

    fn polygon(&mut self, rings: &Polygon) {
        self.list(rings, Self::line);
    }

    fn geometry(&mut self, geometry: &Geometry) {
        let kind = match geometry {
            Geometry::Point(_) => "POINT",
            Geometry::LineString(_) => "LINESTRING",
            Geometry::Polygon(_) => "POLYGON",
            Geometry::MultiPoint(_) => "MULTIPOINT",
            Geometry::MultiLineString(_) => "MULTILINESTRING",
            Geometry::MultiPolygon(_) => "MULTIPOLYGON",
            Geometry::GeometryCollection(_) => "GEOMETRYCOLLECTION",
        };
        self.text.push_str(kind);
        self.text.push_str(if self.has_z { " Z " } else { " " });
        match geometry {
            Geometry::Point(position) => self.list(&[*position], Self::position),
            Geometry::LineString(line) => self.line(line),
            Geometry::Polygon(rings) => self.polygon(rings),
            Geometry::MultiPoint(positions) => {
                self.list(positions, |writer, position| writer.list(&[*position], Self::position));
            }
            Geometry::MultiLineString(lines) => self.list(lines, Self::line),
            Geometry::MultiPolygon(polygons) => self.list(polygons, Self::polygon),
            Geometry::GeometryCollection(members) => self.list(members, Self::geometry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::testing;

    #[test]
    fn what_is_written_is_read_back() {
        for z in [None, Some(3.5)] {
            for geometry in testing::groups(z).concat().into_iter().chain([testing::collection(z)]) {
                assert_eq!(read(&write(&geometry)), Ok((None, Some(geometry))));
            }
        }
    }

    #[test]
    fn forms_in_use_are_read() {
        let at = |z| Ok((None, Some(Geometry::Point(Position { x: 1.0, y: -2.5, z }))));
        for text in ["POINT(1 -2.5)", " point ( 1e0  -2.5 ) ", "POINT M (1 -2.5 9)", "POINTM(1 -2.5 9)"] {
            assert_eq!(read(text), at(None), "{text}");
        }
        for text in ["POINT Z (1 -2.5 3)", "POINTZ(1 -2.5 3)", "POINT(1 -2.5 3)", "POINT ZM (1 -2.5 3 9)"] {
            assert_eq!(read(text), at(Some(3.0)), "{text}");
        }
        assert_eq!(read("srid=2154;POINT EMPTY"), Ok((Some(Crs::epsg(2154).unwrap()), None)));
        assert_eq!(read("MULTIPOINT (1 2, 3 4)"), read("MULTIPOINT ((1 2), (3 4))"));
        assert_eq!(read("GEOMETRYCOLLECTION(POINT EMPTY)"), Ok((None, None)));
    }

    #[test]
    fn what_is_none_is_refused() {
        for (text, rule) in [
            ("", "must have a point"),
            ("CIRCULARSTRING(1 2)", "must have a point"),
            ("POINT", "must have '('"),
            ("POINT(1)", "a number"),
            ("POINT(nan 1)", "a number"),
            ("POINT(1e999 1)", "a number"),
            ("POINT(1 2) x", "nothing more"),
            ("POINT(1 2", "')'"),
            ("LINESTRING(1 2)", "two positions"),
            ("POLYGON((1 2, 3 4, 5 6))", "closed"),
            ("SRID=x;POINT(1 2)", "whole number"),
            ("SRID=1;POINT(1 2)", "not supported"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(rule), "{text}: {error}");
        }
        assert!(read(&"GEOMETRYCOLLECTION(".repeat(100_000)).unwrap_err().contains("32 deep"));
    }
}
