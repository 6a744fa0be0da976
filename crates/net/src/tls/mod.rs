//! TLS, version 1.3: a hub's certificate on the one side, what a link says of it on the other.
//!
//! A hub on a network has either a certificate that it made itself, whose SHA-256 is part of the join link and
//! *pinned* by whoever dials with it; or one that the system's authorities vouch for. The cryptography is
//! rustls's with ring's primitives; nothing of it is chosen here.

mod certificate;
mod stream;
mod trust;

pub use certificate::Certificate;
pub(crate) use stream::accept;
pub use stream::{ConnectError, Stream, connect};

use std::sync::Arc;
use tokio_rustls::rustls::crypto::CryptoProvider;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// What should be a certificate in PEM is none.
    #[error("no certificate in PEM")]
    NoCertificate,
    /// What should be a private key in PEM is none.
    #[error("no private key in PEM")]
    NoKey,
    /// The two do not belong together, or cannot be used.
    #[error("the certificate and the key cannot be used together: {0}")]
    Unfit(tokio_rustls::rustls::Error),
    /// No certificate could be made.
    #[error("no certificate can be made for these names: {0}")]
    NotMade(rcgen::Error),
    /// The system has no authorities to ask.
    #[error("this system knows no certificate authorities (install its package ca-certificates)")]
    NoAuthorities,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(tokio_rustls::rustls::crypto::ring::default_provider())
}
