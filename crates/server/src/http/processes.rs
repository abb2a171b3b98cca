//! The list of processes and their descriptions.

use super::answer::{self, Asked};
use super::negotiate::Form;
use super::pages::process::ProcessPage;
use super::pages::{ProcessRow, ProcessesPage};
use super::rendered::Document;
use super::service::descriptions;
use crate::app::App;
use crate::http::caller::Caller;
use anabranch_login::Operation;
use anabranch_model::{Error, Process, ProcessId};
use anabranch_ogc::ogcapi::{self, describe as document, processes, query};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{self, HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use std::sync::Arc;

/// `GET /processes`
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked =
        Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: "/processes" };
    list_in(&asked).unwrap_or_else(|error| asked.query_error(&error))
}

fn list_in(asked: &Asked<'_>) -> Result<Response, Error> {
    let app = asked.app;
    let page = query::Page::parse(asked.query.unwrap_or_default())?;
    match Form::wanted(asked.query, asked.headers)? {
        Form::Html => {
            let published = descriptions(app, asked.caller);
            let list = processes::list(&published, &page, &app.base)?;
            let href = |rel| {
                list.links.iter().find(|link| link.rel == rel).map(|link| format!("{}&f=html", link.href))
            };
            let page = ProcessesPage {
                page: asked.page().linked(&list.links),
                processes: list.processes.iter().map(ProcessRow::new).collect(),
                previous: href("prev"),
                next: href("next"),
            };
            Ok(answer::html(StatusCode::OK, &page))
        }
        Form::Json if page == query::Page::default() => {
            let registry = app.engine.registry();
            let key = asked.caller.list_key();
            app.rendered.answer(Document::Processes, &key, registry, || list_as_json(asked, &page))
        }
        Form::Json => Ok(list_as_json(asked, &page)?.map(Body::from)),
    }
}

fn list_as_json(asked: &Asked<'_>, page: &query::Page) -> Result<http::Response<Bytes>, Error> {
    let published = descriptions(asked.app, asked.caller);
    let list = processes::list(&published, page, &asked.app.base)?;
    let bytes = serde_json::to_vec(&list).map_err(Error::internal)?;
    let mut response = answer::typed(StatusCode::OK, ogcapi::MEDIA_TYPE, bytes.into());
    answer::add_links(&mut response, &list.links);
    Ok(response)
}

/// `GET /processes/{process}`
pub(crate) async fn describe(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let path = format!("/processes/{id}");
    let asked = Asked { app: &app, caller: &caller, headers: &headers, query: query.as_deref(), path: &path };
    let found = find(&asked, Operation::See, &id)
        .and_then(|process| Ok((process, Form::wanted(asked.query, &headers)?)));
    match found {
        Err(error) => asked.error(&error),
        Ok((process, Form::Html)) => {
            let page = ProcessPage::new(asked.page(), process.description(), &app.base);
            answer::html(StatusCode::OK, &page)
        }
        Ok((process, Form::Json)) => {
            answer::json(StatusCode::OK, &document::describe(&process.description(), &app.base))
        }
    }
}

/// A process by the text of its identifier, for whoever may do that with it.
pub(crate) fn find(asked: &Asked<'_>, operation: Operation, id: &str) -> Result<Arc<dyn Process>, Error> {
    let known: ProcessId = id.parse().map_err(|_no_identifier| Error::NoSuchProcess(id.to_owned()))?;
    let process = asked.app.engine.registry().get(&known)?;
    asked.caller.check(operation, &known)?;
    Ok(process)
}
