//! GeoKeys: the coordinate reference system of a GeoTIFF (OGC 19-008r4 sections 7.1 and 7.2), and where its cells are.

use super::directory::Directory;
use super::tags;
use crate::FormatError;
use crate::crs::Unit;
use crate::raster::{CellsAre, GridCrs, Transform};
use crate::source::Source;

const GT_MODEL_TYPE: u16 = 1024;
const GT_RASTER_TYPE: u16 = 1025;
const GT_CITATION: u16 = 1026;
const GEODETIC_CRS: u16 = 2048;
const PROJECTED_CRS: u16 = 3072;

const MODEL_TYPE_PROJECTED: u16 = 1;
const MODEL_TYPE_GEOGRAPHIC: u16 = 2;
const RASTER_PIXEL_IS_AREA: u16 = 1;
const RASTER_PIXEL_IS_POINT: u16 = 2;

/// Codes from here on are not the register's: 32767 means that parameters define the system.
const EPSG_END: u16 = 32767;

/// Values of each of the three tags: a system with every parameter has about 50 keys.
const VALUES_MAX: u64 = 16 << 10;

/// GeoKeys as a file has them.
#[derive(Clone, Debug, PartialEq)]
pub struct GeoKeys {
    /// Four numbers a key after a head of four: key, tag of its value (0: here), count, value or index.
    pub(super) directory: Vec<u16>,
    pub(super) numbers: Vec<f64>,
    pub(super) text: String,
}

impl GeoKeys {
    /// `None` where a file has none.
    pub(super) fn read(directory: &Directory, source: &mut Source) -> Result<Option<Self>, FormatError> {
        let keys = directory.integers(source, tags::GEO_KEY_DIRECTORY, VALUES_MAX)?;
        let keys: Vec<u16> = keys.into_iter().map(|key| u16::try_from(key).unwrap_or(0)).collect();
        if keys.len() < 4 {
            return Ok(None);
        }
        let numbers = directory.numbers(source, tags::GEO_DOUBLE_PARAMS, VALUES_MAX)?;
        let text = directory.text(source, tags::GEO_ASCII_PARAMS, VALUES_MAX)?.unwrap_or_default();
        Ok(Some(Self { directory: keys, numbers, text }))
    }

    /// Those of a system of the register.
    pub(super) fn of_epsg(code: u16, unit: Unit, cells_are: CellsAre) -> Self {
        let (model, key) = match unit {
            Unit::Degree => (MODEL_TYPE_GEOGRAPHIC, GEODETIC_CRS),
            Unit::Metre | Unit::Foot | Unit::UsSurveyFoot => (MODEL_TYPE_PROJECTED, PROJECTED_CRS),
        };
        let directory = [
            [1, 1, 0, 3],
            [GT_MODEL_TYPE, 0, 1, model],
            [GT_RASTER_TYPE, 0, 1, raster_type(cells_are)],
            [key, 0, 1, code],
        ];
        Self::of_directory(&directory)
    }

    /// Only that values are of points, for rasters of an unknown system.
    pub(super) fn of_points() -> Self {
        Self::of_directory(&[[1, 1, 0, 1], [GT_RASTER_TYPE, 0, 1, RASTER_PIXEL_IS_POINT]])
    }

    fn of_directory(directory: &[[u16; 4]]) -> Self {
        Self { directory: directory.concat(), numbers: Vec::new(), text: String::new() }
    }

    /// The same, but for what a value is of.
    pub(super) fn with_cells(&self, cells_are: CellsAre) -> Self {
        let mut keys = self.clone();
        for key in keys.directory.chunks_exact_mut(4).skip(1) {
            if key[0] == GT_RASTER_TYPE {
                key[3] = raster_type(cells_are);
            }
        }
        keys
    }

    /// What a value is of; areas, where the file doesn't say.
    pub(super) fn cells_are(&self) -> CellsAre {
        match self.short(GT_RASTER_TYPE) {
            Some(RASTER_PIXEL_IS_POINT) => CellsAre::Points,
            _ => CellsAre::Areas,
        }
    }

    /// The system that they name or define.
    pub(super) fn crs(self) -> Option<GridCrs> {
        let code = |key| self.short(key).filter(|code| (1..EPSG_END).contains(code));
        let model = self.short(GT_MODEL_TYPE);
        let projected = code(PROJECTED_CRS).filter(|_| model != Some(MODEL_TYPE_GEOGRAPHIC));
        let geographic = code(GEODETIC_CRS).filter(|_| model != Some(MODEL_TYPE_PROJECTED));
        match (projected, geographic, model) {
            (Some(code), _, _) => Some(GridCrs::Epsg { code, unit: Unit::Metre }),
            (None, Some(code), _) => Some(GridCrs::Epsg { code, unit: Unit::Degree }),
            (None, None, Some(_)) => Some(GridCrs::Keys(self)),
            (None, None, None) => None,
        }
    }

    /// What the file calls the system.
    #[must_use]
    pub fn citation(&self) -> &str {
        let key = self.keys().find(|key| key[0] == GT_CITATION && key[1] == tags::GEO_ASCII_PARAMS);
        let text = key.and_then(|key| {
            let start = usize::from(key[3]);
            self.text.get(start..start + usize::from(key[2]))
        });
        text.map_or("of a GeoTIFF's own parameters", |text| text.trim_end_matches('|'))
    }

    fn short(&self, wanted: u16) -> Option<u16> {
        self.keys().find(|key| key[..3] == [wanted, 0, 1]).map(|key| key[3])
    }

    fn keys(&self) -> impl Iterator<Item = &[u16]> {
        self.directory.chunks_exact(4).skip(1)
    }
}

fn raster_type(cells_are: CellsAre) -> u16 {
    match cells_are {
        CellsAre::Areas => RASTER_PIXEL_IS_AREA,
        CellsAre::Points => RASTER_PIXEL_IS_POINT,
    }
}

/// Where the cells are; `None` where the file doesn't say, or says it by several control points.
pub(super) fn read_transform(
    directory: &Directory,
    source: &mut Source,
    cells_are: CellsAre,
) -> Result<Option<Transform>, FormatError> {
    let matrix = directory.numbers(source, tags::MODEL_TRANSFORMATION, 16)?;
    let scale = directory.numbers(source, tags::MODEL_PIXEL_SCALE, 3)?;
    let ties = directory.numbers(source, tags::MODEL_TIEPOINT, VALUES_MAX)?;
    let transform = if let ([width, height, ..], [i, j, _, x, y, _]) = (&scale[..], &ties[..]) {
        let origin = Transform { origin: [*x, *y], column: [*width, 0.0], row: [0.0, -height.abs()] };
        origin.moved(-i, -j)
    } else if let [a, b, _, d, e, f, _, h, ..] = matrix[..] {
        Transform { origin: [d, h], column: [a, e], row: [b, f] }
    } else {
        return Ok(None);
    };
    let of_corners = match cells_are {
        CellsAre::Areas => transform,
        CellsAre::Points => transform.moved(-0.5, -0.5),
    };
    Ok(Some(of_corners).filter(Transform::is_sound))
}
