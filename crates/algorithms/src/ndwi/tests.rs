use super::kernel::legacy;
use super::*;
use crate::test_sink::TestSink;
use anabranch_formats::raster::geotiff::{Reader, Writer, cut, join};
use anabranch_formats::raster::{
    Cells, CellsAre, GridCrs, GridReader as _, GridWriter as _, Mosaic, Samples, Tile, Transform, tiles,
};
use anabranch_model::LiteralValue;
use std::path::Path;
use std::process::Command;

fn grid(sample_type: SampleType, width: u32, height: u32, bands: usize) -> Grid {
    Grid {
        width,
        height,
        sample_type,
        bands: vec![Band::AS_STORED; bands],
        nodata: Some(7.0),
        transform: Some(Transform {
            origin: [500_000.0, 5_300_000.0],
            column: [10.0, 0.0],
            row: [0.0, -10.0],
        }),
        cells_are: CellsAre::Areas,
        crs: anabranch_formats::crs::Crs::epsg(25832).ok().and_then(GridCrs::of),
    }
}

/// A file of numbers, band after band.
fn file(grid: &Grid, numbers: &[f64]) -> Data {
    let scratch = tempfile::tempdir().unwrap();
    let room = Room { scratch: scratch.path(), bytes_max: u64::MAX };
    let mut out = Vec::new();
    let mut writer = Box::new(Writer::create(grid, Compression::Zstd, &room, &mut out).unwrap());
    let samples = Samples::nearest(grid.sample_type, numbers);
    writer.write(&Cells { window: grid.window(), samples }).unwrap();
    writer.finish().unwrap();
    Data::Bytes(out.into())
}

/// What is in a file, band after band, and its grid.
fn content(data: &Data) -> (Grid, Vec<f64>) {
    let mut reader = Reader::open(data).unwrap();
    let grid = reader.grid().clone();
    let cells = reader.read_window(grid.window()).unwrap();
    let mut numbers = Vec::new();
    cells.samples.numbers(0..cells.samples.len(), &mut numbers);
    (grid, numbers)
}

fn inputs(nir: &Data, swir: &Data, literals: &[(&str, &str)]) -> Inputs {
    let raster =
        |data: &Data| vec![Value::Complex(ComplexValue::new(data.clone(), RasterFormat::GeoTiff.format()))];
    let mut values = vec![("nir".to_owned(), raster(nir)), ("swir".to_owned(), raster(swir))];
    values.extend(literals.iter().map(|(id, text)| {
        ((*id).to_owned(), vec![Value::Literal(LiteralValue::new(LiteralType::String, *text))])
    }));
    Inputs::new(values)
}

fn run(nir: &Data, swir: &Data, literals: &[(&str, &str)]) -> Result<Data, Error> {
    let sink = TestSink::new();
    Ndwi::new().run(&inputs(nir, swir, literals), &sink)?;
    Ok(Data::Bytes(sink.bytes_of("result").into()))
}

fn random() -> impl FnMut(u64) -> f64 {
    let mut state = 0x9e37_79b9_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below) as f64
    }
}

/// Equal, or both no number.
fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || a.is_nan() && b.is_nan())
}

/// The worked examples: as intended, and as the process of 2012 computed them.
#[test]
fn worked_examples() {
    use SampleType::{F64, I16, U8};
    for (nir, swir, sample_type, of_2012, intended) in [
        (0.4, 0.2, F64, -0.327_868_852_459_016_37, 1.0 / 3.0),
        (0.2, 0.4, F64, 0.327_868_852_459_016_37, -1.0 / 3.0),
        (0.0, 0.0, F64, 0.0, f64::NAN),
        (3000.0, 1500.0, F64, -0.333_332_592_594_238_64, 1.0 / 3.0),
        (100.0, 60.0, U8, 0.0, 0.25),
        (60.0, 100.0, U8, 0.0, -0.25),
        (20.0, 100.0, U8, 1.0, -2.0 / 3.0),
        (200.0, 100.0, U8, 0.0, 1.0 / 3.0),
        (1000.0, 100.0, I16, -1.0, 9.0 / 11.0),
        (100.0, 1000.0, I16, 1.0, -9.0 / 11.0),
        (600.0, 500.0, I16, 0.0, 1.0 / 11.0),
    ] {
        let one = Grid { nodata: None, ..grid(sample_type, 1, 1, 1) };
        let (nir_file, swir_file) = (file(&one, &[nir]), file(&one, &[swir]));
        let (result, index) = content(&run(&nir_file, &swir_file, &[]).unwrap());
        #[allow(clippy::cast_possible_truncation)]
        let rounded = f64::from(intended as f32);
        assert!(same(&index, &[rounded]), "{nir} {swir}: {index:?}");
        assert_eq!(
            (result.sample_type, result.transform, result.crs.as_ref()),
            (SampleType::F32, one.transform, one.crs.as_ref())
        );
        assert!(result.nodata.unwrap().is_nan());
        let (result, index) = content(&run(&nir_file, &swir_file, &[("legacy", "true")]).unwrap());
        assert!(same(&index, &[of_2012]), "{nir} {swir}: {index:?}");
        assert_eq!((result.sample_type, result.nodata), (sample_type, None));
    }
    // Clamped at the ends of the type; something by nothing is the end, nothing by nothing is nothing.
    for (nir, swir, sample_type, of_2012) in [
        (0.0, 0.0, U8, 0.0),
        (-5.0, 5.0, I16, 32_767.0),
        (5.0, -5.0, I16, -32_768.0),
        (30_000.0, 30_000.0, I16, 0.0),
        (-30_000.0, 20_000.0, I16, -3.0),
    ] {
        assert_eq!(legacy(nir, swir, sample_type), of_2012, "{nir} {swir}");
    }
}

/// Every type of values, in tiles and strips of several sizes, against the formula.
#[test]
fn every_layout_gives_the_same() {
    let mut random = random();
    for (index, sample_type) in SampleType::ALL.into_iter().enumerate() {
        let bands = 1 + index % 2;
        let grid = grid(sample_type, 300 + 37 * index as u32, 200 + 71 * index as u32, bands);
        let count = (grid.width * grid.height) as usize * bands;
        let mut numbers = || (0..count).map(|_| random(120)).collect::<Vec<_>>();
        let (nir, swir) = (numbers(), numbers());
        #[allow(clippy::cast_possible_truncation)]
        let expected: Vec<_> = nir
            .iter()
            .zip(&swir)
            .map(|(nir, swir)| match (nir, swir) {
                (7.0, _) | (_, 7.0) => f64::NAN,
                (nir, swir) => f64::from(((nir - swir) / (nir + swir)) as f32),
            })
            .collect();
        let files = [file(&grid, &nir), file(&grid, &swir)];
        for (nir_layout, swir_layout) in [
            (&[][..], &[][..]),
            (&["-co", "TILED=YES", "-co", "BLOCKXSIZE=64", "-co", "BLOCKYSIZE=32"], &["-co", "BLOCKYSIZE=1"]),
            (
                &["-co", "BLOCKYSIZE=2000"],
                &["-co", "TILED=YES", "-co", "INTERLEAVE=BAND", "-co", "COMPRESS=LZW"],
            ),
        ] {
            let [nir, swir] = [(&files[0], nir_layout), (&files[1], swir_layout)].map(|(data, layout)| {
                if layout.is_empty() || sample_type == SampleType::I8 {
                    data.clone()
                } else {
                    translated(data, layout)
                }
            });
            let result =
                run(&nir, &swir, &[("compression", ["deflate", "zstd", "none"][index % 3])]).unwrap();
            let (of_result, index) = content(&result);
            assert!(same(&index, &expected), "{sample_type:?} {nir_layout:?} {swir_layout:?}");
            assert_eq!(of_result.bands.len(), bands);
        }
    }
}

/// What GDAL makes of a file, in another layout.
#[expect(clippy::disallowed_methods, reason = "a test may run GDAL; the library runs nothing")]
fn translated(data: &Data, layout: &[&str]) -> Data {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["from.tif", "to.tif"].map(|name| folder.path().join(name));
    std::fs::write(&from, data.read_all(u64::MAX).unwrap()).unwrap();
    let run =
        Command::new("gdal_translate").args(["-q", "-of", "GTiff"]).args(layout).args([&from, &to]).status();
    assert!(run.expect("these tests need gdal_translate, of Debian's gdal-bin").success());
    Data::Bytes(std::fs::read(&to).unwrap().into())
}

/// Tile by tile, as streams compute it, gives what the whole gives.
#[test]
fn tiles_joined_are_the_whole() {
    let dem = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/jacksboro_dem.tif");
    let nir = Data::file(dem).unwrap();
    let (grid, numbers) = content(&nir);
    let swir = file(&grid, &numbers.iter().rev().copied().collect::<Vec<_>>());
    let (whole_grid, whole) = content(&run(&nir, &swir, &[]).unwrap());
    for (by_row, by_column) in [(1, 1), (3, 2), (20, 1), (1, 43), (5, 4)] {
        let mut joined = Vec::new();
        let scratch = tempfile::tempdir().unwrap();
        let room = Room { scratch: scratch.path(), bytes_max: u64::MAX };
        let part = |data: &Data, window| {
            let mut out = Vec::new();
            let mut reader = Reader::open(data).unwrap();
            cut(&mut reader, window, Compression::None, &room, &mut out, &|| false).unwrap();
            Data::Bytes(out.into())
        };
        let windows = tiles(grid.width, grid.height, by_row, by_column);
        let tile =
            |window| Tile { window, data: run(&part(&nir, window), &part(&swir, window), &[]).unwrap() };
        let mosaic = Mosaic::open(grid.width, grid.height, windows.into_iter().map(tile).collect()).unwrap();
        join(mosaic, Compression::Deflate, &room, &mut joined, &|| false).unwrap();
        let (joined_grid, joined) = content(&Data::Bytes(joined.into()));
        assert!(same(&joined, &whole), "{by_row} x {by_column}");
        assert!(joined_grid.transform.unwrap().is_same(
            &whole_grid.transform.unwrap(),
            grid.width,
            grid.height
        ));
    }
}

#[test]
fn scale_and_offset_count() {
    let bands = vec![Band { scale: 0.0001, offset: -0.1 }];
    let with_tags = Grid { bands, nodata: None, ..grid(SampleType::U16, 1, 1, 1) };
    let plain = Grid { bands: vec![Band::AS_STORED], ..with_tags.clone() };
    let expected = |scale: f64, offset: f64| {
        let (nir, swir) = (5000.0 * scale + offset, 2000.0 * scale + offset);
        #[allow(clippy::cast_possible_truncation)]
        let index = ((nir - swir) / (nir + swir)) as f32;
        vec![f64::from(index)]
    };
    for (grid, literals, scale, offset) in [
        (&with_tags, &[][..], 0.0001, -0.1),
        (&plain, &[("scale", "0.0001"), ("offset", "-0.1")], 0.0001, -0.1),
        (&with_tags, &[("offset", "0")], 0.0001, 0.0),
        (&plain, &[], 1.0, 0.0),
    ] {
        let (_, index) = content(&run(&file(grid, &[5000.0]), &file(grid, &[2000.0]), literals).unwrap());
        assert!((index[0] - expected(scale, offset)[0]).abs() < 1e-7, "{index:?} {literals:?}");
    }
}

#[test]
fn other_grids_are_refused_by_name_or_resampled() {
    let fine = Grid { nodata: None, ..grid(SampleType::F32, 600, 400, 1) };
    let mut random = random();
    let mut numbers = |count: u32| (0..count).map(|_| 1.0 + random(1000)).collect::<Vec<_>>();
    let nir_numbers = numbers(600 * 400);
    let nir = file(&fine, &nir_numbers);
    let moved = |columns: f64, rows: f64, size: f64| {
        let [x, y] = fine.transform.unwrap().at(columns, rows);
        Some(Transform { origin: [x, y], column: [10.0 * size, 0.0], row: [0.0, -10.0 * size] })
    };
    // Twice as large cells that begin two rows above; half as large ones that begin in the middle.
    for (columns, rows, size, width, height) in
        [(0.0, -2.0, 2.0, 300, 190), (100.0, 50.0, 0.5, 900, 800), (-0.3, 0.2, 1.0, 600, 400)]
    {
        let other = Grid { width, height, transform: moved(columns, rows, size), ..fine.clone() };
        let swir_numbers = numbers(width * height);
        let swir = file(&other, &swir_numbers);
        let refused = run(&nir, &swir, &[]).unwrap_err().client_text();
        assert!(refused.contains("input 'swir' must have the grid of 'nir', which has 600 x 400 cells, its corner at 500000 5300000"), "{refused}");
        assert!(
            refused.contains(&format!("it has {width} x {height} cells"))
                && refused.contains("'resample' = true"),
            "{refused}"
        );
        let (result, index) = content(&run(&nir, &swir, &[("resample", "true")]).unwrap());
        assert_eq!(result.transform, fine.transform);
        for row in 0..400_u32 {
            for column in 0..600_u32 {
                let at = (row * 600 + column) as usize;
                let there = |cell: u32, start: f64, side: u32| {
                    let cell = ((f64::from(cell) + 0.5 - start) / size).floor();
                    (cell >= 0.0 && cell < f64::from(side)).then_some(cell as usize)
                };
                let expected = match (there(column, columns, width), there(row, rows, height)) {
                    (Some(x), Some(y)) => {
                        let (nir, swir) = (nir_numbers[at], swir_numbers[y * width as usize + x]);
                        f64::from(((nir - swir) / (nir + swir)) as f32)
                    }
                    _ => f64::NAN,
                };
                assert!(same(&[index[at]], &[expected]), "{column} {row}: {} {expected}", index[at]);
            }
        }
    }
    let elsewhere = Grid { crs: None, ..fine.clone() };
    let swir = file(&elsewhere, &nir_numbers);
    for literals in [&[][..], &[("resample", "true")]] {
        let refused = run(&nir, &swir, literals).unwrap_err().client_text();
        assert!(
            refused.contains("EPSG:25832; it has")
                && refused.contains("no coordinate reference system (a program such as gdalwarp"),
            "{refused}"
        );
    }
}

#[test]
fn refusals_name_the_input() {
    let one = grid(SampleType::U8, 3, 3, 1);
    let good = file(&one, &[1.0; 9]);
    let bad = Data::Bytes("no TIFF".into());
    for (nir, swir, literals, expected) in [
        (&bad, &good, &[][..], "input 'nir' can't be read: GeoTIFF data must begin with II or MM"),
        (&good, &bad, &[], "input 'swir' can't be read"),
        (
            &good,
            &good,
            &[("legacy", "true"), ("scale", "2")],
            "input 'scale' must not be given with 'legacy'",
        ),
        (
            &good,
            &good,
            &[("legacy", "1"), ("resample", "1")],
            "input 'resample' must not be given with 'legacy'",
        ),
    ] {
        let text = run(nir, swir, literals).unwrap_err().client_text();
        assert!(text.contains(expected), "{text}");
    }
    let cancelled = Ndwi::new().run(&inputs(&good, &good, &[]), &TestSink::cancelled());
    assert_eq!(cancelled, Err(Error::Dismissed));
}
