//! Lines that are searched by place.

use super::crs_of;
use super::feature::member_of_feature;
use super::metric::Metric;
use crate::refusal::{refused, unreadable};
use anabranch_formats::crs::Crs;
use anabranch_formats::geojson::{
    Cursor, Feature, Flaw, Geometry, GeometryFinder, GeometryKind, Piece, Point, Positions, Splitter,
};
use anabranch_model::{AlgorithmSink, Data, Error, FaultKind};
use geo_index::rtree::sort::HilbertSort;
use geo_index::rtree::{RTree, RTreeBuilder, RTreeIndex as _};

/// Features read between two looks at whether the run is to be ended.
const FEATURES_PER_LOOK: u64 = 4096;

/// Positions of all lines: the tree counts segments in 32 bits.
const POSITIONS_MAX: usize = u32::MAX as usize / 2;

/// Rounding alone does not put a point beyond the maximum.
const ROUNDING: f64 = 1e-9;

/// Lines, and a packed R-tree over the boxes of their segments.
pub(super) struct LineIndex {
    metric: Metric,
    /// Of the first line.
    crs: Option<Crs>,
    /// Line after line.
    positions: Vec<Point>,
    /// Where each segment begins in `positions`; it ends at the position after.
    segments: Vec<u32>,
    /// `None` where there is no segment.
    tree: Option<RTree<f64>>,
    /// What is told of lines, where it is asked for.
    told: Option<Told>,
}

/// What is told of lines.
#[derive(Default)]
struct Told {
    /// How far along its feature each position is.
    measures: Vec<f64>,
    /// The first position of each feature, and its identifier as JSON.
    ids: Vec<(u32, Box<str>)>,
}

/// The nearest place on any line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hit {
    pub(super) point: Point,
    pub(super) distance: f64,
    segment: u32,
}

impl LineIndex {
    /// Reads lines and packs the tree. With `report` it can tell of them what is asked for.
    pub(super) fn read(
        data: &Data,
        metric: Metric,
        report: bool,
        sink: &dyn AlgorithmSink,
    ) -> Result<Self, Error> {
        #[cfg(test)]
        BUILT.with(|built| built.set(built.get() + 1));
        let reader = data.open().map_err(|error| Error::internal(format!("input 'lines': {error}")))?;
        let refusal = |error| unreadable("lines", "has lines", &error);
        let mut index = Self {
            metric,
            crs: crs_of(data),
            positions: Vec::new(),
            segments: Vec::new(),
            tree: None,
            told: report.then(Told::default),
        };
        let mut splitter = Splitter::new(reader);
        let mut finder = GeometryFinder::default();
        let mut positions = Positions::default();
        while let Some(piece) = splitter.next().map_err(refusal)? {
            let Piece::Feature(feature) = piece else { continue };
            let geometries = finder.find(&feature).map_err(refusal)?;
            index.add(&feature, geometries, &mut positions).map_err(|flaw| refusal(feature.locate(flaw)))?;
            if index.positions.len() > POSITIONS_MAX {
                let rule = format!("may have at most {POSITIONS_MAX} positions");
                return Err(refused("lines", FaultKind::TooLarge, rule));
            }
            if feature.number % FEATURES_PER_LOOK == 0 && sink.is_cancelled() {
                return Err(Error::Dismissed);
            }
        }
        index.pack();
        Ok(index)
    }

    fn add(
        &mut self,
        feature: &Feature<'_>,
        geometries: &[Geometry],
        positions: &mut Positions,
    ) -> Result<(), Flaw> {
        if let Some(told) = &mut self.told {
            let id = member_of_feature(feature.bytes, b"id")?;
            let id = id.and_then(|id| std::str::from_utf8(&feature.bytes[id]).ok());
            let id = id.map_or_else(|| feature.number.to_string(), str::to_owned);
            told.ids.push((position(self.positions.len()), id.into()));
        }
        let mut along = 0.0;
        for geometry in geometries {
            let mut cursor = Cursor::over(feature.bytes, geometry.coordinates.clone());
            match geometry.kind {
                GeometryKind::LineString => along = self.add_line(&mut cursor, positions, along)?,
                GeometryKind::MultiLineString => {
                    cursor.list::<Flaw>(|cursor| {
                        along = self.add_line(cursor, positions, along)?;
                        Ok(())
                    })?;
                }
                other => {
                    let rule =
                        format!("a line must be a LineString or a MultiLineString, not a {}", name_of(other));
                    return Err(Flaw::new(geometry.coordinates.start, rule));
                }
            }
            cursor.expect_end()?;
        }
        Ok(())
    }

    /// Adds a line that begins so far along its feature; gives where it ends.
    fn add_line(
        &mut self,
        cursor: &mut Cursor<'_>,
        positions: &mut Positions,
        mut along: f64,
    ) -> Result<f64, Flaw> {
        let range = positions.read_list(cursor)?;
        let points = positions.points();
        if points.len() == 1 {
            return Err(Flaw::new(range.start, "a line must have two or more positions"));
        }
        for (point, span) in points.iter().zip(positions.spans()) {
            check(self.metric, *point, span.start as usize)?;
        }
        if let (Some(told), Some(first)) = (&mut self.told, points.first()) {
            let mut before = *first;
            told.measures.extend(points.iter().map(|point| {
                along += self.metric.distance(before, *point);
                before = *point;
                along
            }));
        }
        let first = position(self.positions.len());
        self.segments.extend(first..first + position(points.len().saturating_sub(1)));
        self.positions.extend_from_slice(points);
        Ok(along)
    }

    fn pack(&mut self) {
        if self.segments.is_empty() {
            return;
        }
        let mut tree = RTreeBuilder::<f64>::new(position(self.segments.len()));
        for segment in &self.segments {
            let [a, b] = self.ends(*segment);
            tree.add(a[0].min(b[0]), a[1].min(b[1]), a[0].max(b[0]), a[1].max(b[1]));
        }
        self.tree = Some(tree.finish::<HilbertSort>());
    }

    fn ends(&self, segment: u32) -> [Point; 2] {
        let start = segment as usize;
        [self.positions[start], self.positions[start + 1]]
    }

    /// What coordinates are in.
    pub(super) fn crs(&self) -> Option<Crs> {
        self.crs
    }

    /// What distances are.
    pub(super) fn metric(&self) -> Metric {
        self.metric
    }

    /// The nearest place that is not farther away than a distance. `nodes` is memory, used again and again.
    pub(super) fn nearest(&self, point: Point, distance_max: f64, nodes: &mut Vec<usize>) -> Option<Hit> {
        let mut search = Search { point, limit: distance_max * (1.0 + ROUNDING), found: None };
        self.search(&mut search, nodes);
        if self.metric == Metric::Geodesic {
            // The same place on the other side of the antimeridian.
            let bounds = self.metric.around(point, distance_max);
            let around = [(bounds.min[0] < -180.0, 360.0), (bounds.max[0] > 180.0, -360.0)];
            for (_, turn) in around.iter().filter(|(reaches_over, _)| *reaches_over) {
                search.point[0] = point[0] + turn;
                self.search(&mut search, nodes);
            }
        }
        search.found
    }

    fn search(&self, search: &mut Search, nodes: &mut Vec<usize>) {
        let Some(tree) = &self.tree else { return };
        let (boxes, indices, level_bounds) = (tree.boxes(), tree.indices(), tree.level_bounds());
        let leaves = tree.num_items() as usize * 4;
        let node_length = usize::from(tree.node_size()) * 4;
        let mut bounds = self.metric.around(search.point, search.limit);
        nodes.clear();
        nodes.extend(boxes.len().checked_sub(4));
        while let Some(node) = nodes.pop() {
            // A node ends with its level at the latest.
            let level_end = level_bounds.partition_point(|end| *end <= node);
            let end = (node + node_length).min(level_bounds.get(level_end).copied().unwrap_or(boxes.len()));
            let (children, _) = boxes[node..end].as_chunks::<4>();
            for (child, [min_x, min_y, max_x, max_y]) in children.iter().enumerate() {
                let is_outside = bounds.max[0] < *min_x
                    || bounds.max[1] < *min_y
                    || bounds.min[0] > *max_x
                    || bounds.min[1] > *max_y;
                if is_outside {
                    continue;
                }
                let index = indices.get((node >> 2) + child);
                if node >= leaves {
                    nodes.push(index);
                } else if self.look_at(self.segments[index], search) {
                    bounds = self.metric.around(search.point, search.limit);
                }
            }
        }
    }

    /// Takes a segment where it is nearer than what was found, or as near and earlier. True where it is nearer.
    fn look_at(&self, segment: u32, search: &mut Search) -> bool {
        let point = self.metric.nearest(search.point, self.ends(segment));
        let distance = self.metric.distance(search.point, point);
        let is_nearer = match &search.found {
            None => distance <= search.limit,
            Some(found) => {
                distance < found.distance
                    || distance.total_cmp(&found.distance).is_eq() && segment < found.segment
            }
        };
        if is_nearer {
            search.found = Some(Hit { point, distance, segment });
            search.limit = distance;
        }
        is_nearer
    }

    /// The identifier of a hit's line, as JSON, and how far along the line it is; nothing where no report was asked for.
    pub(super) fn told(&self, hit: &Hit) -> (&str, f64) {
        let Some(told) = &self.told else { return ("null", 0.0) };
        let feature = told.ids.partition_point(|(first, _)| *first <= hit.segment);
        // Features without positions stand at the same place as the next one; the last of those is the one with positions.
        let id =
            feature.checked_sub(1).and_then(|feature| told.ids.get(feature)).map_or("null", |(_, id)| id);
        let start = hit.segment as usize;
        (id, told.measures[start] + self.metric.distance(self.positions[start], hit.point))
    }
}

/// A search that is going on.
struct Search {
    point: Point,
    /// What is farther away does not count.
    limit: f64,
    found: Option<Hit>,
}

/// The limit on positions keeps all counts below 32 bits.
fn position(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// On the ellipsoid coordinates are degrees.
pub(super) fn check(metric: Metric, point: Point, at: usize) -> Result<(), Flaw> {
    if metric == Metric::Geodesic && (point[0].abs() > 360.0 || point[1].abs() > 90.0) {
        let rule = "with 'geodesic', a position must be longitude and latitude in degrees";
        return Err(Flaw::new(at, rule));
    }
    Ok(())
}

pub(super) fn name_of(kind: GeometryKind) -> &'static str {
    match kind {
        GeometryKind::Point => "Point",
        GeometryKind::MultiPoint => "MultiPoint",
        GeometryKind::LineString => "LineString",
        GeometryKind::MultiLineString => "MultiLineString",
        GeometryKind::Polygon => "Polygon",
        GeometryKind::MultiPolygon => "MultiPolygon",
    }
}

#[cfg(test)]
thread_local! {
    /// How many times an index was built on this thread.
    pub(super) static BUILT: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}
