use super::*;
use crate::raster::testing::{self, bytes, bytes_by_gdal, gdal, info_by_gdal, raster, read_all};
use crate::raster::{Band, Cells, CellsAre, Grid, GridReader as _, SampleType, Samples, Transform};
use anabranch_model::Data;
use std::path::Path;

fn open(text: &str) -> Result<Reader, FormatError> {
    Reader::open(&Data::Bytes(text.to_owned().into()), &|| false)
}

fn read(text: &str) -> (Grid, Samples) {
    let mut reader = open(text).unwrap();
    let cells = read_all(&mut reader).unwrap();
    (reader.grid().clone(), cells.samples)
}

fn refused(text: &str) -> String {
    open(text).map(|_reader| ()).unwrap_err().to_string()
}

fn write(grid: &Grid, cells: &Cells) -> Result<String, FormatError> {
    let mut out = Vec::new();
    let writer = Writer::create(grid, &mut out)?;
    testing::write_in_pieces(Box::new(writer), grid, cells, 7)?;
    Ok(String::from_utf8(out).unwrap())
}

/// What a grid says after it has been an Esri grid.
fn kept(grid: Grid, sample_type: SampleType) -> Grid {
    Grid { sample_type, crs: None, cells_are: CellsAre::Areas, ..grid }
}

#[test]
fn what_is_written_is_read_back_and_by_gdal_too() {
    use SampleType::{F32, F64, I16, I32, U8};
    for sample_type in [U8, I16, I32, F32, F64] {
        let (mut grid, cells) = raster(sample_type, 61, 43, 1);
        grid.nodata = Some(if sample_type == U8 { 7.0 } else { -9999.0 });
        let text = write(&grid, &cells).unwrap();
        let (read_grid, samples) = read(&text);
        assert_eq!(read_grid, kept(grid.clone(), sample_type));
        assert_eq!(samples, cells.samples, "{sample_type:?}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("written.asc");
        std::fs::write(&path, &text).unwrap();
        let info = info_by_gdal(&path);
        let transform = serde_json::json!([500_000.5, 10.0, 0.0, 5_300_000.25, 0.0, -10.0]);
        assert_eq!(info["geoTransform"], transform);
        assert_eq!(info["bands"][0]["noDataValue"].as_f64(), grid.nodata);
        let tif = folder.path().join("by_gdal.tif");
        let name = match sample_type {
            U8 => "Byte",
            I16 => "Int16",
            I32 => "Int32",
            F32 => "Float32",
            _ => "Float64",
        };
        let open_option = if sample_type == F64 { "DATATYPE=Float64" } else { "DATATYPE=Float32" };
        let option: &[&str] = if sample_type.is_float() { &["-oo", open_option] } else { &[] };
        gdal("gdal_translate", &[&["-q", "-ot", name], option].concat(), &[&path, &tif]);
        assert!(bytes_by_gdal(&tif) == bytes(&cells.samples), "{sample_type:?}");
    }
}

#[test]
fn what_gdal_writes_is_read() {
    let dem = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/jacksboro_dem.tif");
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("original.tif");
    let path = folder.path().join("dem.asc");
    for (options, sample_type) in [
        (&["-ot", "Int16"][..], SampleType::I16),
        (&["-ot", "Float32", "-scale", "0", "1000", "0", "1"], SampleType::F32),
        (&["-ot", "Float64", "-scale", "0", "1000", "0", "1"], SampleType::F64),
    ] {
        gdal("gdal_translate", &[&["-q"], options].concat(), &[&dem, &original]);
        gdal("gdal_translate", &["-q", "-of", "AAIGrid"], &[&original, &path]);
        let mut reader = Reader::open(&Data::file(&path).unwrap(), &|| false).unwrap();
        let grid = reader.grid().clone();
        assert_eq!((grid.width, grid.height, grid.sample_type), (403, 344, sample_type));
        let info = info_by_gdal(&path);
        let transform = grid.transform.unwrap();
        for (ours, theirs) in
            [transform.origin[0], transform.origin[1], transform.column[0]].iter().zip([0, 3, 1])
        {
            assert!((ours - info["geoTransform"][theirs].as_f64().unwrap()).abs() < 1e-9);
        }
        assert!(bytes(&read_all(&mut reader).unwrap().samples) == bytes_by_gdal(&original), "{options:?}");
    }
}

const HEAD: &str = "ncols 3\nnrows 2\nxllcorner 10\nyllcorner 20\ncellsize 0.5\n";

#[test]
fn heads_are_read_in_every_spelling() {
    let expected = Transform { origin: [10.0, 21.0], column: [0.5, 0.0], row: [0.0, -0.5] };
    for head in [
        HEAD,
        "NROWS 2 NCOLS 3 XLLCORNER 10 YLLCORNER 20 CELLSIZE .5\r\n",
        "ncols         3\nnrows 2.0\nxllcenter 10.25\nyllcenter 20.25\ncellsize 5e-1\n",
        "ncols 3\nnrows 2\nxllcorner 10\nyllcorner 20\ndx 0.5\ndy 0.5\n",
    ] {
        let (grid, samples) = read(&format!("{head}1 2 3\n4 5 6"));
        assert_eq!(grid.transform, Some(expected), "{head}");
        assert_eq!(samples, Samples::U8(vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(grid.nodata, None);
    }
    let (grid, _) = read("ncols 1\nnrows 2\nxllcorner 0\nyllcorner 0\ndx 1\ndy 3\n1\n2\n");
    assert_eq!(grid.transform, Some(Transform { origin: [0.0, 6.0], column: [1.0, 0.0], row: [0.0, -3.0] }));
}

#[test]
fn values_are_of_the_smallest_type_that_holds_them() {
    for (values, sample_type) in [
        ("0 1 2 3 4 255", SampleType::U8),
        ("0 1 2 3 4 256", SampleType::I16),
        ("0 1 2 3 4 -1", SampleType::I16),
        ("0 1 2 3 4 40000", SampleType::I32),
        ("0 1 2 3 4 16777217", SampleType::I32),
        ("0 1 2 3 4 4294967296", SampleType::F32),
        ("0 16777217 2 3 4 4294967296", SampleType::F64),
        ("0 1 2 3 4 0.1", SampleType::F32),
        ("0 1 2 3 4 0.10000000149011611938", SampleType::F32),
        ("0 1 2 3 4 0.123456789012", SampleType::F64),
        ("0 1 2 3 4 1e300", SampleType::F64),
        ("0 1 2 3 4 nan", SampleType::F32),
        ("-0 1 2 3 4 5", SampleType::F32),
    ] {
        let (grid, samples) = read(&format!("{HEAD}{values}"));
        assert_eq!(grid.sample_type, sample_type, "{values}");
        assert_eq!(samples.len(), 6);
    }
    let nodata = |text: &str| open(text).unwrap().grid().nodata;
    assert_eq!(nodata(&format!("{HEAD}1 2 3 4 5 -9999")), Some(-9999.0));
    assert_eq!(nodata(&format!("{HEAD}NODATA_value 0\n1 2 3 4 5 6")), Some(0.0));
    let lowest = f64::from(f32::MIN);
    assert_eq!(nodata(&format!("{HEAD}NODATA_value -3.4028235e+38\n1.5 2 3 4 5 6")), Some(lowest));
}

#[test]
fn what_esri_grids_can_t_hold_is_said() {
    let (grid, cells) = raster(SampleType::U8, 5, 4, 1);
    let refused = |grid: Grid| write(&grid, &cells).unwrap_err().to_string();
    let transform = grid.transform.unwrap();
    let error = refused(Grid { bands: vec![Band::AS_STORED; 3], ..grid.clone() });
    assert_eq!(error, "Esri ASCII grid can't hold 3 bands, only one");
    let error =
        refused(Grid { transform: Some(Transform { row: [0.0, -20.0], ..transform }), ..grid.clone() });
    assert!(error.ends_with("cells that are not square (10 by 20)"), "{error}");
    for row in [[0.5, -10.0], [0.0, 10.0]] {
        let error = refused(Grid { transform: Some(Transform { row, ..transform }), ..grid.clone() });
        assert!(error.contains("from west to east"), "{error}");
    }
}

#[test]
fn cells_without_a_value_and_scaled_ones_are_written_as_such() {
    let (grid, _) = raster(SampleType::U8, 3, 1, 1);
    let head = "ncols 3\nnrows 1\nxllcorner 0\nyllcorner 0\ncellsize 1\n";
    let grid = Grid { transform: None, nodata: None, ..grid };
    let text =
        |grid: &Grid, samples: Samples| write(grid, &Cells { window: grid.window(), samples }).unwrap();
    assert_eq!(text(&grid, Samples::U8(vec![1, 2, 255])), format!("{head}1 2 255\n"));
    let scaled = Grid { bands: vec![Band { scale: 0.5, offset: 10.0 }], nodata: Some(0.0), ..grid.clone() };
    assert_eq!(
        text(&scaled, Samples::U8(vec![0, 1, 2])),
        format!("{head}NODATA_value -9999\n-9999 10.5 11\n")
    );
    let floats = Grid { sample_type: SampleType::F32, ..grid };
    let written = text(&floats, Samples::F32(vec![f32::NAN, 1e-30, f32::MAX]));
    assert_eq!(written, format!("{head}NODATA_value -9999\n-9999 1e-30 3.4028235e38\n"));
    let own = Grid { nodata: Some(-1.0), ..floats };
    assert_eq!(
        text(&own, Samples::F32(vec![f32::NAN, -1.0, 0.1])),
        format!("{head}NODATA_value -1\n-1 -1 0.1\n")
    );
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, named) in [
        (String::new(), "must have values after its head (in line 1)"),
        ("hello".to_owned(), "as its head, not \"hello\" (in line 1)"),
        ("ncols x\n".to_owned(), "must have a number after \"ncols\" (in line 1)"),
        (
            "ncols 3\nnrows 2\nxllcorner 1\nyllcorner 1\n1 2 3 4 5 6".to_owned(),
            "cellsize that is greater than 0, not nothing",
        ),
        ("ncols 3\nnrows 2\ncellsize 1\n1 2 3 4 5 6".to_owned(), "must have xllcorner or xllcenter"),
        ("ncols 2.5\nnrows 2\n1 2".to_owned(), "must have ncols from 1 to 2147483647, not 2.5"),
        ("ncols 3\nnrows -2\n1 2".to_owned(), "must have nrows from 1 to 2147483647, not -2"),
        (format!("{HEAD}1 2 3\n4 5"), "must have 6 values, not 5 (in line 7)"),
        (format!("{HEAD}1 2 3\n4 5 6 7"), "must have 6 values, and has more (in line 7)"),
        (format!("{HEAD}1 2 3\n4 five 6"), "must have numbers as values, not \"five\" (in line 7)"),
        (format!("{HEAD}1 2 3\n4 5,5 6"), "not \"5,5\""),
        (HEAD.replace('3', "2000000000") + "1 2 3", "2000000000 x 2 values, and"),
        ("ncols 1 ".repeat(9), "as its head, not \"ncols\""),
        ("1".repeat(1000), "at most 400 characters in a word"),
    ] {
        let error = refused(&text);
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn reading_can_be_stopped() {
    let side = 1100;
    let text = format!(
        "ncols {side}\nnrows {side}\nxllcorner 0\nyllcorner 0\ncellsize 1\n{}",
        "1 ".repeat(side * side)
    );
    let stopped = Reader::open(&Data::Bytes(text.into()), &|| true).map(|_reader| ());
    assert!(matches!(stopped, Err(FormatError::Stopped)));
}

#[test]
fn damaged_data_never_panics() {
    let (grid, cells) = raster(SampleType::F32, 20, 10, 1);
    testing::mutate(write(&grid, &cells).unwrap().as_bytes(), |bytes| {
        let mut reader = Reader::open(&Data::Bytes(bytes.to_vec().into()), &|| false)?;
        while let Some(_cells) = reader.next()? {}
        Ok(())
    });
}
