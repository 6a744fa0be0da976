//! One hub per folder, or several users of this machine who have a copy of a document each: a lock that the kernel
//! frees when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Held while a hub runs on a folder.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another hub runs on it.
    #[error("another hub (process {}) already serves this folder", pid.map_or("unknown".to_owned(), |pid| pid.to_string()))]
    Held {
        /// The holder's process id, if it could be read.
        pid: Option<u32>,
    },
    /// Users of this machine have copies of a document in it, and run.
    #[error("users of this machine edit a document in this folder (syncline local)")]
    Shared,
    /// The lock file could not be used.
    #[error("{path}: {error}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

impl FolderLock {
    /// Locks `path` (made if missing) and writes this process's id into it. The lock is `flock`'s: it goes
    /// with the process, also at SIGKILL.
    ///
    /// # Errors
    /// [`LockError::Held`] with the holder's process id.
    pub fn acquire(path: &Path) -> Result<FolderLock, LockError> {
        let fail = |error| LockError::Io { path: path.to_owned(), error };
        let mut file = open(path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // Beside those who share it this would succeed.
                return Err(match file.try_lock_shared() {
                    Ok(()) => LockError::Shared,
                    Err(_) => LockError::Held { pid: holder(&mut file) },
                });
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        file.set_len(0).map_err(fail)?;
        file.rewind().map_err(fail)?;
        writeln!(file, "{}", std::process::id()).map_err(fail)?;
        Ok(FolderLock { _file: file })
    }

    /// Locks `path` together with others who do the same, against whoever [acquires](FolderLock::acquire) it.
    ///
    /// # Errors
    /// [`LockError::Held`] with that holder's process id.
    pub fn share(path: &Path) -> Result<FolderLock, LockError> {
        let fail = |error| LockError::Io { path: path.to_owned(), error };
        let mut file = open(path).map_err(fail)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(FolderLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { pid: holder(&mut file) }),
            Err(TryLockError::Error(error)) => Err(fail(error)),
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// The holder's process id; it may not have written it yet, and then it is unknown.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_learns_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = FolderLock::acquire(&path).unwrap();
        match FolderLock::acquire(&path) {
            Err(LockError::Held { pid }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(held);
        FolderLock::acquire(&path).unwrap();
    }

    #[test]
    fn those_who_share_it_keep_out_who_wants_it_alone_and_the_other_way_round() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let sharing = [(); 2].map(|()| FolderLock::share(&path).unwrap());
        assert!(matches!(FolderLock::acquire(&path), Err(LockError::Shared)));
        drop(sharing);
        let held = FolderLock::acquire(&path).unwrap();
        match FolderLock::share(&path) {
            Err(LockError::Held { pid }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(held);
        FolderLock::share(&path).unwrap();
    }
}
