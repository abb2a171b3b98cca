//! Runs on a cluster, by Slurm's own commands: `sbatch`, `scontrol`, `squeue`, `sacct` and `scancel`.
//!
//! A run is supervised as any other. What the supervisor starts is no executable but a driver ([`slurm_main`]), which
//! submits the executable as a batch job, passes on what the job writes, says where it stands in the queue, cancels it when it is asked to
//! end, and ends with it. So whatever ends a run ends the job, the death of this program included. The run's folder has to be one that the
//! cluster's nodes share.

mod driver;
mod state;

pub use driver::slurm_main;

use crate::service::{Limits, LineMeaning, LineRule, Service, Slurm, Stream};
use anabranch_model::Error;
use regex::Regex;
use state::End;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

/// First argument that makes a program of ours the driver of a Slurm job.
pub const SLURM: &str = "__slurm";

/// How long a cancelled job may take to end: Slurm waits 30 s itself between the polite signal and the deadly one.
pub(crate) const CANCEL_MAX: Duration = Duration::from_secs(120);

/// Begins what the driver says.
pub(crate) const MARK: &str = "slurm: ";

/// What the driver says of a job that has begun, or had when it ended.
const RUNS: &str = "runs";
const RAN: &str = "ran";

/// Files of a job in the run's own folders, beside that of the executable.
const SCRIPT: &str = "slurm.sh";
const STDOUT: &str = "slurm.out";
const STDERR: &str = "slurm.err";
const END: &str = "slurm.end";

/// Options of `sbatch` that are ours to set.
const OURS: [&str; 13] = [
    "array",
    "chdir",
    "error",
    "export",
    "input",
    "job-name",
    "no-requeue",
    "open-mode",
    "output",
    "parsable",
    "requeue",
    "time",
    "wrap",
];

/// A rule that an option of a service file breaks.
pub(crate) fn check_option(option: &str) -> Result<(), String> {
    let Some(name) = option.strip_prefix("--") else {
        return Err(format!(
            "options must hold long options of sbatch, as \"--account=hydro\", not {option:?}"
        ));
    };
    let name = name.split('=').next().unwrap_or_default();
    if OURS.contains(&name) {
        return Err(format!("options may not hold --{name}, which is set here"));
    }
    Ok(())
}

/// What the driver says, told to clients: the work begins when the job does, and waits until then.
pub(crate) fn line_rules() -> Vec<LineRule> {
    let rule = |said: &str, meaning| {
        let pattern = Regex::new(&format!("^{MARK}({said})$")).ok()?;
        Some(LineRule { stream: Some(Stream::Stderr), pattern, meaning })
    };
    let begun = rule(&format!(r"job \S+ (?:{RUNS}|{RAN})(?: .*)?"), LineMeaning::Begun);
    [begun, rule(".+", LineMeaning::Waiting)].into_iter().flatten().collect()
}

/// What a job runs.
pub(crate) struct Job<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [OsString],
    /// All of it: nothing else is inherited.
    pub(crate) environment: &'a [(OsString, OsString)],
    /// Its working folder.
    pub(crate) folder: &'a Path,
}

/// Arguments that make this program the driver of an executable's job; writes the job's script.
///
/// # Errors
/// Where the script can't be written.
pub(crate) fn arguments(
    slurm: &Slurm,
    service: &Service,
    scratch: &Path,
    job: &Job<'_>,
) -> io::Result<Vec<OsString>> {
    std::fs::write(scratch.join(SCRIPT), script(&service.limits, job))?;
    // What an attempt before this one left.
    for file in [STDOUT, STDERR, END] {
        match std::fs::remove_file(scratch.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let limit = service.command.time_limit;
    let mut driver: Vec<OsString> = vec![SLURM.into(), scratch.into()];
    driver.push(limit.map_or_else(|| "-".into(), |limit| limit.as_secs().to_string().into()));
    let with = |option: &str, value: &OsStr| {
        let mut text = OsString::from(format!("--{option}="));
        text.push(value);
        text
    };
    let text = |option: &str, value: String| with(option, OsStr::new(&value));
    driver.push(text("job-name", format!("anabranch {}", service.description.id)));
    driver.push(with("chdir", job.folder.as_os_str()));
    driver.push(with("output", scratch.join(STDOUT).as_os_str()));
    driver.push(with("error", scratch.join(STDERR).as_os_str()));
    driver.extend(["--export=NONE", "--no-requeue", "--open-mode=append"].map(OsString::from));
    driver.extend(slurm.partition.as_ref().map(|partition| text("partition", partition.clone())));
    driver.extend(slurm.cpus.map(|cpus| text("cpus-per-task", cpus.to_string())));
    driver.extend(slurm.memory_bytes.map(|bytes| text("mem", format!("{}K", bytes.div_ceil(1024)))));
    // Slurm counts in minutes; the driver counts the seconds.
    driver.extend(limit.map(|limit| text("time", limit.as_secs().div_ceil(60).to_string())));
    driver.extend(slurm.options.iter().map(OsString::from));
    driver.push(scratch.join(SCRIPT).into());
    Ok(driver)
}

/// A batch script that becomes the executable, with this environment and no other.
fn script(limits: &Limits, job: &Job<'_>) -> Vec<u8> {
    let mut script = b"#!/bin/sh\n".to_vec();
    let kib = |bytes: Option<u64>, unit: u64| bytes.map(|bytes| bytes.div_ceil(unit));
    for (letter, value) in [
        ('v', kib(limits.memory_bytes, 1024)),
        ('f', kib(limits.file_bytes, 512)),
        ('n', limits.open_files),
        ('t', limits.cpu_seconds),
        ('p', limits.processes),
    ] {
        if let Some(value) = value {
            script.extend_from_slice(format!("ulimit -{letter} {value} || exit 126\n").as_bytes());
        }
    }
    script.extend_from_slice(b"exec env -i");
    for (name, value) in job.environment {
        let mut assignment = name.clone();
        assignment.push("=");
        assignment.push(value);
        quote(&assignment, &mut script);
    }
    quote(job.program.as_os_str(), &mut script);
    job.arguments.iter().for_each(|argument| quote(argument, &mut script));
    script.push(b'\n');
    script
}

/// One word of a shell, whatever it holds.
fn quote(word: &OsStr, script: &mut Vec<u8>) {
    script.extend_from_slice(b" '");
    for byte in word.as_bytes() {
        match byte {
            b'\'' => script.extend_from_slice(b"'\\''"),
            byte => script.push(*byte),
        }
    }
    script.push(b'\'');
}

/// Variables by which Slurm's commands find their cluster: those of the service file, else those of this program. And a path to find
/// the commands by.
pub(crate) fn driver_environment(environment: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    const FIND_THE_CLUSTER: [&str; 3] = ["SLURM_CONF", "SLURM_CLUSTERS", "MUNGE_SOCKET"];
    let inherited =
        FIND_THE_CLUSTER.into_iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
    let own = environment
        .iter()
        .filter(|(name, _)| FIND_THE_CLUSTER.into_iter().chain(["PATH", "LANG"]).any(|known| name == known));
    inherited.chain(own.cloned()).collect()
}

/// How a job ended that did not end by an exit code; `Ok` where it did, or where nobody knows.
///
/// # Errors
/// What became of it.
pub(crate) fn judge(scratch: &Path, seconds_max: u64) -> Result<(), Error> {
    match std::fs::read_to_string(scratch.join(END)).ok().as_deref().and_then(End::parse) {
        None | Some(End::Code(_) | End::Cancelled) => Ok(()),
        Some(End::TimeLimit) => Err(Error::TimedOut { seconds_max }),
        Some(End::Refused(reason)) => Err(Error::process_failed(format!("Slurm took no job: {reason}"))),
        Some(End::Signal(number)) => {
            Err(Error::process_failed(format!("the job was ended by signal {number}")))
        }
        Some(End::Failed(reason)) => Err(Error::process_failed(format!("Slurm ended the job: {reason}"))),
        Some(End::Lost(reason)) => Err(Error::AgentLost { reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_quote_whatever_there_is() {
        let environment = [("A".into(), "it's; $(id)".into())];
        let limits = Limits { memory_bytes: Some(1 << 30), open_files: Some(64), ..Limits::default() };
        let job = Job {
            program: Path::new("/a b/c"),
            arguments: &["-x".into(), "'\n".into()],
            environment: &environment,
            folder: Path::new("/"),
        };
        let script = script(&limits, &job);
        let expected = "#!/bin/sh\nulimit -v 1048576 || exit 126\nulimit -n 64 || exit 126\n\
                        exec env -i 'A=it'\\''s; $(id)' '/a b/c' '-x' ''\\''\n'\n";
        assert_eq!(String::from_utf8(script).unwrap(), expected);
    }

    #[test]
    fn a_job_that_is_queued_has_not_begun() {
        let meaning = |line: &str| {
            let rules = line_rules();
            rules.into_iter().find(|rule| rule.pattern.is_match(line)).map(|rule| rule.meaning)
        };
        for (line, expected) in [
            ("slurm: job 7 is queued, position 1 (Resources)", Some(LineMeaning::Waiting)),
            ("slurm: job 7: nothing is known just now (it runs away)", Some(LineMeaning::Waiting)),
            ("slurm: job 7 runs on n1", Some(LineMeaning::Begun)),
            ("slurm: job 7 ran", Some(LineMeaning::Begun)),
            ("job 7 runs on n1", None),
        ] {
            assert_eq!(meaning(line), expected, "{line}");
        }
    }

    #[test]
    fn options_that_are_ours_are_refused() {
        assert_eq!(check_option("--gres=gpu:1"), Ok(()));
        assert!(check_option("--output=/etc/passwd").unwrap_err().contains("--output"));
        assert!(check_option("-n 4").unwrap_err().contains("\"-n 4\""));
    }
}
