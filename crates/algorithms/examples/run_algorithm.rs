//! Runs a built-in on files, without a server: `run_algorithm PROCESS OUTPUT NAME=VALUE NAME=@FILE …`, and says how long it took.
//!
//! `run_algorithm PROCESS OUTPUT --chunks NAME FOLDER NAME=…` runs it for each file of a folder, in the order of names, as streams do: what
//! the runs have in common is prepared once. The outputs are `OUTPUT.0`, `OUTPUT.1`, ….

use anabranch_model::{
    AlgorithmSink, ComplexValue, Data, DataDescription, Error, Inputs, LiteralType, LiteralValue,
    ProcessDescription, Value,
};
use std::error::Error as AnyError;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Keeps its scratch folder beside the output, and moves the result to it.
struct FileSink {
    scratch: PathBuf,
    output: PathBuf,
}

impl FileSink {
    fn at(output: &str) -> Result<Self, Box<dyn AnyError>> {
        let scratch = PathBuf::from(format!("{output}.scratch"));
        fs::create_dir(&scratch)?;
        Ok(Self { scratch, output: output.into() })
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        let _left_where_it_fails = fs::remove_dir_all(&self.scratch);
    }
}

impl AlgorithmSink for FileSink {
    fn write(&self, _output: &str, chunk: Value) -> Result<(), Error> {
        let Value::Complex(ComplexValue { data, .. }) = chunk else { return Ok(()) };
        let stored = match data {
            Data::Bytes(bytes) => fs::write(&self.output, bytes),
            Data::File(file) => fs::rename(file.path, &self.output),
        };
        stored.map_err(Error::internal)
    }
    fn progress(&self, _percent: f32, _message: Option<&str>) {}
    fn log(&self, _text: &str) {}
    fn is_cancelled(&self) -> bool {
        false
    }
    fn scratch(&self) -> &Path {
        &self.scratch
    }
}

fn main() -> Result<(), Box<dyn AnyError>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [process, output, rest @ ..] = arguments.as_slice() else {
        return Err("arguments: PROCESS OUTPUT [--chunks NAME FOLDER] NAME=VALUE NAME=@FILE …".into());
    };
    let algorithms = anabranch_algorithms::all_algorithms();
    let algorithm = algorithms.into_iter().find(|algorithm| algorithm.description().id.as_str() == process);
    let algorithm = algorithm.ok_or_else(|| format!("no built-in that computes is called {process:?}"))?;
    let description = algorithm.description();
    let (chunked, rest) = match rest {
        [flag, name, folder, rest @ ..] if flag == "--chunks" => (Some((name, folder)), rest),
        rest => (None, rest),
    };
    let mut values = Vec::new();
    for argument in rest {
        let (name, value) =
            argument.split_once('=').ok_or_else(|| format!("{argument:?} is no NAME=VALUE"))?;
        values.push((name.to_owned(), vec![value_of(&description, name, value)?]));
    }
    let began = Instant::now();
    let Some((name, folder)) = chunked else {
        algorithm.run(&Inputs::new(values), &FileSink::at(output)?)?;
        return say(&[("seconds", began.elapsed().as_secs_f64())]);
    };
    let mut chunks =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    chunks.sort();
    let prepared =
        algorithm.prepare(&Inputs::new(values.clone()), &FileSink::at(output)?)?.unwrap_or(algorithm);
    let prepared_s = began.elapsed().as_secs_f64();
    for (number, chunk) in chunks.iter().enumerate() {
        let mut values = values.clone();
        let chunk = value_of(&description, name, &format!("@{}", chunk.display()))?;
        values.push((name.clone(), vec![chunk]));
        prepared.run(&Inputs::new(values), &FileSink::at(&format!("{output}.{number}"))?)?;
    }
    say(&[("seconds", began.elapsed().as_secs_f64()), ("prepared_s", prepared_s)])
}

fn value_of(description: &ProcessDescription, name: &str, text: &str) -> Result<Value, Box<dyn AnyError>> {
    let input = description.input(name).ok_or_else(|| format!("there is no input {name:?}"))?;
    match (&input.data, text.strip_prefix('@')) {
        (DataDescription::Complex(domain), Some(path)) => {
            let format = domain.formats.first().ok_or("an input without formats")?.clone();
            Ok(Value::Complex(ComplexValue::new(Data::file(path)?, format)))
        }
        _ => Ok(Value::Literal(LiteralValue::new(LiteralType::String, text))),
    }
}

/// One line of JSON.
fn say(numbers: &[(&str, f64)]) -> Result<(), Box<dyn AnyError>> {
    let numbers: Vec<_> = numbers.iter().map(|(name, value)| format!("\"{name}\": {value:.6}")).collect();
    writeln!(std::io::stdout().lock(), "{{{}}}", numbers.join(", "))?;
    Ok(())
}
