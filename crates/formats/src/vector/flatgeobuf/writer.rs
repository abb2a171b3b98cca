//! Collects features in the scratch folder, then sorts them along their index.

use super::{FORMAT, MAGIC, geometry, properties};
use crate::crs::Crs;
use crate::room::Room;
use crate::vector::{Column, ColumnKind, Feature, FeatureWriter, FormatError, Geometry, Summary, projection};
use flatbuffers::FlatBufferBuilder;
use flatgeobuf::packed_r_tree::{NodeItem, PackedRTree, calc_extent, hilbert_sort};
use flatgeobuf::{ColumnArgs, CrsArgs, FeatureArgs, GeometryType, HeaderArgs};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

/// Features that get an index: it is made in memory, 80 bytes for each.
pub(super) const INDEXED_FEATURES_MAX: u64 = 1_000_000;

/// Name of the layer.
const NAME: &str = "features";

/// Writes FlatGeobuf.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    crs: Crs,
    has_z: bool,
    columns: Vec<Column>,
    /// Names of properties to columns.
    indices: HashMap<String, u16>,
    features: BufWriter<File>,
    bytes: u64,
    bytes_max: u64,
    count: u64,
    /// Boxes and places of the features, until there is a reason for no index.
    nodes: Option<Vec<NodeItem>>,
    buffer: FlatBufferBuilder<'static>,
}

impl<'a> Writer<'a> {
    /// Begins to write what `summary` tells.
    ///
    /// # Errors
    /// Where the columns are too many, or the scratch file can't be made.
    pub fn new(summary: &Summary, room: &Room<'_>, out: &'a mut dyn Write) -> Result<Self, FormatError> {
        let indices: HashMap<String, u16> = summary
            .columns
            .iter()
            .zip(0_u16..u16::MAX)
            .map(|(column, index)| (column.name.clone(), index))
            .collect();
        if indices.len() < summary.columns.len() {
            return Err(unrepresentable(format!(
                "{} properties: {} are its most",
                summary.columns.len(),
                u16::MAX
            )));
        }
        let indexed = (1..=INDEXED_FEATURES_MAX).contains(&summary.features);
        Ok(Self {
            out,
            crs: summary.crs.unwrap_or(Crs::Crs84),
            has_z: summary.has_z,
            columns: summary.columns.clone(),
            indices,
            features: BufWriter::new(tempfile::tempfile_in(room.scratch)?),
            bytes: 0,
            bytes_max: room.bytes_max,
            count: 0,
            nodes: indexed.then(Vec::new),
            buffer: FlatBufferBuilder::new(),
        })
    }

    fn head(&mut self, extent: Option<&NodeItem>) -> &[u8] {
        self.buffer.reset();
        let buffer = &mut self.buffer;
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| {
                let name = Some(buffer.create_string(&column.name));
                let type_ = properties::column_type(column.kind);
                flatgeobuf::Column::create(buffer, &ColumnArgs { name, type_, ..ColumnArgs::default() })
            })
            .collect();
        let crs = CrsArgs {
            org: Some(buffer.create_string("EPSG")),
            name: Some(buffer.create_string(self.crs.name())),
            code: i32::try_from(self.crs.epsg_code()).unwrap_or(0),
            ..CrsArgs::default()
        };
        let arguments = HeaderArgs {
            name: Some(buffer.create_string(NAME)),
            envelope: extent.map(|extent| {
                buffer.create_vector(&[extent.min_x, extent.min_y, extent.max_x, extent.max_y])
            }),
            // Each feature says its own, so that all kinds may stand together.
            geometry_type: GeometryType::Unknown,
            has_z: self.has_z,
            columns: Some(buffer.create_vector(&columns)),
            features_count: self.count,
            index_node_size: if extent.is_some() { PackedRTree::DEFAULT_NODE_SIZE } else { 0 },
            crs: Some(flatgeobuf::Crs::create(buffer, &crs)),
            ..HeaderArgs::default()
        };
        let head = flatgeobuf::Header::create(buffer, &arguments);
        buffer.finish_size_prefixed(head, None);
        buffer.finished_data()
    }
}

impl FeatureWriter for Writer<'_> {
    fn write(&mut self, feature: &Feature) -> Result<(), FormatError> {
        projection::check_same(FORMAT, self.crs, feature)?;
        let mut values = Vec::new();
        for (name, value) in &feature.properties {
            let index = *self
                .indices
                .get(name)
                .ok_or_else(|| unrepresentable(format!("the property {name:?}, which came too late")))?;
            let kind = self.columns.get(usize::from(index)).map_or(ColumnKind::Text, |column| column.kind);
            properties::write(index, kind, value, &mut values);
        }
        self.buffer.reset();
        let has_z = self.has_z;
        let arguments = FeatureArgs {
            geometry: feature.geometry.as_ref().map(|found| geometry::write(&mut self.buffer, found, has_z)),
            properties: (!values.is_empty()).then(|| self.buffer.create_vector(&values)),
            columns: None,
        };
        let written = flatgeobuf::Feature::create(&mut self.buffer, &arguments);
        self.buffer.finish_size_prefixed(written, None);
        let bytes = self.buffer.finished_data();
        self.features.write_all(bytes)?;
        match (&mut self.nodes, &feature.geometry) {
            (Some(nodes), Some(geometry)) => nodes.push(node(geometry, self.bytes)),
            // What is nowhere can't be found by a place.
            (nodes, None) => *nodes = None,
            (None, Some(_)) => {}
        }
        self.bytes += bytes.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(FormatError::TooLarge { bytes_max: self.bytes_max });
        }
        self.count += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), FormatError> {
        let nodes = self.nodes.take().filter(|nodes| !nodes.is_empty());
        let extent = nodes.as_deref().map(calc_extent);
        let head = self.head(extent.as_ref()).to_vec();
        let mut file = self.features.into_inner().map_err(io::IntoInnerError::into_error)?;
        self.out.write_all(&MAGIC)?;
        self.out.write_all(&head)?;
        match nodes.zip(extent) {
            Some((nodes, extent)) => write_sorted(nodes, &extent, file, self.bytes, self.out),
            None => {
                file.rewind()?;
                io::copy(&mut file, self.out)?;
                Ok(())
            }
        }
    }
}

fn write_sorted(
    mut nodes: Vec<NodeItem>,
    extent: &NodeItem,
    file: File,
    bytes: u64,
    out: &mut dyn Write,
) -> Result<(), FormatError> {
    /// The smallest number of features that are sorted by their place on the curve.
    const SORTED_FEATURES_MIN: usize = 2;
    let mut starts: Vec<u64> = nodes.iter().map(|node| node.offset).collect();
    starts.push(bytes);
    let size = |start: u64| {
        let next = starts.partition_point(|other| *other <= start);
        starts.get(next).map_or(0, |next| next - start)
    };
    if nodes.len() >= SORTED_FEATURES_MIN {
        hilbert_sort(&mut nodes, extent);
    }
    let order: Vec<u64> = nodes.iter().map(|node| node.offset).collect();
    let mut offset = 0;
    for node in &mut nodes {
        let bytes = size(node.offset);
        node.offset = offset;
        offset += bytes;
    }
    let tree = PackedRTree::build(&nodes, extent, PackedRTree::DEFAULT_NODE_SIZE)
        .map_err(|error| io::Error::other(error.to_string()))?;
    tree.stream_write(&mut &mut *out)?;
    drop((tree, nodes));
    let mut file = BufReader::new(file);
    for start in order {
        file.seek(SeekFrom::Start(start))?;
        io::copy(&mut (&mut file).take(size(start)), out)?;
    }
    Ok(())
}

fn node(geometry: &Geometry, offset: u64) -> NodeItem {
    let mut node = NodeItem {
        min_x: f64::INFINITY,
        min_y: f64::INFINITY,
        max_x: f64::NEG_INFINITY,
        max_y: f64::NEG_INFINITY,
        offset,
    };
    geometry.for_each(&mut |position| node.expand_xy(position.x, position.y));
    node
}

fn unrepresentable(what: String) -> FormatError {
    FormatError::Unrepresentable { format: FORMAT, what }
}
