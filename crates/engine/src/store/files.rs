//! Which files the rows of a store speak of. For whoever looks at a store from outside: `check`, `backup`.

use super::row::{read_request, read_value};
use super::sql::StoreError;
use crate::live::file_of;
use anabranch_model::{Data, DataFile, InputData};
use rusqlite::{Connection, Row};
use std::path::Path;

/// In every value that lies in a file, and hardly in another: what lacks it need not be read.
const MARK: &str = "\"file\"";

/// Tells each file that a chunk or a request speaks of, with the row number of its job; and rows that can't be read. Blocking.
pub(crate) fn each_file(
    connection: &Connection,
    root: &Path,
    mut found: impl FnMut(i64, Result<&DataFile, StoreError>),
) -> rusqlite::Result<()> {
    each_row(connection, "SELECT sequence, value FROM chunks", |sequence, text| {
        match read_value(1, text, root) {
            Ok(value) => file_of(&value).into_iter().for_each(|file| found(sequence, Ok(file))),
            Err(error) => found(sequence, Err(error)),
        }
    })?;
    each_row(connection, "SELECT sequence, request FROM requests", |sequence, text| {
        match read_request(1, text, root) {
            Ok(stored) => {
                for item in &stored.request.inputs {
                    if let InputData::Bytes(Data::File(file)) = &item.data {
                        found(sequence, Ok(file));
                    }
                }
            }
            Err(error) => found(sequence, Err(error)),
        }
    })
}

fn each_row(connection: &Connection, sql: &str, mut read: impl FnMut(i64, &str)) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text = text(row)?;
        if text.contains(MARK) {
            read(row.get(0)?, text);
        }
    }
    Ok(())
}

fn text<'a>(row: &'a Row<'_>) -> rusqlite::Result<&'a str> {
    Ok(row.get_ref(1)?.as_str()?)
}
