//! What can go wrong on disk, with the path and the cause.

use crate::{PathError, RelPath};
use std::io;

/// Why an operation on a folder failed. Nothing was changed unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A name that may not be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A temporary's name that [`crate::temporary_name`] did not make.
    #[error("\"{0}\" is not the name of a temporary file")]
    BadTemporary(String),
    /// The path does not exist, where the operation needs it to.
    #[error("{0} does not exist")]
    NotFound(RelPath),
    /// A part of the path that should be a directory is a file or a link. Links are never followed.
    #[error("{0} is not a directory, or lies behind a link")]
    NotADirectory(RelPath),
    /// The file, its directory or the file system may not be written by us.
    #[error("{path} is read-only here: {source}")]
    ReadOnly {
        /// What was to be written.
        path: RelPath,
        /// The system's answer (EACCES, EPERM or EROFS).
        source: io::Error,
    },
    /// The file may not be read by us.
    #[error("{path} may not be read: {source}")]
    Unreadable {
        /// What was to be read.
        path: RelPath,
        /// The system's answer (EACCES or EPERM).
        source: io::Error,
    },
    /// No space, or the quota is used up.
    #[error("no space left for {path}: {source}")]
    StorageFull {
        /// What was to be written.
        path: RelPath,
        /// The system's answer (ENOSPC or EDQUOT).
        source: io::Error,
    },
    /// An fsync failed. Before the exchange: nothing was changed. Of the directory after it (`placed`):
    /// the new bytes are in place but may not survive a power cut; treat as not saved and read again.
    #[error("{path} could not be made durable: {source}")]
    SyncFailed {
        /// What was to be made durable.
        path: String,
        /// Whether the change is already visible.
        placed: bool,
        /// The system's answer.
        source: io::Error,
    },
    /// The root of the folder is no longer where it was, or is another directory.
    #[error("the folder {root} is gone: {source}")]
    RootGone {
        /// The root as given by the user.
        root: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel's limit of inotify instances is reached: no watch at all is possible.
    #[error("the system's limit of watches is reached: {hint}")]
    WatchLimit {
        /// The command that raises it.
        hint: String,
    },
    /// Any other failure.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done, as in "reading".
        doing: &'static str,
        /// With what (a path inside the folder, or the root).
        path: String,
        /// The system's answer.
        source: io::Error,
    },
}
