//! The arithmetic.

use super::{Parameters, larger};
use anabranch_formats::raster::{Band, Cells, Grid, SampleType, Samples, Window};
use std::ops::Range;

/// What the process of 2012 added to sums, against division by 0.
const LEGACY_SUMMAND: f64 = 0.01;

/// Computes tiles of the result.
pub(super) enum Kernel {
    /// As the literature has it.
    Index { bands: Vec<[Values; 2]> },
    /// As in 2012, in this type.
    Legacy { bands: usize, sample_type: SampleType },
}

/// What the stored values of a band mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values {
    band: Band,
    /// NaN where there is none: no value equals it.
    nodata: f64,
}

impl Values {
    fn of(&self, stored: f64) -> f64 {
        if stored == self.nodata { f64::NAN } else { stored * self.band.scale + self.band.offset }
    }
}

impl Kernel {
    pub(super) fn of(nir: &Grid, swir: &Grid, parameters: &Parameters) -> Self {
        if parameters.legacy {
            let bands = nir.bands.len().min(swir.bands.len());
            return Self::Legacy { bands, sample_type: larger(nir.sample_type, swir.sample_type) };
        }
        let values = |grid: &Grid, band: &Band| Values {
            band: parameters.band(band),
            nodata: grid.nodata.unwrap_or(f64::NAN),
        };
        let pairs = nir.bands.iter().zip(&swir.bands);
        Self::Index { bands: pairs.map(|(a, b)| [values(nir, a), values(swir, b)]).collect() }
    }

    pub(super) fn bands(&self) -> usize {
        match self {
            Self::Index { bands } => bands.len(),
            Self::Legacy { bands, .. } => *bands,
        }
    }

    pub(super) fn sample_type(&self) -> SampleType {
        match self {
            Self::Index { .. } => SampleType::F32,
            Self::Legacy { sample_type, .. } => *sample_type,
        }
    }

    /// A tile of the result from pieces of both rasters.
    pub(super) fn tile(&self, nir: &[Cells], swir: &[Cells], band: usize, place: Window) -> Samples {
        let Self::Index { bands } = self else {
            return self.legacy(nir, swir, band, place);
        };
        let [nir_values, swir_values] = bands[band];
        let is_same_scale = nir_values.band.scale == swir_values.band.scale
            && [nir_values.band.offset, swir_values.band.offset] == [0.0, 0.0];
        if is_same_scale && let Some(index) = exact(nir, swir, band, place, [nir_values, swir_values]) {
            return Samples::F32(index);
        }
        let mut swir_numbers = Vec::new();
        for_each_row(place, |row, columns| numbers(swir, band, row, columns, &mut swir_numbers));
        self.resampled(nir, &swir_numbers, band, place)
    }

    /// A tile from pieces of the one raster, and of the other as many stored values as the tile has.
    pub(super) fn resampled(&self, nir: &[Cells], swir: &[f64], band: usize, place: Window) -> Samples {
        let Self::Index { bands } = self else { return Samples::F32(Vec::new()) };
        let [nir_values, swir_values] = bands[band];
        let mut nir_numbers = Vec::with_capacity(swir.len());
        for_each_row(place, |row, columns| numbers(nir, band, row, columns, &mut nir_numbers));
        let pairs = nir_numbers.iter().zip(swir);
        #[allow(clippy::cast_possible_truncation)] // between -1 and 1
        let index = pairs.map(|(nir, swir)| index(nir_values.of(*nir), swir_values.of(*swir)) as f32);
        Samples::F32(index.collect())
    }

    fn legacy(&self, nir: &[Cells], swir: &[Cells], band: usize, place: Window) -> Samples {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for_each_row(place, |row, columns| {
            numbers(nir, band, row, columns.clone(), &mut a);
            numbers(swir, band, row, columns, &mut b);
        });
        let sample_type = self.sample_type();
        let values: Vec<_> = a.iter().zip(&b).map(|(nir, swir)| legacy(*nir, *swir, sample_type)).collect();
        Samples::nearest(sample_type, &values)
    }
}

fn index(nir: f64, swir: f64) -> f64 {
    let sum = nir + swir;
    if sum == 0.0 { f64::NAN } else { (nir - swir) / sum }
}

/// What the process of 2012 gave: every step in the type, whole numbers clamped to its range and rounded. 0.01 more is nothing then.
pub(super) fn legacy(nir: f64, swir: f64, sample_type: SampleType) -> f64 {
    #[allow(clippy::cast_possible_truncation)] // that is what it did
    match sample_type {
        SampleType::F64 => (swir - nir) / ((nir + swir) + LEGACY_SUMMAND),
        SampleType::F32 => {
            let (nir, swir) = (nir as f32, swir as f32);
            f64::from((swir - nir) / ((nir + swir) + LEGACY_SUMMAND as f32))
        }
        _ => {
            let (least, most) = range(sample_type);
            let difference = (swir - nir).clamp(least, most);
            let sum = (nir + swir).clamp(least, most);
            let quotient = (difference / sum).round();
            // 0 by 0 is no number, and was 0.
            if quotient.is_nan() { 0.0 } else { quotient.clamp(least, most) }
        }
    }
}

#[allow(clippy::cast_precision_loss)] // rounded where it has 64 bits, and stored as the nearest value of the type
fn range(sample_type: SampleType) -> (f64, f64) {
    match sample_type {
        SampleType::U8 => (0.0, f64::from(u8::MAX)),
        SampleType::I8 => (f64::from(i8::MIN), f64::from(i8::MAX)),
        SampleType::U16 => (0.0, f64::from(u16::MAX)),
        SampleType::I16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
        SampleType::U32 => (0.0, f64::from(u32::MAX)),
        SampleType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        SampleType::U64 => (0.0, u64::MAX as f64),
        SampleType::I64 => (i64::MIN as f64, i64::MAX as f64),
        SampleType::F32 | SampleType::F64 => (f64::MIN, f64::MAX),
    }
}

/// The index where both rasters have one of the types whose sums are exact in 32 bits, or are of these anyway: half of the time.
fn exact(nir: &[Cells], swir: &[Cells], band: usize, place: Window, values: [Values; 2]) -> Option<Vec<f32>> {
    let mut index = vec![f32::NAN; place.width as usize * place.height as usize];
    let mut rows = index.chunks_exact_mut(place.width as usize);
    let mut is_exact = true;
    for_each_row(place, |row, columns| {
        let Some(result) = rows.next() else { return };
        for (a, nir_columns) in pieces(nir, row, columns.clone()) {
            for (b, both) in pieces(swir, row, nir_columns) {
                let result = &mut result[both.start as usize - place.column as usize..][..both.len()];
                let (at_a, at_b) = (at(a, band, row, &both), at(b, band, row, &both));
                macro_rules! of_same_type {
                    ($($kind:ident),*) => {
                        match (&a.samples, &b.samples) {
                            $((Samples::$kind(a), Samples::$kind(b)) => of_row(&a[at_a], &b[at_b], values, result),)*
                            _ => is_exact = false,
                        }
                    };
                }
                of_same_type!(U8, U16, I16, F32);
            }
        }
    });
    is_exact.then_some(index)
}

/// The index of a row. No branches, so that several are computed at a time.
fn of_row<T: Copy + Into<f32>>(nir: &[T], swir: &[T], values: [Values; 2], result: &mut [f32]) {
    #[allow(clippy::cast_possible_truncation)] // of the type already
    let [no_nir, no_swir] = values.map(|values| values.nodata as f32);
    for ((nir, swir), result) in nir.iter().zip(swir).zip(result) {
        let (nir, swir): (f32, f32) = ((*nir).into(), (*swir).into());
        let sum = nir + swir;
        let has_none = (nir == no_nir) | (swir == no_swir) | (sum == 0.0);
        let index = (nir - swir) / sum;
        *result = if has_none { f32::NAN } else { index };
    }
}

fn for_each_row(place: Window, mut see: impl FnMut(u32, Range<u32>)) {
    for row in place.row..place.row + place.height {
        see(row, place.column..place.column + place.width);
    }
}

/// The pieces that some columns of a row are in, and which of the columns.
fn pieces(
    cells: &[Cells],
    row: u32,
    columns: Range<u32>,
) -> impl Iterator<Item = (&Cells, Range<u32>)> + Clone {
    cells.iter().filter_map(move |piece| {
        let Window { column, row: first, width, height } = piece.window;
        let both = columns.start.max(column)..columns.end.min(column + width);
        ((first..first + height).contains(&row) && !both.is_empty()).then_some((piece, both))
    })
}

/// Where some columns of a row are in a piece.
fn at(piece: &Cells, band: usize, row: u32, columns: &Range<u32>) -> Range<usize> {
    let Window { column, row: first, width, height } = piece.window;
    let row = band * height as usize + (row - first) as usize;
    let start = row * width as usize + (columns.start - column) as usize;
    start..start + columns.len()
}

fn numbers(cells: &[Cells], band: usize, row: u32, columns: Range<u32>, into: &mut Vec<f64>) {
    for (piece, both) in pieces(cells, row, columns) {
        piece.samples.numbers(at(piece, band, row, &both), into);
    }
}
