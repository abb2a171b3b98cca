//! A sink that keeps everything, for tests.

use anabranch_model::{
    AlgorithmSink, BoxFuture, ComplexValue, Data, Error, Format, HelperSink, LogLine, OutputSink, Value,
};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Makes the scratch folders of tests that run at once different.
static COUNT: AtomicU32 = AtomicU32::new(0);

pub(crate) struct TestSink {
    scratch: PathBuf,
    written: Mutex<Vec<(String, Value)>>,
    progress: Mutex<Vec<f32>>,
    slept: Mutex<Duration>,
    cancel_after: Option<Duration>,
    cancelled: AtomicBool,
    help: Help,
}

/// Who helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Help {
    Nobody,
    /// A thread that has done something before the work begins.
    First,
    /// A thread that comes when it comes.
    Any,
    /// A thread that is needed elsewhere after whatever it does.
    Short,
}

struct Helper<'a> {
    sink: &'a TestSink,
    /// Told after the first thing that it has done.
    begun: SyncSender<()>,
}

impl HelperSink for Helper<'_> {
    fn is_cancelled(&self) -> bool {
        self.sink.cancel_is_due()
    }
    fn is_needed_elsewhere(&self) -> bool {
        let _told_before = self.begun.try_send(());
        self.sink.help == Help::Short
    }
}

impl TestSink {
    pub(crate) fn new() -> Self {
        Self::with(None)
    }

    pub(crate) fn with_help(help: Help) -> Self {
        let mut sink = Self::with(None);
        sink.help = help;
        sink
    }

    /// From now on.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
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
            cancelled: AtomicBool::new(false),
            help: Help::Nobody,
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
        self.cancelled.load(Ordering::Acquire) || self.cancel_after.is_some_and(|after| self.slept() >= after)
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
    fn share(
        &self,
        work: &mut dyn FnMut() -> Result<(), Error>,
        help: &(dyn Fn(&dyn HelperSink) + Sync),
    ) -> Result<(), Error> {
        if self.help == Help::Nobody {
            return work();
        }
        let (begun, has_begun) = sync_channel(1);
        thread::scope(|scope| {
            let helper = scope.spawn(move || help(&Helper { sink: self, begun }));
            if self.help == Help::First {
                // An error where it has ended without having done anything.
                let _ = has_begun.recv();
            }
            let worked = work();
            match helper.join() {
                Ok(()) => worked,
                Err(payload) => resume_unwind(payload),
            }
        })
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
