//! What the tests of all raster formats share: rasters of every kind, and GDAL as the other opinion.

use super::samples::{Sample, with_samples};
use super::{Band, Cells, CellsAre, Grid, GridCrs, GridReader, GridWriter, SampleType, Samples, Transform};
use crate::FormatError;
use crate::crs::Crs;
use std::path::Path;
use std::process::Command;

/// A raster of so many bands whose values use all bits of their type.
pub(super) fn raster(sample_type: SampleType, width: u32, height: u32, bands: usize) -> (Grid, Cells) {
    let grid = Grid {
        width,
        height,
        sample_type,
        bands: vec![Band::AS_STORED; bands],
        nodata: Some(7.0),
        transform: Some(Transform {
            origin: [500_000.5, 5_300_000.25],
            column: [10.0, 0.0],
            row: [0.0, -10.0],
        }),
        cells_are: CellsAre::Areas,
        crs: GridCrs::of(Crs::epsg(25832).unwrap()),
    };
    let count = width as usize * height as usize * bands;
    let mut samples = Samples::filled(sample_type, 0.0, count);
    let mut random = random();
    with_samples!(&mut samples, values => fill(values, &mut random));
    (grid.clone(), Cells { window: grid.window(), samples })
}

/// Slopes with noise on them, and the ends of the range.
fn fill<T: Sample>(values: &mut [T], random: &mut impl FnMut() -> u64) {
    for (index, value) in values.iter_mut().enumerate() {
        let noise = random();
        #[allow(clippy::cast_precision_loss)]
        let slope = (index % 251) as f64 - 60.0 + (noise % 1000) as f64 / 1000.0;
        *value = match noise % 97 {
            0 => T::nearest(f64::MAX),
            1 => T::nearest(f64::MIN),
            2 => T::of_bytes(&noise.to_ne_bytes()[..size_of::<T>()]),
            _ => T::nearest(slope),
        };
        // NaN equals nothing, and GDAL has no word for infinity in text.
        if !value.number().is_finite() {
            *value = T::nearest(3.25e38);
        }
    }
}

/// Numbers that are the same in every run.
pub(super) fn random() -> impl FnMut() -> u64 {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed >> 8
    }
}

/// Writes cells in pieces of so many rows.
pub(super) fn write_in_pieces(
    mut writer: Box<dyn GridWriter + '_>,
    grid: &Grid,
    cells: &Cells,
    rows: u32,
) -> Result<(), FormatError> {
    let mut row = 0;
    while row < grid.height {
        let window = super::Window { row, height: rows.min(grid.height - row), ..grid.window() };
        writer.write(&part(grid, cells, window))?;
        row += window.height;
    }
    writer.finish()
}

/// Cells of a window, from all cells.
pub(super) fn part(grid: &Grid, cells: &Cells, window: super::Window) -> Cells {
    let (width, height) = (grid.width as usize, grid.height as usize);
    let mut samples = Samples::filled(
        grid.sample_type,
        0.0,
        window.width as usize * window.height as usize * grid.bands.len(),
    );
    macro_rules! copy {
        ($($kind:ident),*) => {
            match (&cells.samples, &mut samples) {
                $((Samples::$kind(from), Samples::$kind(to)) => {
                    let mut to = to.iter_mut();
                    for band in 0..grid.bands.len() {
                        for row in window.row..window.row + window.height {
                            let start = (band * height + row as usize) * width + window.column as usize;
                            let from = &from[start..start + window.width as usize];
                            from.iter().zip(&mut to).for_each(|(from, to)| *to = *from);
                        }
                    }
                })*
                _ => panic!("other type"),
            }
        };
    }
    copy!(U8, I8, U16, I16, U32, I32, U64, I64, F32, F64);
    Cells { window, samples }
}

/// All cells of a reader, put together.
pub(super) fn read_all(reader: &mut dyn GridReader) -> Result<Cells, FormatError> {
    let grid = reader.grid().clone();
    let count = grid.width as usize * grid.height as usize * grid.bands.len();
    let mut whole = Samples::filled(grid.sample_type, 0.0, count);
    let mut next_row = 0;
    while let Some(cells) = reader.next()? {
        assert_eq!((cells.window.column, cells.window.row, cells.window.width), (0, next_row, grid.width));
        next_row += cells.window.height;
        macro_rules! copy {
            ($($kind:ident),*) => {
                match (&cells.samples, &mut whole) {
                    $((Samples::$kind(from), Samples::$kind(to)) => {
                        let piece = cells.window.height as usize * grid.width as usize;
                        let start = cells.window.row as usize * grid.width as usize;
                        let bands = to.chunks_exact_mut(grid.width as usize * grid.height as usize);
                        for (to, from) in bands.zip(from.chunks_exact(piece)) {
                            to[start..start + piece].copy_from_slice(from);
                        }
                    })*
                    _ => panic!("other type"),
                }
            };
        }
        copy!(U8, I8, U16, I16, U32, I32, U64, I64, F32, F64);
    }
    assert_eq!(next_row, grid.height);
    Ok(Cells { window: grid.window(), samples: whole })
}

/// The bytes of values, in the machine's order.
pub(super) fn bytes(samples: &Samples) -> Vec<u8> {
    let mut bytes = vec![0; samples.len() * samples.sample_type().bytes()];
    with_samples!(samples, values => put(values, &mut bytes));
    bytes
}

fn put<T: Sample>(values: &[T], bytes: &mut [u8]) {
    let bytes = bytes.chunks_exact_mut(size_of::<T>());
    bytes.zip(values).for_each(|(bytes, value)| value.to_bytes(bytes));
}

/// What GDAL reads as the values of a file, band after band.
pub(super) fn bytes_by_gdal(path: &Path) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.bin");
    // Its raw formats know no whole numbers of 64 bits, but one strip a band is raw too: what ends the file.
    let info = info_by_gdal(path);
    let kind = info["bands"][0]["type"].as_str().unwrap();
    if kind.ends_with("Int64") {
        let (width, height) = (info["size"][0].as_u64().unwrap(), info["size"][1].as_u64().unwrap());
        let strip = format!("BLOCKYSIZE={height}");
        gdal(
            "gdal_translate",
            &["-q", "-of", "GTiff", "-co", "INTERLEAVE=BAND", "-co", &strip],
            &[path, &out],
        );
        let bytes = 8 * width * height * info["bands"].as_array().unwrap().len() as u64;
        let file = std::fs::read(&out).unwrap();
        return file[file.len() - usize::try_from(bytes).unwrap()..].to_vec();
    }
    gdal("gdal_translate", &["-q", "-of", "ENVI", "-co", "INTERLEAVE=BSQ"], &[path, &out]);
    std::fs::read(&out).unwrap()
}

/// What GDAL says of a file.
pub(super) fn info_by_gdal(path: &Path) -> serde_json::Value {
    serde_json::from_str(&gdal("gdalinfo", &["-json"], &[path])).unwrap()
}

/// Runs one of GDAL's programs; gives what it prints.
#[expect(clippy::disallowed_methods, reason = "a test may run GDAL; the library runs nothing")]
pub(super) fn gdal(program: &str, arguments: &[&str], paths: &[&Path]) -> String {
    let run = Command::new(program)
        .args(arguments)
        .args(paths)
        .output()
        .unwrap_or_else(|error| panic!("these tests need {program}, of Debian's gdal-bin: {error}"));
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{program} {arguments:?}: {errors}");
    // A warning is a fault of ours: what we write is to be read without one.
    assert_eq!(errors, "", "{program} {arguments:?}");
    String::from_utf8(run.stdout).unwrap()
}

/// Every cut and many mutations of some bytes: errors are welcome, panics are not, nor is the blame of anything but the data.
pub(super) fn mutate(bytes: &[u8], mut read: impl FnMut(&[u8]) -> Result<(), FormatError>) {
    let mut read = |bytes: &[u8]| {
        if let Err(FormatError::Io(error)) = read(bytes) {
            panic!("not blamed on the data: {error:?}");
        }
    };
    let step = (bytes.len() / 300).max(1);
    for end in (0..bytes.len()).step_by(step) {
        read(&bytes[..end]);
    }
    let mut random = random();
    let mut random = || usize::try_from(random()).unwrap_or(0);
    for round in 0..1500 {
        let mut mutated = bytes.to_vec();
        // Most of what can be wrong stands in front.
        let end = if round % 2 == 0 { mutated.len() } else { mutated.len().min(500) };
        for _ in 0..1 + random() % 4 {
            let at = random() % end;
            mutated[at] = [0, 1, 0x7f, 0x80, 0xff, random().to_le_bytes()[0]][random() % 6];
        }
        read(&mutated);
    }
}
