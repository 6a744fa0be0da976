//! Why a hub refused or failed.

use std::sync::Arc;
use syncline_disk::{DiskError, PathError};
use syncline_engine::{EventId, MergeError};
use syncline_store::StoreError;

/// Why something asked of a hub was not done. Nothing of it was entered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HubError {
    /// Events build on others that are not known here.
    #[error("the events build on others that are not known here")]
    Missing {
        /// Some of the unknown events.
        missing: Vec<EventId>,
    },
    /// Which files are not to be shared is not known: the file that says so is being written.
    #[error(".synclineignore is being written; its rules are not known")]
    IgnoreFileHeld,
    /// An event id came with another content than before.
    #[error("event {id:?} is already known with other content")]
    Equivocation {
        /// The id that was used twice.
        id: EventId,
    },
    /// An edit lies outside the text it was made against.
    #[error("{what}")]
    BadPosition {
        /// Which, and how.
        what: String,
    },
    /// No such document.
    #[error("there is no document {name:?}")]
    UnknownDocument {
        /// The path asked for.
        name: String,
    },
    /// No document was named where there are several texts.
    #[error("there are {texts} texts here: say which one")]
    WhichDocument {
        /// How many there are.
        texts: usize,
    },
    /// A peer gives a file a name that no file in a folder can have.
    #[error("{0}")]
    BadName(PathError),
    /// The document is not text.
    #[error("{path} is not text")]
    NotText {
        /// Its path.
        path: String,
    },
    /// The text would be longer than any channel carries.
    #[error("the text has {bytes} bytes; at most {limit} are accepted")]
    TooLarge {
        /// What it would have.
        bytes: usize,
        /// What is accepted.
        limit: usize,
    },
    /// The base version is not one of this document's.
    #[error("the base version is not known here")]
    BadBase,
    /// The diff-sync session belongs to another identity.
    #[error("this session belongs to somebody else")]
    NotYours,
    /// The disk is full: nothing can be recorded now.
    #[error("the disk is full")]
    StorageFull,
    /// After a failure the journal did not hold what was acknowledged: nothing is recorded until the hub is started anew.
    #[error("the hub takes no changes now: its journal failed a check")]
    ReadOnly,
    /// The hub is shutting down.
    #[error("the hub is closing")]
    Closed,
    /// The journal failed.
    #[error("journal: {0}")]
    Store(Arc<StoreError>),
    /// The folder failed.
    #[error("folder: {0}")]
    Disk(Arc<DiskError>),
    /// What the journal holds of a document cannot be read: it is quarantined, the others are served.
    #[error("document {doc} is damaged in the journal: {what}")]
    Damaged {
        /// Which document.
        doc: String,
        /// How.
        what: String,
    },
}

impl From<StoreError> for HubError {
    fn from(error: StoreError) -> HubError {
        match error {
            StoreError::Full { .. } => HubError::StorageFull,
            StoreError::ReadOnly { .. } => HubError::ReadOnly,
            StoreError::Closed => HubError::Closed,
            other => HubError::Store(Arc::new(other)),
        }
    }
}

impl From<DiskError> for HubError {
    fn from(error: DiskError) -> HubError {
        match error {
            DiskError::StorageFull { .. } => HubError::StorageFull,
            other => HubError::Disk(Arc::new(other)),
        }
    }
}

impl From<MergeError> for HubError {
    fn from(error: MergeError) -> HubError {
        match error {
            MergeError::Missing { missing } => HubError::Missing { missing },
            MergeError::Equivocation { id } => HubError::Equivocation { id },
            other => HubError::BadPosition { what: other.to_string() },
        }
    }
}
