//! Query parameters of lists: the page, and what is wanted in it.

use anabranch_model::{Error, Fault, FaultKind, Subject};
use percent_encoding::percent_decode_str;

/// Entries of a page where the client names no number: a screenful or two.
pub const LIMIT_DEFAULT: usize = 100;
/// Most entries of a page: larger numbers are taken as this one (§7.9.2, req/core/pl-limit-response).
pub const LIMIT_MAX: usize = 1_000;

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Most entries.
    pub limit: usize,
    /// Where it begins, as the `next` link of the page before says; opaque to clients.
    pub cursor: Option<String>,
}

impl Default for Page {
    fn default() -> Self {
        Self { limit: LIMIT_DEFAULT, cursor: None }
    }
}

impl Page {
    /// From a query string; parameters it does not know are ignored.
    ///
    /// # Errors
    /// Where `limit` is no whole number above 0.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let mut page = Self::default();
        let mut faults = Vec::new();
        for (name, value) in pairs(query) {
            page.take(&name, value, &mut faults);
        }
        if faults.is_empty() { Ok(page) } else { Err(Error::Invalid(faults)) }
    }

    /// Takes a parameter if it is one of its own.
    pub(super) fn take(&mut self, name: &str, value: String, faults: &mut Vec<Fault>) {
        match name {
            "limit" => match value.parse::<usize>() {
                Ok(limit) if limit > 0 => self.limit = limit.min(LIMIT_MAX),
                _ => faults.push(fault("limit", "must be a whole number above 0", &value)),
            },
            "cursor" => self.cursor = Some(value),
            _ => {}
        }
    }
}

/// The names and values of a query string, decoded (`application/x-www-form-urlencoded`).
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    fn decode(text: &str) -> String {
        percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
    }
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

pub(super) fn fault(name: &str, rule: &str, value: &str) -> Fault {
    Fault::new(Subject::Parameter(name.into()), FaultKind::Malformed, rule).with_value(value)
}
