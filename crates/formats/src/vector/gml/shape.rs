//! Writes geometries, each version in its own elements.

use super::Version;
use crate::crs::{AxisOrder, Crs, CrsForm};
use crate::vector::{Geometry, LineString, Position};
use std::io::{self, Write};

/// Writes the geometries of one feature after another.
pub(super) struct Shapes {
    version: Version,
    /// In which order coordinates stand, by the form of the reference system's name.
    order: AxisOrder,
    /// Geometries so far: GML 3.2 wants an identifier for each.
    count: u64,
}

/// Names of elements that hold several geometries: the whole, and each one.
struct Several(&'static str, &'static str);

impl Shapes {
    pub(super) fn new(version: Version) -> Self {
        Self { version, order: AxisOrder::Xy, count: 0 }
    }

    /// Writes a geometry, which says its system in the form that readers of the version know best.
    pub(super) fn write(&mut self, geometry: &Geometry, crs: Crs, out: &mut dyn Write) -> io::Result<()> {
        let srs = crs.in_form(match self.version {
            Version::V2 => CrsForm::Fragment,
            Version::V3_1 => CrsForm::Urn,
            Version::V3_2 => CrsForm::Uri,
        });
        self.order = srs.order();
        self.any(geometry, &format!(" srsName=\"{srs}\""), out)
    }

    fn any(&mut self, geometry: &Geometry, attributes: &str, out: &mut dyn Write) -> io::Result<()> {
        let is_2 = self.version == Version::V2;
        match geometry {
            Geometry::Point(position) => self.point(position, attributes, out),
            Geometry::LineString(line) => self.line(line, attributes, out),
            Geometry::Polygon(polygon) => self.polygon(polygon, attributes, out),
            Geometry::MultiPoint(points) => {
                let names = Several("MultiPoint", "pointMember");
                self.several(&names, points, attributes, out, Self::point)
            }
            Geometry::MultiLineString(lines) => {
                let names = if is_2 {
                    Several("MultiLineString", "lineStringMember")
                } else {
                    Several("MultiCurve", "curveMember")
                };
                self.several(&names, lines, attributes, out, |shapes, line, attributes, out| {
                    shapes.line(line, attributes, out)
                })
            }
            Geometry::MultiPolygon(polygons) => {
                let names = if is_2 {
                    Several("MultiPolygon", "polygonMember")
                } else {
                    Several("MultiSurface", "surfaceMember")
                };
                self.several(&names, polygons, attributes, out, |shapes, polygon, attributes, out| {
                    shapes.polygon(polygon, attributes, out)
                })
            }
            Geometry::GeometryCollection(members) => {
                let names = Several("MultiGeometry", "geometryMember");
                self.several(&names, members, attributes, out, Self::any)
            }
        }
    }

    fn several<T>(
        &mut self,
        Several(whole, member): &Several,
        parts: &[T],
        attributes: &str,
        out: &mut dyn Write,
        mut write: impl FnMut(&mut Self, &T, &str, &mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.start(whole, attributes, out)?;
        for part in parts {
            write!(out, "<gml:{member}>")?;
            write(self, part, "", out)?;
            write!(out, "</gml:{member}>")?;
        }
        write!(out, "</gml:{whole}>")
    }

    fn start(&mut self, name: &str, attributes: &str, out: &mut dyn Write) -> io::Result<()> {
        self.count += 1;
        match self.version {
            Version::V2 | Version::V3_1 => write!(out, "<gml:{name}{attributes}>"),
            Version::V3_2 => write!(out, "<gml:{name} gml:id=\"geometry.{}\"{attributes}>", self.count),
        }
    }

    fn point(&mut self, position: &Position, attributes: &str, out: &mut dyn Write) -> io::Result<()> {
        self.start("Point", attributes, out)?;
        self.positions("pos", std::slice::from_ref(position), out)?;
        out.write_all(b"</gml:Point>")
    }

    fn line(&mut self, line: &[Position], attributes: &str, out: &mut dyn Write) -> io::Result<()> {
        self.start("LineString", attributes, out)?;
        self.positions("posList", line, out)?;
        out.write_all(b"</gml:LineString>")
    }

    fn polygon(&mut self, rings: &[LineString], attributes: &str, out: &mut dyn Write) -> io::Result<()> {
        let (outer, inner) = match self.version {
            Version::V2 => ("outerBoundaryIs", "innerBoundaryIs"),
            Version::V3_1 | Version::V3_2 => ("exterior", "interior"),
        };
        self.start("Polygon", attributes, out)?;
        for (index, ring) in rings.iter().enumerate() {
            let boundary = if index == 0 { outer } else { inner };
            write!(out, "<gml:{boundary}><gml:LinearRing>")?;
            self.positions("posList", ring, out)?;
            write!(out, "</gml:LinearRing></gml:{boundary}>")?;
        }
        out.write_all(b"</gml:Polygon>")
    }

    /// Positions in an element of GML 3, or in what GML 2 has for it. Where any has a z, all have one.
    fn positions(&self, name: &str, positions: &[Position], out: &mut dyn Write) -> io::Result<()> {
        let has_z = positions.iter().any(|position| position.z.is_some());
        let (name, between, dimension) = match (self.version, has_z) {
            (Version::V2, _) => ("coordinates", ',', ""),
            (_, true) => (name, ' ', " srsDimension=\"3\""),
            (_, false) => (name, ' ', ""),
        };
        write!(out, "<gml:{name}{dimension}>")?;
        for (index, Position { x, y, z }) in positions.iter().enumerate() {
            let (first, second) = match self.order {
                AxisOrder::Xy => (x, y),
                AxisOrder::Yx => (y, x),
            };
            let blank = if index == 0 { "" } else { " " };
            write!(out, "{blank}{first}{between}{second}")?;
            if has_z {
                write!(out, "{between}{}", z.unwrap_or(0.0))?;
            }
        }
        write!(out, "</gml:{name}>")
    }
}
