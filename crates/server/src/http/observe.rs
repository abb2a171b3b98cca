//! Around every request: an id for the log and the client, and what monitors count.

use crate::app::App;
use crate::telemetry;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::borrow::Cow;
use std::time::{Duration, Instant};
use tracing::{Instrument as _, Span, field};

/// The id of a request: given by a proxy or client, or made here; in the answer and in every line of the log.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Most characters of an id that is given; longer ones are replaced. A UUID has 36.
const ID_CHARS_MAX: usize = 64;

/// Upper bounds of times to an answer, seconds. Synchronous executions take as long as they take.
const ANSWER_SECONDS: [f64; 12] = [0.0005, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0, 600.0];

type Label = (&'static str, Cow<'static, str>);

/// What has been asked since the start.
pub(crate) struct Requests {
    answered: Family<[Label; 3], Counter>,
    times: Family<[Label; 1], Histogram, fn() -> Histogram>,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            answered: Family::default(),
            times: Family::new_with_constructor(|| Histogram::new(ANSWER_SECONDS)),
        }
    }
}

impl Requests {
    fn count(&self, route: &str, method: &'static str, status: StatusCode, took: Duration) {
        let route: Label = ("route", route.to_owned().into());
        let status: Label = ("status", status.as_str().to_owned().into());
        self.answered.get_or_create(&[route.clone(), ("method", method.into()), status]).inc();
        self.times.get_or_create(&[route]).observe(took.as_secs_f64());
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("http_requests", "Requests answered, by route", self.answered.clone());
        let help = "Time to the head of the answer";
        registry.register_with_unit("http_request", help, Unit::Seconds, self.times.clone());
    }
}

/// Layer of the router, around all routes.
pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let id = request_id(request.headers());
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    // Of the highest level, so that the id is there however little is logged.
    let span = tracing::error_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        otel.kind = field::Empty,
        otel.name = field::Empty,
        otel.status_code = field::Empty
    );
    let route = route.as_ref().map_or(OTHER, MatchedPath::as_str);
    telemetry::received(&span, method, route, request.headers());
    let answering = async {
        let mut response = next.run(request).await;
        let took = begin.elapsed();
        app.requests.count(route, method, response.status(), took);
        telemetry::answered(&Span::current(), response.status());
        tracing::debug!(
            method,
            route,
            status = response.status().as_u16(),
            ms = took.as_millis(),
            "answered"
        );
        response.headers_mut().insert(REQUEST_ID, id);
        response
    };
    answering.instrument(span).await
}

/// The id that was given, if it can stand in a log as it is; else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    headers
        .get(REQUEST_ID)
        .filter(|id| !id.is_empty() && id.len() <= ID_CHARS_MAX && id.as_bytes().iter().all(is_plain))
        .cloned()
        .unwrap_or_else(|| {
            let id = format!("{:032x}", rand::random::<u128>());
            HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("none"))
        })
}

/// Methods are the client's to invent, labels are not.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}

/// What is none of ours.
const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_as_it_is_or_replaced() {
        let given = |id: &[u8]| {
            let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_bytes(id).unwrap())]);
            request_id(&headers).to_str().unwrap().to_owned()
        };
        assert_eq!(given(b"1-67891233:abc.7_x"), "1-67891233:abc.7_x");
        for bad in [b"".as_slice(), b"a b", b"a\"b", b"\xc3\xa4", &[b'a'; 65], b"a=b;c"] {
            let id = given(bad);
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
    }
}
