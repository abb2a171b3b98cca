//! The geometry of a cell: a head and well-known binary (OGC 12-128r17 clause 2.1.3).

use crate::bytes::{ByteOrder, Bytes};
use crate::vector::{Geometry, wkb};

const MAGIC: [u8; 2] = *b"GP";

/// Least significant bytes first.
const LITTLE: u8 = 0b1;
/// A box of lowest x, highest x, lowest y, highest y follows the head.
const BOX_XY: u8 = 1 << 1;
const EXTENDED: u8 = 1 << 5;

/// Reads a cell. The box of its head is not needed.
///
/// # Errors
/// The rule that is broken, to be read after "… data".
pub(super) fn read(cell: &[u8]) -> Result<Option<Geometry>, String> {
    let mut bytes = Bytes::new(cell);
    let ends = || "ends within the head of a geometry".to_owned();
    if bytes.array() != Some(MAGIC) {
        return Err("must begin each geometry with \"GP\"".to_owned());
    }
    let version = bytes.u8().ok_or_else(ends)?;
    let flags = bytes.u8().ok_or_else(ends)?;
    if version != 0 {
        return Err(format!("must have geometries of version 0, not {version}"));
    }
    if flags & EXTENDED != 0 {
        return Err("may hold standard geometries only, not extended ones".to_owned());
    }
    let order = if flags & LITTLE == 0 { ByteOrder::Big } else { ByteOrder::Little };
    let _srs_id_is_the_table_s = bytes.i32(order).ok_or_else(ends)?;
    let box_bytes = match flags >> 1 & 0b111 {
        0 => 0,
        1 => 32,
        2 | 3 => 48,
        4 => 64,
        other => return Err(format!("can't have a box of the kind {other} before a geometry")),
    };
    bytes.take(box_bytes).ok_or_else(ends)?;
    wkb::read(&mut bytes)
}

/// A cell for a geometry, and the bounds of the geometry: lowest x, highest x, lowest y, highest y.
pub(super) fn write(geometry: &Geometry, srs_id: i32) -> (Vec<u8>, [f64; 4]) {
    let bounds = bounds(geometry);
    // A point is its own box.
    let has_box = !matches!(geometry, Geometry::Point(_));
    let mut cell = MAGIC.to_vec();
    cell.extend([0, if has_box { LITTLE | BOX_XY } else { LITTLE }]);
    cell.extend(srs_id.to_le_bytes());
    if has_box {
        bounds.iter().for_each(|bound| cell.extend(bound.to_le_bytes()));
    }
    wkb::write(geometry, &mut cell);
    (cell, bounds)
}

fn bounds(geometry: &Geometry) -> [f64; 4] {
    let mut bounds = [f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY, f64::NEG_INFINITY];
    geometry.for_each(&mut |position| {
        bounds = [
            bounds[0].min(position.x),
            bounds[1].max(position.x),
            bounds[2].min(position.y),
            bounds[3].max(position.y),
        ];
    });
    bounds
}
