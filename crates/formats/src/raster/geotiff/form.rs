//! The two forms of a TIFF's directory, as they are written: in front of the tiles.

use super::tags;
use std::io::{self, Write};

/// Values of a tag.
pub(super) enum Values {
    Shorts(Vec<u16>),
    Longs(Vec<u32>),
    /// As wide as offsets are.
    Offsets(Vec<u64>),
    Doubles(Vec<f64>),
    /// Written with a NUL at the end.
    Text(String),
}

/// The two forms of TIFF.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Classic,
    Big,
}

impl Form {
    fn offset_bytes(self) -> usize {
        match self {
            Self::Classic => 4,
            Self::Big => 8,
        }
    }

    fn head_bytes(self) -> usize {
        match self {
            Self::Classic => 8,
            Self::Big => 16,
        }
    }

    /// Where the values begin that have no place in the directory itself.
    fn values_start(self, entries: usize) -> usize {
        let end = match self {
            Self::Classic => 2 + entries * 12 + 4,
            Self::Big => 8 + entries * 20 + 8,
        };
        (self.head_bytes() + end).next_multiple_of(8)
    }

    /// Where the tiles begin, behind everything else.
    pub(super) fn tiles_start(self, entries: &[(u16, Values)]) -> u64 {
        let values = entries.iter().map(|(_, values)| self.values(values).2.len());
        let outside: usize =
            values.filter(|bytes| *bytes > self.offset_bytes()).map(|bytes| bytes.next_multiple_of(8)).sum();
        (self.values_start(entries.len()) + outside) as u64
    }

    /// Type, count and bytes.
    fn values(self, values: &Values) -> (u16, u64, Vec<u8>) {
        let big = self == Self::Big;
        let (kind, count, bytes): (u16, usize, Vec<u8>) = match values {
            Values::Shorts(values) => {
                (tags::SHORT, values.len(), values.iter().flat_map(|value| value.to_ne_bytes()).collect())
            }
            Values::Longs(values) => {
                (tags::LONG, values.len(), values.iter().flat_map(|value| value.to_ne_bytes()).collect())
            }
            Values::Offsets(values) if big => {
                (tags::LONG8, values.len(), values.iter().flat_map(|value| value.to_ne_bytes()).collect())
            }
            Values::Offsets(values) => {
                let narrow = values.iter().map(|value| u32::try_from(*value).unwrap_or(u32::MAX));
                (tags::LONG, values.len(), narrow.flat_map(u32::to_ne_bytes).collect())
            }
            Values::Doubles(values) => {
                (tags::DOUBLE, values.len(), values.iter().flat_map(|value| value.to_ne_bytes()).collect())
            }
            Values::Text(text) => (tags::ASCII, text.len() + 1, [text.as_bytes(), b"\0"].concat()),
        };
        (kind, count as u64, bytes)
    }

    /// A number as wide as offsets are.
    fn offset(self, value: u64) -> Vec<u8> {
        match self {
            Self::Classic => u32::try_from(value).unwrap_or(u32::MAX).to_ne_bytes().to_vec(),
            Self::Big => value.to_ne_bytes().to_vec(),
        }
    }

    /// Writes head, directory and values, in the machine's order.
    pub(super) fn write(self, entries: &[(u16, Values)], out: &mut dyn Write) -> io::Result<()> {
        let mut bytes = if cfg!(target_endian = "little") { b"II".to_vec() } else { b"MM".to_vec() };
        let count = entries.len() as u16;
        match self {
            Self::Classic => bytes.extend(42_u16.to_ne_bytes()),
            Self::Big => bytes.extend([43_u16, 8, 0].iter().flat_map(|value| value.to_ne_bytes())),
        }
        bytes.extend(self.offset(self.head_bytes() as u64));
        match self {
            Self::Classic => bytes.extend(count.to_ne_bytes()),
            Self::Big => bytes.extend(u64::from(count).to_ne_bytes()),
        }
        let start = self.values_start(entries.len());
        let mut outside = Vec::new();
        for (tag, values) in entries {
            let (kind, count, mut values) = self.values(values);
            bytes.extend(tag.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(self.offset(count));
            if values.len() <= self.offset_bytes() {
                values.resize(self.offset_bytes(), 0);
                bytes.extend(values);
            } else {
                bytes.extend(self.offset((start + outside.len()) as u64));
                outside.extend(values);
                outside.resize(outside.len().next_multiple_of(8), 0);
            }
        }
        // No further image.
        bytes.extend(self.offset(0));
        bytes.resize(start, 0);
        out.write_all(&bytes)?;
        out.write_all(&outside)
    }
}
