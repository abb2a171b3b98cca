use super::*;
use crate::raster::testing::{bytes_by_gdal, read_all};
use crate::raster::{GridCrs, SampleType};
use std::path::{Path, PathBuf};

fn converted(data: &Data, from: RasterFormat, to: RasterFormat) -> Result<Vec<u8>, FormatError> {
    let scratch = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    let room = Room { scratch: scratch.path(), bytes_max: u64::MAX };
    convert(data, from, to, &room, &mut bytes, &|| false)?;
    Ok(bytes)
}

fn jacksboro() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/jacksboro_dem.tif")
}

#[test]
fn an_elevation_model_becomes_an_esri_grid_and_a_geotiff_again() {
    let dem = Data::file(jacksboro()).unwrap();
    let text = converted(&dem, RasterFormat::GeoTiff, RasterFormat::EsriGrid).unwrap();
    assert!(text.starts_with(b"ncols 403\nnrows 344\nxllcorner -84.41375\nyllcorner 36.44625"));
    assert_eq!(crate::detect(&text), Some("application/arcgrid"));
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("again.tif");
    let again = converted(&Data::Bytes(text.into()), RasterFormat::EsriGrid, RasterFormat::GeoTiff).unwrap();
    std::fs::write(&written, &again).unwrap();
    assert!(bytes_by_gdal(&written) == bytes_by_gdal(&jacksboro()));
    let mut reader = open(RasterFormat::GeoTiff, &Data::file(&written).unwrap(), &|| false).unwrap();
    assert_eq!(reader.grid().sample_type, SampleType::I16);
    assert_eq!(reader.grid().crs, None::<GridCrs>);
    let mut original = open(RasterFormat::GeoTiff, &dem, &|| false).unwrap();
    let (ours, theirs) = (reader.grid().transform.unwrap(), original.grid().transform.unwrap());
    assert!((0..2).all(|axis| (ours.origin[axis] - theirs.origin[axis]).abs() < 1e-9));
    assert!(read_all(&mut *reader).unwrap() == read_all(&mut *original).unwrap());
}

#[test]
fn a_conversion_stops_when_it_is_told_to() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (RasterFormat::GeoTiff, RasterFormat::EsriGrid);
    let dem = Data::file(jacksboro()).unwrap();
    let room = Room { scratch: scratch.path(), bytes_max: u64::MAX };
    let stopped = convert(&dem, from, to, &room, &mut Vec::new(), &|| true);
    assert!(matches!(stopped, Err(FormatError::Stopped)));
}

#[test]
fn data_of_another_format_is_refused_by_name() {
    let text = Data::Bytes("hello".into());
    for (from, to) in
        [(RasterFormat::GeoTiff, RasterFormat::EsriGrid), (RasterFormat::EsriGrid, RasterFormat::GeoTiff)]
    {
        let error = converted(&text, from, to).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{} data must", from.name())), "{error}");
    }
}
