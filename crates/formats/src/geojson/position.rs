//! Coordinates as numbers that remember their bytes.

use super::cursor::Cursor;
use super::error::Flaw;
use std::ops::Range;

/// Largest magnitude of a coordinate: no coordinate reference system reaches so far, and squares stay finite below it.
pub const COORDINATE_MAX: f64 = 1e150;

/// The first two numbers of a position: longitude and latitude, or easting and northing.
pub type Point = [f64; 2];

/// Where a position stands in its feature, brackets included. Features are smaller than 4 GiB, so that 32 bits do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of `[`.
    pub start: u32,
    /// Offset behind `]`.
    pub end: u32,
}

/// A list of positions: points and spans side by side, to be used again for the next list.
#[derive(Default)]
pub struct Positions {
    points: Vec<Point>,
    spans: Vec<Span>,
}

impl Positions {
    /// Replaces the content by the array of positions at the cursor; gives the range of the array.
    ///
    /// # Errors
    /// Where there is no array of positions.
    pub fn read_list(&mut self, cursor: &mut Cursor<'_>) -> Result<Range<usize>, Flaw> {
        self.points.clear();
        self.spans.clear();
        cursor.list(|cursor| {
            loop {
                let (point, range) = read_position(cursor)?;
                self.points.push(point);
                self.spans.push(span(range)?);
                // White space between positions is rare, and looking for it takes time.
                if !cursor.take_to_array() {
                    return Ok(());
                }
            }
        })
    }

    /// The points.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Their spans, as many as points.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }
}

fn span(range: Range<usize>) -> Result<Span, Flaw> {
    match (u32::try_from(range.start), u32::try_from(range.end)) {
        (Ok(start), Ok(end)) => Ok(Span { start, end }),
        _ => Err(Flaw::new(range.start, "a feature must be smaller than 4 GiB")),
    }
}

/// Reads one position; numbers after the second are checked and otherwise left alone.
///
/// # Errors
/// Where there is no position of two or more finite numbers.
#[inline]
pub fn read_position(cursor: &mut Cursor<'_>) -> Result<(Point, Range<usize>), Flaw> {
    if let Some((point, range)) = cursor.plain_position() {
        return Ok((point, range)); // below 10^7: no need to ask for COORDINATE_MAX
    }
    read_any_position(cursor)
}

#[cold]
fn read_any_position(cursor: &mut Cursor<'_>) -> Result<(Point, Range<usize>), Flaw> {
    cursor.expect(b'[', "a position must be an array of numbers")?;
    let start = cursor.at() - 1;
    let x = coordinate(cursor)?;
    cursor.expect(b',', "a position must have two or more numbers")?;
    let y = coordinate(cursor)?;
    while !cursor.take(b']') {
        cursor.expect(b',', "a number must be followed by ',' or ']'")?;
        coordinate(cursor)?;
    }
    Ok(([x, y], start..cursor.at()))
}

fn coordinate(cursor: &mut Cursor<'_>) -> Result<f64, Flaw> {
    cursor.number_with(|value| {
        if value.abs() <= COORDINATE_MAX {
            Ok(())
        } else {
            Err("a coordinate must be between -1e150 and 1e150")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Point>, Flaw> {
        let mut positions = Positions::default();
        let mut cursor = Cursor::new(text.as_bytes());
        positions.read_list(&mut cursor)?;
        cursor.expect_end()?;
        Ok(positions.points().to_vec())
    }

    #[test]
    fn positions_keep_their_bytes_in_mind() {
        let text = " [ [1,2] ,\r\n[ 3.5 , -4 , 7,8 ] ]";
        let mut positions = Positions::default();
        positions.read_list(&mut Cursor::new(text.as_bytes())).unwrap();
        assert_eq!(positions.points(), [[1.0, 2.0], [3.5, -4.0]]);
        let texts: Vec<_> =
            positions.spans().iter().map(|span| &text[span.start as usize..span.end as usize]).collect();
        assert_eq!(texts, ["[1,2]", "[ 3.5 , -4 , 7,8 ]"]);
    }

    #[test]
    fn numbers_of_any_form_are_read_in_any_place() {
        let forms = [
            "0",
            "-7",
            "0.5",
            "-12.345678",
            "123.4567891",
            "1234.5",
            "1.5e1",
            "-0.25E-2",
            "9.123456789012345",
        ];
        for x in forms {
            for y in forms {
                for text in [format!("[{x},{y}]"), format!("[{x},{y},{x}]"), format!("[{x}, {y} ,{x},{y}]")] {
                    let point = [x, y].map(|number| number.parse::<f64>().unwrap());
                    for list in [format!("[{text}]"), format!("[{text},{text}, {text}\n,{text}]")] {
                        let expected = vec![point; list.matches('[').count() - 1];
                        assert_eq!(read(&list).unwrap(), expected, "{list}");
                    }
                }
            }
        }
    }

    #[test]
    fn flaws_name_the_place() {
        for (text, at) in [
            ("[[1]]", 3),
            ("[[1,2],]", 7),
            ("[[1,1e400]]", 4),
            ("[[+1,2]]", 2),
            ("[[NaN,2]]", 2),
            ("[[1,\"2\"]]", 4),
            ("[[1,2", 5),
            ("[[1,[2]]]", 4),
            ("[1,2]", 1),
            ("[[1,null]]", 4),
            ("[[1.25,2.25],]          ", 13),
            ("[[1.25,2.25,]]          ", 12),
            ("[[1.25,2.25}]           ", 11),
            ("[[1.25,02.25]]          ", 7),
            ("[[1.25]]                ", 6),
        ] {
            assert_eq!(read(text).unwrap_err().at, at, "{text}");
        }
        assert_eq!(read("[]").unwrap(), Vec::<Point>::new());
    }
}
