//! Cuts GeoTIFFs into tiles, several of one grid alike.

use super::{Cut, Cutter};
use crate::parameters::{CHUNKS_BY_COLUMN, CHUNKS_BY_ROW, refused};
use crate::tile::{TILE_BYTES_MAX, TilePlace};
use anabranch_formats::raster::geotiff::{self, Compression, Reader};
use anabranch_formats::raster::{Grid, GridReader as _, Window, growing_tiles, tiles};
use anabranch_formats::{FormatError, Room};
use anabranch_model::{ComplexValue, Data, Error, Fault, FaultKind, Format, OutputSink, Subject};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::Arc;

/// Cuts one raster of each input.
pub(super) struct Tiles {
    /// By identifier; all of one grid.
    rasters: Vec<(String, Reader)>,
    windows: Vec<Window>,
    /// Cells that are given beyond each edge.
    overlap: u32,
    next: usize,
    sink: Arc<dyn OutputSink>,
}

impl Tiles {
    /// Reads what the files say of themselves. With `counts` there are so many tiles in a row and in a column; without, tiles keep to the
    /// blocks of the first file. `overlap` cells more are given on each side.
    ///
    /// # Errors
    /// Where a file is no GeoTIFF, their grids differ, or there are more tiles than cells.
    pub(super) fn new(
        inputs: Vec<(String, ComplexValue)>,
        counts: Option<(u32, u32)>,
        overlap: u32,
        sink: Arc<dyn OutputSink>,
    ) -> Result<Self, Error> {
        let open = |(id, value): (String, ComplexValue)| {
            let reader = Reader::open(&value.data).map_err(|error| unreadable(&id, &error))?;
            Ok::<_, Error>((id, reader))
        };
        let rasters = inputs.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let (first, reader) = rasters.first().ok_or_else(|| Error::internal("no input is cut"))?;
        let grid = reader.grid();
        for (id, other) in &rasters[1..] {
            if let Some(difference) = difference(grid, other.grid()) {
                let rule = format!("must have the grid of input '{first}': {difference}");
                return Err(Error::invalid(Fault::new(
                    Subject::Input(id.clone()),
                    FaultKind::NotAllowed,
                    rule,
                )));
            }
        }
        let windows = match counts {
            Some((by_row, by_column)) => {
                for (id, count, side, name) in [
                    (CHUNKS_BY_ROW, by_row, grid.width, "width"),
                    (CHUNKS_BY_COLUMN, by_column, grid.height, "height"),
                ] {
                    if count > side {
                        return Err(refused(
                            id,
                            &format!("must be at most {side}, the raster's {name}"),
                            &count.to_string(),
                        ));
                    }
                }
                tiles(grid.width, grid.height, by_row, by_column)
            }
            None => growing_tiles(grid.width, grid.height, reader.block_size()),
        };
        Ok(Self { rasters, windows, overlap, next: 0, sink })
    }
}

impl Cutter for Tiles {
    fn next(&mut self) -> Result<Option<Cut>, Error> {
        let Some(&window) = self.windows.get(self.next) else { return Ok(None) };
        self.next += 1;
        let Some((_, first)) = self.rasters.first() else { return Ok(None) };
        let place = TilePlace::new(window, self.overlap, first.grid().width, first.grid().height);
        let mut values = Vec::new();
        for (index, (id, reader)) in self.rasters.iter_mut().enumerate() {
            let path = self.sink.scratch().join(format!("cut-{}-{index}.tif", self.next));
            let lost = |error: std::io::Error| super::lost(&path, &error);
            let mut out = BufWriter::new(File::create(&path).map_err(lost)?);
            let room = Room { scratch: self.sink.scratch(), bytes_max: TILE_BYTES_MAX };
            let stop = || self.sink.is_cancelled();
            // Unpacked: it is read once, by a neighbour or over a network that is quicker than packing.
            match geotiff::cut(reader, place.given, Compression::None, &room, &mut out, &stop) {
                Ok(()) => {}
                Err(FormatError::Stopped) => return Err(Error::Dismissed),
                Err(FormatError::Io(error)) => return Err(lost(error)),
                Err(error) => return Err(unreadable(id, &error)),
            }
            out.flush().map_err(lost)?;
            let data = Data::file(&path).map_err(lost)?;
            values.push((id.clone(), ComplexValue::new(data, Format::base64(Format::GEOTIFF))));
        }
        Ok(Some(Cut { values, place: Some(place) }))
    }

    fn total(&self) -> Option<u64> {
        Some(self.windows.len() as u64)
    }
}

fn unreadable(id: &str, error: &FormatError) -> Error {
    let rule = format!("must be a raster that can be cut: {error}");
    Error::invalid(Fault::new(Subject::Input(id.to_owned()), FaultKind::Malformed, rule))
}

/// What is different about two grids: cells of one number must be of one place.
fn difference(a: &Grid, b: &Grid) -> Option<String> {
    if (a.width, a.height) != (b.width, b.height) {
        return Some(format!(
            "it has {} x {} cells instead of {} x {}",
            b.width, b.height, a.width, a.height
        ));
    }
    if a.crs != b.crs {
        return Some("it is in another coordinate reference system".into());
    }
    let moved = match (a.transform, b.transform) {
        (None, None) => false,
        (Some(a_at), Some(b_at)) => {
            // Rounding moves a corner by less than a hundredth of a cell.
            let tolerance = 0.01 * (a_at.column[0].hypot(a_at.column[1])).min(a_at.row[0].hypot(a_at.row[1]));
            let corners = [(0.0, 0.0), (f64::from(a.width), 0.0), (0.0, f64::from(a.height))];
            corners.iter().any(|&(column, row)| {
                let (p, q) = (a_at.at(column, row), b_at.at(column, row));
                (p[0] - q[0]).abs() > tolerance || (p[1] - q[1]).abs() > tolerance
            })
        }
        (Some(_), None) | (None, Some(_)) => true,
    };
    moved.then(|| "its cells lie elsewhere".into())
}
