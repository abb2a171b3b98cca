//! Writes rows of cells as tiles.

use super::codec::Compression;
use super::tile_writer::{TilePacker, TileWriter, tile_side};
use super::unrepresentable;
use crate::FormatError;
use crate::raster::limits::CELLS_BYTES_MAX;
use crate::raster::samples::{Sample, with_samples};
use crate::raster::{Cells, Grid, GridWriter};
use crate::room::Room;
use std::io::Write;

/// Writes a GeoTIFF. It holds one row of tiles; packed tiles lie in a file until all are known.
pub struct Writer<'a> {
    grid: Grid,
    packer: TilePacker,
    tiles: TileWriter<'a>,
    side: usize,
    /// Rows of the next row of tiles: band after band, values in the machine's order.
    rows: Vec<u8>,
    /// How many of those are there.
    rows_held: usize,
    rows_done: u32,
    packed: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Begins a file; there is `room` for the tiles until all are known.
    ///
    /// # Errors
    /// Where a row of tiles is larger than 256 MiB, or the file can't be made.
    pub fn create(
        grid: &Grid,
        compression: Compression,
        room: &Room<'_>,
        out: &'a mut dyn Write,
    ) -> Result<Self, FormatError> {
        let side = usize::from(tile_side(grid));
        let rows = u64::from(grid.width) * grid.cell_bytes() * side as u64;
        let rows =
            usize::try_from(rows).ok().filter(|rows| *rows as u64 <= CELLS_BYTES_MAX).ok_or_else(|| {
                unrepresentable(format!("{} cells of {} bytes in a row", grid.width, grid.cell_bytes()))
            })?;
        Ok(Self {
            grid: grid.clone(),
            packer: TilePacker::new(grid, compression)?,
            tiles: TileWriter::create(grid, compression, room, out)?,
            side,
            rows: vec![0; rows],
            rows_held: 0,
            rows_done: 0,
            packed: Vec::new(),
        })
    }

    /// Writes a BigTIFF from this size on.
    #[cfg(test)]
    pub(super) fn with_classic_bytes_max(self, classic_bytes_max: u64) -> Self {
        Self { tiles: self.tiles.with_classic_bytes_max(classic_bytes_max), ..self }
    }

    fn take_row<T: Sample>(&mut self, cells: &[T], row: usize, height: usize) {
        let size = size_of::<T>();
        let width = self.grid.width as usize;
        for band in 0..self.grid.bands.len() {
            let from = (band * height + row) * width;
            let to = (band * self.side + self.rows_held) * width * size;
            let bytes = self.rows[to..to + width * size].chunks_exact_mut(size);
            bytes.zip(&cells[from..from + width]).for_each(|(bytes, value)| value.to_bytes(bytes));
        }
        self.rows_held += 1;
    }

    /// Packs the rows that are held into tiles.
    fn spool_tiles(&mut self) -> Result<(), FormatError> {
        let size = self.grid.sample_type.bytes();
        let row_bytes = self.grid.width as usize * size;
        let tile_row_bytes = self.side * size;
        for band in self.rows.chunks_exact(row_bytes * self.side) {
            for start in (0..row_bytes).step_by(tile_row_bytes) {
                let end = (start + tile_row_bytes).min(row_bytes);
                let rows = band.chunks_exact(row_bytes).take(self.rows_held).map(|row| &row[start..end]);
                self.packer.pack_rows(rows, &mut self.packed)?;
                self.tiles.push(&self.packed)?;
            }
        }
        self.rows_held = 0;
        Ok(())
    }
}

impl GridWriter for Writer<'_> {
    fn write(&mut self, cells: &Cells) -> Result<(), FormatError> {
        let grid = &self.grid;
        let window = cells.window;
        let next_row = self.rows_done;
        let fits = window.column == 0
            && window.width == grid.width
            && window.row == next_row
            && window.height <= grid.height - next_row
            && cells.samples.sample_type() == grid.sample_type
            && grid.bytes(window) == Some(cells.samples.len() * grid.sample_type.bytes());
        if !fits {
            return Err(unrepresentable(format!("{window:?} of a raster where row {next_row} is next")));
        }
        for row in 0..window.height as usize {
            with_samples!(&cells.samples, values => self.take_row(values, row, window.height as usize));
            self.rows_done += 1;
            if self.rows_held == self.side || self.rows_done == self.grid.height {
                self.spool_tiles()?;
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), FormatError> {
        if self.rows_done < self.grid.height {
            let (done, height) = (self.rows_done, self.grid.height);
            return Err(unrepresentable(format!("{done} of {height} rows")));
        }
        self.tiles.finish()
    }
}
