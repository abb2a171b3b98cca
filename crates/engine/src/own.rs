//! Results of this very server as inputs: read from the store, not over HTTP, whatever the policy says of the server's own address.

use crate::engine::Inner;
use crate::folders::{blocking, io_error};
use anabranch_model::{ComplexValue, Data, Error, FormatHint, JobId, Value, Viewer};
use std::fs;
use std::path::{Path, PathBuf};

/// Knows the addresses under which this server shows what jobs put out.
pub trait OwnAddresses: Send + Sync {
    /// The job and the output behind an address, the first output where it names none; `None` where the address is none of this server's
    /// results.
    fn place(&self, href: &str) -> Option<(JobId, Option<String>)>;
}

impl Inner {
    /// See [`OwnAddresses::place`].
    pub(crate) fn own_place(&self, href: &str) -> Option<(JobId, Option<String>)> {
        self.own_addresses.get()?.place(href)
    }

    /// The data behind an own address that `viewer` may see, in a file at `path` that stays when its job is removed. Its format is what the client says, else
    /// what the job says.
    pub(crate) async fn own_data(
        &self,
        viewer: &Viewer,
        (job, output): (JobId, Option<String>),
        said: &FormatHint,
        path: PathBuf,
    ) -> Result<(Data, FormatHint), Error> {
        let only = output.clone().map(|output| vec![output]);
        let results = self.results(viewer, job, only.as_deref()).await?;
        let log = match &output {
            Some(output) => results.output(output),
            None => results.outputs.first(),
        };
        let log = log.ok_or_else(|| Error::NoSuchOutput { job, output: output.unwrap_or_default() })?;
        let [Value::Complex(ComplexValue { data, format, .. })] = log.chunks.as_slice() else {
            return Err(Error::process_failed("the result is not one piece of data with a format"));
        };
        let mut hint = said.clone();
        hint.media_type.get_or_insert_with(|| format.media_type.clone());
        let data = match data {
            Data::Bytes(_) => data.clone(),
            Data::File(file) => {
                let from = file.path.clone();
                blocking(move || linked(&from, &path)).await??
            }
        };
        Ok((data, hint))
    }
}

/// Blocking.
fn linked(from: &Path, to: &Path) -> Result<Data, Error> {
    let linked = fs::hard_link(from, to).or_else(|_no_link| fs::copy(from, to).map(|_bytes| ()));
    linked.and_then(|()| Data::file(to)).map_err(|error| io_error("can't take", from, &error))
}
