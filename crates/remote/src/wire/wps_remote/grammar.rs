//! `key=value` pairs joined by `&`, percent-encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Most fields of a body: a process has at most 500 outputs, and the rest is a handful.
const FIELDS_MAX: usize = 1000;

/// What the original's agents leave as it is, besides letters and digits; a space becomes `%20`.
const TEXT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'/');

/// What GeoServer leaves as it is in a pickle, besides letters and digits.
const PICKLE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'$').remove(b'-').remove(b'_').remove(b'.').remove(b'!');

/// What must not stand in a base URL as it is: both ends split there, and neither decodes it.
const URL: &AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'&').add(b'=');

/// Fields in their order; of two with one key the first counts.
pub(super) struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    /// Splits a body. A part without `=` has no value; a `=` in a value belongs to it.
    pub(super) fn split(body: &'a str) -> Result<Self, String> {
        let fields = body.split('&').map(|part| part.trim().split_once('=').unwrap_or((part, "")));
        let fields: Vec<_> = fields.take(FIELDS_MAX + 1).collect();
        if fields.len() > FIELDS_MAX {
            return Err(format!("it has more than {FIELDS_MAX} fields"));
        }
        Ok(Self(fields))
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    pub(super) fn need(&self, key: &str) -> Result<&'a str, String> {
        self.get(key).filter(|value| !value.is_empty()).ok_or_else(|| format!("it has no '{key}'"))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().copied()
    }
}

pub(super) fn percent(text: &str) -> String {
    utf8_percent_encode(text, TEXT).to_string()
}

pub(super) fn percent_pickle(pickle: &[u8]) -> String {
    percent_encoding::percent_encode(pickle, PICKLE).to_string()
}

pub(super) fn percent_url(url: &str) -> String {
    utf8_percent_encode(url, URL).to_string()
}

pub(super) fn unpercent(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| "a value is no UTF-8 when it is decoded".into())
}

pub(super) fn unpercent_bytes(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

/// The original's agents do not encode log lines, though its server decodes them. A text with a character that would have
/// been encoded was not.
pub(super) fn unpercent_if_encoded(text: &str) -> String {
    let encoded = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-/%".contains(&byte));
    match unpercent(text) {
        Ok(decoded) if encoded => decoded,
        _ => text.to_owned(),
    }
}
