//! The algorithm of Douglas and Peucker on one line, as plain numbers.

use anabranch_formats::geojson::Point;

/// How many distances are computed between two looks at the cancel flag: a few milliseconds.
const DISTANCES_BETWEEN_CHECKS: u64 = 1 << 20;

/// Why a line was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It needs more distances than its feature may.
    Budget,
    /// The run is to be ended.
    Cancelled,
}

/// What may be spent: a line whose farthest vertex always lies next to an end needs n²/2 distances, and such lines are easily
/// made.
pub(super) struct Work<'a> {
    /// Distances left.
    pub(super) left: u64,
    /// Distances until the next look at `is_cancelled`.
    until_check: u64,
    is_cancelled: &'a dyn Fn() -> bool,
}

impl<'a> Work<'a> {
    pub(super) fn new(is_cancelled: &'a dyn Fn() -> bool) -> Self {
        Self { left: 0, until_check: DISTANCES_BETWEEN_CHECKS, is_cancelled }
    }

    fn spend(&mut self, distances: u64) -> Result<(), Stopped> {
        self.left = self.left.checked_sub(distances).ok_or(Stopped::Budget)?;
        match self.until_check.checked_sub(distances) {
            Some(left) => self.until_check = left,
            None if (self.is_cancelled)() => return Err(Stopped::Cancelled),
            None => self.until_check = DISTANCES_BETWEEN_CHECKS,
        }
        Ok(())
    }
}

/// Selects the vertices of lines; keeps its memory from one line to the next.
#[derive(Default)]
pub(super) struct LineSimplifier {
    keep: Vec<bool>,
    /// Sections still to be looked at, by their ends. At most one for each vertex: every section on it ends elsewhere.
    sections: Vec<(usize, usize)>,
}

impl LineSimplifier {
    /// Which vertices stay: both ends, and those that the tolerance demands.
    ///
    /// For a section between two kept vertices the vertex farthest from the *segment* between them is looked for, the first
    /// of several. If it is farther away than the tolerance it is kept and parts the section in two, else all vertices of
    /// the section are dropped. A closed line is a section whose segment is a point.
    pub(super) fn select(
        &mut self,
        points: &[Point],
        tolerance: f64,
        work: &mut Work<'_>,
    ) -> Result<&[bool], Stopped> {
        let tolerance_squared = tolerance * tolerance;
        self.keep.clear();
        self.keep.resize(points.len(), false);
        let (Some(last), Some(first_kept)) = (points.len().checked_sub(1), self.keep.first_mut()) else {
            return Ok(&self.keep);
        };
        *first_kept = true;
        self.keep[last] = true;
        self.sections.clear();
        self.sections.push((0, last));
        while let Some((from, to)) = self.sections.pop() {
            work.spend((to - from) as u64)?;
            let section = &points[from..=to];
            let Some((farthest, distance_squared)) = farthest_vertex(section) else { continue };
            if distance_squared > tolerance_squared {
                let farthest = from + farthest;
                self.keep[farthest] = true;
                self.sections.push((farthest, to));
                self.sections.push((from, farthest));
            }
        }
        Ok(&self.keep)
    }
}

/// The inner vertex farthest from the segment between the ends, the first of several, with its squared distance; `None` where
/// there is no inner vertex.
fn farthest_vertex(section: &[Point]) -> Option<(usize, f64)> {
    let [start, inner @ .., end] = section else { return None };
    let along = [end[0] - start[0], end[1] - start[1]];
    let length_squared = along[0] * along[0] + along[1] * along[1];
    let mut farthest = None;
    let mut farthest_squared = -1.0;
    for (index, vertex) in inner.iter().enumerate() {
        let squared = distance_squared(*vertex, *start, *end, along, length_squared);
        if squared > farthest_squared {
            farthest_squared = squared;
            farthest = Some(index + 1);
        }
    }
    farthest.map(|index| (index, farthest_squared))
}

/// Squared distance to the segment from `start` over `along` to `end`.
#[inline]
fn distance_squared(vertex: Point, start: Point, end: Point, along: Point, length_squared: f64) -> f64 {
    let from_start = [vertex[0] - start[0], vertex[1] - start[1]];
    let projected = from_start[0] * along[0] + from_start[1] * along[1];
    if projected <= 0.0 {
        // Before the start; also where the segment is a point.
        return from_start[0] * from_start[0] + from_start[1] * from_start[1];
    }
    if projected >= length_squared {
        let from_end = [vertex[0] - end[0], vertex[1] - end[1]];
        return from_end[0] * from_end[0] + from_end[1] * from_end[1];
    }
    let cross = from_start[0] * along[1] - from_start[1] * along[0];
    // Divided before it is squared: lengths of 1e75 and more would overflow the other way round.
    cross * (cross / length_squared)
}

#[cfg(test)]
pub(super) mod tests;
