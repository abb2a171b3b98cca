//! An XML document as events, with guards: no DTD, no entities, bounded depth and size.

use super::limits::FEATURE_BYTES_MAX;
use super::{FormatError, Place};
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event as XmlEvent};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;
use std::io::{self, BufRead, BufReader, Read};

/// Deepest nesting of elements. Folders in folders need a dozen.
const DEPTH_MAX: usize = 64;

/// Attributes of an element: each is compared with all others.
const ATTRIBUTES_MAX: usize = 256;

/// Begins the names of elements that are not the language's own.
const OTHER: &str = "other:";

/// The language of a document.
#[derive(Debug)]
pub(super) struct Language {
    /// Its name, for errors.
    pub(super) format: &'static str,
    /// What a feature is called in it.
    pub(super) feature: &'static str,
    /// Whether elements of a namespace are its own; `None` is no namespace.
    pub(super) owns: fn(Option<&str>) -> bool,
}

/// What is next in a document.
#[derive(Debug)]
pub(super) enum Event {
    Start(Element),
    End,
    Text(String),
}

/// A start tag.
#[derive(Debug)]
pub(super) struct Element {
    /// Begins with `other:` where it is no element of the language, so that it is never taken for one.
    pub(super) name: String,
    attributes: Vec<(String, String)>,
}

impl Element {
    /// The name in its namespace, whichever that is.
    pub(super) fn local_name(&self) -> &str {
        self.name.strip_prefix(OTHER).unwrap_or(&self.name)
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of an attribute of any namespace.
    pub(super) fn attribute_of_any(&self, local_name: &str) -> Option<&str> {
        let is_it = |known: &str| known.rsplit(':').next() == Some(local_name);
        self.attributes.iter().find(|(known, _)| is_it(known)).map(|(_, value)| value.as_str())
    }
}

/// Reads events.
pub(super) struct Xml {
    language: &'static Language,
    inner: NsReader<Counted>,
    buffer: Vec<u8>,
    depth: usize,
}

impl Xml {
    pub(super) fn new(bytes: Box<dyn Read>, language: &'static Language) -> Self {
        let mut inner = NsReader::from_reader(Counted { inner: BufReader::new(bytes), bytes: 0, line: 1 });
        inner.config_mut().expand_empty_elements = true;
        Self { language, inner, buffer: Vec::new(), depth: 0 }
    }

    /// Nothing of what was read is held any more.
    pub(super) fn forget(&mut self) {
        self.inner.get_mut().bytes = 0;
    }

    pub(super) fn malformed(&self, rule: impl Into<String>) -> FormatError {
        let place = Some(Place::Line(self.inner.get_ref().line));
        FormatError::Malformed { format: self.language.format, rule: rule.into(), place }
    }

    /// The next event; `None` after the end of the root element.
    pub(super) fn next(&mut self) -> Result<Option<Event>, FormatError> {
        loop {
            self.buffer.clear();
            let mut buffer = std::mem::take(&mut self.buffer);
            let event = self.inner.read_event_into(&mut buffer).map(XmlEvent::into_owned);
            self.buffer = buffer;
            let event = match event {
                Ok(event) => event,
                Err(quick_xml::Error::Io(error)) => return Err(self.of_io(&error)),
                Err(error) => return Err(self.malformed(format!("must be well-formed XML ({error})"))),
            };
            return Ok(Some(match event {
                XmlEvent::Start(tag) | XmlEvent::Empty(tag) => {
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(self.malformed(format!("may nest {DEPTH_MAX} elements")));
                    }
                    Event::Start(self.element(&tag)?)
                }
                XmlEvent::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    Event::End
                }
                XmlEvent::Text(text) => Event::Text(text.xml10_content().into_owned()),
                XmlEvent::CData(text) => Event::Text(text.xml10_content().into_owned()),
                XmlEvent::GeneralRef(reference) => match reference.resolve_char_ref() {
                    Ok(Some(character)) => Event::Text(character.to_string()),
                    Ok(None) if let Some(text) = resolve_xml_entity(&reference) => {
                        Event::Text(text.to_owned())
                    }
                    _ => {
                        let name: String = reference.chars().take(20).collect();
                        return Err(self.malformed(format!("may use the entities of XML only, not &{name};")));
                    }
                },
                XmlEvent::DocType(_) => return Err(self.malformed("may not have a document type")),
                XmlEvent::Eof if self.depth > 0 => return Err(self.malformed("ends before its elements do")),
                XmlEvent::Eof => return Ok(None),
                XmlEvent::Decl(declaration) => {
                    let encoding = declaration.encoding().transpose().ok().flatten().unwrap_or_default();
                    let known = ["", "utf-8", "utf8", "us-ascii"];
                    if !known.iter().any(|known| encoding.eq_ignore_ascii_case(known)) {
                        return Err(self.malformed(format!("must be in UTF-8, not in {encoding:?}")));
                    }
                    continue;
                }
                XmlEvent::Comment(_) | XmlEvent::PI(_) => continue,
            }));
        }
    }

    /// The next child of the element we are in, or `None` when it ends. Text between children is passed over.
    pub(super) fn child(&mut self) -> Result<Option<Element>, FormatError> {
        loop {
            match self.next()? {
                Some(Event::Start(element)) => return Ok(Some(element)),
                Some(Event::End) | None => return Ok(None),
                Some(Event::Text(_)) => {}
            }
        }
    }

    /// The characters of the element we are in, without blanks around them, and leaves it. Markup within is passed over.
    pub(super) fn text(&mut self) -> Result<String, FormatError> {
        let level = self.depth;
        let mut all = String::new();
        while self.depth >= level {
            match self.next()? {
                Some(Event::Text(text)) => all.push_str(&text),
                Some(Event::Start(_) | Event::End) => {}
                None => break,
            }
        }
        Ok(all.trim().to_owned())
    }

    /// Leaves the element we are in.
    pub(super) fn skip(&mut self) -> Result<(), FormatError> {
        let level = self.depth;
        while self.depth >= level && self.next()?.is_some() {}
        Ok(())
    }

    fn element(&self, tag: &BytesStart<'_>) -> Result<Element, FormatError> {
        let (namespace, local) = self.inner.resolver().resolve_element(tag.name());
        let is_own = match namespace {
            ResolveResult::Bound(namespace) => (self.language.owns)(Some(namespace.into_inner())),
            ResolveResult::Unbound => (self.language.owns)(None),
            ResolveResult::Unknown(_) => false,
        };
        let local = local.into_inner();
        let name = if is_own { local.to_owned() } else { format!("{OTHER}{local}") };
        let mut attributes = Vec::new();
        for attribute in tag.attributes() {
            let attribute =
                attribute.map_err(|error| self.malformed(format!("must be well-formed XML ({error})")))?;
            if attributes.len() == ATTRIBUTES_MAX {
                return Err(self.malformed(format!("may have {ATTRIBUTES_MAX} attributes in an element")));
            }
            let value = attribute
                .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                .map_err(|error| self.malformed(format!("must have sound attributes ({error})")))?;
            attributes.push((attribute.key.into_inner().to_owned(), value.into_owned()));
        }
        Ok(Element { name, attributes })
    }

    fn of_io(&self, error: &io::Error) -> FormatError {
        if error.get_ref().is_some_and(|inner| inner.is::<TooLong>()) {
            return self
                .malformed(format!("may have {FEATURE_BYTES_MAX} bytes in one {}", self.language.feature));
        }
        if error.kind() == io::ErrorKind::InvalidData {
            return self.malformed("must be in UTF-8");
        }
        io::Error::new(error.kind(), error.to_string()).into()
    }
}

/// Counts bytes since something was last forgotten, and lines.
struct Counted {
    inner: BufReader<Box<dyn Read>>,
    bytes: usize,
    line: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("too long")]
struct TooLong;

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.bytes > FEATURE_BYTES_MAX {
            return Err(io::Error::other(TooLong));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        let consumed = &self.inner.buffer()[..count.min(self.inner.buffer().len())];
        self.line += memchr::memchr_iter(b'\n', consumed).count() as u64;
        self.bytes += count;
        self.inner.consume(count);
    }
}

/// An `NCName` of ASCII characters.
pub(super) fn is_xml_id(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// A text for an element or attribute of a document in a format.
pub(super) fn escaped(text: &str, format: &'static str) -> Result<String, FormatError> {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#13;"),
            // XML 1.0 section 2.2
            '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => {
                escaped.push(character)
            }
            other => {
                let what = format!("the character U+{:04X}, which XML has no place for", u32::from(other));
                return Err(FormatError::Unrepresentable { format, what });
            }
        }
    }
    Ok(escaped)
}
