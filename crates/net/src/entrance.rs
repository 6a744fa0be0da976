//! A hub's entrance: who is let in, and what protects what is said there.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::access::Access;
use crate::error::NetError;
use crate::tls::Certificate;

/// What keeps a network from reading along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    /// Nothing.
    None,
    /// TLS.
    Tls,
    /// Nothing of ours: whoever runs the hub says that the network itself can be trusted.
    Waived,
}

/// Who is let in at a listener, and how what is said there is protected.
#[derive(Clone, Debug)]
pub struct Entrance {
    pub(crate) access: Access,
    /// The newest certificate: each connection takes the one of its moment.
    certificate: Option<watch::Receiver<Arc<Certificate>>>,
    waived: bool,
}

impl From<Access> for Entrance {
    /// Without TLS, for listeners that only this machine can reach.
    fn from(access: Access) -> Entrance {
        Entrance { access, certificate: None, waived: false }
    }
}

impl Entrance {
    /// With TLS. A certificate that is sent later counts from then on.
    pub fn over_tls(self, certificate: watch::Receiver<Arc<Certificate>>) -> Entrance {
        Entrance { certificate: Some(certificate), ..self }
    }

    /// Without TLS also where others can read along.
    pub fn trusting_the_network(self) -> Entrance {
        Entrance { waived: true, ..self }
    }

    /// What protects it.
    pub fn protection(&self) -> Protection {
        match (&self.certificate, self.waived) {
            (Some(_), _) => Protection::Tls,
            (None, true) => Protection::Waived,
            (None, false) => Protection::None,
        }
    }

    pub(crate) fn certificate(&self) -> Option<Arc<Certificate>> {
        self.certificate.as_ref().map(|certificate| Arc::clone(&certificate.borrow()))
    }
}

/// Whether it is safe to listen there: on the machine itself always, elsewhere only with protection.
///
/// # Errors
/// [`NetError::PublicWithoutTls`], which says what to do.
pub fn check_bind(address: SocketAddr, protection: Protection) -> Result<(), NetError> {
    if address.ip().to_canonical().is_loopback() || protection != Protection::None {
        return Ok(());
    }
    Err(NetError::PublicWithoutTls { address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_bound_without_protection() {
        for address in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:7000", "[::ffff:127.0.0.1]:1"] {
            assert!(check_bind(address.parse().unwrap(), Protection::None).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:0", "[::]:7000", "192.168.1.2:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"] {
            let address = address.parse().unwrap();
            let error = check_bind(address, Protection::None).unwrap_err();
            assert!(error.to_string().contains("--tls"), "{address}: {error}");
            assert!(check_bind(address, Protection::Tls).is_ok());
            assert!(check_bind(address, Protection::Waived).is_ok());
        }
    }
}
