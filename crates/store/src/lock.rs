//! One hub per folder: a lock that the kernel frees when its holder dies.

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
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The holder may not have written its id yet; then it is unknown.
                let _ = file.read_to_string(&mut text);
                return Err(LockError::Held { pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        file.set_len(0).map_err(fail)?;
        file.rewind().map_err(fail)?;
        writeln!(file, "{}", std::process::id()).map_err(fail)?;
        Ok(FolderLock { _file: file })
    }
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
}
