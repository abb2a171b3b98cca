//! One feature with its points moved.

use super::Parameters;
use super::line_index::{Hit, LineIndex, check, name_of};
use anabranch_formats::geojson::{
    COORDINATE_MAX, Cursor, Error, Feature, Flaw, Geometry, GeometryFinder, GeometryKind, Point,
};
use std::io::Write as _;
use std::ops::Range;

/// The properties of a report, and the flag.
const ADDED: [&[u8]; 4] = [b"snap_distance", b"snap_line_id", b"snap_measure", b"snapped"];

/// What becomes of points without a line near them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmatched {
    Drop,
    Keep,
    Flag,
}

/// Moves the points of features; keeps its memory from one to the next.
pub(super) struct FeatureSnapper<'a> {
    lines: &'a LineIndex,
    parameters: &'a Parameters,
    finder: GeometryFinder,
    nodes: Vec<usize>,
    positions: Vec<Position>,
    hits: Vec<Option<Hit>>,
    edits: Edits,
    out: Vec<u8>,
}

/// A position, and where its bytes are.
struct Position {
    range: Range<usize>,
    x: Range<usize>,
    y: Range<usize>,
    point: Point,
}

impl<'a> FeatureSnapper<'a> {
    pub(super) fn new(lines: &'a LineIndex, parameters: &'a Parameters) -> Self {
        Self {
            lines,
            parameters,
            finder: GeometryFinder::default(),
            nodes: Vec::new(),
            positions: Vec::new(),
            hits: Vec::new(),
            edits: Edits::default(),
            out: Vec::new(),
        }
    }

    /// The feature with its points on lines, `None` where it is dropped.
    pub(super) fn snap(&mut self, feature: &Feature<'_>) -> Result<Option<&[u8]>, Error> {
        self.positions.clear();
        self.hits.clear();
        self.edits.clear();
        let kind = match self.finder.find(feature)? {
            [] => None,
            [geometry] => {
                read_positions(feature.bytes, geometry, &mut self.positions)
                    .map_err(|flaw| feature.locate(flaw))?;
                Some(geometry.kind)
            }
            [_, second, ..] => {
                let rule = "a feature must have one Point or MultiPoint, not several";
                return Err(feature.locate(Flaw::new(second.coordinates.start, rule)));
            }
        };
        for position in &self.positions {
            check(self.lines.metric(), position.point, position.range.start)
                .map_err(|flaw| feature.locate(flaw))?;
            let hit = self.lines.nearest(position.point, self.parameters.distance_max, &mut self.nodes);
            self.hits.push(hit);
        }
        let has_hit = self.hits.iter().any(Option::is_some);
        if self.parameters.unmatched == Unmatched::Drop && !has_hit {
            return Ok(None);
        }
        self.move_positions();
        if self.parameters.report || self.parameters.unmatched == Unmatched::Flag {
            let is_list = kind == Some(GeometryKind::MultiPoint);
            self.add_properties(feature.bytes, is_list).map_err(|flaw| feature.locate(flaw))?;
        }
        self.out.clear();
        self.edits.apply(feature.bytes, &mut self.out);
        Ok(Some(&self.out))
    }

    fn move_positions(&mut self) {
        let drops = self.parameters.unmatched == Unmatched::Drop;
        let mut one_stays = false;
        for (index, (position, hit)) in self.positions.iter().zip(&self.hits).enumerate() {
            match hit {
                Some(hit) => {
                    self.edits.replace(position.x.clone(), |text| write!(text, "{}", hit.point[0]));
                    self.edits.replace(position.y.clone(), |text| write!(text, "{}", hit.point[1]));
                }
                // It goes with one separator, so that a list of the others is left.
                None if drops => {
                    let range = match self.positions.get(index + 1) {
                        _ if one_stays => self.positions[index - 1].range.end..position.range.end,
                        Some(next) => position.range.start..next.range.start,
                        None => position.range.clone(),
                    };
                    self.edits.replace(range, |_nothing| Ok(()));
                    continue;
                }
                None => {}
            }
            one_stays = true;
        }
    }

    fn add_properties(&mut self, bytes: &[u8], is_list: bool) -> Result<(), Flaw> {
        let added = self.added_properties(is_list);
        let root = Root::read(bytes)?;
        if !root.is_feature {
            self.edits.insert(0, |text| write!(text, "{{\"type\":\"Feature\",\"geometry\":"));
            self.edits.insert(bytes.len(), |text| write!(text, ",\"properties\":{{{added}}}}}"));
            return Ok(());
        }
        match root.properties {
            None => self.edits.insert(1, |text| write!(text, "\"properties\":{{{added}}},")),
            Some(range) if bytes[range.start] != b'{' => {
                self.edits.replace(range, |text| write!(text, "{{{added}}}"));
            }
            Some(range) => {
                let mut others = Vec::new();
                let mut has_same_names = false;
                let mut cursor = Cursor::over(bytes, range.clone());
                members(&mut cursor, |name, member, _value| {
                    let is_same = ADDED.contains(&name);
                    has_same_names |= is_same;
                    if !is_same {
                        others.push(member);
                    }
                })?;
                let comma = if others.is_empty() { "" } else { "," };
                if has_same_names {
                    let members = others.iter().map(|member| &bytes[member.clone()]);
                    let members = members.collect::<Vec<_>>().join(&b","[..]);
                    self.edits.replace(range, |text| {
                        write!(text, "{{{added}{comma}")?;
                        text.write_all(&members)?;
                        text.write_all(b"}")
                    });
                } else {
                    self.edits.insert(range.start + 1, |text| write!(text, "{added}{comma}"));
                }
            }
        }
        Ok(())
    }

    fn added_properties(&self, is_list: bool) -> String {
        let drops = self.parameters.unmatched == Unmatched::Drop;
        let of_each = |value: &dyn Fn(&Hit) -> String| {
            let hits = self.hits.iter().filter(|hit| !drops || hit.is_some());
            let values = hits.map(|hit| hit.as_ref().map_or_else(|| "null".to_owned(), value));
            let values = values.collect::<Vec<_>>();
            match (is_list, values.first()) {
                (true, _) => format!("[{}]", values.join(",")),
                (false, first) => first.cloned().unwrap_or_else(|| "null".to_owned()),
            }
        };
        let mut added = Vec::new();
        if self.parameters.report {
            let distances = of_each(&|hit| hit.distance.to_string());
            let ids = of_each(&|hit| self.lines.told(hit).0.to_owned());
            let measures = of_each(&|hit| self.lines.told(hit).1.to_string());
            added.push(format!(
                "\"snap_distance\":{distances},\"snap_line_id\":{ids},\"snap_measure\":{measures}"
            ));
        }
        if self.parameters.unmatched == Unmatched::Flag {
            let all = !self.hits.is_empty() && self.hits.iter().all(Option::is_some);
            added.push(format!("\"snapped\":{all}"));
        }
        added.join(",")
    }
}

fn read_positions(bytes: &[u8], geometry: &Geometry, positions: &mut Vec<Position>) -> Result<(), Flaw> {
    let mut cursor = Cursor::over(bytes, geometry.coordinates.clone());
    match geometry.kind {
        // A point without coordinates is `[]`.
        GeometryKind::Point => {
            let mut empty = Cursor::over(bytes, geometry.coordinates.clone());
            if empty.take(b'[') && empty.take(b']') {
                return empty.expect_end();
            }
            positions.push(read_position(&mut cursor)?);
        }
        GeometryKind::MultiPoint => {
            cursor.list::<Flaw>(|cursor| {
                positions.push(read_position(cursor)?);
                Ok(())
            })?;
        }
        other => {
            let rule = format!("a point must be a Point or a MultiPoint, not a {}", name_of(other));
            return Err(Flaw::new(geometry.coordinates.start, rule));
        }
    }
    cursor.expect_end()
}

/// A position whose numbers remember their bytes.
fn read_position(cursor: &mut Cursor<'_>) -> Result<Position, Flaw> {
    cursor.expect(b'[', "a position must be an array of numbers")?;
    let start = cursor.at() - 1;
    let (x, x_range) = coordinate(cursor)?;
    cursor.expect(b',', "a position must have two or more numbers")?;
    let (y, y_range) = coordinate(cursor)?;
    while !cursor.take(b']') {
        cursor.expect(b',', "a number must be followed by ',' or ']'")?;
        coordinate(cursor)?;
    }
    Ok(Position { range: start..cursor.at(), x: x_range, y: y_range, point: [x, y] })
}

fn coordinate(cursor: &mut Cursor<'_>) -> Result<(f64, Range<usize>), Flaw> {
    cursor.peek();
    let start = cursor.at();
    let value = cursor.number()?;
    if value.abs() > COORDINATE_MAX {
        return Err(Flaw::new(start, "a coordinate must be between -1e150 and 1e150"));
    }
    Ok((value, start..cursor.at()))
}

/// What the object of a feature is, as far as its properties are concerned.
struct Root {
    is_feature: bool,
    properties: Option<Range<usize>>,
}

impl Root {
    fn read(bytes: &[u8]) -> Result<Self, Flaw> {
        let mut root = Self { is_feature: false, properties: None };
        members(&mut Cursor::new(bytes), |name, _member, value| match name {
            b"type" => root.is_feature = bytes[value].windows(7).any(|word| word == b"Feature"),
            b"properties" => root.properties = Some(value),
            _ => {}
        })?;
        Ok(root)
    }
}

/// Where the value of a member of a feature is.
pub(super) fn member_of_feature(bytes: &[u8], wanted: &[u8]) -> Result<Option<Range<usize>>, Flaw> {
    let mut found = None;
    members(&mut Cursor::new(bytes), |name, _member, value| {
        if name == wanted {
            found = Some(value);
        }
    })?;
    Ok(found)
}

/// Shows each member of an object: its name, where it is and where its value is.
fn members(
    cursor: &mut Cursor<'_>,
    mut see: impl FnMut(&[u8], Range<usize>, Range<usize>),
) -> Result<(), Flaw> {
    cursor.expect(b'{', "an object must begin here")?;
    if cursor.take(b'}') {
        return Ok(());
    }
    loop {
        cursor.peek();
        let start = cursor.at();
        let name = cursor.name()?;
        // A feature is one object deep, its properties two.
        let value = cursor.skip_value(2)?;
        see(&name, start..value.end, value);
        if cursor.take(b'}') {
            return Ok(());
        }
        cursor.expect(b',', "a member must be followed by ',' or '}'")?;
    }
}

/// Changes to a text, in any order; none overlaps another.
#[derive(Default)]
struct Edits {
    /// What goes, and which part of `text` comes instead.
    edits: Vec<(Range<usize>, Range<usize>)>,
    text: Vec<u8>,
}

impl Edits {
    fn clear(&mut self) {
        self.edits.clear();
        self.text.clear();
    }

    fn insert(&mut self, at: usize, write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) {
        self.replace(at..at, write);
    }

    fn replace(&mut self, range: Range<usize>, write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) {
        let start = self.text.len();
        // Writing to memory does not fail.
        let _ = write(&mut self.text);
        self.edits.push((range, start..self.text.len()));
    }

    fn apply(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.edits.sort_by_key(|(range, _)| range.start);
        let mut from = 0;
        for (range, text) in &self.edits {
            out.extend_from_slice(&bytes[from..range.start]);
            out.extend_from_slice(&self.text[text.clone()]);
            from = range.end;
        }
        out.extend_from_slice(&bytes[from..]);
    }
}
