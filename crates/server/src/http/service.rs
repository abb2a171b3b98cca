//! What the server says of itself: landing page, conformance, API definition, and what it does not have.

use super::answer::{self, Asked};
use super::negotiate::Form;
use super::pages::definition::DefinitionPage;
use super::pages::{LandingPage, PlainPage};
use crate::app::App;
use crate::http::caller::Caller;
use anabranch_model::{ProcessDescription, ProcessId};
use anabranch_ogc::ogcapi::conformance::{ConformanceClass, conformance as declaration};
use anabranch_ogc::ogcapi::{Problem, landing as document, openapi};
use axum::extract::{OriginalUri, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use std::any::Any;
use std::sync::Arc;

/// What is implemented whole; the other classes of Part 1 are declared when they are.
const CLASSES: [ConformanceClass; 8] = [
    ConformanceClass::Core,
    ConformanceClass::OgcProcessDescription,
    ConformanceClass::Json,
    ConformanceClass::Html,
    ConformanceClass::Oas30,
    ConformanceClass::JobList,
    ConformanceClass::Callback,
    ConformanceClass::Dismiss,
];

/// `GET /`
pub(crate) async fn landing(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: "/" };
    match Form::wanted(asked.query, &headers) {
        Err(error) => asked.error(&error),
        Ok(Form::Html) => {
            let landing = document::landing_page(&app.service, &app.base);
            let counts = app.engine.counts();
            let page = LandingPage {
                page: asked.page().linked(&landing.links),
                about: app.service.description.clone(),
                processes: descriptions(&app, &caller).len(),
                queued: counts.queued,
                running: counts.running,
                agents: app.orchestrator.agents().iter().filter(|agent| agent.connected).count(),
            };
            answer::html(StatusCode::OK, &page)
        }
        Ok(Form::Json) => {
            let landing = document::landing_page(&app.service, &app.base);
            let mut response = answer::json(StatusCode::OK, &landing);
            answer::add_links(&mut response, &landing.links);
            response
        }
    }
}

/// `GET /conformance`
pub(crate) async fn conformance(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked = Asked {
        app: &app,
        caller: &caller,
        headers: &headers,
        query: query.as_deref(),
        path: "/conformance",
    };
    let declared = declaration(&CLASSES, &app.base);
    match Form::wanted(asked.query, &headers) {
        Err(error) => asked.error(&error),
        Ok(Form::Html) => {
            let links =
                declared.conforms_to.iter().map(|uri| ((*uri).to_owned(), (*uri).to_owned())).collect();
            let about = "Conformance classes that this server implements.";
            answer::html(
                StatusCode::OK,
                &PlainPage::links(asked.page().linked(&declared.links), "Conformance", about, links),
            )
        }
        Ok(Form::Json) => answer::json(StatusCode::OK, &declared),
    }
}

/// `GET /api`
pub(crate) async fn api(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked =
        Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: "/api" };
    let form = match Form::wanted(asked.query, &headers) {
        Ok(form) => form,
        Err(error) => return asked.error(&error),
    };
    let document = openapi::document(&descriptions(&app, &caller), &app.service, &app.base);
    match form {
        Form::Json => match serde_json::to_vec(&document) {
            Ok(bytes) => {
                answer::with_type(StatusCode::OK, anabranch_ogc::ogcapi::landing::OPENAPI_MEDIA_TYPE, bytes)
            }
            Err(error) => asked.error(&anabranch_model::Error::internal(error)),
        },
        Form::Html => {
            answer::html(StatusCode::OK, &DefinitionPage::new(asked.page(), &document, &app.base.at("")))
        }
    }
}

/// Descriptions of everything published that stands in the caller's lists.
pub(crate) fn descriptions(app: &App, caller: &Caller) -> Vec<Arc<ProcessDescription>> {
    let all = app.engine.registry().list();
    all.iter().map(|process| process.description()).filter(|process| caller.lists(&process.id)).collect()
}

/// What a process says of itself, or its identifier alone where it is not published any more: its jobs are still there.
pub(crate) fn description(app: &App, process: &ProcessId) -> Arc<ProcessDescription> {
    match app.engine.registry().get(process) {
        Ok(process) => process.description(),
        Err(_withdrawn) => Arc::new(ProcessDescription::withdrawn(process.clone())),
    }
}

/// Any path that is none of ours.
pub(crate) async fn not_found(
    State(app): State<App>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: uri.query(), path: uri.path() };
    asked.problem(Problem::http(404, "not found", format!("there is nothing at {}", uri.path())))
}

/// A method that a resource does not have. The router adds `Allow`.
pub(crate) async fn method_not_allowed(
    State(app): State<App>,
    caller: Caller,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: uri.query(), path: uri.path() };
    asked.problem(Problem::http(
        405,
        "method not allowed",
        format!("{} can't be used with {method}", uri.path()),
    ))
}

/// A handler that panicked: the connection and the server live on. The panic hook has logged it.
pub(crate) fn panicked(_payload: Box<dyn Any + Send + 'static>) -> Response {
    let problem = anabranch_ogc::ogcapi::problem(&anabranch_model::Error::internal("a handler panicked"));
    answer::json(StatusCode::INTERNAL_SERVER_ERROR, &problem)
}
