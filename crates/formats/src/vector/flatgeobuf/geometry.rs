//! Geometries of FlatGeobuf: flat lists of numbers, and where parts end within them.

use crate::vector::{Geometry, LineString, Polygon, Position};
use flatbuffers::{FlatBufferBuilder, WIPOffset};
use flatgeobuf::{GeometryArgs, GeometryType};

/// Collections within collections; verification allows 64 tables of any kind.
const DEPTH_MAX: usize = 32;

/// Reads a geometry; `None` is an empty one. `kind` is that of the head, for geometries that don't say it themselves.
///
/// # Errors
/// The rule that is broken, to be read after "… data".
pub(super) fn read(
    geometry: flatgeobuf::Geometry<'_>,
    kind: GeometryType,
    depth: usize,
) -> Result<Option<Geometry>, String> {
    let kind = if kind == GeometryType::Unknown { geometry.type_() } else { kind };
    Ok(match kind {
        GeometryType::Point => positions(geometry)?.first().copied().map(Geometry::Point),
        GeometryType::MultiPoint => some(positions(geometry)?).map(Geometry::MultiPoint),
        GeometryType::LineString => {
            let line = positions(geometry)?;
            if line.len() == 1 {
                return Err("must have two positions or more in a line".to_owned());
            }
            some(line).map(Geometry::LineString)
        }
        GeometryType::MultiLineString => some(lines(geometry)?).map(Geometry::MultiLineString),
        GeometryType::Polygon => polygon(geometry)?.map(Geometry::Polygon),
        GeometryType::MultiPolygon => {
            let mut polygons = Vec::new();
            for part in geometry.parts().into_iter().flatten() {
                polygons.extend(polygon(part)?);
            }
            some(polygons).map(Geometry::MultiPolygon)
        }
        GeometryType::GeometryCollection => {
            if depth == DEPTH_MAX {
                return Err(format!("may nest collections {DEPTH_MAX} deep"));
            }
            let mut members = Vec::new();
            for part in geometry.parts().into_iter().flatten() {
                members.extend(read(part, GeometryType::Unknown, depth + 1)?);
            }
            some(members).map(Geometry::GeometryCollection)
        }
        other => {
            return Err(format!(
                "may hold points, straight lines and polygons, and not the geometry type {}",
                other.variant_name().map_or_else(|| other.0.to_string(), str::to_owned)
            ));
        }
    })
}

fn some<T>(members: Vec<T>) -> Option<Vec<T>> {
    (!members.is_empty()).then_some(members)
}

fn positions(geometry: flatgeobuf::Geometry<'_>) -> Result<Vec<Position>, String> {
    let Some(plane) = geometry.xy() else { return Ok(Vec::new()) };
    let count = plane.len() / 2;
    let heights = geometry.z().filter(|heights| !heights.is_empty());
    if plane.len() % 2 != 0 || heights.is_some_and(|heights| heights.len() != count) {
        return Err("must have as many x, y and z in a geometry".to_owned());
    }
    (0..count)
        .map(|index| {
            let (x, y) = (plane.get(2 * index), plane.get(2 * index + 1));
            if !(x.is_finite() && y.is_finite()) {
                return Err(format!("must have finite coordinates, not {x} {y}"));
            }
            let z = heights.map(|heights| heights.get(index)).filter(|z| z.is_finite());
            Ok(Position { x, y, z })
        })
        .collect()
}

/// The parts of a geometry; without ends it is one.
fn lines(geometry: flatgeobuf::Geometry<'_>) -> Result<Vec<LineString>, String> {
    let mut rest = positions(geometry)?;
    let mut lines = Vec::new();
    let mut start = 0;
    for end in geometry.ends().into_iter().flatten() {
        let end = end as usize;
        let Some(count) = end.checked_sub(start).filter(|count| *count <= rest.len()) else {
            return Err("must name the ends of parts in order, within their positions".to_owned());
        };
        let after = rest.split_off(count);
        lines.push(std::mem::replace(&mut rest, after));
        start = end;
    }
    if lines.is_empty() {
        lines.push(rest);
    } else if !rest.is_empty() {
        return Err("must end the last part of a geometry with its last position".to_owned());
    }
    lines.retain(|line| !line.is_empty());
    if lines.iter().any(|line| line.len() == 1) {
        return Err("must have two positions or more in a line".to_owned());
    }
    Ok(lines)
}

fn polygon(geometry: flatgeobuf::Geometry<'_>) -> Result<Option<Polygon>, String> {
    let rings = lines(geometry)?;
    if rings.iter().any(|ring| ring.first() != ring.last()) {
        return Err("must have closed rings".to_owned());
    }
    Ok(some(rings))
}

/// Puts a geometry into a buffer. A missing z is written as 0 where the file has z.
pub(super) fn write<'a>(
    buffer: &mut FlatBufferBuilder<'a>,
    geometry: &Geometry,
    has_z: bool,
) -> WIPOffset<flatgeobuf::Geometry<'a>> {
    let line = |line: &LineString| vec![line.clone()];
    match geometry {
        Geometry::Point(position) => flat(buffer, GeometryType::Point, &[vec![*position]], has_z),
        Geometry::LineString(positions) => flat(buffer, GeometryType::LineString, &line(positions), has_z),
        Geometry::MultiPoint(positions) => flat(buffer, GeometryType::MultiPoint, &line(positions), has_z),
        Geometry::MultiLineString(lines) => flat(buffer, GeometryType::MultiLineString, lines, has_z),
        Geometry::Polygon(rings) => flat(buffer, GeometryType::Polygon, rings, has_z),
        Geometry::MultiPolygon(polygons) => {
            let parts: Vec<_> =
                polygons.iter().map(|rings| flat(buffer, GeometryType::Polygon, rings, has_z)).collect();
            nested(buffer, GeometryType::MultiPolygon, &parts)
        }
        Geometry::GeometryCollection(members) => {
            let parts: Vec<_> = members.iter().map(|member| write(buffer, member, has_z)).collect();
            nested(buffer, GeometryType::GeometryCollection, &parts)
        }
    }
}

fn flat<'a>(
    buffer: &mut FlatBufferBuilder<'a>,
    kind: GeometryType,
    lines: &[LineString],
    has_z: bool,
) -> WIPOffset<flatgeobuf::Geometry<'a>> {
    let positions = || lines.iter().flatten();
    let plane: Vec<f64> = positions().flat_map(|position| [position.x, position.y]).collect();
    let heights: Option<Vec<f64>> =
        has_z.then(|| positions().map(|position| position.z.unwrap_or(0.0)).collect());
    let mut end = 0_usize;
    let ends: Option<Vec<u32>> = (lines.len() > 1).then(|| {
        lines
            .iter()
            .map(|line| {
                end += line.len();
                u32::try_from(end).unwrap_or(u32::MAX) // a FlatBuffer ends at 2 GiB, so before that
            })
            .collect()
    });
    let arguments = GeometryArgs {
        xy: Some(buffer.create_vector(&plane)),
        z: heights.map(|heights| buffer.create_vector(&heights)),
        ends: ends.map(|ends| buffer.create_vector(&ends)),
        type_: kind,
        ..GeometryArgs::default()
    };
    flatgeobuf::Geometry::create(buffer, &arguments)
}

fn nested<'a>(
    buffer: &mut FlatBufferBuilder<'a>,
    kind: GeometryType,
    parts: &[WIPOffset<flatgeobuf::Geometry<'a>>],
) -> WIPOffset<flatgeobuf::Geometry<'a>> {
    let parts = Some(buffer.create_vector(parts));
    flatgeobuf::Geometry::create(buffer, &GeometryArgs { parts, type_: kind, ..GeometryArgs::default() })
}
