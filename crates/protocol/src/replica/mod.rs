//! The protocol between hubs: the whole history of every document, and the folder's catalogue.
//!
//! Binary, one [`Message`] per WebSocket frame (or local frame). Both sides do the same after the greeting:
//!
//! ```text
//! dialing                                   accepting
//!   Hello {token, agent, folder}  ------>     checks the token
//!                                 <------   Welcome {agent, folder}
//!   CatalogueVector               <----->   CatalogueVector
//!   Catalogue … last              <----->   Catalogue … last        what the other's vector lacks
//!   Have … last                   <----->   Have … last             every document and its heads
//!   Vector                        <----->   Vector                  where the heads differ
//!   Events, answered by Ack       <----->   Events                  since that vector; then for ever
//! ```
//!
//! An `Ack` means that the receiver's journal has it. Nothing here depends on what a connection before did:
//! after any break both sides start again from what they have, and repeated events are ignored by id.
//! See docs/protocols/replica.md for the bytes.

mod catalogue;
mod contents;
mod documents;
mod link;
mod message;
mod parts;
mod step;
mod wire;

pub use link::{Link, Role};
pub use message::{Hello, Message, Welcome};
pub use parts::encode_parts;
pub use step::{Have, Input, LinkEvent, Local, Output};

/// The version of this protocol. A peer with another one is refused.
pub const VERSION: u32 = 1;
