//! Putting new content at a path: exchange, create, or check-and-rename.

use crate::medium::{Medium, Purpose, Step};
use crate::on_medium::{DISPLACED, OnMedium, check_temporary, fault, read_fault, sync_failed};
use crate::planted::{Planted, planted};
use crate::*;
use rustix::io::Errno;

/// What is put at a path.
#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    File { bytes: &'a FileBytes, mode: Option<u32> },
    Link { target: &'a str },
}

/// A save or a new link, with the checked parts of the request.
pub(crate) struct Placing<'a> {
    pub path: &'a RelPath,
    pub name: &'a str,
    pub content: Content<'a>,
    pub expect: &'a Expect,
    pub temporary: &'a str,
    pub id: DisplacedId,
    pub sync: Sync,
    /// See [`Save::seen`].
    pub seen: Option<FileStat>,
    /// See [`Save::ahead`].
    pub ahead: bool,
}

impl<M: Medium> OnMedium<M> {
    pub(crate) fn save_file(&self, save: &Save) -> Result<Saved, DiskError> {
        self.place(&Placing {
            path: &save.path,
            name: save.path.file_name(),
            content: Content::File { bytes: &save.bytes, mode: save.mode.map(|mode| mode & 0o777) },
            expect: &save.expect,
            temporary: &save.temporary,
            id: check_temporary(&save.temporary)?,
            sync: save.sync,
            seen: save.seen,
            ahead: save.ahead,
        })
    }

    pub(crate) fn save_link(
        &self,
        path: &RelPath,
        target: &str,
        expect: &Expect,
        temporary: &str,
    ) -> Result<Saved, DiskError> {
        self.place(&Placing {
            path,
            name: path.file_name(),
            content: Content::Link { target },
            expect,
            temporary,
            id: check_temporary(temporary)?,
            sync: Sync::Full,
            seen: None,
            ahead: false,
        })
    }

    fn place(&self, placing: &Placing<'_>) -> Result<Saved, DiskError> {
        let path = placing.path;
        if *placing.expect == Expect::Absent {
            let dir = self.ensure_dir(path.parent().as_ref(), placing.sync)?;
            self.medium.step(Step::DirectoryOpened, path);
            return match self.stat_in(&dir, placing.name, path)? {
                None => self.create_new(placing, &dir),
                Some(_) => Ok(Saved::Differs(self.found(&dir, placing.name, path)?)),
            };
        }
        let Some(dir) = self.parent_of(path)? else {
            return Ok(Saved::Differs(Found::Missing));
        };
        let before = self.stat_in(&dir, placing.name, path)?;
        match (placing.expect, placing.content, before) {
            (Expect::File(hash), Content::File { .. }, Some(stat))
                if stat.kind == FileKind::File && stat.links > 1 =>
            {
                self.write_in_place(placing, &dir, *hash)
            }
            (Expect::File(hash), Content::File { .. }, Some(stat)) if stat.kind == FileKind::Link => {
                self.write_through_link(placing, &dir, *hash)
            }
            (Expect::File(_), _, Some(stat)) if stat.kind == FileKind::File => {
                self.exchange_with(placing, &dir, &stat)
            }
            (Expect::Link(_), _, Some(stat)) if stat.kind == FileKind::Link => {
                self.exchange_with(placing, &dir, &stat)
            }
            _ => Ok(Saved::Differs(self.found(&dir, placing.name, path)?)),
        }
    }

    fn create_new(&self, placing: &Placing<'_>, dir: &M::Dir) -> Result<Saved, DiskError> {
        let written = self.write_temporary(placing, dir, false)?;
        self.medium.step(Step::BeforeExchange, placing.path);
        match self.medium.rename_new(dir, placing.temporary, dir, placing.name) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                self.discard(placing, dir)?;
                return Ok(Saved::Differs(self.found(dir, placing.name, placing.path)?));
            }
            Err(e) => {
                self.discard(placing, dir)?;
                return Err(fault("naming", placing.path, e));
            }
        }
        self.medium.step(Step::AfterExchange, placing.path);
        self.sync_dir(dir, placing.path, placing.sync, true)?;
        self.done(placing, dir, &written, How::Create, None)
    }

    fn exchange_with(
        &self,
        placing: &Placing<'_>,
        dir: &M::Dir,
        before: &FileStat,
    ) -> Result<Saved, DiskError> {
        let path = placing.path;
        if before.kind == FileKind::File {
            // An exchange needs only the directory; a file that its owner made read-only is respected.
            self.medium.may_write(dir, placing.name).map_err(|e| fault("writing", path, e))?;
        }
        let written = self.write_temporary(placing, dir, before.kind == FileKind::File)?;
        self.medium.step(Step::TemporaryWritten, path);
        // The old inode is opened before the exchange and held through it: one look serves to refuse
        // open writers now and to compare what came out afterwards.
        let held = match before.kind {
            FileKind::File => match self.medium.open_read(dir, placing.name) {
                Ok(file) => Some(file),
                Err(e) => {
                    self.discard(placing, dir)?;
                    return match e {
                        Errno::AGAIN => Ok(Saved::Busy),
                        Errno::NOENT | Errno::LOOP => {
                            Ok(Saved::Differs(self.found(dir, placing.name, path)?))
                        }
                        _ => Err(read_fault(path, e)),
                    };
                }
            },
            _ => None,
        };
        let lease = match held.as_ref().map(|file| self.medium.lease(file)) {
            Some(Ok(None)) => {
                self.discard(placing, dir)?;
                return Ok(Saved::Busy);
            }
            Some(Ok(Some(lease))) => Some(lease),
            Some(Err(_)) | None => None,
        };
        let unchanged = match (&held, &lease, placing.seen) {
            // No writer has it open, and none had since those bytes were seen.
            (Some(file), Some(_), Some(seen)) => {
                self.medium.stat_file(file).is_ok_and(|now| seen.proves_unchanged(&now))
            }
            _ => false,
        };
        self.medium.step(Step::BeforeExchange, path);
        match self.medium.exchange(dir, placing.temporary, placing.name) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                return self.rename_checked(placing, dir, &written, held.as_ref(), lease);
            }
            Err(e) => {
                drop(lease);
                self.discard(placing, dir)?;
                return match (e, placing.expect) {
                    (Errno::NOENT, _) => Ok(Saved::Differs(self.found(dir, placing.name, path)?)),
                    // A file that is itself a mount point (a container's bind mount) has a name that
                    // cannot be exchanged.
                    (Errno::BUSY | Errno::XDEV, Expect::File(hash)) => {
                        self.write_in_place(placing, dir, *hash)
                    }
                    _ => Err(fault("exchanging", path, e)),
                };
            }
        }
        self.medium.step(Step::AfterExchange, path);
        self.sync_dir(dir, path, placing.sync, true)?;
        self.judge_displaced(placing, dir, &written, held.as_ref(), lease, unchanged)
    }

    /// Looks at what an exchange put under the temporary's name. `unchanged`: the file that was held had the
    /// bytes that are expected when its lease was taken.
    fn judge_displaced(
        &self,
        placing: &Placing<'_>,
        dir: &M::Dir,
        written: &FileStat,
        held: Option<&M::File>,
        lease: Option<M::Lease<'_>>,
        unchanged: bool,
    ) -> Result<Saved, DiskError> {
        let path = placing.path;
        let out = self
            .medium
            .stat(dir, placing.temporary)
            .map_err(|e| fault("looking at what was displaced from", path, e))?;
        match (out.kind, placing.expect) {
            (FileKind::Link, Expect::Link(expected))
                if self.medium.read_link(dir, placing.temporary).as_ref() == Ok(expected) =>
            {
                self.discard(placing, dir)?;
                return self.done(placing, dir, written, How::Exchange, None);
            }
            (FileKind::File, _) => {}
            // Somebody put a link or a directory there in the last moment: theirs, not ours to displace.
            _ => return self.put_back(placing, dir),
        }
        let same_as_held = match held {
            Some(file) => self.medium.stat_file(file).is_ok_and(|stat| stat.same_inode(&out)),
            None => false,
        };
        if unchanged && same_as_held && lease.as_ref().is_some_and(|lease| !self.medium.broken(lease)) {
            // Still nobody: the bytes need not be read to be known.
            self.discard(placing, dir)?;
            drop(lease);
            return self.done(placing, dir, written, How::Exchange, None);
        }
        let looked = match held {
            Some(file) if same_as_held => self.read_held(file, lease.as_ref(), self.limit),
            // Somebody saved by rename between our look and the exchange: another inode came out.
            _ => self.medium.open_read(dir, placing.temporary).and_then(|file| {
                let lease = self.medium.lease(&file).ok().flatten();
                self.read_held(&file, lease.as_ref(), self.limit)
            }),
        };
        let (bytes, quiet) = match looked {
            Ok(looked) => looked,
            Err(Errno::FBIG) => return self.put_back(placing, dir),
            Err(e) => {
                // Unreadable: keep it, somebody may have saved.
                self.keep(dir, placing.path, placing.temporary, &placing.id)?;
                return Err(read_fault(path, e));
            }
        };
        if *placing.expect != Expect::File(ContentHash::of(&bytes)) {
            drop(lease);
            self.keep(dir, placing.path, placing.temporary, &placing.id)?;
            let stat = self.placed(placing, dir, written)?;
            return Ok(Saved::Raced { stat, bytes, displaced: placing.id.clone() });
        }
        if quiet {
            // The lease is still held: a writer who looked the name up before the exchange waits in
            // open() and would have broken it.
            self.discard(placing, dir)?;
            drop(lease);
            return self.done(placing, dir, written, How::Exchange, None);
        }
        drop(lease);
        self.keep(dir, placing.path, placing.temporary, &placing.id)?;
        self.done(placing, dir, written, How::Exchange, Some(placing.id.clone()))
    }

    /// Undoes an exchange that displaced something which is no file of ours to replace.
    fn put_back(&self, placing: &Placing<'_>, dir: &M::Dir) -> Result<Saved, DiskError> {
        let ours = self.medium.stat(dir, placing.name).ok();
        self.medium
            .exchange(dir, placing.temporary, placing.name)
            .map_err(|e| fault("putting back", placing.path, e))?;
        self.sync_dir(dir, placing.path, placing.sync, false)?;
        let out = self.stat_in(dir, placing.temporary, placing.path)?;
        match (ours, out) {
            (Some(ours), Some(out)) if ours.same_inode(&out) => self.discard(placing, dir)?,
            // Somebody saved over our bytes before we put the other thing back: keep what they saved.
            _ => self.keep(dir, placing.path, placing.temporary, &placing.id)?,
        }
        Ok(Saved::Differs(self.found(dir, placing.name, placing.path)?))
    }

    /// Where names cannot be exchanged: check, give the old inode a second name, rename over it.
    fn rename_checked(
        &self,
        placing: &Placing<'_>,
        dir: &M::Dir,
        written: &FileStat,
        held: Option<&M::File>,
        lease: Option<M::Lease<'_>>,
    ) -> Result<Saved, DiskError> {
        let path = placing.path;
        let mut quiet = true;
        match (held, placing.expect) {
            (Some(file), Expect::File(expected)) => {
                let looked = self.read_held(file, lease.as_ref(), self.limit);
                let stat = self.medium.stat_file(file).map_err(|e| fault("looking at", path, e))?;
                let hash = match looked {
                    Ok((bytes, unbroken)) => {
                        quiet = unbroken;
                        Some(ContentHash::of(&bytes))
                    }
                    Err(Errno::FBIG) => None,
                    Err(e) => {
                        self.discard(placing, dir)?;
                        return Err(read_fault(path, e));
                    }
                };
                let now = self.stat_in(dir, placing.name, path)?;
                if hash != Some(*expected) || !now.is_some_and(|now| now.same_inode(&stat)) {
                    self.discard(placing, dir)?;
                    return Ok(Saved::Differs(match now {
                        Some(now) if now.same_inode(&stat) => Found::File { hash, stat },
                        _ => self.found(dir, placing.name, path)?,
                    }));
                }
            }
            (_, Expect::Link(expected))
                if self.medium.read_link(dir, placing.name).as_ref() != Ok(expected) =>
            {
                self.discard(placing, dir)?;
                return Ok(Saved::Differs(self.found(dir, placing.name, path)?));
            }
            _ => {}
        }
        let kept = held.is_some()
            && self
                .medium
                .state_dir(DISPLACED, true)
                .and_then(|displaced| self.medium.link(dir, placing.name, &displaced, placing.id.as_str()))
                .is_ok();
        if let Err(e) = self.medium.rename_over(dir, placing.temporary, dir, placing.name) {
            if kept {
                self.forget_displaced(&placing.id)?;
            }
            self.discard(placing, dir)?;
            return match (e, placing.expect) {
                (Errno::BUSY | Errno::XDEV, Expect::File(hash)) => {
                    drop(lease);
                    self.write_in_place(placing, dir, *hash)
                }
                _ => Err(fault("renaming over", path, e)),
            };
        }
        self.medium.step(Step::AfterExchange, path);
        self.sync_dir(dir, path, placing.sync, true)?;
        quiet &= lease.as_ref().is_none_or(|lease| !self.medium.broken(lease));
        drop(lease);
        if !kept {
            return self.done(placing, dir, written, How::RenameChecked, None);
        }
        // The second name may have caught a save made between the check and the link.
        let displaced = self
            .medium
            .state_dir(DISPLACED, false)
            .map_err(|e| fault("opening displaced files of", path, e))?;
        let file = self.medium.open_read(&displaced, placing.id.as_str()).map_err(|e| read_fault(path, e))?;
        let bytes = self.medium.read_file(&file, self.limit).map_err(|e| read_fault(path, e))?;
        if *placing.expect != Expect::File(ContentHash::of(&bytes)) {
            let stat = self.placed(placing, dir, written)?;
            return Ok(Saved::Raced { stat, bytes, displaced: placing.id.clone() });
        }
        if quiet {
            self.forget_displaced(&placing.id)?;
            return self.done(placing, dir, written, How::RenameChecked, None);
        }
        self.done(placing, dir, written, How::RenameChecked, Some(placing.id.clone()))
    }

    /// Writes the temporary, with the metadata of the old file if there is one, and syncs it. On failure
    /// it is removed again.
    fn write_temporary(
        &self,
        placing: &Placing<'_>,
        dir: &M::Dir,
        replaces: bool,
    ) -> Result<FileStat, DiskError> {
        let path = placing.path;
        self.medium.announce(placing.temporary, path, Purpose::Save);
        let (bytes, mode) = match placing.content {
            Content::Link { target } => {
                return self
                    .medium
                    .symlink(target, dir, placing.temporary)
                    .and_then(|()| self.medium.stat(dir, placing.temporary))
                    .map_err(|e| fault("making a link for", path, e));
            }
            Content::File { bytes, mode } => (bytes, mode),
        };
        // A replacement begins private: the old file may be readable by its owner only.
        let first_mode = if replaces { 0o600 } else { 0o644 };
        let ahead = if placing.ahead && replaces { self.take_ahead(placing, dir) } else { None };
        let (file, filled) = match ahead {
            Some(file) => (file, Ok(())),
            None => {
                let file = self
                    .medium
                    .create(dir, placing.temporary, first_mode)
                    .map_err(|e| fault("making a temporary for", path, e))?;
                let mut at = 0;
                let filled = bytes.blocks(|block| {
                    let offset = at;
                    at += block.len() as u64;
                    self.medium.write_at(&file, offset, block)
                });
                (file, filled)
            }
        };
        let written = filled
            .and_then(
                |()| if replaces { self.medium.copy_metadata(dir, placing.name, &file) } else { Ok(()) },
            )
            .and_then(|()| mode.map_or(Ok(()), |mode| self.medium.set_file_mode(&file, mode)))
            .map_err(|e| fault("writing a temporary for", path, e))
            .and_then(|()| match placing.sync {
                Sync::Full if planted(Planted::WriteWithoutSync) => Ok(()),
                Sync::Full => self.medium.sync_file(&file).map_err(|e| sync_failed(path.as_str(), false, e)),
                Sync::Deferred => Ok(()),
            })
            .and_then(|()| {
                self.medium.stat_file(&file).map_err(|e| fault("looking at a temporary for", path, e))
            });
        drop(file);
        if written.is_err() {
            self.discard(placing, dir)?;
        }
        written
    }

    /// Removes the temporary's name.
    fn discard(&self, placing: &Placing<'_>, dir: &M::Dir) -> Result<(), DiskError> {
        match self.medium.unlink(dir, placing.temporary) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(fault("removing a temporary of", placing.path, e)),
        }
    }

    fn done(
        &self,
        placing: &Placing<'_>,
        dir: &M::Dir,
        written: &FileStat,
        how: How,
        displaced: Option<DisplacedId>,
    ) -> Result<Saved, DiskError> {
        Ok(Saved::Done { stat: self.placed(placing, dir, written)?, how, displaced })
    }

    /// The stat of what is at the path now. Somebody may have removed or replaced it the moment after we
    /// were done: then the save was done all the same, and their event follows.
    fn placed(&self, placing: &Placing<'_>, dir: &M::Dir, written: &FileStat) -> Result<FileStat, DiskError> {
        match self.stat_in(dir, placing.name, placing.path)? {
            // Also somebody who wrote into it at once: the stat of our bytes is the one they had before.
            Some(stat)
                if stat.same_inode(written)
                    && (stat.len, stat.mtime_ns) == (written.len, written.mtime_ns) =>
            {
                Ok(stat)
            }
            _ => Ok(*written),
        }
    }
}
