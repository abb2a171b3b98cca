//! A part of a raster as a file of its own.

use super::{Compression, Reader, Writer};
use crate::FormatError;
use crate::raster::limits::PIECE_BYTES;
use crate::raster::{Cells, Grid, GridReader as _, GridWriter, Mosaic, Window};
use crate::room::Room;
use std::io::Write;

/// Writes the cells of a window as a GeoTIFF: with the window's place, the same system, the same value of no data and the same scale.
/// A few rows are held at a time. `stop` is asked between them.
///
/// # Errors
/// Where the window leaves the raster, the first fault of the data, or [`FormatError::Stopped`].
pub fn cut(
    reader: &mut Reader,
    window: Window,
    compression: Compression,
    room: &Room<'_>,
    out: &mut dyn Write,
    stop: &dyn Fn() -> bool,
) -> Result<(), FormatError> {
    let whole = reader.grid();
    let transform = whole.transform.map(|transform| transform.moved(window.column.into(), window.row.into()));
    let grid = Grid { width: window.width, height: window.height, transform, ..whole.clone() };
    let row_bytes = u64::from(window.width) * grid.cell_bytes();
    let cheap = u32::try_from(PIECE_BYTES / row_bytes.max(1)).unwrap_or(u32::MAX).max(1);
    let block = reader.block_size().1;
    let mut writer = Box::new(Writer::create(&grid, compression, room, out)?);
    let mut done = 0;
    while done < window.height {
        if stop() {
            return Err(FormatError::Stopped);
        }
        // To an edge of blocks, because each is unpacked whole.
        let row = window.row + done;
        let to_edge = (row.saturating_add(cheap)).div_ceil(block).saturating_mul(block).saturating_sub(row);
        let height = to_edge.min(window.height - done);
        let cells = reader.read_window(Window { row, height, ..window })?;
        writer.write(&Cells { window: Window { column: 0, row: done, ..cells.window }, ..cells })?;
        done += height;
    }
    writer.finish()
}

/// Writes the raster that tiles are a partition of as one GeoTIFF in the layout of a Cloud Optimized GeoTIFF (OGC 21-026): tiled, the directory
/// in front of all cells. It has no overviews, which that standard recommends and does not require. `stop` is asked between rows.
///
/// # Errors
/// Where the tiles do not cover each cell once or are not of a kind, the first fault of their data, or [`FormatError::Stopped`].
pub fn join(
    mut tiles: Mosaic,
    compression: Compression,
    room: &Room<'_>,
    out: &mut dyn Write,
    stop: &dyn Fn() -> bool,
) -> Result<(), FormatError> {
    let mut writer = Box::new(Writer::create(tiles.grid(), compression, room, out)?);
    while let Some(cells) = tiles.next()? {
        if stop() {
            return Err(FormatError::Stopped);
        }
        writer.write(&cells)?;
    }
    writer.finish()
}
