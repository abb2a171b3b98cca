//! From one coordinate reference system to another.

use proj4rs::Proj;

use super::{Crs, Unit, UnsupportedCrs};
use crate::vector::{Geometry, Position};

/// A transformation of positions between two systems.
///
/// Heights stay as they are: all systems here are two-dimensional. Within each system's
/// [area of use](super::EpsgCode::area_of_use) results agree with PROJ's (without its grids) to a centimetre.
///
/// ```
/// use anabranch_formats::crs::{Crs, Transform};
/// use anabranch_formats::vector::Position;
///
/// let transform = Transform::new(Crs::Crs84, Crs::epsg(32633)?)?;
/// let mut position = Position { x: 15.0, y: 52.0, z: None };
/// transform.position(&mut position)?;
/// assert_eq!((position.x.round(), position.y.round()), (500_000.0, 5_761_038.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Transform {
    from: Crs,
    to: Crs,
    /// `None` where both systems are the same.
    path: Option<Box<Path>>,
}

/// The formulas, which take and give radians where a system has degrees.
struct Path {
    from: Proj,
    to: Proj,
    /// The greatest x of `from` either way that means a place.
    x_max: f64,
}

/// A position that has no place in the system it is to be transformed to, or none in its own.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the position {x}, {y} (x, y) of {from} has no place in {to}")]
pub struct OutsideDomain {
    /// To the east, in the system it comes from.
    pub x: f64,
    /// To the north, in the system it comes from.
    pub y: f64,
    /// The system it comes from.
    pub from: Crs,
    /// The system it was to go to.
    pub to: Crs,
}

/// Degrees of longitude either way that mean a place: data across the antimeridian goes on counting, but once round is enough.
const LONGITUDE_MAX: f64 = 540.0;

impl Transform {
    /// From positions in `from` to positions in `to`.
    ///
    /// # Errors
    /// Where one of the systems can't be computed; none of the known ones is so.
    pub fn new(from: Crs, to: Crs) -> Result<Self, UnsupportedCrs> {
        let path = if definition(from) == definition(to) {
            None
        } else {
            Some(Box::new(Path { from: formulas(from)?, to: formulas(to)?, x_max: x_max(from)? }))
        };
        Ok(Self { from, to, path })
    }

    /// Positions stay as they are.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.path.is_none()
    }

    /// Transforms one position.
    ///
    /// # Errors
    /// Where it has no place in the system it goes to. It is left as it was.
    pub fn position(&self, position: &mut Position) -> Result<(), OutsideDomain> {
        let Some(path) = &self.path else { return Ok(()) };
        let outside = OutsideDomain { x: position.x, y: position.y, from: self.from, to: self.to };
        let mut point = (position.x, position.y);
        if self.from.unit() == Unit::Degree {
            // The formulas take latitudes beyond the pole and go on.
            if !(point.0.abs() <= LONGITUDE_MAX && point.1.abs() <= 90.0) {
                return Err(outside);
            }
            point = (point.0.to_radians(), point.1.to_radians());
        } else if point.0.abs() > path.x_max {
            return Err(outside);
        }
        // What went wrong would not help: the errors name formulas, not causes.
        proj4rs::transform::transform(&path.from, &path.to, &mut point).map_err(|_| outside)?;
        if self.to.unit() == Unit::Degree {
            point = (point.0.to_degrees(), point.1.to_degrees());
        }
        if !(point.0.is_finite() && point.1.is_finite()) {
            return Err(outside);
        }
        (position.x, position.y) = point;
        Ok(())
    }

    /// Transforms positions.
    ///
    /// # Errors
    /// The first that has no place in the system it goes to. Those before it are transformed.
    pub fn positions(&self, positions: &mut [Position]) -> Result<(), OutsideDomain> {
        if self.is_identity() {
            return Ok(());
        }
        positions.iter_mut().try_for_each(|position| self.position(position))
    }

    /// Transforms all positions of a geometry.
    ///
    /// # Errors
    /// The first that has no place in the system it goes to.
    pub fn geometry(&self, geometry: &mut Geometry) -> Result<(), OutsideDomain> {
        if self.is_identity() {
            return Ok(());
        }
        geometry.try_map(&mut |position| self.position(position))
    }
}

fn definition(crs: Crs) -> &'static str {
    match crs {
        Crs::Crs84 => "+proj=longlat +datum=WGS84",
        Crs::Epsg(code) => code.definition(),
    }
}

fn formulas(crs: Crs) -> Result<Proj, UnsupportedCrs> {
    Proj::from_proj_string(definition(crs)).map_err(|_| UnsupportedCrs(crs.to_string()))
}

/// The formulas of a cylinder around the world (Mercator and its like) go round and round: the same as [`LONGITUDE_MAX`], for x.
fn x_max(crs: Crs) -> Result<f64, UnsupportedCrs> {
    const QUARTER: f64 = 90.0;
    if !["+proj=merc ", "+proj=eqc ", "+proj=cea "].iter().any(|around| definition(crs).starts_with(around)) {
        return Ok(f64::INFINITY);
    }
    let mut quarter = Position { x: QUARTER, y: 0.0, z: None };
    let there = Transform::new(Crs::Crs84, crs)?.position(&mut quarter);
    there.map_err(|_outside| UnsupportedCrs(crs.to_string()))?;
    Ok(quarter.x * LONGITUDE_MAX / QUARTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crs::EpsgCode;

    fn epsg(code: u32) -> Crs {
        Crs::epsg(code).unwrap()
    }

    fn at(x: f64, y: f64) -> Position {
        Position { x, y, z: Some(7.0) }
    }

    #[test]
    fn all_known_systems_come_back_to_where_they_began() {
        for crs in EpsgCode::all() {
            let [west, south, east, north] = crs.area_of_use();
            let east = if east < west { east + 360.0 } else { east };
            let middle = at((west + east) / 2.0, (south + north) / 2.0);
            let mut position = middle;
            let crs = Crs::Epsg(crs);
            Transform::new(Crs::Crs84, crs).unwrap().position(&mut position).unwrap();
            Transform::new(crs, Crs::Crs84).unwrap().position(&mut position).unwrap();
            let turned = (position.x - middle.x).rem_euclid(360.0);
            assert!(turned.min(360.0 - turned) < 1e-7 && (position.y - middle.y).abs() < 1e-7, "{crs}");
            assert_eq!(position.z, middle.z);
        }
    }

    #[test]
    fn the_same_place_costs_nothing() {
        for (from, to) in [(Crs::Crs84, epsg(4326)), (epsg(4326), epsg(4326)), (epsg(3045), epsg(25833))] {
            assert!(Transform::new(from, to).unwrap().is_identity(), "{from} {to}");
        }
        assert!(!Transform::new(epsg(32633), epsg(32632)).unwrap().is_identity());
    }

    #[test]
    fn what_has_no_place_is_named_and_left() {
        for (from, to, x, y) in [
            (Crs::Crs84, epsg(3857), 0.0, 90.0),
            (Crs::Crs84, epsg(3857), 0.0, 90.5),
            (Crs::Crs84, epsg(32633), 5000.0, 50.0),
            (Crs::Crs84, epsg(4258), 0.0, f64::NAN),
            (Crs::Crs84, epsg(32633), f64::INFINITY, 0.0),
            (Crs::Crs84, epsg(32633), 105.0, 0.0),
            (Crs::Crs84, epsg(3034), 10.0, -90.0),
            (epsg(32633), Crs::Crs84, 1e300, 1e300),
            (epsg(3035), Crs::Crs84, 1e9, 1e9),
            (epsg(3857), Crs::Crs84, f64::NAN, 0.0),
        ] {
            let mut position = at(x, y);
            let error = Transform::new(from, to).unwrap().position(&mut position);
            let Err(error) = error else { panic!("{x} {y} of {from} is {position:?} of {to}") };
            assert_eq!(position.x.to_bits(), x.to_bits());
            assert!(error.to_string().contains(&format!("{x}, {y} (x, y) of {from}")), "{error}");
        }
    }

    #[test]
    fn once_round_the_world_is_enough() {
        const ROUND: f64 = 40_075_016.686;
        let degrees = |x: f64| {
            let mut position = at(x, 0.0);
            Transform::new(epsg(3857), Crs::Crs84).unwrap().position(&mut position)?;
            Ok::<_, OutsideDomain>((position.x * 1e6).round() / 1e6)
        };
        assert_eq!(degrees(ROUND / 2.0).unwrap().abs(), 180.0);
        // What crosses the antimeridian goes on counting, on maps of the Pacific all around.
        assert_eq!(degrees(ROUND / 360.0 * 190.0).unwrap(), -170.0);
        assert_eq!(degrees(ROUND / -360.0 * 350.0).unwrap(), 10.0);
        for x in [ROUND * 1.51, ROUND * -1.51, 1e9, -1e15] {
            let error = degrees(x).unwrap_err().to_string();
            assert!(error.contains(&format!("the position {x}, 0 (x, y) of EPSG:3857")), "{error}");
        }
        for code in [3395, 4087, 6933] {
            let there = Transform::new(epsg(code), epsg(3857)).unwrap();
            assert!(there.position(&mut at(1.7e7, 0.0)).is_ok(), "{code}");
            assert!(there.position(&mut at(1e8, 0.0)).is_err(), "{code}");
        }
    }

    #[test]
    fn random_positions_neither_panic_nor_give_numbers_that_are_none() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5;
            [1.0, 200.0, 1e4, 1e7, 1e8, 1e30, 1e308][(state >> 5) as usize % 7] * uniform
        };
        for crs in EpsgCode::all().map(Crs::Epsg) {
            for transform in [Transform::new(Crs::Crs84, crs), Transform::new(crs, epsg(3857))] {
                let transform = transform.unwrap();
                for _ in 0..50 {
                    let mut position = at(random(), random());
                    let _ = transform.position(&mut position);
                    assert!(position.x.is_finite() && position.y.is_finite(), "{crs} {position:?}");
                }
            }
        }
    }
}
