//! The protocol of the simplest programs: the whole text down, the whole text up, as JSON.
//!
//! ```text
//! → {"type":"hello","token":…}                       first, unless the address carries a capability
//! ← {"type":"content_update","content":…,"version":…,"document":…}      at once, and after every change
//! → {"type":"update_request","content":…}            merged against what this client was sent
//! ```
//!
//! An upload never overwrites: it is merged against its `base`, or without one against what this client was
//! sent and sent itself. See docs/protocols/content.md.

mod message;
mod session;

pub use message::{Hello, Request, Update, update_json};
pub use session::{Input, Output, Session};
