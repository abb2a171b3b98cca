//! Simplifies a GeoJSON file and says how fast: `simplify_file IN OUT TOLERANCE`, or `simplify_file --generate LINES VERTICES OUT`
//! for a file to try it with.

use anabranch_algorithms::SimplifyDouglasPeucker;
use anabranch_model::{
    Algorithm, AlgorithmSink, ComplexValue, Data, Error, Format, Inputs, LiteralType, LiteralValue, Value,
};
use std::error::Error as AnyError;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Keeps its scratch folder beside the output, and moves the result to it.
struct FileSink {
    scratch: PathBuf,
    output: PathBuf,
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
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--generate", lines, vertices, output] => {
            generate(lines.parse()?, vertices.parse()?, Path::new(output))
        }
        [input, output, tolerance] => simplify(input, output, tolerance),
        _ => Err("arguments: IN OUT TOLERANCE, or --generate LINES VERTICES OUT".into()),
    }
}

fn simplify(input: &str, output: &str, tolerance: &str) -> Result<(), Box<dyn AnyError>> {
    let scratch = PathBuf::from(format!("{output}.scratch"));
    fs::create_dir(&scratch)?;
    let sink = FileSink { scratch, output: output.into() };
    let data = ComplexValue { data: Data::file(input)?, format: Format::new(Format::GEOJSON) };
    let read_bytes = data.data.len();
    let inputs = Inputs::new(vec![
        ("data".into(), vec![Value::Complex(data)]),
        ("tolerance".into(), vec![Value::Literal(LiteralValue::new(LiteralType::Double, tolerance))]),
    ]);
    let began = Instant::now();
    let outcome = SimplifyDouglasPeucker::new().run(&inputs, &sink);
    let seconds = began.elapsed().as_secs_f64();
    fs::remove_dir_all(&sink.scratch)?;
    outcome?;
    let megabytes = read_bytes as f64 / 1e6;
    let written = fs::metadata(output)?.len() as f64 / 1e6;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{megabytes:.1} MB -> {written:.1} MB in {seconds:.3} s: {:.0} MB/s", megabytes / seconds)?;
    Ok(())
}

/// Random walks with three attributes each, as a FeatureCollection with one feature per line.
fn generate(lines: u64, vertices: u64, output: &Path) -> Result<(), Box<dyn AnyError>> {
    let mut out = BufWriter::new(File::create(output)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    write!(out, "{{\"type\":\"FeatureCollection\",\"features\":[")?;
    for line in 0..lines {
        let comma = if line == 0 { "" } else { "," };
        write!(
            out,
            "{comma}\n{{\"type\":\"Feature\",\"id\":{line},\"properties\":{{\"name\":\"way {line}\",\"kind\":\"residential\",\
             \"width\":{:.2}}},\"geometry\":{{\"type\":\"LineString\",\"coordinates\":[",
            3.0 + random()
        )?;
        let (mut x, mut y) = (360.0 * random() - 180.0, 170.0 * random() - 85.0);
        for vertex in 0..vertices {
            let comma = if vertex == 0 { "" } else { "," };
            write!(out, "{comma}[{x:.8},{y:.8}]")?;
            x += 0.001 * (random() - 0.3);
            y += 0.001 * (random() - 0.5);
        }
        write!(out, "]}}}}")?;
    }
    write!(out, "\n]}}\n")?;
    out.flush()?;
    Ok(())
}
