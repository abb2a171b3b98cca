//! A small picture of a raster: grey from its least to its greatest value, and nothing where there is none.

use super::GridReader;
use super::samples::{Sample, with_samples};
use crate::FormatError;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use std::io::Write as _;

/// Longest side of the picture, in its own dots: what a tile is on a map.
const SIDE_MAX: u32 = 256;

/// Writes the first band as PNG (ISO/IEC 15948, grey with alpha, 8 bits), by the nearest cell where the raster is larger than the picture.
///
/// # Errors
/// The first fault of the data.
pub fn picture(reader: &mut dyn GridReader) -> Result<Vec<u8>, FormatError> {
    let grid = reader.grid();
    let step = grid.width.max(grid.height).div_ceil(SIDE_MAX).max(1);
    let (width, height, nodata) = (grid.width.div_ceil(step), grid.height.div_ceil(step), grid.nodata);
    let mut values = Vec::with_capacity((width * height) as usize);
    while let Some(cells) = reader.next()? {
        let window = cells.window;
        for row in (window.row..window.row + window.height).filter(|row| row.is_multiple_of(step)) {
            let start = (row - window.row) as usize * window.width as usize;
            let columns = (0..window.width as usize).step_by(step as usize);
            with_samples!(&cells.samples, samples => {
                values.extend(columns.map(|column| samples[start + column].number()));
            });
        }
    }
    let has_value = |value: &f64| value.is_finite() && nodata != Some(*value);
    let (least, greatest) = values
        .iter()
        .copied()
        .filter(has_value)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), value| {
            (least.min(value), greatest.max(value))
        });
    let mut dots = Vec::with_capacity((width as usize * 2 + 1) * height as usize);
    for row in values.chunks(width as usize) {
        // No filter (section 9.2).
        dots.push(0);
        for value in row {
            if has_value(value) {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
                let grey =
                    if greatest > least { ((value - least) / (greatest - least) * 255.0) as u8 } else { 127 };
                dots.extend([grey, 255]);
            } else {
                dots.extend([0, 0]);
            }
        }
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let packed = encoder.write_all(&dots).and_then(|()| encoder.finish())?;
    let mut head = Vec::new();
    head.extend(width.to_be_bytes());
    head.extend(height.to_be_bytes());
    // 8 bits of grey and 8 of alpha, the only packing and filtering there is, not interlaced.
    head.extend([8, 4, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, data) in [(b"IHDR", head), (b"IDAT", packed), (b"IEND", Vec::new())] {
        section(*name, &data, &mut png);
    }
    Ok(png)
}

/// Length, name, data, checksum of both (section 5.3).
fn section(name: [u8; 4], data: &[u8], png: &mut Vec<u8>) {
    png.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    let mut crc = Crc::new();
    for part in [&name[..], data] {
        crc.update(part);
        png.extend(part);
    }
    png.extend(crc.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::{RasterFormat, open};
    use anabranch_model::Data;
    use std::io::Read as _;

    fn dots(grid: &str) -> (u32, u32, Vec<u8>) {
        let data = Data::Bytes(grid.to_owned().into());
        let png = picture(&mut *open(RasterFormat::EsriGrid, &data, &|| false).unwrap()).unwrap();
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        // The end of every PNG, with its well-known checksum.
        assert!(png.ends_with(b"\0\0\0\0IEND\xae\x42\x60\x82"));
        let packed = &png[41..41 + number(33) as usize];
        let mut dots = Vec::new();
        flate2::read::ZlibDecoder::new(packed).read_to_end(&mut dots).unwrap();
        (number(16), number(20), dots)
    }

    #[test]
    fn values_become_grey_and_no_value_nothing() {
        let (width, height, shown) =
            dots("ncols 2\nnrows 2\nxllcorner 0\nyllcorner 0\ncellsize 1\nNODATA_value -9\n0 10\n-9 5\n");
        assert_eq!((width, height), (2, 2));
        assert_eq!(shown, [0, 0, 255, 255, 255, 0, 0, 0, 127, 255]);
    }

    #[test]
    fn large_ones_are_shown_by_the_nearest_cells() {
        let row = (0..600).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let head = "ncols 600\nnrows 3\nxllcorner 0\nyllcorner 0\ncellsize 1\n";
        let (width, height, shown) = dots(&format!("{head}{row}\n{row}\n{row}\n"));
        assert_eq!((width, height, shown.len()), (200, 1, 401));
        assert_eq!((shown[1], shown[399]), (0, 255));
    }
}
