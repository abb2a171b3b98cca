//! Reads rows.

use super::head::Head;
use super::text::{self, Words};
use super::{FORMAT, NODATA_DEFAULT, malformed};
use crate::FormatError;
use crate::raster::limits::{CELLS_BYTES_MAX, PIECE_BYTES};
use crate::raster::samples::{Sample, with_samples};
use crate::raster::{Band, Cells, CellsAre, Grid, GridReader, SampleType, Samples, Window};
use anabranch_model::Data;

/// Values between two questions whether to go on.
const VALUES_BETWEEN_STOPS: u64 = 1 << 20;

/// Reads an Esri ASCII grid. It holds a few rows.
pub struct Reader {
    words: Words,
    /// The value that ended the head.
    first: Option<f64>,
    grid: Grid,
    next_row: u32,
}

impl Reader {
    /// Reads all of it once, for the type of its values. `stop` is asked again and again whether to go on.
    ///
    /// # Errors
    /// The first fault of the data, or [`FormatError::Stopped`].
    pub fn open(data: &Data, stop: &dyn Fn() -> bool) -> Result<Self, FormatError> {
        let mut words = Words::new(data.open()?);
        let head = Head::read(&mut words)?;
        let cells = u64::from(head.width) * u64::from(head.height);
        // A digit and a space each.
        if cells.saturating_mul(2) - 1 > data.len() {
            let Head { width, height, .. } = head;
            return Err(malformed(
                format!("must have {width} x {height} values, and {} bytes can't hold them", data.len()),
                words.line(),
            ));
        }
        let nodata = head.nodata.unwrap_or(NODATA_DEFAULT);
        let mut found = Found::of(head.first);
        let mut has_nodata = head.nodata.is_some() || head.first == nodata;
        for read in 1..cells {
            if read % VALUES_BETWEEN_STOPS == 0 && stop() {
                return Err(FormatError::Stopped);
            }
            let Some(word) = words.next()? else {
                return Err(malformed(format!("must have {cells} values, not {read}"), words.line()));
            };
            let Some(value) = text::number(word) else {
                let word = text::quoted(word);
                return Err(malformed(format!("must have numbers as values, not {word}"), words.line()));
            };
            found.add(value);
            has_nodata |= value == nodata;
        }
        if words.next()?.is_some() {
            return Err(malformed(format!("must have {cells} values, and has more"), words.line()));
        }
        if has_nodata {
            found.add(nodata);
        }
        let sample_type = found.sample_type();
        let grid = Grid {
            width: head.width,
            height: head.height,
            sample_type,
            bands: vec![Band::AS_STORED],
            nodata: has_nodata.then(|| sample_type.stored(nodata)),
            transform: Some(head.transform),
            cells_are: CellsAre::Areas,
            crs: None,
        };
        let mut words = Words::new(data.open()?);
        let first = Some(Head::read(&mut words)?.first);
        Ok(Self { words, first, grid, next_row: 0 })
    }

    fn fill<T: Sample>(&mut self, values: &mut [T]) -> Result<(), FormatError> {
        for to in values {
            let value = match self.first.take() {
                Some(first) => first,
                None => self.words.next()?.and_then(text::number).ok_or_else(|| {
                    malformed("must have the values that it had when it was first read", self.words.line())
                })?,
            };
            *to = T::nearest(value);
        }
        Ok(())
    }
}

impl GridReader for Reader {
    fn grid(&self) -> &Grid {
        &self.grid
    }

    fn next(&mut self) -> Result<Option<Cells>, FormatError> {
        let left = self.grid.height - self.next_row;
        if left == 0 {
            return Ok(None);
        }
        let row_bytes = u64::from(self.grid.width) * self.grid.cell_bytes();
        let cheap = u32::try_from(PIECE_BYTES / row_bytes).unwrap_or(u32::MAX).max(1);
        let window =
            Window { column: 0, row: self.next_row, width: self.grid.width, height: cheap.min(left) };
        let bytes = self.grid.bytes(window).ok_or_else(|| FormatError::Malformed {
            format: FORMAT,
            rule: format!("may have at most {CELLS_BYTES_MAX} bytes in a row, not {row_bytes}"),
            place: None,
        })?;
        let sample_type = self.grid.sample_type;
        let mut samples = Samples::filled(sample_type, 0.0, bytes / sample_type.bytes());
        with_samples!(&mut samples, values => self.fill(values)?);
        self.next_row += window.height;
        Ok(Some(Cells { window, samples }))
    }
}

/// What the values so far are.
struct Found {
    lowest: f64,
    highest: f64,
    are_whole: bool,
    are_single: bool,
}

impl Found {
    fn of(value: f64) -> Self {
        let mut found = Self { lowest: value, highest: value, are_whole: true, are_single: true };
        found.add(value);
        found
    }

    fn add(&mut self, value: f64) {
        self.lowest = self.lowest.min(value);
        self.highest = self.highest.max(value);
        // There is no zero with a sign among whole numbers.
        self.are_whole &= value.fract() == 0.0 && (value != 0.0 || value.is_sign_positive());
        self.are_single &= is_single(value);
    }

    /// The smallest type that holds them.
    fn sample_type(&self) -> SampleType {
        let fit = |lower: f64, upper: f64| self.are_whole && self.lowest >= lower && self.highest <= upper;
        if fit(0.0, 255.0) {
            SampleType::U8
        } else if fit(-32768.0, 32767.0) {
            SampleType::I16
        } else if fit(f64::from(i32::MIN), f64::from(i32::MAX)) {
            SampleType::I32
        } else if self.are_single {
            SampleType::F32
        } else {
            SampleType::F64
        }
    }
}

/// Single precision gives the same number back, as it is or as it is written.
fn is_single(value: f64) -> bool {
    let stored = SampleType::F32.stored(value);
    #[allow(clippy::cast_possible_truncation)] // it is one of single precision
    let as_written = || (stored as f32).to_string().parse() == Ok(value);
    stored == value || value.is_nan() || (stored.is_finite() && as_written())
}
