//! `Content-Encoding: gzip`, unpacked piece by piece under a cap on its ratio.
//!
//! A gzip of 1 MiB may unpack to 1 GiB. So both sizes are counted as the body passes, and what is in memory at once is
//! bounded by what one slice can become.

use std::io::Write;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

use crate::error::Fault;

/// Packed bytes unpacked at once: with the 1,032 to 1 that deflate reaches at most, 1 MiB comes out.
const SLICE_BYTES: usize = 1024;

/// Unpacked bytes to which no ratio applies: a small document of one repeated value is no attack.
pub(crate) const RATIO_FREE_BYTES: u64 = 1 << 20;

/// Unpacks a body. It takes packed pieces and gives unpacked ones.
#[derive(Debug)]
pub(crate) struct Unpacker {
    decoder: MultiGzDecoder<Vec<u8>>,
    /// Packed, and not unpacked yet.
    waiting: Bytes,
    packed_bytes: u64,
    unpacked_bytes: u64,
    ratio_max: u64,
}

impl Unpacker {
    pub(crate) fn new(ratio_max: u64) -> Self {
        let decoder = MultiGzDecoder::new(Vec::new());
        Self { decoder, waiting: Bytes::new(), packed_bytes: 0, unpacked_bytes: 0, ratio_max }
    }

    /// Takes the next packed piece; all of the last one has been given back.
    pub(crate) fn feed(&mut self, piece: Bytes) {
        self.waiting = piece;
    }

    /// The next unpacked piece; `None` where more has to be fed.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        while !self.waiting.is_empty() {
            let slice = self.waiting.split_to(self.waiting.len().min(SLICE_BYTES));
            self.packed_bytes += slice.len() as u64;
            self.decoder.write_all(&slice).map_err(Fault::Unpack)?;
            if let Some(piece) = self.taken()? {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// What is left at the end of the packed body, which must be whole: its check sum is compared here.
    pub(crate) fn finish(&mut self) -> Result<Option<Bytes>, Fault> {
        // A body without a single byte, as of a 304, has nothing to be whole.
        if self.packed_bytes > 0 {
            self.decoder.try_finish().map_err(Fault::Unpack)?;
        }
        self.taken()
    }

    fn taken(&mut self) -> Result<Option<Bytes>, Fault> {
        let piece = std::mem::take(self.decoder.get_mut());
        self.unpacked_bytes += piece.len() as u64;
        let allowed = self.packed_bytes.saturating_mul(self.ratio_max).max(RATIO_FREE_BYTES);
        if self.unpacked_bytes > allowed {
            return Err(Fault::Ratio { ratio_max: self.ratio_max });
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(packed: &[u8], piece_bytes: usize, ratio_max: u64) -> Result<Vec<u8>, Fault> {
        let mut unpacker = Unpacker::new(ratio_max);
        let mut all = Vec::new();
        for piece in packed.chunks(piece_bytes) {
            unpacker.feed(Bytes::copy_from_slice(piece));
            while let Some(piece) = unpacker.next()? {
                assert!(piece.len() <= 2 << 20, "{} bytes at once", piece.len());
                all.extend_from_slice(&piece);
            }
        }
        all.extend_from_slice(&unpacker.finish()?.unwrap_or_default());
        Ok(all)
    }

    #[test]
    fn pieces_of_any_size_and_several_members_unpack() {
        let plain: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut packed = gzip(&plain);
        packed.extend(gzip(b"and more"));
        let expected = [plain.as_slice(), b"and more"].concat();
        for piece_bytes in [7, 1024, 1 << 20] {
            assert!(unpacked(&packed, piece_bytes, 100).unwrap() == expected);
        }
        assert!(unpacked(&[], 1, 100).unwrap().is_empty());
        assert!(unpacked(&gzip(b""), 9, 100).unwrap().is_empty());
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_no_body() {
        let packed = gzip(&[7; 5000]);
        let mut damaged = packed.clone();
        let check_sum = damaged.len() - 6;
        damaged[check_sum] ^= 1;
        for bad in [&packed[..packed.len() - 1], &packed[..5], b"no gzip at all", damaged.as_slice()] {
            assert!(matches!(unpacked(bad, 16, 1000), Err(Fault::Unpack(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_bomb_is_cut_off_at_its_ratio_and_a_small_document_is_none() {
        let bomb = gzip(&vec![0; 4 << 20]);
        assert!(matches!(unpacked(&bomb, 16 << 10, 100), Err(Fault::Ratio { ratio_max: 100 })));
        assert_eq!(unpacked(&bomb, 16 << 10, 2000).unwrap().len(), 4 << 20);
        let small = vec![0; RATIO_FREE_BYTES as usize];
        assert!(unpacked(&gzip(&small), 100, 2).unwrap() == small);
    }
}
