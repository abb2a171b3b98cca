//! How the cells of an image lie in its file: in strips or tiles, of which kind of values, and where each is.

use super::codec::Unpacker;
use super::directory::Directory;
use super::predictor::Predictor;
use super::{malformed, tags};
use crate::FormatError;
use crate::bytes::ByteOrder;
use crate::raster::SampleType;
use crate::raster::limits::{BANDS_MAX, SIDE_MAX};
use crate::source::Source;

/// Blocks of an image: 130,000 cells square in tiles of 64. Sixteen bytes are held for each.
const BLOCKS_MAX: u64 = 4 << 20;

/// Bytes of a packed block once it is unpacked: a tile 4,096 cells square, in 32 bits.
const BLOCK_BYTES_MAX: u64 = 64 << 20;

/// Bytes of all blocks, unpacked, for each byte of the file: Deflate reaches 1,000 on nothing but zeros; more where tiles are left out.
const EXPANSION_MAX: u64 = 5000;

/// What may be unpacked whatever the ratio.
const EXPANDED_BYTES_FREE: u64 = 256 << 20;

/// How cells lie in a file.
pub(super) struct Layout {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) bands: usize,
    pub(super) stored: Stored,
    /// Each block has the values of one band.
    pub(super) is_planar: bool,
    pub(super) block_width: u32,
    pub(super) block_height: u32,
    /// Whether blocks at the lower end have rows that are not of the image.
    pub(super) are_tiles: bool,
    pub(super) order: ByteOrder,
    pub(super) unpacker: Unpacker,
    pub(super) predictor: Predictor,
    /// The lowest bit of a byte comes first.
    pub(super) bits_reversed: bool,
    offsets: Vec<u64>,
    byte_counts: Vec<u64>,
}

/// Kinds of values in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// As they are read.
    As(SampleType),
    /// Several in a byte: so many bits each, which are read as bytes.
    Bits(u8),
    /// Half precision, which is read as single.
    F16,
}

impl Stored {
    fn of(bits: u64, format: u64) -> Result<Self, FormatError> {
        use tags::{
            SAMPLE_FORMAT_IEEE as IEEE, SAMPLE_FORMAT_INT as INT, SAMPLE_FORMAT_UINT as UINT,
            SAMPLE_FORMAT_VOID as VOID,
        };
        Ok(match (format, bits) {
            (UINT | VOID, 1) => Self::Bits(1),
            (UINT | VOID, 2) => Self::Bits(2),
            (UINT | VOID, 4) => Self::Bits(4),
            (UINT | VOID, 8) => Self::As(SampleType::U8),
            (UINT | VOID, 16) => Self::As(SampleType::U16),
            (UINT | VOID, 32) => Self::As(SampleType::U32),
            (UINT | VOID, 64) => Self::As(SampleType::U64),
            (INT, 8) => Self::As(SampleType::I8),
            (INT, 16) => Self::As(SampleType::I16),
            (INT, 32) => Self::As(SampleType::I32),
            (INT, 64) => Self::As(SampleType::I64),
            (IEEE, 16) => Self::F16,
            (IEEE, 32) => Self::As(SampleType::F32),
            (IEEE, 64) => Self::As(SampleType::F64),
            _ => {
                return Err(malformed(format!(
                    "must have values of 1, 2, 4, 8, 16, 32 or 64 bits, and its {bits} bits of sample format {format} are none that are \
                     read here"
                )));
            }
        })
    }

    /// The type as which it is read.
    pub(super) fn sample_type(self) -> SampleType {
        match self {
            Self::As(sample_type) => sample_type,
            Self::Bits(_) => SampleType::U8,
            Self::F16 => SampleType::F32,
        }
    }

    pub(super) fn bits(self) -> u64 {
        match self {
            Self::As(sample_type) => sample_type.bytes() as u64 * 8,
            Self::Bits(bits) => bits.into(),
            Self::F16 => 16,
        }
    }
}

impl Layout {
    pub(super) fn read(
        directory: &Directory,
        source: &mut Source,
        file_bytes: u64,
    ) -> Result<Self, FormatError> {
        let mut number =
            |tag, default| Ok::<_, FormatError>(directory.integer(source, tag)?.unwrap_or(default));
        let width = side(number(tags::IMAGE_WIDTH, 0)?, "its width")?;
        let height = side(number(tags::IMAGE_LENGTH, 0)?, "its height")?;
        let bands = number(tags::SAMPLES_PER_PIXEL, 1)?;
        let bands = usize::try_from(bands)
            .ok()
            .filter(|bands| (1..=BANDS_MAX).contains(bands))
            .ok_or_else(|| malformed(format!("must have 1 to {BANDS_MAX} bands, not {bands}")))?;
        let unpacker = Unpacker::of_code(number(tags::COMPRESSION, 1)?)?;
        let is_planar = match number(tags::PLANAR_CONFIGURATION, tags::PLANAR_CHUNKY)? {
            tags::PLANAR_CHUNKY => false,
            tags::PLANAR_SEPARATE => bands > 1,
            other => {
                return Err(malformed(format!("must have the planar configuration 1 or 2, not {other}")));
            }
        };
        if number(tags::PHOTOMETRIC_INTERPRETATION, 1)? == tags::PHOTOMETRIC_YCBCR {
            return Err(malformed("must have no values as YCbCr, which are mixed over several cells"));
        }
        let bits_reversed = number(tags::FILL_ORDER, 1)? == 2;
        let predictor = number(tags::PREDICTOR, 1)?;
        let are_tiles = directory.has(tags::TILE_WIDTH);
        let (block_width, block_height) = if are_tiles {
            (number(tags::TILE_WIDTH, 0)?, number(tags::TILE_LENGTH, 0)?)
        } else {
            (width.into(), number(tags::ROWS_PER_STRIP, u64::from(height))?.min(height.into()))
        };
        let mut same = |tag, what| same(&directory.integers(source, tag, BANDS_MAX as u64)?, bands, what);
        let bits = same(tags::BITS_PER_SAMPLE, "bits")?;
        let format = same(tags::SAMPLE_FORMAT, "sample formats")?;
        let stored = Stored::of(bits, format)?;
        let mut layout = Self {
            width,
            height,
            bands,
            stored,
            is_planar,
            block_width: side(block_width, "the width of its blocks")?,
            block_height: side(block_height, "the height of its blocks")?,
            are_tiles,
            order: directory.order(),
            predictor: if unpacker.is_none() {
                Predictor::None
            } else {
                Predictor::of_code(predictor, bits, format == tags::SAMPLE_FORMAT_IEEE)?
            },
            unpacker,
            bits_reversed,
            offsets: Vec::new(),
            byte_counts: Vec::new(),
        };
        layout.check(file_bytes)?;
        layout.locate(directory, source)?;
        Ok(layout)
    }

    /// Values of one cell in a block.
    pub(super) fn samples(&self) -> usize {
        if self.is_planar { 1 } else { self.bands }
    }

    /// Bytes of a row of a block, in the file.
    pub(super) fn row_bytes(&self) -> u64 {
        (u64::from(self.block_width) * self.samples() as u64 * self.stored.bits()).div_ceil(8)
    }

    /// Where a block is, and how many bytes it has there; `None` where it is left out. Of band 0, where blocks have all bands.
    pub(super) fn block(&self, across: u32, down: u32, band: usize) -> Option<(u64, u64)> {
        let in_plane = u64::from(down) * self.blocks_across() + u64::from(across);
        let index = band as u64 * self.blocks_of_plane() + in_plane;
        let index = usize::try_from(index).ok()?;
        let (offset, bytes) = (*self.offsets.get(index)?, *self.byte_counts.get(index)?);
        (offset != 0 && bytes != 0).then_some((offset, bytes))
    }

    fn blocks_across(&self) -> u64 {
        self.width.div_ceil(self.block_width).into()
    }

    fn blocks_of_plane(&self) -> u64 {
        self.blocks_across() * u64::from(self.height.div_ceil(self.block_height))
    }

    fn blocks(&self) -> u64 {
        self.blocks_of_plane() * if self.is_planar { self.bands as u64 } else { 1 }
    }

    fn check(&self, file_bytes: u64) -> Result<(), FormatError> {
        if self.blocks() > BLOCKS_MAX {
            let blocks = self.blocks();
            return Err(malformed(format!("may have at most {BLOCKS_MAX} strips or tiles, not {blocks}")));
        }
        let block_bytes = self.row_bytes().saturating_mul(self.block_height.into());
        // What isn't packed is read in parts.
        if !self.unpacker.is_none() && block_bytes > BLOCK_BYTES_MAX {
            return Err(malformed(format!(
                "may have at most {BLOCK_BYTES_MAX} bytes in a strip or tile once it is unpacked, not {block_bytes}"
            )));
        }
        // With the cells of tiles that are not of the image, which are unpacked too.
        let cells = u64::from(self.block_width) * u64::from(self.block_height);
        let cell_bytes = self.samples() * self.stored.sample_type().bytes();
        let bytes = u128::from(cells) * cell_bytes as u128 * u128::from(self.blocks());
        if bytes > u128::from(EXPANDED_BYTES_FREE.max(file_bytes.saturating_mul(EXPANSION_MAX))) {
            return Err(malformed(format!(
                "may unpack to {EXPANSION_MAX} times its size, and its {file_bytes} bytes unpack to {bytes}"
            )));
        }
        Ok(())
    }

    fn locate(&mut self, directory: &Directory, source: &mut Source) -> Result<(), FormatError> {
        let (offsets, byte_counts) = if self.are_tiles && directory.has(tags::TILE_OFFSETS) {
            (tags::TILE_OFFSETS, tags::TILE_BYTE_COUNTS)
        } else {
            (tags::STRIP_OFFSETS, tags::STRIP_BYTE_COUNTS)
        };
        self.offsets = directory.integers(source, offsets, BLOCKS_MAX)?;
        self.byte_counts = directory.integers(source, byte_counts, BLOCKS_MAX)?;
        if self.byte_counts.is_empty() && self.unpacker.is_none() {
            let whole = self.row_bytes() * u64::from(self.block_height);
            self.byte_counts = vec![whole; self.offsets.len()];
        }
        let (needed, found) = (self.blocks(), self.offsets.len().min(self.byte_counts.len()) as u64);
        if found < needed {
            return Err(malformed(format!("must say where {needed} strips or tiles are, not {found}")));
        }
        Ok(())
    }
}

fn side(cells: u64, what: &str) -> Result<u32, FormatError> {
    u32::try_from(cells)
        .ok()
        .filter(|cells| (1..=SIDE_MAX).contains(cells))
        .ok_or_else(|| malformed(format!("must have 1 to {SIDE_MAX} cells as {what}, not {cells}")))
}

/// The number that all bands share; 1 where nothing is said.
fn same(values: &[u64], bands: usize, what: &str) -> Result<u64, FormatError> {
    let first = values.first().copied().unwrap_or(1);
    // Some writers say it once for all.
    if values.iter().take(bands).any(|value| *value != first) {
        return Err(malformed(format!("must have the same {what} in all bands, not {values:?}")));
    }
    Ok(first)
}
