//! One file of a folder, under another name: several users of one directory have a copy each of the same document,
//! and each copy has the same path for its hub.

use crate::*;
use std::time::Duration;

/// A folder in which nothing is but one file of another folder, under a name of its own. Of several on one directory
/// each needs a state of its own ([`RealOptions::state`]), and should watch its file only ([`RealOptions::only`]).
pub struct OneFile<F> {
    folder: F,
    /// What it is called here.
    here: RelPath,
    /// What it is called in the other folder.
    there: RelPath,
}

impl<F: Folder> OneFile<F> {
    /// The file `there` of a folder, called `here`. Both lie directly below the root.
    pub fn new(folder: F, there: RelPath, here: RelPath) -> OneFile<F> {
        OneFile { folder, here, there }
    }

    /// The other folder's name for a path; `None`: nothing but the file is here.
    fn there(&self, path: &RelPath) -> Option<&RelPath> {
        (*path == self.here).then_some(&self.there)
    }

    fn there_or_not(&self, path: &RelPath) -> Result<&RelPath, DiskError> {
        self.there(path).ok_or_else(|| DiskError::NotFound(path.clone()))
    }
}

impl<F: Folder> Folder for OneFile<F> {
    fn list(&self, dir: Option<&RelPath>) -> Result<Listing, DiskError> {
        if let Some(dir) = dir {
            return Err(DiskError::NotFound(dir.clone()));
        }
        let mut listing = self.folder.list(None)?;
        listing.entries.retain(|entry| entry.path == self.there);
        for entry in &mut listing.entries {
            entry.path = self.here.clone();
        }
        // Others' names are not ours to complain about.
        listing.refused.clear();
        Ok(listing)
    }

    fn stat(&self, path: &RelPath) -> Result<Option<FileStat>, DiskError> {
        self.there(path).map_or(Ok(None), |there| self.folder.stat(there))
    }

    fn read(&self, path: &RelPath, limit: u64) -> Result<Reading, DiskError> {
        self.there(path).map_or(Ok(Reading::Missing), |there| self.folder.read(there, limit))
    }

    fn read_against(&self, path: &RelPath, limit: u64, known: &FileBytes) -> Result<Compared, DiskError> {
        let missing = Ok(Compared::Read(Reading::Missing));
        self.there(path).map_or(missing, |there| self.folder.read_against(there, limit, known))
    }

    fn write_ahead(
        &self,
        path: &RelPath,
        bytes: &FileBytes,
        temporary: &str,
    ) -> Result<Option<ContentHash>, DiskError> {
        self.folder.write_ahead(self.there_or_not(path)?, bytes, temporary)
    }

    fn clear_ahead(&self, only: Option<&str>) -> Result<(), DiskError> {
        self.folder.clear_ahead(only)
    }

    fn save(&self, save: &Save) -> Result<Saved, DiskError> {
        self.folder.save(&Save { path: self.there_or_not(&save.path)?.clone(), ..save.clone() })
    }

    fn remove(&self, path: &RelPath, expect: &Expect, temporary: &str) -> Result<Removed, DiskError> {
        self.folder.remove(self.there_or_not(path)?, expect, temporary)
    }

    fn rename(&self, from: &RelPath, _to: &RelPath) -> Result<Renamed, DiskError> {
        // There is no other name here.
        Err(DiskError::NotFound(from.clone()))
    }

    fn set_mode(&self, path: &RelPath, mode: u32) -> Result<FileStat, DiskError> {
        self.folder.set_mode(self.there_or_not(path)?, mode)
    }

    fn make_link(
        &self,
        path: &RelPath,
        target: &str,
        expect: &Expect,
        temporary: &str,
    ) -> Result<Saved, DiskError> {
        self.folder.make_link(self.there_or_not(path)?, target, expect, temporary)
    }

    fn make_dir(&self, path: &RelPath) -> Result<(), DiskError> {
        Err(DiskError::NotFound(path.clone()))
    }

    fn remove_dir(&self, _path: &RelPath) -> Result<bool, DiskError> {
        Ok(false)
    }

    fn settle(&self, id: &DisplacedId) -> Result<Settled, DiskError> {
        self.folder.settle(id)
    }

    fn forget(&self, id: &DisplacedId) -> Result<(), DiskError> {
        self.folder.forget(id)
    }

    fn displaced(&self) -> Result<Vec<DisplacedId>, DiskError> {
        self.folder.displaced()
    }

    /// None: those of the directory may be of other users' saves that are under way. Our own are known from
    /// the intents in the journal.
    fn temporaries(&self) -> Result<Vec<(RelPath, ContentHash)>, DiskError> {
        Ok(Vec::new())
    }

    fn read_temporary(&self, path: &RelPath) -> Result<Vec<u8>, DiskError> {
        self.folder.read_temporary(path)
    }

    fn remove_temporary(&self, path: &RelPath, hash: ContentHash) -> Result<bool, DiskError> {
        self.folder.remove_temporary(path, hash)
    }

    fn read_open(&self, path: &RelPath, limit: u64) -> Result<Option<(Vec<u8>, FileStat)>, DiskError> {
        self.folder.read_open(self.there_or_not(path)?, limit)
    }

    fn append_or_patch(
        &self,
        path: &RelPath,
        expect: ContentHash,
        bytes: &[u8],
    ) -> Result<Patched, DiskError> {
        self.folder.append_or_patch(self.there_or_not(path)?, expect, bytes)
    }

    fn sync_all(&self) -> Result<(), DiskError> {
        self.folder.sync_all()
    }

    fn watch(&self) -> Result<Box<dyn Watch>, DiskError> {
        let (here, there) = (self.here.clone(), self.there.clone());
        Ok(Box::new(OneFileWatch { watch: self.folder.watch()?, here, there }))
    }

    fn git_state(&self, dir: Option<&RelPath>) -> Result<GitState, DiskError> {
        dir.map_or_else(|| self.folder.git_state(None), |_| Ok(GitState::Absent))
    }

    fn probe(&self) -> Probe {
        self.folder.probe()
    }
}

struct OneFileWatch {
    watch: Box<dyn Watch>,
    here: RelPath,
    there: RelPath,
}

impl Watch for OneFileWatch {
    fn next(&mut self, timeout: Duration) -> Result<Vec<Hint>, DiskError> {
        let hints = self.watch.next(timeout)?;
        let ours = |hint: Hint| match hint.path {
            None => Some(hint),
            Some(path) => (path == self.there).then(|| Hint::at(self.here.clone(), hint.what)),
        };
        Ok(hints.into_iter().filter_map(ours).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_here_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        for name in ["ann_doc.txt", "bob_doc.txt", "here.txt"] {
            std::fs::write(root.path().join(name), name).unwrap();
        }
        let [here, there] = ["here.txt", "ann_doc.txt"].map(|name| RelPath::parse(name).unwrap());
        let options = RealOptions { only: Some(there.clone()), ..RealOptions::default() };
        let folder = RealFolder::open(root.path(), options).unwrap();
        let folder = OneFile::new(folder, there.clone(), here.clone());
        let listed = folder.list(None).unwrap();
        assert_eq!(listed.entries.iter().map(|entry| &entry.path).collect::<Vec<_>>(), [&here]);
        let Ok(Reading::Stable { bytes, .. }) = folder.read(&here, 100) else { panic!("it is there") };
        assert_eq!(bytes, b"ann_doc.txt");
        assert_eq!(folder.stat(&there).unwrap(), None);
        let mut watch = folder.watch().unwrap();
        std::fs::write(root.path().join("bob_doc.txt"), "x").unwrap();
        std::fs::write(root.path().join("ann_doc.txt"), "x").unwrap();
        let mut hints = Vec::new();
        while !hints.iter().any(|hint: &Hint| hint.what == What::ClosedWrite) {
            hints.extend(watch.next(Duration::from_secs(10)).unwrap());
        }
        assert!(hints.iter().all(|hint| hint.path.as_ref() == Some(&here)), "{hints:?}");
        // An editor that keeps the old version under another name, and renames the new one into place.
        std::fs::rename(root.path().join("ann_doc.txt"), root.path().join("ann_doc.txt~")).unwrap();
        std::fs::write(root.path().join("4913"), "y").unwrap();
        std::fs::rename(root.path().join("4913"), root.path().join("ann_doc.txt")).unwrap();
        let (mut went, mut came) = (false, false);
        while !(went && came) {
            for hint in watch.next(Duration::from_secs(10)).unwrap() {
                went |= matches!(hint.what, What::MovedFrom { .. });
                came |= matches!(hint.what, What::MovedTo { .. });
            }
        }
    }

    /// At its start a hub clears away what it takes for its own leavings.
    #[test]
    fn what_raced_with_one_users_save_is_not_anothers_to_clear_away() {
        let root = tempfile::tempdir().unwrap();
        let here = RelPath::parse("here.txt").unwrap();
        let copy_of = |user: &str| {
            let options =
                RealOptions { state: format!("{STATE_DIR}/local/{user}").into(), ..RealOptions::default() };
            RealFolder::open(root.path(), options).unwrap()
        };
        let there = RelPath::parse("ann_doc.txt").unwrap();
        let path = root.path().join(there.as_str());
        std::fs::write(&path, "old").unwrap();
        let ann = copy_of("ann");
        ann.set_hook(move |step, _| {
            if step == Step::BeforeExchange {
                let beside = path.with_file_name("beside");
                std::fs::write(&beside, "saved meanwhile").unwrap();
                std::fs::rename(&beside, &path).unwrap();
            }
        });
        let ann = OneFile::new(ann, there, here.clone());
        let bob = OneFile::new(copy_of("bob"), RelPath::parse("bob_doc.txt").unwrap(), here.clone());
        let save = Save {
            path: here,
            bytes: b"ours".to_vec().into(),
            expect: Expect::File(ContentHash::of(b"old")),
            seen: None,
            mode: None,
            temporary: temporary_name(1),
            sync: Sync::Full,
            ahead: false,
        };
        let Saved::Raced { displaced, .. } = ann.save(&save).unwrap() else { panic!("it raced") };
        assert_eq!(ann.displaced().unwrap(), [displaced]);
        assert_eq!(bob.displaced().unwrap(), []);
    }
}
