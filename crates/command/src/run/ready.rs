//! What a run needs before its executable starts: folders, input files, command line, environment.

use super::{blocking, program_name, working_folder};
use crate::arguments::Values;
use crate::folders::{self, Folders};
use crate::isolation;
use crate::prepare;
use crate::program;
use crate::service::{OutputSource, PASS_ALL, Service};
use crate::slurm::{self, Job};
use anabranch_model::{Error, Execution};
use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// All that is known before the executable starts.
pub(super) struct Ready {
    pub(super) folders: Folders,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) stdout: Option<File>,
    pub(super) execution: Execution,
}

/// `driver` is the program that can drive jobs of a cluster: this one.
pub(super) async fn make(
    service: Arc<Service>,
    execution: Execution,
    run_id: String,
    driver: PathBuf,
) -> Result<Ready, Error> {
    blocking(move || {
        let internal =
            |error: std::io::Error| Error::internal(format!("the run's folder can't be made: {error}"));
        let mut program = find_program(&service)?;
        let scratch = std::path::absolute(execution.sink.scratch()).map_err(internal)?;
        let folders = folders::make(&scratch, &service).map_err(internal)?;
        let files = folders::write_inputs(&service, &execution.inputs, &folders)?;
        let values = Values {
            service: &service,
            inputs: &execution.inputs,
            files: &files,
            outputs: &execution.outputs,
            work: &folders.work,
            run_id: &run_id,
        };
        prepare::run(&values)?;
        let mut arguments = values.arguments()?;
        if let Some(isolation) = &service.limits.isolation {
            (program, arguments) = isolation::wrap(isolation, &service, &folders, &program, arguments)?;
        }
        let mut environment = environment(&service, &folders, values.environment()?);
        if let Some(slurm) = &service.command.slurm {
            let folder = working_folder(&service, &folders);
            let job = Job { program: &program, arguments: &arguments, environment: &environment, folder };
            arguments = slurm::arguments(slurm, &service, &scratch, &job).map_err(internal)?;
            program = driver;
            environment = slurm::driver_environment(&environment);
        }
        let to_file = service.outputs.iter().any(|rule| matches!(rule.source, OutputSource::Stdout));
        let stdout = to_file.then(|| File::create(&folders.stdout)).transpose().map_err(internal)?;
        Ok(Ready { folders, program, arguments, environment, stdout, execution })
    })
    .await?
}

fn find_program(service: &Service) -> Result<PathBuf, Error> {
    let program = &service.command.program;
    program::find(program, &service.folder).ok_or_else(|| Error::ProcessFailed {
        message: format!("executable '{}' does not exist on this machine", program_name(service)),
        detail: format!("{program}, from {}", service.folder.display()),
    })
}

/// The environment of the executable, whole: ours, what is passed on, what the service file sets; the last one wins.
fn environment(
    service: &Service,
    folders: &Folders,
    own: Vec<(OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), program::search_path()),
        ("HOME".into(), folders.home.clone().into()),
        ("TMPDIR".into(), folders.temporary.clone().into()),
        ("LANG".into(), "C.UTF-8".into()),
    ];
    for name in &service.command.pass_environment {
        if name == PASS_ALL {
            environment.extend(std::env::vars_os().filter(|(name, _)| is_passed(&name.to_string_lossy())));
        } else {
            environment.extend(std::env::var_os(name).map(|value| (name.into(), value)));
        }
    }
    environment.extend(own);
    environment
}

/// Whether [`PASS_ALL`] means a variable: not those that hold this program's secrets, and not those made for the run.
fn is_passed(name: &str) -> bool {
    !name.starts_with("ANABRANCH_") && !matches!(name, "PATH" | "HOME" | "TMPDIR")
}
