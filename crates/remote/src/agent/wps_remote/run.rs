//! One run for an orchestrator of WPS Remote, with an occupant of its own: the process works while the occupant enters, and
//! what it has to say is said when it is in.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anabranch_model::{
    Data, DataDescription, Error, ExecuteRequest, Execution, ExecutionMode, FormatHint, InputData, InputItem,
    OutputRequest, Process, ResponseForm, TextForm, bind,
};
use anabranch_xmpp::{BusEvent, BusSender, Incoming, MessageKind, SendError};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::sink::WpsSink;
use super::{Shared, names};
use crate::agent::buffer::RunBuffer;
use crate::message::{CarriedValue, Message, Output, Payload};
use crate::post::{log_out, now, post_body};
use crate::run_id::RunId;
use crate::wire::wps_remote::{self, Body, ExecutionId};

/// How long to wait for `finish` before `completed` is said again, and how often it is said, as the original's agents do.
const COMPLETED_AGAIN: Duration = Duration::from_secs(10);
const COMPLETED_MAX: u32 = 99;

/// A run that has been taken.
pub(super) struct Run {
    /// Names its folders: what it is called on the wire is a stranger's word.
    pub(super) id: RunId,
    pub(super) execution: ExecutionId,
    pub(super) base_url: String,
    /// The occupant that asked for it, to whom it reports.
    pub(super) orchestrator: String,
    pub(super) room: String,
    pub(super) process: Arc<dyn Process>,
    pub(super) inputs: Vec<(String, Vec<CarriedValue>)>,
    pub(super) shared: Arc<Shared>,
}

/// Slots that a run takes, until its work has ended.
pub(super) type Slots = OwnedSemaphorePermit;

/// What is said of the end.
struct End {
    text: String,
    /// It is said again until it is acknowledged.
    is_repeated: bool,
    said: u32,
    again: Instant,
}

/// What the orchestrator wants.
enum Wish {
    Finish,
    Abort,
}

impl Run {
    /// Runs to the end, and until the orchestrator knows of it.
    pub(super) async fn follow(self, slots: Slots) {
        let folder = self.shared.settings.folder.join(self.id.to_string());
        let live = || self.shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        live().insert(self.id);
        if let Err(error) = self.follow_in(folder.clone(), slots).await {
            tracing::error!(execution = %self.execution, %error, "a run can't be told of");
        }
        live().remove(&self.id);
        if let Err(error) = tokio::fs::remove_dir_all(&folder).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "a run's folder can't be removed");
        }
    }

    async fn follow_in(&self, folder: PathBuf, slots: Slots) -> Result<(), anabranch_xmpp::ClientError> {
        let description = self.process.description();
        let who = self.execution.as_str();
        let bus = self.shared.enter(&self.room, names(&description).1, who, who)?;
        let (sender, mut session) = bus.split();
        let (buffer, wake) = (Arc::new(RunBuffer::accepted()), Arc::new(Notify::new()));
        let (cancel, outputs) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
        let sink = WpsSink {
            buffer: Arc::clone(&buffer),
            wake: Arc::clone(&wake),
            cancel: cancel.clone(),
            shared: self
                .shared
                .settings
                .shared_folder
                .as_ref()
                .map(|shared| shared.join(self.id.to_string())),
            folder,
            outputs: Arc::clone(&outputs),
        };
        let mut work = JoinSet::new();
        work.spawn(self.work(sink, slots));
        let (mut is_inside, mut is_aborted, mut is_stopped) = (false, false, false);
        let mut end: Option<End> = None;
        loop {
            let (mut wait, mut is_full) = (None, false);
            if is_inside {
                match self.say_what_is_due(&sender, &buffer, &mut end) {
                    Ok(next) => wait = next,
                    Err(SendError::Full) => is_full = true,
                    // Until the occupant is in the room again.
                    Err(SendError::Down | SendError::Closed) => is_inside = false,
                }
                if end.as_ref().is_some_and(|end| end.is_over(is_stopped)) {
                    break;
                }
            }
            let wait = wait.unwrap_or_else(|| now() + COMPLETED_AGAIN);
            tokio::select! {
                event = session.next() => match event {
                    Some(BusEvent::Joined { .. }) => is_inside = true,
                    Some(BusEvent::Down { .. }) => is_inside = false,
                    Some(BusEvent::Message(incoming)) => match self.wish(&incoming) {
                        Some(Wish::Finish) if end.is_some() => break,
                        // Of a run that is not over, "finish" means as much.
                        Some(Wish::Finish | Wish::Abort) => {
                            tracing::info!(execution = %self.execution, "the orchestrator ends the run");
                            is_aborted = true;
                            cancel.cancel();
                            if end.is_some() {
                                break;
                            }
                        }
                        None => {}
                    },
                    Some(_) => {}
                    // Nobody can be told any more: the work has no purpose.
                    None => break,
                },
                Some(ended) = work.join_next() => {
                    if is_aborted {
                        break;
                    }
                    end = Some(self.end(ended, &outputs, is_stopped));
                }
                () = Arc::clone(&wake).notified_owned(), if end.is_none() => {}
                () = sender.room(), if is_full => {}
                () = self.shared.stop.cancelled(), if !is_stopped => {
                    is_stopped = true;
                    cancel.cancel();
                }
                () = tokio::time::sleep_until(wait.into()) => {}
            }
        }
        cancel.cancel();
        // The occupant leaves when the process tree is dead.
        while work.join_next().await.is_some() {}
        log_out(&sender, &mut session).await;
        Ok(())
    }

    /// Says what may be said now; gives the time of what may be said next. Where the session takes no more, what is left waits.
    fn say_what_is_due(
        &self,
        sender: &BusSender,
        buffer: &RunBuffer,
        end: &mut Option<End>,
    ) -> Result<Option<Instant>, SendError> {
        let now = now();
        while let Some(message) = buffer.next(now) {
            if !matches!(message, Message::Progress(_) | Message::Log(_)) {
                continue;
            }
            let body = Body::run(self.execution.clone(), message);
            // Where it does not fit into the queue it is lost, as it would be at the original's.
            if let Ok(text) = wps_remote::encode(&body) {
                post_body(sender, &self.orchestrator, text, None)?;
            }
        }
        if let Some(end) = end.as_mut().filter(|end| end.again <= now) {
            post_body(sender, &self.orchestrator, end.text.clone(), None)?;
            end.said += 1;
            end.again = now + COMPLETED_AGAIN;
        }
        Ok(buffer.deadline().into_iter().chain(end.as_ref().map(|end| end.again)).min())
    }

    fn wish(&self, incoming: &Incoming) -> Option<Wish> {
        if incoming.kind == MessageKind::Error || !self.shared.settings.is_orchestrator(incoming) {
            return None;
        }
        let body = wps_remote::decode(incoming.body.as_deref()?, None)?.ok()?;
        match body.messages.first()? {
            Message::Finish => Some(Wish::Finish),
            Message::Abort => Some(Wish::Abort),
            _ => None,
        }
    }

    /// What is to be said of an end.
    fn end(
        &self,
        ended: Result<Result<(), Error>, JoinError>,
        outputs: &Mutex<Vec<Output>>,
        is_stopped: bool,
    ) -> End {
        let result =
            ended.unwrap_or_else(|error| Err(Error::internal(format!("the process panicked: {error}"))));
        let result = match result {
            Err(_) if is_stopped => Err(Error::process_failed("the agent was stopped")),
            result => result,
        };
        let written = result.and_then(|()| {
            let outputs = std::mem::take(&mut *outputs.lock().unwrap_or_else(PoisonError::into_inner));
            let messages = outputs.into_iter().map(Message::Output).chain([Message::Completed]).collect();
            let body = Body {
                execution: Some(self.execution.clone()),
                base_url: self.base_url.clone(),
                messages,
                described: Some(self.process.description()),
            };
            wps_remote::encode(&body).map_err(|error| Error::process_failed(error.to_string()))
        });
        let (text, is_repeated) = match written {
            Ok(text) => (text, true),
            Err(error) => {
                tracing::info!(execution = %self.execution, %error, "a run failed");
                (self.error_text(error), false)
            }
        };
        End { text, is_repeated, said: 0, again: now() }
    }

    fn error_text(&self, error: Error) -> String {
        let body =
            |error| Body::run(self.execution.clone(), Message::Failed(crate::agent::runs::shortened(error)));
        let too_long = || Error::process_failed("the process failed, and its error is too long to be told");
        wps_remote::encode(&body(error))
            .or_else(|_too_long| wps_remote::encode(&body(too_long())))
            .unwrap_or_default()
    }

    /// The work itself.
    fn work(&self, sink: WpsSink, slots: Slots) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (process, id, inputs) = (Arc::clone(&self.process), self.id, self.inputs.clone());
        async move {
            let _free_when_it_ends = slots;
            tokio::fs::create_dir_all(&sink.folder).await.map_err(Error::internal)?;
            let description = process.description();
            let bound = bind(&description, &request(&description, inputs)?)?;
            let outputs: Vec<OutputRequest> = bound.outputs.clone();
            let inputs =
                bound.into_inputs().ok_or_else(|| Error::internal("a reference on a wire without any"))?;
            let execution = Execution {
                job: id.job,
                attempt: id.attempt,
                part: id.part,
                resume: false,
                written: 0,
                feed: None,
                arriving: None,
                inputs,
                outputs,
                sink: Arc::new(sink),
            };
            process.execute(execution).await
        }
    }
}

impl End {
    /// There is nothing more to be said.
    fn is_over(&self, is_stopped: bool) -> bool {
        let once = !self.is_repeated || is_stopped;
        self.said >= if once { 1 } else { COMPLETED_MAX }
    }
}

/// Inputs as a client could have given them, so that they are checked in the one place where inputs are.
fn request(
    description: &anabranch_model::ProcessDescription,
    inputs: Vec<(String, Vec<CarriedValue>)>,
) -> Result<ExecuteRequest, Error> {
    let mut items = Vec::new();
    for (id, values) in inputs {
        // As with the original's agents: what the service does not know is left out.
        let Some(input) = description.input(&id) else { continue };
        for value in values {
            let CarriedValue::Literal { text: Payload::Inline(bytes), .. } = value else {
                return Err(Error::internal("an input that is no literal on a wire of literals"));
            };
            let data = match input.data {
                // What GeoServer had of it, read as text; never base64.
                DataDescription::Complex(_) => InputData::Bytes(Data::Bytes(bytes)),
                DataDescription::Literal(_) | DataDescription::BoundingBox(_) => {
                    let text = String::from_utf8(bytes.into()).map_err(Error::internal)?;
                    InputData::Text { text, form: TextForm::Untyped }
                }
            };
            let format = FormatHint::default();
            items.push(InputItem { id: id.clone(), data, format, data_type: None, uom: None });
        }
    }
    Ok(ExecuteRequest {
        process: description.id.clone(),
        inputs: items,
        outputs: Vec::new(),
        mode: ExecutionMode::Auto,
        response: ResponseForm::Document,
        lineage: false,
        subscriber: None,
    })
}
