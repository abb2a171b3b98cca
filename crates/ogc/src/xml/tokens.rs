//! A document as tokens that are small, whatever the document: tags whole, everything else in pieces.
//!
//! quick-xml reads tags and references, resolves prefixes and matches ends with beginnings. It gives a text, a CDATA section or a comment as
//! one event, however long; so these are read here, and it never comes to see them.

use super::source::Source;
use super::{Limits, OUTPUT, REQUEST, XmlError};
use crate::spool::failure;
use anabranch_model::Error;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::NamespaceResolver;
use quick_xml::reader::NsReader;
use std::borrow::Cow;
use std::io::{self, BufRead};

/// Bytes that show which markup begins: those of [`CDATA`].
const MARKUP_BYTES: usize = CDATA.len();
const CDATA: &[u8] = b"<![CDATA[";
const COMMENT: &[u8] = b"<!--";
const INSTRUCTION: &[u8] = b"<?";

/// Reads token after token.
pub(super) struct Tokens<'a> {
    limits: Limits,
    inner: NsReader<Source<'a>>,
    buffer: Vec<u8>,
    tag: BytesStart<'static>,
    /// The element begun last has no content: its end is the next token.
    is_empty: bool,
    characters: String,
    /// The characters end with a carriage return, which makes one line end with a line feed that follows.
    is_after_return: bool,
    section: Option<Section>,
    depth: usize,
    failure: Option<Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// [`Tokens::tag`] holds it.
    Start,
    End,
    /// [`Tokens::characters`] holds some of the characters of an element.
    Characters,
    /// Some of an XML declaration, wherever it stands.
    Declaration,
    /// Some of what means nothing: a comment or an instruction.
    Other,
    /// The end of the document.
    Eof,
}

/// What goes on until a mark.
#[derive(Clone, Copy)]
struct Section {
    end: &'static [u8],
    token: Token,
}

impl<'a> Tokens<'a> {
    /// Of a request.
    pub(super) fn new(input: Box<dyn BufRead + 'a>) -> Self {
        Self::of(Source::new(input), REQUEST)
    }

    /// Of what a process has put out.
    pub(super) fn of_output(input: Box<dyn BufRead + 'a>) -> Self {
        Self::of(Source::utf_8(input), OUTPUT)
    }

    fn of(source: Source<'a>, limits: Limits) -> Self {
        Self {
            limits,
            inner: NsReader::from_reader(source),
            buffer: Vec::new(),
            tag: BytesStart::new(""),
            is_empty: false,
            characters: String::new(),
            is_after_return: false,
            section: None,
            depth: 0,
            failure: None,
        }
    }

    /// How many elements are open.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The start tag read last, as written.
    pub(super) fn tag(&self) -> &BytesStart<'static> {
        &self.tag
    }

    /// Bytes of that tag, its delimiters included.
    pub(super) fn tag_bytes(&self) -> u64 {
        self.tag.len() as u64 + if self.is_empty { 3 } else { 2 }
    }

    /// The element whose start tag was read last is written as one tag.
    pub(super) fn is_empty_element(&self) -> bool {
        self.is_empty
    }

    /// With line ends and references resolved.
    pub(super) fn characters(&self) -> &str {
        &self.characters
    }

    pub(super) fn resolver(&self) -> &NamespaceResolver {
        self.inner.resolver()
    }

    pub(super) fn source(&mut self) -> &mut Source<'a> {
        self.inner.get_mut()
    }

    /// Why reading ended early, where it was not the document's fault.
    pub(super) fn failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    pub(super) fn next(&mut self) -> Result<Token, XmlError> {
        if std::mem::take(&mut self.is_empty) {
            self.depth -= 1;
            return Ok(Token::End);
        }
        if let Some(section) = self.section {
            return self.piece_of_section(section);
        }
        self.ensure(MARKUP_BYTES)?;
        let ahead = self.inner.get_ref().ahead();
        if matches!(ahead.first(), Some(b'<' | b'&') | None) {
            self.is_after_return = false;
        }
        let section = match ahead {
            [] if self.depth > 0 => return Err(self.error("ends before its elements do")),
            [] => return Ok(Token::Eof),
            [b'<', b'!', b'D' | b'd', ..] => {
                return Err(self.error("has a document type, which is refused"));
            }
            ahead if ahead.starts_with(CDATA) && self.depth > 0 => {
                self.source().consume(CDATA.len());
                Section { end: b"]]>", token: Token::Characters }
            }
            ahead if ahead.starts_with(COMMENT) => {
                self.source().consume(COMMENT.len());
                Section { end: b"-->", token: Token::Other }
            }
            ahead if ahead.starts_with(INSTRUCTION) => {
                let token = if is_declaration(ahead) { Token::Declaration } else { Token::Other };
                self.source().consume(INSTRUCTION.len());
                Section { end: b"?>", token }
            }
            [b'<', b'!', ..] => return Err(self.error("is not well-formed: it has an unknown '<!'")),
            [b'<' | b'&', ..] => return self.markup(),
            text => {
                let bytes = memchr::memchr2(b'<', b'&', text).unwrap_or(text.len());
                self.take_characters(bytes)?;
                return Ok(Token::Characters);
            }
        };
        self.section = Some(section);
        self.piece_of_section(section)
    }

    fn piece_of_section(&mut self, section: Section) -> Result<Token, XmlError> {
        let end = section.end;
        let mut bytes_needed = end.len();
        loop {
            self.ensure(bytes_needed)?;
            let ahead = self.inner.get_ref().ahead();
            let found = memchr::memmem::find(ahead, end);
            // The end may be cut: what could be its beginning stays for the next piece.
            let is_cut = |bytes: &usize| ahead.ends_with(&end[..*bytes]);
            let cut = if found.is_some() { 0 } else { (1..end.len()).rev().find(is_cut).unwrap_or(0) };
            let piece = found.unwrap_or(ahead.len() - cut);
            if found.is_none() && piece == 0 {
                if ahead.len() < bytes_needed {
                    return Err(
                        self.error("is not well-formed: it ends within a comment, an instruction or CDATA")
                    );
                }
                bytes_needed = ahead.len() + 1;
                continue;
            }
            match section.token {
                Token::Characters => self.take_characters(piece)?,
                _ => self.source().consume(piece),
            }
            if found.is_some() {
                self.source().consume(end.len());
                self.section = None;
                self.is_after_return = false;
            }
            return Ok(section.token);
        }
    }

    /// Consumes characters, with line ends as XML 1.0 §2.11 wants them.
    fn take_characters(&mut self, bytes: usize) -> Result<(), XmlError> {
        self.characters.clear();
        let text = &self.inner.get_ref().ahead()[..bytes];
        let Ok(mut text) = std::str::from_utf8(text) else {
            return Err(self.error("is no UTF-8"));
        };
        if !text.is_empty() && std::mem::replace(&mut self.is_after_return, text.ends_with('\r')) {
            text = text.strip_prefix('\n').unwrap_or(text);
        }
        while let Some((before, rest)) = text.split_once('\r') {
            self.characters.push_str(before);
            self.characters.push('\n');
            text = rest.strip_prefix('\n').unwrap_or(rest);
        }
        self.characters.push_str(text);
        self.source().consume(bytes);
        Ok(())
    }

    /// A tag or a reference.
    fn markup(&mut self) -> Result<Token, XmlError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        self.inner.get_mut().begin_tag(self.limits.tag_bytes_max);
        let event = self.inner.read_event_into(&mut buffer);
        self.inner.get_mut().end_tag();
        let token = match event {
            Ok(Event::Start(start)) => {
                self.tag = start.into_owned();
                self.begin(false)
            }
            Ok(Event::Empty(start)) => {
                self.tag = start.into_owned();
                self.begin(true)
            }
            Ok(Event::End(_)) => {
                self.depth = self.depth.saturating_sub(1);
                Ok(Token::End)
            }
            Ok(Event::GeneralRef(reference)) if self.depth > 0 => {
                let resolved = self.resolve(&reference)?;
                self.characters.clear();
                self.characters.push_str(&resolved);
                Ok(Token::Characters)
            }
            Ok(_) => Err(self.error("has text outside of its elements")),
            Err(quick_xml::Error::Io(error)) => Err(self.cant_go_on(&error)),
            Err(error) => Err(self.error(format!("is not well-formed: {error}"))),
        };
        self.buffer = buffer;
        token
    }

    fn begin(&mut self, is_empty: bool) -> Result<Token, XmlError> {
        self.depth += 1;
        self.is_empty = is_empty;
        let Limits { depth_max, .. } = self.limits;
        if self.depth > depth_max {
            return Err(self.error(format!("is nested deeper than {depth_max} elements")));
        }
        self.check_tag()?;
        Ok(Token::Start)
    }

    fn check_tag(&self) -> Result<(), XmlError> {
        let Limits { tag_bytes_max, attributes_max, .. } = self.limits;
        if self.tag.len() > tag_bytes_max {
            return Err(self.error(format!("has a start tag longer than {tag_bytes_max} bytes")));
        }
        for (index, attribute) in self.tag.attributes().enumerate() {
            if index >= attributes_max {
                return Err(self.error(format!("has an element with more than {attributes_max} attributes")));
            }
            let attribute = attribute.map_err(|error| self.error(format!("is not well-formed: {error}")))?;
            if attribute.value.contains('&') {
                self.value(&attribute)?;
            }
        }
        Ok(())
    }

    pub(super) fn value<'v>(
        &self,
        attribute: &quick_xml::events::attributes::Attribute<'v>,
    ) -> Result<Cow<'v, str>, XmlError> {
        attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| self.error(format!("has an attribute that can't be read: {error}")))
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

    fn ensure(&mut self, bytes: usize) -> Result<(), XmlError> {
        self.inner.get_mut().ensure(bytes).map_err(|error| self.cant_go_on(&error))
    }

    /// The line that is read, counted from 1.
    pub(super) fn line(&self) -> usize {
        self.inner.get_ref().line()
    }

    pub(super) fn error(&self, rule: impl Into<String>) -> XmlError {
        XmlError { line: self.inner.get_ref().line(), rule: format!("the document {}", rule.into()) }
    }

    /// Reading or spooling has failed: by the document, or by what is noted in [`Tokens::failure`].
    pub(super) fn cant_go_on(&mut self, error: &io::Error) -> XmlError {
        let inner = error.get_ref();
        if let Some(refused) = inner.and_then(|inner| inner.downcast_ref::<XmlError>()) {
            return refused.clone();
        }
        self.fail(failure(error))
    }

    pub(super) fn fail(&mut self, failure: Error) -> XmlError {
        let error = self.error("can't be read to its end");
        self.failure = Some(failure);
        error
    }
}

fn is_declaration(ahead: &[u8]) -> bool {
    ahead.strip_prefix(b"<?xml").is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// XML 1.0 §2.2, `Char`.
pub(super) fn is_xml_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}
