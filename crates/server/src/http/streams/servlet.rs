//! `GET /wps/RetrieveResultServlet?id=…`: playlists, chunks and exception reports as clients of 2012 ask for them. Whatever is wrong with
//! the request is an exception report, 400 or 404.

use super::address::Named;
use super::chunk::Lookup;
use super::log::{Log, failure};
use super::{Addresses, chunk, playlist};
use crate::app::App;
use crate::http::caller::Caller;
use crate::http::wps::{self, exception};
use anabranch_formats::playlist::writer;
use anabranch_model::{Error, Fault, FaultKind, JobId, Subject, Viewer};
use anabranch_ogc::{Exception, ExceptionCode, ExceptionReport, wps_1_0};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

/// The handler.
pub(crate) async fn retrieve(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let id = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name.eq_ignore_ascii_case("id"))
        .map(|(_, id)| id.into_owned());
    let retrieved = match id.as_deref() {
        None | Some("") => Err(wps_1_0::exception_report(&Error::invalid(Fault::new(
            Subject::Parameter("id".into()),
            FaultKind::Missing,
            "must name a playlist, a chunk or an exception report",
        )))),
        Some(id) => match Named::parse(id) {
            Some(named) => of(&app, &caller, named, &headers).await,
            None => Err(unknown(id)),
        },
    };
    retrieved.unwrap_or_else(|report| exception(&app, &report))
}

async fn of(
    app: &App,
    caller: &Caller,
    named: Named,
    headers: &HeaderMap,
) -> Result<Response, ExceptionReport> {
    let reported = |error: Error| wps::reported(&error);
    match named {
        Named::Job(job) => {
            Ok(wps::status(State(App::clone(app)), caller.clone(), Path(job.to_string())).await)
        }
        Named::Playlist(job) => {
            let log = log(app, &caller.viewer, job).await.map_err(reported)?;
            playlist::text(&log, writer::Form::Plain, headers).await.map_err(reported)
        }
        Named::Chunk(job, number) => {
            let log = log(app, &caller.viewer, job).await.map_err(reported)?;
            match chunk::find(&log, &number.to_string()).await.map_err(reported)? {
                Lookup::Found(found) => found.answer_of_2012(headers).await.map_err(reported),
                Lookup::Removed => {
                    Err(ExceptionReport { status: 410, ..no_such_id(chunk::removed(&number.to_string())) })
                }
                Lookup::Missing => Err(unknown(&format!("dirplaylist{job}_chunk{number}"))),
            }
        }
        Named::Exception(job) => {
            let view = app.engine.job(&caller.viewer, job).await.map_err(reported)?;
            let error = failure(&view).ok_or_else(|| unknown(&format!("playlist{job}exception")))?;
            // It is found, whatever the status of the error itself would be.
            let report =
                ExceptionReport { status: StatusCode::OK.as_u16(), ..wps_1_0::exception_report(&error) };
            Ok(exception(app, &report))
        }
    }
}

/// The stream of a job: processes of 2012 have one output. Of several the first that was asked for as a stream, else the first.
async fn log(app: &App, viewer: &Viewer, job: JobId) -> Result<Log, Error> {
    let output = stream_of(app, viewer, job).await?;
    Ok(Log::new(app, viewer, job, &output, Addresses::Servlet))
}

/// The output that the servlet's playlist of a job is of.
async fn stream_of(app: &App, viewer: &Viewer, job: JobId) -> Result<String, Error> {
    let request = app.engine.request(viewer, job).await?;
    let stream = request.outputs.iter().find(|output| output.is_stream()).or_else(|| request.outputs.first());
    stream.map(|output| output.id.clone()).ok_or_else(|| Error::NoSuchOutput { job, output: String::new() })
}

fn unknown(id: &str) -> ExceptionReport {
    no_such_id(format!("there is nothing with the id '{}'", id.chars().take(100).collect::<String>()))
}

fn no_such_id(text: String) -> ExceptionReport {
    let exception =
        Exception { code: ExceptionCode::InvalidParameterValue, locator: Some("id".into()), text };
    ExceptionReport { status: 404, ..exception.into() }
}
