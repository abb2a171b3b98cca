//! Reading: a pull parser with guards.

use super::{ATTRIBUTES_MAX, DEPTH_MAX, TAG_BYTES_MAX, TEXT_BYTES_MAX, XmlError};
use anabranch_model::Data;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{PrefixDeclaration, ResolveResult};
use quick_xml::reader::NsReader;
use std::borrow::Cow;
use std::io::{self, BufRead};

/// Reads a document from its root down. Whoever is given an [`Element`] is inside it, and leaves it by reading its children
/// to the end ([`Reader::child`] gives `None`) or with [`Reader::text`], [`Reader::content`] or [`Reader::skip`].
pub(crate) struct Reader<'a> {
    source: &'a str,
    inner: NsReader<&'a [u8]>,
    depth: usize,
}

/// A start tag.
#[derive(Debug)]
pub(crate) struct Element {
    /// Empty for none.
    pub(crate) namespace: String,
    pub(crate) name: String,
    attributes: Vec<Attribute>,
}

#[derive(Debug)]
struct Attribute {
    namespace: String,
    name: String,
    value: String,
}

/// What an element holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Characters only.
    Text(String),
    /// Elements, as written, with the namespace declarations that they need.
    Xml(String),
}

impl Element {
    pub(crate) fn is(&self, namespace: &str, name: &str) -> bool {
        self.name == name && self.namespace == namespace
    }

    /// An attribute without a namespace.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attribute_of("", name)
    }

    pub(crate) fn attribute_of(&self, namespace: &str, name: &str) -> Option<&str> {
        let mut all = self.attributes.iter();
        all.find(|a| a.name == name && a.namespace == namespace).map(|a| a.value.as_str())
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        let mut inner = NsReader::from_str(source);
        inner.config_mut().expand_empty_elements = true;
        Self { source, inner, depth: 0 }
    }

    /// The root element.
    pub(crate) fn root(&mut self) -> Result<Element, XmlError> {
        loop {
            match self.event()?.1 {
                Event::Start(start) => return self.element(&start),
                Event::Text(text) if text.trim().is_empty() => {}
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
                Event::Eof => return Err(self.error("is no XML document: it has no element")),
                _ => return Err(self.error("has text before its first element")),
            }
        }
    }

    /// The next child of the element we are in, or `None` when it has ended. Text between children is skipped.
    pub(crate) fn child(&mut self) -> Result<Option<Element>, XmlError> {
        loop {
            match self.event()?.1 {
                Event::Start(start) => return self.element(&start).map(Some),
                Event::End(_) => return Ok(None),
                _ => {}
            }
        }
    }

    /// The characters of the element we are in, and leaves it.
    pub(crate) fn text(&mut self) -> Result<String, XmlError> {
        let mut all = String::new();
        loop {
            match self.event()?.1 {
                Event::Start(start) => {
                    let name = start.name().into_inner().to_owned();
                    return Err(self.error(format!("has an element '{name}' where text is expected")));
                }
                Event::End(_) => return Ok(all),
                event => self.collect(&event, &mut all)?,
            }
            if all.len() > TEXT_BYTES_MAX {
                return Err(self.error(format!("has a text longer than {TEXT_BYTES_MAX} bytes")));
            }
        }
    }

    /// Leaves the element we are in.
    pub(crate) fn skip(&mut self) -> Result<(), XmlError> {
        let level = self.depth;
        while self.depth >= level {
            self.event()?;
        }
        Ok(())
    }

    /// After the root element has ended: nothing may follow but comments.
    pub(crate) fn finish(&mut self) -> Result<(), XmlError> {
        loop {
            match self.event()?.1 {
                Event::Eof => return Ok(()),
                Event::Comment(_) | Event::PI(_) => {}
                Event::Text(text) if text.trim().is_empty() => {}
                _ => return Err(self.error("goes on after its last element")),
            }
        }
    }

    /// All that the element we are in holds, and leaves it. As long as the document: its size was limited before.
    pub(crate) fn content(&mut self) -> Result<Content, XmlError> {
        let level = self.depth;
        let scope = self.scope();
        let mut text = String::new();
        let mut fragments: Vec<Fragment> = Vec::new();
        loop {
            let (at, event) = self.event()?;
            match &event {
                Event::Start(start) if self.depth == level + 1 => {
                    fragments.push(Fragment::new(at, start));
                }
                Event::End(_) if self.depth == level => {
                    if let Some(fragment) = fragments.last_mut() {
                        fragment.end = self.position();
                    }
                }
                Event::End(_) if self.depth < level => break,
                // A payload of elements is taken from the source; only that of characters is put together.
                event if fragments.is_empty() => self.collect(event, &mut text)?,
                _ => {}
            }
        }
        if fragments.is_empty() {
            return Ok(Content::Text(text));
        }
        Ok(Content::Xml(fragments.iter().map(|fragment| fragment.text(self.source, &scope)).collect()))
    }

    /// Prefixes and namespaces in force here; the prefix of the default namespace is empty.
    fn scope(&self) -> Vec<(String, String)> {
        let bindings = self.inner.resolver().bindings().filter_map(|(prefix, namespace)| {
            let prefix = match prefix {
                PrefixDeclaration::Default => "",
                PrefixDeclaration::Named("xml" | "xmlns") => return None,
                PrefixDeclaration::Named(prefix) => prefix,
            };
            Some((prefix.to_owned(), namespace.into_inner().to_owned()))
        });
        bindings.collect()
    }

    /// The next event that is allowed, and where it begins.
    fn event(&mut self) -> Result<(usize, Event<'a>), XmlError> {
        let at = self.position();
        let event = match self.inner.read_event() {
            Ok(event) => event,
            Err(error) => return Err(self.error(format!("is not well-formed: {error}"))),
        };
        match &event {
            Event::Start(start) => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(self.error(format!("is nested deeper than {DEPTH_MAX} elements")));
                }
                self.check_tag(start)?;
            }
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            Event::DocType(_) => return Err(self.error("has a document type, which is refused")),
            Event::GeneralRef(reference) => {
                self.resolve(reference)?;
            }
            Event::Eof if self.depth > 0 => return Err(self.error("ends before its elements do")),
            _ => {}
        }
        Ok((at, event))
    }

    fn check_tag(&self, start: &BytesStart<'_>) -> Result<(), XmlError> {
        if start.len() > TAG_BYTES_MAX {
            return Err(self.error(format!("has a start tag longer than {TAG_BYTES_MAX} bytes")));
        }
        for (index, attribute) in start.attributes().enumerate() {
            if index >= ATTRIBUTES_MAX {
                return Err(self.error(format!("has an element with more than {ATTRIBUTES_MAX} attributes")));
            }
            let attribute = attribute.map_err(|error| self.error(format!("is not well-formed: {error}")))?;
            if attribute.value.contains('&') {
                self.value(&attribute)?;
            }
        }
        Ok(())
    }

    fn value<'v>(
        &self,
        attribute: &quick_xml::events::attributes::Attribute<'v>,
    ) -> Result<Cow<'v, str>, XmlError> {
        attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| self.error(format!("has an attribute that can't be read: {error}")))
    }

    fn element(&self, start: &BytesStart<'_>) -> Result<Element, XmlError> {
        let resolver = self.inner.resolver();
        let (namespace, name) = resolver.resolve_element(start.name());
        let namespace = self.bound(&namespace)?;
        let name = name.into_inner().to_owned();
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| self.error(format!("is not well-formed: {error}")))?;
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let (namespace, name) = resolver.resolve_attribute(attribute.key);
            attributes.push(Attribute {
                namespace: self.bound(&namespace)?,
                name: name.into_inner().to_owned(),
                value: self.value(&attribute)?.into_owned(),
            });
        }
        Ok(Element { namespace, name, attributes })
    }

    fn bound(&self, namespace: &ResolveResult<'_>) -> Result<String, XmlError> {
        match namespace {
            ResolveResult::Bound(namespace) => Ok(namespace.into_inner().to_owned()),
            ResolveResult::Unbound => Ok(String::new()),
            ResolveResult::Unknown(prefix) => {
                let prefix: &str = prefix.as_ref();
                Err(self.error(format!("uses the prefix '{prefix}', which is not declared")))
            }
        }
    }

    /// Adds the characters that an event stands for.
    fn collect(&self, event: &Event<'_>, all: &mut String) -> Result<(), XmlError> {
        match event {
            Event::Text(text) => all.push_str(&text.xml10_content()),
            Event::CData(text) => all.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => all.push_str(&self.resolve(reference)?),
            _ => {}
        }
        Ok(())
    }

    /// A character reference, or one of the five entities of XML itself.
    fn resolve(&self, reference: &BytesRef<'_>) -> Result<Cow<'static, str>, XmlError> {
        match reference.resolve_char_ref() {
            Ok(Some(character)) if is_xml_character(character) => Ok(character.to_string().into()),
            Ok(None) if let Some(text) = resolve_xml_entity(reference) => Ok(text.into()),
            _ => {
                let name: String = reference.chars().take(20).collect();
                Err(self.error(format!("has the entity '&{name};', which is refused")))
            }
        }
    }

    fn position(&self) -> usize {
        usize::try_from(self.inner.buffer_position()).unwrap_or(self.source.len()).min(self.source.len())
    }

    fn error(&self, rule: impl Into<String>) -> XmlError {
        let read = &self.source.as_bytes()[..self.position()];
        let line = 1 + read.iter().filter(|byte| **byte == b'\n').count();
        XmlError { line, rule: format!("the document {}", rule.into()) }
    }
}

/// XML 1.0 §2.2, `Char`.
pub(super) fn is_xml_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// An element in a payload: where it stands, where its name ends, and which prefixes it declares.
struct Fragment {
    start: usize,
    name_end: usize,
    end: usize,
    declared: Vec<String>,
}

impl Fragment {
    fn new(at: usize, start: &BytesStart<'_>) -> Self {
        let declared = start.attributes().flatten().filter_map(|attribute| {
            Some(match attribute.key.as_namespace_binding()? {
                PrefixDeclaration::Default => String::new(),
                PrefixDeclaration::Named(prefix) => prefix.to_owned(),
            })
        });
        let name_end = at + 1 + start.name().into_inner().len();
        Self { start: at, name_end, end: name_end, declared: declared.collect() }
    }

    /// As written, with the declarations of its surroundings that it may need. Prefixes also occur in values (`xsi:type`), so a
    /// prefix counts as used wherever it stands before a colon.
    fn text(&self, source: &str, scope: &[(String, String)]) -> String {
        // Positions come from the parser of this very source; should they ever not fit, nothing is better than a panic.
        let part = |from, to| source.get(from..to).unwrap_or_default();
        let rest = part(self.name_end, self.end);
        let whole = part(self.start, self.end);
        let mut text = part(self.start, self.name_end).to_owned();
        for (prefix, namespace) in scope {
            if self.declared.contains(prefix) {
                continue;
            }
            // Namespaces stay as they were written, references and all.
            if prefix.is_empty() {
                text.push_str(&format!(" xmlns=\"{}\"", namespace.replace('"', "&quot;")));
            } else if whole.contains(&format!("{prefix}:")) {
                text.push_str(&format!(" xmlns:{prefix}=\"{}\"", namespace.replace('"', "&quot;")));
            }
        }
        text.push_str(rest);
        text
    }
}

/// The characters of a document: UTF-8, UTF-16 with a byte order mark, and ISO 8859-1 and US-ASCII where the declaration says so.
pub(crate) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, XmlError> {
    let text = decode_any(bytes)?;
    let is_forbidden = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    match text.bytes().position(is_forbidden) {
        None => Ok(text),
        Some(at) => {
            let line = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
            Err(XmlError { line, rule: "the document has a control character".into() })
        }
    }
}

fn decode_any(bytes: &[u8]) -> Result<Cow<'_, str>, XmlError> {
    let refuse = |rule: &str| XmlError { line: 1, rule: format!("the document {rule}") };
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units).collect::<Result<String, _>>().map(Cow::Owned)
    };
    let bytes = match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => rest,
        [0xFE, 0xFF, rest @ ..] => {
            return utf16(rest, u16::from_be_bytes).map_err(|_not_text| refuse("is no UTF-16"));
        }
        [0xFF, 0xFE, rest @ ..] => {
            return utf16(rest, u16::from_le_bytes).map_err(|_not_text| refuse("is no UTF-16"));
        }
        bytes => bytes,
    };
    match declared_encoding(bytes).as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii" | "ascii" | "utf-16") => {
            std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_not_text| refuse("is no UTF-8"))
        }
        // The first 256 characters of Unicode are those of ISO 8859-1.
        Some("iso-8859-1" | "latin1") => Ok(Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect())),
        Some(_) => Err(refuse("has an encoding that is not supported: UTF-8, UTF-16 and ISO-8859-1 are")),
    }
}

/// The encoding that an XML declaration names, in lower case.
fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().take(200).position(|byte| *byte == b'>')?;
    let declaration = std::str::from_utf8(&bytes[..end]).ok()?.strip_prefix("<?xml")?;
    let value = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split_once(quote).map(|(name, _)| name.to_ascii_lowercase())
}

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
