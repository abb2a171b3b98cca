//! Documents of what is published, kept as they were written until that changes. Clients ask for them again and again.

use anabranch_engine::Registry;
use axum::body::Body;
use axum::http;
use axum::response::Response;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// Sorts of callers whose answers are kept: sites have a handful of roles, and some combinations of them.
const KEYS_MAX: usize = 64;

/// What is kept: one answer each for every sort of caller, to requests that name no choices.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Document {
    /// The first page of the list of processes, as JSON.
    Processes,
    Capabilities1_0,
    Capabilities2_0,
}

/// The answers that are kept.
#[derive(Default)]
pub(crate) struct Rendered([RwLock<HashMap<String, Kept>>; 3]);

struct Kept {
    /// Changes of the registry that the answer has, or fewer.
    changes: u64,
    response: http::Response<Bytes>,
}

impl Rendered {
    /// The answer to callers who see the same (`key`): the one that is kept where nothing was published or withdrawn since, else what `write` makes of the registry.
    pub(crate) fn answer<E>(
        &self,
        document: Document,
        key: &str,
        registry: &Registry,
        write: impl FnOnce() -> Result<http::Response<Bytes>, E>,
    ) -> Result<Response, E> {
        let kept = &self.0[document as usize];
        // Read before the processes are: what changes meanwhile makes the answer newer than it says, and it is written again.
        let changes = registry.changes();
        if let Some(kept) = kept.read().unwrap_or_else(PoisonError::into_inner).get(key)
            && kept.changes == changes
        {
            return Ok(kept.response.clone().map(Body::from));
        }
        let response = write()?;
        let mut kept = kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEYS_MAX && !kept.contains_key(key) {
            kept.clear();
        }
        if kept.get(key).is_none_or(|kept| kept.changes <= changes) {
            kept.insert(key.to_owned(), Kept { changes, response: response.clone() });
        }
        Ok(response.map(Body::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch_egress::{Egress, Policy};
    use anabranch_engine::{Engine, EngineConfig, Limits, Quotas};
    use anabranch_model::Process;
    use std::convert::Infallible;
    use std::sync::Arc;

    async fn engine() -> (tempfile::TempDir, Engine) {
        let folder = tempfile::tempdir().unwrap();
        let config = EngineConfig {
            data: folder.path().to_owned(),
            limits: Limits::default(),
            quotas: Quotas::default(),
        };
        let engine = Engine::open(config, Egress::new(Policy::default())).await.unwrap();
        (folder, engine)
    }

    fn names(registry: &Registry) -> String {
        let ids = registry.list().into_iter().map(|process| process.description().id.to_string());
        ids.collect::<Vec<_>>().join(",")
    }

    /// What a client reads, and whether it was written for it.
    async fn read(rendered: &Rendered, document: Document, registry: &Registry) -> (String, bool) {
        let mut written = false;
        let answer = rendered.answer(document, "", registry, || {
            written = true;
            let mut response = http::Response::new(names(registry).into());
            response.headers_mut().insert(http::header::LINK, http::HeaderValue::from_static("<next>"));
            Ok::<_, Infallible>(response)
        });
        let answer = answer.unwrap();
        assert_eq!(answer.headers()[http::header::LINK], "<next>");
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (String::from_utf8(bytes.to_vec()).unwrap(), written)
    }

    #[tokio::test]
    async fn an_answer_is_kept_until_something_is_published_or_withdrawn() {
        let (_folder, engine) = engine().await;
        let (registry, rendered) = (engine.registry(), Rendered::default());
        let published: Vec<Arc<dyn Process>> = anabranch_algorithms::all_processes();
        for process in &published {
            registry.publish(Arc::clone(process));
            for document in [Document::Processes, Document::Capabilities1_0, Document::Capabilities2_0] {
                assert_eq!(read(&rendered, document, registry).await, (names(registry), true));
                assert_eq!(read(&rendered, document, registry).await, (names(registry), false));
            }
        }
        registry.withdraw(&published[0].description().id);
        let (text, written) = read(&rendered, Document::Processes, registry).await;
        assert!(written && !text.contains(published[0].description().id.as_str()), "{text}");
    }

    #[tokio::test]
    async fn what_is_published_while_an_answer_is_written_is_in_the_next_one() {
        let (_folder, engine) = engine().await;
        let (registry, rendered) = (engine.registry(), Rendered::default());
        let process = anabranch_algorithms::all_processes().remove(0);
        let answer = rendered.answer(Document::Processes, "", registry, || {
            let old = names(registry);
            registry.publish(Arc::clone(&process));
            Ok::<_, Infallible>(http::Response::new(old.into()))
        });
        drop(answer);
        assert_eq!(read(&rendered, Document::Processes, registry).await.0, names(registry));
    }
}
