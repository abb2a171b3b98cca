//! Whether two texts mean the same, for fuzzing and tests.

use super::reader::Reader;
use super::tokens::Token;
use super::{Element, XmlError};
use crate::base64_decoder::{Base64Decoder, Base64Error};

/// A part of a document.
#[derive(Debug, PartialEq)]
pub(crate) enum Part {
    Begin(Element),
    End,
    Characters(String),
}

/// What elements mean, however their prefixes are declared.
pub(crate) fn expanded(elements: &str) -> Result<Vec<Part>, XmlError> {
    let document = format!("<root>{elements}</root>");
    let mut reader = Reader::new(&document);
    let mut parts = vec![Part::Begin(reader.root()?)];
    loop {
        match (reader.next()?, parts.last_mut()) {
            (Token::Start, _) => parts.push(Part::Begin(reader.element()?)),
            (Token::End, _) => parts.push(Part::End),
            (Token::Characters, Some(Part::Characters(text))) => text.push_str(reader.tokens.characters()),
            (Token::Characters, _) => parts.push(Part::Characters(reader.tokens.characters().to_owned())),
            (Token::Declaration | Token::Other, _) => {}
            (Token::Eof, _) => return Ok(parts),
        }
    }
}

/// All in one piece.
pub(crate) fn decode_base64(text: &str) -> Result<Vec<u8>, String> {
    let (mut decoder, mut bytes) = (Base64Decoder::default(), Vec::new());
    let decoded = decoder.push(text.as_bytes(), &mut bytes).and_then(|()| decoder.finish(&mut bytes));
    match decoded {
        Ok(()) => Ok(bytes),
        Err(Base64Error::Broken(rule)) => Err(rule),
        Err(Base64Error::Io(error)) => Err(error.to_string()),
    }
}
