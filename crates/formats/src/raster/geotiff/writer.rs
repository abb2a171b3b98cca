//! Writes tiles.

use super::codec::{Compression, Packer};
use super::form::{Form, Values};
use super::geokeys::GeoKeys;
use super::predictor::Predictor;
use super::{FORMAT, metadata, tags};
use crate::FormatError;
use crate::raster::limits::CELLS_BYTES_MAX;
use crate::raster::samples::{Sample, with_samples};
use crate::raster::{Cells, CellsAre, Grid, GridCrs, GridWriter, Transform};
use crate::room::Room;
use std::fs::File;
use std::io::{self, BufWriter, Seek as _, Write};

/// Cells along the side of a tile, and of one where both sides of the raster are small.
const TILE_SIDE: usize = 512;
const TILE_SIDE_SMALL: usize = 256;

/// Up to here both sides are small.
const SMALL_SIDE_MAX: u32 = 2048;

/// Where a classic TIFF has to end: its offsets have 32 bits.
const CLASSIC_BYTES_MAX: u64 = u32::MAX as u64;

/// Writes a GeoTIFF. It holds one row of tiles; packed tiles lie in a file until all are known.
pub struct Writer<'a> {
    grid: Grid,
    compression: Compression,
    packer: Packer,
    predictor: Predictor,
    side: usize,
    /// Rows of the next row of tiles: band after band, values in the machine's order.
    rows: Vec<u8>,
    /// How many of those are there.
    rows_held: usize,
    rows_done: u32,
    tile: Vec<u8>,
    packed: Vec<u8>,
    spool: BufWriter<File>,
    spooled: u64,
    spooled_max: u64,
    /// Where each tile begins in the spool and how long it is, in the order in which they came: a row of tiles of each band.
    tiles: Vec<(u64, u64)>,
    classic_bytes_max: u64,
    out: &'a mut dyn Write,
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
        let is_small = grid.width.max(grid.height) <= SMALL_SIDE_MAX;
        let side = if is_small { TILE_SIDE_SMALL } else { TILE_SIDE };
        let size = grid.sample_type.bytes();
        let rows = u64::from(grid.width) * grid.cell_bytes() * side as u64;
        let rows =
            usize::try_from(rows).ok().filter(|rows| *rows as u64 <= CELLS_BYTES_MAX).ok_or_else(|| {
                unrepresentable(format!("{} cells of {} bytes in a row", grid.width, grid.cell_bytes()))
            })?;
        Ok(Self {
            grid: grid.clone(),
            compression,
            packer: Packer::new(compression)?,
            predictor: match compression {
                Compression::None => Predictor::None,
                Compression::Deflate | Compression::Zstd if grid.sample_type.is_float() => {
                    Predictor::FloatingPoint
                }
                Compression::Deflate | Compression::Zstd => Predictor::Horizontal,
            },
            side,
            rows: vec![0; rows],
            rows_held: 0,
            rows_done: 0,
            tile: vec![0; side * side * size],
            packed: Vec::new(),
            spool: BufWriter::new(tempfile::tempfile_in(room.scratch)?),
            spooled: 0,
            spooled_max: room.bytes_max,
            tiles: Vec::new(),
            classic_bytes_max: CLASSIC_BYTES_MAX,
            out,
        })
    }

    /// Writes a BigTIFF from this size on.
    #[cfg(test)]
    pub(super) fn with_classic_bytes_max(self, classic_bytes_max: u64) -> Self {
        Self { classic_bytes_max, ..self }
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
                self.tile.fill(0);
                let rows = band.chunks_exact(row_bytes).take(self.rows_held);
                for (tile_row, row) in self.tile.chunks_exact_mut(tile_row_bytes).zip(rows) {
                    tile_row[..end - start].copy_from_slice(&row[start..end]);
                }
                self.predictor.apply(&mut self.tile, tile_row_bytes, size);
                self.packer.pack(&self.tile, &mut self.packed)?;
                self.tiles.push((self.spooled, self.packed.len() as u64));
                self.spooled += self.packed.len() as u64;
                if self.spooled > self.spooled_max {
                    return Err(FormatError::TooLarge { bytes_max: self.spooled_max });
                }
                self.spool.write_all(&self.packed)?;
            }
        }
        self.rows_held = 0;
        Ok(())
    }

    /// Offsets and sizes of the tiles by band, as the directory has them.
    fn tiles_by_band(&self) -> (Vec<u64>, Vec<u64>) {
        let bands = self.grid.bands.len();
        let across = (self.grid.width as usize).div_ceil(self.side);
        let of_band = |band: usize| {
            self.tiles
                .chunks_exact(across * bands)
                .flat_map(move |row| &row[band * across..(band + 1) * across])
        };
        (0..bands).flat_map(of_band).copied().unzip()
    }

    fn entries(&self, offsets: Vec<u64>, byte_counts: Vec<u64>) -> Vec<(u16, Values)> {
        let grid = &self.grid;
        let bands = grid.bands.len();
        let each = |value: u16| Values::Shorts(vec![value; bands]);
        let one = |value: u16| Values::Shorts(vec![value]);
        let side = u16::try_from(self.side).unwrap_or(u16::MAX);
        let planar = if bands > 1 { tags::PLANAR_SEPARATE } else { tags::PLANAR_CHUNKY };
        let mut entries = vec![
            (tags::IMAGE_WIDTH, Values::Longs(vec![grid.width])),
            (tags::IMAGE_LENGTH, Values::Longs(vec![grid.height])),
            (tags::BITS_PER_SAMPLE, each(u16::try_from(grid.sample_type.bytes() * 8).unwrap_or(u16::MAX))),
            (tags::COMPRESSION, one(self.compression.code())),
            (tags::PHOTOMETRIC_INTERPRETATION, one(short(tags::PHOTOMETRIC_BLACK_IS_ZERO))),
            (tags::SAMPLES_PER_PIXEL, one(u16::try_from(bands).unwrap_or(u16::MAX))),
            (tags::PLANAR_CONFIGURATION, one(short(planar))),
            (tags::TILE_WIDTH, one(side)),
            (tags::TILE_LENGTH, one(side)),
            (tags::TILE_OFFSETS, Values::Offsets(offsets)),
            (tags::TILE_BYTE_COUNTS, Values::Offsets(byte_counts)),
            (tags::SAMPLE_FORMAT, each(sample_format(grid))),
        ];
        if self.predictor != Predictor::None {
            entries.push((tags::PREDICTOR, one(self.predictor.code())));
        }
        if bands > 1 {
            // All but the first: of no meaning that TIFF has a name for.
            entries.push((tags::EXTRA_SAMPLES, Values::Shorts(vec![0; bands - 1])));
        }
        if let Some(transform) = &grid.transform {
            entries.extend(transform_entries(transform, grid.cells_are));
        }
        let keys = match &grid.crs {
            Some(GridCrs::Epsg { code, unit }) => Some(GeoKeys::of_epsg(*code, *unit, grid.cells_are)),
            Some(GridCrs::Keys(keys)) => Some(keys.with_cells(grid.cells_are)),
            None if grid.cells_are == CellsAre::Points => Some(GeoKeys::of_points()),
            None => None,
        };
        if let Some(keys) = keys {
            entries.push((tags::GEO_KEY_DIRECTORY, Values::Shorts(keys.directory)));
            if !keys.numbers.is_empty() {
                entries.push((tags::GEO_DOUBLE_PARAMS, Values::Doubles(keys.numbers)));
            }
            if !keys.text.is_empty() {
                entries.push((tags::GEO_ASCII_PARAMS, Values::Text(keys.text)));
            }
        }
        if let Some(xml) = metadata::of_bands(&grid.bands) {
            entries.push((tags::GDAL_METADATA, Values::Text(xml)));
        }
        if let Some(nodata) = grid.nodata {
            entries.push((tags::GDAL_NODATA, Values::Text(metadata::of_nodata(nodata))));
        }
        entries.sort_by_key(|(tag, _)| *tag);
        entries
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
        let (mut offsets, byte_counts) = self.tiles_by_band();
        // The size of the directory does not depend on the offsets in it.
        let entries = self.entries(offsets.clone(), byte_counts.clone());
        let is_big = Form::Classic.tiles_start(&entries) + self.spooled > self.classic_bytes_max;
        let form = if is_big { Form::Big } else { Form::Classic };
        let tiles_start = form.tiles_start(&entries);
        offsets.iter_mut().for_each(|offset| *offset += tiles_start);
        form.write(&self.entries(offsets, byte_counts), self.out)?;
        let mut spool = self.spool.into_inner().map_err(io::IntoInnerError::into_error)?;
        spool.rewind()?;
        io::copy(&mut spool, self.out)?;
        self.out.flush()?;
        Ok(())
    }
}

fn unrepresentable(what: String) -> FormatError {
    FormatError::Unrepresentable { format: FORMAT, what }
}

fn short(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn sample_format(grid: &Grid) -> u16 {
    use crate::raster::SampleType as Type;
    short(match grid.sample_type {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => tags::SAMPLE_FORMAT_UINT,
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => tags::SAMPLE_FORMAT_INT,
        Type::F32 | Type::F64 => tags::SAMPLE_FORMAT_IEEE,
    })
}

fn transform_entries(transform: &Transform, cells_are: CellsAre) -> Vec<(u16, Values)> {
    let transform = match cells_are {
        CellsAre::Areas => *transform,
        CellsAre::Points => transform.moved(0.5, 0.5),
    };
    let Transform { origin: [x, y], column: [a, d], row: [b, e] } = transform;
    if transform.is_north_up() {
        return vec![
            (tags::MODEL_PIXEL_SCALE, Values::Doubles(vec![a, -e, 0.0])),
            (tags::MODEL_TIEPOINT, Values::Doubles(vec![0.0, 0.0, 0.0, x, y, 0.0])),
        ];
    }
    let mut matrix = vec![0.0; 16];
    for (at, value) in [(0, a), (1, b), (3, x), (4, d), (5, e), (7, y), (15, 1.0)] {
        matrix[at] = value;
    }
    vec![(tags::MODEL_TRANSFORMATION, Values::Doubles(matrix))]
}
