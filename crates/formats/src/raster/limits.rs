//! Limits that all raster formats share.

/// Cells along one side: GDAL counts them in 31 bits too.
pub(super) const SIDE_MAX: u32 = 0x7fff_ffff;

/// Bands of a raster: a hyperspectral sensor has hundreds, a year of days 366.
pub(super) const BANDS_MAX: usize = 4096;

/// Bytes of cells that are held at a time: a row of tiles 512 cells high, 250,000 wide, in 16 bits.
pub(super) const CELLS_BYTES_MAX: u64 = 256 << 20;

/// Bytes of cells that readers give at a time where rows are cheaper than that.
pub(super) const PIECE_BYTES: u64 = 4 << 20;
