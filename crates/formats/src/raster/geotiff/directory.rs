//! The directory of an image (IFD): what TIFF says in tags.

use super::{malformed, tags};
use crate::FormatError;
use crate::bytes::{ByteOrder, Bytes};
use crate::source::Source;
use std::io::{Read as _, Seek as _, SeekFrom};

/// Tags of an image: TIFF defines about a hundred, and files have 10 to 30.
const ENTRIES_MAX: u64 = 1024;

/// The directory of the first image.
#[derive(Debug)]
pub(super) struct Directory {
    order: ByteOrder,
    file_bytes: u64,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// The values, where they fit, or the offset at which they are.
    field: Vec<u8>,
}

impl Directory {
    /// Reads the head of a file and the directory that it points at.
    pub(super) fn read(source: &mut Source, file_bytes: u64) -> Result<Self, FormatError> {
        let head = bytes_at(source, file_bytes, 0, file_bytes.min(16), "its head")?;
        let order = match head.get(..2) {
            Some(b"II") => ByteOrder::Little,
            Some(b"MM") => ByteOrder::Big,
            _ => return Err(malformed("must begin with II or MM")),
        };
        let mut head = Bytes::new(&head[2..]);
        let (is_big, start) = match head.u16(order) {
            Some(42) => (false, head.u32(order).map(u64::from)),
            Some(43) if head.u16(order) == Some(8) && head.u16(order) == Some(0) => (true, head.u64(order)),
            _ => return Err(malformed("must have the number 42 of TIFF or 43 of BigTIFF in its head")),
        };
        let start = start.ok_or_else(|| malformed("ends in its head"))?;
        let (count_bytes, entry_bytes, field_bytes) = if is_big { (8, 20, 8) } else { (2, 12, 4) };
        let count = bytes_at(source, file_bytes, start, count_bytes, "its directory")?;
        let mut count = Bytes::new(&count);
        let count = if is_big { count.u64(order) } else { count.u16(order).map(u64::from) };
        let count = count.unwrap_or_default();
        if count == 0 || count > ENTRIES_MAX {
            return Err(malformed(format!("must have 1 to {ENTRIES_MAX} tags, not {count}")));
        }
        let table = bytes_at(source, file_bytes, start + count_bytes, count * entry_bytes, "its directory")?;
        let mut table = Bytes::new(&table);
        let mut entry = || {
            let (tag, kind) = (table.u16(order)?, table.u16(order)?);
            let count = if is_big { table.u64(order)? } else { table.u32(order)?.into() };
            Some(Entry { tag, kind, count, field: table.take(field_bytes)?.to_vec() })
        };
        let entries = std::iter::from_fn(&mut entry).collect();
        Ok(Self { order, file_bytes, entries })
    }

    /// Which byte of a number comes first.
    pub(super) fn order(&self) -> ByteOrder {
        self.order
    }

    /// Whether there is such a tag.
    pub(super) fn has(&self, tag: u16) -> bool {
        self.entry(tag).is_some()
    }

    /// The whole numbers of a tag; none where it is not there.
    ///
    /// # Errors
    /// Where they are more than `count_max`, or no whole numbers.
    pub(super) fn integers(
        &self,
        source: &mut Source,
        tag: u16,
        count_max: u64,
    ) -> Result<Vec<u64>, FormatError> {
        let Some(entry) = self.entry(tag) else { return Ok(Vec::new()) };
        let size = match entry.kind {
            tags::BYTE => 1,
            tags::SHORT => 2,
            tags::LONG | tags::IFD => 4,
            tags::LONG8 | tags::IFD8 => 8,
            other => {
                return Err(malformed(format!("must have whole numbers in tag {tag}, not type {other}")));
            }
        };
        let bytes = self.values(source, entry, size, count_max)?;
        let mut bytes = Bytes::new(&bytes);
        let next = || match size {
            1 => bytes.u8().map(u64::from),
            2 => bytes.u16(self.order).map(u64::from),
            4 => bytes.u32(self.order).map(u64::from),
            _ => bytes.u64(self.order),
        };
        Ok(std::iter::from_fn(next).collect())
    }

    /// The one whole number of a tag, or the first of several.
    pub(super) fn integer(&self, source: &mut Source, tag: u16) -> Result<Option<u64>, FormatError> {
        const FEW: u64 = 1 << 16;
        Ok(self.integers(source, tag, FEW)?.first().copied())
    }

    /// The numbers of a tag; none where it is not there.
    pub(super) fn numbers(
        &self,
        source: &mut Source,
        tag: u16,
        count_max: u64,
    ) -> Result<Vec<f64>, FormatError> {
        let Some(entry) = self.entry(tag) else { return Ok(Vec::new()) };
        let size = match entry.kind {
            tags::FLOAT => 4,
            tags::DOUBLE => 8,
            other => return Err(malformed(format!("must have numbers in tag {tag}, not type {other}"))),
        };
        let bytes = self.values(source, entry, size, count_max)?;
        let mut bytes = Bytes::new(&bytes);
        let next = || match size {
            4 => bytes.u32(self.order).map(|bits| f64::from(f32::from_bits(bits))),
            _ => bytes.f64(self.order),
        };
        Ok(std::iter::from_fn(next).collect())
    }

    /// The characters of a tag up to the first NUL; `None` where it is not there, or longer than `bytes_max`.
    pub(super) fn text(
        &self,
        source: &mut Source,
        tag: u16,
        bytes_max: u64,
    ) -> Result<Option<String>, FormatError> {
        let text = self.entry(tag).filter(|entry| entry.kind == tags::ASCII && entry.count <= bytes_max);
        let Some(entry) = text else { return Ok(None) };
        let bytes = self.values(source, entry, 1, bytes_max)?;
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Some(String::from_utf8_lossy(text).into_owned()))
    }

    fn entry(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    fn values(
        &self,
        source: &mut Source,
        entry: &Entry,
        size: u64,
        count_max: u64,
    ) -> Result<Vec<u8>, FormatError> {
        let Entry { tag, count, field, .. } = entry;
        if *count > count_max {
            return Err(malformed(format!("may have at most {count_max} values in tag {tag}, not {count}")));
        }
        let bytes = count.saturating_mul(size);
        let inline = usize::try_from(bytes).ok().and_then(|bytes| field.get(..bytes));
        if let Some(inline) = inline {
            return Ok(inline.to_vec());
        }
        let mut offset = Bytes::new(field);
        let offset =
            if field.len() == 8 { offset.u64(self.order) } else { offset.u32(self.order).map(u64::from) };
        bytes_at(source, self.file_bytes, offset.unwrap_or_default(), bytes, &format!("tag {tag}"))
    }
}

/// Bytes of the file, which are known to be there before memory is taken for them.
pub(super) fn bytes_at(
    source: &mut Source,
    file_bytes: u64,
    offset: u64,
    count: u64,
    what: &str,
) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    read_at(source, file_bytes, offset, count, what, &mut bytes)?;
    Ok(bytes)
}

/// The same into memory that is there already; what it held is gone.
pub(super) fn read_at(
    source: &mut Source,
    file_bytes: u64,
    offset: u64,
    count: u64,
    what: &str,
    into: &mut Vec<u8>,
) -> Result<(), FormatError> {
    let end = offset.checked_add(count).filter(|end| *end <= file_bytes);
    let (Some(_), Ok(length)) = (end, usize::try_from(count)) else {
        return Err(malformed(format!(
            "has {what} beyond its end ({count} bytes at byte {offset} of {file_bytes})"
        )));
    };
    into.resize(length, 0);
    source.seek(SeekFrom::Start(offset))?;
    source.read_exact(into)?;
    Ok(())
}
