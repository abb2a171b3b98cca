//! Forms are taken from our own pages only: another site's page must not start jobs in a visitor's name.
//!
//! Browsers say where a form comes from (`Sec-Fetch-Site`, older ones `Origin`); programs say nothing and are no danger, because they
//! act for themselves.

use anabranch_ogc::ogcapi::{BaseUrl, Problem};
use axum::extract::Request;
use axum::http::{HeaderMap, header};

/// The problem, where a form was sent by a page of another site.
pub(crate) fn refuse_foreign(headers: &HeaderMap, base: &BaseUrl) -> Option<Problem> {
    if is_own(headers, base) {
        return None;
    }
    let detail = "forms are taken from the pages of this server only; other pages and programs send JSON";
    Some(Problem::http(403, "form of another site", detail))
}

/// The problem, where a GET that would execute something was not meant: a browser that fetches pages in advance, or another site's
/// page that shows our address as an image. Scripts of other sites may ask, as by POST, and read the answer.
pub(crate) fn refuse_unmeant(headers: &HeaderMap) -> Option<Problem> {
    let is = |name: &str, wanted: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split([';', ',']).any(|part| part.trim().eq_ignore_ascii_case(wanted))
    };
    let in_advance = ["sec-purpose", "purpose", "x-moz"].iter().any(|name| is(name, "prefetch"));
    let embedded = is("sec-fetch-mode", "no-cors") && is("sec-fetch-site", "cross-site");
    if !in_advance && !embedded {
        return None;
    }
    let detail =
        "this address executes a process: it is neither fetched in advance nor shown in pages of other sites";
    Some(Problem::http(403, "not meant", detail))
}

/// The problem, where a page of another site has a browser act in its user's name: passwords and certificates are sent by browsers
/// themselves, whoever asks. Links from elsewhere may be followed, but for those that execute something.
pub(crate) fn refuse_ambient(request: &Request, base: &BaseUrl, origins: &[String]) -> Option<Problem> {
    let (headers, path) = (request.headers(), request.uri().path());
    let acts = !request.method().is_safe() || path.ends_with("/execution") || matches!(path, "/wps" | "/ows");
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let is_named = origin.is_some_and(|origin| origins.iter().any(|named| named == origin));
    if !acts || is_named || is_own(headers, base) {
        return None;
    }
    let detail = "pages of other sites act here by bearer tokens only, or where http.cors_origins names them";
    Some(Problem::http(403, "request of another site", detail))
}

fn is_own(headers: &HeaderMap, base: &BaseUrl) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(header::ORIGIN.as_str()) else { return true };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let landing = base.landing();
    let own = landing.split_once("://").and_then(|(_, rest)| rest.split('/').next());
    authority.is_some() && (authority == own || authority == text(header::HOST.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    #[test]
    fn only_pages_of_other_sites_are_refused() {
        let base = BaseUrl::new("https://example.org/anabranch/");
        for (headers, own) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site"), ("origin", "https://example.org")], false),
            (&[("origin", "https://example.org")], true),
            (&[("origin", "http://10.0.0.1:8080"), ("host", "10.0.0.1:8080")], true),
            (&[("origin", "https://example.org.evil.net"), ("host", "example.org")], false),
            (&[("origin", "null"), ("host", "example.org")], false),
        ] {
            let pairs = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            assert_eq!(refuse_foreign(&pairs.collect(), &base).is_none(), own, "{headers:?}");
        }
    }

    #[test]
    fn what_a_browser_adds_counts_on_our_own_pages() {
        let base = BaseUrl::new("https://example.org");
        let origins = ["https://maps.example.net".to_owned()];
        let refused = |method: &str, path: &str, name: &str, value: &str| {
            let request = Request::builder().method(method).uri(path).header(name, value);
            refuse_ambient(&request.body(axum::body::Body::empty()).unwrap(), &base, &origins).is_some()
        };
        assert!(refused("POST", "/wps", "sec-fetch-site", "cross-site"));
        assert!(refused("GET", "/wps?request=Execute", "sec-fetch-site", "same-site"));
        assert!(refused("GET", "/processes/echo/execution?x=1", "sec-fetch-site", "cross-site"));
        assert!(refused("DELETE", "/jobs/1", "origin", "https://evil.example"));
        assert!(!refused("GET", "/jobs/1", "sec-fetch-site", "cross-site"), "a link in a letter");
        assert!(!refused("POST", "/wps", "sec-fetch-site", "same-origin"));
        assert!(!refused("POST", "/wps", "user-agent", "QGIS"));
        assert!(!refused("POST", "/wps", "origin", "https://maps.example.net"));
    }

    #[test]
    fn what_nobody_meant_executes_nothing() {
        for (name, value, refused) in [
            ("sec-purpose", "prefetch;prerender", true),
            ("purpose", "prefetch", true),
            ("sec-purpose", "other", false),
            ("sec-fetch-mode", "no-cors", false),
        ] {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            assert_eq!(refuse_unmeant(&headers).is_some(), refused, "{name}: {value}");
        }
        let embedded = HeaderMap::from_iter([
            (HeaderName::from_static("sec-fetch-mode"), HeaderValue::from_static("no-cors")),
            (HeaderName::from_static("sec-fetch-site"), HeaderValue::from_static("cross-site")),
        ]);
        assert!(refuse_unmeant(&embedded).is_some());
    }
}
