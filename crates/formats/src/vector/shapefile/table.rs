//! The dBASE table beside the shapes: its columns and how their cells become values and back.

use crate::bytes::{ByteOrder::Little, Bytes};
use crate::vector::{ColumnKind, Property, limits, names};
use encoding_rs::Encoding;
use std::io::{self, Read};

/// Bytes of the head before the columns, and of one column.
pub(super) const HEAD_BYTES: usize = 32;

/// What follows the last column.
pub(super) const COLUMNS_END: u8 = 0x0d;

/// Flag of a row that was deleted and not yet removed.
pub(super) const DELETED: u8 = b'*';

/// A column, as the table describes it.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    kind: Kind,
    /// In bytes.
    width: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Logical,
    Date,
    /// Memos lie in a file of their own, and timestamps, currencies, blobs have no one form: read as nothing.
    Unread,
}

/// The head of a table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) fields: Vec<Field>,
    pub(super) rows: u64,
    row_bytes: usize,
    encoding: &'static Encoding,
}

impl Table {
    /// Reads the head. `encoding_name` is the content of the `.cpg`, which goes before the table's own language byte.
    ///
    /// # Errors
    /// The rule that is broken, to be read after "… data"; or the reader's.
    pub(super) fn read(
        bytes: &mut impl Read,
        encoding_name: Option<&str>,
    ) -> io::Result<Result<Self, String>> {
        let mut head = [0; HEAD_BYTES];
        bytes.read_exact(&mut head)?;
        let mut fixed = Bytes::new(&head[4..]);
        let (Some(rows), Some(head_bytes), Some(row_bytes)) =
            (fixed.u32(Little), fixed.u16(Little), fixed.u16(Little))
        else {
            return Ok(Err("must have a head in its .dbf".to_owned()));
        };
        let encoding = match encoding(encoding_name, head[29]) {
            Ok(encoding) => encoding,
            Err(rule) => return Ok(Err(rule)),
        };
        let mut columns = vec![0; usize::from(head_bytes).saturating_sub(HEAD_BYTES)];
        bytes.read_exact(&mut columns)?;
        let mut fields = Vec::new();
        let mut width = 1; // the flag of deletion
        for column in columns.chunks_exact(HEAD_BYTES).take_while(|column| column[0] != COLUMNS_END) {
            let field = Field::read(column, encoding);
            width += field.width;
            fields.push(field);
            if fields.len() > limits::COLUMNS_MAX {
                return Ok(Err(format!("may have {} columns in its .dbf", limits::COLUMNS_MAX)));
            }
        }
        let names = names::unique(fields.iter().map(|field| field.name.clone()));
        for (field, name) in fields.iter_mut().zip(names) {
            field.name = name;
        }
        if width > usize::from(row_bytes) {
            return Ok(Err(format!(
                "must have rows as long as their columns in its .dbf: {width} bytes, not {row_bytes}"
            )));
        }
        Ok(Ok(Self { fields, rows: u64::from(rows), row_bytes: usize::from(row_bytes), encoding }))
    }

    /// Reads a row; `None` in place of one that was deleted.
    pub(super) fn row(&self, bytes: &mut impl Read) -> io::Result<Option<Vec<(String, Property)>>> {
        let mut row = vec![0; self.row_bytes];
        bytes.read_exact(&mut row)?;
        if row[0] == DELETED {
            return Ok(None);
        }
        let mut cells = Bytes::new(&row[1..]);
        Ok(Some(
            self.fields
                .iter()
                .filter_map(|field| Some((field, cells.take(field.width)?)))
                .filter(|(field, _)| field.kind != Kind::Unread)
                .map(|(field, cell)| (field.name.clone(), field.value(cell, self.encoding)))
                .collect(),
        ))
    }
}

impl Field {
    fn read(column: &[u8], encoding: &'static Encoding) -> Self {
        let name = column[..11].split(|byte| *byte == 0).next().unwrap_or_default();
        let name = encoding.decode_without_bom_handling(name).0.trim().to_owned();
        let (kind, width) = match column[11] {
            // Long texts keep the high byte of their width where numbers have their decimals.
            b'C' => (Kind::Text, usize::from(column[16]) | usize::from(column[17]) << 8),
            b'N' | b'F' => (Kind::Number, usize::from(column[16])),
            b'L' => (Kind::Logical, usize::from(column[16])),
            b'D' => (Kind::Date, usize::from(column[16])),
            _ => (Kind::Unread, usize::from(column[16])),
        };
        Self { name, kind, width }
    }

    fn value(&self, cell: &[u8], encoding: &'static Encoding) -> Property {
        // Both are in use to fill a cell.
        let cell = cell.split(|byte| *byte == 0).next().unwrap_or_default();
        let ascii = || std::str::from_utf8(cell).map(str::trim).unwrap_or_default();
        match self.kind {
            Kind::Text => match encoding.decode_without_bom_handling(cell).0.trim_end() {
                "" => Property::Null,
                text => Property::Text(text.to_owned()),
            },
            Kind::Number => number(ascii()),
            Kind::Logical => match ascii() {
                "T" | "t" | "Y" | "y" => Property::Boolean(true),
                "F" | "f" | "N" | "n" => Property::Boolean(false),
                _ => Property::Null,
            },
            Kind::Date => date(ascii()),
            Kind::Unread => Property::Null,
        }
    }
}

/// A number that did not fit its cell was written as asterisks: it is nothing.
fn number(text: &str) -> Property {
    if let Ok(whole) = text.parse() {
        return Property::Integer(whole);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Property::Number(number),
        _ => Property::Null,
    }
}

fn date(text: &str) -> Property {
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && text != "00000000" {
        Property::Text(format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]))
    } else {
        Property::Null
    }
}

/// The encoding of texts. Without a word about it they are ISO 8859-1, as dBASE IV has it; the ASCII part is the same in all.
fn encoding(name: Option<&str>, language: u8) -> Result<&'static Encoding, String> {
    let Some(name) = name.map(str::trim).filter(|name| !name.is_empty()) else {
        return match language {
            0x00 | 0x03 | 0x57..=0x59 => Ok(encoding_rs::WINDOWS_1252),
            0xc8 => Ok(encoding_rs::WINDOWS_1250),
            0xc9 => Ok(encoding_rs::WINDOWS_1251),
            0xca => Ok(encoding_rs::WINDOWS_1254),
            0xcb => Ok(encoding_rs::WINDOWS_1253),
            0xcc => Ok(encoding_rs::WINDOWS_1257),
            // Old code pages of MS-DOS: what is written today with these bytes is ASCII, and UTF-8 shows what is not.
            0x01 | 0x02 => Ok(encoding_rs::UTF_8),
            other => Err(format!(
                "has a .dbf in a language that is not known (byte 29 is {other:#04x}) and no .cpg"
            )),
        };
    };
    let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let labels = [
        name.to_owned(),
        format!("windows-{number}"),
        format!(
            "iso-8859-{}",
            number.trim_start_matches("8859").trim_start_matches(['-', '_', ' ']).trim_start_matches('0')
        ),
    ];
    if number == "65001" {
        return Ok(encoding_rs::UTF_8);
    }
    labels
        .iter()
        .find_map(|label| Encoding::for_label(label.as_bytes()))
        .ok_or_else(|| format!("must name an encoding that is known in its .cpg, not {name:?}"))
}

/// A column to write.
#[derive(Clone, Debug)]
pub(super) struct NewField {
    pub(super) name: String,
    pub(super) kind: ColumnKind,
    /// In bytes; grows with the cells.
    pub(super) width: u8,
}

/// Text may be as long as a byte can say, less the two values that some readers use otherwise.
const TEXT_BYTES_MAX: u8 = 254;

/// Whole numbers of more digits are taken for rounded ones by GDAL.
const INTEGER_DIGITS_MAX: u8 = 18;

/// Width and decimals of other numbers, as GDAL writes them.
const NUMBER_WIDTH: u8 = 24;
const NUMBER_DECIMALS: u8 = 15;

impl NewField {
    pub(super) fn new(name: String, kind: ColumnKind) -> Self {
        let width = match kind {
            ColumnKind::Integer => INTEGER_DIGITS_MAX,
            ColumnKind::Number => NUMBER_WIDTH,
            ColumnKind::Null | ColumnKind::Boolean | ColumnKind::Text | ColumnKind::Json => 1,
        };
        Self { name, kind, width }
    }

    /// A value as the content of a cell, not yet filled up.
    ///
    /// # Errors
    /// What can't be held.
    pub(super) fn cell(&mut self, value: &Property) -> Result<String, String> {
        let cell = match value {
            Property::Boolean(value) if self.kind == ColumnKind::Boolean => {
                if *value { "T" } else { "F" }.to_owned()
            }
            Property::Number(value) => {
                let plain = value.to_string();
                // The shortest form that gives the same number back.
                if plain.len() <= usize::from(NUMBER_WIDTH) { plain } else { format!("{value:e}") }
            }
            other => other.text().into_owned(),
        };
        let bytes_max = match self.kind {
            ColumnKind::Text | ColumnKind::Json | ColumnKind::Null => TEXT_BYTES_MAX,
            ColumnKind::Boolean | ColumnKind::Integer | ColumnKind::Number => self.width,
        };
        match u8::try_from(cell.len()) {
            Ok(width) if width <= bytes_max => {
                self.width = self.width.max(width);
                Ok(cell)
            }
            _ => Err(format!(
                "a value of {} bytes in the column {:?}, which takes {bytes_max}",
                cell.len(),
                self.name
            )),
        }
    }

    /// The column's description in the head.
    pub(super) fn descriptor(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..self.name.len()].copy_from_slice(self.name.as_bytes());
        (bytes[11], bytes[17]) = match self.kind {
            ColumnKind::Boolean => (b'L', 0),
            ColumnKind::Integer => (b'N', 0),
            ColumnKind::Number => (b'N', NUMBER_DECIMALS),
            ColumnKind::Null | ColumnKind::Text | ColumnKind::Json => (b'C', 0),
        };
        bytes[16] = self.width;
        bytes
    }

    /// A cell at its full width: numbers to the right, all else to the left.
    pub(super) fn fill(&self, cell: &[u8], row: &mut Vec<u8>) {
        let blanks = usize::from(self.width).saturating_sub(cell.len());
        let to_the_right = matches!(self.kind, ColumnKind::Integer | ColumnKind::Number);
        if to_the_right {
            row.extend(std::iter::repeat_n(b' ', blanks));
        }
        row.extend_from_slice(cell);
        if !to_the_right {
            row.extend(std::iter::repeat_n(b' ', blanks));
        }
    }
}

/// Names of at most ten bytes, each once whatever the case: cut, and numbered where cutting made two the same.
pub(super) fn short_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    const NAME_BYTES_MAX: usize = 10;
    let mut taken = std::collections::HashSet::new();
    names
        .map(|name| {
            let cut = |bytes: usize| names::cut(name, bytes);
            let mut short = match cut(NAME_BYTES_MAX) {
                "" => "column".to_owned(),
                name => name.to_owned(),
            };
            let mut number = 0_u32;
            while !taken.insert(short.to_lowercase()) {
                number += 1;
                let suffix = format!("_{number}");
                short = format!("{}{suffix}", cut(NAME_BYTES_MAX - suffix.len()));
            }
            short
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_go_by_many_names() {
        for (name, language, expected) in [
            (Some("UTF-8"), 0x57, encoding_rs::UTF_8),
            (Some("65001"), 0, encoding_rs::UTF_8),
            (Some("ISO-8859-1\n"), 0, encoding_rs::WINDOWS_1252),
            (Some("88591"), 0, encoding_rs::WINDOWS_1252),
            (Some("8859-2"), 0, encoding_rs::ISO_8859_2),
            (Some("ANSI 1252"), 0, encoding_rs::WINDOWS_1252),
            (Some("1251"), 0, encoding_rs::WINDOWS_1251),
            (Some(""), 0x57, encoding_rs::WINDOWS_1252),
            (None, 0xc8, encoding_rs::WINDOWS_1250),
        ] {
            assert_eq!(encoding(name, language), Ok(expected), "{name:?}");
        }
        assert!(encoding(Some("klingon"), 0).unwrap_err().contains("klingon"));
        assert!(encoding(None, 0x4d).unwrap_err().contains("0x4d"));
    }

    #[test]
    fn short_names_are_unique() {
        let names = ["population_1990", "population_2000", "POPULATION", "é23456789é", "", ""];
        assert_eq!(
            short_names(names.into_iter()),
            ["population", "populati_1", "POPULATI_2", "é23456789", "column", "_1"]
        );
    }

    #[test]
    fn cells_hold_what_they_can() {
        let mut number = NewField::new("n".to_owned(), ColumnKind::Number);
        for value in [0.1, -1.0 / 3.0, 1e300, f64::MIN_POSITIVE, -f64::MAX, 123_456_789.123_456_78] {
            let cell = number.cell(&Property::Number(value)).unwrap();
            assert!(cell.len() <= 24, "{cell}");
            assert_eq!(cell.parse::<f64>().unwrap(), value);
        }
        let mut integer = NewField::new("i".to_owned(), ColumnKind::Integer);
        assert!(integer.cell(&Property::Integer(i64::MAX)).unwrap_err().contains("19 bytes"));
        let mut text = NewField::new("t".to_owned(), ColumnKind::Text);
        text.cell(&Property::Text("x".repeat(254))).unwrap();
        assert!(text.cell(&Property::Text("x".repeat(255))).is_err());
        assert_eq!(text.width, 254);
    }
}
