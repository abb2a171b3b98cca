//! How a raster is cut into tiles: exact partitions, row of tiles by row of tiles, each row from left to right.

use super::Window;

/// Cells along the side of the first tiles of [`growing_tiles`], at least: what is quick to compute and to look at.
const FIRST_SIDE: u32 = 256;

/// Cells along the side of its largest tiles, unless blocks are larger: about a second of work for most programs.
const LARGEST_SIDE: u32 = 2048;

/// So many tiles in a row and in a column. Each has the quotient of cells without its fraction; the last one of a row or column has the rest
/// too. More tiles than cells are as many as cells, and none at all one.
#[must_use]
pub fn tiles(width: u32, height: u32, by_row: u32, by_column: u32) -> Vec<Window> {
    let part = |side: u32, count: u32| -> Vec<(u32, u32)> {
        let count = count.max(1).min(side);
        let length = side.checked_div(count).unwrap_or(0);
        let last = |index: u32| if index + 1 == count { side - index * length } else { length };
        (0..count).map(|index| (index * length, last(index))).collect()
    };
    let columns = part(width, by_row);
    let of_row = |(row, height): (u32, u32)| {
        columns.iter().map(move |&(column, width)| Window { column, row, width, height })
    };
    part(height, by_column).into_iter().flat_map(of_row).collect()
}

/// Tiles that keep to the edges of the raster's blocks ([`super::geotiff::Reader::block_size`]), so that each block is unpacked once. The
/// first ones are small, for a first result soon; each row of tiles is twice as high as the one before until they are large. The same raster
/// is always cut alike.
#[must_use]
pub fn growing_tiles(width: u32, height: u32, block: (u32, u32)) -> Vec<Window> {
    let in_blocks = |side: u32, block: u32| side.div_ceil(block.max(1)).saturating_mul(block.max(1));
    let mut tiles = Vec::new();
    let (mut row, mut side) = (0, FIRST_SIDE);
    while row < height {
        let high = in_blocks(side, block.1).min(height - row);
        let wide = in_blocks(side, block.0);
        let mut column = 0;
        while column < width {
            let window = Window { column, row, width: wide.min(width - column), height: high };
            column += window.width;
            tiles.push(window);
        }
        row += high;
        side = side.saturating_mul(2).min(LARGEST_SIDE);
    }
    tiles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(windows: &[Window]) -> Vec<[u32; 4]> {
        windows.iter().map(|window| [window.column, window.row, window.width, window.height]).collect()
    }

    /// Every cell is in one tile.
    fn check_partition(width: u32, height: u32, windows: &[Window]) {
        let mut seen = vec![0_u8; (width * height) as usize];
        for window in windows {
            for row in window.row..window.row + window.height {
                let start = (row * width + window.column) as usize;
                seen[start..start + window.width as usize].iter_mut().for_each(|count| *count += 1);
            }
        }
        assert!(seen.iter().all(|count| *count == 1), "{windows:?}");
    }

    #[test]
    fn tiles_go_row_by_row_and_the_last_ones_take_the_rest() {
        assert_eq!(
            numbers(&tiles(10, 7, 3, 2)),
            [[0, 0, 3, 3], [3, 0, 3, 3], [6, 0, 4, 3], [0, 3, 3, 4], [3, 3, 3, 4], [6, 3, 4, 4]]
        );
        assert_eq!(numbers(&tiles(4, 4, 1, 1)), [[0, 0, 4, 4]]);
        assert_eq!(numbers(&tiles(3, 1, 3, 1)), [[0, 0, 1, 1], [1, 0, 1, 1], [2, 0, 1, 1]]);
        assert_eq!(tiles(3, 2, 9, 0).len(), 3);
    }

    #[test]
    fn every_cell_is_in_one_tile() {
        for (width, height) in [(1, 1), (7, 3), (13, 29), (40, 1)] {
            for by_row in 1..=width {
                for by_column in 1..=height {
                    let tiles = tiles(width, height, by_row, by_column);
                    assert_eq!(tiles.len() as u32, by_row * by_column);
                    check_partition(width, height, &tiles);
                }
            }
        }
        for block in [(512, 512), (3000, 1), (100, 30), (4000, 4000), (16, 16), (3000, 3000)] {
            let tiles = growing_tiles(3000, 2500, block);
            check_partition(3000, 2500, &tiles);
            for tile in &tiles {
                assert_eq!((tile.column % block.0, tile.row % block.1), (0, 0));
            }
        }
    }

    #[test]
    fn tiles_grow() {
        let tiles = growing_tiles(20_000, 20_000, (512, 512));
        assert_eq!((tiles[0].width, tiles[0].height), (512, 512));
        let largest = tiles.iter().map(|tile| tile.width * tile.height).max().unwrap();
        assert_eq!(largest, 2048 * 2048);
    }
}
