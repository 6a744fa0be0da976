//! Live documents joined to sessions: a task per document, group commit, the file session, the catalogue.
//!
//! [`Hub`] is what links, sessions and programs ask. Behind it one task per document in use
//! ([`document`](self)) applies edits, records them, and only then tells anybody; the folder's task owns the
//! catalogue. The file session (`file`, deciding by the pure functions in [`mirror`]) is a party like any
//! other: what somebody saves is an edit made at the version they saw.

pub mod diffsync;
mod document;
mod error;
mod event;
mod feed;
mod file;
mod folder;
mod founding;
mod hub;
mod joining;
pub mod mirror;
mod peers;
mod policy;
mod presence;
mod recording;
mod refusal;
mod replica;
pub mod rescue;
mod resting;
mod text_session;
mod twins;
mod unreadable;
mod workers;

pub use document::lent::LARGE_TEXT;
pub use error::HubError;
pub use event::HubEvent;
pub use feed::{Change, ChangeFeed};
pub use founding::Founding;
pub use hub::{Hub, Options};
pub use policy::{Policy, conflict_id};
pub use refusal::refusal;
pub use replica::{Check, Replica, Side};
pub use text_session::{Party, TextNow, TextSession, Uploaded};
pub use workers::{Delay, Workers};
