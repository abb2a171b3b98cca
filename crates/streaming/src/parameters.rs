//! The parameters that streaming adds to a process, with the names of 2012.

use anabranch_model::{Error, Fault, FaultKind, Inputs, Subject};

/// How many chunks vectors are cut into.
pub(crate) const NUMBER_OF_CHUNKS: &str = "NumberOfChunks";
/// Tiles along a row: columns of the grid of tiles.
pub(crate) const CHUNKS_BY_ROW: &str = "chunksByRow";
/// Tiles along a column: rows of the grid of tiles.
pub(crate) const CHUNKS_BY_COLUMN: &str = "chunksByColumn";
/// Longest time without a new chunk in the input, milliseconds.
pub(crate) const MAX_TIME_IDLE: &str = "MaxTimeIdle";

/// How many chunks a playlist that slides keeps.
pub const MAX_CHUNKS_KEPT: &str = "MaxChunksKept";

/// All of them.
pub(crate) const ALL: [&str; 5] =
    [NUMBER_OF_CHUNKS, CHUNKS_BY_ROW, CHUNKS_BY_COLUMN, MAX_TIME_IDLE, MAX_CHUNKS_KEPT];

/// Those that were there in 2012.
pub(crate) const OF_2012: [&str; 4] = [NUMBER_OF_CHUNKS, CHUNKS_BY_ROW, CHUNKS_BY_COLUMN, MAX_TIME_IDLE];

/// Taken where the client gives none, milliseconds.
pub(crate) const MAX_TIME_IDLE_DEFAULT: u64 = 60_000;

/// The value of a parameter, where it was given.
///
/// # Errors
/// Where binding let something through that is no count.
pub(crate) fn count(inputs: &Inputs, id: &str) -> Result<Option<u64>, Error> {
    let Some(text) = inputs.text(id) else { return Ok(None) };
    text.parse().map(Some).map_err(|_no_count| refused(id, "must be a count", text))
}

/// The rows and columns of the grid of tiles, where they were given.
///
/// # Errors
/// Where one was given without the other.
pub(crate) fn tiles(inputs: &Inputs) -> Result<Option<(u32, u32)>, Error> {
    let one = |id| -> Result<Option<u32>, Error> {
        let Some(count) = count(inputs, id)? else { return Ok(None) };
        let tiles = u32::try_from(count)
            .map_err(|_large| refused(id, &format!("must be at most {}", u32::MAX), &count.to_string()))?;
        Ok(Some(tiles))
    };
    match (one(CHUNKS_BY_ROW)?, one(CHUNKS_BY_COLUMN)?) {
        (None, None) => Ok(None),
        (Some(by_row), Some(by_column)) => Ok(Some((by_row, by_column))),
        (Some(_), None) => Err(missing(CHUNKS_BY_COLUMN, CHUNKS_BY_ROW)),
        (None, Some(_)) => Err(missing(CHUNKS_BY_ROW, CHUNKS_BY_COLUMN)),
    }
}

fn missing(id: &str, given: &str) -> Error {
    let rule = format!("is required where {given} is given");
    Error::invalid(Fault::new(Subject::Input(id.to_owned()), FaultKind::Missing, rule))
}

/// A parameter that breaks a rule.
pub(crate) fn refused(id: &str, rule: &str, value: &str) -> Error {
    Error::invalid(Fault::new(Subject::Input(id.to_owned()), FaultKind::NotAllowed, rule).with_value(value))
}
