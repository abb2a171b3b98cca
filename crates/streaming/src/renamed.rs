//! A process under other names: those of its identifier, inputs and outputs, and those of its formats.

use anabranch_formats::meant;
use anabranch_model::{
    Arriving, BoxFuture, ComplexValue, Error, Execution, Format, FormatHint, Inputs, OutputSink, Prepared,
    Process, ProcessAround, ProcessDescription, SinkAround, Value,
};
use std::sync::Arc;

/// A process that clients see as `description`, and that is `inner`.
pub(crate) struct Renamed {
    description: Arc<ProcessDescription>,
    inner: Arc<dyn Process>,
    names: Arc<Names>,
}

/// What clients call things, and what the process calls them. What is in neither list is called the same.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) inputs: Vec<(String, String)>,
    pub(crate) outputs: Vec<(String, String)>,
}

fn inner<'a>(names: &'a [(String, String)], outer: &'a str) -> &'a str {
    names.iter().find(|(name, _)| name == outer).map_or(outer, |(_, inner)| inner)
}

fn outer<'a>(names: &'a [(String, String)], inner: &'a str) -> &'a str {
    names.iter().find(|(_, name)| name == inner).map_or(inner, |(outer, _)| outer)
}

impl Renamed {
    pub(crate) fn new(description: ProcessDescription, inner: Arc<dyn Process>, names: Names) -> Self {
        Self { description: Arc::new(description), inner, names: Arc::new(names) }
    }
}

impl ProcessAround for Renamed {
    fn inner(&self) -> &Arc<dyn Process> {
        &self.inner
    }

    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.description)
    }

    /// Under these names nothing is run in parts: whoever streams has the process itself.
    fn prepare(&self, shared: Inputs, _sink: Arc<dyn OutputSink>) -> BoxFuture<'_, Result<Prepared, Error>> {
        Box::pin(std::future::ready(Ok(Prepared { process: None, shared })))
    }

    fn reads_arriving(&self) -> Option<String> {
        self.inner.reads_arriving().map(|input| outer(&self.names.inputs, &input).to_owned())
    }

    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        let names = Arc::clone(&self.names);
        let inputs = execution.inputs.iter().map(|(id, values)| {
            (inner(&names.inputs, id).to_owned(), values.iter().cloned().map(named_clearly).collect())
        });
        let inputs = Inputs::new(inputs.collect());
        let arriving = execution.arriving.map(|arriving| Arriving {
            input: inner(&names.inputs, &arriving.input).to_owned(),
            format: meant(&arriving.format),
            data: arriving.data,
        });
        let mut asked = Vec::new();
        let mut outputs = execution.outputs;
        for output in &mut outputs {
            let FormatHint { media_type, encoding, schema } = output.format.clone();
            output.id = inner(&names.outputs, &output.id).to_owned();
            let Some(media_type) = media_type else { continue };
            let format = Format { media_type, encoding, schema };
            // The names of a playlist's chunks are a matter of whoever makes them.
            if !format.is_playlist() {
                let Format { media_type, encoding, schema } = meant(&format);
                output.format = FormatHint { media_type: Some(media_type), encoding, schema };
                asked.push((output.id.clone(), format));
            }
        }
        let sink = Arc::new(RenamedSink { names, asked, sink: execution.sink });
        Arc::clone(&self.inner).execute(Execution { inputs, arriving, outputs, sink, ..execution })
    }
}

/// A value whose format is called what it is.
fn named_clearly(value: Value) -> Value {
    match value {
        Value::Complex(value) if !value.format.is_playlist() => {
            Value::Complex(ComplexValue { format: meant(&value.format), ..value })
        }
        other => other,
    }
}

struct RenamedSink {
    names: Arc<Names>,
    /// What outputs were asked for as, by the process's own names.
    asked: Vec<(String, Format)>,
    sink: Arc<dyn OutputSink>,
}

impl SinkAround for RenamedSink {
    fn inner(&self) -> &dyn OutputSink {
        self.sink.as_ref()
    }

    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        let asked = self.asked.iter().find(|(id, _)| id == output).map(|(_, format)| format.clone());
        let chunk = match (chunk, asked) {
            (Value::Complex(value), Some(format)) => Value::Complex(ComplexValue { format, ..value }),
            (chunk, _) => chunk,
        };
        self.sink.write(outer(&self.names.outputs, output), chunk)
    }
}
