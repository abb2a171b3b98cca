//! Geometries of all versions (OGC 02-069 section 4, OGC 03-105r1 clauses 10 and 11, OGC 07-036 clauses 10 and 11).
//!
//! The depth of the document bounds recursion.

use super::coordinates::{self, Context};
use crate::crs::Crs;
use crate::vector::xml::{Element, Xml};
use crate::vector::{FormatError, Geometry, LineString, Polygon};

/// The element is a geometry, one that can be read or not.
pub(super) fn is_geometry(name: &str) -> bool {
    let kinds = ["Point", "LineString", "LinearRing", "Ring", "Polygon", "PolyhedralSurface", "Tin", "Solid"];
    let ends = ["Curve", "Surface", "Complex", "Grid"];
    kinds.contains(&name)
        || ends.iter().any(|end| name.ends_with(end))
        || name.starts_with("Multi")
        || name == "CompositeSolid"
}

/// Reads the geometry whose start tag was read, and leaves it; with its system. `None` is an empty one.
pub(super) fn read(
    xml: &mut Xml,
    element: &Element,
    around: Context,
) -> Result<(Option<Geometry>, Crs), FormatError> {
    let context = around.of(xml, element)?;
    let mut parts = Parts { xml, crs: None };
    let found = geometry(&mut parts, element, context)?;
    Ok((found, parts.crs.unwrap_or_else(|| context.crs())))
}

/// A document at a geometry.
struct Parts<'a> {
    xml: &'a mut Xml,
    /// The system of the positions so far.
    crs: Option<Crs>,
}

impl Parts<'_> {
    /// Positions stand under the system of this context.
    fn note(&mut self, context: Context) -> Result<(), FormatError> {
        let new = context.crs();
        let crs = *self.crs.get_or_insert(new);
        if new.epsg_code() != crs.epsg_code() {
            let rule = format!("must have one srsName in a geometry, not {crs} and {new}");
            return Err(self.xml.malformed(rule));
        }
        Ok(())
    }
}

/// `context` is that within the element.
fn geometry(
    parts: &mut Parts<'_>,
    element: &Element,
    context: Context,
) -> Result<Option<Geometry>, FormatError> {
    Ok(match element.name.as_str() {
        "Point" => match line(parts, element, context)?[..] {
            [] => None,
            [position] => Some(Geometry::Point(position)),
            ref several => {
                let rule = format!("must have one position in a Point, not {}", several.len());
                return Err(parts.xml.malformed(rule));
            }
        },
        "LineString" | "LinearRing" | "Ring" | "Curve" | "CompositeCurve" | "OrientableCurve" => {
            let positions = curve(parts, element, context)?;
            if positions.len() == 1 {
                return Err(parts.xml.malformed("must have two positions or more in a line"));
            }
            (!positions.is_empty()).then_some(Geometry::LineString(positions))
        }
        "Polygon" => polygon(parts, element, context)?.map(Geometry::Polygon),
        "Surface"
        | "CompositeSurface"
        | "OrientableSurface"
        | "PolyhedralSurface"
        | "TriangulatedSurface"
        | "Tin" => {
            let mut polygons = Vec::new();
            surface(parts, element, context, &mut polygons)?;
            match polygons.len() {
                0 => None,
                1 => polygons.pop().map(Geometry::Polygon),
                _ => Some(Geometry::MultiPolygon(polygons)),
            }
        }
        "MultiPoint" => {
            let mut points = Vec::new();
            members(parts, element, context, &["pointMember", "pointMembers"], |parts, child, context| {
                expect(parts, child, &["Point"])?;
                points.extend(line(parts, child, context)?);
                Ok(())
            })?;
            (!points.is_empty()).then_some(Geometry::MultiPoint(points))
        }
        "MultiLineString" | "MultiCurve" => {
            let mut lines = Vec::new();
            let names = ["lineStringMember", "curveMember", "curveMembers"];
            members(parts, element, context, &names, |parts, child, context| {
                let line = curve(parts, child, context)?;
                lines.extend((!line.is_empty()).then_some(line));
                Ok(())
            })?;
            (!lines.is_empty()).then_some(Geometry::MultiLineString(lines))
        }
        "MultiPolygon" | "MultiSurface" => {
            let mut polygons = Vec::new();
            let names = ["polygonMember", "surfaceMember", "surfaceMembers"];
            members(parts, element, context, &names, |parts, child, context| {
                surface(parts, child, context, &mut polygons)
            })?;
            (!polygons.is_empty()).then_some(Geometry::MultiPolygon(polygons))
        }
        "MultiGeometry" => {
            let mut geometries = Vec::new();
            let names = ["geometryMember", "geometryMembers"];
            members(parts, element, context, &names, |parts, child, context| {
                geometries.extend(geometry(parts, child, context)?);
                Ok(())
            })?;
            (!geometries.is_empty()).then_some(Geometry::GeometryCollection(geometries))
        }
        _ => return Err(refused(parts, element)),
    })
}

/// The positions of a curve: of all its segments, one after the other.
fn curve(parts: &mut Parts<'_>, element: &Element, context: Context) -> Result<LineString, FormatError> {
    let mut positions = Vec::new();
    match element.name.as_str() {
        "LineString" | "LinearRing" | "LineStringSegment" => return line(parts, element, context),
        "Curve" => members(parts, element, context, &["segments"], |parts, segment, context| {
            expect(parts, segment, &["LineStringSegment"])?;
            join(&mut positions, line(parts, segment, context)?);
            Ok(())
        })?,
        "CompositeCurve" | "Ring" => {
            members(parts, element, context, &["curveMember", "curveMembers"], |parts, member, context| {
                let member = curve(parts, member, context)?;
                join(&mut positions, member);
                Ok(())
            })?;
        }
        "OrientableCurve" => members(parts, element, context, &["baseCurve"], |parts, base, context| {
            positions = curve(parts, base, context)?;
            if element.attribute("orientation") == Some("-") {
                positions.reverse();
            }
            Ok(())
        })?,
        _ => return Err(refused(parts, element)),
    }
    Ok(positions)
}

/// A segment begins where the one before it ends.
fn join(positions: &mut LineString, segment: LineString) {
    let same = positions.last().is_some_and(|last| segment.first() == Some(last));
    positions.extend(segment.into_iter().skip(usize::from(same)));
}

/// The polygons of a surface: all its patches. Which side of it is up is not looked at.
fn surface(
    parts: &mut Parts<'_>,
    element: &Element,
    context: Context,
    polygons: &mut Vec<Polygon>,
) -> Result<(), FormatError> {
    let names: &[&str] = match element.name.as_str() {
        "Polygon" | "PolygonPatch" | "Triangle" | "Rectangle" => {
            polygons.extend(polygon(parts, element, context)?);
            return Ok(());
        }
        "Surface" | "PolyhedralSurface" | "TriangulatedSurface" | "Tin" => {
            &["patches", "polygonPatches", "trianglePatches"]
        }
        "CompositeSurface" => &["surfaceMember", "surfaceMembers"],
        "OrientableSurface" => &["baseSurface"],
        _ => return Err(refused(parts, element)),
    };
    members(parts, element, context, names, |parts, child, context| surface(parts, child, context, polygons))
}

fn polygon(
    parts: &mut Parts<'_>,
    element: &Element,
    context: Context,
) -> Result<Option<Polygon>, FormatError> {
    let mut outer = None;
    let mut holes = Vec::new();
    while let Some(boundary) = parts.xml.child()? {
        let is_outer = match boundary.name.as_str() {
            "exterior" | "outerBoundaryIs" => true,
            "interior" | "innerBoundaryIs" => false,
            _ => {
                pass_over(parts, &boundary, element)?;
                continue;
            }
        };
        while let Some(ring) = parts.xml.child()? {
            expect(parts, &ring, &["LinearRing", "Ring"])?;
            let context = context.of(parts.xml, &ring)?;
            let ring = curve(parts, &ring, context)?;
            if ring.is_empty() && is_outer {
                continue;
            }
            if ring.len() < 2 || ring.first() != ring.last() {
                return Err(parts.xml.malformed("must have closed rings"));
            }
            if !is_outer {
                holes.push(ring);
            } else if outer.replace(ring).is_some() {
                return Err(parts.xml.malformed(format!("may have one outer ring in a {}", element.name)));
            }
        }
    }
    match outer {
        Some(outer) => Ok(Some(std::iter::once(outer).chain(holes).collect())),
        None if holes.is_empty() => Ok(None),
        None => Err(parts.xml.malformed(format!("must have an outer ring in a {} with holes", element.name))),
    }
}

/// The positions that stand in an element of one line or point.
fn line(parts: &mut Parts<'_>, element: &Element, context: Context) -> Result<LineString, FormatError> {
    let mut positions = Vec::new();
    while let Some(child) = parts.xml.child()? {
        if let Some(context) = coordinates::read(parts.xml, &child, context, &mut positions)? {
            parts.note(context)?;
            continue;
        }
        // Points in the place of positions (OGC 03-105r1 section 10.2.1.3).
        if !matches!(child.name.as_str(), "pointProperty" | "pointRep") {
            pass_over(parts, &child, element)?;
            continue;
        }
        refuse_reference(parts, &child)?;
        while let Some(point) = parts.xml.child()? {
            expect(parts, &point, &["Point"])?;
            let context = context.of(parts.xml, &point)?;
            positions.extend(line(parts, &point, context)?);
        }
    }
    Ok(positions)
}

/// Shows every geometry that stands in the elements of these names, and leaves the element around them.
fn members(
    parts: &mut Parts<'_>,
    element: &Element,
    context: Context,
    names: &[&str],
    mut see: impl FnMut(&mut Parts<'_>, &Element, Context) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    while let Some(child) = parts.xml.child()? {
        if !names.contains(&child.name.as_str()) {
            pass_over(parts, &child, element)?;
            continue;
        }
        refuse_reference(parts, &child)?;
        while let Some(member) = parts.xml.child()? {
            let context = context.of(parts.xml, &member)?;
            see(parts, &member, context)?;
        }
    }
    Ok(())
}

/// What every object may say of itself is passed over; anything else in a geometry would be a part of it.
fn pass_over(parts: &mut Parts<'_>, child: &Element, within: &Element) -> Result<(), FormatError> {
    const ABOUT: [&str; 6] =
        ["metaDataProperty", "description", "descriptionReference", "identifier", "name", "boundedBy"];
    if !ABOUT.contains(&child.name.as_str()) {
        let (child, within) = (child.local_name(), within.local_name());
        return Err(parts.xml.malformed(format!("may not have a {child} in a {within}")));
    }
    parts.xml.skip()
}

fn refuse_reference(parts: &Parts<'_>, member: &Element) -> Result<(), FormatError> {
    match member.attribute_of_any("href") {
        None => Ok(()),
        Some(_) => Err(parts.xml.malformed(format!(
            "must have its geometries where they are used, and not refer to them ({} with an xlink:href)",
            member.name
        ))),
    }
}

fn expect(parts: &Parts<'_>, element: &Element, names: &[&str]) -> Result<(), FormatError> {
    if names.contains(&element.name.as_str()) { Ok(()) } else { Err(refused(parts, element)) }
}

fn refused(parts: &Parts<'_>, element: &Element) -> FormatError {
    let name = element.local_name();
    parts.xml.malformed(format!("may hold points, straight lines and areas between them, and no {name} here"))
}
