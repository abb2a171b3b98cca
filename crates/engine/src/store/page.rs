//! A page of the list of jobs: one cursor down an index for each combination of what is asked for, merged by time.
//!
//! A filter by owner, process, state or duration becomes equalities of one of the [`Indexes`] and a range of `created`,
//! so that each cursor gives its jobs in the order of the list and is read no further than the page needs. Nothing is sorted
//! and no table is scanned (`tests` looks at the plans). Only in the class that a bound of duration lies in jobs are looked at
//! one by one, in the index.

use super::database::Reading;
use super::row::{self, StoredJob, read_view};
use super::sql::{Param, Row, StoreError};
use crate::list::{Cursor, Direction, JobFilter, PAGE_JOBS_MAX, StateName};
use anabranch_model::Timestamp;
use rusqlite::{Connection, Statement, params_from_iter};
use std::collections::{BTreeSet, BinaryHeap};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The indexes that lists run down: of all jobs, or of those of one owner, whose indexes have `owner` before the rest.
struct Indexes {
    /// `(created)`: jobs of any process, state and duration.
    created: &'static str,
    /// `(state, duration_class, created, sequence, duration_us)`
    state: &'static str,
    /// The same with `process` before it.
    process: &'static str,
}

const ALL: Indexes =
    Indexes { created: "jobs_created", state: "jobs_state_duration", process: "jobs_process_duration" };
const OWNED: Indexes =
    Indexes { created: "jobs_owner", state: "jobs_owner_state", process: "jobs_owner_process" };

/// Where the classes of duration after the first begin, in microseconds; the schema has the same numbers. Class 0 took no time at all,
/// the others are about four times as long as the one before. They begin between whole seconds, which clients ask for, so that
/// of each class some jobs lie on either side of a bound within it. What has finished without having started is in none.
const CLASSES_US: [i64; 10] = [
    1,
    500_000,
    4_500_000,
    16_500_000,
    64_500_000,
    256_500_000,
    1_024_500_000,
    4_096_500_000,
    16_384_500_000,
    65_536_500_000,
];

/// One page, in the order of the list, and one job more where there is one behind it.
pub(super) fn read(
    database: &Reading,
    filter: &JobFilter,
    now: Timestamp,
) -> Result<Vec<StoredJob>, StoreError> {
    match database {
        Reading::Sqlite(connection) => read_sqlite(connection, filter, now),
        Reading::Postgres(..) => read_as_one(database, filter, now),
    }
}

/// As one statement, for databases that are asked over a network: the first rows of each cursor, merged.
fn read_as_one(database: &Reading, filter: &JobFilter, now: Timestamp) -> Result<Vec<StoredJob>, StoreError> {
    let (mut parts, mut values) = (Vec::new(), Vec::new());
    let jobs_max = filter.limit.clamp(1, PAGE_JOBS_MAX) + 1;
    let order = order(filter.direction());
    for cursor in cursors(filter, now) {
        let sql = numbered_from(&format!("SELECT created, sequence FROM jobs {}", cursor.sql), values.len());
        parts.push(format!("({sql} LIMIT {jobs_max})"));
        values.extend(cursor.values);
    }
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {} FROM jobs WHERE sequence IN (SELECT sequence FROM ({}) AS found ORDER BY {order} LIMIT {jobs_max}) ORDER BY {order}",
        row::COLUMNS,
        parts.join(" UNION ALL "),
    );
    database.query(&sql, &values, read_view)
}

/// The same statement with the numbers of its placeholders raised.
fn numbered_from(sql: &str, first: usize) -> String {
    let mut parts = sql.split('?');
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let number: usize = part[..end].parse().unwrap_or_default();
        all += &format!("?{}{}", number + first, &part[end..]);
    }
    all
}

fn read_sqlite(
    connection: &Connection,
    filter: &JobFilter,
    now: Timestamp,
) -> Result<Vec<StoredJob>, StoreError> {
    // All cursors have to see the same jobs.
    let transaction = connection.unchecked_transaction()?;
    let jobs_max = filter.limit.clamp(1, PAGE_JOBS_MAX) + 1;
    let mut jobs = Vec::new();
    let sql = format!("SELECT {} FROM jobs WHERE sequence=?1", row::COLUMNS);
    let mut job = transaction.prepare_cached(&sql)?;
    for sequence in merged(&transaction, &cursors(filter, now), filter.direction(), jobs_max)? {
        let mut rows = job.query([sequence])?;
        if let Some(row) = rows.next()? {
            jobs.push(read_view(Row::Sqlite(row))?);
        }
    }
    Ok(jobs)
}

/// The first rows of all cursors together.
fn merged(
    connection: &Connection,
    cursors: &[Query],
    direction: Direction,
    jobs_max: usize,
) -> rusqlite::Result<Vec<i64>> {
    let prepared = cursors.iter().map(|cursor| connection.prepare(&cursor.sqlite()));
    let mut statements = prepared.collect::<rusqlite::Result<Vec<Statement<'_>>>>()?;
    let mut rows = Vec::with_capacity(statements.len());
    for (statement, cursor) in statements.iter_mut().zip(cursors) {
        rows.push(statement.query(params_from_iter(&cursor.values))?);
    }
    // The heap gives the greatest key first.
    let sign = match direction {
        Direction::Older => 1,
        Direction::Newer => -1,
    };
    let mut heads = BinaryHeap::with_capacity(rows.len());
    for (place, rows) in rows.iter_mut().enumerate() {
        if let Some(row) = rows.next()? {
            heads.push((sign * row.get::<_, i64>(0)?, sign * row.get::<_, i64>(1)?, place));
        }
    }
    let mut sequences = Vec::new();
    while sequences.len() < jobs_max
        && let Some((_, sequence, place)) = heads.pop()
    {
        sequences.push(sign * sequence);
        if let Some(row) = rows[place].next()? {
            heads.push((sign * row.get::<_, i64>(0)?, sign * row.get::<_, i64>(1)?, place));
        }
    }
    Ok(sequences)
}

/// A statement with its values: they are never text of it, so that nothing a client says is read as SQL.
#[derive(Clone, Debug, Default)]
struct Query {
    /// Down which it goes. SQLite has to be told, others find it.
    index: &'static str,
    /// From `WHERE` on.
    sql: String,
    values: Vec<Param<'static>>,
}

impl Query {
    /// Demands that `column` stands so to a value.
    fn and(&mut self, column: &str, is: &str, value: impl Into<Param<'static>>) {
        self.values.push(value.into());
        self.sql += &format!(" AND {column} {is} ?{}", self.values.len());
    }

    fn sqlite(&self) -> String {
        format!("SELECT created, sequence FROM jobs INDEXED BY {} {}", self.index, self.sql)
    }
}

/// One for each combination of process, state and class of duration that the filter allows.
fn cursors(filter: &JobFilter, now: Timestamp) -> Vec<Query> {
    let (indexes, mut of_owner) = (if filter.owner.is_some() { OWNED } else { ALL }, Query::default());
    if let Some(owner) = &filter.owner {
        of_owner.and("owner", "=", owner.as_str().to_owned());
    }
    if filter.processes.is_empty() && filter.states.is_empty() && !is_by_duration(filter) {
        return vec![cursor(indexes.created, filter, of_owner)];
    }
    let unique: BTreeSet<_> = filter.processes.iter().collect();
    let mut processes: Vec<_> = unique.into_iter().map(Some).collect();
    if processes.is_empty() {
        processes.push(None);
    }
    let mut all = Vec::new();
    for process in processes {
        let index = if process.is_some() { indexes.process } else { indexes.state };
        for state in states(filter) {
            let mut of_state = of_owner.clone();
            if let Some(process) = process {
                of_state.and("process", "=", process.as_str().to_owned());
            }
            of_state.and("state", "=", state.code());
            let by_class = by_class(filter, state, &of_state, now);
            all.extend(by_class.into_iter().map(|query| cursor(index, filter, query)));
        }
    }
    all
}

fn is_by_duration(filter: &JobFilter) -> bool {
    filter.duration_min.is_some() || filter.duration_max.is_some()
}

fn states(filter: &JobFilter) -> BTreeSet<StateName> {
    if filter.states.is_empty() {
        return StateName::ALL.into_iter().collect();
    }
    filter.states.iter().copied().collect()
}

/// The classes of duration that jobs in a state can have, with a look at the duration itself where a bound lies within.
fn by_class(filter: &JobFilter, state: StateName, of_state: &Query, now: Timestamp) -> Vec<Query> {
    let mut without_class = of_state.clone();
    without_class.sql += " AND duration_class IS NULL";
    match state {
        // Not begun: of no duration.
        StateName::Accepted if is_by_duration(filter) => return Vec::new(),
        StateName::Accepted => return vec![without_class],
        // There are no more of these than run slots, so that each may be looked at.
        StateName::Running => {
            for (bound, is) in [(filter.duration_min, "<="), (filter.duration_max, ">=")] {
                if let Some(bound) = bound {
                    let started = now.as_microsecond().saturating_sub(micros(bound));
                    without_class.and("started", is, started);
                }
            }
            return vec![without_class];
        }
        StateName::Succeeded | StateName::Failed | StateName::Dismissed => {}
    }
    let mut all: Vec<Query> = Vec::new();
    for class in 0..=CLASSES_US.len() {
        let held = durations_us(class);
        let min = filter.duration_min.map_or(0, micros);
        let max = filter.duration_max.map_or(i64::MAX, micros);
        if max < *held.start() || *held.end() < min {
            continue;
        }
        let mut of_class = of_state.clone();
        of_class.and("duration_class", "=", i64::try_from(class).unwrap_or(i64::MAX));
        if *held.start() < min {
            of_class.and("duration_us", ">=", min);
        }
        if max < *held.end() {
            of_class.and("duration_us", "<=", max);
        }
        all.push(of_class);
    }
    if !is_by_duration(filter) {
        all.push(without_class);
    }
    all
}

/// What a class holds, in microseconds.
fn durations_us(class: usize) -> RangeInclusive<i64> {
    let begin = |class: usize| CLASSES_US.get(class).copied();
    let from = class.checked_sub(1).and_then(begin).unwrap_or(0);
    from..=begin(class).map_or(i64::MAX, |next| next - 1)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The place and time of every job that a query finds, in the order of the page.
fn cursor(index: &'static str, filter: &JobFilter, mut query: Query) -> Query {
    let mut from = filter.created_from.map(Timestamp::as_microsecond);
    let mut to = filter.created_to.map(Timestamp::as_microsecond);
    if let Some(Cursor { created_us, sequence, direction }) = filter.page {
        let beyond = match direction {
            Direction::Older => {
                to = Some(to.map_or(created_us, |to| to.min(created_us)));
                '<'
            }
            Direction::Newer => {
                from = Some(from.map_or(created_us, |from| from.max(created_us)));
                '>'
            }
        };
        query.values.extend([created_us.into(), sequence.into()]);
        let (created, sequence) = (query.values.len() - 1, query.values.len());
        query.sql += &format!(
            " AND (created {beyond} ?{created} OR (created = ?{created} AND sequence {beyond} ?{sequence}))"
        );
    }
    for (bound, is) in [(from, ">="), (to, "<=")] {
        if let Some(bound) = bound {
            query.and("created", is, bound);
        }
    }
    query.index = index;
    query.sql = format!("WHERE TRUE{} ORDER BY {}", query.sql, order(filter.direction()));
    query
}

fn order(direction: Direction) -> &'static str {
    match direction {
        Direction::Older => "created DESC, sequence DESC",
        Direction::Newer => "created ASC, sequence ASC",
    }
}

#[cfg(test)]
mod tests;
