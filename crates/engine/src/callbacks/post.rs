//! One attempt to deliver a callback.

use super::{Callbacks, DELIVERY, signature};
use crate::clock;
use crate::engine::{Engine, Inner};
use anabranch_egress::{EgressError, Request, parse_url};
use anabranch_model::{CallbackEvent, Error, JobId, Subscriber};
use std::sync::Arc;
use std::time::Duration;

/// How an attempt ended.
pub(super) enum Posted {
    /// The receiver has it.
    Delivered,
    /// The job is gone: nothing is left to tell.
    Gone,
    /// It may be delivered later.
    Later {
        /// For the log.
        reason: String,
        /// What the receiver asked for.
        retry_after: Option<Duration>,
    },
    /// It will not be delivered.
    Never {
        /// For the log.
        reason: String,
        /// For the job's log, which clients read.
        client_text: String,
    },
}

/// Sends one callback once. Redirects are not followed: a POST is for whom it was addressed to. The answer's body is not read.
pub(super) async fn post(
    engine: &Arc<Inner>,
    callbacks: &Callbacks,
    job: JobId,
    subscriber: &Subscriber,
    event: CallbackEvent,
) -> Posted {
    let request = match request(engine, callbacks, job, subscriber, event).await {
        Ok(request) => request,
        Err(Error::NoSuchJob(_)) => return Posted::Gone,
        Err(error) => return Posted::Later { reason: error.to_string(), retry_after: None },
    };
    let answer = engine.egress.fetch_any_status(request).await;
    let retry_after = answer.as_ref().ok().and_then(|answer| answer.header("retry-after")).and_then(seconds);
    match answer.and_then(anabranch_egress::Response::require_success) {
        // 304 is a success to conditional requests only.
        Ok(answer) if (200..300).contains(&answer.status) => Posted::Delivered,
        Ok(answer) => never(format!("status {}", answer.status)),
        Err(error) if error.is_transient() => Posted::Later { reason: error.to_string(), retry_after },
        Err(error) => refused(&error),
    }
}

fn refused(error: &EgressError) -> Posted {
    Posted::Never { reason: error.to_string(), client_text: error.client_text() }
}

fn never(reason: String) -> Posted {
    Posted::Never { client_text: reason.clone(), reason }
}

async fn request(
    engine: &Arc<Inner>,
    callbacks: &Callbacks,
    job: JobId,
    subscriber: &Subscriber,
    event: CallbackEvent,
) -> Result<Request, Error> {
    let engine = Engine(Arc::clone(engine));
    let view = engine.job(job).await?;
    let settings = &callbacks.settings;
    let body = settings.renderer.render(&engine, &view, event).await?;
    let href = subscriber.address(event).unwrap_or_default();
    let url = parse_url(href).map_err(Error::internal)?;
    let signature = settings.secret.as_ref().map(|secret| signature::sign(secret, clock::now(), &body.bytes));
    let mut request = Request::post(url, body.bytes)
        .header("Content-Type", body.media_type)
        .header(DELIVERY, delivery(job, event))
        .total_ms_max(engine.0.limits.callback_ms_max)
        .redirects_max(0);
    if let Some(signature) = signature {
        request = request.header(signature::HEADER, signature);
    }
    Ok(request)
}

/// The same for each attempt, so that a receiver can tell repetitions.
fn delivery(job: JobId, event: CallbackEvent) -> String {
    let state = match event {
        CallbackEvent::InProgress => "in-progress",
        CallbackEvent::Succeeded => "succeeded",
        CallbackEvent::Failed => "failed",
    };
    format!("{job}-{state}")
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3). Dates are left out: our own pauses do as well.
fn seconds(retry_after: &str) -> Option<Duration> {
    retry_after.trim().parse().ok().map(Duration::from_secs)
}
