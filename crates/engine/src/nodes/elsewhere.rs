//! Jobs of other nodes that clients follow here.

use super::LOOK;
use crate::engine::Inner;
use crate::folders::blocking;
use crate::log::read_page;
use crate::view::JobView;
use anabranch_model::{Error, JobId, Viewer};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Who is followed, each once. Bounded by those who follow, for whom the server has limits.
#[derive(Default)]
pub(crate) struct Elsewhere(Mutex<HashMap<JobId, watch::Sender<Arc<JobView>>>>);

impl Elsewhere {
    fn followed(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<Arc<JobView>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a job that is in this state now; closed once it has finished or is removed.
    pub(crate) fn follow(&self, view: Arc<JobView>) -> watch::Receiver<Arc<JobView>> {
        let mut followed = self.followed();
        followed.entry(view.job.id).or_insert_with(|| watch::Sender::new(view)).subscribe()
    }

    /// Jobs that somebody still follows.
    pub(super) fn ids(&self) -> Vec<JobId> {
        let mut followed = self.followed();
        followed.retain(|_, sender| sender.receiver_count() > 0);
        followed.keys().copied().collect()
    }

    /// What has become of a job; `None` where it has been removed.
    pub(super) fn show(&self, id: JobId, view: Option<JobView>) {
        let mut followed = self.followed();
        let Some(view) = view else {
            followed.remove(&id);
            return;
        };
        let finished = view.job.is_finished();
        if let Some(sender) = followed.get(&id) {
            sender.send_if_modified(|shown| {
                let news = **shown != view;
                if news {
                    *shown = Arc::new(view);
                }
                news
            });
        }
        if finished {
            followed.remove(&id);
        }
    }
}

impl Inner {
    /// Follows the number of lines in the log of another node's job; closed once the job has finished.
    pub(crate) async fn watch_log_elsewhere(&self, id: JobId) -> Result<watch::Receiver<u64>, Error> {
        let mut views = self.watch(&Viewer::Operator, id).await?;
        let path = self.folders.log(id);
        let (sender, receiver) = watch::channel(lines(path.clone()).await?);
        tokio::spawn(async move {
            loop {
                let ended = tokio::select! {
                    // Where the job is removed, its log is too.
                    _end = views.wait_for(|view| view.job.is_finished()) => true,
                    () = tokio::time::sleep(LOOK) => false,
                    () = sender.closed() => return,
                };
                let Ok(now) = lines(path.clone()).await else { return };
                sender.send_if_modified(|lines| std::mem::replace(lines, now) != now);
                if ended {
                    return;
                }
            }
        });
        Ok(receiver)
    }
}

async fn lines(path: PathBuf) -> Result<u64, Error> {
    Ok(blocking(move || read_page(&path, 0, 0)).await??.total)
}
