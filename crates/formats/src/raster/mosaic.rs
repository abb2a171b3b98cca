//! A raster in tiles, each a GeoTIFF of its own, read as one.

use super::geotiff::Reader;
use super::limits::PIECE_BYTES;
use super::samples::{Sample, Samples};
use super::{Cells, Grid, GridReader, Window};
use crate::FormatError;
use anabranch_model::Data;

/// One tile of a [`Mosaic`].
#[derive(Clone, Debug)]
pub struct Tile {
    /// Its place.
    pub window: Window,
    /// A GeoTIFF of just these cells.
    pub data: Data,
}

/// Reads tiles as the raster that they are a partition of. What the raster is besides its size, the first tile says. One tile is open at a
/// time.
pub struct Mosaic {
    grid: Grid,
    /// From top to bottom, then from left to right.
    tiles: Vec<Tile>,
    next_row: u32,
    /// Tiles before this one end above [`Mosaic::next_row`].
    first: usize,
}

impl Mosaic {
    /// Of tiles in any order.
    ///
    /// # Errors
    /// Where there is none, or the first can't be read. Whether they are a partition, and all of a kind, is seen as they are read.
    pub fn open(width: u32, height: u32, mut tiles: Vec<Tile>) -> Result<Self, FormatError> {
        tiles.sort_unstable_by_key(|tile| (tile.window.row, tile.window.column));
        let first = tiles.first().ok_or_else(|| apart("must be one or more"))?;
        let reader = Reader::open(&first.data)?;
        let mut grid = reader.grid().clone();
        check_size(&first.window, &grid)?;
        let place = first.window;
        grid.transform =
            grid.transform.map(|transform| transform.moved(-f64::from(place.column), -f64::from(place.row)));
        (grid.width, grid.height) = (width, height);
        Ok(Self { grid, tiles, next_row: 0, first: 0 })
    }

    /// How many rows are read next: to the end of the first tile that ends, or as many as are cheap.
    fn rows(&self) -> Result<u32, FormatError> {
        let row_bytes = u64::from(self.grid.width) * self.grid.cell_bytes();
        let cheap = u32::try_from(PIECE_BYTES / row_bytes.max(1)).unwrap_or(u32::MAX).max(1);
        let mut rows = u32::MAX;
        for tile in self.at_hand() {
            let left = tile.window.row + tile.window.height - self.next_row;
            let block = if left > cheap { Reader::open(&tile.data)?.block_size().1 } else { 1 };
            // Whole blocks, counted from the tile's start, because each is unpacked whole.
            let inside = self.next_row - tile.window.row;
            let to_edge = (inside + cheap).div_ceil(block).saturating_mul(block) - inside;
            rows = rows.min(left).min(to_edge);
        }
        Ok(rows)
    }

    /// The tiles with cells in the next row.
    fn at_hand(&self) -> impl Iterator<Item = &Tile> {
        let row = self.next_row;
        self.tiles[self.first..]
            .iter()
            .take_while(move |tile| tile.window.row <= row)
            .filter(move |tile| tile.window.row + tile.window.height > row)
    }

    fn check(&self, tile: &Tile, grid: &Grid) -> Result<(), FormatError> {
        check_size(&tile.window, grid)?;
        let whole = &self.grid;
        let is_alike = grid.sample_type == whole.sample_type
            && grid.bands == whole.bands
            && grid.nodata.map(f64::to_bits) == whole.nodata.map(f64::to_bits)
            && grid.crs == whole.crs
            && grid.cells_are == whole.cells_are;
        if !is_alike {
            let Window { column, row, .. } = tile.window;
            return Err(apart(format!(
                "must have the same bands, types of values, value of no data and coordinate reference system, and the one at column {column}, \
                 row {row} has others"
            )));
        }
        let Window { column, row, .. } = tile.window;
        let there = whole.transform.map(|transform| transform.moved(column.into(), row.into()));
        let is_there = match (there, grid.transform) {
            (Some(there), Some(is)) => there.is_same(&is, grid.width, grid.height),
            (None, None) => true,
            _ => false,
        };
        if is_there {
            return Ok(());
        }
        Err(apart(format!("must lie where they belong, and the one at column {column}, row {row} does not")))
    }
}

impl GridReader for Mosaic {
    fn grid(&self) -> &Grid {
        &self.grid
    }

    fn next(&mut self) -> Result<Option<Cells>, FormatError> {
        if self.next_row == self.grid.height {
            return Ok(None);
        }
        let is_over = |tile: &Tile| tile.window.row + tile.window.height <= self.next_row;
        self.first += self.tiles[self.first..].iter().take_while(|tile| is_over(tile)).count();
        let next_row = self.next_row;
        let gap = |column| {
            apart(format!("must cover each cell once, and don't at column {column}, row {next_row}"))
        };
        let rows = match self.at_hand().next() {
            Some(_) => self.rows()?,
            None => return Err(gap(0)),
        };
        let window = Window { column: 0, row: next_row, width: self.grid.width, height: rows };
        if rows > self.grid.height - next_row {
            return Err(apart(format!("may reach to row {}, and do farther", self.grid.height)));
        }
        let bytes = self.grid.bytes(window).ok_or_else(|| apart("must be of rows below 256 MiB"))?;
        let count = bytes / self.grid.sample_type.bytes();
        let mut samples = Samples::filled(self.grid.sample_type, 0.0, count);
        let mut column = 0;
        let mut at_hand: Vec<&Tile> = self.at_hand().collect();
        at_hand.sort_unstable_by_key(|tile| tile.window.column);
        for tile in at_hand {
            if tile.window.column != column || tile.window.width > self.grid.width - column {
                return Err(gap(column));
            }
            let mut reader = Reader::open(&tile.data)?;
            self.check(tile, reader.grid())?;
            let part =
                Window { column: 0, row: next_row - tile.window.row, width: tile.window.width, height: rows };
            let cells = reader.read_window(part)?;
            put(&cells, column as usize, &mut samples, self.grid.width as usize);
            column += tile.window.width;
        }
        if column < self.grid.width {
            return Err(gap(column));
        }
        // A tile that begins above the next piece's start, but not in this piece, would be seen nowhere.
        self.next_row += rows;
        let begins_within = |tile: &&Tile| tile.window.row > next_row && tile.window.row < self.next_row;
        if let Some(tile) = self.tiles[self.first..].iter().find(begins_within) {
            return Err(apart(format!(
                "must cover each cell once, and don't at column {}, row {}",
                tile.window.column, tile.window.row
            )));
        }
        Ok(Some(Cells { window, samples }))
    }
}

fn check_size(window: &Window, grid: &Grid) -> Result<(), FormatError> {
    if (window.width, window.height) == (grid.width, grid.height) {
        return Ok(());
    }
    Err(apart(format!(
        "must have the size of their places, and the one of {} x {} cells at column {}, row {} has {} x {}",
        window.width, window.height, window.column, window.row, grid.width, grid.height
    )))
}

/// Copies cells to a column of wider rows, band by band.
fn put(cells: &Cells, column: usize, to: &mut Samples, to_width: usize) {
    fn copy<T: Sample>(from: &[T], window: Window, column: usize, to: &mut [T], to_width: usize) {
        let rows = from.chunks_exact((window.width as usize).max(1));
        for (from, to) in rows.zip(to.chunks_exact_mut(to_width.max(1))) {
            to[column..column + from.len()].copy_from_slice(from);
        }
    }
    macro_rules! of_same_type {
        ($($kind:ident),*) => {
            match (&cells.samples, to) {
                $((Samples::$kind(from), Samples::$kind(to)) => copy(from, cells.window, column, to, to_width),)*
                // Tiles of another type were refused.
                _ => {}
            }
        };
    }
    of_same_type!(U8, I8, U16, I16, U32, I32, U64, I64, F32, F64);
}

fn apart(rule: impl Into<String>) -> FormatError {
    FormatError::Malformed { format: "tiles of GeoTIFF", rule: rule.into(), place: None }
}

#[cfg(test)]
mod tests;
