//! Writing into an existing inode: several names, a link, a mount point, or a file that is held open.

use crate::medium::Medium;
use crate::on_medium::{OnMedium, fault, read_fault, sync_failed};
use crate::saving::{Content, Placing};
use crate::*;
use rustix::io::Errno;

impl<M: Medium> OnMedium<M> {
    /// Writes into the inode at the path after checking its bytes. A crash in the middle is mended by
    /// the caller's journalled intent; a failure in the middle is undone.
    pub(crate) fn write_in_place(
        &self,
        placing: &Placing<'_>,
        dir: &M::Dir,
        expect: ContentHash,
    ) -> Result<Saved, DiskError> {
        let path = placing.path;
        let Content::File { bytes, mode } = placing.content else {
            return Ok(Saved::Differs(self.found(dir, placing.name, path)?));
        };
        let reader = match self.medium.open_read(dir, placing.name) {
            Ok(file) => file,
            Err(Errno::AGAIN) => return Ok(Saved::Busy),
            Err(Errno::NOENT | Errno::LOOP) => {
                return Ok(Saved::Differs(self.found(dir, placing.name, path)?));
            }
            Err(e) => return Err(read_fault(path, e)),
        };
        if matches!(self.medium.lease(&reader), Ok(None)) {
            return Ok(Saved::Busy);
        }
        let checked = self.check_content(path, &reader, expect)?;
        drop(reader);
        let (old, stat) = match checked {
            Ok(checked) => checked,
            Err(found) => return Ok(Saved::Differs(found)),
        };
        let file = match self.medium.open_write(dir, placing.name, false) {
            Ok(file) => file,
            Err(Errno::AGAIN) => return Ok(Saved::Busy),
            Err(e) => return Err(fault("opening", path, e)),
        };
        let now = self.medium.stat_file(&file).map_err(|e| fault("looking at", path, e))?;
        if !now.same_content(&stat) {
            return Ok(Saved::Differs(Found::File { hash: None, stat: now }));
        }
        self.overwrite(&file, path, &old, &bytes.to_bytes())?;
        if let Some(mode) = mode {
            self.medium.set_file_mode(&file, mode).map_err(|e| fault("setting the mode of", path, e))?;
        }
        if placing.sync == Sync::Full {
            self.medium.sync_file(&file).map_err(|e| sync_failed(path.as_str(), true, e))?;
        }
        let stat = self.medium.stat_file(&file).map_err(|e| fault("looking at", path, e))?;
        Ok(Saved::Done { stat, how: How::InPlace, displaced: None })
    }

    /// Writes into the file that a link points at, if that lies inside the root one step away and is a
    /// regular file with the expected bytes. The step is taken on the text of the link, never by the
    /// kernel, so that a link swapped meanwhile leads nowhere else.
    pub(crate) fn write_through_link(
        &self,
        placing: &Placing<'_>,
        dir: &M::Dir,
        expect: ContentHash,
    ) -> Result<Saved, DiskError> {
        let Ok(target) = self.medium.read_link(dir, placing.name) else {
            return Ok(Saved::Differs(self.found(dir, placing.name, placing.path)?));
        };
        let refused = || -> Result<Saved, DiskError> {
            Ok(Saved::Differs(self.found(dir, placing.name, placing.path)?))
        };
        let Some(path) = resolved(placing.path, &target).filter(|path| !is_refused_from_network(path)) else {
            return refused();
        };
        let Ok(Some(target_dir)) = self.parent_of(&path) else {
            return refused();
        };
        match self.medium.stat(&target_dir, path.file_name()) {
            Ok(stat) if stat.kind == FileKind::File => {}
            _ => return refused(),
        }
        let name = path.file_name();
        let through = Placing { path: &path, name, id: placing.id.clone(), ..*placing };
        self.write_in_place(&through, &target_dir, expect)
    }

    pub(crate) fn patch_held(
        &self,
        path: &RelPath,
        expect: ContentHash,
        bytes: &[u8],
    ) -> Result<Patched, DiskError> {
        let Some(dir) = self.parent_of(path)? else {
            return Ok(Patched::Differs(Found::Missing));
        };
        let name = path.file_name();
        let found = self.found(&dir, name, path)?;
        if !matches!(found, Found::File { .. }) {
            return Ok(Patched::Differs(found));
        }
        let reader = match self.medium.open_read(&dir, name) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP) => return Ok(Patched::Differs(self.found(&dir, name, path)?)),
            Err(e) => return Err(read_fault(path, e)),
        };
        let (old, stat) = match self.check_content(path, &reader, expect)? {
            Ok(checked) => checked,
            Err(found) => return Ok(Patched::Differs(found)),
        };
        drop(reader);
        let appended = bytes.starts_with(&old);
        let file = self.medium.open_write(&dir, name, appended).map_err(|e| fault("opening", path, e))?;
        // The holder may have written between the check and now.
        let now = self.medium.stat_file(&file).map_err(|e| fault("looking at", path, e))?;
        if !now.same_content(&stat) {
            return Ok(Patched::Differs(Found::File { hash: None, stat: now }));
        }
        if appended {
            let suffix = bytes.get(old.len()..).unwrap_or_default();
            self.medium
                .write_at(&file, old.len() as u64, suffix)
                .map_err(|e| fault("appending to", path, e))?;
        } else {
            self.overwrite(&file, path, &old, bytes)?;
        }
        self.medium.sync_file(&file).map_err(|e| sync_failed(path.as_str(), true, e))?;
        let stat = self.medium.stat_file(&file).map_err(|e| fault("looking at", path, e))?;
        Ok(Patched::Done { stat, appended })
    }

    /// Reads an open file and compares its hash; the inner error is what was found instead.
    #[allow(clippy::type_complexity)]
    fn check_content(
        &self,
        path: &RelPath,
        file: &M::File,
        expect: ContentHash,
    ) -> Result<Result<(Vec<u8>, FileStat), Found>, DiskError> {
        let before = self.medium.stat_file(file).map_err(|e| fault("looking at", path, e))?;
        let bytes = match self.medium.read_file(file, self.limit) {
            Ok(bytes) => bytes,
            Err(Errno::FBIG) => return Ok(Err(Found::File { hash: None, stat: before })),
            Err(e) => return Err(read_fault(path, e)),
        };
        let hash = ContentHash::of(&bytes);
        Ok(if hash == expect {
            Ok((bytes, before))
        } else {
            Err(Found::File { hash: Some(hash), stat: before })
        })
    }

    /// Writes the range in which `new` differs from `old`. If that fails half-way, `old` is restored as
    /// far as possible.
    fn overwrite(&self, file: &M::File, path: &RelPath, old: &[u8], new: &[u8]) -> Result<(), DiskError> {
        let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
        let common_end = if old.len() == new.len() {
            old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count()
        } else {
            0
        };
        let end = new.len().saturating_sub(common_end).max(start);
        let written = (|| {
            if new.len() > old.len() {
                // A full disk is noticed before a byte is changed.
                self.medium.reserve(file, new.len() as u64)?;
            }
            self.medium.write_at(file, start as u64, new.get(start..end).unwrap_or_default())?;
            if new.len() < old.len() { self.medium.set_len(file, new.len() as u64) } else { Ok(()) }
        })();
        written.map_err(|e| {
            let restored = self
                .medium
                .write_at(file, start as u64, old.get(start..).unwrap_or_default())
                .and_then(|()| self.medium.set_len(file, old.len() as u64));
            match restored {
                Ok(()) => fault("writing into", path, e),
                Err(_) => fault("writing into (and restoring)", path, e),
            }
        })
    }
}

/// Where a link at `path` with this text leads, if by its text it stays inside the root.
fn resolved(path: &RelPath, target: &str) -> Option<RelPath> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = path.parts().collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    RelPath::parse(&parts.join("/")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_by_their_text_and_never_out_of_the_root() {
        let at = |path: &str, target| resolved(&RelPath::parse(path).unwrap(), target).map(|p| p.to_string());
        assert_eq!(at("a/b", "c"), Some("a/c".into()));
        assert_eq!(at("a/b", "../c/./d"), Some("c/d".into()));
        assert_eq!(at("a/b", "../../c"), None);
        assert_eq!(at("a", "../c"), None);
        assert_eq!(at("a", "/etc/passwd"), None);
        assert_eq!(at("a", ".git/config"), None);
        assert_eq!(at("a", ".syncline/journal"), None);
        assert_eq!(at("a", "."), None);
    }
}
