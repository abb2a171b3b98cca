//! A sink that keeps everything, for tests.

use anabranch_model::{
    AlgorithmSink, BoxFuture, ComplexValue, Data, Error, Format, LogLine, OutputSink, Value,
};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Makes the scratch folders of tests that run at once different.
static COUNT: AtomicU32 = AtomicU32::new(0);

pub(crate) struct TestSink {
    scratch: PathBuf,
    written: Mutex<Vec<(String, Value)>>,
    progress: Mutex<Vec<f32>>,
    slept: Mutex<Duration>,
    cancel_after: Option<Duration>,
}

impl TestSink {
    pub(crate) fn new() -> Self {
        Self::with(None)
    }

    pub(crate) fn cancelled() -> Self {
        Self::with(Some(Duration::ZERO))
    }

    /// Cancelled once so much is slept.
    pub(crate) fn cancelled_after(slept: Duration) -> Self {
        Self::with(Some(slept))
    }

    fn with(cancel_after: Option<Duration>) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let scratch =
            std::env::temp_dir().join(format!("anabranch-algorithms-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&scratch).unwrap();
        Self {
            scratch,
            written: Mutex::default(),
            progress: Mutex::default(),
            slept: Mutex::default(),
            cancel_after,
        }
    }

    pub(crate) fn written(&self) -> Vec<(String, Value)> {
        self.written.lock().unwrap().clone()
    }

    pub(crate) fn slept(&self) -> Duration {
        *self.slept.lock().unwrap()
    }

    pub(crate) fn progress_told(&self) -> usize {
        let progress = self.progress.lock().unwrap();
        assert!(progress.is_sorted() && progress.iter().all(|percent| (0.0..=100.0).contains(percent)));
        progress.len()
    }

    pub(crate) fn bytes_of(&self, output: &str) -> Vec<u8> {
        self.complex(output).data.read_all(u64::MAX).unwrap().to_vec()
    }

    pub(crate) fn format_of(&self, output: &str) -> Format {
        self.complex(output).format
    }

    pub(crate) fn path_of(&self, output: &str) -> Option<PathBuf> {
        self.complex(output).data.path().map(Path::to_owned)
    }

    fn complex(&self, output: &str) -> ComplexValue {
        let written = self.written.lock().unwrap();
        let [(id, Value::Complex(value))] = written.as_slice() else {
            panic!("one complex chunk: {written:?}")
        };
        assert_eq!(id, output);
        value.clone()
    }

    fn push(&self, output: &str, chunk: Value) {
        if let Value::Complex(ComplexValue { data: Data::File(file), .. }) = &chunk {
            assert_eq!(std::fs::metadata(&file.path).unwrap().len(), file.bytes);
        }
        self.written.lock().unwrap().push((output.to_owned(), chunk));
    }

    fn cancel_is_due(&self) -> bool {
        self.cancel_after.is_some_and(|after| self.slept() >= after)
    }
}

impl Drop for TestSink {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.scratch).unwrap();
    }
}

impl AlgorithmSink for TestSink {
    fn write(&self, output: &str, chunk: Value) -> Result<(), Error> {
        self.push(output, chunk);
        Ok(())
    }
    fn progress(&self, percent: f32, _message: Option<&str>) {
        self.progress.lock().unwrap().push(percent);
    }
    fn log(&self, _text: &str) {}
    fn is_cancelled(&self) -> bool {
        self.cancel_is_due()
    }
    fn scratch(&self) -> &Path {
        &self.scratch
    }
}

impl OutputSink for TestSink {
    fn started(&self, _on: Option<&str>) {}
    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        self.push(output, chunk);
        Box::pin(std::future::ready(Ok(())))
    }
    fn progress(&self, percent: f32, _message: Option<&str>) {
        self.progress.lock().unwrap().push(percent);
    }
    fn log(&self, _line: LogLine) {}
    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
    fn is_cancelled(&self) -> bool {
        self.cancel_is_due()
    }
    fn scratch(&self) -> &Path {
        &self.scratch
    }
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        *self.slept.lock().unwrap() += duration;
        Box::pin(std::future::ready(()))
    }
}
