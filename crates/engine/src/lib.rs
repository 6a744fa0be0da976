//! A text and everything that ever happened to it: events, versions, merging, text at a version, the
//! binary encoding of events; and a folder's catalogue.
//!
//! The one idea: **every edit is made against the version its maker saw; the engine merges.** A
//! [`Document`] is an *event graph*: immutable insert and delete events, each with the [`Version`] it was
//! made at. [`Document::edit_at`] enters an edit at any version, [`Document::merge`] takes events from
//! another replica, and [`Document::changes_since`] says what somebody who saw a version has missed.
//!
//! The method is Eg-walker (Gentle & Kleppmann, "Collaborative Text Editing with Eg-walker: Better, Faster,
//! Smaller", EuroSys 2025). Read in this order: [`Document`], `branch` (the fast path), `walker` (the slow
//! one, with a worked example), `spans` (the walker's list), `graph`, `operation`.
//!
//! No files, sockets, clocks, randomness or async here. Positions are Unicode scalar values.

mod batch;
mod branch;
pub mod catalogue;
mod columns;
mod conflicts;
mod diff;
mod displaced;
mod document;
mod edit;
mod encoding;
mod graph;
mod id;
mod meta;
mod operation;
mod rewrites;
mod single;
mod snapshot;
mod spans;
mod text;
pub mod varint;
mod version;
mod walker;

pub use batch::{Change, EventBatch, EventRun, MergeError};
pub use conflicts::{Conflict, Contender};
pub use diff::{DiffCost, Window, diff, diff_cost, diff_text, is_distinctive, line_hunks};
pub use displaced::Displaced;
pub use document::{Applied, Document, Merged};
pub use edit::{Composer, Edit, EditError, apply_to_str, byte_offset, check_batch};
pub use id::{AgentId, EventId, Heads, MAX_AGENT_BYTES};
pub use meta::Meta;
pub use snapshot::Snapshot;
pub use text::Text;
pub use version::{Lv, Version};
