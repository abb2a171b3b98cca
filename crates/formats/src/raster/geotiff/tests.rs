use super::*;
use crate::crs::Crs;
use crate::raster::testing::{self, bytes, bytes_by_gdal, gdal, info_by_gdal, raster, read_all};
use crate::raster::{
    Band, Cells, CellsAre, Grid, GridCrs, GridReader as _, SampleType, Samples, Transform, Window,
};
use crate::room::Room;
use anabranch_model::Data;
use std::path::{Path, PathBuf};

fn write(grid: &Grid, cells: &Cells, compression: Compression) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    let writer = Writer::create(grid, compression, &room(&scratch), &mut out).unwrap();
    testing::write_in_pieces(Box::new(writer), grid, cells, 100).unwrap();
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left behind");
    out
}

fn room(scratch: &tempfile::TempDir) -> Room<'_> {
    Room { scratch: scratch.path(), bytes_max: u64::MAX }
}

fn open(bytes: &[u8]) -> Result<Reader, FormatError> {
    Reader::open(&Data::Bytes(bytes.to_vec().into()))
}

fn refused(bytes: &[u8]) -> String {
    let read = open(bytes).and_then(|mut reader| read_all(&mut reader));
    read.unwrap_err().to_string()
}

fn in_folder(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("written.tif");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// What GDAL makes of a file, in another layout.
fn translated(path: &Path, options: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("translated.tif");
    let arguments: Vec<&str> = ["-q", "-of", "GTiff"].iter().chain(options).copied().collect();
    gdal("gdal_translate", &arguments, &[path, &out]);
    (folder, out)
}

fn jacksboro() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/jacksboro_dem.tif")
}

#[test]
fn what_is_written_is_read_back_and_by_gdal_too() {
    for sample_type in SampleType::ALL {
        for (compression, bands) in [
            (Compression::None, 1),
            (Compression::Deflate, 3),
            (Compression::Zstd, 1),
            (Compression::Zstd, 2),
        ] {
            let (grid, cells) = raster(sample_type, 300, 270, bands);
            let written = write(&grid, &cells, compression);
            let mut reader = open(&written).unwrap();
            assert_eq!(reader.grid(), &grid);
            assert_eq!(read_all(&mut reader).unwrap(), cells, "{sample_type:?} {compression:?} {bands}");
            let (_folder, path) = in_folder(&written);
            assert!(bytes_by_gdal(&path) == bytes(&cells.samples), "{sample_type:?} {compression:?} {bands}");
            if compression != Compression::Deflate {
                continue;
            }
            let info = info_by_gdal(&path);
            let transform = serde_json::json!([500_000.5, 10.0, 0.0, 5_300_000.25, 0.0, -10.0]);
            assert_eq!(info["geoTransform"], transform);
            assert!(info["coordinateSystem"]["wkt"].as_str().unwrap().contains("ID[\"EPSG\",25832]"));
            assert_eq!(info["bands"].as_array().unwrap().len(), bands);
            assert_eq!(info["bands"][0]["noDataValue"].as_f64(), Some(7.0), "{info}");
            assert_eq!(info["bands"][0]["block"], serde_json::json!([256, 256]));
        }
    }
}

#[test]
fn what_gdal_writes_is_read() {
    use SampleType::{F32, F64, I8, I32, I64, U8, U16};
    let mut count = 0;
    for sample_type in [U8, I8, U16, I32, I64, F32, F64] {
        let (grid, cells) = raster(sample_type, 211, 173, 3);
        let (_folder, source) = in_folder(&write(&grid, &cells, Compression::None));
        for compress in ["NONE", "LZW", "DEFLATE", "ZSTD", "PACKBITS"] {
            let predictors: &[&str] = match compress {
                "NONE" | "PACKBITS" => &["1"],
                _ if sample_type.is_float() => &["1", "2", "3"],
                _ => &["1", "2"],
            };
            for predictor in predictors {
                count += 1;
                let interleave = if count % 3 == 0 { "BAND" } else { "PIXEL" };
                let predictor = format!("PREDICTOR={predictor}");
                let compress = format!("COMPRESS={compress}");
                let interleave = format!("INTERLEAVE={interleave}");
                let mut options = vec!["-co", &compress, "-co", &interleave];
                if !compress.ends_with("NONE") && !compress.ends_with("BITS") {
                    options.extend(["-co", &predictor]);
                }
                let layouts: [&[&str]; 4] = [
                    &["-co", "TILED=YES", "-co", "BLOCKXSIZE=64", "-co", "BLOCKYSIZE=32"],
                    &["-co", "BLOCKYSIZE=7"],
                    &["-co", "ENDIANNESS=BIG"],
                    &["-co", "TILED=YES", "-co", "ENDIANNESS=BIG", "-co", "BIGTIFF=YES"],
                ];
                // GDAL 3.6 writes this predictor in the wrong order where it writes big-endian, and can't read it itself.
                let of_layouts = if predictor == "PREDICTOR=3" { 2 } else { 4 };
                options.extend(layouts[count % of_layouts]);
                let (_folder, path) = translated(&source, &options);
                let mut reader = Reader::open(&Data::file(&path).unwrap()).unwrap();
                assert_eq!(reader.grid(), &grid, "{options:?}");
                assert!(read_all(&mut reader).unwrap() == cells, "{sample_type:?} {options:?}");
            }
        }
    }
}

#[test]
fn small_values_become_bytes_and_short_numbers_long_ones() {
    let (grid, mut cells) = raster(SampleType::U8, 77, 50, 2);
    for bits in [1, 2, 4] {
        let Samples::U8(values) = &mut cells.samples else { unreachable!() };
        values.iter_mut().enumerate().for_each(|(at, value)| *value = (at * 7 / 3 % (1 << bits)) as u8);
        let (_folder, source) = in_folder(&write(&grid, &cells, Compression::Deflate));
        for interleave in ["INTERLEAVE=PIXEL", "INTERLEAVE=BAND"] {
            for compress in ["COMPRESS=NONE", "COMPRESS=LZW"] {
                let bits = format!("NBITS={bits}");
                let options = ["-co", &bits, "-co", interleave, "-co", compress, "-a_nodata", "none"];
                let (_folder, path) = translated(&source, &options);
                let mut reader = Reader::open(&Data::file(&path).unwrap()).unwrap();
                assert!(read_all(&mut reader).unwrap() == cells, "{options:?}");
            }
        }
    }
    let (grid, mut cells) = raster(SampleType::F32, 77, 50, 1);
    let Samples::F32(values) = &mut cells.samples else { unreachable!() };
    values.iter_mut().for_each(|value| *value = value.clamp(-65504.0, 65504.0));
    values[..4].copy_from_slice(&[1e-7, -6e-5, f32::INFINITY, f32::NEG_INFINITY]);
    let (_folder, source) = in_folder(&write(&grid, &cells, Compression::Deflate));
    for predictor in ["PREDICTOR=1", "PREDICTOR=3"] {
        let options = ["-co", "NBITS=16", "-co", "COMPRESS=DEFLATE", "-co", predictor];
        let (_folder, path) = translated(&source, &options);
        let mut reader = Reader::open(&Data::file(&path).unwrap()).unwrap();
        assert_eq!(reader.grid().sample_type, SampleType::F32);
        let read = bytes(&read_all(&mut reader).unwrap().samples);
        assert!(read == bytes_by_gdal(&path), "{predictor}");
    }
}

#[test]
fn a_real_elevation_model_is_read_by_window_as_gdal_reads_it() {
    let mut reader = Reader::open(&Data::file(jacksboro()).unwrap()).unwrap();
    let grid = reader.grid().clone();
    assert_eq!((grid.width, grid.height, grid.sample_type), (403, 344, SampleType::I16));
    assert_eq!(grid.crs.as_ref().unwrap().crs().unwrap(), Crs::epsg(4326).unwrap());
    let all = read_all(&mut reader).unwrap();
    assert_eq!(bytes(&all.samples), bytes_by_gdal(&jacksboro()));
    let mut random = testing::random();
    let mut random = |end: u32| u32::try_from(random() % u64::from(end)).unwrap();
    for _ in 0..60 {
        let (column, row) = (random(grid.width), random(grid.height));
        let (width, height) = (1 + random(grid.width - column), 1 + random(grid.height - row));
        let window = Window { column, row, width, height };
        assert!(reader.read_window(window).unwrap() == testing::part(&grid, &all, window), "{window:?}");
    }
    for window in [
        Window { column: 403, row: 0, width: 1, height: 1 },
        Window { column: 0, row: 0, width: 404, height: 1 },
        Window { column: 0, row: 1, width: 1, height: u32::MAX },
        Window { column: 0, row: 0, width: 0, height: 1 },
    ] {
        let error = reader.read_window(window).unwrap_err().to_string();
        assert!(error.contains("403 x 344 cells"), "{error}");
    }
}

#[test]
fn georeference_is_kept_in_all_its_forms() {
    let (mut grid, cells) = raster(SampleType::U8, 40, 30, 1);
    let rotated = Transform { origin: [10.0, 50.0], column: [0.5, 0.1], row: [0.2, -0.4] };
    let crs = |code| GridCrs::of(Crs::epsg(code).unwrap());
    for (transform, cells_are, crs, nodata) in [
        (grid.transform, CellsAre::Points, crs(4326), Some(f64::NAN)),
        (Some(rotated), CellsAre::Areas, crs(3857), Some(-9999.5)),
        (Some(rotated), CellsAre::Points, crs(4326), None),
        (None, CellsAre::Areas, None, Some(1e300)),
    ] {
        grid = Grid { transform, cells_are, crs, nodata, ..grid };
        let written = write(&grid, &cells, Compression::Deflate);
        let read = open(&written).unwrap().grid().clone();
        assert!(
            (read.transform, read.cells_are, &read.crs) == (grid.transform, grid.cells_are, &grid.crs),
            "{read:?}"
        );
        assert_eq!(read.nodata.map(f64::to_bits), nodata.map(f64::to_bits));
        let (_folder, path) = in_folder(&written);
        let info = info_by_gdal(&path);
        let expected = transform.map(|Transform { origin, column, row }| {
            serde_json::json!([origin[0], column[0], row[0], origin[1], column[1], row[1]])
        });
        assert_eq!(info.get("geoTransform"), expected.as_ref(), "{info}");
        let area = if cells_are == CellsAre::Areas { "Area" } else { "Point" };
        if grid.crs.is_some() {
            assert_eq!(info["metadata"][""]["AREA_OR_POINT"], area);
        }
        // What GDAL writes of it again.
        let (_folder, again) = translated(&path, &[]);
        let again = Reader::open(&Data::file(&again).unwrap()).unwrap().grid().clone();
        let close = |a: [f64; 2], b: [f64; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        match (again.transform, transform) {
            (Some(a), Some(b)) => {
                assert!(close(a.origin, b.origin) && close(a.column, b.column) && close(a.row, b.row));
            }
            (a, b) => assert_eq!(a, b),
        }
        assert_eq!((again.cells_are, again.crs), (cells_are, grid.crs.clone()));
    }
}

#[test]
fn systems_that_are_not_known_here_are_carried_through() {
    let (grid, cells) = raster(SampleType::U8, 40, 30, 1);
    let (_folder, source) = in_folder(&write(&grid, &cells, Compression::Deflate));
    let wkt = |path: &Path| info_by_gdal(path)["coordinateSystem"]["wkt"].clone();
    for srs in ["+proj=laea +lat_0=12 +lon_0=34 +ellps=GRS80 +units=m", "EPSG:3358"] {
        let (_folder, path) = translated(&source, &["-a_srs", srs]);
        let read = Reader::open(&Data::file(&path).unwrap()).unwrap().grid().clone();
        assert!(read.crs.is_some());
        let (_folder, ours) = in_folder(&write(&read, &cells, Compression::Deflate));
        assert_eq!(wkt(&ours), wkt(&path));
    }
    let mars = open(&write(&Grid { crs: None, ..grid }, &cells, Compression::None)).unwrap();
    assert_eq!(mars.grid().crs, None);
}

#[test]
fn scale_and_offset_are_kept() {
    let (mut grid, cells) = raster(SampleType::I16, 40, 30, 2);
    grid.bands = vec![Band { scale: 0.01, offset: -273.15 }, Band::AS_STORED];
    let written = write(&grid, &cells, Compression::Deflate);
    assert_eq!(open(&written).unwrap().grid(), &grid);
    let (_folder, path) = in_folder(&written);
    let info = info_by_gdal(&path);
    assert_eq!(info["bands"][0]["scale"].as_f64(), Some(0.01));
    assert_eq!(info["bands"][0]["offset"].as_f64(), Some(-273.15));
    let (_folder, again) = translated(&path, &[]);
    assert_eq!(Reader::open(&Data::file(&again).unwrap()).unwrap().grid().bands, grid.bands);
}

#[test]
fn blocks_that_are_left_out_hold_no_data() {
    let (mut grid, mut cells) = raster(SampleType::U8, 200, 200, 1);
    grid.nodata = Some(9.0);
    let Samples::U8(values) = &mut cells.samples else { unreachable!() };
    values.iter_mut().skip(64 * 200).for_each(|value| *value = 9);
    let (_folder, source) = in_folder(&write(&grid, &cells, Compression::Deflate));
    let options =
        ["-co", "SPARSE_OK=TRUE", "-co", "TILED=YES", "-co", "BLOCKXSIZE=64", "-co", "BLOCKYSIZE=64"];
    let (_folder, path) = translated(&source, &options);
    assert!(std::fs::metadata(&path).unwrap().len() < 20_000);
    let mut reader = Reader::open(&Data::file(&path).unwrap()).unwrap();
    assert!(read_all(&mut reader).unwrap() == cells);
}

#[test]
fn what_is_too_large_for_32_bits_is_a_bigtiff() {
    for (bands, compression) in [(1, Compression::Deflate), (2, Compression::None)] {
        let (grid, cells) = raster(SampleType::U16, 300, 270, bands);
        let classic = write(&grid, &cells, compression);
        assert!(classic.starts_with(b"II*\0"));
        let scratch = tempfile::tempdir().unwrap();
        for (limit, magic) in [(classic.len() as u64, b"II*\0"), (classic.len() as u64 - 1, b"II+\0")] {
            let mut out = Vec::new();
            let writer = Writer::create(&grid, compression, &room(&scratch), &mut out).unwrap();
            let writer = writer.with_classic_bytes_max(limit);
            testing::write_in_pieces(Box::new(writer), &grid, &cells, 7).unwrap();
            assert!(out.starts_with(magic));
            let mut reader = open(&out).unwrap();
            assert_eq!(reader.grid(), &grid);
            assert!(read_all(&mut reader).unwrap() == cells);
            let (_folder, path) = in_folder(&out);
            assert!(bytes_by_gdal(&path) == bytes(&cells.samples));
        }
    }
}

#[test]
fn large_sides_get_large_tiles() {
    let (grid, cells) = raster(SampleType::U8, 2500, 20, 1);
    let written = write(&grid, &cells, Compression::Deflate);
    let mut reader = open(&written).unwrap();
    assert_eq!(reader.block_size(), (512, 512));
    assert!(read_all(&mut reader).unwrap() == cells);
}

#[test]
fn rows_have_to_come_in_order_and_all() {
    let (grid, cells) = raster(SampleType::U8, 40, 30, 1);
    let scratch = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    let mut writer = Box::new(Writer::create(&grid, Compression::None, &room(&scratch), &mut out).unwrap());
    let window = Window { row: 3, height: 2, ..grid.window() };
    let error = crate::raster::GridWriter::write(&mut *writer, &testing::part(&grid, &cells, window));
    assert!(error.unwrap_err().to_string().contains("where row 0 is next"));
    let error = crate::raster::GridWriter::finish(writer).unwrap_err().to_string();
    assert_eq!(error, "GeoTIFF can't hold 0 of 30 rows");
}

#[test]
fn no_more_is_written_than_there_is_room_for() {
    let (grid, cells) = raster(SampleType::F64, 300, 270, 1);
    let scratch = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    let room = Room { bytes_max: 1_000_000, ..room(&scratch) };
    let writer = Box::new(Writer::create(&grid, Compression::None, &room, &mut out).unwrap());
    let refused = testing::write_in_pieces(writer, &grid, &cells, 300);
    assert!(matches!(refused, Err(FormatError::TooLarge { bytes_max: 1_000_000 })), "{refused:?}");
    assert!(out.is_empty());
}

#[test]
fn what_can_t_be_read_is_named() {
    let (grid, cells) = raster(SampleType::U8, 64, 64, 3);
    let (_folder, source) = in_folder(&write(&grid, &cells, Compression::Deflate));
    for (options, named) in [
        (&["-co", "COMPRESS=JPEG"][..], "JPEG (compression 7)"),
        (&["-co", "COMPRESS=LERC"], "LERC (compression 34887)"),
        (&["-ot", "CFloat32"], "64 bits of sample format 6"),
        (&["-scale", "0", "255", "0", "31", "-co", "NBITS=5"], "5 bits of sample format 1"),
    ] {
        let (_folder, path) = translated(&source, &[&["-a_nodata", "none"], options].concat());
        let error = refused(&std::fs::read(path).unwrap());
        assert!(error.contains(named), "{error}");
    }
    for (bytes, named) in [
        (&b""[..], "must begin with II or MM"),
        (b"II*\0", "ends in its head"),
        (b"II*\0\x08\0\0\0", "has its directory beyond its end (2 bytes at byte 8 of 8)"),
        (b"II*\0\x08\0\0\0\0\0", "must have 1 to 1024 tags, not 0"),
        (b"MM\0*\0\0\0\x08\xff\xff", "must have 1 to 1024 tags, not 65535"),
        (b"II+\0\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", "has its directory beyond its end"),
        (b"II\x55\0\x08\0\0\0", "42 of TIFF or 43 of BigTIFF"),
    ] {
        let error = refused(bytes);
        assert!(error.contains(named), "{error}");
    }
}

/// A classic TIFF of such entries and nothing else.
fn tiff(entries: &[(u16, u16, u32, u32)]) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend(u16::try_from(entries.len()).unwrap().to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 64]);
    bytes
}

#[test]
fn claims_are_refused_before_memory_is_taken_for_them() {
    let sized = |width, height, more: &[(u16, u16, u32, u32)]| {
        let size = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8)];
        refused(&tiff(&[&size, more].concat()))
    };
    let strips = [(273, 4, 1, 8), (278, 4, 1, 1 << 30), (279, 4, 1, 8)];
    for (error, named) in [
        (sized(0, 5, &[]), "1 to 2147483647 cells as its width, not 0"),
        (sized(u32::MAX, 5, &[]), "cells as its width, not 4294967295"),
        (sized(60_000, 60_000, &strips), "may unpack to 5000 times its size"),
        (sized(1, 1 << 28, &[(322, 4, 1, 1 << 20), (323, 3, 1, 64)]), "unpack to 281474976710656"),
        (sized(5, 5, &[(277, 3, 1, 5000)]), "1 to 4096 bands, not 5000"),
        (sized(10_000, 10_000, &[(259, 3, 1, 8)]), "67108864 bytes in a strip or tile"),
        (sized(10_000, 10_000, &[(322, 3, 1, 1), (323, 3, 1, 1)]), "4194304 strips or tiles"),
        (
            sized(10_000, 10, &[(322, 3, 1, 16), (323, 3, 1, 16)]),
            "must say where 625 strips or tiles are, not 0",
        ),
        (sized(10_000, 10, &[(273, 4, 1 << 22, 8)]), "has tag 273 beyond its end"),
        (sized(10_000, 10, &[(273, 4, u32::MAX, 8)]), "at most 4194304 values in tag 273"),
        (sized(10_000, 10, &strips), "has a strip or tile beyond its end (100000 bytes at byte 8"),
        (sized(16, 10, &[(259, 3, 1, 8), (273, 4, 1, 8), (279, 4, 1, 8)]), "can't be unpacked to 160 bytes"),
        (sized(16, 10, &[(259, 3, 1, 32773), (273, 4, 1, 8), (279, 4, 1, 8)]), "must unpack to 160 bytes"),
        (sized(16, 10, &[(259, 3, 1, 8), (317, 3, 1, 3)]), "must have a predictor"),
    ] {
        assert!(error.contains(named), "{error}");
    }
    // One strip of 200 MB that is not packed is read in parts.
    let wide = tiff(&[&[(256, 4, 1, 200 << 20), (257, 4, 1, 1), (258, 3, 1, 8)][..], &strips].concat());
    assert!(refused(&wide).contains("beyond its end"));
    let wider = tiff(&[&[(256, 4, 1, 65_000), (257, 4, 1, 4_000), (258, 3, 1, 8)][..], &strips].concat());
    let mut reader = open(&wider).unwrap();
    let window = Window { column: 0, row: 0, width: 65_000, height: 4_000 };
    assert!(reader.read_window(window).unwrap_err().to_string().contains("beyond its end"));
}

#[test]
fn damaged_files_never_panic() {
    let (mut grid, cells) = raster(SampleType::F32, 70, 40, 2);
    grid.bands[0].scale = 0.5;
    let (_folder, source) = in_folder(&write(&grid, &cells, Compression::None));
    let mut samples = Vec::new();
    for options in [
        ["COMPRESS=DEFLATE", "PREDICTOR=2", "INTERLEAVE=PIXEL"],
        ["COMPRESS=ZSTD", "PREDICTOR=3", "INTERLEAVE=BAND"],
        ["COMPRESS=LZW", "PREDICTOR=3", "INTERLEAVE=PIXEL"],
        ["COMPRESS=PACKBITS", "BIGTIFF=YES", "ENDIANNESS=BIG"],
        ["TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=16"],
    ] {
        let options = options.map(|option| ["-co", option]).concat();
        let (_folder, path) = translated(&source, &options);
        samples.push(std::fs::read(path).unwrap());
    }
    for sample in samples {
        testing::mutate(&sample, |bytes| {
            let mut reader = open(bytes)?;
            // What claims to be larger is read in the same way, for longer.
            if reader.grid().window().height.saturating_mul(reader.grid().width) < 100_000 {
                while let Some(_cells) = reader.next()? {}
            }
            Ok(())
        });
    }
}
