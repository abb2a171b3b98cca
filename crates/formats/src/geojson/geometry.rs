//! Where the geometries of a feature stand, by structure.

use super::cursor::{Cursor, DEPTH_MAX};
use super::error::{Error, Flaw};
use super::splitter::{Feature, Place};
use std::ops::Range;

/// The geometries that have coordinates of their own (RFC 7946 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeometryKind {
    /// One position.
    Point,
    /// A list of positions that are independent of each other.
    MultiPoint,
    /// A list of positions joined by lines.
    LineString,
    /// A list of lines.
    MultiLineString,
    /// A list of rings: the outer one, then its holes.
    Polygon,
    /// A list of polygons.
    MultiPolygon,
}

/// One geometry: its kind and where its coordinates stand in the feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Its kind.
    pub kind: GeometryKind,
    /// The array behind `"coordinates"`, brackets included. What is in it is not looked at yet: read it with a
    /// [`Cursor::over`] this range, which then has to be at its end.
    pub coordinates: Range<usize>,
}

/// Finds geometries; keeps its memory from one feature to the next.
///
/// What it walks (RFC 7946 §3): a Feature with a member `geometry` that is an object or null, or a bare geometry; a
/// GeometryCollection with `geometries`, nested up to [`DEPTH_MAX`]. A member that decides what an object is may stand
/// there once only. A Feature without `geometry` is taken as one whose geometry is null.
#[derive(Default)]
pub struct GeometryFinder {
    open: Vec<Node>,
    found: Vec<Geometry>,
}

/// What `"type"` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NodeType {
    Feature,
    Collection,
    Simple(GeometryKind),
}

/// An object whose end is not reached yet.
struct Node {
    start: usize,
    /// The feature itself, or a bare geometry that stands in its place.
    is_root: bool,
    node_type: Option<NodeType>,
    coordinates: Option<Range<usize>>,
    has_geometry: bool,
    geometries: List,
    has_members: bool,
    /// How many geometries were found when it began.
    found_before: usize,
}

/// How far the array `geometries` of a node is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    NotSeen,
    Begun,
    HasElements,
    Ended,
}

impl GeometryFinder {
    /// The geometries of a feature, in the order of their coordinates in it.
    ///
    /// # Errors
    /// Where it is no feature or geometry as RFC 7946 has it.
    pub fn find(&mut self, feature: &Feature<'_>) -> Result<&[Geometry], Error> {
        self.open.clear();
        self.found.clear();
        self.walk(feature).map_err(|flaw| feature.locate(flaw))?;
        Ok(&self.found)
    }

    fn walk(&mut self, feature: &Feature<'_>) -> Result<(), Flaw> {
        let mut cursor = Cursor::new(feature.bytes);
        self.open_node(&mut cursor, true)?;
        while let Some(node) = self.open.last() {
            match node.geometries {
                List::Begun | List::HasElements => self.next_element(&mut cursor)?,
                List::NotSeen | List::Ended => self.next_member(&mut cursor, feature.place)?,
            }
        }
        cursor.expect_end()
    }

    fn open_node(&mut self, cursor: &mut Cursor<'_>, is_root: bool) -> Result<(), Flaw> {
        if self.depth() >= DEPTH_MAX {
            return Err(cursor.flaw("a feature must not be nested deeper than 128 objects and arrays"));
        }
        cursor.expect(b'{', "a geometry must be an object")?;
        self.open.push(Node {
            start: cursor.at() - 1,
            is_root,
            node_type: None,
            coordinates: None,
            has_geometry: false,
            geometries: List::NotSeen,
            has_members: false,
            found_before: self.found.len(),
        });
        Ok(())
    }

    /// Objects and arrays open at this place: a collection is an object with an array in it.
    fn depth(&self) -> usize {
        2 * self.open.len()
    }

    fn next_element(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Flaw> {
        let Some(node) = self.open.last_mut() else { return Ok(()) };
        if cursor.take(b']') {
            node.geometries = List::Ended;
            return Ok(());
        }
        if node.geometries == List::HasElements {
            cursor.expect(b',', "a geometry must be followed by ',' or ']'")?;
        }
        node.geometries = List::HasElements;
        self.open_node(cursor, false)
    }

    fn next_member(&mut self, cursor: &mut Cursor<'_>, place: Place) -> Result<(), Flaw> {
        let depth = self.depth();
        let Some(node) = self.open.last_mut() else { return Ok(()) };
        if cursor.take(b'}') {
            return self.close_node(place);
        }
        if node.has_members {
            cursor.expect(b',', "a member must be followed by ',' or '}'")?;
        }
        node.has_members = true;
        cursor.peek();
        let at = cursor.at();
        match &*cursor.name()? {
            b"type" => node.read_type(cursor, at),
            b"coordinates" if node.may_have_coordinates() => node.read_coordinates(cursor, at, depth),
            b"geometry" if node.may_be_feature() => {
                once(!node.has_geometry, at, "'geometry' must stand there once")?;
                node.has_geometry = true;
                if cursor.peek() == Some(b'{') {
                    return self.open_node(cursor, false);
                }
                if cursor.peek() != Some(b'n') {
                    return Err(cursor.flaw("'geometry' must be an object or null"));
                }
                cursor.skip_value(depth).map(|_null| ())
            }
            b"geometries" if node.may_be_collection() => {
                once(node.geometries == List::NotSeen, at, "'geometries' must stand there once")?;
                cursor.expect(b'[', "'geometries' must be an array")?;
                node.geometries = List::Begun;
                Ok(())
            }
            _ => cursor.skip_value(depth).map(|_| ()),
        }
    }

    fn close_node(&mut self, place: Place) -> Result<(), Flaw> {
        let Some(node) = self.open.pop() else { return Ok(()) };
        let flaw = |rule: &'static str| Err(Flaw::new(node.start, rule));
        match node.node_type {
            None => flaw("an object of GeoJSON must have a 'type'"),
            Some(NodeType::Feature) if node.is_root => {
                if node.coordinates.is_some() || node.geometries != List::NotSeen {
                    // RFC 7946 §7.1
                    return flaw("a Feature must not have 'coordinates' or 'geometries'");
                }
                Ok(())
            }
            Some(NodeType::Feature) => flaw("a Feature must not stand in the place of a geometry"),
            Some(_) if node.is_root && place == Place::Collection => {
                flaw("an element of 'features' must be a Feature")
            }
            Some(_) if node.has_geometry => flaw("a geometry must not have a 'geometry'"), // RFC 7946 §7.1
            Some(NodeType::Collection) if node.geometries == List::NotSeen => {
                flaw("a GeometryCollection must have an array 'geometries'")
            }
            Some(NodeType::Collection) => Ok(()),
            Some(NodeType::Simple(kind)) => {
                let Some(coordinates) = node.coordinates else {
                    return flaw("a geometry must have an array 'coordinates'");
                };
                self.found.truncate(node.found_before);
                self.found.push(Geometry { kind, coordinates });
                Ok(())
            }
        }
    }
}

impl Node {
    fn may_be_feature(&self) -> bool {
        self.is_root && matches!(self.node_type, None | Some(NodeType::Feature))
    }

    fn may_be_collection(&self) -> bool {
        matches!(self.node_type, None | Some(NodeType::Collection))
    }

    fn may_have_coordinates(&self) -> bool {
        matches!(self.node_type, None | Some(NodeType::Simple(_)))
    }

    fn read_type(&mut self, cursor: &mut Cursor<'_>, at: usize) -> Result<(), Flaw> {
        once(self.node_type.is_none(), at, "'type' must stand there once")?;
        cursor.peek();
        let value_at = cursor.at();
        let Some(node_type) = NodeType::from_name(&cursor.text()?) else {
            let rule = "'type' must be Feature, Point, LineString, Polygon, MultiPoint, MultiLineString, MultiPolygon \
                        or GeometryCollection";
            return Err(Flaw::new(value_at, rule));
        };
        self.node_type = Some(node_type);
        Ok(())
    }

    fn read_coordinates(&mut self, cursor: &mut Cursor<'_>, at: usize, depth: usize) -> Result<(), Flaw> {
        once(self.coordinates.is_none(), at, "'coordinates' must stand there once")?;
        if cursor.peek() != Some(b'[') {
            return Err(cursor.flaw("'coordinates' must be an array"));
        }
        // Before 'type' is known this may be a foreign member, with anything in it.
        let range = match self.node_type {
            Some(NodeType::Simple(_)) => coordinates_range(cursor)?,
            _ => cursor.skip_value(depth)?,
        };
        self.coordinates = Some(range);
        Ok(())
    }
}

/// Coordinates hold numbers, brackets and commas only: their array ends with the last bracket before the next quote or brace.
/// Skips at the speed of memory; whoever reads the numbers finds brackets that do not match.
fn coordinates_range(cursor: &mut Cursor<'_>) -> Result<Range<usize>, Flaw> {
    let start = cursor.at();
    let bytes = cursor.until(b'"', b'}');
    let array = &bytes[..memchr::memrchr(b']', bytes).map_or(0, |last| last + 1)];
    let behind = bytes[array.len()..].iter().position(|byte| !b" \t\r\n,".contains(byte));
    if let Some(behind) = behind {
        let rule = "'coordinates' must hold numbers and arrays only, and end with ']'";
        return Err(Flaw::new(start + array.len() + behind, rule));
    }
    // Not empty: it begins with '[', which would be behind it.
    cursor.step_over(array.len());
    Ok(start..cursor.at())
}

fn once(first: bool, at: usize, rule: &'static str) -> Result<(), Flaw> {
    if first { Ok(()) } else { Err(Flaw::new(at, rule)) }
}

impl NodeType {
    fn from_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"Feature" => Self::Feature,
            b"GeometryCollection" => Self::Collection,
            b"Point" => Self::Simple(GeometryKind::Point),
            b"MultiPoint" => Self::Simple(GeometryKind::MultiPoint),
            b"LineString" => Self::Simple(GeometryKind::LineString),
            b"MultiLineString" => Self::Simple(GeometryKind::MultiLineString),
            b"Polygon" => Self::Simple(GeometryKind::Polygon),
            b"MultiPolygon" => Self::Simple(GeometryKind::MultiPolygon),
            _ => return None,
        })
    }
}
