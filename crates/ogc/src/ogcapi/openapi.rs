//! The API definition (§10, OpenAPI 3.0.3).

use super::link::BaseUrl;
use crate::service::ServiceInfo;
use anabranch_model::ProcessDescription;
use serde_json::Value;
use std::sync::Arc;

/// Describes what is served now.
#[must_use]
pub fn document(_processes: &[Arc<ProcessDescription>], _service: &ServiceInfo, _base: &BaseUrl) -> Value {
    Value::Null
}
