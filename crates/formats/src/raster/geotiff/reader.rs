//! Reads cells by window.

use super::directory::{self, Directory};
use super::geokeys::{self, GeoKeys};
use super::layout::{Layout, Stored};
use super::{malformed, metadata};
use crate::FormatError;
use crate::bytes::ByteOrder;
use crate::raster::limits::{CELLS_BYTES_MAX, PIECE_BYTES};
use crate::raster::samples::{Sample, with_samples};
use crate::raster::{Cells, CellsAre, Grid, GridReader, Samples, Window};
use crate::source::Source;
use anabranch_model::Data;
use std::ops::Range;

/// Packed bytes that a block may have beyond twice its own: what can't be packed gets a little larger.
const PACKED_BYTES_MORE: u64 = 64 << 10;

/// Reads a GeoTIFF. It holds where the blocks are and one block.
pub struct Reader {
    source: Source,
    file_bytes: u64,
    grid: Grid,
    layout: Layout,
    /// The first row that [`GridReader::next`] has not given.
    next_row: u32,
    packed: Vec<u8>,
    block: Vec<u8>,
}

impl Reader {
    /// Reads what the file says of its first image, and no cells.
    ///
    /// # Errors
    /// Where it is not sound, or not of the kinds that are read here.
    pub fn open(data: &Data) -> Result<Self, FormatError> {
        let mut source = Source::open(data)?;
        let file_bytes = data.len();
        let directory = Directory::read(&mut source, file_bytes)?;
        let layout = Layout::read(&directory, &mut source, file_bytes)?;
        let sample_type = layout.stored.sample_type();
        let keys = GeoKeys::read(&directory, &mut source)?;
        let cells_are = keys.as_ref().map_or(CellsAre::Areas, GeoKeys::cells_are);
        let grid = Grid {
            width: layout.width,
            height: layout.height,
            sample_type,
            bands: metadata::read_bands(&directory, &mut source, layout.bands)?,
            nodata: metadata::read_nodata(&directory, &mut source, sample_type)?,
            transform: geokeys::read_transform(&directory, &mut source, cells_are)?,
            cells_are,
            crs: keys.and_then(GeoKeys::crs),
        };
        Ok(Self { source, file_bytes, grid, layout, next_row: 0, packed: Vec::new(), block: Vec::new() })
    }

    /// The size of the file's strips or tiles: windows that keep to their edges unpack each once.
    #[must_use]
    pub fn block_size(&self) -> (u32, u32) {
        (self.layout.block_width, self.layout.block_height)
    }

    /// The cells of a window, of all bands.
    ///
    /// # Errors
    /// Where it leaves the raster or is larger than 256 MiB, and the first fault of the data.
    pub fn read_window(&mut self, window: Window) -> Result<Cells, FormatError> {
        let grid = &self.grid;
        let fits = |start: u32, length: u32, side: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= side)
        };
        if !fits(window.column, window.width, grid.width) || !fits(window.row, window.height, grid.height) {
            let (width, height) = (grid.width, grid.height);
            return Err(malformed(format!("has {width} x {height} cells, and none in {window:?}")));
        }
        let bytes = grid.bytes(window).ok_or_else(|| {
            malformed(format!(
                "may have at most {CELLS_BYTES_MAX} bytes in cells that are read together, and {} x {} of {} bytes are more",
                window.width,
                window.height,
                grid.cell_bytes()
            ))
        })?;
        let count = bytes / grid.sample_type.bytes();
        let mut samples = Samples::filled(grid.sample_type, grid.nodata.unwrap_or(0.0), count);
        with_samples!(&mut samples, values => self.fill(window, values)?);
        Ok(Cells { window, samples })
    }

    fn fill<T: Sample>(&mut self, window: Window, values: &mut [T]) -> Result<(), FormatError> {
        let (block_width, block_height) = self.block_size();
        let planes = if self.layout.is_planar { self.layout.bands } else { 1 };
        for plane in 0..planes {
            for down in blocks(window.row, window.height, block_height) {
                for across in blocks(window.column, window.width, block_width) {
                    let rows = within(down, block_height, window.row, window.height);
                    let columns = within(across, block_width, window.column, window.width);
                    if self.read_block(across, down, plane, &rows)? {
                        let place = Place { across, down, plane, rows, columns };
                        self.copy(&place, window, values);
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes the values of some rows of a block lie in `self.block`, in the machine's order, those rows first. False where the block
    /// is left out of the file.
    fn read_block(
        &mut self,
        across: u32,
        down: u32,
        plane: usize,
        rows: &Range<u32>,
    ) -> Result<bool, FormatError> {
        let layout = &mut self.layout;
        let Some((offset, packed_bytes)) = layout.block(across, down, plane) else { return Ok(false) };
        let row_bytes = layout.row_bytes();
        let what = "a strip or tile";
        if layout.unpacker.is_none() {
            let (skipped, count) =
                (u64::from(rows.start) * row_bytes, u64::from(rows.end - rows.start) * row_bytes);
            let start = offset.saturating_add(skipped);
            directory::read_at(&mut self.source, self.file_bytes, start, count, what, &mut self.block)?;
            if layout.bits_reversed {
                reverse_bits(&mut self.block);
            }
        } else {
            let rows_in_block = if layout.are_tiles {
                layout.block_height
            } else {
                layout.block_height.min(layout.height - down * layout.block_height)
            };
            let bytes = row_bytes * u64::from(rows_in_block);
            if packed_bytes > bytes * 2 + PACKED_BYTES_MORE {
                return Err(malformed(format!("has {packed_bytes} bytes in a block of {bytes} unpacked")));
            }
            directory::read_at(
                &mut self.source,
                self.file_bytes,
                offset,
                packed_bytes,
                what,
                &mut self.packed,
            )?;
            if layout.bits_reversed {
                reverse_bits(&mut self.packed);
            }
            // At most BLOCK_BYTES_MAX, as the layout was checked.
            self.block.resize(usize::try_from(bytes).unwrap_or(0), 0);
            layout.unpacker.unpack(&self.packed, &mut self.block)?;
        }
        self.finish_block(if self.layout.unpacker.is_none() { 0 } else { rows.start });
        Ok(true)
    }

    /// From the bytes of the file to values in the machine's order, without the first rows.
    fn finish_block(&mut self, rows_before: u32) {
        let layout = &self.layout;
        let row_bytes = usize::try_from(layout.row_bytes()).unwrap_or(usize::MAX);
        let size = usize::try_from(layout.stored.bits() / 8).unwrap_or(0);
        let is_native = (layout.order == ByteOrder::Little) == cfg!(target_endian = "little");
        // The predictor for numbers with a fraction has an order of its own.
        let is_ordered = layout.predictor == super::predictor::Predictor::FloatingPoint;
        if !is_native && !is_ordered && size > 1 {
            self.block.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        layout.predictor.undo(&mut self.block, row_bytes, size, layout.samples());
        let before = row_bytes.saturating_mul(usize::try_from(rows_before).unwrap_or(usize::MAX));
        self.block.drain(..before.min(self.block.len()));
        match layout.stored {
            Stored::As(_) => {}
            Stored::Bits(bits) => {
                let values = layout.block_width as usize * layout.samples();
                self.block = spread_bits(&self.block, row_bytes, values, bits);
            }
            Stored::F16 => {
                let (halves, _) = self.block.as_chunks::<2>();
                let wide = |half: &[u8; 2]| single_of_half(u16::from_ne_bytes(*half)).to_ne_bytes();
                self.block = halves.iter().flat_map(wide).collect();
            }
        }
    }

    /// Copies from `self.block` what is in the window.
    fn copy<T: Sample>(&self, place: &Place, window: Window, values: &mut [T]) {
        let (block_width, block_height) = self.block_size();
        let samples = self.layout.samples();
        let size = size_of::<T>();
        let (width, height) = (window.width as usize, window.height as usize);
        let count = place.columns.len();
        let column = (place.across * block_width + place.columns.start - window.column) as usize;
        for (row_in_block, row) in place.rows.clone().enumerate() {
            let row = (place.down * block_height + row - window.row) as usize;
            let first = row_in_block * block_width as usize + place.columns.start as usize;
            for sample in 0..samples {
                let band = if self.layout.is_planar { place.plane } else { sample };
                let to = (band * height + row) * width + column;
                let from = (first * samples + sample) * size;
                let (Some(to), Some(from)) = (values.get_mut(to..to + count), self.block.get(from..)) else {
                    continue;
                };
                if samples == 1 {
                    let values = to.iter_mut().zip(from.chunks_exact(size));
                    values.for_each(|(value, bytes)| *value = T::of_bytes(bytes));
                } else {
                    let values = to.iter_mut().zip(from.chunks(samples * size));
                    values.for_each(|(value, bytes)| *value = T::of_bytes(&bytes[..size.min(bytes.len())]));
                }
            }
        }
    }
}

/// A block, and its rows and columns that are in a window.
struct Place {
    across: u32,
    down: u32,
    plane: usize,
    rows: Range<u32>,
    columns: Range<u32>,
}

impl GridReader for Reader {
    fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Whole rows of blocks.
    fn next(&mut self) -> Result<Option<Cells>, FormatError> {
        let left = self.grid.height - self.next_row;
        if left == 0 {
            return Ok(None);
        }
        let row_bytes = u64::from(self.grid.width) * self.grid.cell_bytes();
        let cheap = u32::try_from(PIECE_BYTES / row_bytes.max(1)).unwrap_or(u32::MAX).max(1);
        let block = self.layout.block_height;
        let height = if cheap >= block {
            cheap / block * block
        } else if self.layout.unpacker.is_none() {
            cheap
        } else {
            block
        };
        let window =
            Window { column: 0, row: self.next_row, width: self.grid.width, height: height.min(left) };
        self.next_row += window.height;
        self.read_window(window).map(Some)
    }
}

/// The blocks that some cells are in.
fn blocks(start: u32, length: u32, block: u32) -> Range<u32> {
    start / block..(start + length).div_ceil(block)
}

/// The part of a block that is in a window, counted from the block's start.
fn within(index: u32, block: u32, start: u32, length: u32) -> Range<u32> {
    let block_start = index * block;
    let end = (start + length - block_start).min(block);
    start.saturating_sub(block_start)..end
}

fn reverse_bits(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
}

/// One byte a value, from several in a byte, the highest bits first. Each row begins with a byte of its own.
fn spread_bits(block: &[u8], row_bytes: usize, values: usize, bits: u8) -> Vec<u8> {
    let in_byte = 8 / usize::from(bits);
    let mask = (1_u8 << bits) - 1;
    let row = |row: &[u8]| -> Vec<u8> {
        let values_of = |index: usize| {
            let shift = 8 - usize::from(bits) * (index % in_byte + 1);
            row.get(index / in_byte).map_or(0, |byte| (byte >> shift) & mask)
        };
        (0..values).map(values_of).collect()
    };
    block.chunks_exact(row_bytes.max(1)).flat_map(row).collect()
}

/// IEEE 754-2008 binary16 as binary32.
fn single_of_half(half: u16) -> f32 {
    let sign = if half & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(half >> 10 & 0x1f);
    let fraction = f32::from(half & 0x3ff);
    match exponent {
        0 => sign * fraction * 2_f32.powi(-24),
        0x1f if fraction == 0.0 => sign * f32::INFINITY,
        0x1f => f32::NAN,
        _ => sign * (1024.0 + fraction) * 2_f32.powi(exponent - 25),
    }
}
