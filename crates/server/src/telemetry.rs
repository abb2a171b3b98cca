//! Traces for an OpenTelemetry collector: a span for each request, the job that it begins, and each of its runs. Programs that are built without
//! the feature `opentelemetry` send none, and refuse a configuration that asks for them.

#[cfg(feature = "opentelemetry")]
mod otlp;
#[cfg(feature = "opentelemetry")]
pub(crate) use otlp::{answered, received, start};

#[cfg(not(feature = "opentelemetry"))]
mod without;
#[cfg(not(feature = "opentelemetry"))]
pub(crate) use without::{answered, received, start};

use serde::Deserialize;

/// `[telemetry]` of the configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Root of the collector's OTLP over HTTP; empty for that of the environment, or none.
    endpoint: String,
}
