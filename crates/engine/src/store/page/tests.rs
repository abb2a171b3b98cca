use super::*;
use crate::store::schema;
use anabranch_model::{JobId, ProcessId, UserName};

const STATES: [StateName; 5] = StateName::ALL;
/// In seconds: the bounds of classes, beside them, and within.
const DURATIONS_S: [i64; 9] = [0, 1, 3, 4, 5, 15, 64, 100, 300_000];
const NOW_S: i64 = 1_700_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW_S).unwrap()
}

const INSERT: &str = "INSERT INTO jobs (sequence, id, process, state, created, started, finished, updated, attempt, sync, detail, outputs, owner, stored_bytes)
                      VALUES (?1,?2,?3,?4,?5,?6,?7,?5,1,0,?8,'[]',?9,0)";

/// Jobs of three processes, every state and duration, several at the same moment: the values of [`INSERT`] but for the identifier.
fn rows() -> Vec<[Param<'static>; 8]> {
    let row = |n: i64| {
        let state = STATES[usize::try_from(n % 5).unwrap()];
        let created = (NOW_S - 1_000_000 + n / 4) * 1_000_000;
        let duration = DURATIONS_S[usize::try_from(n / 5 % 9).unwrap()] * 1_000_000;
        let ended = !matches!(state, StateName::Accepted | StateName::Running);
        let started = match state {
            StateName::Accepted => None,
            StateName::Running => Some(NOW_S * 1_000_000 - duration),
            // Dismissed before it began.
            StateName::Dismissed if n % 2 == 0 => None,
            _ => Some(created),
        };
        let finished = ended.then(|| created + duration);
        let process = format!("p{}", n % 3);
        [
            n.into(),
            process.into(),
            state.code().into(),
            created.into(),
            started.into(),
            finished.into(),
            detail(state).into(),
            (n % 7 < 3).then_some("anna").into(),
        ]
    };
    (0..540).map(row).collect()
}

/// A store with [`rows`].
fn store() -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let connection = schema::open(&folder.path().join("jobs.sqlite")).unwrap();
    for [sequence, process, state, created, started, finished, detail, owner] in rows() {
        let id = JobId::random();
        let id = id.as_bytes().into();
        let values = [sequence, id, process, state, created, started, finished, detail, owner];
        connection.execute(INSERT, params_from_iter(&values)).unwrap();
    }
    (folder, connection)
}

/// The same in PostgreSQL.
fn store_in_postgres(runtime: &tokio::runtime::Runtime) -> (tempfile::TempDir, Reading) {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::tests::postgres::store(folder.path(), crate::tests::postgres::ONLY);
    let session = runtime.block_on(async {
        let nodes = crate::nodes::Nodes::enter(&store).await.unwrap();
        let mut session = nodes.session();
        for [sequence, process, state, created, started, finished, detail, owner] in rows() {
            let id = JobId::random();
            let id = id.as_bytes().into();
            let values = [sequence, id, process, state, created, started, finished, detail, owner];
            session.execute(INSERT, &values).await.unwrap();
        }
        session
    });
    (folder, Reading::Postgres(session.into(), runtime.handle().clone()))
}

fn detail(state: StateName) -> Option<String> {
    use anabranch_model::{DismissedBy, Error, JobState, Outcome};
    let state = match state {
        StateName::Accepted | StateName::Succeeded => return None,
        StateName::Running => JobState::Running { progress: 0.0, message: None, dismissing: None },
        StateName::Failed => JobState::Finished(Outcome::Failed(Error::process_failed("no"))),
        StateName::Dismissed => JobState::Finished(Outcome::Dismissed(DismissedBy::Client)),
    };
    row::detail(&state).unwrap()
}

/// Every combination of filters.
fn filters() -> Vec<JobFilter> {
    let process = |n: i32| ProcessId::new(format!("p{n}")).unwrap();
    let second = |s: i64| Timestamp::from_second(NOW_S - 1_000_000 + s).unwrap();
    let anna = UserName::new("anna").unwrap();
    let mut all = Vec::new();
    for processes in [vec![], vec![process(1)], vec![process(2), process(0), process(9)]] {
        for states in [
            vec![],
            vec![StateName::Running],
            vec![StateName::Failed, StateName::Dismissed],
            vec![StateName::Accepted, StateName::Succeeded],
        ] {
            for (created_from, created_to) in [
                (None, None),
                (Some(second(20)), None),
                (None, Some(second(90))),
                (Some(second(20)), Some(second(90))),
            ] {
                for (min, max) in
                    [(None, None), (Some(4), None), (None, Some(4)), (Some(2), Some(100)), (Some(9), Some(3))]
                {
                    let filter = JobFilter {
                        processes: processes.clone(),
                        states: states.clone(),
                        created_from,
                        created_to,
                        duration_min: min.map(Duration::from_secs),
                        duration_max: max.map(Duration::from_secs),
                        ..JobFilter::all()
                    };
                    all.push(JobFilter { owner: Some(anna.clone()), ..filter.clone() });
                    all.push(filter);
                }
            }
        }
    }
    all
}

fn wanted(filter: &JobFilter, stored: &StoredJob) -> bool {
    let job = &stored.view.job;
    let duration = job
        .started
        .map(|started| Duration::try_from(job.finished.unwrap_or_else(now).duration_since(started)).unwrap());
    filter.owner.as_ref().is_none_or(|owner| job.owner.as_ref() == Some(owner))
        && (filter.processes.is_empty() || filter.processes.contains(&job.process))
        && (filter.states.is_empty() || filter.states.contains(&StateName::of(&job.state)))
        && filter.created_from.is_none_or(|from| job.created >= from)
        && filter.created_to.is_none_or(|to| job.created <= to)
        && filter.duration_min.is_none_or(|min| duration.is_some_and(|duration| duration >= min))
        && filter.duration_max.is_none_or(|max| duration.is_some_and(|duration| duration <= max))
}

#[test]
fn every_filter_finds_what_a_look_at_each_job_finds() {
    let (_folder, connection) = store();
    finds_what_a_look_at_each_job_finds(&Reading::Sqlite(connection));
}

#[test]
fn so_it_does_in_postgres() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_folder, database) = store_in_postgres(&runtime);
    finds_what_a_look_at_each_job_finds(&database);
}

fn finds_what_a_look_at_each_job_finds(database: &Reading) {
    let all = read(database, &JobFilter { limit: 1000, ..JobFilter::all() }, now()).unwrap();
    assert_eq!(all.len(), 540);
    assert!(all.is_sorted_by_key(|job| std::cmp::Reverse((job.view.job.created, job.sequence))));
    for filter in filters() {
        let expected: Vec<_> =
            all.iter().filter(|stored| wanted(&filter, stored)).map(|stored| stored.sequence).collect();
        let middle = expected.get(expected.len() / 2).copied();
        let found = |page, limit| {
            let filter = JobFilter { page, limit, ..filter.clone() };
            let jobs = read(database, &filter, now()).unwrap();
            jobs.iter().map(|stored| stored.sequence).collect::<Vec<_>>()
        };
        assert_eq!(found(None, 1000), expected, "{filter:?}");
        let Some(middle) = middle else { continue };
        let job = all.iter().find(|stored| stored.sequence == middle).unwrap();
        let created_us = job.view.job.created.as_microsecond();
        let cursor = |direction| Some(Cursor { created_us, sequence: middle, direction });
        let half = expected.len() / 2;
        assert_eq!(found(cursor(Direction::Older), 1000), expected[half + 1..], "{filter:?}");
        let newer: Vec<_> = expected[..half].iter().rev().copied().collect();
        assert_eq!(found(cursor(Direction::Newer), 1000), newer, "{filter:?}");
        assert_eq!(found(cursor(Direction::Newer), 1), newer[..newer.len().min(2)], "{filter:?}");
    }
}

#[test]
fn no_filter_scans_or_sorts() {
    let (_folder, connection) = store();
    for filter in filters() {
        for direction in [None, Some(Direction::Older), Some(Direction::Newer)] {
            let page = direction.map(|direction| Cursor { created_us: 5, sequence: 5, direction });
            let filter = JobFilter { page, ..filter.clone() };
            for cursor in cursors(&filter, now()) {
                let sql = format!("EXPLAIN QUERY PLAN {}", cursor.sqlite());
                let mut statement = connection.prepare(&sql).unwrap();
                let plan: Vec<String> = statement
                    .query_map(params_from_iter(&cursor.values), |row| row.get(3))
                    .unwrap()
                    .map(Result::unwrap)
                    .collect();
                // Without any filter, the whole index is the list.
                let by_index = |line: &String| {
                    line.starts_with("SEARCH jobs USING")
                        || line.starts_with("SCAN jobs USING COVERING INDEX jobs_created")
                };
                assert!(plan.len() == 1 && plan.iter().all(by_index), "{plan:?}: {}", cursor.sql);
                let bounded = filter.created_to.is_some() || filter.created_from.is_some() || page.is_some();
                assert!(!bounded || plan[0].contains("created"), "{plan:?}: {}", cursor.sql);
            }
        }
    }
}

#[test]
fn the_schema_has_the_same_classes() {
    let (_folder, connection) = store();
    let mut statement = connection.prepare("SELECT duration_us, duration_class FROM jobs").unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (duration, class): (Option<i64>, Option<usize>) = (row.get(0).unwrap(), row.get(1).unwrap());
        let expected = duration.map(|duration| {
            (0..=CLASSES_US.len()).find(|class| durations_us(*class).contains(&duration)).unwrap()
        });
        assert_eq!(class, expected, "{duration:?}");
    }
}
