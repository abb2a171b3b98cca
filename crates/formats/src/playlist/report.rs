//! What an exception report says, as far as a person needs it.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Longest text that is taken out of a report, in characters.
const TEXT_CHARS_MAX: usize = 1000;

/// The text of the first exception of an OWS exception report (OWS Common 1.1 §8, 2.0 §8); `None` where there is none, or the report is no
/// sound XML.
#[must_use]
pub fn exception_text(report: &[u8]) -> Option<String> {
    let mut reader = Reader::from_str(std::str::from_utf8(report).ok()?);
    let mut is_inside = false;
    let mut text = String::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) => is_inside = element.local_name().as_ref() == "ExceptionText",
            Event::Text(content) if is_inside => text.push_str(&content.xml10_content()),
            Event::CData(content) if is_inside => text.push_str(&content.xml10_content()),
            Event::GeneralRef(reference) if is_inside => text.push(match &*reference {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "quot" => '"',
                "apos" => '\'',
                _ => '?',
            }),
            Event::End(_) if is_inside => break,
            Event::DocType(_) | Event::Eof => return None,
            _ => {}
        }
    }
    let text: String = text.trim().chars().take(TEXT_CHARS_MAX).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_text_is_taken() {
        let report = br#"<ows:ExceptionReport xmlns:ows="http://www.opengis.net/ows/1.1"><ows:Exception exceptionCode="X">
            <ows:ExceptionText> a &lt; b </ows:ExceptionText></ows:Exception><ows:Exception>
            <ows:ExceptionText>frames</ows:ExceptionText></ows:Exception></ows:ExceptionReport>"#;
        assert_eq!(exception_text(report).as_deref(), Some("a < b"));
        for none in [
            &b"<a/>"[..],
            b"<html>",
            b"",
            b"<!DOCTYPE a [<!ENTITY x 'y'>]><ExceptionText>&x;</ExceptionText>",
        ] {
            assert_eq!(exception_text(none), None);
        }
    }
}
