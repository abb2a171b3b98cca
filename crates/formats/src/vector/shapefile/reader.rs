//! Walks through shapes and rows side by side.

use super::archive::{Archive, Member};
use super::table::Table;
use super::{FILE_CODE, FORMAT, HEAD_BYTES, malformed, of_reading, shape};
use crate::bytes::{ByteOrder::Big, Bytes};
use crate::crs::Crs;
use crate::vector::limits::FEATURE_BYTES_MAX;
use crate::vector::{Feature, FeatureReader, FormatError, Place, projection};
use anabranch_model::Data;
use std::io::{self, BufReader, Read};

/// Bytes of a `.prj` or `.cpg`; the first has seldom a thousand, the second ten.
const SMALL_MEMBER_BYTES_MAX: u64 = 64 << 10;

/// Reads a zipped Shapefile.
#[derive(Debug)]
pub struct Reader {
    shapes: BufReader<Member>,
    /// Of the `.shp`, as its head and the archive say.
    shape_bytes_left: u64,
    rows: BufReader<Member>,
    table: Table,
    crs: Crs,
    features: u64,
}

impl Reader {
    /// Opens the one Shapefile of an archive.
    ///
    /// # Errors
    /// Where the archive is not sound or over a limit, a file is missing, or the system is not known.
    pub fn open(data: &Data) -> Result<Self, FormatError> {
        let archive = Archive::open(data)?;
        let stem = archive.stem()?;
        let needed = |extension: &str| {
            archive
                .member(&stem, extension)?
                .ok_or_else(|| malformed(format!("must have {stem}.{extension} in its archive")))
        };
        let text = |extension: &str| match archive.member(&stem, extension)? {
            Some(member) => match member.read_text(SMALL_MEMBER_BYTES_MAX)? {
                Some(text) => Ok(Some(text)),
                None => {
                    Err(malformed(format!("may have {SMALL_MEMBER_BYTES_MAX} bytes in {stem}.{extension}")))
                }
            },
            None => Ok(None),
        };
        let crs = match text("prj")? {
            Some(text) => projection::of_well_known_text(&text)?,
            None => Crs::Crs84,
        };
        let mut rows = BufReader::new(needed("dbf")?);
        let table = Table::read(&mut rows, text("cpg")?.as_deref())
            .map_err(|error| of_reading(error, None))?
            .map_err(malformed)?;
        let mut shapes = BufReader::new(needed("shp")?);
        let shape_bytes_left = read_head(&mut shapes)?;
        Ok(Self { shapes, shape_bytes_left, rows, table, crs, features: 0 })
    }

    fn malformed(&self, rule: String) -> FormatError {
        FormatError::Malformed { format: FORMAT, rule, place: Some(Place::Feature(self.features)) }
    }

    /// The content of the next record, or `None` where the file says that it ends.
    fn record(&mut self) -> Result<Option<Vec<u8>>, FormatError> {
        const RECORD_HEAD_BYTES: u64 = 8;
        if self.shape_bytes_left < RECORD_HEAD_BYTES {
            return Ok(None);
        }
        let mut head = [0; 8];
        self.shapes.read_exact(&mut head).map_err(|error| self.of_reading(error))?;
        let words = Bytes::new(&head[4..]).u32(Big).unwrap_or(0);
        let bytes = u64::from(words) * 2;
        self.shape_bytes_left -= RECORD_HEAD_BYTES;
        if bytes > FEATURE_BYTES_MAX as u64 {
            return Err(
                self.malformed(format!("may have {FEATURE_BYTES_MAX} bytes in one record, not {bytes}"))
            );
        }
        let mut content = Vec::new();
        let read = (&mut self.shapes)
            .take(bytes)
            .read_to_end(&mut content)
            .map_err(|error| self.of_reading(error))? as u64;
        if read < bytes {
            return Err(self.malformed("ends within a record of the .shp".to_owned()));
        }
        self.shape_bytes_left = self.shape_bytes_left.saturating_sub(bytes);
        Ok(Some(content))
    }

    fn of_reading(&self, error: io::Error) -> FormatError {
        of_reading(error, Some(Place::Feature(self.features)))
    }
}

impl FeatureReader for Reader {
    fn next(&mut self) -> Result<Option<Feature>, FormatError> {
        loop {
            self.features += 1;
            let Some(content) = self.record()? else { return Ok(None) };
            if self.features > self.table.rows {
                let rows = self.table.rows;
                return Err(
                    self.malformed(format!("must have a row in its .dbf for each shape, and has {rows}"))
                );
            }
            let row = self.table.row(&mut self.rows).map_err(|error| self.of_reading(error))?;
            let Some(properties) = row else { continue };
            let geometry = shape::read(&content).map_err(|rule| self.malformed(rule))?;
            return Ok(Some(Feature { id: None, geometry, crs: self.crs, properties }));
        }
    }
}

/// Reads the head of a `.shp` and gives the bytes that follow it.
fn read_head(shapes: &mut BufReader<Member>) -> Result<u64, FormatError> {
    let length = shapes.get_ref().len();
    let mut head = [0; HEAD_BYTES];
    shapes
        .read_exact(&mut head)
        .map_err(|_cut| malformed(format!("must have {HEAD_BYTES} bytes in its .shp")))?;
    if Bytes::new(&head).u32(Big) != Some(FILE_CODE) {
        return Err(malformed(format!("must have a .shp that begins with the number {FILE_CODE}")));
    }
    let words = Bytes::new(&head[24..]).u32(Big).unwrap_or(0);
    Ok((u64::from(words) * 2).min(length).saturating_sub(HEAD_BYTES as u64))
}
