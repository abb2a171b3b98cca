//! Differences instead of values, which pack better (TIFF 6.0 section 14; Adobe's Technical Note 3 for numbers with a fraction).

use super::malformed;
use crate::FormatError;

/// One expression for whole numbers of any size.
macro_rules! by_size {
    ($size:expr, $int:ident => $body:expr) => {
        match $size {
            1 => {
                type $int = u8;
                $body
            }
            2 => {
                type $int = u16;
                $body
            }
            4 => {
                type $int = u32;
                $body
            }
            _ => {
                type $int = u64;
                $body
            }
        }
    };
}

/// Adds to each whole number of a row the one so many before.
macro_rules! sum {
    ($row:expr, $distance:expr, $int:ident) => {{
        let (values, _) = $row.as_chunks_mut();
        if $distance == 1 {
            let mut sum: $int = 0;
            for value in values {
                sum = sum.wrapping_add($int::from_ne_bytes(*value));
                *value = sum.to_ne_bytes();
            }
        } else {
            for at in $distance..values.len() {
                let before = $int::from_ne_bytes(values[at - $distance]);
                values[at] = $int::from_ne_bytes(values[at]).wrapping_add(before).to_ne_bytes();
            }
        }
    }};
}

/// What was done to the values of a row before they were packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Predictor {
    /// Nothing.
    None,
    /// Each value is the difference to the one before, as whole numbers.
    Horizontal,
    /// Each byte is the difference to the one before, after all first bytes of a row, then all second ones.
    FloatingPoint,
}

impl Predictor {
    pub(super) fn of_code(code: u64, bits: u64, is_float: bool) -> Result<Self, FormatError> {
        match code {
            1 => Ok(Self::None),
            2 if bits >= 8 => Ok(Self::Horizontal),
            3 if bits >= 16 && is_float => Ok(Self::FloatingPoint),
            _ => Err(malformed(format!(
                "must have a predictor of 1 to 3 that fits its values, and has {code}"
            ))),
        }
    }

    pub(super) fn code(self) -> u16 {
        match self {
            Self::None => 1,
            Self::Horizontal => 2,
            Self::FloatingPoint => 3,
        }
    }

    /// Makes differences into values of `size` bytes in the machine's order. `samples` are the values of a cell; rows are whole.
    pub(super) fn undo(self, block: &mut [u8], row_bytes: usize, size: usize, samples: usize) {
        let mut shuffled = Vec::new();
        for row in block.chunks_exact_mut(row_bytes) {
            match self {
                Self::None => return,
                Self::Horizontal => by_size!(size, Int => sum!(row, samples, Int)),
                Self::FloatingPoint => {
                    sum!(row, samples, u8);
                    shuffled.clear();
                    shuffled.extend_from_slice(row);
                    let count = row_bytes / size;
                    for (index, value) in row.chunks_exact_mut(size).enumerate() {
                        let bytes = shuffled.iter().skip(index).step_by(count);
                        value.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                        if cfg!(target_endian = "little") {
                            value.reverse();
                        }
                    }
                }
            }
        }
    }

    /// Makes values of `size` bytes in the machine's order into differences; one value a cell.
    pub(super) fn apply(self, block: &mut [u8], row_bytes: usize, size: usize) {
        let mut shuffled = vec![0; row_bytes];
        for row in block.chunks_exact_mut(row_bytes) {
            match self {
                Self::None => return,
                Self::Horizontal => by_size!(size, Int => {
                    let (values, _) = row.as_chunks_mut();
                    for at in (1..values.len()).rev() {
                        let before = Int::from_ne_bytes(values[at - 1]);
                        values[at] = Int::from_ne_bytes(values[at]).wrapping_sub(before).to_ne_bytes();
                    }
                }),
                Self::FloatingPoint => {
                    let count = row_bytes / size;
                    for (index, value) in row.chunks_exact(size).enumerate() {
                        for (at, byte) in value.iter().enumerate() {
                            let plane = if cfg!(target_endian = "little") { size - 1 - at } else { at };
                            shuffled[plane * count + index] = *byte;
                        }
                    }
                    row[0] = shuffled[0];
                    for (to, pair) in row.iter_mut().skip(1).zip(shuffled.windows(2)) {
                        *to = pair[1].wrapping_sub(pair[0]);
                    }
                }
            }
        }
    }
}
