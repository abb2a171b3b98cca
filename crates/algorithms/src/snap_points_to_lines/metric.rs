//! How far it is from a point to a segment.

use anabranch_formats::geojson::Point;

/// Half axes of the ellipsoid of WGS 84, in metres.
const EQUATOR: f64 = 6_378_137.0;
const FLATTENING: f64 = 1.0 / 298.257_223_563;

/// Vincenty's iteration gains three digits a round where two points are near each other.
const ROUNDS_MAX: usize = 20;

/// How much wider than computed a box on the ellipsoid is searched: the radii of curvature change within it.
const BOX_MARGIN: f64 = 1.01;

/// What distances are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    /// In the plane of the coordinates, in their units.
    Planar,
    /// On the ellipsoid of WGS 84, in metres; coordinates are longitude and latitude in degrees.
    Geodesic,
}

/// Least and greatest x and y.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) min: Point,
    pub(super) max: Point,
}

impl Metric {
    /// All that is nearer to a point than a distance lies in this box.
    pub(super) fn around(self, point: Point, distance: f64) -> Bounds {
        let [x, y] = point;
        let [dx, dy] = match self {
            Self::Planar => [distance, distance],
            Self::Geodesic => {
                let [_, north] = metres_of_degree(y);
                let dy = BOX_MARGIN * distance / north;
                let farthest = (y.abs() + dy).min(90.0);
                let [east, _] = metres_of_degree(farthest);
                [(BOX_MARGIN * distance / east).min(180.0), dy]
            }
        };
        Bounds { min: [x - dx, y - dy], max: [x + dx, y + dy] }
    }

    /// The place of a segment that is nearest to a point, as the share of the segment before it.
    #[inline]
    pub(super) fn nearest(self, point: Point, [a, b]: [Point; 2]) -> Point {
        match self {
            Self::Planar => nearest(point, [a, b], [1.0, 1.0]),
            Self::Geodesic => {
                let near = nearest(point, [a, b], metres_of_degree(point[1]));
                // Once more with the scale halfway, so that it is as good to the north as to the south.
                nearest(point, [a, b], metres_of_degree(f64::midpoint(point[1], near[1])))
            }
        }
    }

    /// How far it is between two points.
    #[inline]
    pub(super) fn distance(self, a: Point, b: Point) -> f64 {
        match self {
            Self::Planar => (b[0] - a[0]).hypot(b[1] - a[1]),
            Self::Geodesic => geodesic(a, b),
        }
    }
}

/// The nearest place of a segment where a unit of each axis has a length of its own.
#[inline]
fn nearest(point: Point, [a, b]: [Point; 2], scale: Point) -> Point {
    let to = |to: Point| [(to[0] - a[0]) * scale[0], (to[1] - a[1]) * scale[1]];
    let (along, aside) = (to(b), to(point));
    let length = along[0] * along[0] + along[1] * along[1];
    let share = (aside[0] * along[0] + aside[1] * along[1]) / length;
    if share >= 1.0 {
        b
    } else if share > 0.0 {
        [a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])]
    } else {
        // Also where both ends are the same, and the share is no number.
        a
    }
}

/// Metres of a degree of longitude and of latitude at a latitude.
fn metres_of_degree(latitude: f64) -> Point {
    let squared = FLATTENING * (2.0 - FLATTENING);
    let (sin, cos) = latitude.to_radians().sin_cos();
    let root = 1.0 - squared * sin * sin;
    let across = EQUATOR / root.sqrt();
    [(across * cos).to_radians(), (across * (1.0 - squared) / root).to_radians()]
}

/// T. Vincenty: Direct and inverse solutions of geodesics on the ellipsoid with application of nested equations. Survey Review 23, 1975.
fn geodesic(a: Point, b: Point) -> f64 {
    let polar = EQUATOR * (1.0 - FLATTENING);
    let reduced = |latitude: f64| ((1.0 - FLATTENING) * latitude.to_radians().tan()).atan().sin_cos();
    let ((sin_1, cos_1), (sin_2, cos_2)) = (reduced(a[1]), reduced(b[1]));
    let difference = (b[0] - a[0]).to_radians();
    let mut lambda = difference;
    let mut distance = 0.0;
    for _ in 0..ROUNDS_MAX {
        let (sin, cos) = lambda.sin_cos();
        let sin_sigma = (cos_2 * sin).hypot(cos_1 * sin_2 - sin_1 * cos_2 * cos);
        if sin_sigma == 0.0 {
            return 0.0;
        }
        let cos_sigma = sin_1 * sin_2 + cos_1 * cos_2 * cos;
        let sigma = sin_sigma.atan2(cos_sigma);
        let sin_alpha = cos_1 * cos_2 * sin / sin_sigma;
        let cos_squared = 1.0 - sin_alpha * sin_alpha;
        let middle = if cos_squared > 0.0 { cos_sigma - 2.0 * sin_1 * sin_2 / cos_squared } else { 0.0 };
        let c = FLATTENING / 16.0 * cos_squared * (4.0 + FLATTENING * (4.0 - 3.0 * cos_squared));
        let more = sigma + c * sin_sigma * (middle + c * cos_sigma * (2.0 * middle * middle - 1.0));
        let next = difference + (1.0 - c) * FLATTENING * sin_alpha * more;
        let u = cos_squared * (EQUATOR * EQUATOR - polar * polar) / (polar * polar);
        let big_a = 1.0 + u / 16384.0 * (4096.0 + u * (-768.0 + u * (320.0 - 175.0 * u)));
        let big_b = u / 1024.0 * (256.0 + u * (-128.0 + u * (74.0 - 47.0 * u)));
        let last = big_b / 6.0 * middle * (4.0 * sin_sigma * sin_sigma - 3.0) * (4.0 * middle * middle - 3.0);
        let delta =
            big_b * sin_sigma * (middle + big_b / 4.0 * (cos_sigma * (2.0 * middle * middle - 1.0) - last));
        distance = polar * big_a * (sigma - delta);
        if (next - lambda).abs() < 1e-13 {
            break;
        }
        lambda = next;
    }
    distance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geodesics_are_those_of_geographiclib() {
        // pyproj.Geod(ellps="WGS84").inv
        for (a, b, expected) in [
            ([7.6, 51.9], [7.6, 51.901], 111.265_462),
            ([7.6, 51.9], [7.61, 51.9], 688.309_405),
            ([0.0, 0.0], [0.01, 0.0], 1_113.194_908),
            ([179.999, -17.0], [180.001, -17.0], 212.971_662),
            ([10.0, 60.0], [10.5, 60.5], 62_209.731_371),
            ([5.0, 5.0], [5.0, 5.0], 0.0),
        ] {
            let distance = Metric::Geodesic.distance(a, b);
            assert!((distance - expected).abs() < 1e-5, "{a:?} {b:?}: {distance}");
        }
    }

    #[test]
    fn a_box_holds_all_that_is_near() {
        for latitude in [-89.0, -60.0, 0.0, 51.5, 85.0] {
            for distance in [1.0, 5_000.0, 100_000.0] {
                let bounds = Metric::Geodesic.around([10.0, latitude], distance);
                for angle in 0..360 {
                    let (sin, cos) = f64::from(angle).to_radians().sin_cos();
                    let [east, north] = metres_of_degree(latitude);
                    let point =
                        [10.0 + 0.99 * distance * cos / east, latitude + 0.99 * distance * sin / north];
                    let is_near = Metric::Geodesic.distance([10.0, latitude], point) <= distance;
                    let is_inside = (0..2).all(|i| bounds.min[i] <= point[i] && point[i] <= bounds.max[i]);
                    assert!(!is_near || is_inside, "{latitude} {distance} {angle}");
                }
            }
        }
    }

    #[test]
    fn segments_end() {
        let segment = [[0.0, 0.0], [10.0, 0.0]];
        for (point, expected) in
            [([3.0, 1.0], [3.0, 0.0]), ([12.0, 0.0], [10.0, 0.0]), ([-1.0, -1.0], [0.0, 0.0])]
        {
            assert_eq!(Metric::Planar.nearest(point, segment), expected);
        }
        assert_eq!(Metric::Planar.nearest([1.0, 1.0], [[2.0, 2.0], [2.0, 2.0]]), [2.0, 2.0]);
        let near = Metric::Geodesic.nearest([3.0, 1.0], segment);
        assert!((near[0] - 3.0).abs() < 1e-12 && near[1] == 0.0);
    }
}
