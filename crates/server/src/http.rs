//! The HTTP interface: one list of all routes. Handlers read parse -> call -> render.

mod agent_data;
mod answer;
mod assets;
mod body;
mod caller;
mod conditional;
mod console;
mod events;
mod execute_form;
mod execution;
mod form;
mod health;
mod jobs;
pub(crate) mod listen;
mod negotiate;
pub(crate) mod outputs;
mod pages;
mod processes;
mod range;
pub(crate) mod rendered;
mod same_site;
mod service;
pub(crate) mod streams;
mod upload;
mod waiting;
mod wps;

pub(crate) use upload::UPLOADS_MAX;

use crate::app::App;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::routing::{get, post, put};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

/// All routes of a server.
pub(crate) fn router(app: App) -> Router {
    let body_bytes_max = app.body_bytes_max;
    Router::new()
        .route("/", get(service::landing))
        .route("/conformance", get(service::conformance))
        .route("/api", get(service::api))
        .route("/processes", get(processes::list))
        .route("/processes/{process}", get(processes::describe))
        .route(
            "/processes/{process}/execution",
            post(execution::execute)
                .get(execution::by_get)
                .head(execution::refuse)
                .fallback(execution::refuse),
        )
        .route("/jobs", get(jobs::list))
        .route("/jobs/{job}", get(jobs::status).delete(jobs::dismiss))
        .route("/jobs/{job}/dismiss", post(jobs::dismiss_by_form))
        .route("/jobs/{job}/results", get(outputs::results))
        .route("/jobs/{job}/results/{output}", get(outputs::output))
        .route("/jobs/{job}/results/{output}/playlist", get(streams::playlist))
        .route("/jobs/{job}/results/{output}/chunks/{n}", get(streams::chunk))
        .route("/jobs/{job}/events", get(events::events))
        .route("/jobs/{job}/log", get(jobs::log))
        .route("/wps", get(wps::by_get).post(wps::by_post))
        .route("/ows", get(wps::by_get).post(wps::by_post))
        .route("/wps/status/{job}", get(wps::status))
        .route("/wps/RetrieveResultServlet", get(streams::retrieve))
        .route("/RetrieveResultServlet", get(streams::retrieve))
        .route("/console", get(console::agents))
        .route("/console/drain", post(console::drain))
        .route("/watch", get(streams::watch))
        .route("/watch/events", get(streams::watch_events))
        .route("/watch/chunk", get(streams::watch_chunk))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/assets/{name}", get(assets::asset))
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .merge(agent_routes())
        .fallback(service::not_found)
        .method_not_allowed_fallback(service::method_not_allowed)
        .layer(cors())
        .layer(SetResponseHeaderLayer::if_not_present(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(CatchPanicLayer::custom(service::panicked))
        .with_state(app)
}

/// What agents fetch and upload: capability URLs, limited by the job's own quota instead of the request limit.
fn agent_routes() -> Router<App> {
    Router::new()
        .route("/agent-data/{run}/{token}/inputs/{input}/{index}", get(agent_data::input))
        .route("/agent-data/{run}/{token}/outputs/{output}/{n}", put(agent_data::upload))
        .layer(DefaultBodyLimit::disable())
}

/// Browsers of any origin may use the interfaces (there are no cookies to abuse) and read the headers they need.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            header::ACCEPT,
            header::CONTENT_TYPE,
            header::RANGE,
            HeaderName::from_static("prefer"),
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([
            header::LOCATION,
            header::LINK,
            header::ACCEPT_RANGES,
            header::CONTENT_RANGE,
            header::ETAG,
            header::RETRY_AFTER,
            HeaderName::from_static("preference-applied"),
        ])
}
