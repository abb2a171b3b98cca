//! What an element holds, put together from its tokens: in memory, or in a file where it is large.

use super::XmlError;
use super::element::Element;
use super::reader::Reader;
use super::tokens::Token;
use crate::base64_decoder::{Base64Decoder, Base64Error};
use crate::spool::{Characters, SpoolFile};
use anabranch_model::Data;
use memchr::memmem;
use quick_xml::events::BytesStart;
use quick_xml::name::PrefixDeclaration;

/// What an element holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Characters only.
    Text(String),
    /// Elements, as written, with the namespace declarations that they need.
    Xml(String),
}

/// What an element holds that may be large.
#[derive(Debug, PartialEq)]
pub(crate) enum Payload {
    /// It is not.
    Held(Content),
    /// It is; base64 is decoded.
    Spooled {
        data: Data,
        /// It is made of elements.
        is_xml: bool,
    },
    /// It is large and breaks this rule.
    Broken(String),
}

/// The content of one element, so far.
struct Gathered {
    /// Where it begins in the document.
    begin: u64,
    held: Vec<u8>,
    is_xml: bool,
    may_be_spooled: bool,
    rest: Rest,
}

impl Gathered {
    fn new(begin: u64, is_xml: bool, may_be_spooled: bool) -> Self {
        Self { begin, held: Vec::new(), is_xml, may_be_spooled, rest: Rest::Nothing }
    }
}

/// Where that has gone which is not held any more.
enum Rest {
    /// All is held.
    Nothing,
    File {
        file: Box<dyn SpoolFile>,
        decoder: Option<Base64Decoder>,
    },
    /// What was to be decoded is broken: the rest is read, for the faults that may follow, and forgotten.
    Forgotten {
        rule: String,
    },
}

/// Prefixes and namespaces; the prefix of the default namespace is empty.
type Scope = Vec<(String, String)>;

impl Reader<'_> {
    /// All that the element we are in holds, and leaves it. It is held, and counts as such.
    pub(crate) fn content(&mut self) -> Result<Content, XmlError> {
        let gathered = self.gather(Characters::Held, &[])?;
        self.held_content(gathered)
    }

    /// All that the element we are in holds, and leaves it; what is large goes to the spool. Where it begins with one of the elements
    /// `of_protocol`, it is no data of its own and is held.
    pub(crate) fn payload(
        &mut self,
        characters: Characters,
        of_protocol: &[(&str, &str)],
    ) -> Result<Payload, XmlError> {
        let gathered = self.gather(characters, of_protocol)?;
        if let Some(begin) = self.spooled_since.take() {
            self.spooled_bytes += self.tokens.source().consumed() - begin;
        }
        match gathered.rest {
            Rest::Nothing => self.held_content(gathered).map(Payload::Held),
            Rest::Forgotten { rule } => Ok(Payload::Broken(rule)),
            Rest::File { .. } => self.spooled(gathered),
        }
    }

    fn held_content(&self, gathered: Gathered) -> Result<Content, XmlError> {
        let text = String::from_utf8(gathered.held).map_err(|_not_text| self.tokens.error("is no UTF-8"))?;
        Ok(if gathered.is_xml { Content::Xml(text) } else { Content::Text(text) })
    }

    /// Writes what is left, and ends the file.
    fn spooled(&mut self, mut gathered: Gathered) -> Result<Payload, XmlError> {
        self.spool(&mut gathered, None)?;
        let finished = match gathered.rest {
            Rest::File { mut file, decoder } => {
                let decoded = decoder.map_or(Ok(()), |decoder| decoder.finish(&mut *file));
                decoded.and_then(|()| file.finish().map_err(Base64Error::Io))
            }
            Rest::Nothing => Err(Base64Error::Broken(String::new())),
            Rest::Forgotten { rule } => Err(Base64Error::Broken(rule)),
        };
        match finished {
            Ok(data) => Ok(Payload::Spooled { data, is_xml: gathered.is_xml }),
            Err(Base64Error::Broken(rule)) => Ok(Payload::Broken(rule)),
            Err(Base64Error::Io(error)) => Err(self.tokens.cant_go_on(&error)),
        }
    }

    fn gather(&mut self, characters: Characters, of_protocol: &[(&str, &str)]) -> Result<Gathered, XmlError> {
        let level = self.tokens.depth();
        let scope = self.scope();
        let begin = self.tokens.source().consumed();
        let may_be_spooled = characters != Characters::Held;
        let mut text = Gathered::new(begin, false, may_be_spooled);
        loop {
            match self.next()? {
                Token::Characters => {
                    text.held.extend_from_slice(self.tokens.characters().as_bytes());
                    if self.is_too_large(&text) {
                        // Of use the first time only, when all that has come is still held.
                        let is_base64 = characters.told_by(&text.held) == Characters::Base64;
                        self.spool(&mut text, is_base64.then(Base64Decoder::default))?;
                    }
                }
                Token::Start => break,
                Token::End | Token::Eof => return Ok(text),
                Token::Declaration | Token::Other => {}
            }
        }
        // A payload of elements is taken as written, and what stands between them is left out.
        drop(text);
        self.spooled_since = None;
        let may_be_spooled = may_be_spooled && !self.is_at_one_of(of_protocol);
        let mut xml = Gathered::new(begin, true, may_be_spooled);
        loop {
            self.fragment(level, &scope, &mut xml)?;
            loop {
                match self.next()? {
                    Token::Start => break,
                    Token::End | Token::Eof => return Ok(xml),
                    Token::Characters | Token::Declaration | Token::Other => {}
                }
            }
        }
    }

    /// An element in a payload, whose start tag has been read: as written, with the declarations of its surroundings that it may need.
    /// Prefixes also occur in values (`xsi:type`), so a prefix counts as used wherever it stands before a colon; where the element
    /// is too large to be looked through before it is written, all of them count.
    fn fragment(&mut self, level: usize, scope: &Scope, into: &mut Gathered) -> Result<(), XmlError> {
        let tag = self.tokens.tag();
        let name = tag.name().into_inner();
        let begin = into.held.len();
        let name_end = begin + 1 + name.len();
        let own = own_declarations(tag);
        let tag_end = if self.tokens.is_empty_element() { "/>" } else { ">" };
        for part in ["<", tag, tag_end] {
            into.held.extend_from_slice(part.as_bytes());
        }
        let wanted = scope.iter().filter(|(prefix, _)| !own.contains(prefix));
        let mut declared = false;
        while self.tokens.depth() > level {
            self.tokens.source().copy = Some(std::mem::take(&mut into.held));
            let token = self.next();
            into.held = self.tokens.source().copy.take().unwrap_or_default();
            token?;
            if self.is_too_large(into) {
                if !std::mem::replace(&mut declared, true) {
                    declare(&mut into.held, name_end, wanted.clone());
                }
                self.spool(into, None)?;
            }
        }
        if !declared {
            let text = &into.held[begin..];
            let is_used = |prefix: &str| {
                prefix.is_empty() || memmem::find(text, format!("{prefix}:").as_bytes()).is_some()
            };
            let used: Vec<_> = wanted.filter(|(prefix, _)| is_used(prefix)).collect();
            declare(&mut into.held, name_end, used);
        }
        Ok(())
    }

    /// The element whose start tag was read last is one of these, by namespace and name; or it can't be read, which is for those to say
    /// who look for them.
    fn is_at_one_of(&self, names: &[(&str, &str)]) -> bool {
        let is_named = |element: &Element| names.iter().any(|(namespace, name)| element.is(namespace, name));
        !names.is_empty() && self.element().as_ref().map_or(true, is_named)
    }

    /// Prefixes and namespaces in force here.
    fn scope(&self) -> Scope {
        let bindings = self.tokens.resolver().bindings().filter_map(|(prefix, namespace)| {
            let prefix = match prefix {
                PrefixDeclaration::Default => "",
                PrefixDeclaration::Named("xml" | "xmlns") => return None,
                PrefixDeclaration::Named(prefix) => prefix,
            };
            Some((prefix.to_owned(), namespace.into_inner().to_owned()))
        });
        bindings.collect()
    }

    fn is_too_large(&self, gathered: &Gathered) -> bool {
        let from_bytes = self.spooling.as_ref().map_or(usize::MAX, |spooling| spooling.from_bytes);
        gathered.may_be_spooled && gathered.held.len() > from_bytes
    }

    /// Moves what is held to the file, which is made where it is missing.
    fn spool(&mut self, gathered: &mut Gathered, decoder: Option<Base64Decoder>) -> Result<(), XmlError> {
        let Some(spooling) = &mut self.spooling else { return Ok(()) };
        if let Rest::Nothing = gathered.rest {
            let file = spooling.to.file().map_err(|error| self.tokens.cant_go_on(&error))?;
            gathered.rest = Rest::File { file, decoder };
            self.spooled_since = Some(gathered.begin);
        }
        let written = match &mut gathered.rest {
            Rest::File { file, decoder: None } => file.write_all(&gathered.held).map_err(Base64Error::Io),
            Rest::File { file, decoder: Some(decoder) } => decoder.push(&gathered.held, &mut **file),
            Rest::Nothing | Rest::Forgotten { .. } => Ok(()),
        };
        gathered.held.clear();
        match written {
            Ok(()) => Ok(()),
            Err(Base64Error::Io(error)) => Err(self.tokens.cant_go_on(&error)),
            Err(Base64Error::Broken(rule)) => {
                gathered.rest = Rest::Forgotten { rule };
                Ok(())
            }
        }
    }
}

/// The prefixes that a tag declares itself.
fn own_declarations(tag: &BytesStart<'_>) -> Vec<String> {
    let declared = tag.attributes().flatten().filter_map(|attribute| {
        Some(match attribute.key.as_namespace_binding()? {
            PrefixDeclaration::Default => String::new(),
            PrefixDeclaration::Named(prefix) => prefix.to_owned(),
        })
    });
    declared.collect()
}

/// Puts declarations into a tag. Namespaces stay as they were written, references and all.
fn declare<'s>(xml: &mut Vec<u8>, at: usize, namespaces: impl IntoIterator<Item = &'s (String, String)>) {
    let mut text = String::new();
    for (prefix, namespace) in namespaces {
        let colon = if prefix.is_empty() { "" } else { ":" };
        text.push_str(&format!(" xmlns{colon}{prefix}=\"{}\"", namespace.replace('"', "&quot;")));
    }
    xml.splice(at..at, text.into_bytes());
}
