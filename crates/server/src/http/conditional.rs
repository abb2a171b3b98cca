//! Validators and conditional requests (RFC 9110 §8.8, §13): the results of a finished job never change, so that a client that has
//! them need not fetch them again.

use super::answer::http_date;
use anabranch_model::{JobId, Timestamp};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// By what a client knows that nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validators {
    etag: HeaderValue,
    modified: Option<HeaderValue>,
}

impl Validators {
    /// Of some results of a job. Weak, because a multipart answer has another boundary each time.
    pub(crate) fn of_results(job: JobId, parts: &str, finished: Option<Timestamp>) -> Option<Self> {
        // A part may have any name: what can't stand in a header is written as its code.
        let parts: String = parts.bytes().map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::from_str(&format!("W/\"{job}.{parts}\"")).ok()?;
        Some(Self { etag, modified: finished.and_then(http_date) })
    }

    /// Of what is the same to the byte for as long as `of` is the same.
    pub(crate) fn exact(job: JobId, of: &str) -> Option<Self> {
        let of: String = of.bytes().map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::from_str(&format!("\"{job}.{of}\"")).ok()?;
        Some(Self { etag, modified: None })
    }

    /// 304, where the client has what it asks for. A date is compared as text: ours comes back as it was sent.
    pub(crate) fn not_modified(&self, headers: &HeaderMap) -> Option<Response> {
        let has_it = match headers.get(header::IF_NONE_MATCH) {
            Some(known) => {
                let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
                let own = strong(self.etag.to_str().unwrap_or_default());
                known
                    .to_str()
                    .unwrap_or_default()
                    .split(',')
                    .any(|tag| tag.trim() == "*" || strong(tag) == own)
            }
            None => {
                self.modified.is_some() && headers.get(header::IF_MODIFIED_SINCE) == self.modified.as_ref()
            }
        };
        has_it.then(|| self.mark(StatusCode::NOT_MODIFIED.into_response()))
    }

    /// With the validators.
    pub(crate) fn mark(&self, mut response: Response) -> Response {
        response.headers_mut().insert(header::ETAG, self.etag.clone());
        if let Some(modified) = &self.modified {
            response.headers_mut().insert(header::LAST_MODIFIED, modified.clone());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_it_is_spared_it() {
        let job = JobId::from_bytes([7; 16]);
        let finished = Timestamp::from_second(784_111_777).unwrap();
        let validators = Validators::of_results(job, "a\n", Some(finished)).unwrap();
        let marked = validators.mark(StatusCode::OK.into_response());
        assert_eq!(marked.headers()[header::LAST_MODIFIED], "Sun, 06 Nov 1994 08:49:37 GMT");
        let etag = marked.headers()[header::ETAG].to_str().unwrap().to_owned();
        let asked = |name: header::HeaderName, value: &str| {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]);
            validators.not_modified(&headers).is_some()
        };
        assert!(asked(header::IF_NONE_MATCH, &etag) && asked(header::IF_NONE_MATCH, "\"x\", *"));
        assert!(asked(header::IF_NONE_MATCH, &format!("\"x\", {}", &etag[2..])));
        assert!(asked(header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(!asked(header::IF_NONE_MATCH, "\"x\"") && !asked(header::IF_MODIFIED_SINCE, "yesterday"));
        assert!(validators.not_modified(&HeaderMap::new()).is_none());
    }
}
