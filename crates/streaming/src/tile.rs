//! Where a tile lies in the raster that it was cut out of, and what becomes of the cells that it has in common with its neighbours.

use crate::cut::lost;
use anabranch_formats::raster::geotiff::{self, Compression, Reader};
use anabranch_formats::raster::{GridReader as _, Window};
use anabranch_formats::{FormatError, Room};
use anabranch_model::{ComplexValue, Data, Error};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// Largest tile as a file, in bytes: what lies on the disk for each run under way.
pub(crate) const TILE_BYTES_MAX: u64 = 4 << 30;

/// The place of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TilePlace {
    /// The cells that are its own: all tiles together are the raster.
    pub(crate) own: Window,
    /// The cells that the process is given: `overlap` more on each side, as far as the raster reaches.
    pub(crate) given: Window,
}

impl TilePlace {
    /// In a raster of so many cells.
    pub(crate) fn new(own: Window, overlap: u32, width: u32, height: u32) -> Self {
        let widened = |start: u32, length: u32, side: u32| {
            let first = start.saturating_sub(overlap);
            (first, (start + length).saturating_add(overlap).min(side) - first)
        };
        let (column, given_width) = widened(own.column, own.width, width);
        let (row, given_height) = widened(own.row, own.height, height);
        Self { own, given: Window { column, row, width: given_width, height: given_height } }
    }

    /// Cuts what is not its own off a raster of the given cells. Blocking.
    ///
    /// # Errors
    /// Where it is no GeoTIFF, or has other cells.
    pub(crate) fn trim(&self, value: ComplexValue, folder: &Path) -> Result<ComplexValue, Error> {
        let Self { own, given } = *self;
        if own == given {
            return Ok(value);
        }
        let path = folder.join("own-cells.tif");
        let broken = |error: FormatError| match error {
            FormatError::Io(error) => lost(&path, &error),
            error => Error::process_failed(format!("the overlap can't be cut off what was put out: {error}")),
        };
        let mut reader = Reader::open(&value.data).map_err(broken)?;
        let (width, height) = (reader.grid().width, reader.grid().height);
        if (width, height) != (given.width, given.height) {
            return Err(Error::process_failed(format!(
                "the process put out {width} x {height} cells for a tile of {} x {}: its overlap can't be cut off",
                given.width, given.height
            )));
        }
        let inner = Window { column: own.column - given.column, row: own.row - given.row, ..own };
        std::fs::create_dir_all(folder).map_err(|error| lost(folder, &error))?;
        let mut out = BufWriter::new(File::create(&path).map_err(|error| lost(&path, &error))?);
        let room = Room { scratch: folder, bytes_max: TILE_BYTES_MAX };
        geotiff::cut(&mut reader, inner, Compression::Deflate, &room, &mut out, &|| false).map_err(broken)?;
        out.flush().map_err(|error| lost(&path, &error))?;
        let data = Data::file(&path).map_err(|error| lost(&path, &error))?;
        Ok(ComplexValue { data, ..value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_widened_as_far_as_the_raster_reaches() {
        let own = |column, row, width, height| Window { column, row, width, height };
        let given = |own, overlap| TilePlace::new(own, overlap, 10, 7).given;
        assert_eq!(given(own(3, 3, 3, 2), 1), own(2, 2, 5, 4));
        assert_eq!(given(own(0, 0, 3, 3), 2), own(0, 0, 5, 5));
        assert_eq!(given(own(6, 3, 4, 4), 2), own(4, 1, 6, 6));
        assert_eq!(given(own(0, 0, 10, 7), 256), own(0, 0, 10, 7));
        assert_eq!(given(own(3, 3, 3, 2), 0), own(3, 3, 3, 2));
    }
}
