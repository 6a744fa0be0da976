//! The file session: a file on disk as a party like any other, with a shadow.

mod base;
mod candidates;
mod file_state;
mod known;
mod union;

pub use base::{Base, Save as FoundSave, Texts, Why, base_without_text, infer_base};
pub use candidates::{Candidate, Candidates, Evidence, MAX_CANDIDATES, Maker};
pub use file_state::{
    Displaced, FileState, Intent, OnDisk, displaced_of, held_in_state, place_of, target_of, temporary_of,
};
pub use known::{Pieces, copies, put_in_by_both};
pub use union::union_edits;
