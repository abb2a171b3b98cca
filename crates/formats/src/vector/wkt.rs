//! Well-known text (OGC 06-103r4 section 7), one geometry a line.
//!
//! Accepted on purpose: EWKT, which names a system (`SRID=25832;POINT(…)`), empty lines, measures, which are left out. There are no
//! properties: what is written to well-known text loses them. Coordinates stand in the order x, y, as everybody writes them.

mod text;

pub(super) use text::{read as read_text, write as write_text};

use super::{Feature, FeatureReader, FeatureWriter, FormatError, Place};
use crate::crs::Crs;
use anabranch_model::Data;
use std::io::{BufRead, BufReader, Read, Write};

const FORMAT: &str = "WKT";

/// Bytes of one line: a coastline in centimetres.
const LINE_BYTES_MAX: u64 = crate::geojson::FEATURE_BYTES_MAX as u64;

/// Reads well-known text.
pub struct Reader {
    bytes: BufReader<Box<dyn Read + Send>>,
    line: u64,
}

impl Reader {
    /// Reads from the start.
    ///
    /// # Errors
    /// Where the data can't be read.
    pub fn open(data: &Data) -> Result<Self, FormatError> {
        Ok(Self { bytes: BufReader::new(data.open()?), line: 0 })
    }

    fn malformed(&self, rule: impl Into<String>) -> FormatError {
        FormatError::Malformed { format: FORMAT, rule: rule.into(), place: Some(Place::Line(self.line)) }
    }
}

impl FeatureReader for Reader {
    fn next(&mut self) -> Result<Option<Feature>, FormatError> {
        loop {
            self.line += 1;
            let mut line = Vec::new();
            if (&mut self.bytes).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            if line.len() as u64 > LINE_BYTES_MAX {
                return Err(self.malformed(format!("may have {LINE_BYTES_MAX} bytes in a line")));
            }
            let text = str::from_utf8(&line).map_err(|_invalid| self.malformed("must be UTF-8"))?;
            let text = text.trim_start_matches('\u{feff}').trim();
            if text.is_empty() {
                continue;
            }
            let (crs, geometry) = read_text(text).map_err(|rule| self.malformed(rule))?;
            let crs = crs.unwrap_or(Crs::Crs84);
            return Ok(Some(Feature { id: None, geometry, crs, properties: Vec::new() }));
        }
    }
}

/// Writes well-known text, or EWKT where the system is another than CRS84; features without a geometry as an empty collection.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
}

impl<'a> Writer<'a> {
    /// Writes to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out }
    }
}

impl FeatureWriter for Writer<'_> {
    fn write(&mut self, feature: &Feature) -> Result<(), FormatError> {
        if let Crs::Epsg(code) = feature.crs {
            write!(self.out, "SRID={};", code.code())?;
        }
        match &feature.geometry {
            Some(geometry) => writeln!(self.out, "{}", write_text(geometry))?,
            None => writeln!(self.out, "GEOMETRYCOLLECTION EMPTY")?,
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), FormatError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, position};
    use super::*;
    use crate::vector::Geometry;

    fn read(text: &str) -> Result<Vec<Feature>, FormatError> {
        testing::read(|data| Ok(Box::new(Reader::open(data)?)), text.as_bytes())
    }

    #[test]
    fn lines_are_geometries_and_the_fault_names_its_line() {
        let features =
            read("\u{feff}POINT (1 2)\n\nSRID=25832;LINESTRING Z (1 2 3, 4 5 6)\r\nPOINT EMPTY").unwrap();
        assert_eq!(features.len(), 3);
        assert_eq!(features[0].geometry, Some(Geometry::Point(position(1.0, 2.0, None))));
        assert_eq!(features[1].crs, Crs::epsg(25832).unwrap());
        assert_eq!((features[2].geometry.clone(), features[2].crs), (None, Crs::Crs84));
        let error = read("POINT (1 2)\nPOINT (1").unwrap_err().to_string();
        assert!(error.contains("WKT data") && error.ends_with("(in line 2)"), "{error}");
        let deep = "GEOMETRYCOLLECTION (".repeat(100_000);
        assert!(read(&deep).is_err());
    }

    #[test]
    fn what_is_written_is_read_back() {
        for z in [None, Some(7.5)] {
            let mut geometries = testing::groups(z).concat();
            geometries.push(testing::collection(z));
            let mut features = testing::features(geometries);
            let bytes = testing::write(|_, _, out| Ok(Box::new(Writer::new(out))), &features).unwrap();
            features.iter_mut().for_each(|feature| feature.properties.clear());
            assert_eq!(read(str::from_utf8(&bytes).unwrap()).unwrap(), features);
        }
    }
}
