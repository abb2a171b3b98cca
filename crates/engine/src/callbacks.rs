//! Callbacks: a job's subscriber is told of its states, each at most once.
//!
//! What is due is written down with the job and removed once the receiver has taken it (2xx), so that a restart neither
//! forgets nor repeats. Only a server that is killed between the receiver's answer and the next commit sends again; the
//! header [`DELIVERY`] is the same then. States come in order; `in progress` is dropped once the end is known.
//!
//! The engine knows no documents: whoever answers clients renders the bodies too ([`RenderCallback`]).

mod follow;
mod pause;
mod post;
mod signature;

use crate::engine::{Engine, Inner};
use crate::live::Live;
use crate::query::Found;
use crate::view::JobView;
use anabranch_egress::{Egress, parse_url};
use anabranch_model::{
    BoxFuture, CallbackEvent, Error, ExecuteRequest, Fault, FaultKind, JobId, Subject, Viewer,
};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// The header that names a callback: the same for every attempt, and for no other callback.
pub(crate) const DELIVERY: &str = "Anabranch-Delivery";

/// What a client is told to wait, seconds, where too many callbacks are due: receivers that are down come back in minutes.
const RETRY_AFTER_S: u32 = 60;

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackBody {
    /// Its media type.
    pub media_type: &'static str,
    /// Its bytes; held in memory while they are sent.
    pub bytes: Vec<u8>,
}

/// Makes the bodies of callbacks.
pub trait RenderCallback: Send + Sync {
    /// The body that tells of `event`. `view` is the job as it is now; it may have gone beyond `event` meanwhile.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`] drops the callback; any other error is tried again.
    fn render<'a>(
        &'a self,
        engine: &'a Engine,
        view: &'a JobView,
        event: CallbackEvent,
    ) -> BoxFuture<'a, Result<CallbackBody, Error>>;
}

/// How callbacks are made.
pub struct CallbackSettings {
    /// Makes their bodies.
    pub renderer: Arc<dyn RenderCallback>,
    /// Signs them; without it they go unsigned.
    pub secret: Option<Vec<u8>>,
}

/// What delivers callbacks.
pub(crate) struct Callbacks {
    settings: CallbackSettings,
    /// Jobs with callbacks due.
    followed: Mutex<HashSet<JobId>>,
    /// Who waits here when full: attempts that are due.
    slots: Semaphore,
    slots_max: u32,
}

/// A place among the jobs with callbacks due, given back when dropped.
pub(crate) struct Place {
    callbacks: Arc<Callbacks>,
    job: JobId,
}

impl Callbacks {
    pub(crate) fn new(settings: CallbackSettings, parallel_max: usize) -> Arc<Self> {
        let slots_max = u32::try_from(parallel_max.max(1)).unwrap_or(u32::MAX);
        let slots = Semaphore::new(slots_max as usize);
        Arc::new(Self { settings, followed: Mutex::default(), slots, slots_max })
    }

    fn followed(&self) -> MutexGuard<'_, HashSet<JobId>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more job; `None` where it has one.
    fn place(self: &Arc<Self>, job: JobId) -> Option<Place> {
        let new = self.followed().insert(job);
        new.then(|| Place { callbacks: Arc::clone(self), job })
    }

    /// Waits up to `wait` until no attempt is under way, so that what was delivered is written down.
    pub(crate) async fn idle(&self, wait: Duration) {
        // Those that take longer are sent again by the next server.
        let _ = tokio::time::timeout(wait, self.slots.acquire_many(self.slots_max)).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.callbacks.followed().remove(&self.job);
    }
}

impl Inner {
    /// A place for the callbacks of a new job, where its request names a subscriber: every address must be one that may
    /// be called.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming every address that may not; [`Error::Busy`].
    pub(crate) fn subscribe(&self, job: JobId, request: &ExecuteRequest) -> Result<Option<Place>, Error> {
        let Some(subscriber) = &request.subscriber else { return Ok(None) };
        let faults = faults(&self.egress, request);
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        if subscriber.addresses().next().is_none() {
            return Ok(None);
        }
        let callbacks = self.callbacks.get().ok_or_else(|| {
            let subject = Subject::Parameter("subscriber".into());
            let rule = "is not supported: this server makes no callbacks";
            Error::invalid(Fault::new(subject, FaultKind::Unsupported, rule))
        })?;
        let jobs_max = self.limits.callback_jobs_max;
        if callbacks.followed().len() >= jobs_max {
            let limit = format!("callbacks of {jobs_max} jobs are due, the most that this server keeps");
            return Err(Error::Busy { limit, retry_after_s: RETRY_AFTER_S });
        }
        Ok(callbacks.place(job))
    }

    /// Takes up the callbacks of a job that its last owner has not delivered.
    pub(crate) async fn take_up_callbacks(self: &Arc<Self>, job: JobId, sequence: i64) -> Result<(), Error> {
        let Some(callbacks) = self.callbacks.get() else { return Ok(()) };
        let due = self.store.readers.due_callbacks(sequence).await?;
        if due.is_empty() {
            return Ok(());
        }
        let Some(place) = callbacks.place(job) else {
            return Ok(()); // followed already
        };
        match self.find(&Viewer::Operator, job).await? {
            Found::Live(live) => self.follow(place, due, live.sequence, &live.request, live.watch()),
            Found::Stored(stored) => {
                let request = self.store.readers.request(stored.sequence).await?;
                let view = watch::channel(Arc::new(stored.view)).1;
                self.follow(place, due, stored.sequence, &request, view);
            }
        }
        Ok(())
    }

    /// Delivers the callbacks of a job just accepted.
    pub(crate) fn follow_new(self: &Arc<Self>, live: &Live, place: Option<Place>) {
        let (Some(place), Some(subscriber)) = (place, &live.request.request.subscriber) else { return };
        let due = subscriber.addresses().map(|(event, _)| event).collect();
        self.follow(place, due, live.sequence, &live.request, live.watch());
    }
}

/// Every address of the request's subscriber that may not be called.
pub(crate) fn faults(egress: &Egress, request: &ExecuteRequest) -> Vec<Fault> {
    let addresses = request.subscriber.iter().flat_map(|subscriber| subscriber.addresses());
    addresses.filter_map(|(event, href)| fault(egress, event, href)).collect()
}

/// Why an address may not be called, if so.
fn fault(egress: &Egress, event: CallbackEvent, href: &str) -> Option<Fault> {
    let refused = parse_url(href).and_then(|url| egress.check(&url)).err()?;
    let rule = format!("can't be called: {}", refused.client_text());
    Some(Fault::new(Subject::Parameter(event.member().into()), FaultKind::NotAllowed, rule))
}
