//! Packed tiles, and the file that they become.

use super::codec::{Compression, Packer};
use super::form::{Form, Values};
use super::geokeys::GeoKeys;
use super::predictor::Predictor;
use super::{metadata, tags};
use crate::FormatError;
use crate::raster::samples::{Sample, with_samples};
use crate::raster::{CellsAre, Grid, GridCrs, Samples, Transform};
use crate::room::Room;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek as _, Write};

/// Cells along the side of a tile, and of one where both sides of the raster are small.
const TILE_SIDE: u16 = 512;
const TILE_SIDE_SMALL: u16 = 256;

/// Up to here both sides are small.
const SMALL_SIDE_MAX: u32 = 2048;

/// Where a classic TIFF has to end: its offsets have 32 bits.
const CLASSIC_BYTES_MAX: u64 = u32::MAX as u64;

/// How much is copied from the spool at once, in bytes.
const COPY_BYTES: usize = 1 << 20;

/// Packs tiles, apart from the file that they go to: several threads can have one each.
pub struct TilePacker {
    packer: Packer,
    predictor: Predictor,
    side: usize,
    sample_bytes: usize,
    tile: Vec<u8>,
}

impl TilePacker {
    /// For the tiles of a raster.
    ///
    /// # Errors
    /// Where the codec can't be set up.
    pub fn new(grid: &Grid, compression: Compression) -> Result<Self, FormatError> {
        let (side, sample_bytes) = (usize::from(tile_side(grid)), grid.sample_type.bytes());
        Ok(Self {
            packer: Packer::new(compression)?,
            predictor: predictor(grid, compression),
            side,
            sample_bytes,
            tile: vec![0; side * side * sample_bytes],
        })
    }

    /// Packs rows of `width` values, which are cells of one band: at most a tile wide and a tile high, fewer at the ends of the raster.
    ///
    /// # Errors
    /// Where they are more than a tile holds, or of another type.
    pub fn pack(&mut self, samples: &Samples, width: usize) -> Result<Vec<u8>, FormatError> {
        let fits = samples.sample_type().bytes() == self.sample_bytes
            && (1..=self.side).contains(&width)
            && samples.len() <= width * self.side;
        if !fits {
            return Err(super::unrepresentable(format!(
                "{} cells in rows of {width} in a tile",
                samples.len()
            )));
        }
        with_samples!(samples, values => self.fill(values, width));
        let mut packed = Vec::new();
        self.pack_tile(&mut packed)?;
        Ok(packed)
    }

    fn fill<T: Sample>(&mut self, values: &[T], width: usize) {
        self.tile.fill(0);
        let rows = self.tile.chunks_exact_mut(self.side * size_of::<T>());
        for (row, values) in rows.zip(values.chunks(width)) {
            let bytes = row.chunks_exact_mut(size_of::<T>());
            bytes.zip(values).for_each(|(bytes, value)| value.to_bytes(bytes));
        }
    }

    /// Packs rows of bytes in the machine's order.
    pub(super) fn pack_rows<'r>(
        &mut self,
        rows: impl Iterator<Item = &'r [u8]>,
        packed: &mut Vec<u8>,
    ) -> io::Result<()> {
        self.tile.fill(0);
        for (tile_row, row) in self.tile.chunks_exact_mut(self.side * self.sample_bytes).zip(rows) {
            tile_row[..row.len()].copy_from_slice(row);
        }
        self.pack_tile(packed)
    }

    fn pack_tile(&mut self, packed: &mut Vec<u8>) -> io::Result<()> {
        self.predictor.apply(&mut self.tile, self.side * self.sample_bytes, self.sample_bytes);
        self.packer.pack(&self.tile, packed)
    }
}

/// Cells along the side of the tiles of a raster: a multiple of 16 (TIFF 6.0 section 15), no larger than a small raster needs.
pub(super) fn tile_side(grid: &Grid) -> u16 {
    let longest = grid.width.max(grid.height);
    let needed = u16::try_from(longest.next_multiple_of(16)).unwrap_or(u16::MAX);
    if longest <= SMALL_SIDE_MAX { TILE_SIDE_SMALL.min(needed) } else { TILE_SIDE }
}

fn predictor(grid: &Grid, compression: Compression) -> Predictor {
    match compression {
        Compression::None => Predictor::None,
        Compression::Deflate | Compression::QuickDeflate | Compression::Zstd
            if grid.sample_type.is_float() =>
        {
            Predictor::FloatingPoint
        }
        Compression::Deflate | Compression::QuickDeflate | Compression::Zstd => Predictor::Horizontal,
    }
}

/// Writes a GeoTIFF of tiles that are packed. They lie in a file until all are known, because the directory comes first.
pub struct TileWriter<'a> {
    grid: Grid,
    compression: Compression,
    predictor: Predictor,
    side: usize,
    spool: BufWriter<File>,
    spooled: u64,
    spooled_max: u64,
    /// Where each tile begins in the spool and how long it is, in the order in which they came: a row of tiles of each band.
    tiles: Vec<(u64, u64)>,
    classic_bytes_max: u64,
    out: &'a mut dyn Write,
}

impl<'a> TileWriter<'a> {
    /// Begins a file; there is `room` for the tiles until all are known.
    ///
    /// # Errors
    /// Where the file for them can't be made.
    pub fn create(
        grid: &Grid,
        compression: Compression,
        room: &Room<'_>,
        out: &'a mut dyn Write,
    ) -> Result<Self, FormatError> {
        Ok(Self {
            grid: grid.clone(),
            compression,
            predictor: predictor(grid, compression),
            side: tile_side(grid).into(),
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

    /// Cells along the side of a tile.
    #[must_use]
    pub fn side(&self) -> u32 {
        u32::try_from(self.side).unwrap_or(u32::MAX)
    }

    /// The next tile, as a [`TilePacker`] gave it: row of tiles by row of tiles; of each, band after band; of each, from left to right.
    ///
    /// # Errors
    /// Where there is no room for it.
    pub fn push(&mut self, packed: &[u8]) -> Result<(), FormatError> {
        self.tiles.push((self.spooled, packed.len() as u64));
        self.spooled += packed.len() as u64;
        if self.spooled > self.spooled_max {
            return Err(FormatError::TooLarge { bytes_max: self.spooled_max });
        }
        self.spool.write_all(packed)?;
        Ok(())
    }

    /// Writes the directory and the tiles.
    ///
    /// # Errors
    /// Where tiles are missing, or the bytes can't be written.
    pub fn finish(self) -> Result<(), FormatError> {
        let down = (self.grid.height as usize).div_ceil(self.side);
        let across = (self.grid.width as usize).div_ceil(self.side);
        let (count, needed) = (self.tiles.len(), down * across * self.grid.bands.len());
        if count != needed {
            return Err(super::unrepresentable(format!("{count} tiles where {needed} are needed")));
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
        io::copy(&mut BufReader::with_capacity(COPY_BYTES, spool), self.out)?;
        self.out.flush()?;
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
