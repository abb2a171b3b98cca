//! Wraps any process so that one of its inputs is cut into chunks (*output streaming*), or arrives in chunks while it runs (*full streaming*).
//!
//! A process says by [`anabranch_model::Chunking`] that what it does with a part of an input does not depend on the other parts. For each
//! such process [`Streaming::variants`] gives two more: `OutputStreaming<X>` and `FullStreaming<X>`. Both run the process once for
//! every chunk, several at a time, and push what comes out into *one* output, in the order of the input. Whatever the process is (an
//! algorithm, an executable, agents), it is run as it always is: a chunk of a remote process goes to whichever agent the pool picks.
//!
//! Read these three first: [`flow`] (from pieces to chunks of the output), [`Source`](source::Source) (where pieces come from),
//! [`describe`] (what clients see).
//!
//! **Source.** Streaming based WPS of 52°North (2012), whose parameters and playlists this keeps, cured of its known defects.

mod chunks;
mod cut;
mod describe;
mod fed;
mod fetch;
mod flow;
mod follow;
mod join;
mod of_2012;
mod own;
mod parameters;
mod part;
mod process;
mod renamed;
mod settings;
mod source;
mod stream;
mod tile;

pub use own::{OwnChunks, OwnPlaylists};
pub use parameters::MAX_CHUNKS_KEPT;
pub use settings::Settings;

use anabranch_egress::Egress;
use anabranch_model::Process;
use process::{Pieces, StreamingProcess};
use std::sync::Arc;

/// Makes streaming processes of others. Cheap to clone.
#[derive(Clone)]
pub struct Streaming(Arc<Context>);

/// What all streams of a server share.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) egress: Egress,
    pub(crate) own: Arc<dyn OwnPlaylists>,
    pub(crate) buffers: cut::Buffers,
}

impl Streaming {
    /// Playlists and chunks of others are fetched through `egress`, those of this server are taken from `own`.
    #[must_use]
    pub fn new(settings: Settings, egress: Egress, own: Arc<dyn OwnPlaylists>) -> Self {
        Self(Arc::new(Context { settings, egress, own, buffers: cut::Buffers::default() }))
    }

    /// The streaming processes of a process; none where it does not say how it can be run piece by piece, or says it of something that can't
    /// be cut. Chunks are given to `base` in every format that it offers.
    #[must_use]
    pub fn variants(&self, base: &Arc<dyn Process>) -> Vec<Arc<dyn Process>> {
        let description = base.description();
        let variant = |described, pieces| {
            Arc::new(StreamingProcess::new(described, base, &self.0, pieces)) as Arc<dyn Process>
        };
        let output =
            describe::output_streaming(&description).map(|described| variant(described, Pieces::Cut));
        let full = describe::full_streaming(&description, self.0.settings.poll_ms);
        let full = full.map(|described| variant(described, Pieces::Followed));
        output.into_iter().chain(full).collect()
    }

    /// The process of 52°North's server of 2012 that one of ours is, under its names; `None` where it is none. To be asked of built-in
    /// processes and their streaming processes as they are published, since those of 2012 speak GML.
    #[must_use]
    pub fn of_2012(&self, ours: &Arc<dyn Process>) -> Option<Arc<dyn Process>> {
        of_2012::of(ours)
    }
}
