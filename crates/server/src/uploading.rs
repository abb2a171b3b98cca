//! A service whose outputs are uploaded to a server of the site's own, besides being handed over.
//!
//! Who asks for an output in the format `text/uri-list`, where the service offers it, gets the address of what was uploaded instead of
//! the content, which then does not pass through the server at all.

use anabranch_command::Service;
use anabranch_command::service::{OutputRule, OutputSource};
use anabranch_delivery::{RemotePath, Uploaded, Uploader};
use anabranch_model::{
    BoxFuture, ComplexValue, Data, DataDescription, Error, Execution, Format, FormatHint, JobId, LogLine,
    LogSource, OutputRequest, OutputSink, Process, ProcessAround, ProcessDescription, SinkAround, Value,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Addresses as text (RFC 2483 §5).
const URI_LIST: &str = "text/uri-list";

/// Where outputs are uploaded, and how that goes with what is shared.
#[derive(Clone)]
pub(crate) struct Uploads {
    /// `None` where none is configured: what should be uploaded is not, and the run's log says so.
    pub(crate) uploader: Option<Arc<Uploader>>,
    /// Outputs that go to a shared folder are not uploaded too, as the original's agents do it.
    pub(crate) shared_folder: bool,
}

impl Uploads {
    pub(crate) fn none() -> Self {
        Self { uploader: None, shared_folder: false }
    }

    /// The outputs of a service that are uploaded.
    pub(crate) fn of(&self, service: &Service) -> Vec<String> {
        let rules = service.outputs.iter().filter(|rule| self.takes(rule));
        rules.map(|rule| rule.id.clone()).collect()
    }

    /// Whether an output is uploaded, or would be were there a server for it.
    fn takes(&self, rule: &OutputRule) -> bool {
        rule.delivery
            .as_ref()
            .is_some_and(|delivery| delivery.upload && !(delivery.shared_folder && self.shared_folder))
    }

    /// The process of a service, with its uploads.
    pub(crate) fn wrap(&self, service: &Arc<Service>, process: Arc<dyn Process>) -> Arc<dyn Process> {
        if self.of(service).is_empty() {
            return process;
        }
        if self.uploader.is_none() {
            let id = &service.description.id;
            tracing::warn!(process.id = %id, "outputs are to be uploaded, and no upload server is configured: they are not");
        }
        Arc::new(Uploading { service: Arc::clone(service), process, uploads: self.clone() })
    }
}

/// A process that is wrapped so.
struct Uploading {
    service: Arc<Service>,
    process: Arc<dyn Process>,
    uploads: Uploads,
}

impl ProcessAround for Uploading {
    fn inner(&self) -> &Arc<dyn Process> {
        &self.process
    }

    fn execute(self: Arc<Self>, mut execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        let mut outputs = BTreeMap::new();
        for id in self.uploads.of(&self.service) {
            let Some(request) = execution.outputs.iter_mut().find(|request| request.id == id) else {
                continue;
            };
            let by_address = asks_for_address(&self.service.description, request);
            if by_address {
                request.format = content_format(&self.service.description, &id);
            }
            // Nobody can guess it, and no run has that of another.
            outputs.insert(id, Output { by_address, folder: JobId::random().to_string() });
        }
        let sink = UploadingSink {
            service: Arc::clone(&self.service),
            uploader: self.uploads.uploader.clone(),
            outputs,
            sink: execution.sink,
        };
        execution.sink = Arc::new(sink);
        Arc::clone(&self.process).execute(execution)
    }
}

fn formats<'d>(description: &'d ProcessDescription, output: &str) -> &'d [Format] {
    match description.output(output).map(|output| &output.data) {
        Some(DataDescription::Complex(domain)) => &domain.formats,
        _ => &[],
    }
}

fn asks_for_address(description: &ProcessDescription, request: &OutputRequest) -> bool {
    let asked = request.format.media_type.as_deref();
    let default = formats(description, &request.id).first().map(|format| format.media_type.as_str());
    asked.or(default) == Some(URI_LIST)
}

/// The format in which the executable is asked for what is uploaded: the first that is no address.
fn content_format(description: &ProcessDescription, output: &str) -> FormatHint {
    match formats(description, output).iter().find(|format| format.media_type != URI_LIST) {
        Some(Format { media_type, encoding, schema }) => FormatHint {
            media_type: Some(media_type.clone()),
            encoding: encoding.clone(),
            schema: schema.clone(),
        },
        None => FormatHint::default(),
    }
}

/// An output of a run that is uploaded.
struct Output {
    by_address: bool,
    /// Holds its files on the server, and no others.
    folder: String,
}

/// Uploads what is written before it is handed on.
struct UploadingSink {
    service: Arc<Service>,
    uploader: Option<Arc<Uploader>>,
    outputs: BTreeMap<String, Output>,
    sink: Arc<dyn OutputSink>,
}

impl UploadingSink {
    async fn write_uploaded(&self, id: &str, output: &Output, chunk: Value) -> Result<(), Error> {
        let failed =
            |reason: String| Error::process_failed(format!("output '{id}' could not be uploaded: {reason}"));
        let Some(uploader) = &self.uploader else {
            if output.by_address {
                return Err(failed("no upload server is configured where it was made".into()));
            }
            self.say(format!("output '{id}' was not uploaded: no upload server is configured"));
            return self.sink.write(id, chunk).await;
        };
        let File { path, name, is_ours } = self.file(id, &chunk).await?;
        let rule = self.service.output(id).and_then(|rule| rule.delivery.as_ref());
        let root = rule.and_then(|delivery| delivery.upload_folder.as_deref()).unwrap_or_default();
        let to = RemotePath::new([root, &output.folder, &name]).map_err(|error| failed(error.reason))?;
        let report = |text: String| {
            self.say(format!("output '{id}' is being uploaded to {}: {text}", uploader.place()))
        };
        let uploaded = uploader.upload(&path, &to, &report, self.sink.cancelled()).await;
        if is_ours {
            drop(tokio::fs::remove_file(&path).await);
        }
        let uploaded = match uploaded {
            Ok(uploaded) => uploaded,
            Err(None) => return Err(Error::Dismissed),
            Err(Some(error)) => return Err(failed(error.reason)),
        };
        let Uploaded { url, checked, tries, .. } = &uploaded;
        let bytes = bytes(&chunk);
        self.say(format!(
            "output '{id}' was uploaded: {url} ({bytes} bytes, {checked} checked, tries: {tries})"
        ));
        if output.by_address {
            let data = Data::Bytes(format!("{url}\r\n").into());
            return self.sink.write(id, Value::Complex(ComplexValue::new(data, Format::new(URI_LIST)))).await;
        }
        // As the service file has it: with a slash before it, or not.
        let slash = if root.starts_with('/') { "/" } else { "" };
        self.sink.write_uploaded(id, chunk, &format!("{slash}{to}")).await
    }

    /// The file of a chunk, and its name on the server.
    async fn file(&self, id: &str, chunk: &Value) -> Result<File, Error> {
        let from_file = self
            .service
            .output(id)
            .is_some_and(|rule| matches!(rule.source, OutputSource::File(_) | OutputSource::Glob { .. }));
        let bytes = match chunk {
            Value::Complex(ComplexValue { data: Data::File(file), .. }) => {
                let own = file.path.file_name().map(|name| name.to_string_lossy().into_owned());
                let name = own.filter(|_| from_file).unwrap_or_else(|| id.to_owned());
                return Ok(File { path: file.path.clone(), name, is_ours: false });
            }
            Value::Complex(ComplexValue { data: Data::Bytes(bytes), .. }) => bytes.clone(),
            Value::Literal(literal) => literal.text.clone().into(),
            Value::BoundingBox(bbox) => serde_json::to_vec(bbox).map_err(Error::internal)?.into(),
        };
        let name = match (chunk, self.service.output(id).map(|rule| &rule.source)) {
            (_, Some(OutputSource::File(file))) => {
                Path::new(file).file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            (Value::Literal(_), _) => format!("{id}.txt"),
            (Value::BoundingBox(_), _) => format!("{id}.json"),
            (Value::Complex(_), _) => id.to_owned(),
        };
        let path = self.sink.scratch().join(format!(".upload-{}", JobId::random()));
        tokio::fs::write(&path, bytes).await.map_err(Error::internal)?;
        Ok(File { path, name, is_ours: true })
    }

    fn say(&self, text: String) {
        self.sink.log(LogLine { source: LogSource::System, text });
    }
}

struct File {
    path: PathBuf,
    name: String,
    /// Made for the upload alone.
    is_ours: bool,
}

fn bytes(chunk: &Value) -> u64 {
    match chunk {
        Value::Complex(complex) => complex.data.len(),
        Value::Literal(literal) => literal.text.len() as u64,
        Value::BoundingBox(_) => 0,
    }
}

impl SinkAround for UploadingSink {
    fn inner(&self) -> &dyn OutputSink {
        self.sink.as_ref()
    }

    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        let id = output.to_owned();
        Box::pin(async move {
            match self.outputs.get(&id) {
                Some(output) => self.write_uploaded(&id, output, chunk).await,
                None => self.sink.write(&id, chunk).await,
            }
        })
    }
}
