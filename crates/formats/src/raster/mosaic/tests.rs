use super::*;
use crate::raster::geotiff::{Compression, cut, join};
use crate::raster::testing::{
    bytes, bytes_by_gdal, gdal, info_by_gdal, part, random, raster, read_all, write_in_pieces,
};
use crate::raster::{SampleType, geotiff, growing_tiles, tiles};
use crate::room::Room;
use std::path::Path;

fn room(folder: &tempfile::TempDir) -> Room<'_> {
    Room { scratch: folder.path(), bytes_max: u64::MAX }
}

fn written(grid: &Grid, cells: &Cells, compression: Compression) -> Data {
    let scratch = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    let writer = geotiff::Writer::create(grid, compression, &room(&scratch), &mut out).unwrap();
    write_in_pieces(Box::new(writer), grid, cells, 50).unwrap();
    Data::Bytes(out.into())
}

fn cut_all(data: &Data, windows: &[Window]) -> Vec<Tile> {
    let scratch = tempfile::tempdir().unwrap();
    let mut reader = Reader::open(data).unwrap();
    let tile = |window: &Window| {
        let mut out = Vec::new();
        cut(&mut reader, *window, Compression::None, &room(&scratch), &mut out, &|| false).unwrap();
        Tile { window: *window, data: Data::Bytes(out.into()) }
    };
    windows.iter().map(tile).collect()
}

fn joined(width: u32, height: u32, tiles: Vec<Tile>) -> Result<Vec<u8>, FormatError> {
    let scratch = tempfile::tempdir().unwrap();
    let mosaic = Mosaic::open(width, height, tiles)?;
    let mut out = Vec::new();
    join(mosaic, Compression::Deflate, &room(&scratch), &mut out, &|| false)?;
    Ok(out)
}

/// Any partition, also one whose tiles are not in rows.
fn random_partition(whole: Window, random: &mut impl FnMut() -> u64, depth: u32, into: &mut Vec<Window>) {
    let mut below = |end: u32| u32::try_from(random() % u64::from(end)).unwrap();
    let (wide, high) = (whole.width > 1, whole.height > 1);
    if depth == 0 || !(wide || high) || below(5) == 0 {
        into.push(whole);
    } else if wide && (!high || below(2) == 0) {
        let width = 1 + below(whole.width - 1);
        random_partition(Window { width, ..whole }, random, depth - 1, into);
        let rest = Window { column: whole.column + width, width: whole.width - width, ..whole };
        random_partition(rest, random, depth - 1, into);
    } else {
        let height = 1 + below(whole.height - 1);
        random_partition(Window { height, ..whole }, random, depth - 1, into);
        let rest = Window { row: whole.row + height, height: whole.height - height, ..whole };
        random_partition(rest, random, depth - 1, into);
    }
}

#[test]
fn what_is_cut_and_joined_is_what_it_was() {
    let mut random = random();
    for (round, sample_type) in (0..4).flat_map(|round| SampleType::ALL.map(|kind| (round, kind))) {
        let (width, height) = (1 + (random() % 90) as u32, 1 + (random() % 90) as u32);
        let (mut grid, cells) = raster(sample_type, width, height, 1 + round % 3);
        if round == 0 && sample_type.is_float() {
            grid.nodata = Some(f64::NAN);
        }
        let data = written(&grid, &cells, Compression::Zstd);
        let mut windows = Vec::new();
        match round {
            0 => windows = tiles(width, height, 1 + width / 3, 1 + height / 2),
            1 => windows = growing_tiles(width, height, (16, 32)),
            _ => random_partition(grid.window(), &mut random, 6, &mut windows),
        }
        windows.reverse();
        let tiles = cut_all(&data, &windows);
        for tile in &tiles {
            let mut reader = Reader::open(&tile.data).unwrap();
            let cells_of_tile = read_all(&mut reader).unwrap();
            assert!(cells_of_tile.samples == part(&grid, &cells, tile.window).samples);
            let [column, row] = [tile.window.column, tile.window.row].map(f64::from);
            assert_eq!(reader.grid().transform.unwrap().origin, grid.transform.unwrap().at(column, row));
            assert_eq!(reader.grid().crs, grid.crs);
        }
        let whole = Data::Bytes(joined(width, height, tiles).unwrap().into());
        let mut reader = Reader::open(&whole).unwrap();
        assert_eq!(reader.grid().transform, grid.transform);
        assert_eq!(reader.grid().nodata.map(f64::to_bits), grid.nodata.map(f64::to_bits));
        assert!(bytes(&read_all(&mut reader).unwrap().samples) == bytes(&cells.samples));
    }
}

/// Windows larger than a piece, and edges that are not those of blocks.
#[test]
fn large_tiles_are_read_in_pieces() {
    let (grid, cells) = raster(SampleType::F32, 1300, 1700, 1);
    let data = written(&grid, &cells, Compression::Deflate);
    let tiles = cut_all(&data, &tiles(1300, 1700, 1, 2));
    let whole = Data::Bytes(joined(1300, 1700, tiles).unwrap().into());
    assert!(read_all(&mut Reader::open(&whole).unwrap()).unwrap().samples == cells.samples);
}

#[test]
fn gdal_reads_tiles_and_what_they_are_joined_to() {
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/jacksboro_dem.tif");
    let tiles = cut_all(&Data::file(&original).unwrap(), &tiles(403, 344, 3, 2));
    let folder = tempfile::tempdir().unwrap();
    let path = |index: usize| folder.path().join(format!("{index}.tif"));
    for (index, tile) in tiles.iter().enumerate() {
        std::fs::write(path(index), tile.data.read_all(u64::MAX).unwrap()).unwrap();
    }
    // GDAL's own mosaic puts them where their georeference says.
    let (vrt, whole) = (folder.path().join("mosaic.vrt"), folder.path().join("whole.tif"));
    let paths: Vec<_> = (0..tiles.len()).map(path).collect();
    let arguments: Vec<&Path> =
        std::iter::once(vrt.as_path()).chain(paths.iter().map(|path| path.as_path())).collect();
    gdal("gdalbuildvrt", &["-q"], &arguments);
    assert!(bytes_by_gdal(&vrt) == bytes_by_gdal(&original));
    std::fs::write(&whole, joined(403, 344, tiles).unwrap()).unwrap();
    assert!(bytes_by_gdal(&whole) == bytes_by_gdal(&original));
    let (ours, theirs) = (info_by_gdal(&whole), info_by_gdal(&original));
    for member in ["geoTransform", "coordinateSystem", "size"] {
        assert_eq!(ours[member], theirs[member], "{member}");
    }
    assert_eq!(ours["bands"][0]["block"], serde_json::json!([256, 256]));
    check_layout(&std::fs::read(&whole).unwrap());
}

/// What makes a file cloud optimized: its directory comes first, and its tiles come after all that describes them.
fn check_layout(file: &[u8]) {
    let long = |at: usize| u32::from_ne_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let short = |at: usize| usize::from(u16::from_ne_bytes(file[at..at + 2].try_into().unwrap()));
    assert_eq!(long(4), 8, "the directory comes first");
    let entries = (0..short(8)).map(|entry| 10 + entry * 12);
    let mut described_to = 0;
    let mut tiles_from = usize::MAX;
    for at in entries {
        let bytes = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8][short(at + 2)] * long(at + 4);
        if bytes > 4 {
            described_to = described_to.max(long(at + 8) + bytes);
        }
        if short(at) == 324 {
            tiles_from = (0..long(at + 4)).map(|tile| long(long(at + 8) + 4 * tile)).min().unwrap();
        }
    }
    assert!(described_to <= tiles_from && tiles_from < file.len());
}

#[test]
fn tiles_that_are_no_partition_are_refused_by_place() {
    let (grid, cells) = raster(SampleType::U8, 10, 10, 1);
    let data = written(&grid, &cells, Compression::None);
    let refused =
        |tiles: Vec<Tile>| joined(10, 10, tiles).err().map(|error| error.to_string()).unwrap_or_default();
    let quarters = cut_all(&data, &tiles(10, 10, 2, 2));
    for missing in 0..4 {
        let mut tiles = quarters.clone();
        tiles.remove(missing);
        let text = refused(tiles);
        assert!(text.contains("cover each cell once") || text.contains("reach to row"), "{text}");
    }
    let mut twice = quarters.clone();
    twice.push(quarters[1].clone());
    assert!(refused(twice).contains("cover each cell once"));
    let mut overlapping = quarters.clone();
    overlapping.extend(cut_all(&data, &[Window { column: 2, row: 2, width: 3, height: 3 }]));
    assert!(refused(overlapping).contains("cover each cell once"));
    let mut swapped = quarters.clone();
    (swapped[0].window, swapped[1].window) = (swapped[1].window, swapped[0].window);
    assert!(refused(swapped).contains("must lie where they belong"));
    let mut wrong = quarters.clone();
    wrong[2].data = quarters_of_other_type(&grid);
    assert!(refused(wrong).contains("must have the same bands"));
    let mut large = quarters.clone();
    large[3].data = data;
    assert_eq!(
        refused(large),
        "tiles of GeoTIFF data must have the size of their places, and the one of 5 x 5 cells at column 5, row 5 has 10 x 10"
    );
    assert!(refused(Vec::new()).contains("one or more"));
}

fn quarters_of_other_type(grid: &Grid) -> Data {
    let (other, cells) = raster(SampleType::U16, 5, 5, 1);
    let transform = grid.transform.map(|transform| transform.moved(0.0, 5.0));
    written(&Grid { transform, ..other }, &cells, Compression::None)
}

#[test]
fn cutting_and_joining_stop_when_they_are_told_to() {
    let scratch = tempfile::tempdir().unwrap();
    let (grid, cells) = raster(SampleType::U8, 10, 10, 1);
    let data = written(&grid, &cells, Compression::None);
    let mut reader = Reader::open(&data).unwrap();
    let window = grid.window();
    let stopped = cut(&mut reader, window, Compression::None, &room(&scratch), &mut Vec::new(), &|| true);
    assert!(matches!(stopped, Err(FormatError::Stopped)));
    let mosaic = Mosaic::open(10, 10, vec![Tile { window, data }]).unwrap();
    let stopped = join(mosaic, Compression::None, &room(&scratch), &mut Vec::new(), &|| true);
    assert!(matches!(stopped, Err(FormatError::Stopped)));
}
