//! What can go wrong before or outside a conversation.

use std::net::SocketAddr;

use syncline_protocol::ProtocolError;

/// Why a listener or a dialer gave up.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Listening there would let the network read along.
    #[error(
        "{address} can be reached from other machines, which could read along: serve with --tls, or listen on \
         127.0.0.1 and use an SSH tunnel (ssh -L)"
    )]
    PublicWithoutTls {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The listener itself failed.
    #[error("cannot accept connections on {address}: {source}")]
    Listener {
        /// Where.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The other hub said no, and will again: dialing goes on for nothing else.
    #[error("{place} refused: {error}")]
    Refused {
        /// `HOST:PORT`.
        place: String,
        /// What it said.
        error: ProtocolError,
    },
}
