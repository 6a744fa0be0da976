//! What saves and removals leave behind: displaced files that a writer may still write to, and temporaries.

use crate::medium::Medium;
use crate::on_medium::{DISPLACED, OnMedium, fault, read_fault, sync_failed};
use crate::*;
use rustix::io::Errno;

/// How long a displaced file is kept where leases cannot tell whether somebody still writes to it.
const QUIET_WITHOUT_LEASES_NS: i128 = 60_000_000_000;

impl<M: Medium> OnMedium<M> {
    /// Moves what lies under a temporary's name to `.syncline/displaced`, durably: it may be the only
    /// copy of what somebody saved.
    pub(crate) fn keep(
        &self,
        dir: &M::Dir,
        path: &RelPath,
        temporary: &str,
        id: &DisplacedId,
    ) -> Result<(), DiskError> {
        let moved = self.medium.state_dir(DISPLACED, true).and_then(|displaced| {
            self.medium.rename_new(dir, temporary, &displaced, id.as_str())?;
            Ok(displaced)
        });
        match moved {
            Ok(displaced) => self
                .medium
                .sync_dir(&displaced)
                .and_then(|()| self.medium.sync_dir(dir))
                .map_err(|e| sync_failed(path.as_str(), true, e)),
            Err(_) => {
                // Another file system below the root, or a read-only state directory: it stays where it
                // is, hidden by its name, and is found again by it.
                self.strays().insert(id.clone(), path.parent());
                Ok(())
            }
        }
    }

    fn displaced_fault(&self, doing: &'static str, id: &DisplacedId, errno: Errno) -> DiskError {
        let path = format!("{}/{id}", self.medium.state_path(DISPLACED));
        DiskError::Io { doing, path, source: errno.into() }
    }

    fn strays(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<DisplacedId, Option<RelPath>>> {
        self.strays.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The directory and name under which a displaced file lies now.
    fn place_of(&self, id: &DisplacedId) -> Result<Option<(M::Dir, String)>, DiskError> {
        let stray = self.strays().get(id).cloned();
        let (dir, name) = match stray {
            Some(parent) => (self.medium.open_dir(parent.as_ref()), id.temporary()),
            None => (self.medium.state_dir(DISPLACED, false), id.as_str().to_owned()),
        };
        match dir {
            Ok(dir) => Ok(Some((dir, name))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.displaced_fault("opening the directory of", id, e)),
        }
    }

    pub(crate) fn settle_displaced(&self, id: &DisplacedId) -> Result<Settled, DiskError> {
        let Some((dir, name)) = self.place_of(id)? else { return Ok(Settled::Missing) };
        let file = match self.medium.open_read(&dir, &name) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Settled::Missing),
            Err(Errno::AGAIN) => return Ok(Settled::StillOpen),
            Err(e) => return Err(self.displaced_fault("opening", id, e)),
        };
        let failed = |e| self.displaced_fault("reading", id, e);
        let lease = match self.medium.lease(&file) {
            Ok(None) => return Ok(Settled::StillOpen),
            Ok(lease) => lease,
            Err(_) => {
                // The ctime is that of the move, or of the last write by a process nobody sees.
                let stat = self.medium.stat_file(&file).map_err(failed)?;
                let changed = stat.ctime_ns.max(stat.mtime_ns);
                if self.medium.now_ns() - changed < QUIET_WITHOUT_LEASES_NS {
                    return Ok(Settled::StillOpen);
                }
                None
            }
        };
        let bytes = match self.medium.read_file(&file, self.limit) {
            Ok(bytes) => bytes,
            Err(Errno::FBIG) => {
                return Ok(Settled::TooLarge { stat: self.medium.stat_file(&file).map_err(failed)? });
            }
            Err(e) => return Err(failed(e)),
        };
        let stat = self.medium.stat_file(&file).map_err(failed)?;
        if lease.is_some_and(|lease| self.medium.broken(&lease)) {
            return Ok(Settled::StillOpen);
        }
        Ok(Settled::Quiet { bytes, stat })
    }

    pub(crate) fn forget_displaced(&self, id: &DisplacedId) -> Result<(), DiskError> {
        if let Some((dir, name)) = self.place_of(id)? {
            match self.medium.unlink(&dir, &name) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(self.displaced_fault("removing", id, e)),
            }
        }
        self.strays().remove(id);
        Ok(())
    }

    pub(crate) fn all_displaced(&self) -> Result<Vec<DisplacedId>, DiskError> {
        let mut ids: Vec<_> = self.strays().keys().cloned().collect();
        let failed = |e: Errno| DiskError::Io {
            doing: "listing",
            path: self.medium.state_path(DISPLACED),
            source: e.into(),
        };
        match self.medium.state_dir(DISPLACED, false) {
            Ok(dir) => {
                let names = self.medium.names(&dir).map_err(failed)?;
                ids.extend(
                    names.iter().filter_map(|n| std::str::from_utf8(n).ok()).filter_map(DisplacedId::parse),
                );
            }
            Err(Errno::NOENT) => {}
            Err(e) => return Err(failed(e)),
        }
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    pub(crate) fn all_temporaries(&self) -> Result<Vec<(RelPath, ContentHash)>, DiskError> {
        let mut found = Vec::new();
        let mut pending: Vec<Option<RelPath>> = vec![None];
        while let Some(dir) = pending.pop() {
            let shown = || dir.as_ref().map_or_else(|| "the root".to_owned(), RelPath::to_string);
            let failed = |e: Errno| DiskError::Io { doing: "listing", path: shown(), source: e.into() };
            let open = match self.medium.open_dir(dir.as_ref()) {
                Ok(open) => open,
                // Removed, or swapped for a link, since its parent was listed.
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) if dir.is_some() => continue,
                Err(e) => return Err(failed(e)),
            };
            for name in self.medium.names(&open).map_err(failed)? {
                let Ok(name) = String::from_utf8(name) else { continue };
                let Ok(path) = RelPath::beneath(dir.as_ref(), &name) else { continue };
                match self.medium.stat(&open, &name).map(|stat| stat.kind) {
                    Ok(FileKind::Directory) => pending.push(Some(path)),
                    Ok(FileKind::File | FileKind::Link) if is_temporary_name(&name) => {
                        let bytes = self.temporary_bytes(&path)?;
                        found.push((path, ContentHash::of(&bytes)));
                    }
                    _ => {}
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// The bytes of a temporary file, or the target's text of a temporary link.
    pub(crate) fn temporary_bytes(&self, path: &RelPath) -> Result<Vec<u8>, DiskError> {
        let name = path.file_name();
        if !is_temporary_name(name) {
            return Err(DiskError::BadTemporary(path::shown(name)));
        }
        let dir = self.parent_of(path)?.ok_or_else(|| DiskError::NotFound(path.clone()))?;
        match self.found(&dir, name, path)? {
            Found::Link { target, .. } => Ok(target.into_bytes()),
            Found::File { .. } => {
                let file = self.medium.open_read(&dir, name).map_err(|e| read_fault(path, e))?;
                self.medium.read_file(&file, u64::MAX).map_err(|e| read_fault(path, e))
            }
            Found::Missing | Found::NotAFile { .. } => Err(DiskError::NotFound(path.clone())),
        }
    }

    pub(crate) fn drop_temporary(&self, path: &RelPath, hash: ContentHash) -> Result<bool, DiskError> {
        match self.temporary_bytes(path) {
            Ok(bytes) if ContentHash::of(&bytes) == hash => {}
            Ok(_) | Err(DiskError::NotFound(_)) => return Ok(false),
            Err(e) => return Err(e),
        }
        let Some(dir) = self.parent_of(path)? else { return Ok(false) };
        match self.medium.unlink(&dir, path.file_name()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(fault("removing", path, e)),
        }
    }
}
