//! OGC API - Processes - Part 1: Core 1.0 (OGC 18-062r2).
//!
//! Requests are parsed from JSON text; answers are plain structures that serialise themselves, so that a server can send
//! them as JSON, put their links into `Link` headers, or show them as HTML.

pub mod conformance;
pub mod describe;
pub mod exception;
pub mod execute;
pub mod job;
mod json;
pub mod kvp;
pub mod landing;
mod large;
pub mod link;
pub mod openapi;
pub mod prefer;
pub mod processes;
pub mod query;
pub mod results;
mod schema;
mod text;
pub mod validation;

pub use exception::{Problem, problem, query_problem};
pub use execute::Execute;
pub use link::{BaseUrl, Link};
pub use prefer::Prefer;

/// The media type of all answers but exceptions.
pub const MEDIA_TYPE: &str = "application/json";
