//! What a journal holds, and the trait behind which SQLite and the fake stand.

use std::collections::BTreeMap;
use std::path::PathBuf;
use syncline_engine::catalogue::{DocId, Write};
use syncline_engine::{AgentId, Document, EventBatch, Heads};

/// One thing to be made durable. Records of one commit become durable together or not at all.
#[derive(Clone, Debug)]
pub enum Record {
    /// Events of a document (`EventBatch::encode`), and its version with them.
    Events {
        /// Which document.
        doc: DocId,
        /// The encoded batch.
        batch: Vec<u8>,
        /// The document's heads after it.
        heads: Heads,
    },
    /// The whole document (`Document::encode`), which replaces its events so far: opening it replays
    /// only what came after.
    Snapshot {
        /// Which document.
        doc: DocId,
        /// The encoded document.
        bytes: Vec<u8>,
        /// The document's heads.
        heads: Heads,
    },
    /// A write to the catalogue (an older one of the same register goes).
    Catalogue(Write),
    /// Of these agents, so many catalogue writes are known.
    Vector(BTreeMap<AgentId, u64>),
    /// What the file session knows of a document's file; its own encoding.
    File {
        /// Which document.
        doc: DocId,
        /// The state.
        state: Vec<u8>,
    },
    /// The document has no file here any more.
    NoFile(DocId),
    /// A save is about to happen (docs/decisions/0004-exchange-save.md); its own encoding. One per document;
    /// a later one replaces it.
    Intent {
        /// Which document.
        doc: DocId,
        /// The intent.
        intent: Vec<u8>,
    },
    /// The intent was carried out or given up.
    NoIntent(DocId),
    /// Content of an opaque file, or text that was displaced: kept by its hash (BLAKE3).
    Content {
        /// Its hash.
        hash: [u8; 32],
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A content is not kept any longer, nor what is said of it.
    NoContent([u8; 32]),
    /// A document was deleted, or what its file held gave way to something newer: for `syncline rescue`. The newest
    /// [`DISPLACED`] of a document are kept; with its content goes what is said of it.
    Displaced(Displaced),
    /// Why something was decided about a file, for `syncline why`. The newest [`DECISIONS`] of a document are kept.
    Decision {
        /// Which document.
        doc: DocId,
        /// Milliseconds since 1970.
        time_ms: u64,
        /// What was decided and on what evidence, one line.
        what: String,
    },
    /// The result of a request that carried an id, kept for [`REQUEST_DAYS`] (docs/decisions/0005-acknowledgement.md).
    Request {
        /// Identity, document and request id, joined by the caller.
        key: Vec<u8>,
        /// The result.
        result: Vec<u8>,
    },
    /// Where a diff-sync session stands on a document; an earlier state of it goes. Kept for
    /// [`DIFF_SESSION_DAYS`] after it was last recorded.
    DiffSession {
        /// The session's name.
        session: [u8; 16],
        /// Which document.
        doc: DocId,
        /// Whose session it is.
        identity: [u8; 32],
        /// The state; its own encoding.
        state: Vec<u8>,
    },
    /// What is stored of the document cannot be read: it is set aside, and the document begins anew. What the file
    /// session knew goes with it: its versions are those of the events.
    SetAside {
        /// Which document.
        doc: DocId,
        /// How it is damaged, one line.
        what: String,
    },
    /// A setting of the folder: its id, its epoch, where it was joined.
    Setting {
        /// Its name.
        name: String,
        /// Its value.
        value: Vec<u8>,
    },
}

/// How many decisions are kept of a document.
pub const DECISIONS: u64 = 1_000;

/// How long the result of a request is kept, in days: a client that repeats it later is a new one.
pub const REQUEST_DAYS: u64 = 30;

/// How many displacements are kept of a document.
pub const DISPLACED: u64 = 1_000;

/// That a document was deleted, that what its file held gave way to something newer, or that what a client had was kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Displaced {
    /// Which document.
    pub doc: DocId,
    /// When this machine recorded it: milliseconds since 1970.
    pub time_ms: u64,
    /// By whom; empty: by somebody on another machine.
    pub author: String,
    /// What the file held, of a file that is not text, or a text as a client had it. `None`: the document was deleted.
    pub content: Option<[u8; 32]>,
}

/// A content that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Its hash.
    pub hash: [u8; 32],
    /// Its length in bytes.
    pub len: u64,
    /// When it was last recorded: milliseconds since 1970; 0 if that is not known.
    pub time_ms: u64,
}

/// How long a diff-sync session that nobody uses is kept, in days.
pub const DIFF_SESSION_DAYS: u64 = 30;

/// Where a diff-sync session stood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiffState {
    /// Whose session it is.
    pub identity: [u8; 32],
    /// The state, as it was recorded.
    pub state: Vec<u8>,
}

/// A document as the journal has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The last snapshot (`Document::encode`).
    pub snapshot: Option<Vec<u8>>,
    /// The batches since, in order.
    pub batches: Vec<Vec<u8>>,
}

impl Loaded {
    /// The document.
    ///
    /// # Errors
    /// What of it cannot be read, in one line.
    pub fn to_document(&self) -> Result<Document, String> {
        let mut document = match &self.snapshot {
            Some(snapshot) => Document::decode(snapshot).map_err(|error| error.to_string())?,
            None => Document::new(),
        };
        for batch in &self.batches {
            let batch = EventBatch::decode(batch).map_err(|error| error.to_string())?;
            document.merge(&batch).map_err(|error| error.to_string())?;
        }
        Ok(document)
    }
}

/// A row that could not be read, and was set aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// The document that it was about, if it was about one.
    pub doc: Option<DocId>,
    /// What it was and how it is damaged, one line.
    pub what: String,
}

/// Why the journal failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full. Nothing of the commit was recorded; it may succeed later.
    #[error("the disk is full: {path}")]
    Full {
        /// The journal's file.
        path: PathBuf,
    },
    /// The journal was written by a newer version of the program.
    #[error("{path} has format {found}; this program reads up to {known}")]
    Newer {
        /// The journal's file.
        path: PathBuf,
        /// The format it has.
        found: i64,
        /// The newest format known.
        known: i64,
    },
    /// Something else failed.
    #[error("{path}: {what}")]
    Failed {
        /// The journal's file.
        path: PathBuf,
        /// What SQLite or the system said.
        what: String,
    },
    /// A record cannot be read: it was damaged.
    #[error("{path}: damaged record: {what}")]
    Damaged {
        /// The journal's file.
        path: PathBuf,
        /// Which record, and how.
        what: String,
    },
    /// After a failure the journal was opened anew, and what was acknowledged is not in it as it was. Nothing is
    /// recorded any more until the program is started again; what there is can be read.
    #[error("{path} takes nothing more: {what}")]
    ReadOnly {
        /// The journal's file.
        path: PathBuf,
        /// What the check found.
        what: String,
    },
    /// The journal's thread has ended.
    #[error("the journal is closed")]
    Closed,
}

/// A durable log. One owner writes; any number read.
pub trait Log: Send {
    /// Makes records durable, in this order, all or none.
    ///
    /// # Errors
    /// [`StoreError::Full`] and others. After any other error the log must be opened anew: what a failed
    /// fsync left is not known (docs/decisions/0003-journal.md).
    fn commit(&mut self, records: &[Record]) -> Result<(), StoreError>;

    /// Whether what is stored is sound as such, as far as that can be told in bounded time. For a log that was opened
    /// anew after a failure.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not; others when that cannot be told.
    fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Sets aside the rows about the whole folder (of the catalogue, the documents' versions, their files) that cannot be
    /// read, so that the others can be. Of the versions those that the events tell are written anew; when something of
    /// the catalogue is gone, nothing of it counts as known, so that it is asked of the other machines.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not rows that are damaged, and others; nothing was changed then.
    fn set_aside_unreadable(&mut self) -> Result<Vec<Unreadable>, StoreError> {
        Ok(Vec::new())
    }

    /// Something that reads what was committed.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    fn reader(&self) -> Result<Box<dyn LogReader>, StoreError>;
}

/// Reads a log. Sees everything committed before a call.
pub trait LogReader: Send {
    /// A document's snapshot and events.
    ///
    /// # Errors
    /// [`StoreError::Failed`] (also of every other method).
    fn document(&self, doc: DocId) -> Result<Loaded, StoreError>;
    /// Every document with events, and its heads.
    fn heads(&self) -> Result<Vec<(DocId, Heads)>, StoreError>;
    /// Every catalogue register as last written.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a row cannot be read (also of the other methods that read about all documents):
    /// [`Log::set_aside_unreadable`] mends that.
    fn catalogue(&self) -> Result<Vec<Write>, StoreError>;
    /// Of each agent, how many catalogue writes are known.
    fn vector(&self) -> Result<BTreeMap<AgentId, u64>, StoreError>;
    /// What the file sessions knew.
    fn files(&self) -> Result<Vec<(DocId, Vec<u8>)>, StoreError>;
    /// What the file session of one document knew.
    fn file(&self, doc: DocId) -> Result<Option<Vec<u8>>, StoreError>;
    /// Saves that were about to happen.
    fn intents(&self) -> Result<Vec<(DocId, Vec<u8>)>, StoreError>;
    /// The content with this hash.
    fn content(&self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Whether there is content with this hash.
    fn has_content(&self, hash: &[u8; 32]) -> Result<bool, StoreError>;
    /// The decisions about a document's file, oldest first: (milliseconds since 1970, what).
    fn decisions(&self, doc: DocId) -> Result<Vec<(u64, String)>, StoreError>;
    /// What was displaced of all documents, oldest first.
    fn displaced(&self) -> Result<Vec<Displaced>, StoreError>;
    /// All contents, the one last recorded first.
    fn contents(&self) -> Result<Vec<Kept>, StoreError>;
    /// What was set aside of a document, oldest first: how it was damaged, and the bytes.
    fn set_aside(&self, doc: DocId) -> Result<Vec<(String, Vec<u8>)>, StoreError>;
    /// The result of a request that was carried out.
    fn request(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Where a diff-sync session stood on a document, if that is not too long ago.
    fn diff_session(&self, session: [u8; 16], doc: DocId) -> Result<Option<DiffState>, StoreError>;
    /// Every document that a diff-sync session is on, and where it stood there, if that is not too long ago.
    fn diff_documents(&self, session: [u8; 16]) -> Result<Vec<(DocId, DiffState)>, StoreError>;
    /// When a document last changed, in milliseconds since 1970.
    fn changed_ms(&self, doc: DocId) -> Result<Option<u64>, StoreError>;
    /// A setting of the folder.
    fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
}
