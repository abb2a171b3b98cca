//! Reading: a pull parser with guards.

use super::element::{Attribute, Element};
use super::tokens::{Token, Tokens};
use super::{TEXT_BYTES_MAX, XmlError};
use crate::spool::{Characters, Spooling};
use anabranch_model::{Error, FormatHint};
use quick_xml::name::ResolveResult;
use std::io::BufRead;

/// Reads a document from its root down. Whoever is given an [`Element`] is inside it, and leaves it by reading its children
/// to the end ([`Reader::child`] gives `None`) or with [`Reader::text`], [`Reader::content`], [`Reader::payload`] or [`Reader::skip`].
pub(crate) struct Reader<'a> {
    pub(super) tokens: Tokens<'a>,
    pub(super) spooling: Option<Spooling<'a>>,
    /// Bytes of the document that were spooled payloads.
    pub(super) spooled_bytes: u64,
    /// Where the payload began to be spooled that is being read.
    pub(super) spooled_since: Option<u64>,
}

impl<'a> Reader<'a> {
    /// A document that is in memory, or small.
    pub(crate) fn new(document: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self::from_input(Box::new(document.as_ref()), None)
    }

    /// A document that may be larger than memory.
    pub(crate) fn spooling(input: &'a mut dyn BufRead, spooling: Spooling<'a>) -> Self {
        Self::from_input(Box::new(input), Some(spooling))
    }

    fn from_input(input: Box<dyn BufRead + 'a>, spooling: Option<Spooling<'a>>) -> Self {
        Self { tokens: Tokens::new(input), spooling, spooled_bytes: 0, spooled_since: None }
    }

    /// What the characters of this input are; without a spool it makes no difference.
    pub(crate) fn characters(&self, process: &str, input: &str, format: &FormatHint) -> Characters {
        match &self.spooling {
            Some(spooling) => spooling.to.characters(process, input, format),
            None => Characters::Held,
        }
    }

    /// Why reading ended early, where it was not the document's fault.
    pub(crate) fn failure(&mut self) -> Option<Error> {
        self.tokens.failure()
    }

    /// The root element.
    pub(crate) fn root(&mut self) -> Result<Element, XmlError> {
        // Characters come in pieces, as they arrive: where the first of them stands is the same however they are cut.
        let mut line = self.tokens.line();
        loop {
            match self.next()? {
                Token::Start => return self.element(),
                Token::Characters if self.tokens.characters().trim().is_empty() => {}
                Token::Declaration | Token::Other => line = self.tokens.line(),
                Token::Eof => return Err(self.tokens.error("is no XML document: it has no element")),
                _ => {
                    let rule = "the document has text before its first element".to_owned();
                    return Err(XmlError { line, rule });
                }
            }
        }
    }

    /// The next child of the element we are in, or `None` when it has ended. Text between children is skipped.
    pub(crate) fn child(&mut self) -> Result<Option<Element>, XmlError> {
        loop {
            match self.next()? {
                Token::Start => return self.element().map(Some),
                Token::End | Token::Eof => return Ok(None),
                Token::Characters | Token::Declaration | Token::Other => {}
            }
        }
    }

    /// The characters of the element we are in, and leaves it.
    pub(crate) fn text(&mut self) -> Result<String, XmlError> {
        let mut all = String::new();
        loop {
            match self.next()? {
                Token::Start => {
                    let name = self.tokens.tag().name().into_inner();
                    let rule = format!("has an element '{name}' where text is expected");
                    return Err(self.tokens.error(rule));
                }
                Token::End | Token::Eof => return Ok(all),
                Token::Characters => all.push_str(self.tokens.characters()),
                Token::Declaration | Token::Other => {}
            }
            if all.len() > TEXT_BYTES_MAX {
                let rule = format!("has a text longer than {TEXT_BYTES_MAX} bytes");
                return Err(self.tokens.error(rule));
            }
        }
    }

    /// Leaves the element we are in.
    pub(crate) fn skip(&mut self) -> Result<(), XmlError> {
        let level = self.tokens.depth();
        while self.tokens.depth() >= level {
            self.next()?;
        }
        Ok(())
    }

    /// After the root element has ended: nothing may follow but comments.
    pub(crate) fn finish(&mut self) -> Result<(), XmlError> {
        loop {
            match self.next()? {
                Token::Eof => return Ok(()),
                Token::Other => {}
                Token::Characters if self.tokens.characters().trim().is_empty() => {}
                _ => return Err(self.tokens.error("goes on after its last element")),
            }
        }
    }

    /// The next token, if what is held of the document stays within its limit.
    pub(super) fn next(&mut self) -> Result<Token, XmlError> {
        let token = self.tokens.next()?;
        let Some(bytes_max) = self.spooling.as_ref().map(|spooling| spooling.held_bytes_max) else {
            return Ok(token);
        };
        let read = self.spooled_since.unwrap_or_else(|| self.tokens.source().consumed());
        if read - self.spooled_bytes > bytes_max {
            let what = "the request body without its large values".into();
            return Err(self.tokens.fail(Error::TooLarge { what, bytes_max }));
        }
        Ok(token)
    }

    /// The element whose start tag was read last.
    pub(super) fn element(&self) -> Result<Element, XmlError> {
        let (tag, resolver) = (self.tokens.tag(), self.tokens.resolver());
        let (namespace, name) = resolver.resolve_element(tag.name());
        let namespace = self.bound(&namespace)?;
        let name = name.into_inner().to_owned();
        let mut attributes = Vec::new();
        for attribute in tag.attributes() {
            let attribute =
                attribute.map_err(|error| self.tokens.error(format!("is not well-formed: {error}")))?;
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let (namespace, name) = resolver.resolve_attribute(attribute.key);
            attributes.push(Attribute {
                namespace: self.bound(&namespace)?,
                name: name.into_inner().to_owned(),
                value: self.tokens.value(&attribute)?.into_owned(),
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
                Err(self.tokens.error(format!("uses the prefix '{prefix}', which is not declared")))
            }
        }
    }
}
