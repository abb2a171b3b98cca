//! By OTLP 1.x over HTTP, as protobuf.

use super::Config;
use anyhow::Context as _;
use axum::http::{HeaderMap, StatusCode};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

/// Variables that name a collector where the configuration does not.
const ENDPOINT_VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// Longest wait of a stopping server for the collector to take the last spans.
const FLUSH_MAX: Duration = Duration::from_secs(3);

/// Longest wait for the collector to take one batch. What comes meanwhile waits in a queue of 2,048 spans
/// (`OTEL_BSP_MAX_QUEUE_SIZE`), and is dropped beyond that.
const SEND_MAX: Duration = Duration::from_secs(3);

/// Whether spans are sent: what is only for them is left out of the lines of the log else.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// Sends spans until it is dropped, and then the last ones.
pub(crate) struct Sending(Option<SdkTracerProvider>);

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.as_ref().map(|provider| provider.shutdown_with_timeout(FLUSH_MAX)) {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// Begins to send, where a collector is named.
///
/// # Errors
/// Where the address is none.
pub(crate) fn start<S>(
    config: &Config,
) -> anyhow::Result<(Option<impl Layer<S> + Send + Sync + use<S>>, Sending)>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    if config.endpoint.is_empty() && ENDPOINT_VARIABLES.iter().all(|name| std::env::var_os(name).is_none()) {
        return Ok((None, Sending(None)));
    }
    // The exporter's client takes the process's provider, as nobody else here does; where there is one already it is the same.
    let _there_already = rustls::crypto::ring::default_provider().install_default();
    let exporter = SpanExporter::builder().with_http().with_timeout(SEND_MAX);
    let exporter = match config.endpoint.trim_end_matches('/') {
        "" => exporter,
        endpoint => exporter.with_endpoint(format!("{endpoint}/v1/traces")),
    };
    let exporter = exporter.build().context("telemetry.endpoint")?;
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("anabranch");
    }
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("anabranch"));
    IS_ON.store(true, Ordering::Relaxed);
    Ok((Some(layer), Sending(Some(provider))))
}

/// A request has come: its span has its name, and belongs to the trace that its client tells of (W3C Trace Context).
pub(crate) fn received(span: &Span, method: &'static str, route: &str, headers: &HeaderMap) {
    if !IS_ON.load(Ordering::Relaxed) {
        return;
    }
    // Both count only before anything else is done with the span.
    span.record("otel.kind", "server");
    span.record("otel.name", format!("{method} {route}"));
    let context = TraceContextPropagator::new().extract(&Headers(headers));
    if context.span().span_context().is_valid() && span.set_parent(context).is_err() {
        tracing::debug!("the trace of the client is not gone on with");
    }
    // Named as by OpenTelemetry's semantic conventions for HTTP.
    span.set_attribute("http.request.method", method);
    span.set_attribute("http.route", route.to_owned());
}

/// It is answered.
pub(crate) fn answered(span: &Span, status: StatusCode) {
    if !IS_ON.load(Ordering::Relaxed) {
        return;
    }
    span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    // Here, because the job that it began keeps it open in the log.
    span.context().span().end();
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Bytes;
    use axum::routing::post;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value;
    use opentelemetry_proto::tonic::trace::v1::Span as Sent;
    use prost::Message as _;
    use tokio::sync::mpsc;
    use tracing_subscriber::layer::SubscriberExt as _;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    /// A request that began a job with a failed run, as the server's own spans tell of it.
    fn traced(endpoint: String) {
        let (layer, sending) = start(&Config { endpoint }).unwrap();
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let name = tracing::field::Empty;
            let request = tracing::error_span!("request", id = "r1", otel.kind = name, otel.name = name);
            let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
            let headers = HeaderMap::from_iter([("traceparent".parse().unwrap(), parent.parse().unwrap())]);
            received(&request, "POST", "/processes/{process}/execution", &headers);
            let job = request.in_scope(|| tracing::error_span!("job", id = "j1"));
            answered(&request, StatusCode::CREATED);
            drop(request);
            job.in_scope(|| tracing::error_span!("run", otel.status_code = "ERROR"));
        });
        drop(sending);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_gets_request_job_and_run_as_one_trace() {
        let (taken, mut bodies) = mpsc::unbounded_channel();
        let take = move |body: Bytes| {
            taken.send(body).unwrap();
            std::future::ready(())
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        let collector = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async { axum::serve(listener, collector).await });
        tokio::task::spawn_blocking(|| traced(endpoint)).await.unwrap();

        // The last ones were sent before it went.
        let mut spans: Vec<Sent> = Vec::new();
        while let Ok(body) = bodies.try_recv() {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            let attributes = &request.resource_spans[0].resource.as_ref().unwrap().attributes;
            let name = attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
            let name = name.value.as_ref().unwrap().value.clone().unwrap();
            assert_eq!(name, any_value::Value::StringValue("anabranch".into()));
            spans.extend(
                request.resource_spans.into_iter().flat_map(|of| of.scope_spans).flat_map(|of| of.spans),
            );
        }
        let find =
            |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{spans:?}"));
        let (request, job, run) = (find("POST /processes/{process}/execution"), find("job"), find("run"));
        assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331");
        assert_eq!((&job.parent_span_id, &run.parent_span_id), (&request.span_id, &job.span_id));
        assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE));
        assert_eq!(run.status.as_ref().unwrap().code, 2, "an error");
        let status = request.attributes.iter().find(|attribute| attribute.key == "http.response.status_code");
        assert_eq!(status.unwrap().value.as_ref().unwrap().value, Some(any_value::Value::IntValue(201)));
        assert_eq!(request.kind, 2, "of a server");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_that_is_gone_or_silent_holds_up_nothing() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for address in [gone, silent.local_addr().unwrap()] {
            let ended = tokio::task::spawn_blocking(move || traced(format!("http://{address}")));
            tokio::time::timeout(FLUSH_MAX * 4, ended).await.expect("it gives up").unwrap();
        }
    }

    #[test]
    fn nothing_is_sent_where_no_collector_is_named() {
        let (layer, _sending) = start::<tracing_subscriber::Registry>(&Config::default()).unwrap();
        assert!(layer.is_none());
        let not_an_address = Config { endpoint: "collector".into() };
        assert!(start::<tracing_subscriber::Registry>(&not_an_address).is_err());
    }
}
