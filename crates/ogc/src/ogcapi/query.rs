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
            "limit" => match whole(&value) {
                Some(limit) if limit > 0 => {
                    self.limit = usize::try_from(limit).map_or(LIMIT_MAX, |limit| limit.min(LIMIT_MAX))
                }
                _ => faults.push(fault("limit", "must be a whole number above 0", &value)),
            },
            "cursor" => self.cursor = Some(value),
            _ => {}
        }
    }
}

/// The parameter `validate` of an execution: `true` asks for a dry run.
///
/// # Errors
/// Where it is neither `true` nor `false`.
pub fn is_dry_run(query: &str) -> Result<bool, Error> {
    match pairs(query).find(|(name, _)| name == "validate") {
        None => Ok(false),
        Some((_, value)) => match value.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(Error::invalid(fault("validate", "must be true or false", other))),
        },
    }
}

/// Refuses every parameter but those `known`: what a client that prefers `handling=strict` expects.
///
/// # Errors
/// Every other parameter.
pub fn refuse_others(query: &str, known: &[&str]) -> Result<(), Error> {
    let others = pairs(query).filter(|(name, _)| !known.contains(&name.as_str()));
    let rule = format!("is unknown; there are {}", known.join(", "));
    let faults: Vec<_> = others
        .map(|(name, _)| Fault::new(Subject::Parameter(name), FaultKind::Unknown, rule.clone()))
        .take(anabranch_model::bind::FAULTS_MAX)
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// A query has no other parameter than this one.
#[must_use]
pub fn says_only(query: &str, parameter: &str) -> bool {
    pairs(query).all(|(name, _)| name == parameter)
}

/// The names in a parameter that is a list with commas; `None` where it is not given.
#[must_use]
pub fn names(query: &str, parameter: &str) -> Option<Vec<String>> {
    let mut given =
        query.split('&').filter_map(|pair| pair.strip_prefix(parameter)?.strip_prefix('=')).peekable();
    given.peek()?;
    Some(
        given.flat_map(|value| value.split(',')).filter(|name| !name.is_empty()).filter_map(decode).collect(),
    )
}

/// The names and values of a query string, decoded (`application/x-www-form-urlencoded`).
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    fn lossy(text: &str) -> String {
        decode(text).unwrap_or_else(|| text.to_owned())
    }
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (lossy(name), lossy(value))
    })
}

/// Text of a query (`application/x-www-form-urlencoded`); `None` where it is no UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    Some(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned())
}

/// A number of digits only; one that is too large for any use is the largest.
pub(super) fn whole(text: &str) -> Option<u64> {
    let is_whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_whole.then(|| text.parse().unwrap_or(u64::MAX))
}

pub(super) fn fault(name: &str, rule: &str, value: &str) -> Fault {
    Fault::new(Subject::Parameter(name.into()), FaultKind::Malformed, rule).with_value(value)
}
