//! Diff-sync sessions: clients that say what changed and hear what changed.
//!
//! The protocol's state machine decides each step, in the task of the document, over the document itself
//! (`live_history`); the session's state is journalled in the transaction of the edits that it took
//! (`stored`). A session outlives its connection; two connections cannot have it at once (`seat`).

mod change_log;
mod command;
mod live_history;
mod seat;
mod session;
mod shown;
mod stored;
mod tip;

pub use change_log::change_log;
pub use live_history::LiveHistory;
pub use session::{DiffParty, DiffSession, DiffTarget, News};
pub use tip::{Showcase, Tip};

pub(crate) use command::{DiffCommand, take};
pub(crate) use seat::Seats;
