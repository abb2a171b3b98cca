//! Every limit of the engine: what is counted, in which unit, and why the default is what it is.

use serde::Deserialize;

/// The `[limits]` of jobs. Every field has a default; unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most jobs that wait for a run slot. Default 10 000: a few KiB each; more is a denial of service, or a
    /// queue whose end nobody will live to see.
    pub jobs_queued_max: usize,
    /// Most runs under way. Default 1024: most wait for an agent or a disk; CPU work is bounded by `cpu_threads`.
    pub parallel_runs_max: usize,
    /// Most runs of one process under way. Default 512, half of all: runs that wait for an agent hold their slots, and the
    /// other processes must not wait with them.
    pub process_runs_max: usize,
    /// Most attempts of a job whose run was lost. Default 3: an agent may die twice by chance, three times hardly.
    pub attempts_max: u32,
    /// Longest work of a run, seconds. Default 7 days: a run that nobody ends would hold its slot for ever.
    pub run_s_max: u64,
    /// Longest wait of a job for the begin of its work, seconds. Default 7 days: nobody will want the results by then.
    pub queue_s_max: u64,
    /// Most processor time of a run, seconds, where it can be measured. Default none.
    pub cpu_s_max: u64,
    /// Most bytes of the inputs of one job, references among them. Default none: front ends and `egress` have limits of their own.
    pub input_bytes_max: u64,
    /// New jobs are refused where less would stay free on the disk of the data folder, bytes. Default 1 GiB: what runs already
    /// needs room to end.
    pub free_bytes_min: u64,
    /// The same as percents of the disk. Default 0.
    pub free_percent_min: u64,
    /// Running jobs fail that would leave less free, bytes. Default 256 MiB: for the database, its log, and what programs write
    /// beside us.
    pub free_bytes_stop: u64,
    /// Longest wait for a cancelled run to end before the log says so, milliseconds. The job keeps being shown as
    /// dismissing for as long as its work goes on. Default 30 s: executables get 10 s between TERM and KILL.
    pub dismiss_ms_max: u64,
    /// Longest wait after a restart for a process to be published again, milliseconds. Default 60 s: agents
    /// reconnect within 30.
    pub reattach_ms_max: u64,
    /// How long finished jobs are kept with their results, seconds, where no [`crate::Quota`] says otherwise. Default 24 h.
    pub results_keep_s: u64,
    /// Most finished jobs kept; those go first that would expire first. Default 1 000 000: about 1 GB of rows.
    pub finished_jobs_max: u64,
    /// How long it is remembered why a job was removed, seconds. Default 30 days: about as long as links to results live in mails.
    pub tombstones_keep_s: u64,
    /// Most removed jobs that are remembered; the oldest go first. Default 1 000 000: about 60 MB.
    pub tombstones_max: u64,
    /// How often finished jobs are looked through for expired ones, seconds. Default 60: cheap by index, and an
    /// announced expiry is met to the minute.
    pub sweep_s: u64,
    /// Largest input value kept in memory and in the job's row, bytes; larger ones are files. Default 64 KiB.
    pub inline_input_bytes_max: u64,
    /// Largest chunk of an output kept in the database, bytes; larger ones are files. Default 16 KiB: up to there
    /// a row is quicker than a file.
    pub inline_chunk_bytes_max: u64,
    /// Most bytes of chunks of one job kept in the database; what comes after is written to files however small.
    /// Default 64 KiB: this much of each live job is held in memory.
    pub inline_job_bytes_max: u64,
    /// Most bytes all outputs of one job may have. Default 16 GiB: a country's mosaic passes, a disk doesn't fill.
    pub output_bytes_max: u64,
    /// Most bytes that converting the inputs and outputs of one run may make together. Default 32 GiB: its inputs, and outputs of
    /// `output_bytes_max`. A table of a few bytes a row may become one of kilobytes a row.
    pub converted_bytes_max: u64,
    /// Most chunks of one job. Default 1 000 000: entries of live jobs are held in memory, 200 bytes each.
    pub chunks_max: u64,
    /// Most bytes of a job's log; after that one line says that it was cut. Default 1 MiB: 10 000 lines.
    pub log_bytes_max: u64,
    /// Most references of one job fetched at once. Default 4: fair to whoever serves them.
    pub references_parallel_max: usize,
    /// Shortest time between two writes of a job's progress, milliseconds. Default 200: five a second for the
    /// disk, while watchers see each.
    pub progress_write_ms_min: u64,
    /// Most bytes of finished jobs kept in memory, so that answers right after the end touch no disk. Default 32 MiB.
    pub cache_bytes_max: u64,
    /// Readers of the database at once. Default 4: each is a connection with a cache of 2 MB.
    pub readers_max: usize,
    /// Most jobs with callbacks still due; further requests that name a subscriber are refused as long. Default 10 000: some
    /// hundred bytes each, and receivers that are down must not fill the memory.
    pub callback_jobs_max: usize,
    /// Most callbacks under way at once. Default 16: one that stalls holds a place for `callback_ms_max`, and each holds its
    /// body in memory.
    pub callbacks_parallel_max: usize,
    /// Longest attempt to deliver a callback, milliseconds. Default 10 s: a receiver takes a note, it doesn't compute.
    pub callback_ms_max: u64,
    /// Most attempts for each callback between two starts of the server. Default 20: with the pauses below about nine hours,
    /// a receiver's bad night.
    pub callback_attempts_max: u32,
    /// Pause after the first attempt that failed, milliseconds; it doubles each time. Default 1 s.
    pub callback_pause_ms_min: u64,
    /// Longest pause, also where the receiver asks for a longer one, milliseconds. Default 1 h.
    pub callback_pause_ms_max: u64,
    /// How long after its state a callback is still tried, restarts included, seconds. Default 24 h, as long as results
    /// are kept.
    pub callback_keep_s: u64,
    /// Threads of the CPU pool; 0 takes one for each core. Default 0.
    pub cpu_threads: usize,
    /// Stack of each CPU thread, bytes. Default 8 MiB, as main threads have: algorithms may recurse over deep data.
    pub cpu_stack_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            jobs_queued_max: 10_000,
            parallel_runs_max: 1024,
            process_runs_max: 512,
            attempts_max: 3,
            run_s_max: 7 * 24 * 3600,
            queue_s_max: 7 * 24 * 3600,
            cpu_s_max: u64::MAX,
            input_bytes_max: u64::MAX,
            free_bytes_min: 1 << 30,
            free_percent_min: 0,
            free_bytes_stop: 256 << 20,
            dismiss_ms_max: 30_000,
            reattach_ms_max: 60_000,
            results_keep_s: 24 * 3600,
            finished_jobs_max: 1_000_000,
            tombstones_keep_s: 30 * 24 * 3600,
            tombstones_max: 1_000_000,
            sweep_s: 60,
            inline_input_bytes_max: 64 << 10,
            inline_chunk_bytes_max: 16 << 10,
            inline_job_bytes_max: 64 << 10,
            output_bytes_max: 16 << 30,
            converted_bytes_max: 32 << 30,
            chunks_max: 1_000_000,
            log_bytes_max: 1 << 20,
            references_parallel_max: 4,
            progress_write_ms_min: 200,
            cache_bytes_max: 32 << 20,
            readers_max: 4,
            callback_jobs_max: 10_000,
            callbacks_parallel_max: 16,
            callback_ms_max: 10_000,
            callback_attempts_max: 20,
            callback_pause_ms_min: 1000,
            callback_pause_ms_max: 3_600_000,
            callback_keep_s: 24 * 3600,
            cpu_threads: 0,
            cpu_stack_bytes: 8 << 20,
        }
    }
}
