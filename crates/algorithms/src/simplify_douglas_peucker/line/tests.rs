use super::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    tolerance: f64,
    #[serde(rename = "in")]
    points: Vec<Point>,
    out: Vec<Point>,
}

fn simplify(points: &[Point], tolerance: f64) -> Vec<Point> {
    let mut work = Work::new(&|| false);
    work.left = u64::MAX;
    let mut simplifier = LineSimplifier::default();
    let keep = simplifier.select(points, tolerance, &mut work).unwrap();
    points.iter().zip(keep).filter(|(_, keep)| **keep).map(|(point, _)| *point).collect()
}

/// Uniform in 0..1.
fn random(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[test]
fn reference_vectors() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../../testdata/douglas_peucker.json")).unwrap();
    assert!(vectors.len() >= 8);
    for vector in vectors {
        assert_eq!(simplify(&vector.points, vector.tolerance), vector.out, "tolerance {}", vector.tolerance);
    }
}

/// The definition, recursively and with square roots, to compare with.
fn by_definition(points: &[Point], tolerance: f64) -> Vec<Point> {
    fn distance([x, y]: Point, a: Point, b: Point) -> f64 {
        let length_squared = (b[0] - a[0]).powi(2) + (b[1] - a[1]).powi(2);
        let t = if length_squared == 0.0 {
            0.0
        } else {
            (((x - a[0]) * (b[0] - a[0]) + (y - a[1]) * (b[1] - a[1])) / length_squared).clamp(0.0, 1.0)
        };
        (x - a[0] - t * (b[0] - a[0])).hypot(y - a[1] - t * (b[1] - a[1]))
    }
    fn section(points: &[Point], tolerance: f64, out: &mut Vec<Point>) {
        let (first, last) = (points[0], points[points.len() - 1]);
        let mut farthest = (0, -1.0);
        for (index, point) in points.iter().enumerate().take(points.len() - 1).skip(1) {
            let distance = distance(*point, first, last);
            if distance > farthest.1 {
                farthest = (index, distance);
            }
        }
        if farthest.1 > tolerance {
            section(&points[..=farthest.0], tolerance, out);
            section(&points[farthest.0..], tolerance, out);
        } else {
            out.push(last);
        }
    }
    let mut out = vec![points[0]];
    section(points, tolerance, &mut out);
    out
}

#[test]
fn equals_the_definition_on_random_lines() {
    for seed in 1..=500 {
        let mut random = random(seed);
        let count = 2 + (random() * 120.0) as usize;
        let mut here = [0.0, 0.0];
        let mut points: Vec<Point> = (0..count)
            .map(|_| {
                here = [here[0] + random() - 0.3, here[1] + random() - 0.5];
                here
            })
            .collect();
        if seed % 3 == 0 {
            points.push(points[0]); // a ring
        }
        for tolerance in [0.0, 0.1, 0.5, 2.0, 1e9, f64::INFINITY] {
            assert_eq!(
                simplify(&points, tolerance),
                by_definition(&points, tolerance),
                "seed {seed}, tolerance {tolerance}"
            );
        }
    }
}

/// Distance of a point to the segment between two others.
fn distance(point: Point, a: Point, b: Point) -> f64 {
    let along = [b[0] - a[0], b[1] - a[1]];
    distance_squared(point, a, b, along, along[0].powi(2) + along[1].powi(2)).sqrt()
}

#[test]
fn what_goes_lies_within_the_tolerance_of_what_stays() {
    for seed in 1..=300 {
        let mut random = random(seed);
        let count = 2 + (random() * 200.0) as usize;
        // A coarse grid makes collinear, coinciding and equally far vertices.
        let points: Vec<Point> =
            (0..count).map(|_| [(random() * 8.0).floor(), (random() * 8.0).floor()]).collect();
        let tolerance = random() * 3.0;
        let mut work = Work::new(&|| false);
        work.left = u64::MAX;
        let mut simplifier = LineSimplifier::default();
        let keep = simplifier.select(&points, tolerance, &mut work).unwrap();
        let kept: Vec<usize> = (0..count).filter(|index| keep[*index]).collect();
        assert_eq!((kept.first(), kept.last()), (Some(&0), Some(&(count - 1))));
        for ends in kept.windows(2) {
            for dropped in ends[0] + 1..ends[1] {
                let distance = distance(points[dropped], points[ends[0]], points[ends[1]]);
                assert!(distance <= tolerance * (1.0 + 1e-12), "seed {seed}: {distance} > {tolerance}");
            }
        }
    }
}

#[test]
fn extreme_coordinates_neither_overflow_nor_divide_by_zero() {
    assert_eq!(simplify(&[[-1e150, 0.0], [0.0, 1e150], [1e150, 0.0]], 1.0).len(), 3);
    assert_eq!(simplify(&[[-1e150, -1e150], [0.0, 0.0], [1e150, 1e150]], 0.0).len(), 2);
    assert_eq!(simplify(&[[0.0, 0.0], [1e-170, 0.0], [1e-169, 0.0], [0.0, 0.0]], 0.0).len(), 2);
    assert_eq!(simplify(&[[5.0, 5.0]; 10], 0.0).len(), 2);
    assert_eq!(simplify(&[], 1.0).len(), 0);
    assert_eq!(simplify(&[[1.0, 1.0]], 1.0).len(), 1);
}

/// Every section splits next to its start: n²/2 distances, and a recursion as deep as the line is long.
pub(in super::super) fn adversarial(count: u32) -> Vec<Point> {
    (0..count).map(|i| [f64::from(i), f64::from(count - i) * if i % 2 == 0 { 1.0 } else { -1.0 }]).collect()
}

#[test]
fn adversarial_lines_stop_at_the_budget_and_when_cancelled() {
    let points = adversarial(20_000);
    let mut simplifier = LineSimplifier::default();
    let mut work = Work::new(&|| false);
    work.left = 10_000_000;
    assert_eq!(simplifier.select(&points, 0.0, &mut work), Err(Stopped::Budget));
    let mut work = Work::new(&|| true);
    work.left = u64::MAX;
    assert_eq!(simplifier.select(&points, 0.0, &mut work), Err(Stopped::Cancelled));
    // The stack of sections stays small although the recursion would be deep.
    assert!(simplifier.sections.len() <= points.len());
}
