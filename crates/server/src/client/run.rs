//! `anabranch run`: execute, watch, save.

use crate::cli;
use crate::client::api::{Api, Refusal};
use crate::client::{stream, values};
use crate::terminal::{is_watched, line, note};
use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Largest result printed instead of saved, in bytes: what still reads well on a terminal.
const PRINTED_BYTES_MAX: u64 = 64 * 1024;

/// How a run ended.
pub(crate) enum Ended {
    Successful,
    Failed,
    Interrupted,
}

/// Executes a process and follows it to its end.
///
/// # Errors
/// Where the server can't be reached or refuses, or a file can't be read or written.
pub(crate) async fn run(command: &cli::Run) -> anyhow::Result<Ended> {
    let api = Api::new(&command.remote)?;
    let description = api.get(api.url(&["processes", &command.process])).await?;
    let wanted = outputs(&description, &command.outputs)?;
    let mut body = json!({ "inputs": values::inputs(&description, &command.inputs, &command.by_reference)?, "response": "document" });
    if !wanted.is_empty() {
        body["outputs"] =
            wanted.iter().map(|(id, _)| (id.clone(), json!({}))).collect::<serde_json::Map<_, _>>().into();
    }
    let status = api.execute(&command.process, &body).await?;
    let job = status["jobID"].as_str().context("the server's answer names no job")?.to_owned();
    note(format_args!("job {job}"));
    let (streams, wanted): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|(id, _)| stream::is_stream(&description["outputs"][id.as_str()]));
    tokio::select! {
        state = followed(&api, &job, &streams) => match state?.as_str() {
            "successful" if wanted.is_empty() && !streams.is_empty() => Ok(Ended::Successful),
            "successful" => save(&api, &job, &description, &wanted).await.map(|()| Ended::Successful),
            "dismissed" => { note("the job was dismissed"); Ok(Ended::Failed) }
            _ => Ok(Ended::Failed),
        },
        _ = tokio::signal::ctrl_c() => {
            note("dismissing …");
            let status = api.delete(api.url(&["jobs", &job])).await?;
            note(format_args!("job {job} is {}", status["status"].as_str().unwrap_or("gone")));
            Ok(Ended::Interrupted)
        }
    }
}

/// `NAME=FILE` pairs, checked against the description.
fn outputs(description: &Value, given: &[String]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let known = description
        .get("outputs")
        .and_then(Value::as_object)
        .context("the process description has no outputs")?;
    given
        .iter()
        .map(|text| {
            let (name, file) =
                text.split_once('=').with_context(|| format!("-o takes NAME=FILE, not {text:?}"))?;
            if !known.contains_key(name) {
                let names: Vec<_> = known.keys().map(String::as_str).collect();
                bail!("the process has no output '{name}'; it has {}", names.join(", "));
            }
            Ok((name.to_owned(), PathBuf::from(file)))
        })
        .collect()
}

/// Follows the job, and its streams beside it: they are saved as they come.
async fn followed(api: &Api, job: &str, streams: &[(String, PathBuf)]) -> anyhow::Result<String> {
    let saving = streams.iter().map(|(id, file)| stream::save(api, job, id, file));
    let (state, saved) = tokio::join!(follow(api, job), futures_util::future::join_all(saving));
    let state = state?;
    // Why the job failed has been said.
    if state == "successful" {
        saved.into_iter().collect::<anyhow::Result<()>>()?;
    }
    Ok(state)
}

/// Shows progress and log until the job ends; gives its last state.
async fn follow(api: &Api, job: &str) -> anyhow::Result<String> {
    let bar = is_watched().then(|| {
        let style = ProgressStyle::with_template("{bar:40} {pos:>3} %  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(100).with_style(style)
    });
    let mut shown = String::new();
    let mut events = api.events(job).await?;
    while let Some(event) = events.next().await? {
        if event.name == "log" {
            let text = event.data["text"].as_str().unwrap_or_default();
            match &bar {
                Some(bar) => bar.println(text),
                None => note(text),
            }
            continue;
        }
        let state = event.data["status"].as_str().unwrap_or_default().to_owned();
        let message = event.data["message"].as_str().unwrap_or_default();
        let percent = event.data["progress"].as_u64().unwrap_or(0);
        match &bar {
            Some(bar) => {
                bar.set_position(percent);
                bar.set_message(message.to_owned());
            }
            None => {
                let text = format!("{state} {percent} % {message}");
                if text != shown {
                    note(text.trim_end());
                    shown = text;
                }
            }
        }
        if matches!(state.as_str(), "successful" | "failed" | "dismissed") {
            // Without a bar the last line has said it.
            if let Some(bar) = &bar {
                bar.finish_and_clear();
                if state == "failed" {
                    note(format_args!("failed: {message}"));
                }
            }
            return Ok(state);
        }
    }
    bail!("the server closed the stream of events before job {job} ended")
}

async fn save(api: &Api, job: &str, description: &Value, wanted: &[(String, PathBuf)]) -> anyhow::Result<()> {
    for (id, file) in wanted {
        let bytes = save_one(api, job, id, file).await?;
        note(format_args!("{id}: {bytes} bytes in {}", file.display()));
    }
    if !wanted.is_empty() {
        return Ok(());
    }
    let ids: Vec<&String> =
        description["outputs"].as_object().map(|outputs| outputs.keys().collect()).unwrap_or_default();
    for id in ids {
        match api.fetch(api.url(&["jobs", job, "results", id])).await {
            Ok(response) => match response.bytes(PRINTED_BYTES_MAX).await {
                Ok(bytes) => line(format_args!("{id}: {}", String::from_utf8_lossy(&bytes).trim_end())),
                Err(_too_large) => note(format_args!("{id} is large: save it with -o {id}=FILE")),
            },
            // Optional outputs that the job did not write.
            Err(error) if error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.status == 404) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes beside the file first, so that the name never holds half a result.
async fn save_one(api: &Api, job: &str, id: &str, file: &Path) -> anyhow::Result<u64> {
    let response = api.fetch(api.url(&["jobs", job, "results", id])).await?;
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let _left_by_an_earlier_run = std::fs::remove_file(&partial);
    let bytes = response.save_to(&partial).await.with_context(|| format!("can't save {}", file.display()))?;
    std::fs::rename(&partial, file).with_context(|| format!("can't write {}", file.display()))?;
    Ok(bytes)
}
