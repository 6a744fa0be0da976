//! Whether somebody has a file open for writing, asked of the kernel by a file lease.
//!
//! A read lease is granted only while nobody has the file open for writing, and the kernel remembers
//! whether somebody tried since. Openers for writing wait while a lease is held (at most
//! `/proc/sys/fs/lease-break-time` seconds), so hold it for a read and an exchange, no longer.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// `F_SETSIG` of Linux: which signal tells the holder that somebody wants to write.
const F_SETSIG: libc::c_int = 10;

/// A held read lease; dropping it releases it.
#[derive(Debug)]
pub struct ReadLease<'f> {
    file: &'f File,
}

/// Asks for a read lease on `file`, which must be open for reading only.
///
/// `Ok(None)`: somebody (this process included) has the file open for writing.
///
/// # Errors
/// `EACCES`: the file belongs to somebody else; `EINVAL`, `EOPNOTSUPP` and others: no leases on this file
/// system. The caller treats all of them as "leases are unavailable".
pub fn read_lease(file: &File) -> io::Result<Option<ReadLease<'_>>> {
    let fd = file.as_raw_fd();
    // The default signal, SIGIO, kills a process that does not handle it, at the moment an editor
    // opens the file for writing. SIGURG is ignored by default.
    fcntl(fd, F_SETSIG, libc::SIGURG)?;
    match fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) {
        Ok(_) => Ok(Some(ReadLease { file })),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(e),
    }
}

impl ReadLease<'_> {
    /// Whether somebody tried to open the file for writing (or to truncate it) since the lease was
    /// taken. They wait until the lease is dropped.
    ///
    /// # Errors
    /// Whatever `fcntl` says; treat it as broken.
    pub fn broken(&self) -> io::Result<bool> {
        Ok(fcntl(self.file.as_raw_fd(), libc::F_GETLEASE, 0)? != libc::F_RDLCK)
    }
}

impl Drop for ReadLease<'_> {
    fn drop(&mut self) {
        // A failure means the kernel has taken the lease away already.
        let _ = fcntl(self.file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK);
    }
}

fn fcntl(fd: RawFd, command: libc::c_int, argument: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: `fd` belongs to a `File` that is borrowed for the whole call, and every command passed
    // here (F_SETSIG, F_SETLEASE, F_GETLEASE) takes an integer or nothing: no memory is touched.
    let answer = unsafe { libc::fcntl(fd, command, argument) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt;

    fn file() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "x").unwrap();
        (dir, path)
    }

    #[test]
    fn granted_when_nobody_writes_and_again_after_dropping() {
        let (_dir, path) = file();
        let reader = File::open(&path).unwrap();
        for _ in 0..2 {
            let lease = read_lease(&reader).unwrap().unwrap();
            assert!(!lease.broken().unwrap());
        }
    }

    #[test]
    fn refused_while_a_writer_has_it_open() {
        let (_dir, path) = file();
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        let reader = File::open(&path).unwrap();
        assert!(read_lease(&reader).unwrap().is_none());
        drop(writer);
        assert!(read_lease(&reader).unwrap().is_some());
    }

    #[test]
    fn a_writer_that_arrives_breaks_it_and_does_not_kill_us() {
        let (_dir, path) = file();
        let reader = File::open(&path).unwrap();
        let lease = read_lease(&reader).unwrap().unwrap();
        let refused = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(lease.broken().unwrap());
        drop(lease);
        assert!(OpenOptions::new().write(true).open(&path).is_ok());
    }

    #[test]
    fn an_exchange_of_names_does_not_break_it() {
        let (dir, path) = file();
        std::fs::write(dir.path().join("g"), "y").unwrap();
        let reader = File::open(&path).unwrap();
        let lease = read_lease(&reader).unwrap().unwrap();
        std::fs::rename(&path, dir.path().join("h")).unwrap();
        std::fs::remove_file(dir.path().join("h")).unwrap();
        assert!(!lease.broken().unwrap());
    }
}
