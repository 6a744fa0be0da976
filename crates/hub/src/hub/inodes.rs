//! Which document's file an inode is: how a rename is told.

use super::*;

impl Hub {
    pub(crate) fn note_inode(&self, doc: DocId, stat: &FileStat) {
        lock(&self.0.inodes).insert(Inode::of(stat), doc);
    }

    pub(crate) fn forget_inode(&self, doc: DocId, stat: &FileStat) {
        let mut inodes = lock(&self.0.inodes);
        if inodes.get(&Inode::of(stat)) == Some(&doc) {
            inodes.remove(&Inode::of(stat));
        }
    }

    pub(crate) fn doc_of_inode(&self, stat: &FileStat) -> Option<DocId> {
        lock(&self.0.inodes).get(&Inode::of(stat)).copied()
    }
}

/// What tells one inode from another. Numbers are used again at once (a checkout that deletes one file and
/// makes another: tried), so the time of birth belongs to it; where there is none, the time of the last
/// change of content, which a rename leaves as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    device: u64,
    number: u64,
    born_ns: i128,
}

impl Inode {
    fn of(stat: &FileStat) -> Inode {
        Inode { device: stat.device, number: stat.inode, born_ns: stat.birth_ns.unwrap_or(stat.mtime_ns) }
    }
}
