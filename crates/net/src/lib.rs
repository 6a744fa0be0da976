//! How sessions arrive and leave over a network: WebSocket, TLS, tokens, dialing and reconnecting.
//!
//! [`serve`] accepts connections on a listener and hands each to the protocol its path names, [`serve_lines`]
//! those that speak `diffsync` without HTTP around it; [`keep_joined`]
//! dials another hub and dials again whenever the connection breaks, [`keep_line`] does so for a client. What is said on a connection is decided
//! by the state machines of `syncline-protocol`; what is done about it, by `syncline-hub`. This crate moves
//! bytes, keeps time and says no: every limit of `syncline_protocol::limits` that a connection could break is
//! enforced here before a byte of it reaches anything else.

mod access;
mod admission;
mod back_off;
mod content;
mod content_line;
mod dial;
mod diffsync;
mod entrance;
mod error;
mod gate;
mod head;
mod lines;
mod listener;
mod pass;
mod replica;
mod socket;
mod tls;

pub use access::{Access, Grants};
pub use back_off::BackOff;
pub use content_line::{LineEvent, LineOrder, keep_line};
pub use dial::{JoinEvent, keep_joined};
pub use entrance::{Entrance, Protection, check_bind};
pub use error::NetError;
pub use listener::{serve, serve_lines};
pub use tls::{Certificate, ConnectError, Stream, TlsError, connect};

/// Resolves when the shutdown is asked for (or whoever could ask is gone).
async fn stopped(shutdown: &mut tokio::sync::watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}
