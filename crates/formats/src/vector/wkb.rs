//! Well-known binary (OGC 06-103r4 section 8, ISO 13249-3), and what GEOS and PostGIS made of it (EWKB).

use super::{Geometry, LineString, Polygon, Position};
use crate::bytes::{ByteOrder, Bytes};

/// Collections within collections. Real data has one.
const DEPTH_MAX: usize = 32;

/// Bytes of the smallest geometry: byte order, type, count.
const GEOMETRY_BYTES_MIN: usize = 9;

const EWKB_Z: u32 = 0x8000_0000;
const EWKB_M: u32 = 0x4000_0000;
const EWKB_SRID: u32 = 0x2000_0000;

/// Reads one geometry; `None` is an empty one. Empty members of collections are left out, measures (M) too.
///
/// # Errors
/// The rule that is broken, to be read after "… data".
pub(super) fn read(bytes: &mut Bytes<'_>) -> Result<Option<Geometry>, String> {
    geometry(bytes, None, 0)
}

#[derive(Clone, Copy)]
struct Head {
    order: ByteOrder,
    /// Without its dimensions.
    kind: u32,
    has_z: bool,
    has_m: bool,
}

impl Head {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, String> {
        let order = match bytes.u8().ok_or_else(ends)? {
            0 => ByteOrder::Big,
            1 => ByteOrder::Little,
            other => return Err(format!("must begin a geometry with its byte order, 0 or 1, not {other}")),
        };
        let kind = bytes.u32(order).ok_or_else(ends)?;
        if kind & EWKB_SRID != 0 {
            bytes.take(4).ok_or_else(ends)?;
        }
        let plain = kind & !(EWKB_Z | EWKB_M | EWKB_SRID);
        let dimensions = plain / 1000;
        if dimensions > 3 {
            return Err(format!("can't have the geometry type {kind}"));
        }
        Ok(Self {
            order,
            kind: plain % 1000,
            has_z: kind & EWKB_Z != 0 || dimensions & 1 != 0,
            has_m: kind & EWKB_M != 0 || dimensions & 2 != 0,
        })
    }

    fn position_bytes(self) -> usize {
        8 * (2 + usize::from(self.has_z) + usize::from(self.has_m))
    }
}

fn ends() -> String {
    "ends within a geometry".to_owned()
}

/// `kind` is the one that the geometry around it asks for.
fn geometry(bytes: &mut Bytes<'_>, kind: Option<u32>, depth: usize) -> Result<Option<Geometry>, String> {
    let head = Head::read(bytes)?;
    if kind.is_some_and(|kind| kind != head.kind) {
        return Err(format!("can't have the geometry type {} within another", head.kind));
    }
    Ok(match head.kind {
        1 => point(bytes, head)?.map(Geometry::Point),
        2 => line(bytes, head)?.map(Geometry::LineString),
        3 => polygon(bytes, head)?.map(Geometry::Polygon),
        4 => some(members(bytes, head, 1, depth)?, |member| match member {
            Geometry::Point(position) => Some(position),
            _ => None,
        })
        .map(Geometry::MultiPoint),
        5 => some(members(bytes, head, 2, depth)?, |member| match member {
            Geometry::LineString(line) => Some(line),
            _ => None,
        })
        .map(Geometry::MultiLineString),
        6 => some(members(bytes, head, 3, depth)?, |member| match member {
            Geometry::Polygon(polygon) => Some(polygon),
            _ => None,
        })
        .map(Geometry::MultiPolygon),
        7 => {
            if depth == DEPTH_MAX {
                return Err(format!("may nest collections {DEPTH_MAX} deep"));
            }
            let count = count(bytes, head.order, GEOMETRY_BYTES_MIN)?;
            let mut members = Vec::new();
            for _ in 0..count {
                members.extend(geometry(bytes, None, depth + 1)?);
            }
            (!members.is_empty()).then_some(Geometry::GeometryCollection(members))
        }
        8..=12 => {
            return Err(format!("may hold straight lines only, and geometry type {} is a curve", head.kind));
        }
        other => return Err(format!("can't have the geometry type {other}")),
    })
}

fn some<T>(members: Vec<Geometry>, of: impl Fn(Geometry) -> Option<T>) -> Option<Vec<T>> {
    let members: Vec<T> = members.into_iter().filter_map(of).collect();
    (!members.is_empty()).then_some(members)
}

fn members(bytes: &mut Bytes<'_>, head: Head, kind: u32, depth: usize) -> Result<Vec<Geometry>, String> {
    let count = count(bytes, head.order, GEOMETRY_BYTES_MIN)?;
    let mut members = Vec::new();
    for _ in 0..count {
        members.extend(geometry(bytes, Some(kind), depth + 1)?);
    }
    Ok(members)
}

/// A count of things that have so many bytes at least: it is not believed where there are fewer bytes.
fn count(bytes: &mut Bytes<'_>, order: ByteOrder, bytes_min: usize) -> Result<usize, String> {
    let count = bytes.u32(order).ok_or_else(ends)? as usize;
    if count > bytes.len() / bytes_min {
        return Err(ends());
    }
    Ok(count)
}

fn position(bytes: &mut Bytes<'_>, head: Head) -> Result<Position, String> {
    let mut next = |there: bool| if there { bytes.f64(head.order).map(Some) } else { Some(None) };
    let x = next(true).flatten().ok_or_else(ends)?;
    let y = next(true).flatten().ok_or_else(ends)?;
    let z = next(head.has_z).ok_or_else(ends)?;
    next(head.has_m).ok_or_else(ends)?;
    Ok(Position { x, y, z: z.filter(|z| z.is_finite()) })
}

fn finite(position: Position) -> Result<Position, String> {
    if position.x.is_finite() && position.y.is_finite() {
        Ok(position)
    } else {
        Err(format!("must have finite coordinates, not {} {}", position.x, position.y))
    }
}

/// A point of NaN is the empty point (OGC 12-128r17 clause 2.1.3).
fn point(bytes: &mut Bytes<'_>, head: Head) -> Result<Option<Position>, String> {
    let position = position(bytes, head)?;
    if position.x.is_nan() && position.y.is_nan() {
        return Ok(None);
    }
    finite(position).map(Some)
}

fn line(bytes: &mut Bytes<'_>, head: Head) -> Result<Option<LineString>, String> {
    let count = count(bytes, head.order, head.position_bytes())?;
    if count == 1 {
        return Err("must have two positions or more in a line".to_owned());
    }
    let line: LineString =
        (0..count).map(|_| position(bytes, head).and_then(finite)).collect::<Result<_, _>>()?;
    Ok((!line.is_empty()).then_some(line))
}

fn polygon(bytes: &mut Bytes<'_>, head: Head) -> Result<Option<Polygon>, String> {
    let count = count(bytes, head.order, 4)?;
    let mut rings = Polygon::new();
    for _ in 0..count {
        rings.extend(line(bytes, head)?);
    }
    if let Some(ring) = rings.iter().find(|ring| ring.first() != ring.last()) {
        return Err(format!("must have closed rings; one ends {:?} from its start", ends_apart(ring)));
    }
    Ok((!rings.is_empty()).then_some(rings))
}

fn ends_apart(ring: &[Position]) -> (f64, f64) {
    match (ring.first(), ring.last()) {
        (Some(first), Some(last)) => (last.x - first.x, last.y - first.y),
        _ => (0.0, 0.0),
    }
}

/// Appends a geometry, least significant bytes first. It has z everywhere or nowhere: a missing one is written as 0.
pub(super) fn write(geometry: &Geometry, out: &mut Vec<u8>) {
    Writer { has_z: geometry.has_z(), out }.geometry(geometry);
}

struct Writer<'a> {
    has_z: bool,
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn head(&mut self, kind: u32) {
        self.out.push(1);
        let kind = if self.has_z { kind + 1000 } else { kind };
        self.out.extend(kind.to_le_bytes());
    }

    /// No geometry of this crate has that many members.
    fn count(&mut self, count: usize) {
        self.out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn position(&mut self, position: &Position) {
        self.out.extend(position.x.to_le_bytes());
        self.out.extend(position.y.to_le_bytes());
        if self.has_z {
            self.out.extend(position.z.unwrap_or(0.0).to_le_bytes());
        }
    }

    fn point(&mut self, position: &Position) {
        self.head(1);
        self.position(position);
    }

    fn positions(&mut self, line: &[Position]) {
        self.count(line.len());
        line.iter().for_each(|position| self.position(position));
    }

    fn line(&mut self, line: &[Position]) {
        self.head(2);
        self.positions(line);
    }

    fn polygon(&mut self, rings: &[LineString]) {
        self.head(3);
        self.count(rings.len());
        rings.iter().for_each(|ring| self.positions(ring));
    }

    fn geometry(&mut self, geometry: &Geometry) {
        match geometry {
            Geometry::Point(position) => self.point(position),
            Geometry::LineString(line) => self.line(line),
            Geometry::Polygon(rings) => self.polygon(rings),
            Geometry::MultiPoint(positions) => {
                self.head(4);
                self.count(positions.len());
                positions.iter().for_each(|position| self.point(position));
            }
            Geometry::MultiLineString(lines) => {
                self.head(5);
                self.count(lines.len());
                lines.iter().for_each(|line| self.line(line));
            }
            Geometry::MultiPolygon(polygons) => {
                self.head(6);
                self.count(polygons.len());
                polygons.iter().for_each(|polygon| self.polygon(polygon));
            }
            Geometry::GeometryCollection(members) => {
                self.head(7);
                self.count(members.len());
                members.iter().for_each(|member| self.geometry(member));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::testing;

    fn written(geometry: &Geometry) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(geometry, &mut bytes);
        bytes
    }

    fn samples() -> Vec<Geometry> {
        [None, Some(3.5)]
            .into_iter()
            .flat_map(|z| testing::groups(z).concat().into_iter().chain([testing::collection(z)]))
            .collect()
    }

    #[test]
    fn what_is_written_is_read_back() {
        for geometry in samples() {
            let bytes = written(&geometry);
            let mut rest = Bytes::new(&bytes);
            assert_eq!(read(&mut rest), Ok(Some(geometry)));
            assert_eq!(rest.len(), 0);
        }
    }

    #[test]
    fn both_byte_orders_and_all_dimensions_are_read() {
        let point = |kind: u32, numbers: &[f64]| {
            let mut bytes = vec![0];
            bytes.extend(kind.to_be_bytes());
            numbers.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
            read(&mut Bytes::new(&bytes)).unwrap()
        };
        let at = |z| Some(Geometry::Point(Position { x: 1.0, y: 2.0, z }));
        assert_eq!(point(1, &[1.0, 2.0]), at(None));
        assert_eq!(point(1001, &[1.0, 2.0, 3.0]), at(Some(3.0)));
        assert_eq!(point(2001, &[1.0, 2.0, 9.0]), at(None));
        assert_eq!(point(3001, &[1.0, 2.0, 3.0, 9.0]), at(Some(3.0)));
        assert_eq!(point(EWKB_Z | 1, &[1.0, 2.0, 3.0]), at(Some(3.0)));
        assert_eq!(point(EWKB_Z | EWKB_M | 1, &[1.0, 2.0, 3.0, 9.0]), at(Some(3.0)));
        assert_eq!(point(1, &[f64::NAN, f64::NAN]), None);
    }

    #[test]
    fn hostile_bytes_are_refused() {
        for geometry in samples() {
            let bytes = written(&geometry);
            for end in 0..bytes.len() {
                assert!(read(&mut Bytes::new(&bytes[..end])).is_err());
            }
            for at in 0..bytes.len() {
                let mut wild = bytes.clone();
                wild[at] = 0xff;
                let _anything_but_a_panic = read(&mut Bytes::new(&wild));
            }
        }
        let deep: Vec<u8> = [1, 7, 0, 0, 0, 1, 0, 0, 0].repeat(100_000);
        assert!(read(&mut Bytes::new(&deep)).unwrap_err().contains("32 deep"));
        let curve = [1, 8, 0, 0, 0, 0, 0, 0, 0];
        assert!(read(&mut Bytes::new(&curve)).unwrap_err().contains("curve"));
    }
}
