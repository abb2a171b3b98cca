//! One attempt to deliver a callback.

use super::{Callbacks, DELIVERY, signature};
use crate::clock;
use crate::engine::{Engine, Inner};
use anabranch_egress::{EgressError, Request, parse_url};
use anabranch_model::{CallbackEvent, Error, JobId, Subscriber, Timestamp, Viewer};
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
        Err(Error::NoSuchJob(_) | Error::Gone { .. }) => return Posted::Gone,
        // It does not come back.
        Err(error @ Error::OutputGone { .. }) => return never(error.client_text()),
        Err(error) => return Posted::Later { reason: error.to_string(), retry_after: None },
    };
    let answer = engine.egress.fetch_any_status(request).await;
    let retry_after = answer
        .as_ref()
        .ok()
        .and_then(|answer| answer.header("retry-after"))
        .and_then(|value| pause_asked(value, clock::now()));
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
    let view = engine.job(&Viewer::Operator, job).await?;
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

/// What `Retry-After` asks for (RFC 9110 §10.2.3), seconds or a date; nothing for a date that is over.
fn pause_asked(retry_after: &str, now: Timestamp) -> Option<Duration> {
    let text = retry_after.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(text).ok()?.duration_since(now.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_may_ask_for_seconds_or_a_date() {
        let now = Timestamp::from_second(784_111_777).unwrap(); // of the dates in RFC 9110
        let asked =
            |text: &str| pause_asked(text, now - Duration::from_secs(60)).map(|pause| pause.as_secs());
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(60)),
            ("Sun Nov  6 08:49:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:48:36 GMT", None),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(252_618_189_082)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(asked(text), seconds, "{text:?}");
        }
    }
}
