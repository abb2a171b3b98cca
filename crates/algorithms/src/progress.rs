//! How far a run is in its data.

use anabranch_model::{AlgorithmSink, Error};

/// Bytes read between two reports of progress.
const PROGRESS_BYTES: u64 = 4 << 20;

/// Tells how far the run is, and sees that it is to be ended.
pub(crate) struct Progress {
    bytes: u64,
    reported: u64,
}

impl Progress {
    /// Of so many bytes to read.
    pub(crate) fn of(bytes: u64) -> Self {
        Self { bytes, reported: 0 }
    }

    /// So many are read; `done` is what happened to so many features.
    pub(crate) fn report(
        &mut self,
        read: u64,
        features: u64,
        done: &str,
        sink: &dyn AlgorithmSink,
    ) -> Result<(), Error> {
        if read - self.reported < PROGRESS_BYTES {
            return Ok(());
        }
        self.reported = read;
        if sink.is_cancelled() {
            return Err(Error::Dismissed);
        }
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // for people
        let percent = (100.0 * read as f64 / self.bytes.max(1) as f64).min(100.0) as f32;
        sink.progress(percent, Some(&format!("{features} features {done}")));
        Ok(())
    }
}
