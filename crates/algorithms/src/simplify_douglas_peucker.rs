//! Simplifies lines and areas after Douglas and Peucker.
//!
//! **What.** Drops vertices of lines and rings, so that no dropped vertex was farther than the tolerance from the line that is
//! left. Everything else (identifiers, attributes, foreign members, white space, order) comes out byte for byte as it went in, and so
//! do the positions that stay, with all their digits and ordinates.
//!
//! **Units and CRS.** Distances are planar, in the units of the coordinates: degrees for RFC 7946 data in WGS 84, metres for projected
//! data. Data in other formats than GeoJSON stays in its system on its way in. The first two numbers of a position count; heights stay with their positions.
//!
//! **Steps.**
//! 1. [`Splitter`](anabranch_formats::geojson::Splitter) cuts the stream into features; bytes between them are copied.
//! 2. `feature` finds the coordinates by structure, reads them as numbers that remember their bytes, and names the bytes that go.
//! 3. `line` selects the vertices: between two kept vertices the one farthest from the segment that joins them (the first of several)
//!    is kept if it is farther away than the tolerance, and parts the section in two; else all between them go.
//! 4. What stays is copied to the result: no number is ever printed.
//!
//! **Source.** D. H. Douglas, T. K. Peucker: Algorithms for the reduction of the number of points required to represent a digitized
//! line or its caricature. The Canadian Cartographer 10(2), 1973, 112-122. With the distance to the segment instead of the infinite
//! line, as JTS has it: lines that turn back stay what they are.
//!
//! **Edge cases.** Tolerance 0 drops exactly collinear vertices. Lines keep both ends. Rings are closed lines: their first vertex stays,
//! and a ring of fewer than four positions has collapsed: a hole is dropped, an outer ring takes its polygon along, and a Polygon
//! whose ring collapses keeps its feature with empty `coordinates` (RFC 7946 §3.1: to be read as null). Points and null geometries
//! stay. Not topology aware: neighbours may come apart, and a line may cross itself; nothing is repaired. A `bbox` is not computed
//! anew: it still contains its feature. Memory does not depend on the size of the document, only on that of the largest feature.

mod feature;
mod line;

use crate::batches::{self, Work, Worker};
use crate::describe::{built_in, geojson, input, output, paper, range, words, written_as, written_geojson};
use crate::refusal;
use crate::result_writer::ResultWriter;
use anabranch_formats::geojson::{self, Feature, Piece};
use anabranch_formats::{Extent, facts_of_geojson};
use anabranch_model::{
    Algorithm, AlgorithmSink, Chunking, ComplexValue, Cut, DataDescription, Error, Inputs, LiteralType,
    Occurs, ProcessDescription, Value,
};
use feature::{Failure, FeatureSimplifier};
use line::Stopped;
use std::sync::Arc;

/// Distances computed for one feature before it is given up: half a minute or so. Real lines need n log n of them, 10^8 for a
/// million vertices; a line of 200,000 vertices made to be slow needs as many as this.
const DISTANCES_PER_FEATURE_MAX: u64 = 20_000_000_000;

/// The process `simplify_douglas_peucker`; what it does stands at the head of its file.
pub struct SimplifyDouglasPeucker {
    description: Arc<ProcessDescription>,
    distances_per_feature_max: u64,
}

impl Default for SimplifyDouglasPeucker {
    fn default() -> Self {
        Self::new()
    }
}

impl SimplifyDouglasPeucker {
    /// With the limits of this file.
    #[must_use]
    pub fn new() -> Self {
        Self { description: Arc::new(describe()), distances_per_feature_max: DISTANCES_PER_FEATURE_MAX }
    }
}

fn describe() -> ProcessDescription {
    let data = input(
        "data",
        "Features to simplify",
        "A GeoJSON FeatureCollection, Feature or geometry, or one of them per line or record. Lines and areas are simplified, \
         points stay as they are.",
        Occurs::ONE,
        geojson(),
    );
    let tolerance = input(
        "tolerance",
        "Tolerance",
        "How far a dropped vertex may lie from the simplified line, in the units of the coordinates (degrees for plain \
         GeoJSON). 0 drops only vertices that lie exactly on the line between their neighbours.",
        Occurs::ONE,
        DataDescription::Literal(range(LiteralType::Double, "0", None)),
    );
    let result = output(
        "result",
        "Simplified features",
        "The same document with fewer vertices: identifiers, attributes and order are unchanged. A record sequence comes out \
         as a sequence.",
        written_geojson(),
    );
    ProcessDescription {
        title: "Simplify lines and areas (Douglas-Peucker)".into(),
        description: "Drops vertices of lines and rings so that no dropped vertex was farther than the tolerance from the line \
                      that is left. Distances are planar. Areas that collapse under the tolerance become empty. Features \
                      are simplified one by one: common borders of neighbours may come apart."
            .into(),
        keywords: words(&["simplification", "generalization", "Douglas-Peucker", "vector", "line", "polygon", "GeoJSON"]),
        metadata: vec![paper("Douglas and Peucker 1973", "https://doi.org/10.3138/FM57-6770-U75U-7727")],
        inputs: vec![data, tolerance],
        outputs: vec![result],
        idempotent: true,
        chunking: Some(Chunking::new(vec!["data".into()], "result", Cut::Features)),
        ..ProcessDescription::new(built_in("simplify_douglas_peucker"))
    }
}

impl Algorithm for SimplifyDouglasPeucker {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.description)
    }

    fn run(&self, inputs: &Inputs, sink: &dyn AlgorithmSink) -> Result<(), Error> {
        let ComplexValue { data, format, .. } = inputs.complex("data")?;
        let tolerance = inputs.number("tolerance")?;
        let reader = data.open().map_err(|error| Error::internal(format!("input 'data': {error}")))?;
        let result = ResultWriter::new(sink.scratch(), "simplified.geojson");
        let work = Simplification { tolerance, process: self };
        let worked = batches::work_on(data, reader, result, &work, sink)?;
        let format = written_as(format, worked.is_sequence);
        // Nobody has to read it again for that.
        let facts = facts_of_geojson(&format, worked.features, worked.extent);
        let value = ComplexValue { facts, ..ComplexValue::new(worked.data, format) };
        sink.write("result", Value::Complex(value))
    }
}

/// What one run does.
struct Simplification<'a> {
    tolerance: f64,
    process: &'a SimplifyDouglasPeucker,
}

impl Work for Simplification<'_> {
    fn worker<'a>(&'a self, is_cancelled: &'a dyn Fn() -> bool) -> Box<dyn Worker + 'a> {
        let budget = self.process.distances_per_feature_max;
        let simplifier = FeatureSimplifier::new(self.tolerance, budget, is_cancelled);
        Box::new(Simplifying { simplifier, process: self.process })
    }

    fn unreadable(&self, error: &geojson::Error) -> Error {
        unreadable(error)
    }

    fn done(&self) -> &'static str {
        "simplified"
    }
}

/// Simplifies the features of one thread.
struct Simplifying<'a> {
    simplifier: FeatureSimplifier<'a>,
    process: &'a SimplifyDouglasPeucker,
}

impl Worker for Simplifying<'_> {
    fn work(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let feature = match piece {
            Piece::Between(bytes) => {
                out.extend_from_slice(bytes);
                return Ok(());
            }
            Piece::Feature(feature) => feature,
        };
        let removals =
            self.simplifier.removals(feature).map_err(|failure| self.process.error(failure, feature))?;
        let mut from = 0;
        for removal in removals {
            out.extend_from_slice(&feature.bytes[from..removal.start]);
            from = removal.end;
        }
        out.extend_from_slice(&feature.bytes[from..]);
        Ok(())
    }

    fn extent(&self) -> Extent {
        self.simplifier.extent()
    }
}

impl SimplifyDouglasPeucker {
    fn error(&self, failure: Failure, feature: &Feature<'_>) -> Error {
        match failure {
            Failure::Invalid(error) => unreadable(&error),
            Failure::Stopped(Stopped::Cancelled, _) => Error::Dismissed,
            Failure::Stopped(Stopped::Budget, positions) => Error::process_failed(format!(
                "feature {} at byte {} needs more than the {} distances allowed for one feature: a line of {positions} \
                 positions in it is of a shape that this algorithm needs the square of their number for; cut it into shorter \
                 lines or choose a larger tolerance",
                feature.number, feature.offset, self.distances_per_feature_max,
            )),
        }
    }
}

fn unreadable(error: &geojson::Error) -> Error {
    refusal::unreadable("data", "can be simplified", error)
}

#[cfg(test)]
mod tests;
