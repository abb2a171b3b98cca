//! Gives back what it is given: for trying a server out, for clients under development, and for the official test suites.
//!
//! Every input is optional, and every input but `pause` has its output: `xInput` comes back as `xOutput`, unchanged, in the
//! format in which it was given; members of a group come back in the group of that name. An input that is not given writes no output, so that a request that names no outputs gets
//! exactly what it sent. Values of `arrayInput` come back as one JSON array.
//!
//! What the official suites need of it, beyond one process with literal, complex and bounding box data:
//! * WPS 2.0 takes the *last* literal input of type `string` for its own: only `literalInput` is of that type, and any text will do.
//! * WPS 2.0 calls `org.n52.javaps.test.EchoProcess` with `literalInput` and `literalOutput` without asking what there is.
//! * OGC API - Processes needs an input of plain type string, and waits for one called `pause`, in seconds.

use crate::describe::{bounding_box, built_in, choice, complex, input, literal, output, range, words};
use anabranch_model::group::GROUP_SEPARATOR;
use anabranch_model::{
    BoxFuture, ComplexDomain, ComplexValue, Data, DataDescription, Error, Execution, Fault, FaultKind,
    Format, GroupDescription, InputDescription, Inputs, LiteralDomain, LiteralType, Occurs,
    OutputDescription, OutputSink, Process, ProcessDescription, ProcessId, Subject, Value,
};
use std::sync::Arc;
use std::time::Duration;

/// Longest pause, in seconds: enough to try every timeout, too short to hold a slot for ever.
const PAUSE_SECONDS_MAX: &str = "3600";

/// Steps in which a pause is slept, so that its progress can be watched.
const PAUSE_STEPS: u32 = 20;

/// Longest step of a pause: a client that polls sees it move.
const PAUSE_STEP_MAX: Duration = Duration::from_secs(1);

const PAUSE: &str = "pause";
const ARRAY_INPUT: &str = "arrayInput";
const ARRAY_OUTPUT: &str = "arrayOutput";

/// Largest `limitedInput`, in bytes: small, so that a client can try out what happens beyond.
const LIMITED_BYTES_MAX: u64 = 1 << 20;

/// A process that gives back its inputs.
pub struct Echo {
    description: Arc<ProcessDescription>,
}

/// Which inputs an [`Echo`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoInputs {
    /// One of every kind and type there is, and `pause`.
    EveryKind,
    /// `literalInput`, `complexInput` and `boundingBoxInput`.
    ThreeKinds,
}

impl Default for Echo {
    fn default() -> Self {
        Self::new()
    }
}

impl Echo {
    /// The process `echo`, with inputs of every kind.
    #[must_use]
    pub fn new() -> Self {
        Self::with(built_in("echo"), EchoInputs::EveryKind)
    }

    /// The one that the official suite of WPS 2.0 calls by name.
    #[must_use]
    pub fn for_wps_2_0_suite() -> Self {
        Self::with(built_in("org.n52.javaps.test.EchoProcess"), EchoInputs::ThreeKinds)
    }

    /// Under any identifier.
    #[must_use]
    pub fn with(id: ProcessId, inputs: EchoInputs) -> Self {
        Self { description: Arc::new(describe(id, inputs)) }
    }
}

fn describe(id: ProcessId, inputs: EchoInputs) -> ProcessDescription {
    let mut described = three_kinds();
    if inputs == EchoInputs::EveryKind {
        described.extend(every_other_kind());
    }
    let outputs = described.iter().filter_map(counterpart).collect();
    let groups = if inputs == EchoInputs::EveryKind { groups() } else { Vec::new() };
    ProcessDescription {
        title: "Echo".into(),
        description: "Gives back what it is given, unchanged: every input comes back as the output of the same name. Inputs \
                      that are not given have no output. For trying out servers and clients."
            .into(),
        keywords: words(&["echo", "test", "example"]),
        inputs: described,
        outputs,
        groups,
        idempotent: true,
        ..ProcessDescription::new(id)
    }
}

fn three_kinds() -> Vec<InputDescription> {
    let optional = |id, title, description, data| input(id, title, description, Occurs::OPTIONAL, data);
    vec![
        optional("literalInput", "Text", "Any text.", literal(LiteralType::String)),
        optional(
            "complexInput",
            "Document",
            "An XML or JSON document, or plain text.",
            complex(["application/xml", "text/xml", "application/json", "text/plain"].map(Format::new)),
        ),
        optional("boundingBoxInput", "Bounding box", "A box in WGS 84.", bounding_box()),
    ]
}

fn every_other_kind() -> Vec<InputDescription> {
    let optional = |id, title, description, data| input(id, title, description, Occurs::OPTIONAL, data);
    let gml =
        ["application/gml+xml; version=3.2", "text/xml; subtype=gml/3.1.1", "text/xml; subtype=gml/2.1.2"];
    let pause =
        LiteralDomain { uoms: words(&["s"]), ..range(LiteralType::Double, "0", Some(PAUSE_SECONDS_MAX)) };
    vec![
        optional("doubleInput", "Number", "A floating point number.", literal(LiteralType::Double)),
        optional("integerInput", "Whole number", "A whole number.", literal(LiteralType::Integer)),
        optional("booleanInput", "Truth value", "True or false.", literal(LiteralType::Boolean)),
        optional("dateTimeInput", "Date and time", "In ISO 8601.", literal(LiteralType::DateTime)),
        optional(
            "choiceInput",
            "Choice",
            "One of the values 1, 2, 3, 5 and 8.",
            choice(LiteralType::Integer, &["1", "2", "3", "5", "8"]),
        ),
        input(
            ARRAY_INPUT,
            "Numbers",
            "Any count of numbers; they come back as one JSON array.",
            Occurs { min: 0, max: None },
            literal(LiteralType::Double),
        ),
        optional(
            "objectInput",
            "JSON object",
            "Any JSON object.",
            complex([Format::new("application/json")]),
        ),
        optional(
            "mixedInput",
            "JSON, XML or text",
            "The same thing in one of several formats.",
            complex(["application/json", "application/xml", "text/plain"].map(Format::new)),
        ),
        optional(
            "featuresInput",
            "Features",
            "Features with geometries, as GeoJSON or GML.",
            complex([Format::GEOJSON].into_iter().chain(gml).map(Format::new)),
        ),
        optional(
            "imageInput",
            "Image",
            "A raster image: binary data.",
            complex(["image/png", "image/jpeg", Format::GEOTIFF].map(Format::base64)),
        ),
        optional(
            "limitedInput",
            "Short text",
            "Text of 1 MiB at most.",
            DataDescription::Complex(ComplexDomain {
                formats: vec![Format::new("text/plain")],
                bytes_max: Some(LIMITED_BYTES_MAX),
            }),
        ),
        optional(
            "groupInput.doubleInput",
            "Number in a group",
            "Required where anything of the group is given.",
            literal(LiteralType::Double),
        ),
        optional("groupInput.boundingBoxInput", "Box in a group", "A box in WGS 84.", bounding_box()),
        optional(
            "groupInput.innerInput.integerInput",
            "Number in a group in a group",
            "A whole number.",
            literal(LiteralType::Integer),
        ),
        optional(
            PAUSE,
            "Pause",
            "How long to wait before the outputs are written, in seconds: for trying out what takes time.",
            DataDescription::Literal(pause),
        ),
    ]
}

/// One group in another, for inputs and for outputs.
fn groups() -> Vec<GroupDescription> {
    let group = |id: &str, title: &str, needs: &[&str]| GroupDescription {
        id: id.into(),
        title: title.into(),
        description: String::new(),
        needs: words(needs),
    };
    vec![
        group("groupInput", "Group", &["groupInput.doubleInput"]),
        group("groupInput.innerInput", "Group in a group", &[]),
        group("groupOutput", "Group", &[]),
        group("groupOutput.innerOutput", "Group in a group", &[]),
    ]
}

/// The output that gives back an input.
fn counterpart(input: &InputDescription) -> Option<OutputDescription> {
    let id = output_id(&input.id)?;
    let data = match input.id.as_str() {
        ARRAY_INPUT => complex([Format::new("application/json")]),
        _ => input.data.clone(),
    };
    Some(output(&id, &input.title, &format!("What was given as {}.", input.id), data))
}

fn output_id(input_id: &str) -> Option<String> {
    let name = |name: &str| name.strip_suffix("Input").map(|name| format!("{name}Output"));
    let names: Option<Vec<_>> = input_id.split(GROUP_SEPARATOR).map(name).collect();
    Some(names?.join("."))
}

impl Process for Echo {
    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.description)
    }

    fn execute(self: Arc<Self>, execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(echo(execution))
    }
}

async fn echo(execution: Execution) -> Result<(), Error> {
    let Execution { inputs, outputs, sink, .. } = execution;
    sink.started(None);
    if let Some(seconds) = pause_seconds(&inputs)? {
        pause(seconds, &*sink).await?;
    }
    let has_output =
        |id: &str| output_id(id).is_some_and(|output| outputs.iter().any(|asked| asked.id == output));
    if !inputs.iter().any(|(id, _)| has_output(id)) {
        let rule = "is required, or another input whose output is asked for: there is nothing to give back";
        let subject = Subject::Input("literalInput".into());
        return Err(Error::invalid(Fault::new(subject, FaultKind::Missing, rule)));
    }
    for (id, values) in inputs.iter() {
        // An output that is not asked for need not be stored.
        let Some(output) = output_id(id).filter(|id| outputs.iter().any(|asked| asked.id == *id)) else {
            continue;
        };
        if output == ARRAY_OUTPUT {
            sink.write(&output, json_array(values)).await?;
        } else if let [value] = values {
            sink.write(&output, value.clone()).await?;
        }
    }
    Ok(())
}

fn pause_seconds(inputs: &Inputs) -> Result<Option<Duration>, Error> {
    if inputs.first(PAUSE).is_none() {
        return Ok(None);
    }
    let seconds = inputs.number(PAUSE)?;
    Duration::try_from_secs_f64(seconds)
        .map(Some)
        .map_err(|error| Error::internal(format!("input 'pause' is {seconds}: {error}")))
}

/// Waits step by step; says how much of it is over.
async fn pause(whole: Duration, sink: &dyn OutputSink) -> Result<(), Error> {
    let step = (whole / PAUSE_STEPS).min(PAUSE_STEP_MAX).max(Duration::from_millis(1));
    let mut waited = Duration::ZERO;
    while waited < whole {
        let next = step.min(whole - waited);
        sink.sleep(next).await;
        if sink.is_cancelled() {
            return Err(Error::Dismissed);
        }
        waited += next;
        sink.progress(100.0 * waited.div_duration_f32(whole), Some("pausing"));
    }
    Ok(())
}

fn json_array(values: &[Value]) -> Value {
    let elements = values.iter().filter_map(|value| match value {
        Value::Literal(literal) => Some(json_number(&literal.text)),
        Value::BoundingBox(_) | Value::Complex(_) => None,
    });
    let text = serde_json::Value::Array(elements.collect()).to_string();
    let format = Format::new("application/json");
    Value::Complex(ComplexValue::new(Data::Bytes(text.into()), format))
}

/// JSON has no infinity: what it can't say as a number it says as a string.
fn json_number(text: &str) -> serde_json::Value {
    let number = text.parse::<i64>().map(serde_json::Number::from).ok();
    match number.or_else(|| text.parse().ok().and_then(serde_json::Number::from_f64)) {
        Some(number) => number.into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests;
