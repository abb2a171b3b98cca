//! Coordinate reference systems: their identifiers.

/// A coordinate reference system.
///
/// Inside this crate coordinates always stand in the order x, y (east, north; longitude, latitude) whatever the system says:
/// readers and writers swap where the form of an identifier asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Crs {
    /// Longitude and latitude of WGS 84 in degrees (OGC:CRS84): what GeoJSON and KML are always in.
    Crs84,
    /// A system of the EPSG register by its code.
    Epsg(u32),
}
