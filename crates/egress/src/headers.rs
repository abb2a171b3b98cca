//! Request headers: which the caller may set, and which survive a redirect to another origin.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

/// Most headers of one request. Clients of the standards send two or three.
pub const HEADERS_MAX: usize = 64;

/// Longest header, name and value, bytes. Common servers refuse more than 8 KiB.
pub const HEADER_BYTES_MAX: usize = 8 * 1024;

/// A request header that the caller may not set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the request header '{name}' {reason}")]
pub struct HeaderRefused {
    /// The name as given, escaped and cut.
    pub name: String,
    /// The rule it breaks.
    pub reason: &'static str,
}

/// Headers that frame the message or the connection, or that speak for a proxy. Setting them would let a user
/// smuggle a second request, reach another virtual host, or forge the sender's address.
const FORBIDDEN: &[&str] = &[
    "accept-encoding", // only what can be unpacked is asked for; see `Fault::Encoding`
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
];

const FORBIDDEN_PREFIXES: &[&str] = &["proxy-", "x-forwarded-", ":"];

/// What may follow a redirect to another origin. An allow-list: credentials have many names (`X-Api-Key`).
const ACROSS_ORIGINS: &[&str] = &[
    "accept",
    "accept-language",
    "content-type",
    "if-modified-since",
    "if-none-match",
    "range",
    "user-agent",
];

/// Checks one header that a user wants to send, for an early answer; [`Egress::fetch`](crate::Egress::fetch)
/// checks again.
///
/// # Errors
///
/// Where the name is reserved for the transport, or name or value are not valid in HTTP.
pub fn check_header(name: &str, value: &str) -> Result<(), HeaderRefused> {
    parse(name, value).map(|_| ())
}

/// All headers of a request, checked.
pub(crate) fn checked(headers: &[(String, String)]) -> Result<HeaderMap, HeaderRefused> {
    let mut map = HeaderMap::with_capacity(headers.len().min(HEADERS_MAX));
    for (position, (name, value)) in headers.iter().enumerate() {
        if position == HEADERS_MAX {
            return Err(refused(name, "is one too many: a request carries at most 64"));
        }
        let (name, value) = parse(name, value)?;
        map.append(name, value);
    }
    Ok(map)
}

/// Drops everything that another origin should not learn.
pub(crate) fn strip_for_other_origin(headers: &mut HeaderMap) {
    let dropped: Vec<HeaderName> =
        headers.keys().filter(|name| !ACROSS_ORIGINS.contains(&name.as_str())).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
}

fn parse(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HeaderRefused> {
    if name.len() + value.len() > HEADER_BYTES_MAX {
        return Err(refused(name, "is longer than 8 KiB"));
    }
    let lower = name.trim().to_ascii_lowercase();
    if FORBIDDEN.contains(&lower.as_str()) || FORBIDDEN_PREFIXES.iter().any(|p| lower.starts_with(p)) {
        return Err(refused(name, "is set by this server and may not be given"));
    }
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| refused(name, "has a name that is not valid in HTTP"))?;
    let value = HeaderValue::from_str(value)
        .map_err(|_| refused(name, "has a value that is not valid in HTTP: visible ASCII and spaces only"))?;
    Ok((parsed, value))
}

fn refused(name: &str, reason: &'static str) -> HeaderRefused {
    // 64 characters: longer than any registered name.
    HeaderRefused { name: name.chars().take(64).flat_map(char::escape_debug).collect(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transport_headers_are_refused_by_name() {
        for name in ["Host", "content-length", "Transfer-Encoding", "Connection", "Proxy-Authorization"] {
            let error = check_header(name, "x").unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("the request header '{name}' is set by this server and may not be given")
            );
        }
        for name in
            ["Proxy-Anything", "X-Forwarded-For", "TE", "Upgrade", "Expect", " host", "Accept-Encoding"]
        {
            assert!(check_header(name, "x").is_err(), "{name}");
        }
        for name in ["Authorization", "Accept", "X-Api-Key", "Cookie", "If-None-Match"] {
            assert!(check_header(name, "x").is_ok(), "{name}");
        }
    }

    #[test]
    fn a_value_cannot_start_a_second_header() {
        assert!(check_header("X-A", "1\r\nHost: internal").is_err());
        assert!(check_header("X-A\r\nHost", "internal").is_err());
        assert!(check_header("", "1").is_err());
        assert!(check_header("X-A", &"x".repeat(HEADER_BYTES_MAX)).is_err());
        let many: Vec<_> = (0..=HEADERS_MAX).map(|n| (format!("x-{n}"), String::new())).collect();
        assert!(checked(&many).is_err() && checked(&many[1..]).is_ok());
    }

    #[test]
    fn another_origin_learns_no_credential() {
        let given = [("Authorization", "a"), ("X-Api-Key", "b"), ("Cookie", "c"), ("Accept", "d")];
        let given: Vec<_> = given.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let mut headers = checked(&given).unwrap();
        strip_for_other_origin(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}
