//! Taking names away: removing what is expected, renaming without replacing, modes.

use crate::medium::{Medium, Purpose, Step};
use crate::on_medium::{OnMedium, check_temporary, fault, read_fault};
use crate::*;
use rustix::io::Errno;

impl<M: Medium> OnMedium<M> {
    pub(crate) fn remove_path(
        &self,
        path: &RelPath,
        expect: &Expect,
        temporary: &str,
    ) -> Result<Removed, DiskError> {
        let id = check_temporary(temporary)?;
        let name = path.file_name();
        let Some(dir) = self.parent_of(path)? else {
            return Ok(Removed::Differs(Found::Missing));
        };
        let found = self.found(&dir, name, path)?;
        let held = match (&found, expect) {
            (Found::Link { target, .. }, Expect::Link(expected)) if target == expected => None,
            (Found::File { .. }, Expect::File(_)) => match self.medium.open_read(&dir, name) {
                Ok(file) => Some(file),
                Err(Errno::AGAIN) => return Ok(Removed::Busy),
                Err(Errno::NOENT | Errno::LOOP) => {
                    return Ok(Removed::Differs(self.found(&dir, name, path)?));
                }
                Err(e) => return Err(read_fault(path, e)),
            },
            _ => return Ok(Removed::Differs(found)),
        };
        let lease = match held.as_ref().map(|file| self.medium.lease(file)) {
            Some(Ok(None)) => return Ok(Removed::Busy),
            Some(Ok(lease)) => lease,
            Some(Err(_)) | None => None,
        };
        // A look before the name is taken away: a file that differs is not made to vanish even briefly.
        if let (Some(file), Expect::File(expected)) = (held.as_ref(), expect) {
            let stat = self.medium.stat_file(file).map_err(|e| fault("looking at", path, e))?;
            match self.medium.read_file(file, self.limit) {
                Ok(bytes) if ContentHash::of(&bytes) == *expected => {}
                Ok(bytes) => {
                    let hash = Some(ContentHash::of(&bytes));
                    return Ok(Removed::Differs(Found::File { hash, stat }));
                }
                Err(Errno::FBIG) => return Ok(Removed::Differs(Found::File { hash: None, stat })),
                Err(e) => return Err(read_fault(path, e)),
            }
        }
        self.medium.announce(temporary, path, Purpose::Remove);
        self.medium.step(Step::BeforeExchange, path);
        match self.medium.rename_new(&dir, name, &dir, temporary) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(Removed::Differs(self.found(&dir, name, path)?)),
            Err(e) => return Err(fault("removing", path, e)),
        }
        self.medium.step(Step::AfterTaking, path);
        self.judge_taken(path, &dir, expect, temporary, &id, held.as_ref(), lease)
    }

    /// Looks at what a removal took under the temporary's name.
    #[allow(clippy::too_many_arguments)]
    fn judge_taken(
        &self,
        path: &RelPath,
        dir: &M::Dir,
        expect: &Expect,
        temporary: &str,
        id: &DisplacedId,
        held: Option<&M::File>,
        lease: Option<M::Lease<'_>>,
    ) -> Result<Removed, DiskError> {
        let out =
            self.medium.stat(dir, temporary).map_err(|e| fault("looking at what was taken from", path, e))?;
        let mut raced = None;
        let mut quiet = true;
        let as_expected = match (out.kind, expect) {
            (FileKind::Link, Expect::Link(expected)) => {
                self.medium.read_link(dir, temporary).as_ref() == Ok(expected)
            }
            (FileKind::File, Expect::File(expected)) => {
                let same = held.is_some_and(|f| self.medium.stat_file(f).is_ok_and(|s| s.same_inode(&out)));
                let looked = match held {
                    Some(file) if same => self.read_held(file, lease.as_ref(), self.limit),
                    _ => self.medium.open_read(dir, temporary).and_then(|file| {
                        let lease = self.medium.lease(&file).ok().flatten();
                        self.read_held(&file, lease.as_ref(), self.limit)
                    }),
                };
                match looked {
                    Ok((bytes, unbroken)) => {
                        quiet = unbroken;
                        let same = ContentHash::of(&bytes) == *expected;
                        raced = Some(bytes);
                        same
                    }
                    Err(_) => false,
                }
            }
            _ => false,
        };
        if !as_expected {
            drop(lease);
            return match self.medium.rename_new(dir, temporary, dir, path.file_name()) {
                Ok(()) => Ok(Removed::Differs(self.found(dir, path.file_name(), path)?)),
                Err(Errno::EXIST) => {
                    // Both the one taken and the one put there meanwhile are somebody's: keep both.
                    self.keep(dir, path, temporary, id)?;
                    Ok(Removed::Raced { bytes: raced.unwrap_or_default(), displaced: id.clone() })
                }
                Err(e) => Err(fault("putting back", path, e)),
            };
        }
        let displaced = if quiet {
            match self.medium.unlink(dir, temporary) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(fault("removing", path, e)),
            }
            None
        } else {
            self.keep(dir, path, temporary, id)?;
            Some(id.clone())
        };
        drop(lease);
        self.sync_dir(dir, path, Sync::Full, true)?;
        self.remove_empty_parents(path);
        Ok(Removed::Done { displaced })
    }

    /// Removes the directories above `path` that are empty now. Failure to do so harms nothing.
    fn remove_empty_parents(&self, path: &RelPath) {
        let mut next = path.parent();
        while let Some(dir) = next {
            match self.remove_empty_dir(&dir) {
                Ok(true) => next = dir.parent(),
                Ok(false) | Err(_) => return,
            }
        }
    }

    pub(crate) fn remove_empty_dir(&self, path: &RelPath) -> Result<bool, DiskError> {
        let Some(parent) = self.parent_of(path)? else { return Ok(false) };
        match self.medium.remove_dir(&parent, path.file_name()) {
            Ok(()) => {
                self.sync_dir(&parent, path, Sync::Full, true)?;
                Ok(true)
            }
            Err(
                Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::BUSY,
            ) => Ok(false),
            Err(e) => Err(fault("removing the directory", path, e)),
        }
    }

    pub(crate) fn rename_path(&self, from: &RelPath, to: &RelPath) -> Result<Renamed, DiskError> {
        if to.is_below(from) {
            return Err(fault("renaming into itself", from, Errno::INVAL));
        }
        let Some(from_dir) = self.parent_of(from)? else { return Ok(Renamed::Missing) };
        let Some(before) = self.stat_in(&from_dir, from.file_name(), from)? else {
            self.medium.root_alive()?;
            return Ok(Renamed::Missing);
        };
        let to_dir = self.ensure_dir(to.parent().as_ref(), Sync::Full)?;
        self.medium.step(Step::BeforeExchange, from);
        match self.medium.rename_new(&from_dir, from.file_name(), &to_dir, to.file_name()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(Renamed::Missing),
            Err(Errno::EXIST) => {
                let Some(stat) = self.stat_in(&to_dir, to.file_name(), to)? else {
                    return Ok(Renamed::Missing);
                };
                if !(stat.same_inode(&before) && self.is_respelling(&from_dir, from, to)?) {
                    return Ok(Renamed::TargetExists { stat });
                }
                self.respell(&from_dir, from, to)?;
            }
            Err(e) => return Err(fault("renaming", from, e)),
        }
        // The new name first: a power cut between the two leaves both names rather than none.
        self.sync_dir(&to_dir, to, Sync::Full, true)?;
        self.sync_dir(&from_dir, from, Sync::Full, true)?;
        match self.stat_in(&to_dir, to.file_name(), to)? {
            Some(stat) => Ok(Renamed::Done { stat }),
            None => Ok(Renamed::Done { stat: before }),
        }
    }

    /// Whether both paths name one directory entry (a file system that ignores case or normal form),
    /// rather than two hard links to one file.
    fn is_respelling(&self, dir: &M::Dir, from: &RelPath, to: &RelPath) -> Result<bool, DiskError> {
        if from == to || from.parent() != to.parent() {
            return Ok(false);
        }
        let names = self.medium.names(dir).map_err(|e| fault("listing the directory of", from, e))?;
        Ok(!names.iter().any(|name| name == to.file_name().as_bytes()))
    }

    /// Renames by way of a third name: the kernel takes a rename between two spellings for no rename.
    fn respell(&self, dir: &M::Dir, from: &RelPath, to: &RelPath) -> Result<(), DiskError> {
        let hash = ContentHash::of(format!("{from}\0{to}").as_bytes());
        let seed = hash.as_bytes().iter().take(8).fold(0u64, |seed, byte| seed << 8 | u64::from(*byte));
        let third = temporary_name(seed);
        self.medium.rename_new(dir, from.file_name(), dir, &third).map_err(|e| fault("renaming", from, e))?;
        self.medium.rename_new(dir, &third, dir, to.file_name()).map_err(|e| {
            // Back to what it was; if even that fails, the restart finds the temporary.
            let _ = self.medium.rename_new(dir, &third, dir, from.file_name());
            fault("renaming", to, e)
        })
    }

    pub(crate) fn set_path_mode(&self, path: &RelPath, mode: u32) -> Result<FileStat, DiskError> {
        let missing = || DiskError::NotFound(path.clone());
        let dir = self.parent_of(path)?.ok_or_else(missing)?;
        match self.stat_in(&dir, path.file_name(), path)? {
            Some(stat) if stat.kind == FileKind::File => {}
            _ => return Err(missing()),
        }
        self.medium
            .set_mode(&dir, path.file_name(), mode & 0o777)
            .map_err(|e| fault("setting the mode of", path, e))?;
        self.stat_in(&dir, path.file_name(), path)?.ok_or_else(missing)
    }
}
