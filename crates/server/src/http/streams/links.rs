//! Where else a job's streams are told of: its status by every interface, and its page.

use super::Addresses;
use super::view::can_be_shown;
use crate::app::App;
use crate::http::pages::StreamView;
use anabranch_engine::JobView;
use anabranch_model::{Error, Format, JobId, JobState, Outcome, OutputRequest, Timestamp, Viewer};
use anabranch_ogc::ogcapi::Link;

/// Outputs that one map shows: more would not be told apart.
const VIEWS_MAX: usize = 4;

/// Links to the playlists of a job, by OGC API.
pub(crate) async fn links(app: &App, viewer: &Viewer, job: JobId) -> Result<Vec<Link>, Error> {
    let link = |output: &OutputRequest| {
        let href = format!("{}/playlist", app.base.output(&job, &output.id));
        titled(Link::new("related", "application/json", href), output)
    };
    streams(app, viewer, job, link).await
}

/// The same for WPS, whose documents have no place for them: for `Link` headers.
pub(crate) async fn links_of_2012(app: &App, viewer: &Viewer, job: JobId) -> Result<Vec<Link>, Error> {
    let link = |output: &OutputRequest| {
        let href = Addresses::Resources.playlist(&app.base, &job, &output.id);
        titled(Link::new("related", Format::PLAYLIST, href), output)
    };
    streams(app, viewer, job, link).await
}

fn titled(link: Link, output: &OutputRequest) -> Link {
    link.titled(format!("playlist of output '{}'", output.id))
}

async fn streams(
    app: &App,
    viewer: &Viewer,
    job: JobId,
    link: impl Fn(&OutputRequest) -> Link,
) -> Result<Vec<Link>, Error> {
    let request = app.engine.request(viewer, job).await?;
    Ok(request.outputs.iter().filter(|output| output.is_stream()).map(link).collect())
}

/// The outputs of a job that a map can show: streams, and others once there is something of them.
pub(crate) async fn views(app: &App, viewer: &Viewer, view: &JobView) -> Result<Vec<StreamView>, Error> {
    let job = view.job.id;
    let request = app.engine.request(viewer, job).await?;
    let is_dismissed = matches!(view.job.state, JobState::Finished(Outcome::Dismissed(_)));
    let is_there = |output: &&OutputRequest| {
        let written =
            view.outputs.iter().any(|summary| summary.id == output.id && summary.chunks > 0) && !is_dismissed;
        let is_gone = view.check_outputs(Some(std::slice::from_ref(&output.id)), Timestamp::now()).is_err();
        (output.is_stream() || written) && !is_gone
    };
    let shown = request.outputs.iter().filter(is_there).filter(|output| {
        let format = output.format.media_type.clone().map(Format::new);
        let chunks =
            format.and_then(|format| if format.is_playlist() { format.of_chunks() } else { Some(format) });
        chunks.is_some_and(|chunks| can_be_shown(&chunks.media_type))
    });
    Ok(shown.take(VIEWS_MAX).map(|output| StreamView::new(&app.base, &job, &output.id)).collect())
}
