//! The few operations of a file system on which saving, reading and removing are built.
//!
//! The algorithms exist once, above this trait. Below it stand the kernel and a file system in memory
//! that can lose power, so the same order of fsyncs is proved on the one and used on the other.

use crate::{DiskError, FileStat, GitState, Probe, RelPath, Watch};
use rustix::io::Errno;

/// A moment inside an operation at which a test lets somebody else act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The target's directory is open; nothing has been looked at.
    DirectoryOpened,
    /// The temporary is written and synced; the target is not yet held.
    TemporaryWritten,
    /// The target was checked (and leased, where possible); the next call changes the name.
    BeforeExchange,
    /// The names are exchanged; what came out has not been looked at.
    AfterExchange,
    /// A removal has taken the file away from its name and not yet looked at it.
    AfterTaking,
}

/// What our own operation on a temporary means, so that a watch can tell it from others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The temporary will be exchanged with, or renamed to, the path.
    Save,
    /// The path will be renamed to the temporary, to be removed.
    Remove,
}

/// A file system seen from one root. Names are single parts; handles stay valid when names change.
/// No operation follows a link.
pub trait Medium: Send + std::marker::Sync + 'static {
    /// An open directory.
    type Dir: Send;
    /// An open file.
    type File: Send;
    /// A read lease.
    type Lease<'f>
    where
        Self: 'f;

    /// Opens a directory below the root; `ELOOP` or `ENOTDIR` when a part is a link or a file.
    fn open_dir(&self, dir: Option<&RelPath>) -> Result<Self::Dir, Errno>;
    /// Opens a directory of our own inside `.syncline`, making it if asked.
    fn state_dir(&self, name: &str, create: bool) -> Result<Self::Dir, Errno>;
    /// Where that directory is, from the root, for what people are told.
    fn state_path(&self, name: &str) -> String;
    /// Makes a directory (0o777 less the umask).
    fn make_dir(&self, dir: &Self::Dir, name: &str) -> Result<(), Errno>;
    /// Removes an empty directory.
    fn remove_dir(&self, dir: &Self::Dir, name: &str) -> Result<(), Errno>;
    /// All names but `.` and `..`, as bytes.
    fn names(&self, dir: &Self::Dir) -> Result<Vec<Vec<u8>>, Errno>;
    /// The stat of a name.
    fn stat(&self, dir: &Self::Dir, name: &str) -> Result<FileStat, Errno>;
    /// Opens a regular file for reading without ever blocking.
    fn open_read(&self, dir: &Self::Dir, name: &str) -> Result<Self::File, Errno>;
    /// Opens a regular file for reading and writing, perhaps only at its end.
    fn open_write(&self, dir: &Self::Dir, name: &str, append: bool) -> Result<Self::File, Errno>;
    /// Makes a new file (`O_EXCL`), open for writing.
    fn create(&self, dir: &Self::Dir, name: &str, mode: u32) -> Result<Self::File, Errno>;
    /// The stat of an open file.
    fn stat_file(&self, file: &Self::File) -> Result<FileStat, Errno>;
    /// All bytes from the beginning; `EFBIG` when there are more than `limit`.
    fn read_file(&self, file: &Self::File, limit: u64) -> Result<Vec<u8>, Errno>;
    /// Reads at an offset: how many bytes, 0 at the end. Fewer than there is room for do not mean the end.
    fn read_at(&self, file: &Self::File, offset: u64, room: &mut [u8]) -> Result<usize, Errno>;
    /// Writes at an offset (at the end if opened so).
    fn write_at(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> Result<(), Errno>;
    /// Cuts or extends.
    fn set_len(&self, file: &Self::File, len: u64) -> Result<(), Errno>;
    /// Makes sure that the file can grow to `len` without changing it, where that can be asked.
    fn reserve(&self, file: &Self::File, len: u64) -> Result<(), Errno>;
    /// fsync of a file.
    fn sync_file(&self, file: &Self::File) -> Result<(), Errno>;
    /// fsync of a directory.
    fn sync_dir(&self, dir: &Self::Dir) -> Result<(), Errno>;
    /// syncfs.
    fn sync_all(&self) -> Result<(), Errno>;
    /// A read lease: `None` if a writer has the file open, an error if there are no leases.
    fn lease<'f>(&'f self, file: &'f Self::File) -> Result<Option<Self::Lease<'f>>, Errno>;
    /// Whether a writer came since.
    fn broken(&self, lease: &Self::Lease<'_>) -> bool;
    /// Exchanges two names in one directory.
    fn exchange(&self, dir: &Self::Dir, one: &str, other: &str) -> Result<(), Errno>;
    /// Renames, never replacing (`EEXIST`).
    fn rename_new(&self, from: &Self::Dir, name: &str, to: &Self::Dir, new: &str) -> Result<(), Errno>;
    /// Renames, replacing.
    fn rename_over(&self, from: &Self::Dir, name: &str, to: &Self::Dir, new: &str) -> Result<(), Errno>;
    /// Gives a file a second name.
    fn link(&self, from: &Self::Dir, name: &str, to: &Self::Dir, new: &str) -> Result<(), Errno>;
    /// Removes a name that is no directory.
    fn unlink(&self, dir: &Self::Dir, name: &str) -> Result<(), Errno>;
    /// Makes a symbolic link.
    fn symlink(&self, target: &str, dir: &Self::Dir, name: &str) -> Result<(), Errno>;
    /// Where a symbolic link points.
    fn read_link(&self, dir: &Self::Dir, name: &str) -> Result<String, Errno>;
    /// Gives `to` the owner, mode and extended attributes of `name`.
    fn copy_metadata(&self, dir: &Self::Dir, name: &str, to: &Self::File) -> Result<(), Errno>;
    /// Sets the permission bits of an open file.
    fn set_file_mode(&self, file: &Self::File, mode: u32) -> Result<(), Errno>;
    /// Sets the permission bits of a regular file without opening it for reading.
    fn set_mode(&self, dir: &Self::Dir, name: &str, mode: u32) -> Result<(), Errno>;
    /// Whether we may write the file.
    fn may_write(&self, dir: &Self::Dir, name: &str) -> Result<(), Errno>;
    /// Whether the directory has a `.git`, and git is at work there.
    fn git_state(&self, dir: &Self::Dir) -> Result<GitState, Errno>;
    /// Whether the root is still where it was.
    fn root_alive(&self) -> Result<(), DiskError>;
    /// The time in nanoseconds since 1970, to compare with ctimes.
    fn now_ns(&self) -> i128;
    /// Starts a watch.
    fn watch(&self) -> Result<Box<dyn Watch>, DiskError>;
    /// What this file system can do.
    fn probe(&self) -> Probe;
    /// Tells running watches which path a temporary belongs to, before it exists.
    fn announce(&self, temporary: &str, path: &RelPath, purpose: Purpose);
    /// Lets a test act.
    fn step(&self, step: Step, path: &RelPath);
}
