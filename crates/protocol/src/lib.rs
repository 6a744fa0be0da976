//! What the bytes mean and both ends of each conversation, as pure state machines
//! `(state, input, now) -> (state, outputs)`.
//!
//! One module per protocol: [`replica`] (binary, between hubs: the whole history), [`content`] (JSON, for the
//! simplest programs: the whole text) and [`diffsync`] (JSON lines: what changed, both ways). Beside them what all of them share: [`limits`], [`ErrorCode`],
//! [`Token`] and [`JoinLink`], and who may do what ([`access`]).
//!
//! No sockets, files, clocks, randomness or async here: whoever drives a state machine hands in what
//! happened and what time it is, and does what comes out. Read `replica::link` first.

pub mod access;
pub mod content;
pub mod diffsync;
mod error;
mod join;
mod json;
pub mod limits;
pub mod percent;
mod rebase;
pub mod replica;
mod token;

pub use error::{ErrorCode, ProtocolError};
pub use join::{JoinLink, LinkError, Trust, fingerprint_text, is_document_path, parse_fingerprint};
pub use rebase::{composed, rebase, rebase_unknown, theirs_after};
pub use token::{Token, TokenError};
