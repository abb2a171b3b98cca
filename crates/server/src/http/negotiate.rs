//! Which representation a client wants: `?f=` wins over `Accept`.

use anabranch_model::description::media_type_essence;
use anabranch_model::{Error, Fault, FaultKind, Subject};
use axum::http::{HeaderMap, header};

/// A representation of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Html,
}

impl Form {
    /// What the client wants; JSON where it says nothing or anything else, because raw outputs and multipart
    /// answers are asked for with any `Accept`.
    ///
    /// # Errors
    /// Where `f` is neither `json` nor `html`.
    pub(crate) fn wanted(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Error> {
        let f = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("f="));
        match f {
            Some("json") => return Ok(Self::Json),
            Some("html") => return Ok(Self::Html),
            Some(other) => {
                let fault =
                    Fault::new(Subject::Parameter("f".into()), FaultKind::NotAllowed, "must be json or html");
                return Err(Error::invalid(fault.with_value(other)));
            }
            None => {}
        }
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // Browsers name text/html before the wildcard; programs name JSON or nothing.
        Ok(match (position(accept, "text/html"), position(accept, "application/json")) {
            (Some(html), Some(json)) if html < json => Self::Html,
            (Some(_), None) => Self::Html,
            _ => Self::Json,
        })
    }
}

/// The place of a media type in an `Accept` header, by quality and then by order.
fn position(accept: &str, media_type: &str) -> Option<(u32, usize)> {
    accept.split(',').enumerate().find_map(|(index, range)| {
        let mut parts = range.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(media_type) {
            return None;
        }
        let quality: f32 =
            parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse().ok()).unwrap_or(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000")]
        let distance = 1000 - (quality.clamp(0.0, 1.0) * 1000.0) as u32;
        (quality > 0.0).then_some((distance, index))
    })
}

/// Which of these media types the client prefers among those that it names.
pub(crate) fn preferred(headers: &HeaderMap, media_types: &[&str]) -> Option<usize> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let named = media_types.iter().enumerate();
    let placed = named.filter_map(|(index, media_type)| Some((position(accept, media_type)?, index)));
    placed.min().map(|(_, index)| index)
}

/// The client accepts a media type literally.
pub(crate) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    position(accept, media_type).is_some()
}

/// The client takes one of these media types, literally or by a wildcard; who says nothing takes all.
pub(crate) fn accepts_any(headers: &HeaderMap, media_types: &[&str]) -> bool {
    let mut accept =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if accept.peek().is_none_or(|accept| accept.trim().is_empty()) {
        return true;
    }
    let ranges = |media_type: &str| {
        let essence = media_type_essence(media_type);
        let kind = essence.split('/').next().unwrap_or_default();
        [format!("{kind}/*"), "*/*".to_owned(), essence]
    };
    let wanted: Vec<String> = media_types.iter().flat_map(|media_type| ranges(media_type)).collect();
    accept.any(|accept| {
        accept.split(',').any(|range| {
            let refused = range.split(';').any(|part| part.trim().strip_prefix("q=").is_some_and(is_zero));
            let essence = media_type_essence(range);
            !refused && (essence == "*/*" || wanted.contains(&essence))
        })
    })
}

fn is_zero(quality: &str) -> bool {
    quality.trim().parse().is_ok_and(|quality: f32| quality <= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(query: Option<&str>, accept: &str) -> Result<Form, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Form::wanted(query, &headers)
    }

    #[test]
    fn browsers_get_html_and_programs_json() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert_eq!(wanted(None, browser), Ok(Form::Html));
        for program in ["application/json", "*/*", "", "application/json, text/html;q=0.5", "text/html;q=0"] {
            assert_eq!(wanted(None, program), Ok(Form::Json), "{program}");
        }
        assert_eq!(wanted(Some("limit=1&f=json"), browser), Ok(Form::Json));
        assert_eq!(wanted(Some("f=html"), "application/json"), Ok(Form::Html));
        assert!(wanted(Some("f=xml"), "").is_err());
    }

    #[test]
    fn a_media_type_is_accepted_by_name_or_wildcard() {
        for (accept, accepted) in [
            ("", true),
            ("*/*", true),
            ("text/*", true),
            ("text/plain; charset=utf-8, image/png", true),
            ("image/png", false),
            ("image/png, text/plain;q=0", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(accepts_any(&headers, &["text/plain; charset=utf-8"]), accepted, "{accept}");
        }
        assert!(accepts_any(&HeaderMap::new(), &["text/plain"]));
    }
}
