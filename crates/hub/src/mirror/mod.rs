//! The file session: a file on disk as a party like any other, with a shadow.

mod base;
mod between;
mod candidates;
mod carry;
mod file_state;
mod known;
mod origin;
mod signs;
mod torn;
mod union;

pub use base::{Base, Why, base_without_text};
use base::{Save as FoundSave, Texts, infer_base};
pub use between::nearest_left_out;
pub use candidates::{Candidate, Candidates, Evidence, Inherited, Maker};
pub use carry::carry_over;
pub use file_state::{
    Displaced, FileState, Held, Intent, OnDisk, displaced_of, held_in_state, place_of, target_of,
    temporary_of,
};
use known::put_in_by_both;
pub use known::{Pieces, copies};
pub use origin::{Origin, judge};
pub use torn::{put_in, torn_base, whole_part};
pub use union::union_edits;
