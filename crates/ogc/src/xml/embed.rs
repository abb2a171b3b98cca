//! Which XML can stand inside another document.

use super::tokens::is_xml_character;
use anabranch_model::Data;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::NsReader;
use std::io::{self, BufRead};

/// Where the root element of data that is called XML begins, in bytes, if the data can stand inside another document as it is:
/// well-formed, UTF-8, without document type. Reads all of it, in blocks.
pub(crate) fn embeddable_from(data: &Data) -> io::Result<Option<u64>> {
    let mut input = io::BufReader::new(data.open()?);
    // The parser leaves a byte order mark out of its positions.
    let mark: &[u8] = b"\xEF\xBB\xBF";
    let before = if input.fill_buf()?.starts_with(mark) { mark.len() } else { 0 };
    input.consume(before);
    let mut reader = NsReader::from_reader(input);
    let mut buffer = Vec::new();
    let (mut depth, mut root) = (0_usize, None);
    loop {
        buffer.clear();
        let at = reader.buffer_position();
        match reader.read_event_into(&mut buffer) {
            Ok(Event::Start(start)) => {
                depth += 1;
                if !is_sound(&start) || (depth == 1 && root.replace(at).is_some()) {
                    return Ok(None);
                }
            }
            Ok(Event::Empty(start)) => {
                if !is_sound(&start) || (depth == 0 && root.replace(at).is_some()) {
                    return Ok(None);
                }
            }
            Ok(Event::End(_)) => depth = depth.saturating_sub(1),
            Ok(Event::Text(text)) if depth > 0 || text.trim().is_empty() => {
                if !text.chars().all(is_xml_character) {
                    return Ok(None);
                }
            }
            Ok(Event::CData(text)) if depth > 0 && text.chars().all(is_xml_character) => {}
            Ok(Event::GeneralRef(reference)) => {
                if !(reference.is_char_ref() || resolve_xml_entity(&reference).is_some()) || depth == 0 {
                    return Ok(None);
                }
            }
            // A declaration may stand before the root only, and is left out with all that stands there.
            Ok(Event::Decl(_)) if root.is_none() => {}
            Ok(Event::Comment(_) | Event::PI(_)) => {}
            Ok(Event::Eof) => return Ok(root.filter(|_| depth == 0).map(|root| root + before as u64)),
            Err(quick_xml::Error::Io(error)) => return Err(io::Error::other(error)),
            Ok(_) | Err(_) => return Ok(None),
        }
    }
}

fn is_sound(start: &BytesStart<'_>) -> bool {
    start.attributes().all(|attribute| {
        attribute.is_ok_and(|attribute| attribute.normalized_value(XmlVersion::Implicit1_0).is_ok())
    })
}
