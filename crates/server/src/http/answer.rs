//! Answers: JSON documents, HTML pages, and errors in the form the client reads.

use super::caller::Caller;
use super::negotiate::{Form, accepts};
use super::pages::{Page, PlainPage};
use crate::app::App;
use anabranch_model::{Error, Timestamp, Viewer};
use anabranch_ogc::ogcapi::exception::PROBLEM_MEDIA_TYPE;
use anabranch_ogc::ogcapi::{self, Link, Problem};
use askama::Template;
use axum::body::Body;
use axum::http::{self, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

/// A JSON document.
pub(crate) fn json(status: StatusCode, document: &impl Serialize) -> Response {
    match serde_json::to_vec(document) {
        Ok(bytes) => with_type(status, ogcapi::MEDIA_TYPE, bytes),
        Err(error) => {
            tracing::error!(%error, "a document can't be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A body with its media type.
pub(crate) fn with_type(status: StatusCode, media_type: &str, body: impl Into<Body>) -> Response {
    typed(status, media_type, body.into())
}

/// The same, of any kind of body.
pub(crate) fn typed<B>(status: StatusCode, media_type: &str, body: B) -> http::Response<B> {
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    let value =
        HeaderValue::from_str(media_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

/// An HTML page. Its policy allows nothing but our own assets, so that nothing a process says can run.
pub(crate) fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => {
            let mut response = with_type(status, "text/html; charset=utf-8", text);
            let policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                          base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
            response
        }
        Err(error) => {
            tracing::error!(%error, "a page can't be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Adds a `Link` header for each link (RFC 8288).
pub(crate) fn add_links<B>(response: &mut http::Response<B>, links: &[Link]) {
    for link in links {
        if let Ok(value) = HeaderValue::from_str(&link.header()) {
            response.headers_mut().append(header::LINK, value);
        }
    }
}

/// Adds when the job that is shown will be removed (`Sunset`, RFC 8594), where that is known: it has finished.
pub(crate) fn announce_removal<B>(response: &mut http::Response<B>, expires: Option<Timestamp>) {
    if let Some(date) = expires.and_then(http_date) {
        response.headers_mut().insert("sunset", date);
    }
}

/// A time as headers say it (RFC 9110, 5.6.7).
pub(crate) fn http_date(time: Timestamp) -> Option<HeaderValue> {
    HeaderValue::from_str(&time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()
}

/// What a handler needs to answer: the parts, and what the client said about the form.
pub(crate) struct Asked<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: &'a Caller,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Option<&'a str>,
    pub(crate) path: &'a str,
}

impl Asked<'_> {
    /// Through whose eyes jobs are seen.
    pub(crate) fn viewer(&self) -> &Viewer {
        &self.caller.viewer
    }

    /// The page of this resource; its JSON is that of the same query.
    pub(crate) fn page(&self) -> Page {
        Page::new(self.app, self.caller, self.path, self.query)
    }

    /// The form wanted; a wrong `f` counts as JSON here, as it is refused by [`Form::wanted`] where it matters.
    fn form(&self) -> Form {
        Form::wanted(self.query, self.headers).unwrap_or(Form::Json)
    }

    /// An error, logged once if it is ours to mend.
    pub(crate) fn error(&self, error: &Error) -> Response {
        if matches!(error, Error::Internal { .. } | Error::NotEnoughStorage { .. }) {
            tracing::error!(%error, path = self.path, "request failed");
        }
        self.problem(ogcapi::problem(error))
    }

    /// An error of a list, whose faults are those of its query.
    pub(crate) fn query_error(&self, error: &Error) -> Response {
        match error {
            Error::Invalid(_) => self.problem(ogcapi::query_problem(error)),
            other => self.error(other),
        }
    }

    /// A problem as JSON, `application/problem+json` where asked for, or a page.
    pub(crate) fn problem(&self, problem: Problem) -> Response {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after_s = problem.retry_after_s;
        let mut response = match self.form() {
            Form::Html => html(status, &PlainPage::problem(self.page(), &problem)),
            Form::Json => {
                let mut response = json(status, &problem.at(self.path));
                if accepts(self.headers, PROBLEM_MEDIA_TYPE) {
                    response
                        .headers_mut()
                        .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
                }
                response
            }
        };
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
