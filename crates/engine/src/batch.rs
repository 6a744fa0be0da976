//! Events on their way from one replica to another.

use crate::id::{AgentId, EventId, Heads};
use crate::meta::Meta;

/// What a run of events did. Positions are scalars, at the version of the run's parents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Text was inserted: one event per scalar, each after the one before.
    Insert {
        /// Position of the first character.
        at: usize,
        /// The text; not empty.
        text: String,
    },
    /// Characters were deleted, one event each.
    Delete {
        /// Position of the first deleted character.
        at: usize,
        /// How many.
        count: usize,
        /// Whether each further one is a position lower (the backspace key) instead of at the same.
        backward: bool,
    },
}

/// A run of events by one agent with consecutive sequence numbers, each the child of the one before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventRun {
    /// Whose events.
    pub agent: AgentId,
    /// The first event's sequence number.
    pub seq: u64,
    /// The first event's parents.
    pub parents: Heads,
    /// What they did.
    pub change: Change,
    /// Where they came from.
    pub meta: Meta,
}

impl EventRun {
    /// How many bytes of text they inserted.
    pub(crate) fn inserted_bytes(&self) -> usize {
        match &self.change {
            Change::Insert { text, .. } => text.len(),
            Change::Delete { .. } => 0,
        }
    }

    /// How many events.
    pub fn count(&self) -> usize {
        match &self.change {
            Change::Insert { text, .. } => crate::edit::scalars(text),
            Change::Delete { count, .. } => *count,
        }
    }
}

/// Runs of events in an order in which parents come first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventBatch {
    /// The runs.
    pub runs: Vec<EventRun>,
}

impl EventBatch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

/// Why a batch was refused. Nothing of it was entered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MergeError {
    /// It builds on events that are not known here; ask for these first.
    #[error("the batch builds on events that are not known here: {missing:?}")]
    Missing {
        /// The first unknown events found (at most 16).
        missing: Vec<EventId>,
    },
    /// An event id that is known here came with another content: somebody reused an id.
    #[error("event {id:?} is already known with other content (equivocation)")]
    Equivocation {
        /// The id that was used twice.
        id: EventId,
    },
    /// A position does not exist in the text at the version the event was made at.
    #[error("event {id:?} is at a position beyond the end of the text it was made at")]
    BadPosition {
        /// The event.
        id: EventId,
    },
    /// A run without events, or with more than can be numbered.
    #[error("a run of {agent:?} from {seq} on has no events, or too many")]
    BadCount {
        /// Whose run.
        agent: AgentId,
        /// Its first sequence number.
        seq: u64,
    },
}
