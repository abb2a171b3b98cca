//! Key-value pairs of a query string (OWS Common 1.1 §11.5.3): names in any case, of a repeated one the first counts.

use percent_encoding::percent_decode_str;

/// The parameters of a request, values still encoded.
pub(crate) struct Parameters<'a>(Vec<(String, &'a str)>);

impl<'a> Parameters<'a> {
    pub(crate) fn parse(query: &'a str) -> Self {
        let pairs = query.trim_start_matches('?').split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name).to_ascii_lowercase(), value)
                })
                .collect(),
        )
    }

    /// As written; `name` in lower case.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// Decoded; `None` where it is absent or empty, which OWS Common treats alike.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        self.raw(name).map(decode).filter(|value| !value.is_empty())
    }

    /// The entries of a comma-separated list; none where it is absent.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let entries = self.raw(name).map(|raw| decode(raw).split(',').map(|e| e.trim().to_owned()).collect());
        let mut entries: Vec<String> = entries.unwrap_or_default();
        entries.retain(|entry| !entry.is_empty());
        entries
    }
}

/// Decodes `%XX` and `+`.
pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}
