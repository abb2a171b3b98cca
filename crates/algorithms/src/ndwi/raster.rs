//! An input raster, read by several threads.

use crate::refusal::refused;
use anabranch_formats::FormatError;
use anabranch_formats::raster::geotiff::Reader;
use anabranch_formats::raster::{Cells, Grid, GridCrs, GridReader as _, Transform, Window};
use anabranch_model::{Data, Error, FaultKind};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Bytes of cells that a thread reads together, where blocks are smaller.
const PIECE_BYTES: u64 = 1 << 20;

/// Bytes of cells of a raster with smaller cells that are held for a part of a tile.
const RESAMPLED_BYTES_MAX: u64 = 16 << 20;

/// Things that one thread uses at a time, made as they are needed.
pub(super) struct Pool<'a, T> {
    make: Box<dyn Fn() -> Result<T, Error> + Send + Sync + 'a>,
    free: Mutex<Vec<T>>,
}

impl<'a, T> Pool<'a, T> {
    pub(super) fn new(make: impl Fn() -> Result<T, Error> + Send + Sync + 'a) -> Self {
        Self { make: Box::new(make), free: Mutex::default() }
    }

    /// Uses one; it is not used again after an error.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut T) -> Result<R, Error>) -> Result<R, Error> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut thing = match free {
            Some(thing) => thing,
            None => (self.make)()?,
        };
        let result = work(&mut thing)?;
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(thing);
        Ok(result)
    }
}

/// An input.
pub(super) struct Raster {
    input: &'static str,
    pub(super) grid: Grid,
    /// Width and height of its strips or tiles.
    pub(super) block: (u32, u32),
    readers: Pool<'static, Reader>,
}

impl Raster {
    pub(super) fn open(input: &'static str, data: &Data) -> Result<Self, Error> {
        let open = |data: &Data| Reader::open(data).map_err(|error| unreadable(input, error));
        let reader = open(data)?;
        let (grid, block) = (reader.grid().clone(), reader.block_size());
        let data = data.clone();
        let readers = Pool::new(move || open(&data));
        readers.free.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        Ok(Self { input, grid, block, readers })
    }

    /// Bytes of the cells of a row.
    pub(super) fn row_bytes(&self) -> u64 {
        u64::from(self.grid.width) * (self.grid.bands.len() * self.grid.sample_type.bytes()) as u64
    }

    /// The cells of full rows, in pieces side by side and below each other; each thread reads `least` of them, where there are so many.
    pub(super) fn read(&self, rows: Window, least: usize) -> Result<Vec<Cells>, Error> {
        let (block_width, block_height) = self.block;
        // Small blocks are read together, so that there is enough to do for a thread.
        let cell_bytes = self.row_bytes() / u64::from(self.grid.width.max(1));
        let block_bytes =
            u64::from(block_width.min(rows.width)) * u64::from(block_height.min(rows.height)) * cell_bytes;
        let blocks = u32::try_from(PIECE_BYTES / block_bytes.max(1)).unwrap_or(u32::MAX).max(1);
        let (wide, high) = if block_width >= rows.width {
            (rows.width, block_height.saturating_mul(blocks))
        } else {
            (block_width.saturating_mul(blocks), block_height)
        };
        let mut pieces = Vec::new();
        for (row, height) in cuts(rows.row, rows.height, high) {
            for (column, width) in cuts(0, rows.width, wide) {
                pieces.push(Window { column, row, width, height });
            }
        }
        pieces.into_par_iter().with_min_len(least).map(|piece| self.read_window(piece)).collect()
    }

    fn read_window(&self, window: Window) -> Result<Cells, Error> {
        self.readers.with(|reader| reader.read_window(window).map_err(|error| unreadable(self.input, error)))
    }

    /// Same size, same place, same system.
    pub(super) fn has_grid_of(&self, other: &Self) -> bool {
        let (a, b) = (&self.grid, &other.grid);
        let is_same_place = match (&a.transform, &b.transform) {
            (Some(place), Some(of_other)) => place.is_same(of_other, a.width, a.height),
            (None, None) => true,
            _ => false,
        };
        (a.width, a.height) == (b.width, b.height) && is_same_place && a.crs == b.crs
    }

    /// Another raster has another grid: may its nearest cells be taken?
    pub(super) fn check_resampling(&self, other: &Self, is_allowed: bool) -> Result<(), Error> {
        let rule = format!(
            "must have the grid of '{}', which has {}; it has {}",
            self.input,
            text_of(&self.grid),
            text_of(&other.grid)
        );
        let is_possible = self.grid.transform.is_some()
            && other.grid.transform.is_some()
            && self.grid.crs == other.grid.crs;
        match (is_possible, is_allowed) {
            (true, true) => Ok(()),
            (true, false) => Err(refused(
                other.input,
                FaultKind::NotAllowed,
                format!("{rule} ('resample' = true takes the nearest cells)"),
            )),
            (false, _) => Err(refused(
                other.input,
                FaultKind::NotAllowed,
                format!("{rule} (a program such as gdalwarp can be run to bring them together)"),
            )),
        }
    }

    /// The values nearest to the middles of the cells of a window of another grid; NaN beyond the edge.
    pub(super) fn nearest(&self, band: usize, window: Window, of: &Grid) -> Result<Vec<f64>, Error> {
        let (Some(from), Some(to)) = (of.transform, self.grid.transform) else { return Ok(Vec::new()) };
        let mut values = Vec::with_capacity(window.width as usize * window.height as usize);
        let mut row = window.row;
        while row < window.row + window.height {
            let mut part = Window { row, height: window.row + window.height - row, ..window };
            let mut there = self.window_around(&from, &to, part);
            while part.height > 1 && there.is_some_and(|there| self.bytes(there) > RESAMPLED_BYTES_MAX) {
                part.height = part.height.div_ceil(2);
                there = self.window_around(&from, &to, part);
            }
            self.take_nearest(band, part, there, (&from, &to), &mut values)?;
            row += part.height;
        }
        Ok(values)
    }

    fn take_nearest(
        &self,
        band: usize,
        part: Window,
        there: Option<Window>,
        (from, to): (&Transform, &Transform),
        values: &mut Vec<f64>,
    ) -> Result<(), Error> {
        let mut found = Vec::new();
        if let Some(there) = there {
            let cells = self.read_window(there)?;
            let count = there.width as usize * there.height as usize;
            cells.samples.numbers(band * count..(band + 1) * count, &mut found);
        }
        let there = there.unwrap_or(Window { column: 0, row: 0, width: 0, height: 0 });
        for row in part.row..part.row + part.height {
            for column in part.column..part.column + part.width {
                let place = from.at(f64::from(column) + 0.5, f64::from(row) + 0.5);
                let [x, y] = to.cell_at(place);
                let x = x.floor() - f64::from(there.column);
                let y = y.floor() - f64::from(there.row);
                let is_inside =
                    x >= 0.0 && y >= 0.0 && x < f64::from(there.width) && y < f64::from(there.height);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                // inside, so it is an index
                let value = is_inside.then(|| found.get(y as usize * there.width as usize + x as usize));
                values.push(value.flatten().copied().unwrap_or(f64::NAN));
            }
        }
        Ok(())
    }

    /// The cells of this raster that a window of another grid needs; none where they do not meet.
    fn window_around(&self, from: &Transform, to: &Transform, window: Window) -> Option<Window> {
        let edge = |start: u32, length: u32| [f64::from(start), f64::from(start) + f64::from(length)];
        let (columns, rows) = (edge(window.column, window.width), edge(window.row, window.height));
        let corners = columns.iter().flat_map(|column| rows.map(|row| to.cell_at(from.at(*column, row))));
        let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for corner in corners {
            for axis in 0..2 {
                low[axis] = low[axis].min(corner[axis]);
                high[axis] = high[axis].max(corner[axis]);
            }
        }
        let clamp = |low: f64, high: f64, side: u32| {
            let low = low.floor().clamp(0.0, f64::from(side));
            let high = (high.floor() + 1.0).clamp(0.0, f64::from(side));
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
            (high > low).then_some((low as u32, (high - low) as u32))
        };
        let (column, width) = clamp(low[0], high[0], self.grid.width)?;
        let (row, height) = clamp(low[1], high[1], self.grid.height)?;
        Some(Window { column, row, width, height })
    }

    fn bytes(&self, window: Window) -> u64 {
        let cell_bytes = (self.grid.bands.len() * self.grid.sample_type.bytes()) as u64;
        u64::from(window.width) * u64::from(window.height) * cell_bytes
    }
}

/// Cuts a length at the multiples of a step: starts and lengths.
fn cuts(start: u32, length: u32, step: u32) -> impl Iterator<Item = (u32, u32)> {
    let end = start + length;
    let mut at = start;
    std::iter::from_fn(move || {
        let from = at;
        at = ((from / step + 1).saturating_mul(step)).min(end);
        (from < end).then(|| (from, at - from))
    })
}

/// What a grid is, for people.
fn text_of(grid: &Grid) -> String {
    let place = match &grid.transform {
        Some(Transform { origin: [x, y], column, row }) => {
            format!(
                "its corner at {x} {y}, columns of {} {} and rows of {} {}",
                column[0], column[1], row[0], row[1]
            )
        }
        None => "no place".into(),
    };
    let crs = match &grid.crs {
        Some(GridCrs::Epsg { code, .. }) => format!("EPSG:{code}"),
        Some(keys @ GridCrs::Keys(_)) => match keys.crs() {
            Ok(crs) => crs.to_string(),
            Err(unknown) => unknown.0,
        },
        None => "no coordinate reference system".into(),
    };
    format!("{} x {} cells, {place}, {crs}", grid.width, grid.height)
}

fn unreadable(input: &str, error: FormatError) -> Error {
    match error {
        FormatError::Io(error) => Error::internal(format!("input '{input}': {error}")),
        error => refused(input, FaultKind::Malformed, format!("can't be read: {error}")),
    }
}
