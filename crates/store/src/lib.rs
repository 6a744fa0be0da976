//! The journal: an append-only, durable log of events per document, on SQLite.
//!
//! What is in it decides what was acknowledged. A [`Journal`] is a thread that owns the log and commits what
//! many documents hand it in one transaction (group commit); [`Log`] is what it writes to: [`SqliteLog`], or
//! [`MemoryLog`] in tests, which pass one conformance suite. [`FolderLock`] keeps a second hub out.

mod acknowledged;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod export;
mod journal;
mod lock;
mod log;
mod memory;
mod sqlite;

pub use export::{Export, Exported};
pub use journal::{Journal, Opener};
pub use lock::{FolderLock, LockError};
pub use log::{
    DECISIONS, DIFF_SESSION_DAYS, DISPLACED, DiffState, Displaced, Kept, Loaded, Log, LogReader,
    REQUEST_DAYS, Record, StoreError, Unreadable,
};
pub use memory::MemoryLog;
pub use sqlite::SqliteLog;
