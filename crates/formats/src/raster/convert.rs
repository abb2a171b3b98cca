//! From one raster format to another.

use super::{Grid, GridReader, GridWriter, RasterFormat, esri_grid, geotiff};
use crate::FormatError;
use crate::room::Room;
use anabranch_model::Data;
use std::io::Write;

/// Reads data of a format. `stop` is asked again and again whether to go on.
///
/// # Errors
/// Where its beginning is not sound, or [`FormatError::Stopped`].
pub fn open(
    format: RasterFormat,
    data: &Data,
    stop: &dyn Fn() -> bool,
) -> Result<Box<dyn GridReader>, FormatError> {
    Ok(match format {
        RasterFormat::GeoTiff => Box::new(geotiff::Reader::open(data)?),
        RasterFormat::EsriGrid => Box::new(esri_grid::Reader::open(data, stop)?),
    })
}

/// Writes a raster in a format; there is `room` for what has to lie in files meanwhile.
///
/// # Errors
/// Where the format can't hold such a raster, or the bytes can't be written.
pub fn create<'a>(
    format: RasterFormat,
    grid: &Grid,
    room: &Room<'_>,
    out: &'a mut dyn Write,
) -> Result<Box<dyn GridWriter + 'a>, FormatError> {
    Ok(match format {
        RasterFormat::GeoTiff => {
            Box::new(geotiff::Writer::create(grid, geotiff::Compression::Deflate, room, out)?)
        }
        RasterFormat::EsriGrid => Box::new(esri_grid::Writer::create(grid, out)?),
    })
}

/// Writes `data`, which is in the format `from`, to `out` in the format `to`, a few rows at a time. `stop` is asked between them.
///
/// # Errors
/// The first fault of the data, what `to` can't hold, or [`FormatError::Stopped`]; `out` then holds a part.
pub fn convert(
    data: &Data,
    from: RasterFormat,
    to: RasterFormat,
    room: &Room<'_>,
    out: &mut dyn Write,
    stop: &dyn Fn() -> bool,
) -> Result<(), FormatError> {
    let mut reader = open(from, data, stop)?;
    let mut writer = create(to, reader.grid(), room, out)?;
    while let Some(cells) = reader.next()? {
        if stop() {
            return Err(FormatError::Stopped);
        }
        writer.write(&cells)?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests;
