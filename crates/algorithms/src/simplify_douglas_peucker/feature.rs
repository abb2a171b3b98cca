//! Which bytes of a feature go.

use super::line::{LineSimplifier, Stopped, Work};
use anabranch_formats::Extent;
use anabranch_formats::geojson::{
    self, Cursor, Feature, Flaw, Geometry, GeometryFinder, GeometryKind, Positions, read_position,
};
use std::ops::Range;

/// A ring is a triangle at least: three corners and the first again (RFC 7946 §3.1.6).
const RING_POSITIONS_MIN: usize = 4;

/// Why a feature could not be simplified.
pub(super) enum Failure {
    /// It is no GeoJSON.
    Invalid(geojson::Error),
    /// A line of so many positions was given up.
    Stopped(Stopped, usize),
}

/// The same, while only the feature's own bytes are known.
enum Trouble {
    Flaw(Flaw),
    Stopped(Stopped, usize),
}

impl From<Flaw> for Trouble {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

/// Simplifies features by naming the bytes that go; keeps its memory from one feature to the next.
pub(super) struct FeatureSimplifier<'a> {
    finder: GeometryFinder,
    lines: Lines<'a>,
    /// Distances that one feature may need.
    distances_max: u64,
}

impl<'a> FeatureSimplifier<'a> {
    pub(super) fn new(tolerance: f64, distances_max: u64, is_cancelled: &'a dyn Fn() -> bool) -> Self {
        let lines = Lines {
            tolerance,
            positions: Positions::default(),
            simplifier: LineSimplifier::default(),
            work: Work::new(is_cancelled),
            removed: Vec::new(),
            extent: Extent::default(),
        };
        Self { finder: GeometryFinder::default(), lines, distances_max }
    }

    /// Where all positions lie that have stayed so far.
    pub(super) fn extent(&self) -> Extent {
        self.lines.extent
    }

    /// The bytes that go, in order and apart from each other.
    pub(super) fn removals(&mut self, feature: &Feature<'_>) -> Result<&[Range<usize>], Failure> {
        self.lines.removed.clear();
        self.lines.work.left = self.distances_max;
        for geometry in self.finder.find(feature).map_err(Failure::Invalid)? {
            match self.lines.geometry(feature.bytes, geometry) {
                Ok(()) => {}
                Err(Trouble::Flaw(flaw)) => return Err(Failure::Invalid(feature.locate(flaw))),
                Err(Trouble::Stopped(stopped, positions)) => {
                    return Err(Failure::Stopped(stopped, positions));
                }
            }
        }
        Ok(&self.lines.removed)
    }
}

/// Reads the lines of geometries and collects what goes.
struct Lines<'a> {
    tolerance: f64,
    positions: Positions,
    simplifier: LineSimplifier,
    work: Work<'a>,
    removed: Vec<Range<usize>>,
    extent: Extent,
}

/// A ring or polygon, and what becomes of it.
struct Part {
    range: Range<usize>,
    collapses: bool,
    /// Of the positions that stay if it does.
    extent: Extent,
}

impl Lines<'_> {
    fn geometry(&mut self, bytes: &[u8], geometry: &Geometry) -> Result<(), Trouble> {
        let mut cursor = Cursor::over(bytes, geometry.coordinates.clone());
        match geometry.kind {
            GeometryKind::Point if is_empty_array(bytes, &geometry.coordinates) => return Ok(()),
            GeometryKind::Point => {
                let (point, _) = read_position(&mut cursor)?;
                self.extent.add(point);
            }
            GeometryKind::MultiPoint => {
                cursor.list(|cursor| read_position(cursor).map(|(point, _)| self.extent.add(point)))?;
            }
            GeometryKind::LineString => self.line(&mut cursor)?,
            GeometryKind::MultiLineString => {
                cursor.list(|cursor| self.line(cursor))?;
            }
            GeometryKind::Polygon => {
                let polygon = self.polygon(&mut cursor)?;
                if polygon.collapses {
                    self.removed.push(polygon.range.start + 1..polygon.range.end - 1);
                } else {
                    self.extent.join(polygon.extent);
                }
            }
            GeometryKind::MultiPolygon => {
                let mut polygons = Vec::new();
                let removed_before = self.removed.len();
                cursor.list::<Trouble>(|cursor| {
                    polygons.push(self.polygon(cursor)?);
                    Ok(())
                })?;
                let extent = self.drop_collapsed(&polygons, removed_before);
                self.extent.join(extent);
            }
        }
        cursor.expect_end()?;
        Ok(())
    }

    fn line(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Trouble> {
        let range = self.positions.read_list(cursor)?;
        match self.positions.points().len() {
            0 => Ok(()),
            1 => Err(Flaw::new(range.start, "a line must have two or more positions").into()),
            _ => {
                let (_kept, extent) = self.drop_vertices()?;
                self.extent.join(extent);
                Ok(())
            }
        }
    }

    /// A polygon collapses with its outer ring, and holes collapse by themselves.
    fn polygon(&mut self, cursor: &mut Cursor<'_>) -> Result<Part, Trouble> {
        let removed_before = self.removed.len();
        let mut rings = Vec::new();
        let range = cursor.list::<Trouble>(|cursor| {
            rings.push(self.ring(cursor)?);
            Ok(())
        })?;
        let collapses = rings.first().is_some_and(|outer| outer.collapses);
        let extent = if collapses {
            self.removed.truncate(removed_before);
            Extent::default()
        } else {
            self.drop_collapsed(&rings, removed_before)
        };
        Ok(Part { range, collapses, extent })
    }

    fn ring(&mut self, cursor: &mut Cursor<'_>) -> Result<Part, Trouble> {
        let range = self.positions.read_list(cursor)?;
        let points = self.positions.points();
        if points.len() < RING_POSITIONS_MIN {
            return Err(Flaw::new(range.start, "a ring must have four or more positions").into());
        }
        if points.first() != points.last() {
            return Err(Flaw::new(range.start, "a ring must end where it begins").into());
        }
        let removed_before = self.removed.len();
        let (kept, extent) = self.drop_vertices()?;
        let collapses = kept < RING_POSITIONS_MIN;
        if collapses {
            self.removed.truncate(removed_before);
        }
        Ok(Part { range, collapses, extent })
    }

    /// Marks the vertices that go, each with what stands between it and the vertex before; gives how many stay, and
    /// where. The first vertex always stays.
    fn drop_vertices(&mut self) -> Result<(usize, Extent), Trouble> {
        let points = self.positions.points();
        let keep = self
            .simplifier
            .select(points, self.tolerance, &mut self.work)
            .map_err(|stopped| Trouble::Stopped(stopped, points.len()))?;
        let spans = self.positions.spans();
        let (mut kept, mut before) = (0, 0);
        let mut extent = Extent::default();
        for (here, (point, _)) in points.iter().zip(keep).enumerate().filter(|(_, (_, keep))| **keep) {
            kept += 1;
            extent.add(*point);
            // Vertices that go one after the other go as one range.
            if here > before + 1 {
                self.removed.push(spans[before].end as usize..spans[here - 1].end as usize);
            }
            before = here;
        }
        Ok((kept, extent))
    }

    /// Marks the parts that collapse, each with one separator, so that an array of the others is left; gives
    /// where these lie.
    fn drop_collapsed(&mut self, parts: &[Part], removed_before: usize) -> Extent {
        let mut one_stays = false;
        let mut extent = Extent::default();
        for (index, part) in parts.iter().enumerate() {
            if !part.collapses {
                one_stays = true;
                extent.join(part.extent);
                continue;
            }
            let range = match parts.get(index + 1) {
                _ if one_stays => parts[index - 1].range.end..part.range.end,
                Some(next) => part.range.start..next.range.start,
                None => part.range.clone(),
            };
            self.removed.push(range);
        }
        self.removed[removed_before..].sort_unstable_by_key(|range| range.start);
        extent
    }
}

/// A point without coordinates: `[]`.
fn is_empty_array(bytes: &[u8], range: &Range<usize>) -> bool {
    bytes.get(range.start + 1..range.end - 1).is_some_and(|inner| inner.trim_ascii().is_empty())
}
