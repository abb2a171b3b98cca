//! The records of a `.shp` (ESRI Shapefile Technical Description, 1998).

use super::rings;
use crate::bytes::{ByteOrder::Little, Bytes};
use crate::vector::{Geometry, LineString, Position};

/// What the shapes of a file are, without their dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Point,
    Line,
    Polygon,
    MultiPoint,
}

/// A value below it is "no data" (page 2).
const NO_DATA_BELOW: f64 = -1e38;

const NULL_SHAPE: u32 = 0;
const MULTI_PATCH: u32 = 31;

impl Kind {
    /// The kind that holds a geometry; `None` for collections.
    pub(super) fn of(geometry: &Geometry) -> Option<Self> {
        match geometry {
            Geometry::Point(_) => Some(Self::Point),
            Geometry::LineString(_) | Geometry::MultiLineString(_) => Some(Self::Line),
            Geometry::Polygon(_) | Geometry::MultiPolygon(_) => Some(Self::Polygon),
            Geometry::MultiPoint(_) => Some(Self::MultiPoint),
            Geometry::GeometryCollection(_) => None,
        }
    }

    /// For people, in the plural.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Point => "points",
            Self::Line => "lines",
            Self::Polygon => "polygons",
            Self::MultiPoint => "multipoints",
        }
    }

    /// The shape type of the standard.
    pub(super) fn shape_type(self, has_z: bool) -> u32 {
        let flat = match self {
            Self::Point => 1,
            Self::Line => 3,
            Self::Polygon => 5,
            Self::MultiPoint => 8,
        };
        if has_z { flat + 10 } else { flat }
    }
}

/// Reads the content of a record. `None` is a null shape. Measures (M) are left out.
///
/// # Errors
/// The rule that is broken, to be read after "… data".
pub(super) fn read(content: &[u8]) -> Result<Option<Geometry>, String> {
    let mut bytes = Bytes::new(content);
    let shape_type = bytes.u32(Little).ok_or_else(|| ends("shape type"))?;
    let has_z = matches!(shape_type, 11 | 13 | 15 | 18);
    match shape_type {
        NULL_SHAPE => Ok(None),
        1 | 11 | 21 => point(&mut bytes, has_z).map(|position| position.map(Geometry::Point)),
        3 | 13 | 23 => {
            let mut lines = parts(&mut bytes, has_z)?;
            lines.retain(|line| line.len() >= 2);
            Ok(match lines.len() {
                0 => None,
                1 => lines.pop().map(Geometry::LineString),
                _ => Some(Geometry::MultiLineString(lines)),
            })
        }
        5 | 15 | 25 => {
            let mut rings = parts(&mut bytes, has_z)?;
            rings.retain(|ring| !ring.is_empty());
            for ring in &mut rings {
                close(ring);
            }
            let mut polygons = rings::polygons(rings)
                .map_err(|_too_many| "may not have that many rings in one polygon".to_owned())?;
            Ok(match polygons.len() {
                0 => None,
                1 => polygons.pop().map(Geometry::Polygon),
                _ => Some(Geometry::MultiPolygon(polygons)),
            })
        }
        8 | 18 | 28 => {
            bytes.take(32).ok_or_else(|| ends("box"))?;
            let count = bytes.u32(Little).ok_or_else(|| ends("number of points"))? as usize;
            Ok(Some(Geometry::MultiPoint(positions(&mut bytes, count, has_z)?)))
        }
        MULTI_PATCH => {
            Err("may hold points, lines and polygons, and MultiPatch (31) is none of them".to_owned())
        }
        other => Err(format!("can't have the shape type {other}")),
    }
}

fn ends(within: &str) -> String {
    format!("ends within a record, before its {within}")
}

/// A point without coordinates is written as NaN by some, though the standard has null shapes for it.
fn point(bytes: &mut Bytes<'_>, has_z: bool) -> Result<Option<Position>, String> {
    let x = bytes.f64(Little).ok_or_else(|| ends("x"))?;
    let y = bytes.f64(Little).ok_or_else(|| ends("y"))?;
    let z = if has_z { Some(bytes.f64(Little).ok_or_else(|| ends("z"))?) } else { None };
    if x.is_nan() && y.is_nan() {
        return Ok(None);
    }
    checked(x, y, z).map(Some)
}

fn checked(x: f64, y: f64, z: Option<f64>) -> Result<Position, String> {
    if !(x.is_finite() && y.is_finite()) {
        return Err(format!("must have finite coordinates, not {x} {y}"));
    }
    Ok(Position { x, y, z: z.filter(|z| z.is_finite() && *z >= NO_DATA_BELOW) })
}

/// The parts of a line or polygon.
fn parts(bytes: &mut Bytes<'_>, has_z: bool) -> Result<Vec<LineString>, String> {
    bytes.take(32).ok_or_else(|| ends("box"))?;
    let part_count = bytes.u32(Little).ok_or_else(|| ends("number of parts"))? as usize;
    let point_count = bytes.u32(Little).ok_or_else(|| ends("number of points"))? as usize;
    let starts =
        part_count.checked_mul(4).and_then(|count| bytes.take(count)).ok_or_else(|| ends("parts"))?;
    let mut starts: Vec<usize> = starts
        .chunks_exact(4)
        .filter_map(|start| Bytes::new(start).u32(Little))
        .map(|start| start as usize)
        .collect();
    if starts.first().is_some_and(|first| *first != 0) || !starts.is_sorted() {
        return Err("must name the starts of parts in order, from 0".to_owned());
    }
    if starts.last().is_some_and(|last| *last > point_count) {
        return Err(format!("must begin its parts within its {point_count} points"));
    }
    let mut rest = positions(bytes, point_count, has_z)?;
    let mut parts = Vec::with_capacity(starts.len());
    while let Some(start) = starts.pop() {
        parts.push(rest.split_off(start));
    }
    parts.reverse();
    Ok(parts)
}

/// `count` positions, then their z if they have any. What is counted is there before anything is allocated for it.
fn positions(bytes: &mut Bytes<'_>, count: usize, has_z: bool) -> Result<Vec<Position>, String> {
    let plane = count.checked_mul(16).and_then(|count| bytes.take(count)).ok_or_else(|| ends("points"))?;
    let mut heights = if has_z {
        bytes.take(16).ok_or_else(|| ends("range of z"))?;
        Some(Bytes::new(bytes.take(count * 8).ok_or_else(|| ends("z"))?))
    } else {
        None
    };
    plane
        .chunks_exact(16)
        .map(|pair| {
            let mut pair = Bytes::new(pair);
            let (x, y) = (pair.f64(Little).unwrap_or(f64::NAN), pair.f64(Little).unwrap_or(f64::NAN));
            checked(x, y, heights.as_mut().and_then(|heights| heights.f64(Little)))
        })
        .collect()
}

fn close(ring: &mut LineString) {
    if let (Some(first), Some(last)) = (ring.first().copied(), ring.last())
        && (first.x, first.y) != (last.x, last.y)
    {
        ring.push(first);
    }
}

/// Bounds of shapes: x, y, z.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds(Option<[[f64; 2]; 3]>);

impl Bounds {
    fn add(&mut self, position: &Position) {
        let values = [position.x, position.y, position.z.unwrap_or(0.0)];
        let bounds = self.0.get_or_insert_with(|| values.map(|value| [value, value]));
        for (bound, value) in bounds.iter_mut().zip(values) {
            *bound = [bound[0].min(value), bound[1].max(value)];
        }
    }

    /// Takes others in.
    pub(super) fn merge(&mut self, other: &Self) {
        for corner in 0..2 {
            if let Some([x, y, z]) = other.0 {
                self.add(&Position { x: x[corner], y: y[corner], z: Some(z[corner]) });
            }
        }
    }

    /// Lowest x, lowest y, highest x, highest y; zeros where there is nothing.
    pub(super) fn plane(&self) -> [f64; 4] {
        let [x, y, _] = self.0.unwrap_or_default();
        [x[0], y[0], x[1], y[1]]
    }

    /// Lowest and highest z.
    pub(super) fn height(&self) -> [f64; 2] {
        self.0.unwrap_or_default()[2]
    }
}

/// Appends the content of a record to `content` and gives its bounds. A missing z is written as 0, as a file has either z
/// everywhere or nowhere. `geometry` is of the file's kind.
pub(super) fn write(geometry: Option<&Geometry>, has_z: bool, content: &mut Vec<u8>) -> Bounds {
    let mut bounds = Bounds::default();
    let (Some(geometry), Some(kind)) = (geometry, geometry.and_then(Kind::of)) else {
        content.extend(NULL_SHAPE.to_le_bytes());
        return bounds;
    };
    content.extend(kind.shape_type(has_z).to_le_bytes());
    let parts: Vec<LineString> = match geometry {
        Geometry::Point(position) => {
            bounds.add(position);
            floats(content, [position.x, position.y]);
            if has_z {
                floats(content, [position.z.unwrap_or(0.0), 0.0]); // M
            }
            return bounds;
        }
        Geometry::MultiPoint(positions) => vec![positions.clone()],
        Geometry::LineString(line) => vec![line.clone()],
        Geometry::MultiLineString(lines) => lines.clone(),
        Geometry::Polygon(polygon) => rings::directed(polygon).collect(),
        Geometry::MultiPolygon(polygons) => {
            polygons.iter().flat_map(|polygon| rings::directed(polygon)).collect()
        }
        Geometry::GeometryCollection(_) => Vec::new(),
    };
    let positions = || parts.iter().flatten();
    positions().for_each(|position| bounds.add(position));
    floats(content, bounds.plane());
    if kind != Kind::MultiPoint {
        content.extend(count(parts.len()));
    }
    content.extend(count(positions().count()));
    if kind != Kind::MultiPoint {
        let mut start = 0;
        for part in &parts {
            content.extend(count(start));
            start += part.len();
        }
    }
    positions().for_each(|position| floats(content, [position.x, position.y]));
    if has_z {
        floats(content, bounds.height());
        positions().for_each(|position| floats(content, [position.z.unwrap_or(0.0)]));
    }
    bounds
}

fn floats<const N: usize>(content: &mut Vec<u8>, values: [f64; N]) {
    for value in values {
        content.extend(value.to_le_bytes());
    }
}

/// Counts of one record fit: the writer refuses records over its limit before they get here in numbers that don't.
fn count(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f64, y: f64, z: Option<f64>) -> Position {
        Position { x, y, z }
    }

    fn written(geometry: &Geometry) -> Vec<u8> {
        let mut content = Vec::new();
        write(Some(geometry), geometry.has_z(), &mut content);
        content
    }

    fn samples() -> Vec<Geometry> {
        let mut samples = Vec::new();
        for z in [None, Some(7.5)] {
            let square = |x: f64, side: f64, clockwise: bool| {
                let mut ring = vec![
                    at(x, x, z),
                    at(x + side, x, z),
                    at(x + side, x + side, z),
                    at(x, x + side, z),
                    at(x, x, z),
                ];
                if clockwise {
                    ring.reverse();
                }
                ring
            };
            let line = vec![at(1.0, 2.0, z), at(3.0, 4.0, z)];
            samples.extend([
                Geometry::Point(at(1.5, -2.5, z)),
                Geometry::MultiPoint(line.clone()),
                Geometry::LineString(line.clone()),
                Geometry::MultiLineString(vec![line.clone(), line]),
                Geometry::Polygon(vec![square(0.0, 10.0, false), square(1.0, 2.0, true)]),
                Geometry::MultiPolygon(vec![
                    vec![square(0.0, 10.0, false), square(1.0, 2.0, true)],
                    vec![square(20.0, 10.0, false)],
                ]),
            ]);
        }
        samples
    }

    #[test]
    fn what_is_written_is_read_back() {
        for geometry in samples() {
            assert_eq!(read(&written(&geometry)), Ok(Some(geometry)));
        }
    }

    #[test]
    fn cut_records_and_wild_counts_are_refused() {
        for geometry in samples() {
            let content = written(&geometry);
            for end in 0..content.len() {
                // The measures at the end of a PointZ are not read.
                let cut = read(&content[..end]);
                assert!(cut.is_err() || end >= content.len() - 8, "{geometry:?} {end}");
            }
            for at in 4..content.len() {
                let mut wild = content.clone();
                wild[at] = 0xff;
                let _anything_but_a_panic = read(&wild);
            }
        }
        assert!(read(&31_u32.to_le_bytes()).unwrap_err().contains("MultiPatch"));
    }
}
