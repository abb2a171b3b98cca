//! Reading values in blocks, and writing them as they are, as base64, or as text that some syntax escapes.

use crate::xml::{embeddable_from, escape_text};
use anabranch_model::{ComplexValue, Data, OutputRequest};
use base64::engine::general_purpose::STANDARD;
use std::io::{self, Read, Write};

/// Bytes read at a time: large enough for few calls, small enough for many answers at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// Writes the bytes as they are.
pub(crate) fn copy(data: &Data, out: &mut dyn Write) -> io::Result<()> {
    match data {
        Data::Bytes(bytes) => out.write_all(bytes),
        Data::File(_) => {
            let mut input = data.open()?;
            blocks(&mut input, |block| out.write_all(block))
        }
    }
}

/// Writes the bytes as they are, from a place on.
pub(crate) fn copy_from(data: &Data, from: u64, out: &mut dyn Write) -> io::Result<()> {
    match data {
        Data::Bytes(bytes) => {
            out.write_all(bytes.get(usize::try_from(from).unwrap_or(0)..).unwrap_or_default())
        }
        Data::File(_) => {
            let mut input = data.open()?;
            io::copy(&mut input.by_ref().take(from), &mut io::sink())?;
            blocks(&mut input, |block| out.write_all(block))
        }
    }
}

/// Writes the bytes as base64, without line breaks.
pub(crate) fn copy_base64(data: &Data, out: &mut dyn Write) -> io::Result<()> {
    let mut encoder = base64::write::EncoderWriter::new(out, &STANDARD);
    copy(data, &mut encoder)?;
    encoder.finish().map(|_out| ())
}

/// Gives the bytes to `put` as pieces of text; what is no UTF-8 becomes U+FFFD.
pub(crate) fn copy_text(data: &Data, mut put: impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    if let Data::Bytes(bytes) = data {
        return put(&String::from_utf8_lossy(bytes));
    }
    let mut input = data.open()?;
    let mut pending = Vec::new();
    blocks(&mut input, |block| {
        pending.extend_from_slice(block);
        let kept = pending.len() - cut_character(&pending);
        put(&String::from_utf8_lossy(&pending[..kept]))?;
        pending.drain(..kept);
        Ok(())
    })?;
    put(&String::from_utf8_lossy(&pending))
}

/// Inside XML the value travels as base64: because it is binary, or because the client asked for it.
pub(crate) fn is_base64(request: &OutputRequest, value: &ComplexValue) -> bool {
    // The encoding of a playlist is that of its chunks.
    if value.format.is_playlist() {
        return false;
    }
    let asked = request.format.encoding.as_deref();
    value.format.is_binary() || asked.is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"))
}

/// Writes a value into an element: as base64, or XML as it is and other text escaped.
pub(crate) fn embed(value: &ComplexValue, base64: bool, out: &mut dyn Write) -> io::Result<()> {
    if base64 {
        return copy_base64(&value.data, out);
    }
    let root = if value.format.is_xml() { embeddable_from(&value.data)? } else { None };
    match root {
        Some(from) => copy_from(&value.data, from, out),
        None => copy_text(&value.data, |text| escape_text(text, out)),
    }
}

/// How many bytes at the end are the beginning of a character that is not complete: 0 to 3.
fn cut_character(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        if byte & 0b1100_0000 != 0b1000_0000 {
            let length = match byte {
                0xC2..=0xDF => 2,
                0xE0..=0xEF => 3,
                0xF0..=0xF4 => 4,
                _ => 1,
            };
            return if length > back { back } else { 0 };
        }
    }
    0
}

fn blocks(input: &mut dyn Read, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match input.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(count) => each(&block[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_file_is_cut_between_characters() {
        let path = std::env::temp_dir().join(format!("anabranch-ogc-{}", anabranch_model::JobId::random()));
        // The last byte of the first block is the first of a character of three.
        let text = format!("{}€{}", "a".repeat(BLOCK_BYTES - 1), "ü".repeat(BLOCK_BYTES));
        std::fs::write(&path, &text).unwrap();
        let data = Data::file(&path).unwrap();
        let mut read = String::new();
        copy_text(&data, |piece| {
            read.push_str(piece);
            Ok(())
        })
        .unwrap();
        assert!(read == text);
        let mut encoded = Vec::new();
        copy_base64(&data, &mut encoded).unwrap();
        assert_eq!(base64::Engine::decode(&STANDARD, encoded).unwrap(), text.as_bytes());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn cut_characters_are_counted() {
        assert_eq!(cut_character("a€".as_bytes()), 0);
        assert_eq!(cut_character(&"€".as_bytes()[..2]), 2);
        assert_eq!(cut_character(&"𝄞".as_bytes()[..3]), 3);
        assert_eq!(cut_character(b"\xff"), 0);
        assert_eq!(cut_character(b""), 0);
    }
}
