//! Packing and unpacking of blocks. The size of what comes out is always known before.

use super::malformed;
use crate::FormatError;
use flate2::read::ZlibDecoder;
use libdeflater::{CompressionLvl, Compressor, DecompressionError, Decompressor};
use std::io::{self, Read as _};

/// Of libdeflate: two thirds of the time of level 6, which is GDAL's, for files that are a tenth larger where slopes are smooth.
const DEFLATE_LEVEL: i32 = 4;

/// Of libdeflate where time counts most: half of the time of that, for files that are a few hundredths larger.
const QUICK_DEFLATE_LEVEL: i32 = 1;

/// Of Zstandard: a third of the time of that, and files a quarter larger.
const ZSTD_LEVEL: i32 = 1;

/// How blocks are packed that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// What every reader knows.
    Deflate,
    /// The same, with less effort.
    QuickDeflate,
    /// What is quick, and known to GDAL since 2.3.
    Zstd,
}

impl Compression {
    pub(super) fn code(self) -> u16 {
        match self {
            Self::None => 1,
            Self::Deflate | Self::QuickDeflate => 8,
            Self::Zstd => 50000,
        }
    }
}

/// Packs blocks.
pub(super) enum Packer {
    None,
    Deflate(Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Packer {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None,
            Compression::Deflate => Self::Deflate(deflate(DEFLATE_LEVEL)),
            Compression::QuickDeflate => Self::Deflate(deflate(QUICK_DEFLATE_LEVEL)),
            Compression::Zstd => Self::Zstd(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        })
    }

    /// Packs a block into `packed`; what that held is gone.
    pub(super) fn pack(&mut self, block: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
        packed.clear();
        match self {
            Self::None => packed.extend_from_slice(block),
            Self::Deflate(compressor) => {
                packed.resize(compressor.zlib_compress_bound(block.len()), 0);
                let length = compressor.zlib_compress(block, packed).map_err(io::Error::other)?;
                packed.truncate(length);
            }
            Self::Zstd(compressor) => {
                packed.reserve(zstd::zstd_safe::compress_bound(block.len()));
                compressor.compress_to_buffer(block, packed)?;
            }
        }
        Ok(())
    }
}

fn deflate(level: i32) -> Compressor {
    Compressor::new(CompressionLvl::new(level).unwrap_or_default())
}

/// Unpacks blocks.
pub(super) enum Unpacker {
    None,
    Lzw(weezl::decode::Decoder),
    Deflate(Decompressor),
    PackBits,
    Zstd(zstd::bulk::Decompressor<'static>),
}

impl Unpacker {
    /// That of a value of the tag Compression.
    pub(super) fn of_code(code: u64) -> Result<Self, FormatError> {
        let name = match code {
            1 => return Ok(Self::None),
            5 => {
                return Ok(Self::Lzw(weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8)));
            }
            8 | 32946 => return Ok(Self::Deflate(Decompressor::new())),
            32773 => return Ok(Self::PackBits),
            50000 => return Ok(Self::Zstd(zstd::bulk::Decompressor::new()?)),
            2..=4 => "CCITT fax",
            6 | 7 => "JPEG",
            34712 => "JPEG 2000",
            34887 => "LERC",
            34925 => "LZMA",
            50001 | 50002 => "WebP or JPEG XL",
            _ => "an unknown way",
        };
        Err(malformed(format!(
            "must be packed by nothing, LZW, Deflate, PackBits or Zstandard, not by {name} (compression {code}); a program like \
             gdal_translate can be run for that"
        )))
    }

    /// True where cells lie in the file as they are.
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Fills `block`. Packed data may go on after that.
    ///
    /// # Errors
    /// Where it isn't sound, or isn't enough.
    pub(super) fn unpack(&mut self, packed: &[u8], block: &mut [u8]) -> Result<(), FormatError> {
        let filled = match self {
            Self::None => packed.get(..block.len()).map(|bytes| {
                block.copy_from_slice(bytes);
                bytes.len()
            }),
            Self::Lzw(decoder) => {
                decoder.reset();
                unpack_lzw(decoder, packed, block)
            }
            Self::Deflate(decompressor) => match decompressor.zlib_decompress(packed, block) {
                Ok(length) => Some(length),
                // Some writers put the rows of a whole strip into the last one.
                Err(DecompressionError::InsufficientSpace) => {
                    ZlibDecoder::new(packed).read_exact(block).ok().map(|()| block.len())
                }
                Err(DecompressionError::BadData) => None,
            },
            Self::PackBits => Some(unpack_bits(packed, block)),
            Self::Zstd(decompressor) => decompressor.decompress_to_buffer(packed, block).ok(),
        };
        match filled {
            Some(length) if length == block.len() => Ok(()),
            Some(length) => {
                Err(malformed(format!("must unpack to {} bytes in a block, not {length}", block.len())))
            }
            None => Err(malformed(format!("can't be unpacked to {} bytes in a block", block.len()))),
        }
    }
}

fn unpack_lzw(
    decoder: &mut weezl::decode::Decoder,
    mut packed: &[u8],
    mut block: &mut [u8],
) -> Option<usize> {
    let mut filled = 0;
    while !block.is_empty() {
        let step = decoder.decode_bytes(packed, block);
        if step.consumed_out == 0 && (step.consumed_in == 0 || step.status.is_err()) {
            step.status.ok()?;
            break;
        }
        filled += step.consumed_out;
        packed = packed.get(step.consumed_in..)?;
        block = block.get_mut(step.consumed_out..)?;
    }
    Some(filled)
}

/// TIFF 6.0 section 9.
fn unpack_bits(packed: &[u8], block: &mut [u8]) -> usize {
    let mut filled = 0;
    let mut rest = packed;
    while let Some((head, after)) = rest.split_first() {
        let head = head.cast_signed();
        let room = &mut block[filled..];
        let wanted = usize::from(head.unsigned_abs()) + 1;
        let length = wanted.min(room.len());
        if length == 0 {
            break;
        }
        rest = match head {
            -128 => after,
            0.. => {
                let length = length.min(after.len());
                room[..length].copy_from_slice(&after[..length]);
                filled += length;
                after.get(wanted..).unwrap_or_default()
            }
            _ => {
                let Some((byte, after)) = after.split_first() else { break };
                room[..length].fill(*byte);
                filled += length;
                after
            }
        };
    }
    filled
}
