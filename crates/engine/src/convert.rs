//! A process that takes and gives more formats than its own: what is in another format of the same kind is converted on its
//! way in and out.
//!
//! It is a process around a process: nobody else knows of conversions. Inputs are converted when the run begins, outputs chunk by
//! chunk as they are written, into files in the run's own folder. Its description names the process's
//! own formats first, so that the defaults stay what they are.

use crate::folders::{self, blocking, io_error};
use anabranch_formats::vector::VectorFormat;
use anabranch_formats::{Convertible, FormatError, Room, convert, look};
use anabranch_model::description::media_types_match;
use anabranch_model::{
    Arriving, BoxFuture, ChunkReader, ComplexDomain, ComplexValue, Data, DataDescription, Error, Execution,
    Fault, FaultKind, Feed, Format, FormatHint, Inputs, LogLine, OutputRequest, OutputSink, Prepared,
    Process, ProcessAround, ProcessDescription, SinkAround, Subject, Value,
};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore};

/// The folders of conversions in a run's scratch folder: of values, and of the pieces of a feed.
const FOLDER: &str = "converted";
const FEED_FOLDER: &str = "converted-feed";

/// What conversions share.
pub(crate) struct Conversions {
    /// Where they wait for their turn: one for each CPU thread is at work at a time. Not on the threads of algorithms, because an
    /// algorithm holds its own while its output is converted.
    turns: Semaphore,
    /// Most bytes that the conversions of one run make.
    bytes_max: u64,
}

impl Conversions {
    pub(crate) fn new(threads: usize, bytes_max: u64) -> Self {
        Self { turns: Semaphore::new(threads), bytes_max }
    }
}

struct Converting {
    inner: Arc<dyn Process>,
    offered: Arc<ProcessDescription>,
    conversions: Arc<Conversions>,
}

/// The process with every format that its own can be converted from or to; the very process where there is none.
pub(crate) fn converting(process: Arc<dyn Process>, conversions: &Arc<Conversions>) -> Arc<dyn Process> {
    let own = process.description();
    let mut offered = own.as_ref().clone();
    let inputs = offered.inputs.iter_mut().map(|input| &mut input.data);
    for data in inputs.chain(offered.outputs.iter_mut().map(|output| &mut output.data)) {
        if let DataDescription::Complex(domain) = data {
            widen(domain);
        }
    }
    if offered == *own {
        return process;
    }
    Arc::new(Converting { inner: process, offered: Arc::new(offered), conversions: Arc::clone(conversions) })
}

fn widen(domain: &mut ComplexDomain) {
    let own: Vec<_> =
        domain.formats.iter().filter_map(|format| Convertible::of(&format.media_type)).collect();
    for others in own.iter().map(|format| format.others()) {
        for other in others {
            let known = Convertible::of(&other.media_type);
            if !domain.formats.iter().any(|format| Convertible::of(&format.media_type) == known) {
                domain.formats.push(other);
            }
        }
    }
}

/// From what to what a value has to be converted.
#[derive(Clone, Debug)]
struct Step {
    from: Convertible,
    to: Convertible,
    /// What it is called then.
    format: Format,
}

/// The step from a format to the first of `domain` that it can be converted to; `None` where it is one of them, or of no kind we know.
fn into_domain(format: &Format, domain: &ComplexDomain) -> Option<Step> {
    let from = Convertible::of(&format.media_type)?;
    let targets = domain.formats.iter().filter_map(|own| Some((Convertible::of_own(&own.media_type)?, own)));
    if domain.formats.iter().any(|own| own.media_type == format.media_type)
        || targets.clone().any(|(own, _)| own == from)
    {
        return None;
    }
    // Coordinates stay in their system where the process takes that.
    let mut convertible: Vec<_> = targets.filter(|(own, _)| from.is_convertible_to(*own)).collect();
    convertible.sort_by_key(|(own, _)| !is_in_any_crs(*own));
    let (to, format) = convertible.first()?;
    Some(Step { from, to: *to, format: (*format).clone() })
}

/// The step to the format that a client asks for; `None` where there is none.
fn to_asked(format: &Format, asked: &Format) -> Option<Step> {
    let (from, to) = (Convertible::of(&format.media_type)?, Convertible::of(&asked.media_type)?);
    from.is_convertible_to(to).then(|| Step { from, to, format: asked.clone() })
}

/// GeoJSON in any system, which a process of ours takes beside GeoJSON proper.
fn is_in_any_crs(format: Convertible) -> bool {
    format == Convertible::Vector(VectorFormat::GeoJson2008)
}

fn is_same(a: &Format, b: &Format) -> bool {
    let known = Convertible::of(&a.media_type);
    media_types_match(&a.media_type, &b.media_type)
        || known.is_some() && known == Convertible::of(&b.media_type)
}

impl ProcessAround for Converting {
    fn inner(&self) -> &Arc<dyn Process> {
        &self.inner
    }

    fn description(&self) -> Arc<ProcessDescription> {
        Arc::clone(&self.offered)
    }

    fn prepare(
        &self,
        mut shared: Inputs,
        sink: Arc<dyn OutputSink>,
    ) -> BoxFuture<'_, Result<Prepared, Error>> {
        Box::pin(async move {
            let own = self.inner.description();
            // The files of these conversions serve every run to come: they live in the scratch folder of whoever prepares.
            Workshop::new(&self.conversions, &sink).convert_inputs(&own, &mut shared).await?;
            let inner = self.inner.prepare(shared, sink).await?;
            let around = |inner| {
                let (offered, conversions) = (Arc::clone(&self.offered), Arc::clone(&self.conversions));
                Arc::new(Self { inner, offered, conversions }) as Arc<dyn Process>
            };
            Ok(Prepared { process: inner.process.map(around), shared: inner.shared })
        })
    }

    fn execute(self: Arc<Self>, mut execution: Execution) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            let own = self.inner.description();
            let workshop = Workshop::new(&self.conversions, &execution.sink);
            let is_own = |arriving: &Arriving| {
                let domain = own.input(&arriving.input).map(|described| &described.data);
                !matches!(domain, Some(DataDescription::Complex(domain)) if into_domain(&arriving.format, domain).is_some())
            };
            // What has to be converted has to be there.
            if !execution.arriving.as_ref().is_none_or(is_own) {
                execution.arrived(&own).await?;
            }
            // A run that is found again was given its inputs when it was begun.
            if !execution.resume {
                workshop.convert_inputs(&own, &mut execution.inputs).await?;
            }
            execution.feed = execution.feed.map(|feed| workshop.convert_feed(&own, feed));
            let mut asked = own_formats(&own, &mut execution);
            asked.extend(own_in_crs84(&execution));
            if !asked.is_empty() {
                execution.sink =
                    Arc::new(ConvertingSink { workshop, asked, is_fed: execution.feed.is_some() });
            }
            Arc::clone(&self.inner).execute(execution).await
        })
    }
}

/// Asks the process for its own formats only; gives the outputs that have to be converted, with the formats that clients asked for.
fn own_formats(own: &ProcessDescription, execution: &mut Execution) -> Vec<(String, Format)> {
    let mut converted = Vec::new();
    for output in &mut execution.outputs {
        let Some(DataDescription::Complex(domain)) = own.output(&output.id).map(|described| &described.data)
        else {
            continue;
        };
        let asked = &output.format;
        let Some(media_type) = asked.media_type.clone() else { continue };
        let wanted = Format { media_type, encoding: asked.encoding.clone(), schema: asked.schema.clone() };
        if let Some(step) = into_domain(&wanted, domain) {
            let Format { media_type, encoding, schema } = step.format;
            output.format = FormatHint { media_type: Some(media_type), encoding, schema };
            converted.push((output.id.clone(), wanted));
        }
    }
    converted
}

/// Outputs asked for in GeoJSON proper, of a process that is given data in any system and may put out such.
fn own_in_crs84(execution: &Execution) -> Vec<(String, Format)> {
    let values = execution.inputs.iter().flat_map(|(_, values)| values);
    let formats = values.filter_map(|value| match value {
        Value::Complex(value) => Some(&value.format),
        Value::Literal(_) | Value::BoundingBox(_) => None,
    });
    let mut formats = formats.chain(execution.arriving.as_ref().map(|arriving| &arriving.format));
    if !formats.any(|format| Convertible::of(&format.media_type).is_some_and(is_in_any_crs)) {
        return Vec::new();
    }
    let proper = |asked: &OutputRequest| {
        let media_type = asked.format.media_type.as_deref()?;
        let is_proper = Convertible::of(media_type) == Some(Convertible::Vector(VectorFormat::GeoJson));
        is_proper.then(|| (asked.id.clone(), Format::new(media_type)))
    };
    execution.outputs.iter().filter_map(proper).collect()
}

/// Where values of one run are converted.
struct Workshop {
    conversions: Arc<Conversions>,
    sink: Arc<dyn OutputSink>,
    folder: &'static str,
    /// Held while a value is converted: one at a time, so that each knows how much room is left.
    made: Mutex<Made>,
}

/// What the conversions of a run have made so far.
#[derive(Default)]
struct Made {
    files: u64,
    bytes: u64,
}

impl Workshop {
    fn new(conversions: &Arc<Conversions>, sink: &Arc<dyn OutputSink>) -> Self {
        Self {
            conversions: Arc::clone(conversions),
            sink: Arc::clone(sink),
            folder: FOLDER,
            made: Mutex::default(),
        }
    }

    /// A feed in the process's own formats.
    fn convert_feed(&self, own: &ProcessDescription, feed: Feed) -> Feed {
        let input = feed.input.clone();
        let Some(DataDescription::Complex(domain)) = own.input(&input).map(|described| &described.data)
        else {
            return feed;
        };
        let workshop = Self { folder: FEED_FOLDER, ..Self::new(&self.conversions, &self.sink) };
        let (domain, pieces) = (domain.clone(), feed.into_pieces());
        let pieces = ConvertingFeed { workshop, input: input.clone(), domain, pieces, made: None };
        Feed::new(input, Box::new(pieces))
    }

    /// A file that was made is not needed any more.
    async fn forget(&self, value: ComplexValue) {
        let mut made = self.made.lock().await;
        made.bytes = made.bytes.saturating_sub(value.data.len());
        if let Data::File(file) = value.data {
            // What can't be removed now goes with the run.
            let _ = tokio::fs::remove_file(file.path).await;
        }
    }

    async fn convert_inputs(&self, own: &ProcessDescription, inputs: &mut Inputs) -> Result<(), Error> {
        for (id, value) in inputs.values_mut() {
            let Some(DataDescription::Complex(domain)) = own.input(id).map(|described| &described.data)
            else {
                continue;
            };
            let Value::Complex(complex) = value else { continue };
            let Some(step) = into_domain(&complex.format, domain) else { continue };
            self.say(&format!("converting input '{id}' from {} to {}", step.from.name(), step.to.name()));
            let converted = self.convert(&format!("input '{id}'"), complex.data.clone(), step).await;
            *complex = converted?.map_err(|error| refused_input(id, &error))?;
        }
        Ok(())
    }

    /// Converts the value called `what` into a file of the run. The outer error is ours, the inner one the data's.
    async fn convert(
        &self,
        what: &str,
        data: Data,
        step: Step,
    ) -> Result<Result<ComplexValue, FormatError>, Error> {
        let mut made = self.made.lock().await;
        let folder = self.sink.scratch().join(self.folder);
        let path = folder.join(made.files.to_string());
        made.files += 1;
        let bytes_max = self.conversions.bytes_max.saturating_sub(made.bytes);
        let stop = Arc::clone(&self.sink);
        let (from, to) = (step.from, step.to);
        let work = move || {
            folders::make(&folder).map_err(|error| io_error("can't make", &folder, &error))?;
            let room = Room { scratch: &folder, bytes_max };
            match into_file(&data, &step, &room, &path, &|| stop.is_cancelled()) {
                Err(FormatError::Stopped) => Err(Error::Dismissed),
                Err(FormatError::Io(error)) => Err(io_error("can't convert into", &path, &error)),
                Err(error) => Ok(Err(error)),
                Ok(data) => Ok(Ok(ComplexValue::new(data, step.format))),
            }
        };
        let turn = tokio::select! {
            biased;
            turn = self.conversions.turns.acquire() => turn,
            () = self.sink.cancelled() => return Err(Error::Dismissed),
        };
        let _turn = turn.map_err(|_closed| Error::internal("conversions are closed"))?;
        let converted = blocking(work).await??;
        match &converted {
            Ok(value) => made.bytes += value.data.len(),
            Err(FormatError::TooLarge { .. }) => {
                let before = if made.bytes > 0 { ", with what was converted before," } else { "" };
                let what = format!("{what} converted from {} to {}{before}", from.name(), to.name());
                return Err(Error::TooLarge { what, bytes_max: self.conversions.bytes_max });
            }
            Err(_) => {}
        }
        Ok(converted)
    }

    fn say(&self, text: &str) {
        self.sink.log(LogLine { source: anabranch_model::LogSource::System, text: text.into() });
    }
}

fn into_file(
    data: &Data,
    step: &Step,
    room: &Room<'_>,
    path: &Path,
    stop: &dyn Fn() -> bool,
) -> Result<Data, FormatError> {
    let mut out = BufWriter::new(File::create_new(path)?);
    convert(data, step.from, step.to, room, &mut out, stop)?;
    out.flush()?;
    Ok(Data::file(path)?)
}

fn refused_input(id: &str, error: &FormatError) -> Error {
    let rule = match error {
        FormatError::Unrepresentable { .. } => format!("can't be converted for the process: {error}"),
        _ => format!("can't be read: {error}"),
    };
    Error::invalid(Fault::new(Subject::Input(id.to_owned()), FaultKind::Malformed, rule))
}

/// Pieces of a feed, each converted as it comes.
struct ConvertingFeed {
    workshop: Workshop,
    input: String,
    domain: ComplexDomain,
    pieces: Box<dyn ChunkReader>,
    /// What was made of the last one.
    made: Option<ComplexValue>,
}

impl ConvertingFeed {
    async fn next_converted(&mut self) -> Result<Option<ComplexValue>, Error> {
        if let Some(last) = self.made.take() {
            self.workshop.forget(last).await;
        }
        let Some(piece) = self.pieces.next().await? else { return Ok(None) };
        let Some(step) = into_domain(&piece.format, &self.domain) else { return Ok(Some(piece)) };
        let what = format!("a piece of input '{}'", self.input);
        let converted = self.workshop.convert(&what, piece.data, step).await?;
        let converted = converted
            .map_err(|error| Error::process_failed(format!("{what} can't be converted: {error}")))?;
        self.made = Some(converted.clone());
        Ok(Some(converted))
    }
}

impl ChunkReader for ConvertingFeed {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<ComplexValue>, Error>> {
        Box::pin(self.next_converted())
    }
}

/// Converts the outputs that were asked for in other formats than the process's own; everything else passes.
struct ConvertingSink {
    workshop: Workshop,
    asked: Vec<(String, Format)>,
    /// The run may put out chunks without end: those that are stored are not counted here any more.
    is_fed: bool,
}

impl ConvertingSink {
    async fn write_converted(&self, output: &str, asked: &Format, chunk: Value) -> Result<(), Error> {
        let asked_for = &asked.media_type;
        let refused = |why: String| {
            Error::process_failed(format!("output '{output}' can't be given as {asked_for}: {why}"))
        };
        let Value::Complex(mut complex) = chunk else {
            return Err(refused("the process wrote a value without a format".into()));
        };
        if !is_same(&complex.format, asked) {
            let step = to_asked(&complex.format, asked).ok_or_else(|| {
                refused(format!("the process wrote {}, which can't be converted", complex.format.media_type))
            })?;
            let before = complex.clone();
            // What comes out is not as easily looked through.
            let facts = blocking(move || look(&before)).await?;
            let converted = self.workshop.convert(&format!("output '{output}'"), complex.data, step).await?;
            complex = converted.map_err(|error| refused(error.to_string()))?;
            complex.facts = facts;
            if self.is_fed {
                let made = complex.clone();
                self.workshop.sink.write(output, Value::Complex(complex)).await?;
                self.workshop.forget(made).await;
                return Ok(());
            }
        }
        self.workshop.sink.write(output, Value::Complex(complex)).await
    }
}

impl SinkAround for ConvertingSink {
    fn inner(&self) -> &dyn OutputSink {
        self.workshop.sink.as_ref()
    }

    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        match self.asked.iter().find(|(id, _)| id == output) {
            Some((id, asked)) => Box::pin(self.write_converted(id, asked, chunk)),
            None => self.workshop.sink.write(output, chunk),
        }
    }
}
