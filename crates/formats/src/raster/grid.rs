//! What a raster is, and where its cells are.

use super::Samples;
use super::geotiff::GeoKeys;
use super::limits::CELLS_BYTES_MAX;
use super::samples::SampleType;
use crate::crs::{self, Crs, Unit, UnsupportedCrs};
use crate::vector::Position;

/// How far apart places may be that are the same, in cells: what rounding of coordinates makes of them.
const MOVED_CELLS_MAX: f64 = 0.01;

/// What a raster is, without its cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Cells in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The type of all values.
    pub sample_type: SampleType,
    /// What the values of each band mean; never empty.
    pub bands: Vec<Band>,
    /// The value of cells that have none, as it is stored.
    pub nodata: Option<f64>,
    /// Where the cells are; `None` where nobody knows.
    pub transform: Option<Transform>,
    /// What a value is of.
    pub cells_are: CellsAre,
    /// The coordinate reference system.
    pub crs: Option<GridCrs>,
}

/// What the values of a band mean: stored value · scale + offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// Factor.
    pub scale: f64,
    /// Summand.
    pub offset: f64,
}

impl Band {
    /// Values mean what is stored.
    pub const AS_STORED: Self = Self { scale: 1.0, offset: 0.0 };
}

/// What a value is of (GeoTIFF 1.1 section 7.1.2, GTRasterTypeGeoKey). [`Transform`] is of corners in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellsAre {
    /// Of the area of its cell.
    Areas,
    /// Of the point in the middle of its cell.
    Points,
}

/// From columns and rows to coordinates: column 0, row 0 is the outer corner of the first cell.
///
/// x = `origin[0]` + column · `column[0]` + row · `row[0]`, and y likewise with the second ones. In the order x, y whatever the
/// system's axes are; in its units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// The outer corner of the first cell.
    pub origin: [f64; 2],
    /// One column further.
    pub column: [f64; 2],
    /// One row further; to the south where north is up, so with a negative y.
    pub row: [f64; 2],
}

impl Transform {
    /// Rows run along parallels or their like from west to east, columns from north to south.
    #[must_use]
    pub fn is_north_up(&self) -> bool {
        self.column[0] > 0.0 && self.row[1] < 0.0 && self.column[1] == 0.0 && self.row[0] == 0.0
    }

    /// Where a column and a row are.
    #[must_use]
    pub fn at(&self, column: f64, row: f64) -> [f64; 2] {
        let axis = |axis: usize| self.origin[axis] + column * self.column[axis] + row * self.row[axis];
        [axis(0), axis(1)]
    }

    /// Puts the corners of so many cells at the same places, give or take a hundredth of a cell.
    #[must_use]
    pub fn is_same(&self, other: &Self, width: u32, height: u32) -> bool {
        let sides = [self.column[0], self.column[1], self.row[0], self.row[1]];
        let cell = sides.iter().fold(0.0, |largest: f64, side| largest.max(side.abs()));
        let (width, height) = (f64::from(width), f64::from(height));
        [(0.0, 0.0), (width, 0.0), (0.0, height), (width, height)].into_iter().all(|(column, row)| {
            let places = self.at(column, row).into_iter().zip(other.at(column, row));
            places.into_iter().all(|(place, of_other)| (place - of_other).abs() <= MOVED_CELLS_MAX * cell)
        })
    }

    /// Which column and row a place is in, as numbers with a fraction.
    #[must_use]
    pub fn cell_at(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let (x, y) = (x - self.origin[0], y - self.origin[1]);
        let area = self.column[0] * self.row[1] - self.column[1] * self.row[0];
        [(x * self.row[1] - y * self.row[0]) / area, (y * self.column[0] - x * self.column[1]) / area]
    }

    /// The same with another cell as the first one.
    #[must_use]
    pub(super) fn moved(&self, columns: f64, rows: f64) -> Self {
        Self { origin: self.at(columns, rows), ..*self }
    }

    /// All numbers are numbers, and the cells have an area.
    pub(super) fn is_sound(&self) -> bool {
        let area = self.column[0] * self.row[1] - self.column[1] * self.row[0];
        self.origin.iter().all(|value| value.is_finite()) && area.is_finite() && area != 0.0
    }
}

/// The coordinate reference system of a raster. More can be carried through than coordinates can be transformed in.
#[derive(Clone, Debug, PartialEq)]
pub enum GridCrs {
    /// Of the EPSG register.
    Epsg {
        /// Its code.
        code: u16,
        /// Degrees where it is geographic; metres stand for whatever a projected system counts in.
        unit: Unit,
    },
    /// Defined by parameters, as GeoTIFF writes them.
    Keys(GeoKeys),
}

impl GridCrs {
    /// A system that is known here. CRS84 is written as EPSG:4326, because x is always first.
    #[must_use]
    pub fn of(crs: Crs) -> Option<Self> {
        let code = u16::try_from(crs.epsg_code()).ok()?;
        Some(Self::Epsg { code, unit: crs.unit() })
    }

    /// The system, where it is known here.
    ///
    /// # Errors
    /// What it is, where it is not.
    pub fn crs(&self) -> Result<Crs, UnsupportedCrs> {
        match self {
            Self::Epsg { code, .. } => Crs::epsg(u32::from(*code)),
            Self::Keys(keys) => Err(UnsupportedCrs(keys.citation().to_owned())),
        }
    }
}

impl Grid {
    /// All of it.
    #[must_use]
    pub fn window(&self) -> Window {
        Window { column: 0, row: 0, width: self.width, height: self.height }
    }

    /// The outer corners, the first one again at the end, as longitudes and latitudes; `None` where they are not known.
    #[must_use]
    pub fn outline_in_degrees(&self) -> Option<[[f64; 2]; 5]> {
        let (transform, crs) = (self.transform?, self.crs.as_ref()?.crs().ok()?);
        let to_degrees = crs::Transform::new(crs, Crs::Crs84).ok()?;
        let (width, height) = (f64::from(self.width), f64::from(self.height));
        let mut corners = [[0.0; 2]; 5];
        let places = [(0.0, 0.0), (0.0, height), (width, height), (width, 0.0), (0.0, 0.0)];
        for (corner, (column, row)) in corners.iter_mut().zip(places) {
            let [x, y] = transform.at(column, row);
            let mut position = Position { x, y, z: None };
            to_degrees.position(&mut position).ok()?;
            *corner = [position.x, position.y];
        }
        Some(corners)
    }

    /// The box around [`Grid::outline_in_degrees`]: west, south, east, north.
    #[must_use]
    pub fn bbox_in_degrees(&self) -> Option<[f64; 4]> {
        let corners = self.outline_in_degrees()?;
        let start = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
        Some(corners.iter().fold(start, |[west, south, east, north], [x, y]| {
            [west.min(*x), south.min(*y), east.max(*x), north.max(*y)]
        }))
    }

    /// Bytes of the cells of a window, or `None` where they may not be held together.
    pub(super) fn bytes(&self, window: Window) -> Option<usize> {
        let cells = u64::from(window.width) * u64::from(window.height);
        let bytes = cells.checked_mul(self.cell_bytes())?;
        usize::try_from(bytes).ok().filter(|_| bytes <= CELLS_BYTES_MAX)
    }

    /// Bytes of the values of one cell.
    pub(super) fn cell_bytes(&self) -> u64 {
        (self.bands.len() * self.sample_type.bytes()) as u64
    }
}

/// Some cells of a raster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first column, from 0.
    pub column: u32,
    /// The first row, from 0.
    pub row: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// The values of the cells of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells {
    /// Where they are.
    pub window: Window,
    /// Band after band, each from left to right and from top to bottom.
    pub samples: Samples,
}
