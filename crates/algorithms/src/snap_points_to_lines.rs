//! Moves points onto the nearest line.
//!
//! **What.** Each point goes to the nearest place on any of the lines, where that is not farther away than the maximum distance. What
//! becomes of the others is for `unmatched` to say: they are dropped, kept where they are, or kept and flagged. Everything but
//! coordinates (identifiers, properties, foreign members, white space, order) comes out byte for byte as it went in, and so do
//! heights.
//!
//! **Units and CRS.** Points and lines are in the same system. Distances are planar, in the units of the coordinates: degrees for RFC 7946
//! data, metres for projected data; data in other formats than GeoJSON stays in its system on its way in. With `geodesic` coordinates are longitude and latitude in degrees and distances are metres on the
//! ellipsoid of WGS 84; a line is still straight in longitude and latitude between two positions, as RFC 7946 §3.1.1 has it. The
//! place is found in a plane around the point, which is right to a millimetre for the distances of roads and rivers.
//!
//! **Steps.**
//! 1. [`LineIndex`] reads the lines and packs the boxes of their segments into an R-tree. Where many runs have the lines in common,
//!    [`Algorithm::prepare`] does that once.
//! 2. [`Splitter`] cuts the points into features, `feature` finds their coordinates by structure.
//! 3. The tree is searched in a box around the point, which shrinks with each nearer segment found. Of places equally near that of the line
//!    which comes first is taken.
//! 4. `feature` writes the new numbers in the place of the old ones; `collection` leaves out what is dropped, with its separator.
//!
//! **Source.** The process of that name in 52°North's streaming WPS of 2012, and what it did not do: it failed where the first point had no
//! match, renamed features and their properties, and took single lines only. It also took points up to 10^-6 units beyond the
//! maximum; here rounding is allowed for, one part in 10^9. The index is a packed Hilbert R-tree (Kamel and Faloutsos, VLDB 1994).
//!
//! **Edge cases.** Points are Points and MultiPoints, lines are LineStrings and MultiLineStrings, also several in a GeometryCollection;
//! others are refused. The positions of a MultiPoint are snapped one by one; dropped, they leave it, and it is dropped with the last
//! one. A null or empty geometry has no match. Without any line nothing has one. Documents of single features that are all dropped
//! become an empty FeatureCollection. Properties that are added replace others of their names. A `bbox` is not computed anew. Memory:
//! about three times the bytes of the lines; of the points only the largest feature.

mod collection;
mod feature;
mod line_index;
mod metric;

use crate::describe::{
    above, built_in, choice, geojson, input, literal, output, paper, with_default, words, written_as,
    written_geojson,
};
use crate::progress::Progress;
use crate::refusal::{refused, unreadable};
use crate::result_writer::ResultWriter;
use anabranch_formats::crs::{Crs, Unit};
use anabranch_formats::geojson::{Piece, Splitter};
use anabranch_formats::vector::{self, FeatureReader as _};
use anabranch_model::{
    Algorithm, AlgorithmSink, Chunking, ComplexValue, Cut, Data, Error, FaultKind, Inputs, LiteralType,
    Occurs, ProcessDescription, Value,
};
use collection::Collection;
use feature::{FeatureSnapper, Unmatched};
use line_index::LineIndex;
use metric::Metric;
use std::sync::Arc;

/// Farthest for `geodesic`, in metres: a plane around the point is not the ellipsoid.
const GEODESIC_DISTANCE_MAX: f64 = 100_000.0;

/// The process `snap_points_to_lines`; what it does stands at the head of its file.
pub struct SnapPointsToLines {
    description: Arc<ProcessDescription>,
    /// The lines that runs have in common, once they are prepared.
    lines: Option<Arc<LineIndex>>,
}

impl Default for SnapPointsToLines {
    fn default() -> Self {
        Self::new()
    }
}

impl SnapPointsToLines {
    /// As it is published.
    #[must_use]
    pub fn new() -> Self {
        Self { description: Arc::new(describe()), lines: None }
    }
}

fn describe() -> ProcessDescription {
    let points = input(
        "points",
        "Points to move",
        "Point and MultiPoint features as GeoJSON: a FeatureCollection, a Feature or geometry, or one of them per line or record.",
        Occurs::ONE,
        geojson(),
    );
    let lines = input(
        "lines",
        "Lines to move them to",
        "LineString and MultiLineString features as GeoJSON, in the coordinate reference system of the points.",
        Occurs::ONE,
        geojson(),
    );
    let max_distance = input(
        "max_distance",
        "Maximum distance",
        "How far a point may be moved, in the units of the coordinates (degrees for plain GeoJSON); in metres where 'geodesic' is true, and \
         then at most 100000.",
        Occurs::ONE,
        above(LiteralType::Double, "0"),
    );
    let unmatched = input(
        "unmatched",
        "Points without a line near them",
        "drop leaves them out, keep leaves them where they are, flag keeps them too and tells all points apart by a property 'snapped'.",
        Occurs::OPTIONAL,
        with_default(choice(LiteralType::String, &["drop", "keep", "flag"]), "drop"),
    );
    let geodesic = input(
        "geodesic",
        "Distances on the ellipsoid",
        "Coordinates are longitude and latitude, and distances are metres on the ellipsoid of WGS 84 instead of degrees.",
        Occurs::OPTIONAL,
        with_default(literal(LiteralType::Boolean), "false"),
    );
    let report = input(
        "report",
        "Say how points were moved",
        "Adds the properties snap_distance (how far), snap_line_id (identifier of the line, or its number from 1 where it has none) and \
         snap_measure (how far along the line); lists of them for a MultiPoint.",
        Occurs::OPTIONAL,
        with_default(literal(LiteralType::Boolean), "false"),
    );
    let result = output(
        "result",
        "Points on lines",
        "The points with new coordinates: identifiers, properties and order are unchanged. A record sequence comes out as a sequence.",
        written_geojson(),
    );
    ProcessDescription {
        title: "Snap points to lines".into(),
        description: "Moves each point to the nearest place on any of the lines, where that is near enough. Measured in the plane of the \
                      coordinates, or on the ellipsoid."
            .into(),
        keywords: words(&["snapping", "map matching", "nearest", "vector", "point", "line", "GeoJSON"]),
        metadata: vec![paper("Hilbert R-tree (Kamel and Faloutsos 1994)", "https://www.vldb.org/conf/1994/P500.PDF")],
        inputs: vec![points, lines, max_distance, unmatched, geodesic, report],
        outputs: vec![result],
        idempotent: true,
        chunking: Some(Chunking::new(words(&["points"]), "result", Cut::Features)),
        ..ProcessDescription::new(built_in("snap_points_to_lines"))
    }
}

/// The literal inputs.
struct Parameters {
    distance_max: f64,
    metric: Metric,
    unmatched: Unmatched,
    report: bool,
}

impl Parameters {
    fn of(inputs: &Inputs) -> Result<Self, Error> {
        let is_true = |id| matches!(inputs.text(id).map(str::trim), Some("true" | "1"));
        let metric = if is_true("geodesic") { Metric::Geodesic } else { Metric::Planar };
        let distance_max = inputs.number("max_distance")?;
        let farthest = match metric {
            Metric::Planar => f64::MAX,
            Metric::Geodesic => GEODESIC_DISTANCE_MAX,
        };
        if !(distance_max > 0.0 && distance_max <= farthest) {
            let rule = match metric {
                Metric::Planar => format!("must be greater than 0, not {distance_max}"),
                Metric::Geodesic => format!(
                    "must be greater than 0 and at most {GEODESIC_DISTANCE_MAX} m with 'geodesic', not {distance_max}"
                ),
            };
            return Err(refused("max_distance", FaultKind::NotAllowed, rule));
        }
        let unmatched = match inputs.text("unmatched").map(str::trim) {
            Some("keep") => Unmatched::Keep,
            Some("flag") => Unmatched::Flag,
            _ => Unmatched::Drop,
        };
        Ok(Self { distance_max, metric, unmatched, report: is_true("report") })
    }

    fn index(&self, inputs: &Inputs, sink: &dyn AlgorithmSink) -> Result<LineIndex, Error> {
        LineIndex::read(&inputs.complex("lines")?.data, self.metric, self.report, sink)
    }
}

impl Algorithm for SnapPointsToLines {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.description)
    }

    fn prepare(
        &self,
        shared: &Inputs,
        sink: &dyn AlgorithmSink,
    ) -> Result<Option<Arc<dyn Algorithm>>, Error> {
        let index = Parameters::of(shared)?.index(shared, sink)?;
        let description = Arc::clone(&self.description);
        Ok(Some(Arc::new(Self { description, lines: Some(Arc::new(index)) })))
    }

    fn run(&self, inputs: &Inputs, sink: &dyn AlgorithmSink) -> Result<(), Error> {
        let parameters = Parameters::of(inputs)?;
        let lines = match &self.lines {
            Some(lines) => Arc::clone(lines),
            None => Arc::new(parameters.index(inputs, sink)?),
        };
        let ComplexValue { data, format, .. } = inputs.complex("points")?;
        check_crs(crs_of(data), lines.crs(), parameters.metric)?;
        let reader = data.open().map_err(|error| Error::internal(format!("input 'points': {error}")))?;
        let refusal = |error| unreadable("points", "has points", &error);
        let mut splitter = Splitter::new(reader);
        let mut snapper = FeatureSnapper::new(&lines, &parameters);
        let mut collection = Collection::new(ResultWriter::new(sink.scratch(), "snapped.geojson"));
        let mut progress = Progress::of(data.len());
        while let Some(piece) = splitter.next().map_err(refusal)? {
            match piece {
                Piece::Between(bytes) => collection.between(bytes)?,
                Piece::Feature(feature) => {
                    let snapped = snapper.snap(&feature).map_err(refusal)?;
                    collection.feature(feature.place, snapped)?;
                }
            }
            progress.report(splitter.offset(), splitter.features(), "snapped", sink)?;
        }
        let format = written_as(format, splitter.is_sequence());
        let value = ComplexValue::new(collection.finish()?, format);
        sink.write("result", Value::Complex(value))
    }
}

/// The system that the first feature is in. What can't be read says so where it is read whole.
fn crs_of(data: &Data) -> Option<Crs> {
    let feature = vector::geojson::Reader::open(data).and_then(|mut reader| reader.next());
    feature.ok().flatten().map(|feature| feature.crs)
}

/// Numbers of two systems can't be compared, and degrees are needed for the ellipsoid.
fn check_crs(points: Option<Crs>, lines: Option<Crs>, metric: Metric) -> Result<(), Error> {
    let (Some(points), Some(lines)) = (points, lines) else { return Ok(()) };
    // EPSG:4326 is CRS84 here: x is first in either.
    if points.epsg_code() != lines.epsg_code() {
        let rule = format!("must be in the coordinate reference system of 'lines', {lines}, not in {points}");
        return Err(refused("points", FaultKind::NotAllowed, rule));
    }
    if metric == Metric::Geodesic && points.unit() != Unit::Degree {
        let rule = format!("must be in longitude and latitude with 'geodesic', not in {points}");
        return Err(refused("points", FaultKind::NotAllowed, rule));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
