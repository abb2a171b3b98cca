//! Reads the frames: head, index, features.

use super::properties::Column;
use super::{FORMAT, MAGIC, NODE_BYTES, geometry, properties};
use crate::crs::Crs;
use crate::vector::limits::{COLUMNS_MAX, FEATURE_BYTES_MAX};
use crate::vector::{Feature, FeatureReader, FormatError, Place, names, projection};
use anabranch_model::Data;
use flatbuffers::VerifierOptions;
use flatgeobuf::GeometryType;
use std::io::{self, BufReader, Read};

/// Bytes of a head; GDAL takes no more.
const HEAD_BYTES_MAX: usize = 10 << 20;

/// Bytes of the smallest buffer: where its table begins, and an empty table.
const BUFFER_BYTES_MIN: usize = 8;

/// What verification allows: no buffer may unfold to more than a feature may have, by parts that are named several times.
const VERIFIER: VerifierOptions = VerifierOptions {
    max_depth: 64,
    max_tables: 1_000_000,
    max_apparent_size: FEATURE_BYTES_MAX,
    ignore_missing_null_terminator: false,
};

/// Reads FlatGeobuf.
pub struct Reader {
    bytes: BufReader<Box<dyn Read + Send>>,
    /// The head's, where all geometries are of one.
    kind: GeometryType,
    crs: Crs,
    columns: Vec<Column>,
    /// What the head says; 0 is unknown.
    features: u64,
    read: u64,
}

impl Reader {
    /// Reads the head and passes over the index.
    ///
    /// # Errors
    /// Where they are not sound, or the system is not known.
    pub fn open(data: &Data) -> Result<Self, FormatError> {
        let mut bytes = BufReader::new(data.open()?);
        let mut magic = [0; MAGIC.len()];
        let begun = read_or_end(&mut bytes, &mut magic)?;
        if !begun || magic[..7] != MAGIC[..7] {
            return Err(malformed(None, "must begin with \"fgb\", its version 3, and \"fgb\""));
        }
        let buffer = buffer(&mut bytes, HEAD_BYTES_MAX, None)?
            .ok_or_else(|| malformed(None, "ends before its head"))?;
        let head = flatgeobuf::size_prefixed_root_as_header_with_opts(&VERIFIER, &buffer)
            .map_err(|error| malformed(None, format!("must have a sound head ({error})")))?;
        let crs = crs(head)?;
        let columns = columns(head.columns().into_iter().flatten()).map_err(|rule| malformed(None, rule))?;
        let (kind, features) = (head.geometry_type(), head.features_count());
        let index_bytes = index_bytes(features, head.index_node_size())
            .ok_or_else(|| malformed(None, format!("can't have an index of {features} features")))?;
        let passed = io::copy(&mut (&mut bytes).take(index_bytes), &mut io::sink())?;
        if passed < index_bytes {
            return Err(malformed(None, "ends within its index"));
        }
        Ok(Self { bytes, kind, crs, columns, features, read: 0 })
    }

    fn malformed(&self, rule: impl Into<String>) -> FormatError {
        malformed(Some(Place::Feature(self.read)), rule)
    }
}

impl FeatureReader for Reader {
    fn next(&mut self) -> Result<Option<Feature>, FormatError> {
        if self.features != 0 && self.read == self.features {
            return Ok(None);
        }
        self.read += 1;
        let place = Some(Place::Feature(self.read));
        let Some(buffer) = buffer(&mut self.bytes, FEATURE_BYTES_MAX, place)? else {
            return match self.features {
                0 => Ok(None),
                count => Err(self.malformed(format!("must have the {count} features of its head"))),
            };
        };
        let feature = flatgeobuf::size_prefixed_root_as_feature_with_opts(&VERIFIER, &buffer)
            .map_err(|error| self.malformed(format!("must have sound features ({error})")))?;
        let geometry = match feature.geometry() {
            Some(found) => geometry::read(found, self.kind, 0).map_err(|rule| self.malformed(rule))?,
            None => None,
        };
        let own = feature.columns().map(|own| columns(own.iter())).transpose();
        let own = own.map_err(|rule| self.malformed(rule))?;
        let bytes = feature.properties().map(|properties| properties.bytes()).unwrap_or_default();
        let properties = properties::read(bytes, own.as_deref().unwrap_or(&self.columns))
            .map_err(|rule| self.malformed(rule))?;
        Ok(Some(Feature { id: None, geometry, crs: self.crs, properties }))
    }
}

/// The next buffer with its size before it; `None` at the end of the data.
fn buffer(
    bytes: &mut impl Read,
    bytes_max: usize,
    place: Option<Place>,
) -> Result<Option<Vec<u8>>, FormatError> {
    let mut prefix = [0; 4];
    if !read_or_end(bytes, &mut prefix)? {
        return Ok(None);
    }
    let size = u32::from_le_bytes(prefix) as usize;
    if !(BUFFER_BYTES_MIN..=bytes_max).contains(&size) {
        let what = if place.is_some() { "a feature" } else { "its head" };
        return Err(malformed(
            place,
            format!("may have {BUFFER_BYTES_MIN} to {bytes_max} bytes in {what}, not {size}"),
        ));
    }
    let mut buffer = prefix.to_vec();
    // Grows with what is there, not with what is said to be.
    if bytes.take(size as u64).read_to_end(&mut buffer)? < size {
        return Err(malformed(place, "ends too early"));
    }
    Ok(Some(buffer))
}

/// False where the data ends before the first byte, or within `buffer`.
fn read_or_end(bytes: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match bytes.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Bytes of a packed R-tree: the features, and level after level nodes of `node_size` children up to one.
fn index_bytes(features: u64, node_size: u16) -> Option<u64> {
    if features == 0 || node_size == 0 {
        return Some(0);
    }
    let children = u64::from(node_size.max(2));
    let mut level = features;
    let mut nodes = features;
    loop {
        level = level.div_ceil(children);
        nodes = nodes.checked_add(level)?;
        if level == 1 {
            return nodes.checked_mul(NODE_BYTES);
        }
    }
}

fn columns<'a>(columns: impl Iterator<Item = flatgeobuf::Column<'a>>) -> Result<Vec<Column>, String> {
    let mut columns: Vec<Column> =
        columns.map(|column| Column { name: column.name().to_owned(), kind: column.type_() }).collect();
    if columns.len() > COLUMNS_MAX {
        return Err(format!("may have {COLUMNS_MAX} columns, not {}", columns.len()));
    }
    let names = names::unique(columns.iter().map(|column| column.name.clone()));
    for (column, name) in columns.iter_mut().zip(names) {
        column.name = name;
    }
    Ok(columns)
}

fn crs(head: flatgeobuf::Header<'_>) -> Result<Crs, FormatError> {
    let Some(crs) = head.crs() else { return Ok(Crs::Crs84) };
    let of_epsg = crs.org().is_none_or(|organization| organization.eq_ignore_ascii_case("EPSG"));
    match u32::try_from(crs.code()) {
        Ok(code) if code > 0 && of_epsg => Ok(Crs::epsg(code)?),
        _ => match crs.wkt().or_else(|| crs.name()) {
            Some(text) if !text.is_empty() => projection::of_well_known_text(text),
            _ => Ok(Crs::Crs84),
        },
    }
}

fn malformed(place: Option<Place>, rule: impl Into<String>) -> FormatError {
    FormatError::Malformed { format: FORMAT, rule: rule.into(), place }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flatgeobuf::packed_r_tree::PackedRTree;

    #[test]
    fn the_index_has_the_size_that_others_give_it() {
        for (features, node_size) in [(1, 16), (16, 16), (17, 16), (1000, 2), (123_457, 16), (3, 65535)] {
            let theirs = PackedRTree::index_size(features, node_size) as u64;
            assert_eq!(index_bytes(features as u64, node_size), Some(theirs), "{features} {node_size}");
        }
        assert_eq!(index_bytes(u64::MAX, 2), None);
        assert_eq!(index_bytes(5, 0), Some(0));
    }
}
