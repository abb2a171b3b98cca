use super::*;
use crate::refusal;
use crate::test_sink::{Help, TestSink};
use anabranch_formats::geojson::Flaw;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::thread::{self, ThreadId};

const HELP: [Help; 4] = [Help::Nobody, Help::First, Help::Any, Help::Short];

/// Writes features twice, and stumbles over some.
struct Twice<'a> {
    sink: &'a TestSink,
    first_thread: ThreadId,
    panics: Option<Who>,
    /// Features that were worked on before the run is cancelled.
    cancelled_after: u64,
    worked_on: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    First,
    Helper,
}

impl<'a> Twice<'a> {
    fn new(sink: &'a TestSink) -> Self {
        let worked_on = AtomicU64::new(0);
        Self {
            sink,
            first_thread: thread::current().id(),
            panics: None,
            cancelled_after: u64::MAX,
            worked_on,
        }
    }
}

impl Work for Twice<'_> {
    fn worker<'a>(&'a self, is_cancelled: &'a dyn Fn() -> bool) -> Box<dyn Worker + 'a> {
        Box::new(Doubling { work: self, extent: Extent::default(), is_cancelled })
    }
    fn unreadable(&self, error: &geojson::Error) -> Error {
        refusal::unreadable("data", "can be doubled", error)
    }
    fn done(&self) -> &'static str {
        "doubled"
    }
}

struct Doubling<'a> {
    work: &'a Twice<'a>,
    extent: Extent,
    is_cancelled: &'a dyn Fn() -> bool,
}

impl Worker for Doubling<'_> {
    fn work(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        out.extend_from_slice(bytes_of(piece));
        let Piece::Feature(feature) = piece else { return Ok(()) };
        let who = if thread::current().id() == self.work.first_thread { Who::First } else { Who::Helper };
        if self.work.panics == Some(who) {
            panic!("on purpose");
        }
        if self.work.worked_on.fetch_add(1, Ordering::Relaxed) == self.work.cancelled_after {
            self.work.sink.cancel();
        }
        if (self.is_cancelled)() {
            return Err(Error::Dismissed);
        }
        if feature.number % 3 == 0 {
            thread::yield_now();
        }
        if let Some(at) = feature.bytes.windows(3).position(|bytes| bytes == b"bad") {
            return Err(self.work.unreadable(&feature.locate(Flaw::new(at, "must be good"))));
        }
        out.extend_from_slice(feature.bytes);
        #[allow(clippy::cast_precision_loss)] // small
        self.extent.add([feature.number as f64, -(feature.offset as f64)]);
        Ok(())
    }

    fn extent(&self) -> Extent {
        self.extent
    }
}

fn outcome(document: &[u8], batch: usize, sink: &TestSink, work: &Twice<'_>) -> Result<Worked, Error> {
    let sizes = Sizes { batch, shared_min: 0, between_looks: 1 + 7 * batch as u64 };
    let data = Data::Bytes(document.to_vec().into());
    let reader = data.open().unwrap();
    let result = ResultWriter::new(AlgorithmSink::scratch(sink), "doubled");
    let worked = work_in(&sizes, &data, reader, result, work, sink)?;
    Ok(Worked { data: Data::Bytes(worked.data.read_all(u64::MAX).unwrap()), ..worked })
}

/// What one thread makes of a document piece by piece.
fn expected(document: &[u8]) -> Result<Worked, Error> {
    let sink = TestSink::new();
    let work = Twice::new(&sink);
    let mut worker = work.worker(&|| false);
    let mut splitter = Splitter::new(document);
    let mut out = Vec::new();
    while let Some(piece) = splitter.next().map_err(|error| work.unreadable(&error))? {
        worker.work(&piece, &mut out)?;
    }
    Ok(Worked {
        data: Data::Bytes(out.into()),
        is_sequence: splitter.is_sequence(),
        features: splitter.features(),
        extent: worker.extent(),
    })
}

#[track_caller]
fn check(document: &str) {
    let expected = expected(document.as_bytes());
    for help in HELP {
        for batch in [1, 40, 1_000, 256 << 10] {
            let sink = TestSink::with_help(help);
            let outcome = outcome(document.as_bytes(), batch, &sink, &Twice::new(&sink));
            assert!(outcome == expected, "{help:?}, batches of {batch}: {outcome:?} instead of {expected:?}");
        }
    }
}

fn random() -> impl FnMut(u64) -> u64 {
    let mut state = 42_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

fn feature(name: &str) -> String {
    format!(r#"{{"type":"Feature","properties":{{"name":"{name}"}},"geometry":null}}"#)
}

#[test]
fn documents_come_out_the_same_whoever_does_what() {
    let mut random = random();
    for round in 0..60 {
        let features: Vec<_> = (0..random(60))
            .map(|number| {
                let bytes = [3, 50, 500, 3_000][random(4) as usize];
                feature(&format!("{number}{}", "x".repeat(random(bytes) as usize)))
            })
            .collect();
        match round % 3 {
            0 => check(&features.iter().map(|feature| format!("{feature}\n")).collect::<String>()),
            1 => check(&features.iter().map(|feature| format!("\u{1e}{feature}\n")).collect::<String>()),
            _ => check(&format!(
                r#" {{"type":"FeatureCollection","name":"a","features":[{}],"behind":["{{",1]}} "#,
                features.join(" ,\n")
            )),
        }
    }
}

#[test]
fn documents_of_one_piece_and_of_none() {
    check(r#"{"type":"FeatureCollection","features":[]}"#);
    check(&feature(&"x".repeat(1 << 20)));
    check(&format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, feature(&"x".repeat(600_000))));
    check("");
    check("[]");
}

#[test]
fn the_first_fault_of_the_document_is_told() {
    let mut random = random();
    for _ in 0..60 {
        let mut features: Vec<_> = (0..20 + random(60)).map(|number| feature(&number.to_string())).collect();
        for _ in 0..=random(3) {
            let at = random(features.len() as u64) as usize;
            features[at] = feature(["bad", "worse and bad"][random(2) as usize]);
        }
        let mut document = format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(","));
        match random(4) {
            0 => document.truncate(random(document.len() as u64) as usize),
            1 => document
                .insert(random(document.len() as u64) as usize, ['{', '}', ']', '"'][random(4) as usize]),
            _ => {}
        }
        check(&document);
    }
}

#[test]
fn a_run_cancelled_in_the_middle_is_dismissed_by_whoever_sees_it() {
    let document = format!("{}\n", feature("a")).repeat(2_000);
    for help in HELP {
        for cancelled_after in [0, 1, 700] {
            let sink = TestSink::with_help(help);
            let work = Twice { cancelled_after, ..Twice::new(&sink) };
            assert_eq!(outcome(document.as_bytes(), 200, &sink, &work), Err(Error::Dismissed), "{help:?}");
        }
    }
}

#[test]
fn nobody_waits_for_a_thread_that_has_panicked() {
    let document = format!("{}\n", feature("a")).repeat(2_000);
    for (panics, help) in [(Who::Helper, Help::First), (Who::First, Help::Any), (Who::First, Help::Nobody)] {
        let sink = TestSink::with_help(help);
        let work = Twice { panics: Some(panics), ..Twice::new(&sink) };
        let outcome = catch_unwind(AssertUnwindSafe(|| outcome(document.as_bytes(), 200, &sink, &work)));
        let payload = outcome.expect_err("the panic goes on");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
    }
}
