//! Prints what is known of coordinate reference systems, and how some positions are transformed: one JSON object per line and
//! system, for `scripts/crs.py check`, which compares it with PROJ.
//!
//! Positions are spread over the area of use; `there` has them in the system, `back` the same from there in degrees again.
#![allow(clippy::print_stdout)]

use anabranch_formats::crs::{AxisOrder, Crs, EpsgCode, OutsideDomain, Transform, UnsupportedCrs};
use anabranch_formats::vector::Position;
use serde_json::json;

/// Positions along each side of an area.
const STEPS: u8 = 8;

fn main() -> Result<(), UnsupportedCrs> {
    for code in EpsgCode::all() {
        let crs = Crs::Epsg(code);
        let there = Transform::new(Crs::Crs84, crs)?;
        let back = Transform::new(crs, Crs::Crs84)?;
        let positions: Vec<_> = spread(code.area_of_use())
            .map(|from| {
                let to = moved(&there, from);
                let again = to.and_then(|to| moved(&back, to));
                json!({ "from": pair(&from), "there": to.ok().as_ref().map(pair), "back": again.ok().as_ref().map(pair) })
            })
            .collect();
        let line = json!({
            "code": code.code(),
            "name": crs.name(),
            "y_first": code.register_order() == AxisOrder::Yx,
            "unit": format!("{:?}", crs.unit()),
            "area": code.area_of_use(),
            "positions": positions,
        });
        println!("{line}");
    }
    Ok(())
}

/// Longitudes and latitudes, over an area and just within its edges.
fn spread([west, south, east, north]: [f64; 4]) -> impl Iterator<Item = Position> {
    let east = if east < west { east + 360.0 } else { east };
    let within = |low: f64, high: f64, step: u8| {
        let margin = (high - low) / 1000.0;
        low + margin + (high - low - 2.0 * margin) * f64::from(step) / f64::from(STEPS - 1)
    };
    (0..STEPS).flat_map(move |row| {
        (0..STEPS).map(move |column| {
            let x = within(west, east, column);
            Position { x: if x > 180.0 { x - 360.0 } else { x }, y: within(south, north, row), z: None }
        })
    })
}

fn moved(transform: &Transform, mut position: Position) -> Result<Position, OutsideDomain> {
    transform.position(&mut position)?;
    Ok(position)
}

fn pair(position: &Position) -> [f64; 2] {
    [position.x, position.y]
}
