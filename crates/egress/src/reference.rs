//! References as users type them: parsing with a cap, and the form in which messages show them.

use url::Url;

use crate::error::{Reason, Refused};

/// Longest reference, bytes. Common servers refuse longer request lines.
pub const URL_BYTES_MAX: usize = 8 * 1024;

/// Longest part of a reference shown in a message, characters: enough to recognise it, too little to flood a log.
const SHOWN_CHARS_MAX: usize = 200;

/// Parses an absolute URL. Whether it may be fetched is [`Egress::check`](crate::Egress::check)'s question.
///
/// # Errors
///
/// [`Reason::TooLong`] above [`URL_BYTES_MAX`], [`Reason::NotAUrl`] for anything that is not an absolute URL.
pub fn parse_url(text: &str) -> Result<Url, Refused> {
    if text.len() > URL_BYTES_MAX {
        return Err(Refused { reference: shown_text(text), reason: Reason::TooLong });
    }
    Url::parse(text).map_err(|_| Refused { reference: shown_text(text), reason: Reason::NotAUrl })
}

/// The URL without what may be secret: user name and password, query (signed URLs, API keys), fragment.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // These two fail only for URLs that cannot have a user name.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    let query = url.query().is_some();
    url.set_query(None);
    let mut text = shown_text(url.as_str());
    if query {
        text.push_str("?…");
    }
    text
}

/// Text that is no URL: escaped against forged log lines, and cut before a query.
fn shown_text(text: &str) -> String {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    // Without a parser the user name can only be recognised by its '@'.
    let path = path.rsplit_once('@').map_or(path, |(_, rest)| rest);
    let mut shown: String = path.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if path.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let show = |text: &str| shown(&Url::parse(text).unwrap());
        assert_eq!(show("http://u:pw@example.org/a?token=1#f"), "http://example.org/a?…");
        assert_eq!(show("http://example.org/a%0Ab"), "http://example.org/a%0Ab");
        assert!(show(&format!("http://example.org/{}", "x".repeat(500))).chars().count() <= 201);
    }

    #[test]
    fn what_is_no_url_is_refused_and_escaped() {
        assert_eq!(
            parse_url("no\nurl").unwrap_err().to_string(),
            "'no\\nurl' may not be fetched: not an absolute URL"
        );
        assert_eq!(parse_url(&"x".repeat(URL_BYTES_MAX + 1)).unwrap_err().reason, Reason::TooLong);
    }
}
