//! Reads line after line.

use super::FORMAT;
use super::columns::{Columns, Place as Where};
use crate::crs::Crs;
use crate::vector::limits::{COLUMNS_MAX, FEATURE_BYTES_MAX};
use crate::vector::{
    Feature, FeatureReader, FormatError, Geometry, Place, Position, Property, geojson, names, wkt,
};
use anabranch_model::Data;
use csv::StringRecord;
use std::io::{self, BufRead as _, BufReader, Cursor, Read};

/// Bytes of the first line: thousands of names.
const HEAD_BYTES_MAX: u64 = 1 << 20;

/// Reads CSV.
pub struct Reader {
    records: csv::Reader<Limited>,
    columns: Columns,
    record: StringRecord,
}

impl Reader {
    /// Reads the first line.
    ///
    /// # Errors
    /// Where it names no columns of coordinates.
    pub fn open(data: &Data) -> Result<Self, FormatError> {
        let mut bytes = BufReader::new(data.open()?);
        let mut head = Vec::new();
        (&mut bytes).take(HEAD_BYTES_MAX).read_until(b'\n', &mut head)?;
        if head.len() as u64 == HEAD_BYTES_MAX {
            return Err(malformed(Some(1), format!("may have {HEAD_BYTES_MAX} bytes in its first line")));
        }
        let mark = "\u{feff}".as_bytes();
        if head.starts_with(mark) {
            head.drain(..mark.len());
        }
        let delimiter = delimiter(&head);
        let inner = Box::new(Cursor::new(head).chain(bytes));
        let mut records =
            csv::ReaderBuilder::new().delimiter(delimiter).from_reader(Limited { inner, bytes: 0 });
        let names = records.headers().map_err(|error| of_csv(&error))?;
        if names.len() > COLUMNS_MAX {
            let rule = format!("may have {COLUMNS_MAX} columns, not {}", names.len());
            return Err(malformed(Some(1), rule));
        }
        let names = names::unique(names.iter().map(|name| name.trim().to_owned()));
        let columns = Columns::find(&names).map_err(|rule| malformed(Some(1), rule))?;
        Ok(Self { records, columns, record: StringRecord::new() })
    }

    fn geometry(&self, crs: &mut Option<Crs>) -> Result<Option<Geometry>, String> {
        let cell = |index: usize| self.record.get(index).unwrap_or_default().trim();
        match self.columns.place {
            Where::Geometry(index) => {
                let text = cell(index);
                if text.is_empty() {
                    return Ok(None);
                }
                if text.starts_with('{') || text == "null" {
                    return geojson::read_geometry(text);
                }
                let (own, geometry) = wkt::read_text(text)?;
                *crs = own.or(*crs);
                Ok(geometry)
            }
            Where::Coordinates { x, y, z } => {
                let (x, y, z) = (cell(x), cell(y), z.map(cell).unwrap_or_default());
                if x.is_empty() && y.is_empty() {
                    return Ok(None);
                }
                let z = if z.is_empty() { None } else { Some(coordinate(z)?) };
                Ok(Some(Geometry::Point(Position { x: coordinate(x)?, y: coordinate(y)?, z })))
            }
        }
    }
}

impl FeatureReader for Reader {
    fn next(&mut self) -> Result<Option<Feature>, FormatError> {
        self.records.get_mut().bytes = 0;
        if !self.records.read_record(&mut self.record).map_err(|error| of_csv(&error))? {
            return Ok(None);
        }
        let line = self.record.position().map(csv::Position::line);
        let malformed = |rule: String| malformed(line, rule);
        let mut crs = match self.columns.crs.and_then(|index| self.record.get(index)).map(str::trim) {
            None | Some("") => None,
            Some(name) => Some(Crs::parse(name)?.crs),
        };
        let geometry = self.geometry(&mut crs).map_err(malformed)?;
        let properties = self
            .columns
            .properties
            .iter()
            .map(|(index, name)| {
                (name.clone(), Property::of_text(self.record.get(*index).unwrap_or_default()))
            })
            .collect();
        Ok(Some(Feature { id: None, geometry, crs: crs.unwrap_or(Crs::Crs84), properties }))
    }
}

/// The delimiter that the first line has most of, outside of quotes.
fn delimiter(head: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    for byte in head {
        match byte {
            b'"' => quoted = !quoted,
            _ if quoted => {}
            _ => counts
                .iter_mut()
                .filter(|(delimiter, _)| delimiter == byte)
                .for_each(|(_, count)| *count += 1),
        }
    }
    // The last of equals is the maximum: the comma, where there are none.
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(delimiter, _)| *delimiter)
}

fn coordinate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("must have numbers as coordinates, not {:?}", names::cut(text, 100))),
    }
}

/// A reader that ends a record which never ends, as one opened by a quotation mark that nothing closes.
struct Limited {
    inner: Box<dyn Read>,
    /// Since the last record.
    bytes: u64,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes > FEATURE_BYTES_MAX as u64 {
            return Err(io::Error::other(TooLong));
        }
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a record has more than {FEATURE_BYTES_MAX} bytes")]
struct TooLong;

fn malformed(line: Option<u64>, rule: String) -> FormatError {
    FormatError::Malformed { format: FORMAT, rule, place: line.map(Place::Line) }
}

fn of_csv(error: &csv::Error) -> FormatError {
    let line = error.position().map(csv::Position::line);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => malformed(
            line,
            format!("must have {expected_len} cells in each line, as in its first, not {len}"),
        ),
        csv::ErrorKind::Utf8 { err, .. } => {
            malformed(line, format!("must be UTF-8, and its cell {} is not", err.field() + 1))
        }
        csv::ErrorKind::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<TooLong>()) => {
            malformed(line, format!("may have {FEATURE_BYTES_MAX} bytes in one record"))
        }
        csv::ErrorKind::Io(error) => io::Error::new(error.kind(), error.to_string()).into(),
        _ => malformed(line, format!("can't be read ({error})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_the_delimiter() {
        for (head, expected) in
            [("x,y", b','), ("x;y", b';'), ("x\ty", b'\t'), ("\"a;b;c\",x,y", b','), ("wkt", b',')]
        {
            assert_eq!(delimiter(head.as_bytes()), expected, "{head:?}");
        }
    }
}
