//! The protocol of the simplest programs: the whole text down, the whole text up, as JSON.
//!
//! ```text
//! → {"type":"hello","token":…}                       first, unless the address carries a capability
//! ← {"type":"content_update","content":…,"version":…,"document":…}      at once, and after every change
//! → {"type":"update_request","content":…}            merged against what this client was sent
//! ```
//!
//! A client that greets with `"mode":"edits"` says what changed (`edit_request`), hears what changed (`edit_update`) and
//! who else is here. Its end of the conversation is [`Client`].
//!
//! An upload never overwrites: it is merged against its `base`, or without one against what this client was
//! sent and sent itself. See docs/protocols/content.md.

mod client;
mod edits;
mod kept;
mod message;
mod presence;
mod session;
mod unit;

pub use client::{Client, ClientEvent, ClientInput, ClientOutput, Flight, Greeting};
pub use edits::{EditRequest, News, Step, to_edits, to_steps};
pub use kept::{Kept, Layers};
pub use message::{Hello, Request, Update, update_json};
pub use presence::{Marks, Present, shifted, unshifted};
pub use session::{Guest, Input, Output, Session};
pub use unit::{Unit, converted};
