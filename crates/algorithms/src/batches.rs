//! A document whose features are worked on by several threads, and come out as if by one.
//!
//! Whoever has time cuts the next batch, works on it, and leaves what has become of it for the place where it belongs: it is put out as soon as
//! all before it is. So nothing depends on who did what: bytes, order, and which of several faults is told, the first of the document.

use crate::progress::Progress;
use crate::result_writer::ResultWriter;
use anabranch_formats::Extent;
use anabranch_formats::geojson::{self, Feature, Piece, Place, Splitter};
use anabranch_model::{AlgorithmSink, Data, Error};
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Batches that may be done before one that belongs before them is: more would be memory for nothing where that one takes long.
const EARLY_MAX: u64 = 8;

/// Largest buffer that is used again, in bytes: what becomes of a batch is seldom larger than a batch.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// How much is done at once, in bytes of the document.
struct Sizes {
    /// What one thread takes at once.
    batch: usize,
    /// Documents from here on are shared.
    shared_min: u64,
    /// How often help is looked for anew: where there was none, or it was needed elsewhere.
    between_looks: u64,
}

/// A batch is half a millisecond of work: to take it costs little beside that, and who is needed elsewhere is there soon. Some milliseconds of work
/// are worth a thread.
const SIZES: Sizes = Sizes { batch: 256 << 10, shared_min: 4 << 20, between_looks: 16 << 20 };

/// What becomes of the pieces of a document; each thread has one of its own.
pub(crate) trait Worker {
    /// Appends to `out` what becomes of `piece`.
    ///
    /// # Errors
    /// What is wrong with it, or [`Error::Dismissed`].
    fn work(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) -> Result<(), Error>;

    /// Where all positions lie that it has put out.
    fn extent(&self) -> Extent;
}

/// What is done with a document.
pub(crate) trait Work: Sync {
    /// Someone who does it, and asks `is_cancelled` now and then.
    fn worker<'a>(&'a self, is_cancelled: &'a dyn Fn() -> bool) -> Box<dyn Worker + 'a>;

    /// What is said of a document that can't be cut into features.
    fn unreadable(&self, error: &geojson::Error) -> Error;

    /// What has happened to features, for people.
    fn done(&self) -> &'static str;
}

/// What has become of a document.
#[derive(Debug, PartialEq)]
pub(crate) struct Worked {
    pub(crate) data: Data,
    /// It is a sequence of records.
    pub(crate) is_sequence: bool,
    /// Features in the document.
    pub(crate) features: u64,
    pub(crate) extent: Extent,
}

/// Works on all of a document.
///
/// # Errors
/// The first in the document, or that what becomes of it can't be written.
pub(crate) fn work_on(
    data: &Data,
    reader: Box<dyn Read + Send>,
    result: ResultWriter,
    work: &dyn Work,
    sink: &dyn AlgorithmSink,
) -> Result<Worked, Error> {
    work_in(&SIZES, data, reader, result, work, sink)
}

fn work_in(
    sizes: &Sizes,
    data: &Data,
    reader: Box<dyn Read + Send>,
    result: ResultWriter,
    work: &dyn Work,
    sink: &dyn AlgorithmSink,
) -> Result<Worked, Error> {
    let batches = Batches::new(reader, result, work, sizes.batch);
    let is_cancelled = || sink.is_cancelled();
    let mut worker = work.worker(&is_cancelled);
    let mut progress = Progress::of(data.len());
    loop {
        let rest = batches.go_on(sizes.between_looks, data.len());
        let mut here = || {
            batches.work(worker.as_mut(), &mut |reached| {
                progress.report(reached.offset, reached.features, work.done(), sink)
            })
        };
        let is_over = if rest < sizes.shared_min {
            here()?;
            batches.is_over()
        } else {
            sink.share(&mut here, &|helper| {
                let is_cancelled = || helper.is_cancelled();
                let mut worker = work.worker(&is_cancelled);
                let _here = batches.with_company();
                let mut stays = |_reached| match helper.is_needed_elsewhere() || helper.is_cancelled() {
                    true => Err(Left),
                    false => Ok(()),
                };
                let _left = batches.work_some(worker.as_mut(), &mut stays);
                batches.output().extent.join(worker.extent());
            })?;
            batches.is_over()
        };
        if is_over {
            return batches.finish(worker.extent());
        }
    }
}

/// A thread has left the work to others.
struct Left;

/// How far what is put out has come.
#[derive(Clone, Copy, Default)]
struct Reached {
    /// In the document.
    offset: u64,
    features: u64,
}

struct Batches<'w, R> {
    work: &'w dyn Work,
    batch_bytes: usize,
    cutter: Mutex<Cutter<R>>,
    output: Mutex<Output>,
    /// Something was put out, or will not be.
    changed: Condvar,
    /// Threads beside the first.
    company: AtomicUsize,
    /// Nothing more is cut.
    is_over: AtomicBool,
}

/// Cuts batches; locked only as long as that takes.
struct Cutter<R> {
    splitter: Splitter<R>,
    /// Batches cut so far.
    count: u64,
    /// No batch begins here or behind it for now.
    until: u64,
}

/// Where batches are put out.
struct Output {
    result: ResultWriter,
    /// Which batch belongs here next.
    next: u64,
    /// Those that are done and belong behind it.
    early: BTreeMap<u64, Done>,
    /// Memory for those that are to be done; never more than were under way at once.
    spare: Vec<Vec<u8>>,
    reached: Reached,
    /// Of those who have helped.
    extent: Extent,
    failure: Option<Error>,
    /// A batch that belongs here is never done: its thread has panicked, or left.
    is_lost: bool,
}

/// What has become of a batch.
struct Done {
    bytes: Vec<u8>,
    /// Why nothing comes after these bytes.
    end: Result<(), Error>,
    reached: Reached,
}

impl<'w, R: Read> Batches<'w, R> {
    fn new(reader: R, result: ResultWriter, work: &'w dyn Work, batch_bytes: usize) -> Self {
        let cutter = Cutter { splitter: Splitter::new(reader), count: 0, until: 0 };
        let output = Output {
            result,
            next: 0,
            early: BTreeMap::new(),
            spare: Vec::new(),
            reached: Reached::default(),
            extent: Extent::default(),
            failure: None,
            is_lost: false,
        };
        Self {
            work,
            batch_bytes,
            cutter: Mutex::new(cutter),
            output: Mutex::new(output),
            changed: Condvar::new(),
            company: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    fn cutter(&self) -> MutexGuard<'_, Cutter<R>> {
        self.cutter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many bytes more may be cut; gives how many of the document's `all` are left.
    fn go_on(&self, bytes: u64, all: u64) -> u64 {
        let mut cutter = self.cutter();
        let offset = cutter.splitter.offset();
        cutter.until = offset + bytes;
        all.saturating_sub(offset)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Until it is dropped, batches are copied: another thread wants to cut while one works.
    fn with_company(&self) -> impl Drop {
        struct Company<'a>(&'a AtomicUsize);
        impl Drop for Company<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.company.fetch_add(1, Ordering::Relaxed);
        Company(&self.company)
    }

    /// Works until all that may be cut is put out. `reached` is told how far that is.
    fn work(
        &self,
        worker: &mut dyn Worker,
        reached: &mut dyn FnMut(Reached) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let worked = self.work_some(worker, reached);
        let count = self.cutter().count;
        let mut output = self.output();
        if worked.is_err() {
            self.is_over.store(true, Ordering::Release);
            output.is_lost = true;
            self.changed.notify_all();
        }
        worked?;
        while output.next < count && output.failure.is_none() && !output.is_lost {
            output = self.changed.wait(output).unwrap_or_else(PoisonError::into_inner);
        }
        match (output.failure.take(), output.is_lost) {
            (Some(failure), _) => Err(failure),
            (None, true) => Err(Error::internal("a part of the work was lost")),
            (None, false) => Ok(()),
        }
    }

    /// Works until nothing is to be cut any more, or until `reached` says otherwise.
    fn work_some<E>(
        &self,
        worker: &mut dyn Worker,
        reached: &mut dyn FnMut(Reached) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut batch = Batch::default();
        while let Some(turn) = self.cut(&mut batch, worker) {
            reached(turn.finish(&mut batch, worker))?;
        }
        Ok(())
    }

    /// Takes the next batch out of the document.
    fn cut<'a>(&'a self, batch: &mut Batch, worker: &mut dyn Worker) -> Option<Turn<'a, R>> {
        let mut cutter = self.cutter();
        let start = cutter.splitter.offset();
        if self.is_over() || start >= cutter.until {
            return None;
        }
        let bytes = std::mem::take(&mut batch.spare);
        let done = Done { bytes, end: Ok(()), reached: Reached::default() };
        let mut turn = Turn { batches: self, number: cutter.count, done: Some(done) };
        cutter.count += 1;
        let done = turn.done.as_mut()?;
        let is_alone = self.company.load(Ordering::Relaxed) == 0;
        while done.end.is_ok() && cutter.splitter.offset() - start < self.batch_bytes as u64 {
            done.end = match cutter.splitter.next() {
                Ok(Some(piece)) if !is_alone && bytes_of(&piece).len() <= self.batch_bytes => {
                    batch.push(&piece);
                    Ok(())
                }
                // Not held twice: a large feature is worked on where it is, while nobody cuts.
                Ok(Some(piece)) => {
                    batch.work(worker, &mut done.bytes).and_then(|()| worker.work(&piece, &mut done.bytes))
                }
                Ok(None) => {
                    self.is_over.store(true, Ordering::Release);
                    break;
                }
                Err(error) => Err(self.work.unreadable(&error)),
            };
        }
        done.reached = Reached { offset: cutter.splitter.offset(), features: cutter.splitter.features() };
        if done.end.is_err() {
            self.is_over.store(true, Ordering::Release);
        }
        Some(turn)
    }

    /// All of the result; `extent` is that of the first thread.
    fn finish(self, extent: Extent) -> Result<Worked, Error> {
        let cutter = self.cutter.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut output = self.output.into_inner().unwrap_or_else(PoisonError::into_inner);
        output.extent.join(extent);
        Ok(Worked {
            data: output.result.finish()?,
            is_sequence: cutter.splitter.is_sequence(),
            features: cutter.splitter.features(),
            extent: output.extent,
        })
    }
}

/// A batch that was cut, until it is put out.
struct Turn<'a, R: Read> {
    batches: &'a Batches<'a, R>,
    number: u64,
    /// `None` once it is on its way.
    done: Option<Done>,
}

impl<R: Read> Turn<'_, R> {
    /// Works on the rest of the batch, and puts it out or leaves it for whoever is before it; gives how far that is.
    fn finish(mut self, batch: &mut Batch, worker: &mut dyn Worker) -> Reached {
        if let Some(done) = &mut self.done {
            let worked = batch.work(worker, &mut done.bytes);
            if worked.is_err() {
                self.batches.is_over.store(true, Ordering::Release);
                done.end = worked;
            }
        }
        let Some(done) = self.done.take() else { return Reached::default() };
        let mut output = self.batches.output();
        while self.number - output.next >= EARLY_MAX && !output.is_lost {
            output = self.batches.changed.wait(output).unwrap_or_else(PoisonError::into_inner);
        }
        output.early.insert(self.number, done);
        while let Some(done) = output.take_next() {
            output.put(done);
        }
        if output.failure.is_some() {
            self.batches.is_over.store(true, Ordering::Release);
        }
        self.batches.changed.notify_all();
        batch.spare = output.spare.pop().unwrap_or_default();
        output.reached
    }
}

impl<R: Read> Drop for Turn<'_, R> {
    fn drop(&mut self) {
        if self.done.is_some() {
            // By a panic. Nobody waits for what will not come.
            self.batches.is_over.store(true, Ordering::Release);
            self.batches.output().is_lost = true;
            self.batches.changed.notify_all();
        }
    }
}

impl Output {
    fn take_next(&mut self) -> Option<Done> {
        let done = self.early.remove(&self.next)?;
        self.next += 1;
        Some(done)
    }

    /// What belongs behind a failure is put nowhere.
    fn put(&mut self, done: Done) {
        if self.failure.is_none() {
            let written = self.result.write(&done.bytes);
            self.failure = written.and(done.end).err();
            self.reached = done.reached;
        }
        let mut bytes = done.bytes;
        // What a giant has left behind is not kept.
        if bytes.capacity() <= SPARE_BYTES_MAX {
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}

/// Pieces of a document that are next to each other; keeps its memory from one batch to the next.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    pieces: Vec<Cut>,
    /// For what becomes of it.
    spare: Vec<u8>,
}

/// A piece of a batch, and where its bytes are.
struct Cut {
    range: Range<usize>,
    /// Number, offset and place; `None` between features.
    feature: Option<(u64, u64, Place)>,
}

impl Batch {
    fn push(&mut self, piece: &Piece<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes_of(piece));
        let feature = match piece {
            Piece::Between(_) => None,
            Piece::Feature(feature) => Some((feature.number, feature.offset, feature.place)),
        };
        self.pieces.push(Cut { range: start..self.bytes.len(), feature });
    }

    /// Works on all pieces, and is empty afterwards.
    fn work(&mut self, worker: &mut dyn Worker, out: &mut Vec<u8>) -> Result<(), Error> {
        let worked = self.pieces.iter().try_for_each(|Cut { range, feature }| {
            let bytes = &self.bytes[range.clone()];
            let piece = match *feature {
                Some((number, offset, place)) => Piece::Feature(Feature { bytes, number, offset, place }),
                None => Piece::Between(bytes),
            };
            worker.work(&piece, out)
        });
        self.bytes.clear();
        self.pieces.clear();
        worked
    }
}

fn bytes_of<'a>(piece: &Piece<'a>) -> &'a [u8] {
    match piece {
        Piece::Between(bytes) => bytes,
        Piece::Feature(feature) => feature.bytes,
    }
}

#[cfg(test)]
mod tests;
