//! Forms are taken from our own pages only: another site's page must not start jobs in a visitor's name.
//!
//! Browsers say where a form comes from (`Sec-Fetch-Site`, older ones `Origin`); programs say nothing and are no danger, because they
//! act for themselves.

use anabranch_ogc::ogcapi::{BaseUrl, Problem};
use axum::http::{HeaderMap, header};

/// The problem, where a form was sent by a page of another site.
pub(crate) fn refuse_foreign(headers: &HeaderMap, base: &BaseUrl) -> Option<Problem> {
    if is_own(headers, base) {
        return None;
    }
    let detail = "forms are taken from the pages of this server only; other pages and programs send JSON";
    Some(Problem::http(403, "form of another site", detail))
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
}
