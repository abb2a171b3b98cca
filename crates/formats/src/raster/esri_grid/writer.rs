//! Writes rows.

use super::{FORMAT, NODATA_DEFAULT};
use crate::FormatError;
use crate::raster::samples::{Sample, with_samples};
use crate::raster::{Band, Cells, Grid, GridWriter, Transform};
use std::io::{self, Write};

/// How far the last edge may be from where it is if cells that are nearly square are written as square ones, in cells.
const EDGE_CELLS_MAX: f64 = 0.01;

/// Bytes of text that are collected before they are written.
const BUFFER_BYTES: usize = 64 << 10;

/// Writes an Esri ASCII grid. It holds nothing.
pub struct Writer<'a> {
    /// What values mean, where that isn't what is stored.
    band: Option<Band>,
    width: usize,
    rows_left: u32,
    /// As stored.
    nodata: Option<f64>,
    /// As written.
    nodata_text: String,
    text: Vec<u8>,
    out: &'a mut dyn Write,
}

impl<'a> Writer<'a> {
    /// Writes the head. A raster that is nowhere is written from 0, 0 with cells of 1.
    ///
    /// # Errors
    /// Where there are several bands, or the cells are not square, with rows from west to east and columns from north to south.
    pub fn create(grid: &Grid, out: &'a mut dyn Write) -> Result<Self, FormatError> {
        let [band] = grid.bands[..] else {
            return Err(unrepresentable(format!("{} bands, only one", grid.bands.len())));
        };
        let height = f64::from(grid.height);
        let nowhere = Transform { origin: [0.0, height], column: [1.0, 0.0], row: [0.0, -1.0] };
        let transform = grid.transform.unwrap_or(nowhere);
        if !transform.is_north_up() {
            return Err(unrepresentable(
                "rows that don't run from west to east, below each other".to_owned(),
            ));
        }
        let (cell_width, cell_height) = (transform.column[0], -transform.row[1]);
        let cells = f64::from(grid.width.max(grid.height));
        if (cell_width - cell_height).abs() * cells > EDGE_CELLS_MAX * cell_width {
            return Err(unrepresentable(format!(
                "cells that are not square ({cell_width} by {cell_height})"
            )));
        }
        let is_scaled = band != Band::AS_STORED;
        let own_nodata = grid.nodata.filter(|nodata| nodata.is_finite() && !is_scaled);
        let nodata = own_nodata.unwrap_or(NODATA_DEFAULT);
        let mut text = Vec::new();
        put(&mut text, nodata)?;
        let nodata_text = String::from_utf8_lossy(&text).into_owned();
        let [x, y] = transform.at(0.0, height);
        write!(
            out,
            "ncols {}\nnrows {}\nxllcorner {x}\nyllcorner {y}\ncellsize {cell_width}\n",
            grid.width, grid.height
        )?;
        if grid.nodata.is_some() || grid.sample_type.is_float() {
            writeln!(out, "NODATA_value {nodata_text}")?;
        }
        Ok(Self {
            band: is_scaled.then_some(band),
            width: grid.width as usize,
            rows_left: grid.height,
            nodata: grid.nodata,
            nodata_text,
            text: Vec::with_capacity(2 * BUFFER_BYTES),
            out,
        })
    }

    fn write_row<T: Sample>(&mut self, row: &[T]) -> io::Result<()> {
        for (column, value) in row.iter().enumerate() {
            if column > 0 {
                self.text.push(b' ');
            }
            let number = value.number();
            if number.is_nan() || self.nodata == Some(number) {
                self.text.extend_from_slice(self.nodata_text.as_bytes());
            } else if let Some(Band { scale, offset }) = self.band {
                put(&mut self.text, number * scale + offset)?;
            } else {
                put(&mut self.text, *value)?;
            }
            if self.text.len() >= BUFFER_BYTES {
                self.out.write_all(&self.text)?;
                self.text.clear();
            }
        }
        self.text.push(b'\n');
        Ok(())
    }
}

impl GridWriter for Writer<'_> {
    fn write(&mut self, cells: &Cells) -> Result<(), FormatError> {
        with_samples!(&cells.samples, values => {
            for row in values.chunks_exact(self.width) {
                self.write_row(row)?;
                self.rows_left = self.rows_left.saturating_sub(1);
            }
        });
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), FormatError> {
        if self.rows_left > 0 {
            return Err(unrepresentable(format!("a raster of which {} rows are missing", self.rows_left)));
        }
        self.out.write_all(&self.text)?;
        self.out.flush()?;
        Ok(())
    }
}

fn put<T: Sample>(text: &mut Vec<u8>, value: T) -> io::Result<()> {
    let number = value.number();
    // As many digits as read back the same; no rows of zeros.
    if number == 0.0 || (1e-5..1e16).contains(&number.abs()) || number.is_infinite() {
        write!(text, "{value}")
    } else {
        write!(text, "{value:e}")
    }
}

fn unrepresentable(what: String) -> FormatError {
    FormatError::Unrepresentable { format: FORMAT, what }
}
