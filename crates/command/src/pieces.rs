//! What a run hands over while it goes on, without announcing it in a line.

use crate::os::ClosedFiles;
use crate::outputs;
use crate::records::Records;
use crate::service::{Complete, OutputSource, Service};
use anabranch_model::{Error, LogLine, LogSource, OutputRequest, OutputSink};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::Path;
use tokio::time::Instant;

/// What is looked for.
pub(crate) struct Pieces {
    /// Outputs whose files are looked for.
    pub(crate) files: Vec<OutputRequest>,
    watched: HashMap<String, (ClosedFiles, HashSet<OsString>)>,
    /// The output that is records on standard output, and whether it is asked for.
    records: Option<(String, Records, Option<OutputRequest>)>,
}

impl Pieces {
    /// Before the executable starts: what it closes from the first moment on has to be seen.
    pub(crate) fn of(
        service: &Service,
        outputs: &[OutputRequest],
        work: &Path,
        sink: &dyn OutputSink,
    ) -> Self {
        let is_looked_for = |request: &&OutputRequest| {
            service.output(&request.id).is_some_and(|rule| {
                matches!(&rule.source, OutputSource::Glob { complete, .. } if *complete != Complete::AtEnd)
            })
        };
        let files: Vec<_> = outputs.iter().filter(is_looked_for).cloned().collect();
        let mut watched = HashMap::new();
        for request in &files {
            let Some(folder) = outputs::watched_folder(service, &request.id, work) else { continue };
            match ClosedFiles::watch(&folder) {
                Ok(files) => drop(watched.insert(request.id.clone(), (files, HashSet::new()))),
                Err(error) => {
                    let text = format!(
                        "output '{}': files can't be watched ({error}): they are handed over at the end",
                        request.id
                    );
                    sink.log(LogLine { source: LogSource::System, text });
                }
            }
        }
        let records = service.outputs.iter().find_map(|rule| match &rule.source {
            OutputSource::Records(batch) => {
                let request = outputs.iter().find(|request| request.id == rule.id);
                Some((rule.id.clone(), Records::new(*batch), request.cloned()))
            }
            _ => None,
        });
        Self { files, watched, records }
    }

    /// Whether anything may be due by itself.
    pub(crate) fn are_looked_for(&self) -> bool {
        !self.files.is_empty() || self.records.is_some()
    }

    /// Standard output is records.
    pub(crate) fn has_records(&self) -> bool {
        self.records.is_some()
    }

    /// Who asked for records.
    pub(crate) fn requested_records(&self) -> Option<&OutputRequest> {
        self.records.as_ref().and_then(|(_, _, request)| request.as_ref())
    }

    /// Takes bytes of standard output, none at its end; gives the batches that are full.
    pub(crate) fn records(&mut self, bytes: &[u8], now: Instant) -> Result<Vec<Vec<u8>>, Error> {
        let Some((id, records, _)) = &mut self.records else { return Ok(Vec::new()) };
        if bytes.is_empty() {
            return Ok(records.finish(now).into_iter().collect());
        }
        records.feed(bytes, now).map_err(|_too_large| {
            Error::process_failed(format!("output '{id}': a record on standard output is larger than 16 MiB"))
        })
    }

    /// Records that have waited long enough.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.records.iter_mut().filter_map(|(_, records, _)| records.due(now)).collect()
    }

    /// The output of records that was asked for, where none came.
    pub(crate) fn missing_records(&self) -> Option<String> {
        self.records
            .as_ref()
            .filter(|(_, records, request)| request.is_some() && !records.any)
            .map(|(id, ..)| id.clone())
    }

    /// Names of the files of an output that were closed so far.
    pub(crate) fn closed(&mut self, output: &str) -> HashSet<OsString> {
        let Some((files, closed)) = self.watched.get_mut(output) else { return HashSet::new() };
        closed.extend(files.closed());
        closed.clone()
    }
}
