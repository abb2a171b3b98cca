//! In a program without the feature.

use super::Config;
use anyhow::bail;
use axum::http::{HeaderMap, StatusCode};
use tracing::{Span, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Identity;

/// Nothing.
pub(crate) struct Sending;

/// # Errors
/// Where an endpoint is configured.
pub(crate) fn start<S: Subscriber>(
    config: &Config,
) -> anyhow::Result<(impl Layer<S> + Send + Sync + use<S>, Sending)> {
    if !config.endpoint.is_empty() {
        bail!("telemetry.endpoint is set, and this anabranch was built without the feature `opentelemetry`");
    }
    Ok((Identity::new(), Sending))
}

pub(crate) fn received(_: &Span, _method: &'static str, _route: &str, _: &HeaderMap) {}

pub(crate) fn answered(_: &Span, _: StatusCode) {}
