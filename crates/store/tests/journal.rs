//! The journal's conformance, group commit, and what a failure does.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

use std::sync::mpsc::channel;
use syncline_engine::Heads;
use syncline_engine::catalogue::DocId;
use syncline_store::{DECISIONS, Journal, Log, MemoryLog, Record, SqliteLog, StoreError, conformance};

#[test]
fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    conformance::check(|| Box::new(SqliteLog::open(&path).unwrap()));
}

#[test]
fn memory_conforms() {
    let log = MemoryLog::new();
    conformance::check(|| Box::new(log.clone()));
}

fn setting(value: u32) -> Vec<Record> {
    vec![Record::Setting { name: "n".into(), value: value.to_le_bytes().to_vec() }]
}

#[test]
fn commits_are_answered_in_order_and_are_durable_by_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let reader = SqliteLog::open(&path).unwrap().reader().unwrap();
    let opener = Box::new(move || Ok(Box::new(SqliteLog::open(&path)?) as Box<dyn Log>));
    let journal = Journal::start(opener).unwrap();
    let (done, order) = channel();
    for number in 0..100 {
        let done = done.clone();
        journal.commit(setting(number), move |result| done.send(result.map(|()| number)).unwrap());
    }
    for number in 0..100 {
        assert_eq!(order.recv().unwrap().unwrap(), number);
    }
    assert_eq!(reader.setting("n").unwrap(), Some(99u32.to_le_bytes().to_vec()));
}

#[test]
fn after_a_failed_commit_the_log_is_opened_anew() {
    let log = MemoryLog::new();
    let (opens, opened) = channel();
    let shared = log.clone();
    let opener = Box::new(move || {
        opens.send(()).unwrap();
        Ok(Box::new(shared.clone()) as Box<dyn Log>)
    });
    let journal = Journal::start(opener).unwrap();
    log.fail_commits(1);
    let commit = |number| {
        let (done, result) = channel();
        journal.commit(setting(number), move |r| done.send(r).unwrap());
        result.recv().unwrap()
    };
    assert!(matches!(commit(1), Err(StoreError::Failed { .. })));
    commit(2).unwrap();
    assert_eq!(opened.try_iter().count(), 2, "once at the start, once after the failure");
}

/// A log on a full disk. It lets a commit begin only when it is told to, so that others gather behind it.
struct FullDisk(std::sync::mpsc::Receiver<()>);

impl Log for FullDisk {
    fn commit(&mut self, _: &[Record]) -> Result<(), StoreError> {
        // An error: nobody waits for this any more, and the test is over.
        let _ = self.0.recv();
        Err(StoreError::Full { path: "journal.db".into() })
    }

    fn reader(&self) -> Result<Box<dyn syncline_store::LogReader>, StoreError> {
        MemoryLog::new().reader()
    }
}

#[test]
fn every_commit_of_a_group_learns_that_the_disk_is_full() {
    let (go, gate) = channel();
    let (second_go, second_gate) = channel();
    let mut gates = vec![second_gate, gate];
    let opener = Box::new(move || match gates.pop() {
        Some(gate) => Ok(Box::new(FullDisk(gate)) as Box<dyn Log>),
        None => Err(StoreError::Closed),
    });
    let journal = Journal::start(opener).unwrap();
    let (done, results) = channel();
    for number in 0..10 {
        let done = done.clone();
        journal.commit(setting(number), move |result| done.send(result).unwrap());
    }
    // The first may be alone in its group; whoever came meanwhile is in the second. There is no third.
    [go, second_go].iter().for_each(|go| go.send(()).unwrap());
    for _ in 0..10 {
        let result = results.recv().unwrap();
        assert!(matches!(result, Err(StoreError::Full { .. })), "{result:?}");
    }
}

#[test]
fn a_journal_of_the_first_schema_is_upgraded_and_old_sessions_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let setting = Record::Setting { name: "kept".into(), value: vec![7] };
    SqliteLog::open(&path).unwrap().commit(&[setting]).unwrap();
    let sql = |text: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(text).unwrap();
    sql("DROP TABLE diff_sessions; DROP TABLE damaged; DROP TABLE displaced; DROP INDEX contents_kept; DROP INDEX requests_made;
         ALTER TABLE contents DROP COLUMN kept_ms; PRAGMA user_version = 1;");
    let mut log = SqliteLog::open(&path).unwrap();
    let session = |number| Record::DiffSession {
        session: [number; 16],
        doc: DocId([1; 16]),
        identity: [2; 32],
        state: vec![number],
    };
    log.commit(&[session(1), session(2)]).unwrap();
    let reader = log.reader().unwrap();
    assert_eq!(reader.setting("kept").unwrap(), Some(vec![7]));
    assert!(reader.diff_session([1; 16], DocId([1; 16])).unwrap().is_some());
    // A month and a day later the first is not found any more, and goes with the next that is recorded.
    sql("UPDATE diff_sessions SET used_ms = used_ms - 31 * 86400000 WHERE state = x'01'");
    assert_eq!(reader.diff_session([1; 16], DocId([1; 16])).unwrap(), None);
    log.commit(&[session(3)]).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let left: i64 = connection.query_row("SELECT COUNT(*) FROM diff_sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 2);
}

#[test]
fn what_explains_and_what_answers_repetitions_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let mut log = SqliteLog::open(&path).unwrap();
    let decision = |doc, number: u64| Record::Decision { doc, time_ms: number, what: format!("{number}") };
    let (one, other) = (DocId([1; 16]), DocId([2; 16]));
    let mut many: Vec<Record> = (0..DECISIONS + 50).map(|number| decision(one, number)).collect();
    many.push(decision(other, 7));
    log.commit(&many).unwrap();
    let reader = log.reader().unwrap();
    let kept = reader.decisions(one).unwrap();
    assert_eq!((kept.len() as u64, kept[0].0), (DECISIONS, 50), "the oldest went");
    assert_eq!(reader.decisions(other).unwrap().len(), 1);
    let request = |key: u8| Record::Request { key: vec![key], result: vec![key] };
    log.commit(&[request(1), request(2)]).unwrap();
    let sql = |text: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(text).unwrap();
    sql("UPDATE requests SET time_ms = time_ms - 31 * 86400000 WHERE key = x'01'");
    log.commit(&[request(3)]).unwrap();
    let left = [1, 2, 3].map(|key| reader.request(&[key]).unwrap().is_some());
    assert_eq!(left, [false, true, true]);
}

#[test]
fn a_journal_of_a_newer_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    drop(SqliteLog::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(matches!(SqliteLog::open(&path), Err(StoreError::Newer { found: 99, .. })));
}

#[test]
fn a_file_that_is_no_journal_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let bytes =
        b"this is not a database, but somebody's notes, long enough for a header to be read from".repeat(9);
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(SqliteLog::open(&path), Err(StoreError::Damaged { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn documents_can_be_asked_of_the_database_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let mut log = SqliteLog::open(&path).unwrap();
    log.commit(&[Record::Snapshot { doc: DocId([4; 16]), bytes: vec![1], heads: Heads::default() }]).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let changed: i64 =
        connection.query_row("SELECT changed_ms FROM documents", [], |row| row.get(0)).unwrap();
    assert!(changed > 1_700_000_000_000);
}
