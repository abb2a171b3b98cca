//! Rings to polygons and back: a Shapefile says by their direction which rings are holes, and not whose.

use crate::vector::{LineString, Polygon, Position};

/// Comparisons of a hole's point with edges of outer rings, for one record: a real one with 100,000 vertices needs a few millions.
const COMPARISONS_MAX: u64 = 100_000_000;

/// Positions of a hole that are looked at: the first ones may lie on the outer ring, which counts as inside or not by chance.
const POSITIONS_OF_HOLE: usize = 8;

/// A record asks for too much work.
#[derive(Debug)]
pub(super) struct TooManyRings;

/// Sorts rings into polygons. Outer rings run clockwise in a Shapefile and counter-clockwise in what is returned, holes the
/// other way round. Holes of no ring are areas of their own, as GDAL takes them.
pub(super) fn polygons(rings: Vec<LineString>) -> Result<Vec<Polygon>, TooManyRings> {
    let (outers, holes): (Vec<_>, Vec<_>) = rings
        .into_iter()
        .map(|ring| Ring { area: area(&ring), bounds: Bounds::of(&ring), positions: ring })
        .partition(|ring| ring.area <= 0.0);
    if outers.is_empty() {
        return Ok(holes.into_iter().map(|ring| vec![ring.positions]).collect());
    }
    let mut holes_of: Vec<Vec<LineString>> = outers.iter().map(|_| Vec::new()).collect();
    let mut alone = Vec::new();
    let mut comparisons = 0_u64;
    for hole in holes {
        let mut owner: Option<usize> = (outers.len() == 1).then_some(0);
        if owner.is_none() {
            for (index, outer) in outers.iter().enumerate() {
                comparisons += 1;
                let smaller = owner.is_none_or(|best| outer.area.abs() < outers[best].area.abs());
                if smaller && outer.bounds.hold(&hole.bounds) {
                    let looked_at = &hole.positions[..hole.positions.len().min(POSITIONS_OF_HOLE)];
                    comparisons += (looked_at.len() * outer.positions.len()) as u64;
                    if looked_at.iter().any(|position| inside(*position, &outer.positions)) {
                        owner = Some(index);
                    }
                }
                if comparisons > COMPARISONS_MAX {
                    return Err(TooManyRings);
                }
            }
        }
        match owner {
            Some(index) => holes_of[index].push(reversed(hole.positions)),
            None => alone.push(vec![hole.positions]),
        }
    }
    Ok(outers
        .into_iter()
        .zip(holes_of)
        .map(|(outer, holes)| std::iter::once(reversed(outer.positions)).chain(holes).collect())
        .chain(alone)
        .collect())
}

/// The rings of a polygon in the directions of a Shapefile: the outer one clockwise, holes counter-clockwise.
pub(super) fn directed(polygon: &[LineString]) -> impl Iterator<Item = LineString> {
    polygon.iter().enumerate().map(|(index, ring)| {
        let clockwise = area(ring) < 0.0;
        if clockwise == (index == 0) { ring.clone() } else { reversed(ring.clone()) }
    })
}

struct Ring {
    positions: LineString,
    area: f64,
    bounds: Bounds,
}

struct Bounds {
    low: [f64; 2],
    high: [f64; 2],
}

impl Bounds {
    fn of(ring: &[Position]) -> Self {
        let mut bounds = Self { low: [f64::INFINITY; 2], high: [f64::NEG_INFINITY; 2] };
        for position in ring {
            for (axis, value) in [position.x, position.y].into_iter().enumerate() {
                bounds.low[axis] = bounds.low[axis].min(value);
                bounds.high[axis] = bounds.high[axis].max(value);
            }
        }
        bounds
    }

    fn hold(&self, other: &Self) -> bool {
        (0..2).all(|axis| self.low[axis] <= other.low[axis] && other.high[axis] <= self.high[axis])
    }
}

fn reversed(mut ring: LineString) -> LineString {
    ring.reverse();
    ring
}

/// Twice the area, positive where the ring runs counter-clockwise. Counted from the first position, so that small rings far
/// from the origin keep their digits.
fn area(ring: &[Position]) -> f64 {
    let Some(first) = ring.first() else { return 0.0 };
    ring.windows(2)
        .map(|edge| {
            (edge[0].x - first.x) * (edge[1].y - first.y) - (edge[1].x - first.x) * (edge[0].y - first.y)
        })
        .sum()
}

/// By the number of edges that a ray to the east crosses.
fn inside(point: Position, ring: &[Position]) -> bool {
    let mut inside = false;
    for edge in ring.windows(2) {
        let (a, b) = (edge[0], edge[1]);
        if (a.y > point.y) != (b.y > point.y) && point.x < (b.x - a.x) * (point.y - a.y) / (b.y - a.y) + a.x {
            inside = !inside;
        }
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(x: f64, y: f64, side: f64, clockwise: bool) -> LineString {
        let mut ring: LineString = [(0.0, 0.0), (side, 0.0), (side, side), (0.0, side), (0.0, 0.0)]
            .into_iter()
            .map(|(dx, dy)| Position { x: x + dx, y: y + dy, z: None })
            .collect();
        if clockwise {
            ring.reverse();
        }
        ring
    }

    #[test]
    fn holes_go_to_the_smallest_ring_around_them() {
        let rings = vec![
            square(2.0, 2.0, 1.0, false), // a hole that comes before its ring
            square(0.0, 0.0, 10.0, true),
            square(20.0, 0.0, 10.0, true),
            square(21.0, 1.0, 8.0, false),
            square(22.0, 2.0, 6.0, true), // an island in the lake
            square(23.0, 3.0, 1.0, false),
        ];
        let polygons = polygons(rings).unwrap();
        assert_eq!(polygons.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2]);
        for polygon in &polygons {
            assert!(area(&polygon[0]) > 0.0);
            assert!(polygon[1..].iter().all(|hole| area(hole) < 0.0));
        }
    }

    #[test]
    fn rings_in_the_wrong_direction_are_areas() {
        let polygons = polygons(vec![square(0.0, 0.0, 1.0, false), square(5.0, 0.0, 1.0, false)]).unwrap();
        assert_eq!(polygons.len(), 2);
    }

    #[test]
    fn work_is_bounded() {
        let mut rings: Vec<LineString> = (0..40_000).map(|_| square(0.0, 0.0, 10.0, true)).collect();
        rings.extend((0..40_000).map(|_| square(1.0, 1.0, 1.0, false)));
        assert!(polygons(rings).is_err());
    }

    #[test]
    fn directions_are_put_right() {
        let polygon = vec![square(0.0, 0.0, 10.0, false), square(1.0, 1.0, 1.0, false)];
        let rings: Vec<LineString> = directed(&polygon).collect();
        assert!(area(&rings[0]) < 0.0 && area(&rings[1]) > 0.0);
    }
}
