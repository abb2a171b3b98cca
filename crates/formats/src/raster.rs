//! Raster data: grids of cells, and the formats they are read from and written to.
//!
//! A raster is never held whole. Its [`Grid`] says what it is; its cells come from a [`GridReader`] as [`Cells`], a few full rows at a
//! time from top to bottom, and go to a [`GridWriter`] in the same way. [`geotiff::Reader`] also reads any [`Window`].
//!
//! A raster is cut by [`tiles`] or [`growing_tiles`] and [`geotiff::cut`], and put together again by a [`Mosaic`].

mod convert;
pub mod esri_grid;
mod format;
#[doc(hidden)]
pub mod fuzz;
pub mod geotiff;
mod grid;
mod limits;
mod mosaic;
mod picture;
mod samples;
#[cfg(test)]
mod testing;
mod tiling;

pub use convert::{convert, create, open};
pub use format::RasterFormat;
pub use grid::{Band, Cells, CellsAre, Grid, GridCrs, Transform, Window};
pub use mosaic::{Mosaic, Tile};
pub use picture::picture;
pub use samples::{SampleType, Samples};
pub use tiling::{growing_tiles, tiles};

use crate::FormatError;

/// Gives the cells of a raster, from top to bottom.
pub trait GridReader {
    /// What the raster is.
    fn grid(&self) -> &Grid;

    /// The next full rows, as many as are cheap to read together; `None` at the end.
    ///
    /// # Errors
    /// The first fault of the data; nothing is to be read after it.
    fn next(&mut self) -> Result<Option<Cells>, FormatError>;
}

/// Takes the cells of a raster, from top to bottom.
pub trait GridWriter {
    /// Writes the next full rows, any number of them, in the type of samples that the grid says.
    ///
    /// # Errors
    /// Where the format can't hold them, or the bytes can't be written.
    fn write(&mut self, cells: &Cells) -> Result<(), FormatError>;

    /// Writes what comes after the last row.
    ///
    /// # Errors
    /// Where rows are missing, or the bytes can't be written.
    fn finish(self: Box<Self>) -> Result<(), FormatError>;
}
