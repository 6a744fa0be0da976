//! How `serve` protects what is said with it: with which certificate, under which name, or not at all.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use syncline_net::{Certificate, Protection};
use syncline_protocol::{Trust, fingerprint_text};
use tokio::sync::watch;

use crate::args::Secure;
use crate::failure::Failure;

/// The longest certificate or key file, in bytes.
const MAX_PEM: u64 = 1 << 20;

/// Where a certificate and its key are.
#[derive(Clone, Debug)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What the flags ask for.
pub fn asked(secure: &Secure) -> Protection {
    if secure.tls || secure.tls_cert.is_some() {
        Protection::Tls
    } else if secure.insecure_public {
        Protection::Waived
    } else {
        Protection::None
    }
}

/// The certificate's files, if TLS is asked for: those that are named, or the hub's own, which are made if they
/// are missing.
///
/// # Errors
/// If they cannot be made.
pub fn files(secure: &Secure, state: &Path, host: &str) -> Result<Option<Files>, Failure> {
    if let (Some(certificate), Some(key)) = (&secure.tls_cert, &secure.tls_key) {
        return Ok(Some(Files { certificate: certificate.clone(), key: key.clone() }));
    }
    if !secure.tls {
        return Ok(None);
    }
    let folder = state.join("tls");
    let files = Files { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
    if !(files.certificate.exists() && files.key.exists()) {
        make(&folder, &files, host)?;
    }
    Ok(Some(files))
}

fn make(folder: &Path, files: &Files, host: &str) -> Result<(), Failure> {
    let fail = |error: std::io::Error| {
        Failure::other(format!("{}: {error}", folder.display()), "is the folder writable?")
    };
    let names = vec![host.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let (certificate, key) = Certificate::make(names)
        .map_err(|error| Failure::usage(error.to_string(), "give a name with --host"))?;
    fs::DirBuilder::new().mode(0o700).recursive(true).create(folder).map_err(fail)?;
    // The certificate last: if it is there, so is its key.
    for (path, text) in [(&files.key, key), (&files.certificate, certificate)] {
        let new = path.with_extension("new");
        let _ = fs::remove_file(&new);
        let written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
        let written = written.and_then(|mut file| {
            std::io::Write::write_all(&mut file, text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, path)
        });
        written.map_err(fail)?;
    }
    Ok(())
}

impl Files {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    /// If they cannot be used, or everybody could read the key.
    pub fn read(&self) -> Result<Certificate, Failure> {
        let key = read_short(&self.key)?;
        let mode = fs::metadata(&self.key).map(|found| found.permissions().mode()).unwrap_or_default();
        // A group may have it: that of the programs which use certificates, on many systems.
        if mode & 0o007 != 0 {
            let hint = format!("chmod o= '{}'", self.key.display());
            return Err(Failure::usage(format!("{} can be read by everybody", self.key.display()), hint));
        }
        let read = Certificate::from_pem(&read_short(&self.certificate)?, &key);
        let both = || format!("{}, {}", self.certificate.display(), self.key.display());
        read.map_err(|error| {
            Failure::usage(format!("{}: {error}", both()), "both must be PEM, and belong together")
        })
    }
}

fn read_short(path: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |what: String| Failure::usage(format!("{}: {what}", path.display()), "name a file in PEM");
    let length = fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if length > MAX_PEM {
        return Err(fail(format!("longer than {MAX_PEM} bytes")));
    }
    fs::read(path).map_err(|error| fail(error.to_string()))
}

/// How whoever has a link knows the hub that has this certificate.
pub fn trust(certificate: Option<&watch::Receiver<Arc<Certificate>>>, host: &str) -> Trust {
    match certificate {
        None => Trust::Plain,
        Some(certificate) if certificate.borrow().is_vouched_for(host) => Trust::Authorities,
        Some(certificate) => Trust::Fingerprint(certificate.borrow().fingerprint()),
    }
}

/// The trust as programs are told of it: `null`, `authorities`, or the fingerprint.
pub fn trust_name(trust: Trust) -> Option<String> {
    match trust {
        Trust::Plain => None,
        Trust::Authorities => Some("authorities".to_owned()),
        Trust::Fingerprint(fingerprint) => Some(fingerprint_text(&fingerprint)),
    }
}

/// The name or address that goes into the link: the one that is given, the one listened at, or, when that is
/// "everywhere", the one from which this machine would reach others.
pub fn host(secure: &Secure, listen: SocketAddr) -> String {
    if let Some(host) = &secure.host {
        return host.clone();
    }
    let address = listen.ip();
    let address = if address.is_unspecified() { own_address().unwrap_or(address) } else { address };
    address.to_string()
}

/// The address of this machine that faces its network. Nothing is sent: the kernel is asked for the way to an
/// address that exists nowhere (RFC 5737).
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hubs_own_certificate_is_made_once_and_kept() {
        let state = tempfile::tempdir().unwrap();
        let secure = Secure { tls: true, ..Secure::default() };
        assert_eq!(asked(&secure), Protection::Tls);
        let files_of = || files(&secure, state.path(), "10.0.0.1").unwrap().unwrap();
        let first = files_of().read().unwrap().fingerprint();
        assert_eq!(files_of().read().unwrap().fingerprint(), first);
        let mode = fs::metadata(files_of().key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_everybody_can_read_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let secure = Secure { tls: true, ..Secure::default() };
        let files = files(&secure, state.path(), "localhost").unwrap().unwrap();
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(files.read().unwrap_err().what().contains("everybody"));
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o640)).unwrap();
        files.read().unwrap();
        fs::write(&files.certificate, "no certificate").unwrap();
        assert!(files.read().unwrap_err().what().contains("no certificate"));
    }

    #[test]
    fn the_link_names_what_others_can_reach() {
        let given = Secure { host: Some("notes.example".into()), ..Secure::default() };
        assert_eq!(host(&given, "0.0.0.0:1".parse().unwrap()), "notes.example");
        let none = Secure::default();
        assert_eq!(host(&none, "127.0.0.1:1".parse().unwrap()), "127.0.0.1");
        assert_eq!(host(&none, "[::1]:1".parse().unwrap()), "::1");
    }
}
