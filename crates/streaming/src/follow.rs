//! Follows the playlists of a stream's inputs.

mod playlist;

use crate::Context;
use crate::own::OwnChunks;
use crate::parameters::{self, MAX_TIME_IDLE, MAX_TIME_IDLE_DEFAULT};
use crate::source::{Piece, PieceData, Source};
use crate::stream::Stream;
use anabranch_egress::parse_url;
use anabranch_formats::playlist::{read, single_address};
use anabranch_model::{BoxFuture, ComplexValue, Error, Fault, FaultKind, Format, JobId, Subject};
use playlist::Remote;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use url::Url;

/// Said in 2012 too.
const IDLE: &str =
    "Maximum time being idle has been exceeded. The input playlist was not updated as often as expected.";

/// The pieces of a stream whose inputs are playlists.
///
/// # Errors
/// What is wrong with an input that is no playlist and no address of one.
pub(crate) async fn open(context: &Arc<Context>, stream: &Stream) -> Result<Box<dyn Source>, Error> {
    let idle = parameters::count(stream.inputs(), MAX_TIME_IDLE)?.unwrap_or(MAX_TIME_IDLE_DEFAULT);
    let idle = Duration::from_millis(idle);
    let first = stream.first();
    let mut inputs = Vec::new();
    for (id, value) in stream.cut_inputs()? {
        let list = one(context, stream.job(), &id, &value, first, idle).await?;
        inputs.push(Followed { id, format: value.format.of_chunks(), list });
    }
    Ok(Box::new(Following { inputs, position: first }))
}

/// What lists the chunks of one input.
enum List {
    /// A playlist in the request: nothing more will come.
    Given(VecDeque<Url>),
    /// A playlist elsewhere.
    Remote(Box<Remote>),
    /// A playlist of this server.
    Own(Box<dyn OwnChunks>, Duration),
}

async fn one(
    context: &Arc<Context>,
    follower: JobId,
    id: &str,
    value: &ComplexValue,
    first: u64,
    idle: Duration,
) -> Result<List, Error> {
    let bytes_max = context.settings.playlist_bytes_max;
    let data = value.data.clone();
    let text =
        tokio::task::spawn_blocking(move || data.read_all(bytes_max)).await.map_err(Error::internal)?;
    let text = text.map_err(|error| Error::internal(format!("input '{id}': {error}")))?;
    let malformed =
        |rule: String| Error::invalid(Fault::new(Subject::Input(id.to_owned()), FaultKind::Malformed, rule));
    if let Some(address) = std::str::from_utf8(&text).ok().and_then(single_address) {
        let url = parse_url(address).map_err(|refused| malformed(refused.client_text()))?;
        if let Some(own) = context.own.open(follower, &url, first).await {
            return Ok(List::Own(own, idle));
        }
        context.egress.check(&url).map_err(|refused| Error::DataNotAccessible {
            input: id.to_owned(),
            reason: refused.client_text(),
        })?;
        return Ok(List::Remote(Box::new(Remote::new(context, url, first, idle))));
    }
    let playlist = read(&text, true).map_err(|error| malformed(format!("must be a playlist: {error}")))?;
    if playlist.exception.is_some() {
        return Err(malformed("must not end with an exception".into()));
    }
    let urls = playlist.chunks.iter().map(|address| {
        let url = parse_url(address).map_err(|refused| malformed(refused.client_text()))?;
        context.egress.check(&url).map_err(|refused| malformed(refused.client_text()))?;
        Ok(url)
    });
    let urls = urls.collect::<Result<VecDeque<_>, Error>>()?;
    Ok(List::Given(urls.into_iter().skip(usize::try_from(first).unwrap_or(usize::MAX)).collect()))
}

impl List {
    async fn next(&mut self, format: Option<&Format>) -> Result<Option<PieceData>, Error> {
        let at = |url| PieceData::At { url, format: format.cloned() };
        match self {
            Self::Given(urls) => Ok(urls.pop_front().map(at)),
            Self::Remote(remote) => Ok(remote.next().await?.map(at)),
            Self::Own(own, idle) => match timeout(*idle, own.next()).await {
                Ok(next) => Ok(next?.map(PieceData::Here)),
                Err(_elapsed) => Err(Error::process_failed(IDLE)),
            },
        }
    }
}

struct Followed {
    id: String,
    /// What the request says the chunks are.
    format: Option<Format>,
    list: List,
}

/// Goes through the playlists of all inputs side by side: their chunks go together by position.
struct Following {
    inputs: Vec<Followed>,
    position: u64,
}

impl Source for Following {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Piece>, Error>> {
        Box::pin(async move {
            let mut pieces = Vec::new();
            let mut ended = Vec::new();
            for input in &mut self.inputs {
                match input.list.next(input.format.as_ref()).await? {
                    Some(data) => pieces.push((input.id.clone(), data)),
                    None => ended.push(input.id.clone()),
                }
            }
            match (pieces.is_empty(), ended.first()) {
                (true, _) => return Ok(None),
                (false, Some(shorter)) => {
                    let message = format!(
                        "the playlist of input '{shorter}' has ended after {} chunks, and that of input '{}' has more",
                        self.position, pieces[0].0
                    );
                    return Err(Error::process_failed(message));
                }
                (false, None) => {}
            }
            let position = self.position;
            self.position += 1;
            Ok(Some(Piece { position, inputs: pieces, place: None }))
        })
    }

    fn total(&self) -> Option<u64> {
        let known = self.inputs.iter().map(|input| match &input.list {
            List::Given(rest) => Some(self.position + rest.len() as u64),
            List::Remote(remote) => remote.total(),
            List::Own(..) => None,
        });
        known.min().flatten()
    }
}
