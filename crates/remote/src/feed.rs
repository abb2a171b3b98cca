//! What a run at an agent is fed: the server's half asks for the pieces one by one, as the agent wants them, so that an executable that
//! reads slowly slows the source. The agent's half is `agent/feed.rs`.

use anabranch_model::{BoxFuture, ChunkReader, ComplexValue, Error, Feed};

type Asked = BoxFuture<'static, (Box<dyn ChunkReader>, Result<Option<ComplexValue>, Error>)>;

/// The feed of a run.
pub(crate) struct Feeding {
    input: String,
    /// Which piece is wanted next.
    n: u64,
    state: State,
}

enum State {
    Idle(Box<dyn ChunkReader>),
    /// Never dropped before it has answered: a piece would be lost.
    Asked(Asked),
    /// It has ended, well or not.
    Over,
}

/// What a run gets of its feed.
pub(crate) struct WantedPiece {
    pub(crate) input: String,
    pub(crate) n: u64,
    pub(crate) value: Result<Option<ComplexValue>, Error>,
}

impl Feeding {
    pub(crate) fn new(feed: Feed) -> Self {
        let input = feed.input.clone();
        Self { input, n: 0, state: State::Idle(feed.into_pieces()) }
    }

    /// The agent wants piece number `n`; of no account where it is not the next one.
    pub(crate) fn want(&mut self, n: u64) {
        if n != self.n {
            return;
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Idle(mut reader) => {
                let asked = async move {
                    let next = reader.next().await;
                    (reader, next)
                };
                self.state = State::Asked(Box::pin(asked));
            }
            state => self.state = state,
        }
    }

    /// The piece that is wanted, once it is there; waits for ever where none is. May be cancelled and called again.
    pub(crate) async fn next(feed: &mut Option<Self>) -> WantedPiece {
        let Some(Self { input, n, state }) = feed else { return std::future::pending().await };
        let State::Asked(asked) = state else { return std::future::pending().await };
        let (reader, value) = asked.await;
        *state = if matches!(value, Ok(Some(_))) { State::Idle(reader) } else { State::Over };
        *n += 1;
        WantedPiece { input: input.clone(), n: *n - 1, value }
    }
}
