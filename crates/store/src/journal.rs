//! The thread that owns the log: it takes what all documents want recorded and commits it together.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::log::{Log, Record, StoreError};

/// How many commits may wait. A document waits for its commit before it hands in another, so this is
/// reached only with that many busy documents; then handing in blocks.
const WAITING: usize = 16_384;

/// At most so many records go into one transaction, so that nobody waits long for others' work.
const RECORDS_PER_COMMIT: usize = 4_096;

/// Opens the log, at first and again after a failure.
pub type Opener = Box<dyn FnMut() -> Result<Box<dyn Log>, StoreError> + Send>;

type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

struct Commit {
    records: Vec<Record>,
    done: Done,
}

/// A handle to the journal's thread. Dropping the last one ends it, after what was handed in.
pub struct Journal {
    commits: Option<SyncSender<Commit>>,
    thread: Option<JoinHandle<()>>,
    inline: Option<Mutex<Inline>>,
}

/// A log without a thread.
struct Inline {
    log: Option<Box<dyn Log>>,
    open: Opener,
}

impl Journal {
    /// Opens the log and starts the thread.
    ///
    /// # Errors
    /// What the opener says.
    pub fn start(mut open: Opener) -> Result<Journal, StoreError> {
        let log = open()?;
        let (commits, waiting) = sync_channel(WAITING);
        let run = move || write(log, open, &waiting);
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(run);
        let failed = |error: std::io::Error| StoreError::Failed {
            path: "journal thread".into(),
            what: error.to_string(),
        };
        Ok(Journal { commits: Some(commits), thread: Some(thread.map_err(failed)?), inline: None })
    }

    /// Opens the log and starts no thread: whoever commits does it, at once. For simulations, in which nothing
    /// may depend on which thread comes first.
    ///
    /// # Errors
    /// What the opener says.
    pub fn inline(mut open: Opener) -> Result<Journal, StoreError> {
        let log = Some(open()?);
        Ok(Journal { commits: None, thread: None, inline: Some(Mutex::new(Inline { log, open })) })
    }

    /// Makes records durable together. `done` is called on the journal's thread, with `Ok` only after the
    /// commit returned: only then may anybody be told.
    pub fn commit(&self, records: Vec<Record>, done: impl FnOnce(Result<(), StoreError>) + Send + 'static) {
        let commit = Commit { records, done: Box::new(done) };
        if let Some(inline) = &self.inline {
            let Inline { log, open } = &mut *inline.lock().unwrap_or_else(PoisonError::into_inner);
            return commit_group(log, open, vec![commit]);
        }
        match &self.commits {
            Some(commits) => {
                if let Err(refused) = commits.send(commit) {
                    (refused.0.done)(Err(StoreError::Closed));
                }
            }
            None => (commit.done)(Err(StoreError::Closed)),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.commits = None;
        if let Some(thread) = self.thread.take() {
            // A panicking log has already failed its commits; there is nothing to add here.
            let _ = thread.join();
        }
    }
}

fn write(log: Box<dyn Log>, mut open: Opener, waiting: &Receiver<Commit>) {
    let mut log = Some(log);
    let mut next = waiting.recv().ok();
    while let Some(first) = next.take() {
        let mut group = vec![first];
        let mut records = group[0].records.len();
        while records < RECORDS_PER_COMMIT {
            match waiting.try_recv() {
                Ok(commit) => {
                    records += commit.records.len();
                    group.push(commit);
                }
                Err(_) => break,
            }
        }
        commit_group(&mut log, &mut open, group);
        next = waiting.recv().ok();
    }
}

/// Commits what several handed in; all learn how it went.
fn commit_group(log: &mut Option<Box<dyn Log>>, open: &mut Opener, mut group: Vec<Commit>) {
    let mut records = Vec::with_capacity(group.iter().map(|commit| commit.records.len()).sum());
    for commit in &mut group {
        records.append(&mut commit.records);
    }
    let committed = commit_or_reopen(log, open, &records);
    group.into_iter().for_each(|commit| (commit.done)(committed.clone()));
}

fn commit_or_reopen(
    log: &mut Option<Box<dyn Log>>,
    open: &mut Opener,
    records: &[Record],
) -> Result<(), StoreError> {
    let mut opened = match log.take() {
        Some(opened) => opened,
        None => open()?,
    };
    // On an error the handle is dropped: after a failed fsync it would go on acknowledging (tried).
    opened.commit(records)?;
    *log = Some(opened);
    Ok(())
}
