//! The HTTP interface: one list of all routes. Handlers read parse -> call -> render.

mod acting;
mod agent_data;
mod answer;
mod assets;
mod body;
mod caller;
mod conditional;
pub(crate) mod connections;
mod console;
mod door;
mod events;
mod execute_form;
mod execution;
mod file_body;
mod form;
mod health;
mod jobs;
pub(crate) mod listen;
mod metrics;
mod negotiate;
pub(crate) mod observe;
pub(crate) mod outputs;
mod pace;
mod pages;
mod processes;
mod range;
pub(crate) mod rendered;
mod same_site;
mod service;
pub(crate) mod streams;
pub(crate) mod tls;
mod upload;
mod waiting;
mod wps;

pub(crate) use caller::Caller;
pub(crate) use upload::UPLOADS_MAX;

use crate::app::App;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

/// All routes of a server.
pub(crate) fn router(app: App) -> Router {
    let (body_bytes_max, cors) = (app.body_bytes_max, cors(&app.cors_origins));
    let router = Router::new()
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
        .route("/console", get(console::console))
        .route("/console/drain", post(console::drain))
        .route("/login", get(door::login))
        .route("/watch", get(streams::watch))
        .route("/watch/events", get(streams::watch_events))
        .route("/watch/chunk", get(streams::watch_chunk))
        .route("/metrics", get(metrics::metrics))
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .fallback(service::not_found)
        .method_not_allowed_fallback(service::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&app), door::door))
        .merge(open_routes())
        .merge(agent_routes())
        .layer(cors)
        .layer(SetResponseHeaderLayer::if_not_present(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::REFERRER_POLICY,
            HeaderValue::from_static("same-origin"),
        ))
        .layer(CatchPanicLayer::custom(service::panicked))
        .layer(from_fn_with_state(Arc::clone(&app.connections), connections::count_passed_on))
        .layer(from_fn_with_state(Arc::clone(&app), observe::observe));
    let router = if app.is_tls { router.layer(strict_transport()) } else { router };
    router.with_state(app)
}

/// Whoever came by TLS comes by TLS again (RFC 6797), for half a year.
fn strict_transport() -> SetResponseHeaderLayer<HeaderValue> {
    let rule = HeaderValue::from_static("max-age=15768000");
    SetResponseHeaderLayer::overriding(header::STRICT_TRANSPORT_SECURITY, rule)
}

/// What says nothing of anyone.
fn open_routes() -> Router<App> {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/assets/{name}", get(assets::asset))
}

/// What agents fetch and upload: capability URLs, limited by the job's own quota instead of the request limit.
fn agent_routes() -> Router<App> {
    Router::new()
        .route("/agent-data/{run}/{token}/inputs/{input}/{index}", get(agent_data::input))
        .route("/agent-data/{run}/{token}/outputs/{output}/{n}", put(agent_data::upload))
        .layer(DefaultBodyLimit::disable())
}

/// Browsers on pages of these origins may use the interfaces and read the headers they need. Nothing that a browser sends by itself
/// counts there (no `Access-Control-Allow-Credentials`); pages of origins that are named may send tokens of their own.
fn cors(origins: &[String]) -> CorsLayer {
    let any = origins.iter().any(|origin| origin == "*");
    let named: Vec<HeaderValue> =
        origins.iter().filter(|origin| *origin != "*").filter_map(|origin| origin.parse().ok()).collect();
    let mut allowed = vec![
        header::ACCEPT,
        header::CONTENT_TYPE,
        header::RANGE,
        HeaderName::from_static("prefer"),
        HeaderName::from_static("priority"),
        HeaderName::from_static("last-event-id"),
        observe::REQUEST_ID,
    ];
    if !any {
        allowed.push(header::AUTHORIZATION);
    }
    CorsLayer::new()
        .allow_origin(if any { AllowOrigin::any() } else { AllowOrigin::list(named) })
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(allowed)
        .expose_headers([
            header::LOCATION,
            header::LINK,
            header::ACCEPT_RANGES,
            header::CONTENT_RANGE,
            header::ETAG,
            header::RETRY_AFTER,
            HeaderName::from_static("preference-applied"),
            HeaderName::from_static("sunset"),
            observe::REQUEST_ID,
        ])
}
