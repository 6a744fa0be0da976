//! A folder on a medium: what every operation has in common, and the way from the trait to them.

use crate::medium::{Medium, Step};
use crate::planted::{Planted, planted};
use crate::*;
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::Mutex;

/// Where displaced files are kept, in `.syncline`.
pub(crate) const DISPLACED: &str = "displaced";
/// Where temporaries are written ahead of their save, in `.syncline`.
pub(crate) const AHEAD: &str = "ahead";

/// A [`Folder`] whose algorithms run on some [`Medium`]: the kernel's, or one in memory.
pub struct OnMedium<M: Medium> {
    pub(crate) medium: M,
    /// Displaced and racing files longer than this are never loaded.
    pub(crate) limit: u64,
    /// Displaced files that could not be moved to `.syncline/displaced` because their directory lies on
    /// another file system: they stay beside their target under the temporary's name.
    pub(crate) strays: Mutex<HashMap<DisplacedId, Option<RelPath>>>,
}

impl<M: Medium> OnMedium<M> {
    pub(crate) fn on(medium: M, limit: u64) -> Self {
        Self { medium, limit, strays: Mutex::new(HashMap::new()) }
    }

    /// Opens the directory that `path` is in. `None`: there is no such directory.
    pub(crate) fn parent_of(&self, path: &RelPath) -> Result<Option<M::Dir>, DiskError> {
        match self.medium.open_dir(path.parent().as_ref()) {
            Ok(dir) => {
                self.medium.step(Step::DirectoryOpened, path);
                Ok(Some(dir))
            }
            Err(Errno::NOENT) => self.medium.root_alive().map(|()| None),
            Err(e) => Err(fault("opening the directory of", path, e)),
        }
    }

    /// Opens a directory, making it and its parents. Each new name is synced in its parent, else a power
    /// cut could take a whole directory of saved files.
    pub(crate) fn ensure_dir(&self, dir: Option<&RelPath>, sync: Sync) -> Result<M::Dir, DiskError> {
        match (self.medium.open_dir(dir), dir) {
            (Ok(open), _) => Ok(open),
            (Err(Errno::NOENT), Some(dir)) => {
                self.medium.root_alive()?;
                let parent = self.ensure_dir(dir.parent().as_ref(), sync)?;
                match self.medium.make_dir(&parent, dir.file_name()) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(fault("making the directory", dir, e)),
                }
                self.sync_dir(&parent, dir, sync, true)?;
                self.medium.open_dir(Some(dir)).map_err(|e| fault("opening the directory", dir, e))
            }
            (Err(e), Some(dir)) => Err(fault("opening the directory", dir, e)),
            (Err(e), None) => {
                self.medium.root_alive()?;
                Err(DiskError::Io { doing: "opening", path: "the root".into(), source: e.into() })
            }
        }
    }

    pub(crate) fn sync_dir(
        &self,
        dir: &M::Dir,
        path: &RelPath,
        sync: Sync,
        placed: bool,
    ) -> Result<(), DiskError> {
        match sync {
            Sync::Deferred => Ok(()),
            Sync::Full if planted(Planted::RenameWithoutSync) => Ok(()),
            Sync::Full => self.medium.sync_dir(dir).map_err(|e| sync_failed(path.as_str(), placed, e)),
        }
    }

    /// The stat of a name; `None` if there is nothing.
    pub(crate) fn stat_in(
        &self,
        dir: &M::Dir,
        name: &str,
        path: &RelPath,
    ) -> Result<Option<FileStat>, DiskError> {
        match self.medium.stat(dir, name) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(fault("looking at", path, e)),
        }
    }

    /// What is at a name now, without reading it.
    pub(crate) fn found(&self, dir: &M::Dir, name: &str, path: &RelPath) -> Result<Found, DiskError> {
        let Some(stat) = self.stat_in(dir, name, path)? else {
            self.medium.root_alive()?;
            return Ok(Found::Missing);
        };
        Ok(match stat.kind {
            FileKind::File => Found::File { hash: None, stat },
            FileKind::Link => match self.medium.read_link(dir, name) {
                Ok(target) => Found::Link { target, stat },
                Err(Errno::ILSEQ) => {
                    return Err(fault("reading (its target is not UTF-8) the link", path, Errno::ILSEQ));
                }
                // Swapped for something else between the two calls.
                Err(_) => Found::NotAFile { stat },
            },
            FileKind::Directory | FileKind::Other => Found::NotAFile { stat },
        })
    }

    /// Reads an open file and says whether nobody can be writing it: the lease was granted and is
    /// unbroken after the last byte was read.
    pub(crate) fn read_held(
        &self,
        file: &M::File,
        lease: Option<&M::Lease<'_>>,
        limit: u64,
    ) -> Result<(Vec<u8>, bool), Errno> {
        let bytes = self.medium.read_file(file, limit)?;
        Ok((bytes, lease.is_some_and(|lease| !self.medium.broken(lease))))
    }
}

/// A temporary's name that the caller made by itself could overwrite a file of a person.
pub(crate) fn check_temporary(name: &str) -> Result<DisplacedId, DiskError> {
    DisplacedId::of_temporary(name).ok_or_else(|| DiskError::BadTemporary(path::shown(name)))
}

/// The error for a failed call on `path`.
pub(crate) fn fault(doing: &'static str, path: &RelPath, errno: Errno) -> DiskError {
    match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::TXTBSY => {
            DiskError::ReadOnly { path: path.clone(), source: errno.into() }
        }
        Errno::NOSPC | Errno::DQUOT => DiskError::StorageFull { path: path.clone(), source: errno.into() },
        Errno::LOOP | Errno::NOTDIR => DiskError::NotADirectory(path.clone()),
        Errno::NOENT => DiskError::NotFound(path.clone()),
        _ => DiskError::Io { doing, path: path.to_string(), source: errno.into() },
    }
}

/// As [`fault`], where permission concerns reading.
pub(crate) fn read_fault(path: &RelPath, errno: Errno) -> DiskError {
    match errno {
        Errno::ACCESS | Errno::PERM => DiskError::Unreadable { path: path.clone(), source: errno.into() },
        _ => fault("reading", path, errno),
    }
}

pub(crate) fn sync_failed(path: &str, placed: bool, errno: Errno) -> DiskError {
    DiskError::SyncFailed { path: path.to_owned(), placed, source: errno.into() }
}

impl<M: Medium> Folder for OnMedium<M> {
    fn list(&self, dir: Option<&RelPath>) -> Result<Listing, DiskError> {
        self.list_dir(dir)
    }
    fn stat(&self, path: &RelPath) -> Result<Option<FileStat>, DiskError> {
        self.stat_path(path)
    }
    fn read(&self, path: &RelPath, limit: u64) -> Result<Reading, DiskError> {
        self.read_path(path, limit)
    }
    fn read_against(&self, path: &RelPath, limit: u64, known: &FileBytes) -> Result<Compared, DiskError> {
        self.compare_path(path, limit, known)
    }
    fn write_ahead(
        &self,
        path: &RelPath,
        bytes: &FileBytes,
        temporary: &str,
    ) -> Result<Option<ContentHash>, DiskError> {
        self.write_file_ahead(path, bytes, temporary).map(Some)
    }
    fn clear_ahead(&self, only: Option<&str>) -> Result<(), DiskError> {
        self.clear_files_ahead(only)
    }
    fn save(&self, save: &Save) -> Result<Saved, DiskError> {
        self.save_file(save)
    }
    fn remove(&self, path: &RelPath, expect: &Expect, temporary: &str) -> Result<Removed, DiskError> {
        self.remove_path(path, expect, temporary)
    }
    fn rename(&self, from: &RelPath, to: &RelPath) -> Result<Renamed, DiskError> {
        self.rename_path(from, to)
    }
    fn set_mode(&self, path: &RelPath, mode: u32) -> Result<FileStat, DiskError> {
        self.set_path_mode(path, mode)
    }
    fn make_link(
        &self,
        path: &RelPath,
        target: &str,
        expect: &Expect,
        temporary: &str,
    ) -> Result<Saved, DiskError> {
        self.save_link(path, target, expect, temporary)
    }
    fn make_dir(&self, path: &RelPath) -> Result<(), DiskError> {
        self.ensure_dir(Some(path), Sync::Full).map(drop)
    }
    fn remove_dir(&self, path: &RelPath) -> Result<bool, DiskError> {
        self.remove_empty_dir(path)
    }
    fn settle(&self, id: &DisplacedId) -> Result<Settled, DiskError> {
        self.settle_displaced(id)
    }
    fn forget(&self, id: &DisplacedId) -> Result<(), DiskError> {
        self.forget_displaced(id)
    }
    fn displaced(&self) -> Result<Vec<DisplacedId>, DiskError> {
        self.all_displaced()
    }
    fn temporaries(&self) -> Result<Vec<(RelPath, ContentHash)>, DiskError> {
        self.all_temporaries()
    }
    fn read_temporary(&self, path: &RelPath) -> Result<Vec<u8>, DiskError> {
        self.temporary_bytes(path)
    }
    fn remove_temporary(&self, path: &RelPath, hash: ContentHash) -> Result<bool, DiskError> {
        self.drop_temporary(path, hash)
    }
    fn read_open(&self, path: &RelPath, limit: u64) -> Result<Option<(Vec<u8>, FileStat)>, DiskError> {
        self.read_open_path(path, limit)
    }
    fn append_or_patch(
        &self,
        path: &RelPath,
        expect: ContentHash,
        bytes: &[u8],
    ) -> Result<Patched, DiskError> {
        self.patch_held(path, expect, bytes)
    }
    fn sync_all(&self) -> Result<(), DiskError> {
        self.medium.sync_all().map_err(|e| sync_failed("the folder", true, e))
    }
    fn watch(&self) -> Result<Box<dyn Watch>, DiskError> {
        self.medium.watch()
    }
    fn git_state(&self, dir: Option<&RelPath>) -> Result<GitState, DiskError> {
        match self.medium.open_dir(dir).and_then(|open| self.medium.git_state(&open)) {
            Ok(state) => Ok(state),
            Err(Errno::NOENT) => Ok(GitState::Absent),
            Err(e) => Err(DiskError::Io {
                doing: "looking for .git in",
                path: dir.map_or_else(|| "the root".to_owned(), RelPath::to_string),
                source: e.into(),
            }),
        }
    }
    fn probe(&self) -> Probe {
        self.medium.probe()
    }
}
