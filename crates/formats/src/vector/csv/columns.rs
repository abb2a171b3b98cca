//! Which columns say where a feature is.

/// Columns of geometries, the one that counts first.
pub(super) const GEOMETRY: [&str; 5] = ["wkt", "geometry", "the_geom", "geom", "geojson"];

/// The column of the system.
pub(super) const CRS: &str = "crs";

pub(super) const X: &str = "x";
pub(super) const Y: &str = "y";
pub(super) const Z: &str = "z";

/// Pairs of columns of coordinates, the one that counts first.
const PAIRS: [[&str; 2]; 6] = [
    [X, Y],
    ["lon", "lat"],
    ["longitude", "latitude"],
    ["lng", "lat"],
    ["long", "lat"],
    ["easting", "northing"],
];

/// The columns of a file, by what they are for.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) place: Place,
    pub(super) crs: Option<usize>,
    /// All others.
    pub(super) properties: Vec<(usize, String)>,
}

/// Where a feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Geometry(usize),
    Coordinates { x: usize, y: usize, z: Option<usize> },
}

impl Columns {
    /// Finds the columns by their names.
    ///
    /// # Errors
    /// The rule that is broken, to be read after "… data".
    pub(super) fn find(names: &[String]) -> Result<Self, String> {
        let find = |wanted: &str| names.iter().position(|name| name.trim().eq_ignore_ascii_case(wanted));
        let crs = find(CRS);
        let geometry = GEOMETRY.iter().find_map(|name| find(name)).map(Place::Geometry);
        let coordinates = || {
            PAIRS.iter().find_map(|pair| {
                let [x, y] = [find(pair[0])?, find(pair[1])?];
                Some((pair[0], Place::Coordinates { x, y, z: find(Z) }))
            })
        };
        let place = match geometry.map(|place| ("", place)).or_else(coordinates) {
            Some(("easting", _)) if crs.is_none() => {
                return Err(
                    "must say in a column \"crs\" what easting and northing mean, e.g. EPSG:25832".to_owned()
                );
            }
            Some((_, place)) => place,
            None => {
                let found: Vec<&str> = names.iter().take(20).map(String::as_str).collect();
                return Err(format!(
                    "must have the columns x and y, lon and lat, longitude and latitude, easting and northing, or one of {}; \
                     its first line has: {}",
                    GEOMETRY.join(", "),
                    found.join(", ")
                ));
            }
        };
        let taken = match place {
            Place::Geometry(column) => [Some(column), None, None],
            Place::Coordinates { x, y, z } => [Some(x), Some(y), z],
        };
        let properties = names
            .iter()
            .cloned()
            .enumerate()
            .filter(|(index, _)| !taken.contains(&Some(*index)) && crs != Some(*index))
            .collect();
        Ok(Self { place, crs, properties })
    }
}
