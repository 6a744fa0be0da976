//! The thread that owns the log: it takes what all documents want recorded and commits it together.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::acknowledged::Acknowledged;
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
    inline: Option<Mutex<Writer>>,
}

/// The log and what is known of it.
struct Writer {
    /// `None`: the last commit failed.
    log: Option<Box<dyn Log>>,
    open: Opener,
    acknowledged: Acknowledged,
    /// The last failure left it unknown what is on the disk.
    suspect: bool,
    /// Why nothing is recorded any more.
    read_only: Option<StoreError>,
}

impl Journal {
    /// Opens the log and starts the thread.
    ///
    /// # Errors
    /// What the opener says.
    pub fn start(open: Opener) -> Result<Journal, StoreError> {
        let writer = Writer::open(open)?;
        let (commits, waiting) = sync_channel(WAITING);
        let run = move || write(writer, &waiting);
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
    pub fn inline(open: Opener) -> Result<Journal, StoreError> {
        Ok(Journal { commits: None, thread: None, inline: Some(Mutex::new(Writer::open(open)?)) })
    }

    /// Makes records durable together. `done` is called on the journal's thread, with `Ok` only after the
    /// commit returned: only then may anybody be told.
    pub fn commit(&self, records: Vec<Record>, done: impl FnOnce(Result<(), StoreError>) + Send + 'static) {
        let commit = Commit { records, done: Box::new(done) };
        if let Some(inline) = &self.inline {
            return inline.lock().unwrap_or_else(PoisonError::into_inner).commit_group(vec![commit]);
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

fn write(mut writer: Writer, waiting: &Receiver<Commit>) {
    let mut next = waiting.recv().ok();
    while let Some(first) = next.take() {
        let mut records = first.records.len();
        let mut group = vec![first];
        while records < RECORDS_PER_COMMIT {
            match waiting.try_recv() {
                Ok(commit) => {
                    records += commit.records.len();
                    group.push(commit);
                }
                Err(_) => break,
            }
        }
        writer.commit_group(group);
        next = waiting.recv().ok();
    }
}

impl Writer {
    fn open(mut open: Opener) -> Result<Writer, StoreError> {
        let log = Some(open()?);
        Ok(Writer { log, open, acknowledged: Acknowledged::default(), suspect: false, read_only: None })
    }

    /// Commits what several handed in; all learn how it went.
    fn commit_group(&mut self, mut group: Vec<Commit>) {
        let mut records = Vec::with_capacity(group.iter().map(|commit| commit.records.len()).sum());
        for commit in &mut group {
            records.append(&mut commit.records);
        }
        let committed = self.commit(&records);
        group.into_iter().for_each(|commit| (commit.done)(committed.clone()));
    }

    fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        if let Some(error) = &self.read_only {
            return Err(error.clone());
        }
        let mut log = match self.log.take() {
            Some(log) => log,
            None => self.open_anew()?,
        };
        let Err(error) = log.commit(records) else {
            self.acknowledged.note(records);
            self.log = Some(log);
            return Ok(());
        };
        // After a failed fsync the handle would go on acknowledging (tried).
        drop(log);
        self.acknowledged.doubt(records);
        if matches!(error, StoreError::Full { .. } | StoreError::Closed) {
            return Err(error);
        }
        self.suspect = true;
        // At once: who asks next is told what is the matter. If it cannot be opened now, the next commit tries again.
        self.log = self.open_anew().ok();
        Err(self.read_only.clone().unwrap_or(error))
    }

    /// Opens the log after a failure, and makes sure that it holds what was acknowledged. Otherwise nothing is
    /// recorded from then on: further commits would build upon a loss that nobody has seen.
    fn open_anew(&mut self) -> Result<Box<dyn Log>, StoreError> {
        let opened = self.open_checked();
        let Err(StoreError::Damaged { path, what }) = opened else { return opened };
        let error = StoreError::ReadOnly { path, what };
        self.read_only = Some(error.clone());
        Err(error)
    }

    fn open_checked(&mut self) -> Result<Box<dyn Log>, StoreError> {
        let log = (self.open)()?;
        if self.suspect {
            log.check()?;
            self.acknowledged.check(log.reader()?.as_ref())?;
            self.suspect = false;
        }
        Ok(log)
    }
}
