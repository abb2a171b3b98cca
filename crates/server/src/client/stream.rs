//! Streams: what comes is saved while the job runs.
//!
//! Features are appended to the file as they come, one on each line; a file named `.geojson` or `.json` is one FeatureCollection in the end.
//! Of chunks that hold no features the file is the list, and they lie in the folder `FILE.chunks` beside it: what `gdalbuildvrt
//! -input_file_list` takes.

use crate::client::api::{Api, Refusal};
use crate::terminal::note;
use anabranch_egress::Response;
use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};

/// Longest line taken from a server, bytes: a feature is never larger (256 MiB).
const LINE_BYTES_MAX: usize = 256 << 20;
/// How long the server is asked to wait for more chunks, in seconds.
const WAIT_S: &str = "30";

/// An output that a process gives as a stream by default.
pub(crate) fn is_stream(output: &Value) -> bool {
    let schema = &output["schema"];
    let first = schema["oneOf"].get(0).unwrap_or(schema);
    first["contentMediaType"].as_str().is_some_and(anabranch_model::description::is_playlist)
}

/// Saves an output while it comes, to its end.
///
/// # Errors
/// What the stream ended with, where it did not end well: what came until then is in the file.
pub(crate) async fn save(api: &Api, job: &str, id: &str, file: &Path) -> anyhow::Result<()> {
    let mut url = api.url(&["jobs", job, "results", id, "playlist"]);
    url.query_pairs_mut().append_pair("f", "ndjson");
    match api.fetch(url).await {
        Ok(response) => features(response, id, file).await,
        // Its chunks hold no features.
        Err(error) if error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.status == 400) => {
            chunks(api, job, id, file).await
        }
        Err(error) => Err(error),
    }
}

async fn features(mut response: Response, id: &str, file: &Path) -> anyhow::Result<()> {
    let mut out = FeatureFile::create(file).await?;
    let mut pending = Vec::new();
    while let Some(bytes) = response.chunk().await? {
        pending.extend_from_slice(&bytes);
        let whole = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        for line in pending[..whole].split_inclusive(|byte| *byte == b'\n') {
            let line = line.trim_ascii_end();
            match last_record(line) {
                None => out.append(line).await?,
                Some(last) => {
                    out.finish().await?;
                    let count = &last["features"];
                    note(format_args!("{id}: {count} features in {}", file.display()));
                    let detail = last["detail"].as_str();
                    ensure!(detail.is_none(), "the stream '{id}' broke off: {}", detail.unwrap_or_default());
                    return Ok(());
                }
            }
        }
        pending.drain(..whole);
        ensure!(
            pending.len() <= LINE_BYTES_MAX,
            "the server sent a line of more than {LINE_BYTES_MAX} bytes"
        );
        // Who reads the file meanwhile sees what is there.
        out.file.flush().await?;
    }
    bail!("the server closed the stream '{id}' before its end")
}

/// The record that ends a stream; `None` for features.
fn last_record(line: &[u8]) -> Option<Value> {
    line.starts_with(b"{\"type\":\"stream-").then(|| serde_json::from_slice(line).ok())?
}

struct FeatureFile {
    file: BufWriter<File>,
    is_collection: bool,
    is_empty: bool,
}

impl FeatureFile {
    async fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).await.with_context(|| format!("can't write {}", path.display()))?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_collection = extension.is_some_and(|extension| {
            ["geojson", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
        });
        let mut made = Self { file: BufWriter::new(file), is_collection, is_empty: true };
        if is_collection {
            made.file.write_all(b"{\"type\":\"FeatureCollection\",\"features\":[\n").await?;
        }
        Ok(made)
    }

    async fn append(&mut self, feature: &[u8]) -> anyhow::Result<()> {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.file.write_all(if self.is_collection { b",\n" } else { b"\n" }).await?;
        }
        Ok(self.file.write_all(feature).await?)
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        if self.is_collection {
            self.file.write_all(b"\n]}").await?;
        }
        if self.is_collection || !self.is_empty {
            self.file.write_all(b"\n").await?;
        }
        Ok(self.file.flush().await?)
    }
}

async fn chunks(api: &Api, job: &str, id: &str, file: &Path) -> anyhow::Result<()> {
    let mut folder = file.as_os_str().to_owned();
    folder.push(".chunks");
    let folder = PathBuf::from(folder);
    let failed = || format!("can't write {}", folder.display());
    std::fs::create_dir_all(&folder).with_context(failed)?;
    let mut list = File::create(file).await.with_context(|| format!("can't write {}", file.display()))?;
    let mut saved: u64 = 0;
    loop {
        let mut url = api.url(&["jobs", job, "results", id, "playlist"]);
        url.query_pairs_mut().append_pair("f", "json").append_pair("wait", WAIT_S);
        url.query_pairs_mut().append_pair("after", &saved.to_string());
        let playlist = api.get(url).await?;
        for chunk in playlist["chunks"].as_array().into_iter().flatten() {
            saved += 1;
            let number = saved.to_string();
            let media_type = chunk["type"].as_str().unwrap_or_default();
            let path = folder.join(format!("{number}{}", extension(media_type)));
            let response = api.fetch(api.url(&["jobs", job, "results", id, "chunks", &number])).await?;
            let _of_an_earlier_run = std::fs::remove_file(&path);
            response.save_to(&path).await.with_context(failed)?;
            list.write_all(format!("{}\n", path.display()).as_bytes()).await?;
        }
        list.flush().await?;
        if playlist["end"] == true {
            note(format_args!("{id}: {saved} chunks in {}, listed in {}", folder.display(), file.display()));
            let detail = playlist["exception"]["detail"].as_str();
            ensure!(detail.is_none(), "the stream '{id}' broke off: {}", detail.unwrap_or_default());
            return Ok(());
        }
    }
}

/// How files of a media type are named.
fn extension(media_type: &str) -> &'static str {
    match anabranch_model::description::media_type_essence(media_type).as_str() {
        "image/tiff" => ".tif",
        "image/png" => ".png",
        "image/jpeg" => ".jpg",
        "application/arcgrid" => ".asc",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn streams_are_known_by_their_first_format() {
        let playlist = json!({ "contentMediaType": "application/x-ogc-playlist+text/xml" });
        let data = json!({ "contentMediaType": "application/geo+json" });
        assert!(is_stream(&json!({ "schema": playlist })));
        assert!(is_stream(&json!({ "schema": { "oneOf": [playlist, data] } })));
        assert!(!is_stream(&json!({ "schema": { "oneOf": [data, playlist] } })) && !is_stream(&json!({})));
    }

    #[tokio::test]
    async fn a_collection_is_whole_and_lines_are_lines() {
        let folder = tempfile::tempdir().unwrap();
        for (name, count, text) in [
            ("a.geojson", 0, "{\"type\":\"FeatureCollection\",\"features\":[\n\n]}\n"),
            ("b.JSON", 2, "{\"type\":\"FeatureCollection\",\"features\":[\n{},\n{}\n]}\n"),
            ("c.geojsonl", 2, "{}\n{}\n"),
            ("d", 0, ""),
        ] {
            let path = folder.path().join(name);
            let mut file = FeatureFile::create(&path).await.unwrap();
            for _ in 0..count {
                file.append(b"{}").await.unwrap();
            }
            file.finish().await.unwrap();
            assert_eq!(std::fs::read_to_string(path).unwrap(), text);
        }
        assert!(last_record(b"{\"type\":\"stream-end\",\"features\":2}").is_some());
        assert!(last_record(b"{\"type\":\"Feature\"}").is_none());
    }
}
