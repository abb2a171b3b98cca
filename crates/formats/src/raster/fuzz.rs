//! Any bytes through a reader, and what it gives through the writers, as the fuzzers do: errors are welcome, panics are not.

use super::{RasterFormat, create, open};
use crate::FormatError;
use crate::room::Room;
use anabranch_model::Data;
use std::io::sink;

/// Cells that are read of one input: more are the same again.
const CELLS_MAX: u64 = 1 << 20;

fn read_and_write(format: RasterFormat, data: &[u8]) -> Result<(), FormatError> {
    let data = Data::Bytes(data.to_vec().into());
    let scratch = std::env::temp_dir();
    let room = Room { scratch: &scratch, bytes_max: u64::MAX };
    for to in RasterFormat::ALL {
        let mut reader = open(format, &data, &|| false)?;
        let grid = reader.grid();
        if u64::from(grid.width) * u64::from(grid.height) > CELLS_MAX {
            return Ok(());
        }
        let mut out = sink();
        let mut writer = create(to, grid, &room, &mut out)?;
        while let Some(cells) = reader.next()? {
            writer.write(&cells)?;
        }
        writer.finish()?;
    }
    Ok(())
}

/// GeoTIFF.
pub fn fuzz_geotiff(data: &[u8]) {
    let _refused = read_and_write(RasterFormat::GeoTiff, data);
}

/// Esri ASCII grid.
pub fn fuzz_esri_grid(data: &[u8]) {
    let _refused = read_and_write(RasterFormat::EsriGrid, data);
}
