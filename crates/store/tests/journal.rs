//! The journal's conformance, group commit, and what a failure does.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
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

/// The journal's own log, of which a commit fails when told to, as if an fsync had failed. What the disk does then, it
/// does to the closed file.
struct Failing {
    log: Option<SqliteLog>,
    path: PathBuf,
    fault: Fault,
}

type Fault = Arc<Mutex<Option<Box<dyn FnOnce(&Path) + Send>>>>;

impl Log for Failing {
    fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let Some(fault) = self.fault.lock().unwrap().take() else {
            return self.log.as_mut().unwrap().commit(records);
        };
        // Closing it moves all into the one file.
        self.log = None;
        fault(&self.path);
        Err(StoreError::Failed { path: self.path.clone(), what: "fsync".into() })
    }

    fn check(&self) -> Result<(), StoreError> {
        self.log.as_ref().unwrap().check()
    }

    fn reader(&self) -> Result<Box<dyn syncline_store::LogReader>, StoreError> {
        self.log.as_ref().unwrap().reader()
    }
}

struct Fragile {
    folder: tempfile::TempDir,
    fault: Fault,
    journal: Journal,
}

impl Fragile {
    fn start() -> Fragile {
        let (folder, fault) = (tempfile::tempdir().unwrap(), Fault::default());
        let (path, told) = (folder.path().join("journal.db"), fault.clone());
        let opener = Box::new(move || {
            let log = Some(SqliteLog::open(&path)?);
            Ok(Box::new(Failing { log, path: path.clone(), fault: told.clone() }) as Box<dyn Log>)
        });
        let journal = Journal::start(opener).unwrap();
        Fragile { folder, fault, journal }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    fn commit(&self, records: Vec<Record>) -> Result<(), StoreError> {
        let (done, result) = channel();
        self.journal.commit(records, move |it| done.send(it).unwrap());
        result.recv().unwrap()
    }

    /// What a commit is answered that fails, and the next.
    fn fail(&self, fault: impl FnOnce(&Path) + Send + 'static) -> [Result<(), StoreError>; 2] {
        *self.fault.lock().unwrap() = Some(Box::new(fault));
        [self.commit(setting(0)), self.commit(setting(77))]
    }

    fn found(&self) -> Option<Vec<u8>> {
        SqliteLog::open(&self.path()).unwrap().reader().unwrap().setting("n").unwrap()
    }
}

fn is_read_only(answer: &Result<(), StoreError>) -> bool {
    matches!(answer, Err(StoreError::ReadOnly { .. }))
}

#[test]
fn a_sound_journal_goes_on_after_a_failed_commit() {
    let fragile = Fragile::start();
    for number in 1..5 {
        fragile.commit(setting(number)).unwrap();
        let [failed, next] = fragile.fail(|_| ());
        assert!(matches!(failed, Err(StoreError::Failed { .. })), "{failed:?}");
        next.unwrap();
    }
    assert_eq!(fragile.found(), Some(77u32.to_le_bytes().to_vec()));
}

#[test]
fn a_failed_commit_that_was_made_is_no_loss() {
    let fragile = Fragile::start();
    fragile.commit(setting(1)).unwrap();
    let made = |path: &Path| SqliteLog::open(path).unwrap().commit(&setting(0)).unwrap();
    let [failed, next] = fragile.fail(made);
    assert!(matches!(failed, Err(StoreError::Failed { .. })), "{failed:?}");
    next.unwrap();
}

#[test]
fn a_journal_that_lost_what_was_acknowledged_takes_nothing_more() {
    let fragile = Fragile::start();
    fragile.commit(setting(1)).unwrap();
    let kept = fragile.folder.path().join("older");
    let (to, from) = (kept.clone(), kept);
    let [_, next] = fragile.fail(move |path| assert!(std::fs::copy(path, to).is_ok()));
    next.unwrap();
    let answers = fragile.fail(move |path| assert!(std::fs::copy(from, path).is_ok()));
    assert!(answers.iter().all(is_read_only), "{answers:?}");
    assert_eq!(fragile.found(), Some(1u32.to_le_bytes().to_vec()), "it can be read, and nothing was added");
}

#[test]
fn a_journal_that_vanished_is_not_begun_anew_under_those_it_acknowledged() {
    let fragile = Fragile::start();
    fragile.commit(setting(1)).unwrap();
    let answers = fragile.fail(|path| std::fs::remove_file(path).unwrap());
    assert!(answers.iter().all(is_read_only), "{answers:?}");
}

#[test]
fn a_damaged_journal_takes_nothing_more_after_a_failure() {
    let fragile = Fragile::start();
    let what = "a line that fills pages".repeat(20);
    let decision = |time_ms| Record::Decision { doc: DocId([1; 16]), time_ms, what: what.clone() };
    fragile.commit((0..200).map(decision).collect()).unwrap();
    fragile.commit(setting(1)).unwrap();
    // A block in the middle went bad. What was acknowledged last is elsewhere.
    let answers = fragile.fail(|path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2 / 4096 * 4096;
        bytes[middle..middle + 4096].fill(0x55);
        std::fs::write(path, bytes).unwrap();
    });
    assert!(answers.iter().all(is_read_only), "{answers:?}");
}
