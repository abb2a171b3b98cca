//! The values of cells, in the type in which they are stored.

use std::ops::Range;

/// Types of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleType {
    /// 8 bits without a sign; GDAL calls it Byte.
    U8,
    /// 8 bits with a sign.
    I8,
    /// 16 bits without a sign.
    U16,
    /// 16 bits with a sign.
    I16,
    /// 32 bits without a sign.
    U32,
    /// 32 bits with a sign.
    I32,
    /// 64 bits without a sign.
    U64,
    /// 64 bits with a sign.
    I64,
    /// 32 bits of IEEE 754.
    F32,
    /// 64 bits of IEEE 754.
    F64,
}

impl SampleType {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::U64,
        Self::I64,
        Self::F32,
        Self::F64,
    ];

    /// Bytes of one value.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// A number as it is after it was stored, where it is in the range of the type.
    pub(super) fn stored(self, number: f64) -> f64 {
        #[allow(clippy::cast_possible_truncation)] // that is what storing does
        match self {
            Self::F32 => f64::from(number as f32),
            _ => number,
        }
    }

    /// Values have a fraction, and may be no number (NaN).
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }
}

/// Values of one type.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the types speak for themselves")]
pub enum Samples {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// One expression for values of any type.
macro_rules! with_samples {
    ($samples:expr, $values:ident => $body:expr) => {
        match $samples {
            $crate::raster::Samples::U8($values) => $body,
            $crate::raster::Samples::I8($values) => $body,
            $crate::raster::Samples::U16($values) => $body,
            $crate::raster::Samples::I16($values) => $body,
            $crate::raster::Samples::U32($values) => $body,
            $crate::raster::Samples::I32($values) => $body,
            $crate::raster::Samples::U64($values) => $body,
            $crate::raster::Samples::I64($values) => $body,
            $crate::raster::Samples::F32($values) => $body,
            $crate::raster::Samples::F64($values) => $body,
        }
    };
}
pub(super) use with_samples;

impl Samples {
    /// So many times the value; that of the type which is nearest to it.
    #[must_use]
    pub fn filled(sample_type: SampleType, value: f64, count: usize) -> Self {
        fn filled<T: Sample>(value: f64, count: usize) -> Vec<T> {
            vec![T::nearest(value); count]
        }
        match sample_type {
            SampleType::U8 => Self::U8(filled(value, count)),
            SampleType::I8 => Self::I8(filled(value, count)),
            SampleType::U16 => Self::U16(filled(value, count)),
            SampleType::I16 => Self::I16(filled(value, count)),
            SampleType::U32 => Self::U32(filled(value, count)),
            SampleType::I32 => Self::I32(filled(value, count)),
            SampleType::U64 => Self::U64(filled(value, count)),
            SampleType::I64 => Self::I64(filled(value, count)),
            SampleType::F32 => Self::F32(filled(value, count)),
            SampleType::F64 => Self::F64(filled(value, count)),
        }
    }

    /// The type of the values.
    #[must_use]
    pub fn sample_type(&self) -> SampleType {
        match self {
            Self::U8(_) => SampleType::U8,
            Self::I8(_) => SampleType::I8,
            Self::U16(_) => SampleType::U16,
            Self::I16(_) => SampleType::I16,
            Self::U32(_) => SampleType::U32,
            Self::I32(_) => SampleType::I32,
            Self::U64(_) => SampleType::U64,
            Self::I64(_) => SampleType::I64,
            Self::F32(_) => SampleType::F32,
            Self::F64(_) => SampleType::F64,
        }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        with_samples!(self, values => values.len())
    }

    /// Some of the values as numbers, behind what is in `numbers`. Those of 64 bits may be rounded.
    ///
    /// # Panics
    /// Where the range leaves the values.
    pub fn numbers(&self, range: Range<usize>, numbers: &mut Vec<f64>) {
        with_samples!(self, values => numbers.extend(values[range].iter().map(|value| value.number())));
    }

    /// The values of a type that are nearest to numbers.
    #[must_use]
    pub fn nearest(sample_type: SampleType, numbers: &[f64]) -> Self {
        let mut samples = Self::filled(sample_type, 0.0, numbers.len());
        with_samples!(&mut samples, values => {
            values.iter_mut().zip(numbers).for_each(|(value, number)| *value = Sample::nearest(*number));
        });
        samples
    }

    /// None at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A value in bytes of the machine's own order.
pub(super) trait Sample: Copy + PartialEq + std::fmt::Display + std::fmt::LowerExp {
    /// Of as many bytes as it has.
    fn of_bytes(bytes: &[u8]) -> Self;

    /// Into as many bytes as it has.
    fn to_bytes(self, bytes: &mut [u8]);

    /// The value of this type that is nearest to a number.
    fn nearest(number: f64) -> Self;

    /// As a number, which may be rounded where it has 64 bits.
    fn number(self) -> f64;
}

macro_rules! sample {
    ($($value:ty),*) => {$(
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_lossless, clippy::cast_sign_loss)]
        impl Sample for $value {
            #[inline]
            fn of_bytes(bytes: &[u8]) -> Self {
                bytes.try_into().map_or(0 as Self, Self::from_ne_bytes)
            }

            #[inline]
            fn to_bytes(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_ne_bytes());
            }

            #[inline]
            fn nearest(number: f64) -> Self {
                number as Self
            }

            #[inline]
            fn number(self) -> f64 {
                self as f64
            }
        }
    )*};
}
sample!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64);
