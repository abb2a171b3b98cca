//! The bodies of callbacks (OGC API - Processes §12): the documents that the job's resources answer with, pushed.
//!
//! `successUri` gets the results document (`results.yaml`), however the request wanted its answer; `inProgressUri` and
//! `failedUri` get the status (`statusInfo.yaml`).

use crate::config;
use crate::http::outputs::OutputSet;
use crate::xmpp_session::read_secret;
use anabranch_engine::{CallbackBody, CallbackSettings, Engine, JobView, RenderCallback};
use anabranch_model::{BoxFuture, CallbackEvent, Error, Viewer};
use anabranch_ogc::ogcapi::job::status_info;
use anabranch_ogc::ogcapi::{BaseUrl, MEDIA_TYPE, results};
use anyhow::{Context as _, ensure};
use std::sync::Arc;

/// Most bytes of values in one callback; outputs beyond are links. Several callbacks are held in memory at once, and a
/// receiver that wants large data can fetch it.
const INLINE_BYTES_MAX: u64 = 256 * 1024;

/// The environment variable that holds the secret, where no file does.
const SECRET_VARIABLE: &str = "ANABRANCH_CALLBACK_SECRET";

/// Shortest secret, bytes: a shorter one could be found by trying, from one signed callback.
const SECRET_BYTES_MIN: usize = 16;

/// How callbacks are made by this server.
///
/// # Errors
/// Where the secret can't be read or is too short.
pub(crate) fn settings(config: &config::Callbacks, base: BaseUrl) -> anyhow::Result<CallbackSettings> {
    let secret = match config.secret_file.as_os_str().is_empty() {
        false => Some(read_secret(&config.secret_file)?),
        true => std::env::var(SECRET_VARIABLE).ok().filter(|secret| !secret.is_empty()),
    };
    let secret = secret.map(checked).transpose().context("the secret that signs callbacks")?;
    Ok(CallbackSettings { renderer: Arc::new(Documents { base }), secret })
}

fn checked(secret: String) -> anyhow::Result<Vec<u8>> {
    let bytes = secret.len();
    ensure!(bytes >= SECRET_BYTES_MIN, "must have at least {SECRET_BYTES_MIN} bytes, not {bytes}");
    Ok(secret.into_bytes())
}

/// Renders callbacks as OGC API - Processes has them.
struct Documents {
    base: BaseUrl,
}

impl RenderCallback for Documents {
    fn render<'a>(
        &'a self,
        engine: &'a Engine,
        view: &'a JobView,
        event: CallbackEvent,
    ) -> BoxFuture<'a, Result<CallbackBody, Error>> {
        Box::pin(async move {
            let bytes = match event {
                CallbackEvent::Succeeded => self.results(engine, view).await?,
                CallbackEvent::InProgress | CallbackEvent::Failed => {
                    serde_json::to_vec(&status_info(&view.job, &self.base)).map_err(Error::internal)?
                }
            };
            Ok(CallbackBody { media_type: MEDIA_TYPE, bytes })
        })
    }
}

impl Documents {
    async fn results(&self, engine: &Engine, view: &JobView) -> Result<Vec<u8>, Error> {
        let set = OutputSet::of(engine, &self.base, &Viewer::Operator, view.job.id, None).await?;
        let written = tokio::task::spawn_blocking(move || {
            let mut document = Vec::new();
            results::write_document(&set.outputs_within(INLINE_BYTES_MAX), &mut document).map(|()| document)
        });
        written.await.map_err(Error::internal)?.map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(text: &str) -> anyhow::Result<CallbackSettings> {
        let folder = tempfile::tempdir().unwrap();
        let secret_file = folder.path().join("secret");
        std::fs::write(&secret_file, text).unwrap();
        settings(
            &config::Callbacks { secret_file, ..config::Config::parse("").unwrap().callbacks },
            BaseUrl::new("http://h"),
        )
    }

    #[test]
    fn secrets_come_from_files_and_are_long_enough() {
        assert_eq!(of_file("0123456789abcdef\n").unwrap().secret.unwrap(), b"0123456789abcdef");
        let short = format!("{:#}", of_file("short").err().unwrap());
        assert!(short.contains("at least 16 bytes, not 5") && !short.contains("short\""), "{short}");
    }
}
