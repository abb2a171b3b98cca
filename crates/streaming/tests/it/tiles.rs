//! Output streaming of rasters: tiles, their places, the joined whole.

use crate::doubles::{Base, Sink, describe, run, streaming, variants};
use anabranch_formats::Room;
use anabranch_formats::raster::geotiff::{Compression, Reader, Writer};
use anabranch_formats::raster::{
    Band, Cells, CellsAre, Grid, GridReader as _, GridWriter as _, SampleType, Samples, Transform,
};
use anabranch_model::{
    ComplexValue, Cut, Data, DataDescription, Format, LiteralType, LiteralValue, ProcessDescription, Value,
};

const PLAYLIST: &str = "application/x-ogc-playlist+image/tiff; application=geotiff";

/// Takes and gives GeoTIFFs.
fn raster_process(cut: &[&str]) -> ProcessDescription {
    let mut description = describe(cut);
    let inputs = description.inputs.iter_mut().map(|input| &mut input.data);
    for data in inputs.chain(description.outputs.iter_mut().map(|output| &mut output.data)) {
        if let DataDescription::Complex(domain) = data {
            domain.formats = vec![Format::base64(Format::GEOTIFF)];
        }
    }
    if let Some(chunking) = &mut description.chunking {
        chunking.cut = Cut::Tiles;
    }
    description
}

/// Cells that count up from 0, the first at `west`.
fn raster(width: u32, height: u32, west: f64) -> Value {
    let grid = Grid {
        width,
        height,
        sample_type: SampleType::U16,
        bands: vec![Band::AS_STORED],
        nodata: None,
        transform: Some(Transform { origin: [west, 50.0], column: [0.5, 0.0], row: [0.0, -0.5] }),
        cells_are: CellsAre::Areas,
        crs: None,
    };
    let cells = (0..width * height).map(|n| u16::try_from(n).unwrap()).collect();
    written(&grid, cells)
}

fn count(count: u32) -> Value {
    Value::Literal(LiteralValue::new(LiteralType::Integer, count.to_string()))
}

/// Gives back the first of its inputs.
fn giving(cut: &[&str]) -> std::sync::Arc<Base> {
    Base::of(raster_process(cut), |chunk| async move {
        let first = chunk.execution.inputs.iter().find(|(id, _)| *id != "note").unwrap().1[0].clone();
        chunk.execution.sink.write("out", first).await
    })
}

fn read(bytes: &[u8]) -> (Grid, Vec<u16>) {
    let mut reader = Reader::open(&Data::Bytes(bytes.to_vec().into())).unwrap();
    let grid = reader.grid().clone();
    let Samples::U16(cells) = reader.read_window(grid.window()).unwrap().samples else {
        panic!("of another type")
    };
    (grid, cells)
}

#[tokio::test]
async fn tiles_are_an_exact_partition_in_their_places() {
    let sink = Sink::new();
    let process = streaming(&giving(&["dem"]), "OutputStreaming", &[]);
    let inputs = vec![("dem", raster(10, 7, 8.0)), ("chunksByRow", count(3)), ("chunksByColumn", count(2))];
    run(&process, inputs, PLAYLIST, 0, &sink).await.unwrap();
    let tiles: Vec<_> = sink.bytes().iter().map(|bytes| read(bytes)).collect();
    let sizes: Vec<_> = tiles.iter().map(|(grid, _)| (grid.width, grid.height)).collect();
    assert_eq!(sizes, [(3, 3), (3, 3), (4, 3), (3, 4), (3, 4), (4, 4)]);
    let origins: Vec<_> = tiles.iter().map(|(grid, _)| grid.transform.unwrap().origin).collect();
    assert_eq!(origins[..4], [[8.0, 50.0], [9.5, 50.0], [11.0, 50.0], [8.0, 48.5]]);
    assert_eq!(tiles[4].1[..3], [33, 34, 35], "row 3, columns 3 to 5");
}

#[tokio::test]
async fn joined_tiles_are_the_raster() {
    for counts in [Some((3, 2)), Some((10, 7)), Some((1, 1)), None] {
        let sink = Sink::new();
        let process = streaming(&giving(&["dem"]), "OutputStreaming", &[]);
        let mut inputs = vec![("dem", raster(10, 7, 8.0))];
        if let Some((by_row, by_column)) = counts {
            inputs.extend([("chunksByRow", count(by_row)), ("chunksByColumn", count(by_column))]);
        }
        run(&process, inputs, Format::GEOTIFF, 0, &sink).await.unwrap();
        let Value::Complex(whole) = raster(10, 7, 8.0) else { unreachable!() };
        assert_eq!(read(&sink.bytes()[0]), read(&whole.data.read_all(u64::MAX).unwrap()), "{counts:?}");
    }
}

/// The sum of each cell and its neighbours, as far as there are any.
fn sums(width: u32, height: u32, cells: &[u16]) -> Vec<u16> {
    let at = |column: u32, row: u32| cells[(row * width + column) as usize];
    let around = |n: u32, side: u32| n.saturating_sub(1)..(n + 2).min(side);
    let sum = |column, row| {
        let rows = around(row, height);
        rows.flat_map(|row| around(column, width).map(move |column| at(column, row))).sum::<u16>()
    };
    (0..height).flat_map(|row| (0..width).map(move |column| (column, row))).map(|(c, r)| sum(c, r)).collect()
}

fn written(grid: &Grid, cells: Vec<u16>) -> Value {
    let scratch = tempfile::tempdir().unwrap();
    let room = Room { scratch: scratch.path(), bytes_max: u64::MAX };
    let mut bytes = Vec::new();
    let mut writer = Box::new(Writer::create(grid, Compression::Deflate, &room, &mut bytes).unwrap());
    writer.write(&Cells { window: grid.window(), samples: Samples::U16(cells) }).unwrap();
    writer.finish().unwrap();
    Value::Complex(ComplexValue::new(Data::Bytes(bytes.into()), Format::base64(Format::GEOTIFF)))
}

/// Sums over tiles that overlap by so many cells.
fn summing(overlap: u32) -> std::sync::Arc<Base> {
    let mut description = raster_process(&["dem"]);
    description.chunking.as_mut().unwrap().overlap = overlap;
    Base::of(description, |chunk| async move {
        let tile = chunk.execution.inputs.complex("dem").unwrap().data.read_all(u64::MAX).unwrap();
        let (grid, cells) = read(&tile);
        let sums = sums(grid.width, grid.height, &cells);
        chunk.execution.sink.write("out", written(&grid, sums)).await
    })
}

#[tokio::test]
async fn tiles_that_overlap_are_joined_as_if_they_had_never_been_cut() {
    let Value::Complex(dem) = raster(10, 7, 8.0) else { unreachable!() };
    let (grid, cells) = read(&dem.data.read_all(u64::MAX).unwrap());
    let whole = (grid, sums(10, 7, &cells));
    for (overlap, counts, is_same) in
        [(1, (4, 4), true), (2, (10, 7), true), (200, (3, 2), true), (1, (1, 1), true), (0, (2, 2), false)]
    {
        let sink = Sink::new();
        let process = streaming(&summing(overlap), "OutputStreaming", &[]);
        let inputs = vec![
            ("dem", raster(10, 7, 8.0)),
            ("chunksByRow", count(counts.0)),
            ("chunksByColumn", count(counts.1)),
        ];
        run(&process, inputs, Format::GEOTIFF, 0, &sink).await.unwrap();
        assert_eq!(read(&sink.bytes()[0]) == whole, is_same, "overlap {overlap} of {counts:?}");
    }
    let sink = Sink::new();
    let process = streaming(&summing(1), "OutputStreaming", &[]);
    let inputs = vec![("dem", raster(10, 7, 8.0)), ("chunksByRow", count(3)), ("chunksByColumn", count(2))];
    run(&process, inputs, PLAYLIST, 0, &sink).await.unwrap();
    let sizes: Vec<_> = sink.bytes().iter().map(|bytes| read(bytes).0).map(|g| (g.width, g.height)).collect();
    assert_eq!(sizes, [(3, 3), (3, 3), (4, 3), (3, 4), (3, 4), (4, 4)], "chunks hold their own cells only");
}

#[tokio::test]
async fn what_comes_out_of_overlapping_tiles_has_to_have_their_cells() {
    let mut description = raster_process(&["dem"]);
    description.chunking.as_mut().unwrap().overlap = 1;
    let base =
        Base::of(
            description,
            |chunk| async move { chunk.execution.sink.write("out", raster(2, 2, 8.0)).await },
        );
    let sink = Sink::new();
    let inputs = vec![("dem", raster(10, 7, 8.0)), ("chunksByRow", count(2)), ("chunksByColumn", count(1))];
    let process = streaming(&base, "OutputStreaming", &[]);
    let error = run(&process, inputs, PLAYLIST, 0, &sink).await.unwrap_err().client_text();
    assert_eq!(
        error,
        "chunk 1: the process put out 2 x 2 cells for a tile of 6 x 7: its overlap can't be cut off"
    );
    let ids: Vec<_> = variants(&base).iter().map(|process| process.description().id.to_string()).collect();
    assert_eq!(ids, ["OutputStreamingBase"], "tiles of others come without their neighbours");
}

#[tokio::test]
async fn what_can_not_be_cut_is_refused_before_the_stream_opens() {
    let process = streaming(&giving(&["nir", "swir"]), "OutputStreaming", &[]);
    let tiles =
        |by_row, by_column| vec![("chunksByRow", count(by_row)), ("chunksByColumn", count(by_column))];
    for (swir, more, expected) in [
        (
            raster(10, 6, 8.0),
            tiles(1, 1),
            "must have the grid of input 'nir': it has 10 x 6 cells instead of 10 x 7",
        ),
        (raster(10, 7, 8.1), tiles(1, 1), "must have the grid of input 'nir': its cells lie elsewhere"),
        (
            raster(10, 7, 8.0),
            tiles(11, 1),
            "'chunksByRow' must be at most 10, the raster's width, not \"11\"",
        ),
        (
            raster(10, 7, 8.0),
            tiles(1, 8),
            "'chunksByColumn' must be at most 7, the raster's height, not \"8\"",
        ),
        (
            raster(10, 7, 8.0),
            vec![("chunksByRow", count(1))],
            "'chunksByColumn' is required where chunksByRow is given",
        ),
    ] {
        let sink = Sink::new();
        let mut inputs = vec![("nir", raster(10, 7, 8.0)), ("swir", swir)];
        inputs.extend(more);
        let error = run(&process, inputs, PLAYLIST, 0, &sink).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!sink.is_started());
    }
}
