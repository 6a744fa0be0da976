//! A hub's certificate and key.

use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ServerConfig, version};

use super::{TlsError, provider, trust};

/// A hub's certificate, with its key, ready to be used.
pub struct Certificate {
    config: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
}

/// Without the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads a certificate (with those that lead to its authority, if there is one) and its key, both in PEM.
    ///
    /// # Errors
    /// If one of them is missing, or they do not belong together.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Certificate, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::NoKey)?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain.clone(), key));
        Ok(Certificate { config: Arc::new(config.map_err(TlsError::Unfit)?), chain })
    }

    /// Makes a certificate and its key, both in PEM, for these names and addresses. It vouches for itself: whoever
    /// connects must know its fingerprint.
    ///
    /// # Errors
    /// If a name cannot be one.
    pub fn make(names: Vec<String>) -> Result<(String, String), TlsError> {
        let key = rcgen::KeyPair::generate().map_err(TlsError::NotMade)?;
        let mut parameters = rcgen::CertificateParams::new(names).map_err(TlsError::NotMade)?;
        let mut subject = rcgen::DistinguishedName::new();
        subject.push(rcgen::DnType::CommonName, "Syncline hub");
        parameters.distinguished_name = subject;
        let certificate = parameters.self_signed(&key).map_err(TlsError::NotMade)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// The SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` gives it.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.chain.first().map_or([0; 32], |certificate| fingerprint_of(certificate))
    }

    /// Whether the system's authorities vouch for it under this name or address.
    pub fn is_vouched_for(&self, host: &str) -> bool {
        let (Some((end, rest)), Ok(name)) = (self.chain.split_first(), ServerName::try_from(host.to_owned()))
        else {
            return false;
        };
        let checked = trust::authorities()
            .map(|verifier| verifier.verify_server_cert(end, rest, &name, &[], UnixTime::now()).is_ok());
        checked.unwrap_or(false)
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// The SHA-256 of a certificate.
pub(super) fn fingerprint_of(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let mut bytes = [0; 32];
    // A SHA-256 has 32 bytes.
    bytes.iter_mut().zip(digest(&SHA256, certificate).as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_was_made_can_be_used() {
        let (certificate, key) = Certificate::make(vec!["notes.example".into(), "10.0.0.1".into()]).unwrap();
        let made = Certificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        assert_ne!(made.fingerprint(), [0; 32]);
        assert!(!made.is_vouched_for("notes.example"), "by nobody but itself");
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let (certificate, key) = Certificate::make(vec!["localhost".into()]).unwrap();
        let (_, other) = Certificate::make(vec!["localhost".into()]).unwrap();
        let read = |certificate: &str, key: &str| {
            Certificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err().to_string()
        };
        assert!(read("", &key).contains("no certificate"));
        assert!(read(&key, &key).contains("no certificate"));
        assert!(read(&certificate, "").contains("no private key"));
        assert!(read(&certificate, &certificate).contains("no private key"));
        assert!(read(&certificate, &other).contains("together"));
        assert!(read(&certificate[..certificate.len() / 2], &key).contains("no certificate"));
    }
}
