//! Collects shapes and rows in the scratch folder, then packs them.

use super::shape::{self, Bounds, Kind};
use super::table::{self, NewField};
use super::{FILE_CODE, FORMAT, HEAD_BYTES};
use crate::crs::Crs;
use crate::room::Room;
use crate::vector::{ColumnKind, Feature, FeatureWriter, FormatError, Property, Summary, projection};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use zip::write::SimpleFileOptions;

/// Bytes of a `.shp` or `.dbf`: what every reader takes.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// Columns of a table.
const COLUMNS_MAX: usize = 255;

/// Name of the Shapefile within its archive.
const STEM: &str = "features";

/// Writes a zipped Shapefile.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    crs: Crs,
    has_z: bool,
    /// That of the first geometry.
    kind: Option<Kind>,
    bounds: Bounds,
    fields: Vec<NewField>,
    /// Names of properties to columns.
    columns: HashMap<String, usize>,
    /// Contents of records, without their heads: those need the length first.
    shapes: BufWriter<File>,
    /// Pairs of offset and length of the records, as in a `.shx`.
    index: BufWriter<File>,
    shape_bytes: u64,
    /// Cells, each after the byte of its length: widths are known at the end.
    cells: BufWriter<File>,
    cell_bytes: u64,
    rows: u64,
    /// Of all that lies in the scratch folder.
    bytes_max: u64,
}

impl<'a> Writer<'a> {
    /// Begins to write what `summary` tells.
    ///
    /// # Errors
    /// Where the columns are too many, the system has no well-known text here, or a scratch file can't be made.
    pub fn new(summary: &Summary, room: &Room<'_>, out: &'a mut dyn Write) -> Result<Self, FormatError> {
        if summary.columns.len() > COLUMNS_MAX {
            return Err(unrepresentable(format!(
                "{} properties: {COLUMNS_MAX} are its most",
                summary.columns.len()
            )));
        }
        let crs = summary.crs.unwrap_or(Crs::Crs84);
        projection::well_known_text(crs)?;
        let names = table::short_names(summary.columns.iter().map(|column| column.name.as_str()));
        let columns =
            summary.columns.iter().enumerate().map(|(index, column)| (column.name.clone(), index)).collect();
        let mut fields: Vec<NewField> = names
            .into_iter()
            .zip(&summary.columns)
            .map(|(name, column)| NewField::new(name, column.kind))
            .collect();
        if fields.is_empty() {
            // A table without columns is none.
            fields.push(NewField::new("row".to_owned(), ColumnKind::Integer));
        }
        let scratch = || tempfile::tempfile_in(room.scratch).map(BufWriter::new);
        Ok(Self {
            out,
            crs,
            has_z: summary.has_z,
            kind: None,
            bounds: Bounds::default(),
            fields,
            columns,
            shapes: scratch()?,
            index: scratch()?,
            shape_bytes: HEAD_BYTES as u64,
            cells: scratch()?,
            cell_bytes: 0,
            rows: 0,
            bytes_max: room.bytes_max,
        })
    }

    fn write_cells(&mut self, feature: &Feature) -> Result<(), FormatError> {
        let mut values = vec![&Property::Null; self.fields.len()];
        for (name, value) in &feature.properties {
            match self.columns.get(name) {
                Some(index) => values[*index] = value,
                None => return Err(unrepresentable(format!("the property {name:?}, which came too late"))),
            }
        }
        let row = Property::Integer(i64::try_from(self.rows).unwrap_or(i64::MAX));
        if self.columns.is_empty() {
            values[0] = &row;
        }
        for (field, value) in self.fields.iter_mut().zip(values) {
            let cell = field.cell(value).map_err(unrepresentable)?;
            self.cells.write_all(&[u8::try_from(cell.len()).unwrap_or(u8::MAX)])?;
            self.cells.write_all(cell.as_bytes())?;
            self.cell_bytes += 1 + cell.len() as u64;
        }
        Ok(())
    }
}

impl FeatureWriter for Writer<'_> {
    fn write(&mut self, feature: &Feature) -> Result<(), FormatError> {
        projection::check_same(FORMAT, self.crs, feature)?;
        if let Some(geometry) = &feature.geometry {
            let kind =
                Kind::of(geometry).ok_or_else(|| unrepresentable("geometry collections".to_owned()))?;
            let first = *self.kind.get_or_insert(kind);
            if first != kind {
                return Err(unrepresentable(format!(
                    "both {} and {}: it takes one kind",
                    first.name(),
                    kind.name()
                )));
            }
        }
        self.rows += 1;
        self.write_cells(feature)?;
        let mut content = Vec::new();
        let bounds = shape::write(feature.geometry.as_ref(), self.has_z, &mut content);
        self.bounds.merge(&bounds);
        let offset = self.shape_bytes;
        self.shape_bytes += 8 + content.len() as u64;
        if self.shape_bytes > FILE_BYTES_MAX {
            return Err(unrepresentable(format!("more than {FILE_BYTES_MAX} bytes of shapes")));
        }
        if self.shape_bytes + self.cell_bytes > self.bytes_max {
            return Err(FormatError::TooLarge { bytes_max: self.bytes_max });
        }
        self.index.write_all(&words(offset))?;
        self.index.write_all(&words(content.len() as u64))?;
        self.shapes.write_all(&content)?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), FormatError> {
        let row_bytes = 1 + self.fields.iter().map(|field| usize::from(field.width)).sum::<usize>();
        if self.rows * row_bytes as u64 > FILE_BYTES_MAX {
            return Err(unrepresentable(format!("{} rows of {row_bytes} bytes", self.rows)));
        }
        let index_bytes = HEAD_BYTES as u64 + self.rows * 8;
        let shape_type = self.kind.map_or(0, |kind| kind.shape_type(self.has_z));
        let head = |bytes: u64| head(bytes, shape_type, &self.bounds);
        let mut index = rewound(self.index)?;
        let mut shapes = rewound(self.shapes)?;
        let mut cells = rewound(self.cells)?;

        let mut archive = zip::ZipWriter::new_stream(self.out);
        archive.start_file(format!("{STEM}.shp"), options()).map_err(io::Error::from)?;
        archive.write_all(&head(self.shape_bytes))?;
        for number in 1..=self.rows {
            let mut place = [0; 8];
            index.read_exact(&mut place)?;
            let length = u32::from_be_bytes([place[4], place[5], place[6], place[7]]);
            archive.write_all(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes())?;
            archive.write_all(&length.to_be_bytes())?;
            io::copy(&mut (&mut shapes).take(u64::from(length) * 2), &mut archive)?;
        }
        archive.start_file(format!("{STEM}.shx"), options()).map_err(io::Error::from)?;
        archive.write_all(&head(index_bytes))?;
        index.rewind()?;
        io::copy(&mut index, &mut archive)?;

        archive.start_file(format!("{STEM}.dbf"), options()).map_err(io::Error::from)?;
        write_table(&self.fields, self.rows, row_bytes, &mut cells, &mut archive)?;

        archive.start_file(format!("{STEM}.prj"), options()).map_err(io::Error::from)?;
        archive.write_all(projection::well_known_text(self.crs)?.as_bytes())?;
        archive.start_file(format!("{STEM}.cpg"), options()).map_err(io::Error::from)?;
        archive.write_all(b"UTF-8")?;
        archive.finish().map_err(io::Error::from)?;
        Ok(())
    }
}

/// The same data give the same archive: no clock is read.
fn options() -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644)
}

fn rewound(file: BufWriter<File>) -> io::Result<BufReader<File>> {
    let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(BufReader::new(file))
}

/// Lengths and offsets count words of two bytes; none is over [`FILE_BYTES_MAX`].
fn words(bytes: u64) -> [u8; 4] {
    u32::try_from(bytes / 2).unwrap_or(u32::MAX).to_be_bytes()
}

fn head(bytes: u64, shape_type: u32, bounds: &Bounds) -> Vec<u8> {
    const VERSION: u32 = 1000;
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend(FILE_CODE.to_be_bytes());
    head.extend([0; 20]);
    head.extend(words(bytes));
    head.extend(VERSION.to_le_bytes());
    head.extend(shape_type.to_le_bytes());
    for value in bounds.plane().into_iter().chain(bounds.height()).chain([0.0, 0.0]) {
        head.extend(value.to_le_bytes());
    }
    head
}

fn write_table(
    fields: &[NewField],
    rows: u64,
    row_bytes: usize,
    cells: &mut impl Read,
    out: &mut impl Write,
) -> Result<(), FormatError> {
    const DBASE: u8 = 0x03;
    const TABLE_END: u8 = 0x1a;
    let too_wide = |bytes: usize| unrepresentable(format!("rows of {bytes} bytes"));
    let head_bytes = table::HEAD_BYTES * (fields.len() + 1) + 1;
    let mut head = [0; table::HEAD_BYTES];
    head[0] = DBASE;
    head[1..4].copy_from_slice(&[80, 1, 1]); // a fixed date, as the archive's
    head[4..8].copy_from_slice(&u32::try_from(rows).unwrap_or(u32::MAX).to_le_bytes());
    head[8..10].copy_from_slice(&u16::try_from(head_bytes).map_err(|_| too_wide(head_bytes))?.to_le_bytes());
    head[10..12].copy_from_slice(&u16::try_from(row_bytes).map_err(|_| too_wide(row_bytes))?.to_le_bytes());
    out.write_all(&head)?;
    for field in fields {
        out.write_all(&field.descriptor())?;
    }
    out.write_all(&[table::COLUMNS_END])?;
    let mut row = Vec::with_capacity(row_bytes);
    for _ in 0..rows {
        row.clear();
        row.push(b' ');
        for field in fields {
            let mut length = [0];
            cells.read_exact(&mut length)?;
            let mut cell = [0; u8::MAX as usize];
            let cell = &mut cell[..usize::from(length[0])];
            cells.read_exact(cell)?;
            field.fill(cell, &mut row);
        }
        out.write_all(&row)?;
    }
    out.write_all(&[TABLE_END])?;
    Ok(())
}

fn unrepresentable(what: String) -> FormatError {
    FormatError::Unrepresentable { format: FORMAT, what }
}
