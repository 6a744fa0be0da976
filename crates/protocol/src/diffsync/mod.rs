//! Differential synchronisation (JSON lines): after Fraser's "Differential Synchronization" (2009), with what
//! delivery over a network that loses, repeats and reorders needs besides.
//!
//! Both ends are here: [`Client`] keeps a text in step; [`Server`] is a session on one document, over a
//! [`History`]; [`Connection`] is the server's end of a connection, which opens documents and passes requests
//! to them. Read docs/protocols/diffsync.md first, then `server`, then `client`.

mod bounded;
mod checksum;
mod client;
mod connection;
mod delta;
mod packing;

mod request;
mod response;
mod server;
mod session_id;
mod summed_text;

pub use crate::rebase::{composed, rebase, rebase_unknown};
pub use checksum::{Sum, SumError};
pub use client::{Client, ClientInput, ClientOutput, Counts, Settings};
pub use connection::{Connection, Input, Output};
pub use delta::{Delta, LengthError};
pub use packing::{ZLIB, pack, unpack};
pub use request::{ClientReturn, ClientSync, Connect, Numbered, PROTO, Request};
pub use response::{ConnectOk, HistoryEntry, Response, Resync, ServerSync};
pub use server::{Answer, Answered, History, Parts, Server, Shadow, Step, delta_of};
pub use session_id::{SessionId, SessionIdError};
pub use summed_text::SummedText;
