//! The normalized difference water index of two bands.
//!
//! **What.** (NIR - SWIR) / (NIR + SWIR) for each cell: how much liquid water vegetation holds. The result has the grid of the near
//! infrared band, 32 bits of IEEE 754, and NaN where there is no value.
//!
//! **Units and CRS.** Values are reflectances, or any numbers in proportion to them: stored value · scale + offset, as the files say (GDAL's
//! tags) or as `scale` and `offset` say for both. Between -1 and 1 where no reflectance is negative. Both rasters have the same grid, which is
//! checked, or `resample` takes the nearest cells.
//!
//! **Steps.**
//! 1. Rows of tiles of the result are made one after the other, high enough to keep to the blocks of both files. Nothing larger is held.
//! 2. [`Raster`] unpacks the blocks of such a row on all threads of the pool that the algorithm runs on.
//! 3. On all threads too, `kernel` computes the tiles of the result, and they are packed.
//! 4. They are written in order: a tiled GeoTIFF with its directory in front, which is the layout of a COG.
//!
//! **Source.** B.-C. Gao: NDWI - A normalized difference water index for remote sensing of vegetation liquid water from space. Remote Sensing
//! of Environment 58(3), 1996, 257-266. What `legacy` does is what 52°North's process of 2012 did: the difference the other way round, 0.01
//! added to the sum, and all in the larger type of the two, where whole numbers are clamped and rounded at each step.
//!
//! **Edge cases.** No value of either band, or a sum of 0, gives none; with `legacy` there is no such thing. Bands are taken in pairs, as many as
//! both rasters have. With `resample`, cells beyond the edge of the other raster have no value.

mod kernel;
mod raster;

use crate::describe::{built_in, choice, complex, input, literal, output, paper, with_default, words};
use crate::refusal::refused;
use anabranch_formats::raster::geotiff::{Compression, TilePacker, TileWriter};
use anabranch_formats::raster::{Band, Grid, RasterFormat, SampleType, Window};
use anabranch_formats::{FormatError, Room};
use anabranch_model::{
    Algorithm, AlgorithmSink, Chunking, ComplexValue, Cut, Data, Error, FaultKind, Inputs, LiteralType,
    Occurs, ProcessDescription, Value,
};
use kernel::Kernel;
use raster::{Pool, Raster};
use rayon::prelude::*;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::Arc;

/// Bytes of cells of both rasters that a row of tiles is made higher for, so that each block is unpacked once.
const ROW_BYTES_MAX: u64 = 128 << 20;

/// Rasters up to here are computed by one thread, in cells: some ten milliseconds of work. A thread that waits for its half takes up whatever run
/// comes next, on top of this one, and the first tile of a stream would be there after the second.
const ALONE_CELLS_MAX: u64 = 512 * 512;

/// The process `ndwi`; what it does stands at the head of its file.
pub struct Ndwi {
    description: Arc<ProcessDescription>,
}

impl Default for Ndwi {
    fn default() -> Self {
        Self::new()
    }
}

impl Ndwi {
    /// As it is published.
    #[must_use]
    pub fn new() -> Self {
        Self { description: Arc::new(describe()) }
    }
}

fn describe() -> ProcessDescription {
    let geotiff = || complex([RasterFormat::GeoTiff.format()]);
    let boolean = || with_default(literal(LiteralType::Boolean), "false");
    let nir = input(
        "nir",
        "Near infrared band",
        "A GeoTIFF of reflectances, around 0.86 micrometres. Its grid is that of the result.",
        Occurs::ONE,
        geotiff(),
    );
    let swir = input(
        "swir",
        "Short-wave infrared band",
        "A GeoTIFF of reflectances, around 1.24 micrometres (or 1.6, as Landsat and Sentinel-2 have it), on the same grid.",
        Occurs::ONE,
        geotiff(),
    );
    let resample = input(
        "resample",
        "Bring bands together",
        "Where the grids differ, takes the nearest cell of the short-wave infrared band instead of refusing it. The coordinate reference \
         system has to be the same.",
        Occurs::OPTIONAL,
        boolean(),
    );
    let scale = input(
        "scale",
        "Scale",
        "Factor that makes reflectances of the stored values of both bands; instead of what the files say.",
        Occurs::OPTIONAL,
        literal(LiteralType::Double),
    );
    let offset = input(
        "offset",
        "Offset",
        "What is added to scaled values of both bands; instead of what the files say.",
        Occurs::OPTIONAL,
        literal(LiteralType::Double),
    );
    let compression = input(
        "compression",
        "Compression of the result",
        "deflate is what every reader knows, zstd takes a fourth of its time and needs GDAL 2.3 or younger, none is quickest and largest.",
        Occurs::OPTIONAL,
        with_default(choice(LiteralType::String, &["deflate", "zstd", "none"]), "deflate"),
    );
    let legacy = input(
        "legacy",
        "As in 2012",
        "Computes (SWIR - NIR) / (NIR + SWIR + 0.01) in the type of the stored values, clamped and rounded, as the process of the same name \
         did that came with 52°North's streaming WPS. For comparisons only.",
        Occurs::OPTIONAL,
        boolean(),
    );
    let result = output(
        "result",
        "Index",
        "A tiled GeoTIFF of values between -1 and 1 in 32 bits of IEEE 754; no data is NaN.",
        geotiff(),
    );
    ProcessDescription {
        title: "Normalized difference water index".into(),
        description: "Computes (NIR - SWIR) / (NIR + SWIR) for each cell of two bands of a satellite image: the water that vegetation holds."
            .into(),
        keywords: words(&["NDWI", "water", "vegetation", "remote sensing", "raster", "index", "GeoTIFF"]),
        metadata: vec![paper("Gao 1996", "https://doi.org/10.1016/S0034-4257(96)00067-3")],
        inputs: vec![nir, swir, resample, scale, offset, compression, legacy],
        outputs: vec![result],
        idempotent: true,
        chunking: Some(Chunking::new(words(&["nir", "swir"]), "result", Cut::Tiles)),
        ..ProcessDescription::new(built_in("ndwi"))
    }
}

/// The literal inputs.
struct Parameters {
    resample: bool,
    scale: Option<f64>,
    offset: Option<f64>,
    compression: Compression,
    legacy: bool,
}

impl Parameters {
    fn of(inputs: &Inputs) -> Result<Self, Error> {
        let is_true = |id| matches!(inputs.text(id).map(str::trim), Some("true" | "1"));
        let number = |id| inputs.text(id).map(|_there| inputs.number(id)).transpose();
        let compression = match inputs.text("compression").map(str::trim) {
            Some("zstd") => Compression::Zstd,
            Some("none") => Compression::None,
            _ => Compression::QuickDeflate,
        };
        let parameters = Self {
            resample: is_true("resample"),
            scale: number("scale")?,
            offset: number("offset")?,
            compression,
            legacy: is_true("legacy"),
        };
        if parameters.legacy {
            for (id, is_given) in [
                ("resample", parameters.resample),
                ("scale", parameters.scale.is_some()),
                ("offset", parameters.offset.is_some()),
            ] {
                if is_given {
                    return Err(refused(id, FaultKind::NotAllowed, "must not be given with 'legacy'"));
                }
            }
        }
        Ok(parameters)
    }

    /// What stored values of a band mean.
    fn band(&self, band: &Band) -> Band {
        Band { scale: self.scale.unwrap_or(band.scale), offset: self.offset.unwrap_or(band.offset) }
    }
}

impl Algorithm for Ndwi {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.description)
    }

    fn run(&self, inputs: &Inputs, sink: &dyn AlgorithmSink) -> Result<(), Error> {
        let parameters = Parameters::of(inputs)?;
        let nir = Raster::open("nir", &inputs.complex("nir")?.data)?;
        let swir = Raster::open("swir", &inputs.complex("swir")?.data)?;
        let is_resampled = !nir.has_grid_of(&swir);
        if is_resampled {
            nir.check_resampling(&swir, parameters.resample)?;
        }
        let kernel = Kernel::of(&nir.grid, &swir.grid, &parameters);
        let grid = Grid {
            sample_type: kernel.sample_type(),
            bands: vec![Band::AS_STORED; kernel.bands()],
            nodata: (!parameters.legacy).then_some(f64::NAN),
            ..nir.grid.clone()
        };
        let job = Job { nir, swir, is_resampled, kernel, grid, compression: parameters.compression };
        let path = sink.scratch().join("ndwi.tif");
        job.write(&path, sink)?;
        let data = Data::file(&path).map_err(|error| not_written(error.into()))?;
        sink.write("result", Value::Complex(ComplexValue::new(data, RasterFormat::GeoTiff.format())))
    }
}

/// One run.
struct Job {
    nir: Raster,
    swir: Raster,
    is_resampled: bool,
    kernel: Kernel,
    grid: Grid,
    compression: Compression,
}

impl Job {
    fn write(&self, path: &std::path::Path, sink: &dyn AlgorithmSink) -> Result<(), Error> {
        let room = Room { scratch: sink.scratch(), bytes_max: u64::MAX };
        let file = File::create_new(path).map_err(|error| not_written(error.into()))?;
        let mut out = BufWriter::new(file);
        let mut writer =
            TileWriter::create(&self.grid, self.compression, &room, &mut out).map_err(not_written)?;
        let packers = Pool::new(|| TilePacker::new(&self.grid, self.compression).map_err(not_written));
        let height = self.row_height(writer.side());
        let mut row = 0;
        while row < self.grid.height {
            if sink.is_cancelled() {
                return Err(Error::Dismissed);
            }
            let rows = Window { row, height: height.min(self.grid.height - row), ..self.grid.window() };
            for tile in self.tiles(rows, writer.side(), &packers)? {
                writer.push(&tile).map_err(not_written)?;
            }
            row += rows.height;
            #[allow(clippy::cast_possible_truncation)] // for people
            let percent = (100.0 * f64::from(row) / f64::from(self.grid.height)) as f32;
            sink.progress(percent, Some(&format!("{row} of {} rows", self.grid.height)));
        }
        writer.finish().map_err(not_written)?;
        out.flush().map_err(|error| not_written(error.into()))
    }

    /// How many rows are computed together: rows of tiles of the result, as many as the blocks of both files are high, where that is not
    /// too much to hold.
    fn row_height(&self, side: u32) -> u32 {
        let block =
            if self.is_resampled { self.nir.block.1 } else { self.nir.block.1.max(self.swir.block.1) };
        let wanted = block.min(self.grid.height).div_ceil(side).saturating_mul(side);
        let bytes = u64::from(wanted) * (self.nir.row_bytes() + self.swir.row_bytes());
        if bytes <= ROW_BYTES_MAX { wanted.max(side) } else { side }
    }

    /// The packed tiles of some rows, in the order in which they are written.
    fn tiles(&self, rows: Window, side: u32, packers: &Pool<'_, TilePacker>) -> Result<Vec<Vec<u8>>, Error> {
        let is_alone = u64::from(self.grid.width) * u64::from(self.grid.height) <= ALONE_CELLS_MAX;
        let least = if is_alone { usize::MAX } else { 1 };
        let read_nir = || self.nir.read(rows, least);
        let read_swir = || if self.is_resampled { Ok(Vec::new()) } else { self.swir.read(rows, least) };
        let (nir, swir) = if is_alone { (read_nir(), read_swir()) } else { rayon::join(read_nir, read_swir) };
        let (nir, swir) = (nir?, swir?);
        let mut places = Vec::new();
        for row in (rows.row..rows.row + rows.height).step_by(side as usize) {
            for band in 0..self.kernel.bands() {
                for column in (0..rows.width).step_by(side as usize) {
                    let (width, height) =
                        (side.min(rows.width - column), side.min(rows.row + rows.height - row));
                    places.push((band, Window { column, row, width, height }));
                }
            }
        }
        places
            .into_par_iter()
            .with_min_len(least)
            .map(|(band, place)| {
                let resampled;
                let swir = if self.is_resampled {
                    resampled = self.swir.nearest(band, place, &self.nir.grid)?;
                    self.kernel.resampled(&nir, &resampled, band, place)
                } else {
                    self.kernel.tile(&nir, &swir, band, place)
                };
                packers.with(|packer| packer.pack(&swir, place.width as usize).map_err(not_written))
            })
            .collect()
    }
}

fn not_written(error: FormatError) -> Error {
    match error {
        FormatError::Io(error) => match error.kind() {
            std::io::ErrorKind::StorageFull
            | std::io::ErrorKind::QuotaExceeded
            | std::io::ErrorKind::FileTooLarge => Error::NotEnoughStorage { detail: error.to_string() },
            _ => Error::internal(format!("the result can't be written: {error}")),
        },
        other => Error::process_failed(format!("the result can't be written: {other}")),
    }
}

/// The larger of two types, as Java's imaging library orders them.
fn larger(a: SampleType, b: SampleType) -> SampleType {
    let rank = |kind| SampleType::ALL.iter().position(|other| *other == kind);
    if rank(a) >= rank(b) { a } else { b }
}

#[cfg(test)]
mod tests;
