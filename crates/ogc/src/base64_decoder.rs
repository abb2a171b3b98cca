//! Base64 that is decoded while it is read, cut anywhere.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine as _};
use std::io::{self, Write};

/// All groups of four but the last.
const FULL_GROUPS: GeneralPurpose = engine(DecodePaddingMode::RequireNone);
/// The last group, with or without padding; as binding decodes small values.
const LAST_GROUP: GeneralPurpose = engine(DecodePaddingMode::Indifferent);

const fn engine(padding: DecodePaddingMode) -> GeneralPurpose {
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(padding))
}

/// Takes characters in pieces; white space may stand anywhere.
#[derive(Default)]
pub(crate) struct Base64Decoder {
    /// Characters that are not decoded yet.
    pending: Vec<u8>,
    bytes: Vec<u8>,
    decoded_characters: u64,
}

/// Why a piece can't be decoded.
#[derive(Debug)]
pub(crate) enum Base64Error {
    /// The rule that is broken, as a clause that reads after the input's name.
    Broken(String),
    /// The bytes can't be written.
    Io(io::Error),
}

impl Base64Decoder {
    pub(crate) fn push(&mut self, characters: &[u8], out: &mut dyn Write) -> Result<(), Base64Error> {
        for run in characters.split(u8::is_ascii_whitespace) {
            self.pending.extend_from_slice(run);
        }
        // The last group alone may have padding, and which one that is shows at the end.
        let full = self.pending.len().saturating_sub(1) / 4 * 4;
        self.decode(&FULL_GROUPS, full, out)
    }

    pub(crate) fn finish(mut self, out: &mut dyn Write) -> Result<(), Base64Error> {
        self.decode(&LAST_GROUP, self.pending.len(), out)
    }

    fn decode(
        &mut self,
        engine: &GeneralPurpose,
        count: usize,
        out: &mut dyn Write,
    ) -> Result<(), Base64Error> {
        self.bytes.clear();
        if let Err(error) = engine.decode_vec(&self.pending[..count], &mut self.bytes) {
            return Err(Base64Error::Broken(self.rule(&error)));
        }
        self.pending.drain(..count);
        self.decoded_characters += count as u64;
        out.write_all(&self.bytes).map_err(Base64Error::Io)
    }

    fn rule(&self, error: &DecodeError) -> String {
        match error {
            DecodeError::InvalidByte(at, byte) | DecodeError::InvalidLastSymbol(at, byte) => {
                let number = self.decoded_characters + *at as u64 + 1;
                let character = char::from(*byte);
                format!("must be base64: character {number}, white space not counted, is {character:?}")
            }
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => {
                let count = self.decoded_characters + self.pending.len() as u64;
                format!(
                    "must be base64: it ends within a group, after {count} characters, white space not counted"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(pieces: &[&[u8]]) -> Result<Vec<u8>, String> {
        let (mut decoder, mut out) = (Base64Decoder::default(), Vec::new());
        let result = pieces.iter().try_for_each(|piece| decoder.push(piece, &mut out));
        match result.and_then(|()| decoder.finish(&mut out)) {
            Ok(()) => Ok(out),
            Err(Base64Error::Broken(rule)) => Err(rule),
            Err(Base64Error::Io(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn pieces_may_be_cut_anywhere() {
        let text = b"\n QUJD\r\nREVG\tR w = = \n";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(decoded(&pieces).unwrap(), b"ABCDEFG", "{first} {second}");
            }
        }
        assert_eq!(decoded(&[b"QUJDRA"]).unwrap(), b"ABCD");
        assert_eq!(decoded(&[b"QUJDRA="]).unwrap(), b"ABCD");
        assert_eq!(decoded(&[b" "]).unwrap(), b"");
    }

    #[test]
    fn what_is_no_base64_is_named_with_its_place() {
        let place = "must be base64: character 10, white space not counted, is '!'";
        for first in 0..12 {
            let text = b"QUJD REVG\nR!==";
            assert_eq!(decoded(&[&text[..first], &text[first..]]).unwrap_err(), place);
        }
        for padded_within in [&b"QQ==QUJD"[..], b"QQ=QUJD", b"QUJD====", b"QUJD=", b"Q"] {
            decoded(&[padded_within]).unwrap_err();
            decoded(&[&padded_within[..1], &padded_within[1..]]).unwrap_err();
        }
        assert!(decoded(&[b"QUJDR"]).unwrap_err().contains("after 5 characters"));
    }
}
