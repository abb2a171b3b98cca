//! CPU work: algorithms as processes, run on a pool of threads of their own.

use crate::slots::FairSlots;
use anabranch_model::{
    Algorithm, AlgorithmSink, BoxFuture, Error, Execution, HelperSink, Inputs, LogLine, LogSource,
    OutputSink, Prepared, Process, ProcessDescription, Value,
};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Algorithms begun or about to begin for each CPU thread: one works, one is at hand when it ends. More would be taken
/// up by a thread that waits inside another algorithm's parallel loop, on top of that one's stack.
const RUNS_PER_THREAD: usize = 2;

/// The threads that compute. Never a tokio worker: those must stay free to answer.
pub(crate) struct CpuPool {
    threads: rayon::ThreadPool,
    /// Who waits here when full: the runs of algorithms, at most `parallel_runs_max` of them and the parts of their streams.
    slots: Arc<FairSlots>,
    /// Threads beside these that help with a run while one of these has nothing to do. They are none of these because who waits on one of these for
    /// its half takes up whatever run comes next, and is not back before that has ended.
    helpers: AtomicUsize,
    stack_bytes: usize,
}

/// The place of a thread that helps, given back when dropped.
struct Helping<'a>(&'a CpuPool);

impl Drop for Helping<'_> {
    fn drop(&mut self) {
        self.0.helpers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl CpuPool {
    pub(crate) fn new(threads: usize, stack_bytes: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .stack_size(stack_bytes)
            .thread_name(|n| format!("anabranch-cpu-{n}"))
            .build()?;
        let slots = FairSlots::new(threads.current_num_threads() * RUNS_PER_THREAD);
        Ok(Self { threads, slots, helpers: AtomicUsize::new(0), stack_bytes })
    }

    /// Does work on one of the threads, once there is a slot. All that the work holds is dropped before this returns.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        sink: Arc<dyn OutputSink>,
        work: impl FnOnce(&BlockingSink<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let slot = tokio::select! {
            biased;
            slot = self.slots.acquire(sink.owner().cloned(), sink.priority()) => slot,
            () = sink.cancelled() => return Err(Error::Dismissed),
        };
        let (end, ended) = oneshot::channel();
        let runtime = Handle::current();
        let pool = Arc::clone(self);
        self.threads.spawn(move || {
            let result = if sink.is_cancelled() {
                Err(Error::Dismissed)
            } else {
                let sink = sink.as_ref();
                let blocking = BlockingSink { sink, runtime, pool: &pool, meter: Meter::new(sink) };
                catch_unwind(AssertUnwindSafe(|| work(&blocking)))
                    .unwrap_or_else(|payload| Err(crate::run::panicked(payload.as_ref())))
            };
            drop((sink, slot, pool));
            // Nobody listens any more only where the whole runtime is gone.
            let _ = end.send(result);
        });
        ended.await.unwrap_or_else(|_lost| Err(Error::internal("a CPU thread lost its run")))
    }

    /// A place for a thread that helps, where a processor has nothing to do.
    fn helping(&self) -> Option<Helping<'_>> {
        self.helpers.fetch_add(1, Ordering::AcqRel);
        let helping = Helping(self);
        (!self.is_overfull()).then_some(helping)
    }

    /// There are more runs and helpers than processors.
    fn is_overfull(&self) -> bool {
        self.slots.taken() + self.helpers.load(Ordering::Acquire) > self.threads()
    }

    /// How many threads there are.
    pub(crate) fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }
}

/// An algorithm as a process.
pub(crate) struct CpuProcess {
    algorithm: Arc<dyn Algorithm>,
    pool: Arc<CpuPool>,
}

impl CpuProcess {
    pub(crate) fn new(algorithm: Arc<dyn Algorithm>, pool: Arc<CpuPool>) -> Self {
        Self { algorithm, pool }
    }
}

impl Process for CpuProcess {
    fn description(&self) -> Arc<ProcessDescription> {
        self.algorithm.description()
    }

    /// One for each thread, and one that is at hand when the next of them ends.
    fn runs_max(&self) -> Option<usize> {
        Some(self.pool.threads() + 1)
    }

    fn prepare(&self, shared: Inputs, sink: Arc<dyn OutputSink>) -> BoxFuture<'_, Result<Prepared, Error>> {
        Box::pin(async move {
            let algorithm = Arc::clone(&self.algorithm);
            let work = move |sink: &BlockingSink<'_>| {
                let prepared = algorithm.prepare(&shared, sink)?;
                Ok((prepared, shared))
            };
            let (prepared, shared) = self.pool.run(sink, work).await?;
            let pool = &self.pool;
            let process = prepared.map(|algorithm| Arc::new(Self::new(algorithm, Arc::clone(pool))) as _);
            Ok(Prepared { process, shared })
        })
    }

    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            let Execution { inputs, sink, .. } = execution;
            let algorithm = Arc::clone(&self.algorithm);
            let work = move |sink: &BlockingSink<'_>| {
                sink.sink.started(None);
                algorithm.run(&inputs, sink)
            };
            self.pool.run(sink, work).await
        })
    }
}

/// Processor time of a thread that works for a run.
struct Meter<'a> {
    sink: &'a dyn OutputSink,
    /// That of the thread when it was last told, where it is limited.
    told: Option<Cell<Duration>>,
}

impl<'a> Meter<'a> {
    /// Counts that of this thread, from now on.
    fn new(sink: &'a dyn OutputSink) -> Self {
        Self { sink, told: sink.cpu_s_max().map(|_limited| Cell::new(thread_time())) }
    }

    /// Tells how much has been used since it was last told.
    fn measure(&self) {
        if let Some(told) = &self.told {
            let now = thread_time();
            self.sink.used_cpu(now.saturating_sub(told.replace(now)));
        }
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        self.measure();
    }
}

/// Processor time that this thread has used.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// The sink for code that blocks.
struct BlockingSink<'a> {
    sink: &'a dyn OutputSink,
    runtime: Handle,
    pool: &'a CpuPool,
    /// What the threads of the pool do for the run in parallel loops is not seen.
    meter: Meter<'a>,
}

/// What a thread that helps is told.
struct Helper<'a> {
    sink: &'a dyn OutputSink,
    pool: &'a CpuPool,
    meter: Meter<'a>,
}

impl HelperSink for Helper<'_> {
    fn is_cancelled(&self) -> bool {
        self.meter.measure();
        self.sink.is_cancelled()
    }

    fn is_needed_elsewhere(&self) -> bool {
        self.pool.is_overfull()
    }
}

impl AlgorithmSink for BlockingSink<'_> {
    fn write(&self, output: &str, chunk: Value) -> Result<(), Error> {
        // This thread belongs to the CPU pool, never to the runtime, so it may block on it.
        self.runtime.block_on(self.sink.write(output, chunk))
    }

    fn progress(&self, percent: f32, message: Option<&str>) {
        self.sink.progress(percent, message);
    }

    fn log(&self, text: &str) {
        self.sink.log(LogLine { source: LogSource::System, text: text.to_owned() });
    }

    fn is_cancelled(&self) -> bool {
        self.meter.measure();
        self.sink.is_cancelled()
    }

    fn scratch(&self) -> &Path {
        self.sink.scratch()
    }

    fn share(
        &self,
        work: &mut dyn FnMut() -> Result<(), Error>,
        help: &(dyn Fn(&dyn HelperSink) + Sync),
    ) -> Result<(), Error> {
        let Some(helping) = self.pool.helping() else { return work() };
        let (sink, pool) = (self.sink, self.pool);
        thread::scope(|scope| {
            let helper = move || {
                let _until_then = helping;
                help(&Helper { sink, pool, meter: Meter::new(sink) });
            };
            let helper = thread::Builder::new()
                .name("anabranch-help".into())
                .stack_size(pool.stack_bytes)
                .spawn_scoped(scope, helper);
            let worked = work();
            // Where there is no thread to be had, all was done here.
            match helper.map(thread::ScopedJoinHandle::join) {
                Ok(Err(payload)) => resume_unwind(payload),
                Ok(Ok(())) | Err(_) => worked,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch_model::Priority;
    use std::sync::Mutex;

    /// A run of some priority that says nothing.
    struct Run(Priority);

    impl OutputSink for Run {
        fn started(&self, _: Option<&str>) {}

        fn write(&self, _: &str, _: Value) -> BoxFuture<'_, Result<(), Error>> {
            Box::pin(async { Ok(()) })
        }

        fn progress(&self, _: f32, _: Option<&str>) {}

        fn log(&self, _: LogLine) {}

        fn cancelled(&self) -> BoxFuture<'_, ()> {
            Box::pin(std::future::pending())
        }

        fn is_cancelled(&self) -> bool {
            false
        }

        fn scratch(&self) -> &Path {
            Path::new("")
        }

        fn priority(&self) -> Priority {
            self.0
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'_, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    #[tokio::test]
    async fn runs_wait_for_threads_by_their_priority() {
        let pool = Arc::new(CpuPool::new(1, 1 << 20).unwrap());
        let first = pool.slots.acquire(None, Priority::Normal).await;
        let _second = pool.slots.acquire(None, Priority::Normal).await;
        let begun = Arc::new(Mutex::new(Vec::new()));
        let run = |priority| {
            let begun = Arc::clone(&begun);
            pool.run(Arc::new(Run(priority)), move |_| {
                begun.lock().unwrap().push(priority);
                Ok(())
            })
        };
        // The one slot that is free goes from hand to hand once all three wait for it.
        let release = async move { drop(first) };
        let (low, normal, high, ()) =
            tokio::join!(biased; run(Priority::Low), run(Priority::Normal), run(Priority::High), release);
        assert!(low.is_ok() && normal.is_ok() && high.is_ok());
        assert_eq!(*begun.lock().unwrap(), [Priority::High, Priority::Normal, Priority::Low]);
    }
}
