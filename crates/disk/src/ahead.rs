//! Writing a large file ahead of its save: hashed and written in one pass over its bytes, in `.syncline`, where
//! nobody looks and from where a crash leaves nothing that somebody else could have written.

use crate::medium::Medium;
use crate::on_medium::{AHEAD, OnMedium, check_temporary, fault, sync_failed};
use crate::relay::{BLOCK, Giver, Taker, in_two_threads};
use crate::saving::Placing;
use crate::stat::Hasher;
use crate::*;
use rustix::io::Errno;

impl<M: Medium> OnMedium<M> {
    pub(crate) fn write_file_ahead(
        &self,
        path: &RelPath,
        bytes: &FileBytes,
        temporary: &str,
    ) -> Result<ContentHash, DiskError> {
        let id = check_temporary(temporary)?;
        let failed = |e| fault("writing ahead for", path, e);
        let dir = self.medium.state_dir(AHEAD, true).map_err(failed)?;
        // Private until the save gives it the old file's mode.
        let file = self.medium.create(&dir, id.as_str(), 0o600).map_err(failed)?;
        let mut at = 0;
        let gather = |give: Giver| {
            let mut hasher = Hasher::default();
            let mut block = give.buffer();
            for part in bytes.pieces().flat_map(|piece| piece.chunks(BLOCK)) {
                if block.len() + part.len() > BLOCK {
                    hasher.add(&block);
                    if !give.give(std::mem::replace(&mut block, give.buffer())) {
                        return hasher;
                    }
                    block.clear();
                }
                block.extend_from_slice(part);
            }
            hasher.add(&block);
            give.give(block);
            hasher
        };
        let write = |blocks: Taker| {
            blocks.each(|block| {
                let offset = at;
                at += block.len() as u64;
                self.medium.write_at(&file, offset, block)
            })
        };
        // Synced here, before the intent, so that the save's own sync, on which the promise rests, has nothing left to do.
        let written = in_two_threads(|give, take| (give, take), gather, write)
            .and_then(|(hasher, written)| written.map(|()| hasher))
            .map_err(failed)
            .and_then(|hasher| match self.medium.sync_file(&file) {
                Ok(()) => Ok(hasher.finish()),
                Err(e) => Err(sync_failed(path.as_str(), false, e)),
            });
        drop(file);
        if written.is_err() {
            // What remains all the same goes at the next start.
            let _ = self.medium.unlink(&dir, id.as_str());
        }
        written
    }

    /// Gives what was written ahead the temporary's name, open for writing. `None`: it is not there, or lies on
    /// another file system than the target, and the temporary is to be written as any other.
    pub(crate) fn take_ahead(&self, placing: &Placing<'_>, dir: &M::Dir) -> Option<M::File> {
        let from = self.medium.state_dir(AHEAD, false).ok()?;
        self.medium.rename_new(&from, placing.id.as_str(), dir, placing.temporary).ok()?;
        let file = self.medium.open_write(dir, placing.temporary, false);
        if file.is_err() {
            // Then it must not be in the way of the next try.
            let _ = self.medium.unlink(dir, placing.temporary);
        }
        file.ok()
    }

    pub(crate) fn clear_files_ahead(&self, only: Option<&str>) -> Result<(), DiskError> {
        let failed = |e: Errno| DiskError::Io {
            doing: "clearing",
            path: self.medium.state_path(AHEAD),
            source: e.into(),
        };
        let dir = match self.medium.state_dir(AHEAD, false) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(failed(e)),
        };
        let ids = match only {
            Some(temporary) => vec![check_temporary(temporary)?],
            None => {
                let names = self.medium.names(&dir).map_err(failed)?;
                names.iter().filter_map(|name| DisplacedId::parse(std::str::from_utf8(name).ok()?)).collect()
            }
        };
        for id in ids {
            match self.medium.unlink(&dir, id.as_str()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(failed(e)),
            }
        }
        Ok(())
    }
}
