//! Where pieces come from: cut out of data that is all there, or listed by playlists that grow.

use crate::tile::TilePlace;
use anabranch_model::{BoxFuture, ComplexValue, Error, Format};
use url::Url;

/// Gives the pieces of a stream, one after the other, when it is asked for the next.
pub(crate) trait Source: Send {
    /// The next piece; `None` at the end. Called again only after it has answered.
    ///
    /// # Errors
    /// What ends the stream.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Piece>, Error>>;

    /// How many pieces there will be, once that is known.
    fn total(&self) -> Option<u64>;
}

/// What one run of the process is given beside the inputs that all runs share.
pub(crate) struct Piece {
    /// Where it stands in the stream, from 0.
    pub(crate) position: u64,
    /// One value for each input that is cut.
    pub(crate) inputs: Vec<(String, PieceData)>,
    /// Its place in the raster that it was cut out of.
    pub(crate) place: Option<TilePlace>,
}

impl Piece {
    /// Nothing of it has to be fetched.
    pub(crate) fn is_here(&self) -> bool {
        self.inputs.iter().all(|(_, data)| matches!(data, PieceData::Here(_)))
    }
}

/// The value of one input in a piece.
pub(crate) enum PieceData {
    /// At hand.
    Here(ComplexValue),
    /// To be fetched when its turn comes.
    At {
        /// Where it is.
        url: Url,
        /// What the playlist says it is.
        format: Option<Format>,
    },
}
