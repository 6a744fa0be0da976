//! What the file system says about a file, and the hash of its content.

use crate::RelPath;
use crate::file_bytes::blocks;
use std::fmt;

/// What kind of thing a path names. Links are never followed to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A FIFO, a socket, a device: never opened.
    Other,
}

/// What `statx` says about one path, without following a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileStat {
    /// What it is.
    pub kind: FileKind,
    /// Length in bytes.
    pub len: u64,
    /// Time of the last change of content, nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Time of the last change of content or metadata, nanoseconds since 1970; no program can set it.
    pub ctime_ns: i128,
    /// Inode number: reused by the file system after a removal.
    pub inode: u64,
    /// Device number.
    pub device: u64,
    /// Time of creation in nanoseconds since 1970, where the file system keeps it.
    pub birth_ns: Option<i128>,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// How many names the inode has.
    pub links: u64,
}

impl FileStat {
    /// Whether both describe the same inode: inode, device and, where known, birth time.
    pub fn same_inode(&self, other: &FileStat) -> bool {
        self.inode == other.inode && self.device == other.device && self.birth_ns == other.birth_ns
    }

    /// Whether nothing that a write changes differs: inode, length and both times.
    pub fn same_content(&self, other: &FileStat) -> bool {
        self.same_inode(other)
            && self.len == other.len
            && self.mtime_ns == other.mtime_ns
            && self.ctime_ns == other.ctime_ns
    }

    /// Whether a file with this stat, taken when its bytes were known, still has those bytes if its stat is
    /// now `later`. Times are as coarse as the kernel's clock tick (10 ms at the most), so a write in the tick
    /// of the last one leaves no trace in them. Here the last change of the inode (a rename, an exchange) came
    /// well after the last write, and before this stat was taken: a later write has a later time.
    pub fn proves_unchanged(&self, later: &FileStat) -> bool {
        const TICK_NS: i128 = 20_000_000;
        self.same_content(later) && self.ctime_ns - self.mtime_ns >= TICK_NS
    }
}

/// One name found by listing a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path from the root.
    pub path: RelPath,
    /// What the file system says about it.
    pub stat: FileStat,
}

/// The BLAKE3 hash of a file's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash([u8; 32]);

/// From this length on, in bytes, several cores are faster at a block than one.
const PARALLEL: usize = 256 << 10;

/// Hashes bytes as they come.
#[derive(Default)]
pub(crate) struct Hasher(blake3::Hasher);

impl Hasher {
    /// The next bytes: best in large blocks.
    pub fn add(&mut self, block: &[u8]) {
        if block.len() < PARALLEL {
            self.0.update(block);
        } else {
            self.0.update_rayon(block);
        }
    }

    /// The next bytes, without the help of other cores: they have something else to do.
    pub fn add_here(&mut self, block: &[u8]) {
        self.0.update(block);
    }

    /// The hash of all of them.
    pub fn finish(&self) -> ContentHash {
        ContentHash(*self.0.finalize().as_bytes())
    }
}

impl ContentHash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.add(bytes);
        hasher.finish()
    }

    /// The hash of bytes that are in many pieces.
    pub fn of_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Hasher::default();
        let done: Result<(), std::convert::Infallible> = blocks(pieces, |block| {
            hasher.add(block);
            Ok(())
        });
        match done {
            Ok(()) => hasher.finish(),
        }
    }

    /// A hash that was stored earlier.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, for storing.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
