//! Which XML can stand inside another document.

use super::tokens::{Token, Tokens, is_xml_character};
use anabranch_model::Data;
use std::io::{self, BufRead, BufReader};

/// The byte order mark of UTF-8.
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// Where the root element of data that is called XML begins, in bytes, if the data can stand inside another document as it is:
/// well-formed, UTF-8, without document type. Reads all of it, in blocks.
pub(crate) fn embeddable_from(data: &Data) -> io::Result<Option<u64>> {
    let mut input = BufReader::new(data.open()?);
    let before = if input.fill_buf()?.starts_with(MARK) { MARK.len() } else { 0 };
    input.consume(before);
    let mut tokens = Tokens::of_output(Box::new(input));
    let mut root = None;
    loop {
        match tokens.next() {
            Ok(Token::Start) if tokens.depth() == 1 => {
                let at = before as u64 + tokens.source().consumed() - tokens.tag_bytes();
                if root.replace(at).is_some() {
                    return Ok(None);
                }
            }
            Ok(Token::Characters) => {
                let is_inside = tokens.depth() > 0;
                let fits = |c: char| if is_inside { is_xml_character(c) } else { c.is_whitespace() };
                if !tokens.characters().chars().all(fits) {
                    return Ok(None);
                }
            }
            // It may stand before the root only, and is left out with all that stands there.
            Ok(Token::Declaration) if root.is_some() => return Ok(None),
            Ok(Token::Start | Token::End | Token::Declaration | Token::Other) => {}
            Ok(Token::Eof) => return Ok(root),
            Err(_unsound) => {
                return tokens.failure().map_or(Ok(None), |failure| Err(io::Error::other(failure)));
            }
        }
    }
}
