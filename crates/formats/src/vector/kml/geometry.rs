//! Geometries of KML (OGC 07-147r2 chapter 10).

use crate::vector::xml::{Element, Xml};
use crate::vector::{FormatError, Geometry, LineString, Polygon, Position};
use std::io::{self, Write};

/// The element is a geometry, one that can be read or not.
pub(super) fn is_geometry(name: &str) -> bool {
    matches!(
        name,
        "Point"
            | "LineString"
            | "LinearRing"
            | "Polygon"
            | "MultiGeometry"
            | "Model"
            | "other:Track"
            | "other:MultiTrack"
    )
}

/// Reads the geometry whose start tag was read, and leaves it; `None` is an empty one. The depth of the document bounds recursion.
pub(super) fn read(xml: &mut Xml, element: &Element) -> Result<Option<Geometry>, FormatError> {
    Ok(match element.name.as_str() {
        "Point" => match coordinates(xml)?[..] {
            [] => None,
            [position] => Some(Geometry::Point(position)),
            ref several => {
                let rule = format!("must have one position in a Point, not {}", several.len());
                return Err(xml.malformed(rule));
            }
        },
        "LineString" | "LinearRing" => match coordinates(xml)? {
            line if line.is_empty() => None,
            line if line.len() == 1 => return Err(xml.malformed("must have two positions or more in a line")),
            line => Some(Geometry::LineString(line)),
        },
        "Polygon" => polygon(xml)?.map(Geometry::Polygon),
        "MultiGeometry" => {
            let mut members = Vec::new();
            while let Some(child) = xml.child()? {
                if is_geometry(&child.name) {
                    members.extend(read(xml, &child)?);
                } else {
                    xml.skip()?;
                }
            }
            collected(members)
        }
        _ => {
            let name = element.local_name();
            return Err(xml.malformed(format!("may hold points, lines and polygons, and not a {name}")));
        }
    })
}

/// Members of one kind are a geometry of many, as other formats have them.
fn collected(members: Vec<Geometry>) -> Option<Geometry> {
    let all = |is: fn(&Geometry) -> bool| members.iter().all(is);
    if members.is_empty() {
        return None;
    }
    Some(if all(|member| matches!(member, Geometry::Point(_))) {
        Geometry::MultiPoint(
            members
                .into_iter()
                .filter_map(
                    |member| if let Geometry::Point(position) = member { Some(position) } else { None },
                )
                .collect(),
        )
    } else if all(|member| matches!(member, Geometry::LineString(_))) {
        Geometry::MultiLineString(
            members
                .into_iter()
                .filter_map(|member| if let Geometry::LineString(line) = member { Some(line) } else { None })
                .collect(),
        )
    } else if all(|member| matches!(member, Geometry::Polygon(_))) {
        Geometry::MultiPolygon(
            members
                .into_iter()
                .filter_map(
                    |member| if let Geometry::Polygon(polygon) = member { Some(polygon) } else { None },
                )
                .collect(),
        )
    } else {
        Geometry::GeometryCollection(members)
    })
}

fn polygon(xml: &mut Xml) -> Result<Option<Polygon>, FormatError> {
    let mut outer = None;
    let mut holes = Vec::new();
    while let Some(boundary) = xml.child()? {
        if !matches!(boundary.name.as_str(), "outerBoundaryIs" | "innerBoundaryIs") {
            xml.skip()?;
            continue;
        }
        while let Some(child) = xml.child()? {
            if child.name != "LinearRing" {
                xml.skip()?;
                continue;
            }
            let ring = coordinates(xml)?;
            if ring.len() < 2 || ring.first() != ring.last() {
                return Err(xml.malformed("must have closed rings"));
            }
            match boundary.name.as_str() {
                "outerBoundaryIs" if outer.is_some() => {
                    return Err(xml.malformed("may have one ring in an outerBoundaryIs"));
                }
                "outerBoundaryIs" => outer = Some(ring),
                _ => holes.push(ring),
            }
        }
    }
    match outer {
        Some(outer) => Ok(Some(std::iter::once(outer).chain(holes).collect())),
        None if holes.is_empty() => Ok(None),
        None => Err(xml.malformed("must have an outerBoundaryIs in a Polygon with holes")),
    }
}

/// The positions of the element we are in, and leaves it.
fn coordinates(xml: &mut Xml) -> Result<LineString, FormatError> {
    let mut positions = Vec::new();
    while let Some(child) = xml.child()? {
        if child.name == "coordinates" {
            let text = xml.text()?;
            for tuple in text.split_ascii_whitespace() {
                positions.push(position(tuple).ok_or_else(|| {
                    let tuple: String = tuple.chars().take(60).collect();
                    xml.malformed(format!(
                        "must have longitude,latitude or longitude,latitude,altitude, not {tuple:?}"
                    ))
                })?);
            }
        } else {
            xml.skip()?;
        }
    }
    Ok(positions)
}

fn position(tuple: &str) -> Option<Position> {
    let mut numbers =
        tuple.split(',').map(|number| number.parse::<f64>().ok().filter(|number| number.is_finite()));
    let (x, y) = (numbers.next()??, numbers.next()??);
    let z = match numbers.next() {
        Some(number) => Some(number?),
        None => None,
    };
    numbers.next().is_none().then_some(Position { x, y, z })
}

/// Writes a geometry. Altitudes count from the sea.
pub(super) fn write(geometry: &Geometry, out: &mut dyn Write) -> io::Result<()> {
    match geometry {
        Geometry::Point(position) => simple("Point", &[*position], out),
        Geometry::LineString(line) => simple("LineString", line, out),
        Geometry::Polygon(rings) => write_polygon(rings, out),
        Geometry::MultiPoint(positions) => {
            multi(positions, |position, out| simple("Point", &[*position], out), out)
        }
        Geometry::MultiLineString(lines) => multi(lines, |line, out| simple("LineString", line, out), out),
        Geometry::MultiPolygon(polygons) => multi(polygons, |polygon, out| write_polygon(polygon, out), out),
        Geometry::GeometryCollection(members) => multi(members, write, out),
    }
}

fn multi<T>(
    members: &[T],
    write: impl Fn(&T, &mut dyn Write) -> io::Result<()>,
    out: &mut dyn Write,
) -> io::Result<()> {
    out.write_all(b"<MultiGeometry>")?;
    members.iter().try_for_each(|member| write(member, out))?;
    out.write_all(b"</MultiGeometry>")
}

fn simple(name: &str, positions: &[Position], out: &mut dyn Write) -> io::Result<()> {
    write!(out, "<{name}>")?;
    if positions.iter().any(|position| position.z.is_some()) {
        out.write_all(b"<altitudeMode>absolute</altitudeMode>")?;
    }
    write_coordinates(positions, out)?;
    write!(out, "</{name}>")
}

fn write_polygon(rings: &[LineString], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"<Polygon>")?;
    if rings.iter().flatten().any(|position| position.z.is_some()) {
        out.write_all(b"<altitudeMode>absolute</altitudeMode>")?;
    }
    for (index, ring) in rings.iter().enumerate() {
        let boundary = if index == 0 { "outerBoundaryIs" } else { "innerBoundaryIs" };
        write!(out, "<{boundary}><LinearRing>")?;
        write_coordinates(ring, out)?;
        write!(out, "</LinearRing></{boundary}>")?;
    }
    out.write_all(b"</Polygon>")
}

fn write_coordinates(positions: &[Position], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"<coordinates>")?;
    for (index, Position { x, y, z }) in positions.iter().enumerate() {
        let blank = if index == 0 { "" } else { " " };
        write!(out, "{blank}{x},{y}")?;
        if let Some(z) = z {
            write!(out, ",{z}")?;
        }
    }
    out.write_all(b"</coordinates>")
}
