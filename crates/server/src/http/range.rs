//! Range requests (RFC 9110 §14): one range of bytes of a stored result, so that a broken download of gigabytes can go on.
//!
//! Ignored on purpose, as the standard allows, by answering with all of it: several ranges at once, units other than bytes, and
//! `If-Range`, for the validators of results are weak.

use axum::http::{HeaderMap, HeaderValue, Method, header};

/// What of a representation is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// All of it.
    Whole,
    /// Some of it, which is there.
    Part(Part),
    /// Nothing that is there.
    Outside,
}

/// Some bytes, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Range {
    /// Of a representation of so many bytes.
    pub(crate) fn asked(method: &Method, headers: &HeaderMap, length: u64) -> Self {
        if method != Method::GET || headers.contains_key(header::IF_RANGE) {
            return Self::Whole;
        }
        let text = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self::parse(text, length).unwrap_or(Self::Whole)
    }

    /// `None` where it is no single range of bytes.
    fn parse(text: &str, length: u64) -> Option<Self> {
        let (unit, range) = text.split_once('=')?;
        let (first, last) = range.trim().split_once('-')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") || first.starts_with('+') || last.starts_with('+') {
            return None;
        }
        let end = length.checked_sub(1);
        let (first, last) = match (first, last) {
            ("", count) => (length.saturating_sub(count.parse().ok()?), u64::MAX),
            (first, "") => (first.parse().ok()?, u64::MAX),
            (first, last) => (first.parse().ok()?, last.parse().ok()?),
        };
        Some(match end {
            _ if last < first => return None,
            Some(end) if first <= end => Self::Part(Part { first, last: last.min(end) }),
            Some(_) | None => Self::Outside,
        })
    }
}

impl Part {
    /// How many.
    pub(crate) fn bytes(self) -> u64 {
        self.last - self.first + 1
    }

    /// `Content-Range` of a representation of so many bytes.
    pub(crate) fn content_range(self, length: u64) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("bytes {}-{}/{length}", self.first, self.last)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_taken_and_anything_else_ignored() {
        let part = |first, last| Some(Range::Part(Part { first, last }));
        for (text, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-", part(2, 9)),
            ("Bytes = 3-100", part(3, 9)),
            ("bytes=-4", part(6, 9)),
            ("bytes=-40", part(0, 9)),
            ("bytes=10-", Some(Range::Outside)),
            ("bytes=-0", Some(Range::Outside)),
            ("bytes=5-4", None),
            ("bytes=0-1,3-4", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes=1", None),
            ("lines=1-2", None),
            ("", None),
        ] {
            assert_eq!(Range::parse(text, 10), expected, "{text}");
        }
        assert_eq!(Range::parse("bytes=0-", 0), Some(Range::Outside));
        assert_eq!(Part { first: 3, last: 4 }.content_range(10).unwrap(), "bytes 3-4/10");
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=1-2"));
        assert_eq!(Some(Range::asked(&Method::GET, &headers, 10)), part(1, 2));
        assert_eq!(Range::asked(&Method::HEAD, &headers, 10), Range::Whole);
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"x\""));
        assert_eq!(Range::asked(&Method::GET, &headers, 10), Range::Whole);
    }
}
