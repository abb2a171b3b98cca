//! Clients: each asks for a job, follows it, and may want its end.

use super::super::{asynchronous, synchronous};
use super::processes::PLAYLIST;
use super::world::{Kind, World};
use super::{below, one_in};
use crate::{Engine, Submitter};
use anabranch_model::{
    DismissedBy, Error, ExecuteRequest, FormatHint, JobId, OutputRequest, Transmission, Viewer,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Most clients of one life.
const CLIENTS_MAX: u64 = 8;

/// How often a client looks how its job is.
pub(super) const LOOKS: Duration = Duration::from_millis(20);

pub(super) fn start(engine: &Engine, world: &Arc<World>, some: bool) -> Vec<JoinHandle<()>> {
    let count = if some { 1 + below(CLIENTS_MAX) } else { below(3) };
    (0..count).map(|_| tokio::spawn(client(engine.clone(), Arc::clone(world)))).collect()
}

fn request(kind: Kind) -> (ExecuteRequest, bool) {
    let sync = matches!(kind, Kind::Again | Kind::Once) && one_in(4);
    let mut request = if sync { synchronous(kind.process()) } else { asynchronous(kind.process()) };
    if kind == Kind::Stream {
        let format = FormatHint { media_type: Some(PLAYLIST.into()), ..FormatHint::default() };
        let transmission = Transmission::Reference;
        request.outputs = vec![OutputRequest { id: "data".into(), format, transmission, uom: None }];
    }
    (request, sync)
}

async fn client(engine: Engine, world: Arc<World>) {
    tokio::time::sleep(Duration::from_millis(below(1000))).await;
    let kind = Kind::ALL[usize::try_from(below(4)).unwrap_or(0)];
    let (request, sync) = request(kind);
    let job = match engine.submit(request, &Submitter::default()).await {
        Ok(job) => job,
        // The store fails, the queue is full, or the server stops.
        Err(Error::NotEnoughStorage { .. } | Error::Busy { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    world.accepted(job.id(), kind, sync);
    let dismissal = one_in(3).then(|| tokio::spawn(dismiss(engine.clone(), Arc::clone(&world), job.id())));
    // It looks now and then: in which order several who wait for one change are woken is nothing that a seed decides.
    let watched = job.watch();
    drop(job);
    loop {
        let view = Arc::clone(&watched.borrow());
        world.tell(&view);
        if view.job.is_finished() {
            break;
        }
        tokio::time::sleep(LOOKS).await;
    }
    if let Some(dismissal) = dismissal {
        dismissal.await.unwrap();
    }
}

async fn dismiss(engine: Engine, world: Arc<World>, id: JobId) {
    tokio::time::sleep(Duration::from_millis(below(800))).await;
    world.asks_for_end(id);
    let had_ended = engine.job(&Viewer::Operator, id).await.is_ok_and(|view| view.job.is_finished());
    match engine.dismiss(&Viewer::Operator, id, DismissedBy::Client, Duration::from_millis(below(100))).await
    {
        Ok(_) if had_ended => world.removed(id),
        Ok(view) if engine.job(&Viewer::Operator, id).await.is_ok() => world.tell(&view),
        // It ended in between, and was removed.
        Ok(_) => world.removed(id),
        Err(
            Error::NoSuchJob(_) | Error::Gone { .. } | Error::Busy { .. } | Error::NotEnoughStorage { .. },
        ) => {}
        Err(Error::Internal { detail }) if detail.contains("closed") => {}
        Err(error) => panic!("{error}"),
    }
}
