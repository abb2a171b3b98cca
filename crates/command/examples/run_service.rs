//! Runs a service file by hand, the way a server or agent does it:
//!
//!     cargo run -p anabranch-command --example run_service -- my-service.toml interval=10 dem=@dem.tif
//!
//! Outputs are left in a folder whose name is printed. Ctrl-C kills this program; nothing of the run survives it.

#![expect(clippy::print_stdout, reason = "a command line tool")]

use anabranch_command::{
    CommandProcess, SLURM, SUPERVISE, Settings, Supervisor, load_file, slurm_main, supervise_main,
};
use anabranch_model::bind::{BoundRequest, bind};
use anabranch_model::{
    BoxFuture, Data, Error, ExecuteRequest, Execution, ExecutionMode, FormatHint, InputData, InputItem,
    JobId, LogLine, OutputSink, Process, ResponseForm, TextForm, Value,
};
use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if std::env::args_os().nth(1).is_some_and(|first| first == SUPERVISE) {
        return supervise_main(arguments.by_ref().skip(1));
    }
    if std::env::args_os().nth(1).is_some_and(|first| first == SLURM) {
        return slurm_main(arguments.skip(1));
    }
    let arguments: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(&arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<(), Box<dyn StdError>> {
    let [file, values @ ..] = arguments else {
        return Err("usage: run_service FILE [NAME=VALUE|NAME=@FILE …]".into());
    };
    let service = load_file(Path::new(file))?;
    let request = ExecuteRequest {
        process: service.description.id.clone(),
        inputs: values.iter().map(|value| input(value)).collect::<Result<_, _>>()?,
        outputs: Vec::new(),
        mode: ExecutionMode::Auto,
        response: ResponseForm::Raw,
        lineage: false,
        subscriber: None,
    };
    let bound: BoundRequest = bind(&service.description, &request)?;
    let outputs = bound.outputs.clone();
    let inputs = bound.into_inputs().ok_or("references can't be read here")?;
    let job = JobId::random();
    let scratch = std::env::temp_dir().join(format!("anabranch-run-{job}"));
    std::fs::create_dir_all(&scratch)?;
    eprintln!("run folder: {}", scratch.display());
    let sink = Arc::new(Printer { scratch });
    let process = Arc::new(CommandProcess::new(
        service,
        Settings { supervisor: Supervisor::this_program(), groups: None },
    ));
    process
        .execute(Execution {
            job,
            attempt: 1,
            part: None,
            resume: false,
            written: 0,
            feed: None,
            arriving: None,
            inputs,
            outputs,
            sink,
        })
        .await?;
    Ok(())
}

fn input(argument: &str) -> Result<InputItem, Box<dyn StdError>> {
    let (id, value) = argument.split_once('=').ok_or("inputs are NAME=VALUE or NAME=@FILE")?;
    let data = match value.strip_prefix('@') {
        Some(path) => InputData::Bytes(Data::file(std::path::absolute(path)?)?),
        None => InputData::Text { text: value.into(), form: TextForm::Untyped },
    };
    Ok(InputItem { id: id.into(), data, format: FormatHint::default(), data_type: None, uom: None })
}

/// Prints what a run pushes.
struct Printer {
    scratch: PathBuf,
}

impl OutputSink for Printer {
    fn started(&self, _on: Option<&str>) {
        eprintln!("started");
    }

    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        match chunk {
            Value::Literal(literal) => println!("{output} = {}", literal.text),
            Value::BoundingBox(area) => println!("{output} = {:?} to {:?}", area.lower, area.upper),
            Value::Complex(value) => {
                let place = value.data.path().map_or_else(String::new, |path| path.display().to_string());
                println!("{output}: {} bytes of {} {place}", value.data.len(), value.format.media_type);
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn progress(&self, percent: f32, message: Option<&str>) {
        eprintln!("{percent} % {}", message.unwrap_or_default());
    }

    fn log(&self, line: LogLine) {
        eprintln!("{:?}: {}", line.source, line.text);
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn scratch(&self) -> &Path {
        &self.scratch
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
