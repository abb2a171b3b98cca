//! The head: where the cells are and how many.

use super::malformed;
use super::text::{self, Words};
use crate::FormatError;
use crate::raster::Transform;
use crate::raster::limits::SIDE_MAX;

/// Entries of a head: six names, and two more where cells are not square.
const ENTRIES_MAX: usize = 8;

/// What the head says.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) transform: Transform,
    pub(super) nodata: Option<f64>,
    /// The first value, which ended the head.
    pub(super) first: f64,
}

#[derive(Default)]
struct Entries {
    width: Option<f64>,
    height: Option<f64>,
    x_corner: Option<f64>,
    y_corner: Option<f64>,
    x_center: Option<f64>,
    y_center: Option<f64>,
    cell_size: Option<f64>,
    dx: Option<f64>,
    dy: Option<f64>,
    nodata: Option<f64>,
}

impl Entries {
    fn of_name(&mut self, name: &[u8]) -> Option<&mut Option<f64>> {
        Some(match name.to_ascii_lowercase().as_slice() {
            b"ncols" => &mut self.width,
            b"nrows" => &mut self.height,
            b"xllcorner" => &mut self.x_corner,
            b"yllcorner" => &mut self.y_corner,
            b"xllcenter" => &mut self.x_center,
            b"yllcenter" => &mut self.y_center,
            b"cellsize" => &mut self.cell_size,
            b"dx" => &mut self.dx,
            b"dy" => &mut self.dy,
            b"nodata_value" | b"nodata" => &mut self.nodata,
            _ => return None,
        })
    }
}

impl Head {
    pub(super) fn read(words: &mut Words) -> Result<Self, FormatError> {
        let mut entries = Entries::default();
        let mut count = 0;
        let first = loop {
            let Some(word) = words.next()? else {
                return Err(malformed("must have values after its head", words.line()));
            };
            if let Some(first) = text::number(word) {
                break first;
            }
            let name = text::quoted(word);
            let Some(entry) = entries.of_name(word).filter(|_| count < ENTRIES_MAX) else {
                return Err(malformed(
                    format!(
                        "must have ncols, nrows, xllcorner, yllcorner, cellsize and NODATA_value as its head, not {name}"
                    ),
                    words.line(),
                ));
            };
            let value = words.next()?.and_then(text::number);
            let Some(value) = value else {
                return Err(malformed(format!("must have a number after {name}"), words.line()));
            };
            *entry = Some(value);
            count += 1;
        };
        Self::of(&entries, first, words.line())
    }

    fn of(entries: &Entries, first: f64, line: u64) -> Result<Self, FormatError> {
        let side = |value: Option<f64>, name: &str| {
            let cells =
                value.filter(|cells| cells.fract() == 0.0 && (1.0..=f64::from(SIDE_MAX)).contains(cells));
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is in the range
            cells.map(|cells| cells as u32).ok_or_else(|| {
                malformed(format!("must have {name} from 1 to {SIDE_MAX}, not {}", said(value)), line)
            })
        };
        let (width, height) = (side(entries.width, "ncols")?, side(entries.height, "nrows")?);
        let size = |own: Option<f64>, name: &str| {
            let size = own.or(entries.cell_size);
            size.filter(|size| size.is_finite() && *size > 0.0).ok_or_else(|| {
                malformed(format!("must have a {name} that is greater than 0, not {}", said(size)), line)
            })
        };
        let (dx, dy) = (size(entries.dx, "cellsize")?, size(entries.dy, "cellsize")?);
        let lower = |corner: Option<f64>, center: Option<f64>, size: f64, name: &str| {
            let corner = corner.or_else(|| center.map(|center| center - size / 2.0));
            corner.filter(|corner| corner.is_finite()).ok_or_else(|| {
                malformed(format!("must have {name}llcorner or {name}llcenter, as a number"), line)
            })
        };
        let x = lower(entries.x_corner, entries.x_center, dx, "x")?;
        let y = lower(entries.y_corner, entries.y_center, dy, "y")?;
        let transform =
            Transform { origin: [x, y + f64::from(height) * dy], column: [dx, 0.0], row: [0.0, -dy] };
        if !transform.is_sound() {
            return Err(malformed("must have a place and a size of cells that doubles can hold", line));
        }
        Ok(Self { width, height, transform, nodata: entries.nodata, first })
    }
}

fn said(value: Option<f64>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
}
