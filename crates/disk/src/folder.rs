//! The trait behind which a real folder and a fake one stand.

use crate::*;
use std::time::Duration;

/// One folder on disk. All calls block; call from worker threads. Calls for different paths may run at
/// the same time; the caller keeps one lock per path, so calls for one path never overlap.
///
/// Whatever links are swapped while a call runs, no call leaves the root.
pub trait Folder: Send + std::marker::Sync + 'static {
    /// The names in one directory, `None` being the root.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], [`DiskError::NotADirectory`] (also for a link to a directory), and others.
    fn list(&self, dir: Option<&RelPath>) -> Result<Listing, DiskError>;

    /// What is at a path, links not followed; `None` if nothing (or if a parent is no directory).
    ///
    /// # Errors
    /// Any failure but absence.
    fn stat(&self, path: &RelPath) -> Result<Option<FileStat>, DiskError>;

    /// The content at a path, if nobody is writing it; at most `limit` bytes.
    ///
    /// # Errors
    /// [`DiskError::Unreadable`] and others; absence is [`Reading::Missing`].
    fn read(&self, path: &RelPath, limit: u64) -> Result<Reading, DiskError>;

    /// As [`Folder::read`], but where the file is little else than `known` bytes (a large text of which a word was
    /// changed) only what differs is given ([`Compared::Spliced`]), and no more than that is held in memory.
    ///
    /// # Errors
    /// As [`Folder::read`].
    fn read_against(&self, path: &RelPath, limit: u64, known: &FileBytes) -> Result<Compared, DiskError>;

    /// Writes and syncs the bytes of a save that is to come, where nobody looks, and gives their hash: a large text
    /// is gone through once, to be hashed and to be written, and the save can be journalled with its hash before it
    /// happens. [`Folder::save`] with [`Save::ahead`] takes what was written. `None`: not possible here.
    ///
    /// # Errors
    /// [`DiskError::StorageFull`], [`DiskError::SyncFailed`] and others; nothing is left then.
    fn write_ahead(
        &self,
        path: &RelPath,
        bytes: &FileBytes,
        temporary: &str,
    ) -> Result<Option<ContentHash>, DiskError>;

    /// Removes what was written ahead and not saved: `only` under this temporary's name, or all of it (for restart,
    /// when no save is under way).
    ///
    /// # Errors
    /// [`DiskError::Io`], [`DiskError::BadTemporary`].
    fn clear_ahead(&self, only: Option<&str>) -> Result<(), DiskError>;

    /// Puts bytes at a path so that at any instant the file is wholly old or wholly new, and nothing
    /// that others saved meanwhile is lost. Missing parent directories are created, durably.
    ///
    /// # Errors
    /// [`DiskError::ReadOnly`], [`DiskError::StorageFull`], [`DiskError::SyncFailed`],
    /// [`DiskError::NotADirectory`] and others. The temporary is removed unless it may hold what
    /// somebody else saved.
    fn save(&self, save: &Save) -> Result<Saved, DiskError>;

    /// Removes a file or a link that is what we expect, and the parents it leaves empty.
    /// `temporary` (from [`temporary_name`], journalled) names the displaced file.
    /// Removing what is already absent is `Differs(Found::Missing)`.
    ///
    /// # Errors
    /// As [`Folder::save`].
    fn remove(&self, path: &RelPath, expect: &Expect, temporary: &str) -> Result<Removed, DiskError>;

    /// Gives a file, link or directory another name, never replacing anything. A rename that changes
    /// only case works where case is not distinguished. Missing parents are created; parents left empty stay.
    ///
    /// # Errors
    /// As [`Folder::save`].
    fn rename(&self, from: &RelPath, to: &RelPath) -> Result<Renamed, DiskError>;

    /// Sets the permission bits (`0o777` at most; set-id bits are never set) of a regular file.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] when there is no regular file, [`DiskError::ReadOnly`] when it is not ours.
    fn set_mode(&self, path: &RelPath, mode: u32) -> Result<FileStat, DiskError>;

    /// Puts a symbolic link at a path, as [`Folder::save`] puts a file. The target's text is not
    /// judged here: a link that points out of the root is never followed by us.
    ///
    /// # Errors
    /// As [`Folder::save`].
    fn make_link(
        &self,
        path: &RelPath,
        target: &str,
        expect: &Expect,
        temporary: &str,
    ) -> Result<Saved, DiskError>;

    /// Makes a directory and its parents, durably. Nothing happens if it exists.
    ///
    /// # Errors
    /// As [`Folder::save`].
    fn make_dir(&self, path: &RelPath) -> Result<(), DiskError>;

    /// Removes a directory if it is empty; `false` if it is not (or not there).
    ///
    /// # Errors
    /// [`DiskError::ReadOnly`] and others.
    fn remove_dir(&self, path: &RelPath) -> Result<bool, DiskError>;

    /// Whether a displaced file is quiet, and its bytes then.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn settle(&self, id: &DisplacedId) -> Result<Settled, DiskError>;

    /// Removes a displaced file (whose bytes are journalled). Nothing happens if it is gone.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn forget(&self, id: &DisplacedId) -> Result<(), DiskError>;

    /// All displaced files, sorted.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn displaced(&self) -> Result<Vec<DisplacedId>, DiskError>;

    /// All temporaries left anywhere in the folder (regular files), with the hash of their bytes. For restart.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn temporaries(&self) -> Result<Vec<(RelPath, ContentHash)>, DiskError>;

    /// The bytes of a temporary.
    ///
    /// # Errors
    /// [`DiskError::BadTemporary`] if the path does not end in a temporary's name; [`DiskError::NotFound`].
    fn read_temporary(&self, path: &RelPath) -> Result<Vec<u8>, DiskError>;

    /// Removes a temporary if its bytes still have this hash; `false` if they do not or it is gone.
    ///
    /// # Errors
    /// [`DiskError::BadTemporary`], [`DiskError::Io`].
    fn remove_temporary(&self, path: &RelPath, hash: ContentHash) -> Result<bool, DiskError>;

    /// All bytes of a file that somebody may be writing, with the stat it had before and after. `None`: it
    /// changed meanwhile, is longer than `limit` (bytes), or is no file.
    ///
    /// # Errors
    /// [`DiskError::Unreadable`], [`DiskError::NotADirectory`], [`DiskError::Io`].
    fn read_open(&self, path: &RelPath, limit: u64) -> Result<Option<(Vec<u8>, FileStat)>, DiskError>;

    /// Writes into a file that somebody holds open: if `bytes` begin with what is there, the rest is
    /// appended; otherwise the differing range is overwritten. What is there must have the hash `expect`.
    ///
    /// # Errors
    /// As [`Folder::save`].
    fn append_or_patch(
        &self,
        path: &RelPath,
        expect: ContentHash,
        bytes: &[u8],
    ) -> Result<Patched, DiskError>;

    /// Makes everything written so far durable (`syncfs`).
    ///
    /// # Errors
    /// [`DiskError::SyncFailed`].
    fn sync_all(&self) -> Result<(), DiskError>;

    /// Starts to watch the whole folder. The watch is complete when this returns: list after it.
    ///
    /// # Errors
    /// [`DiskError::WatchLimit`] when no watch at all is possible.
    fn watch(&self) -> Result<Box<dyn Watch>, DiskError>;

    /// Whether a directory (`None`: the root) is a git repository: the brake asks before it lets a burst pass.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn git_state(&self, dir: Option<&RelPath>) -> Result<GitState, DiskError>;

    /// What the file system can do. Tried once and remembered.
    fn probe(&self) -> Probe;
}

/// A running watch. Dropping it stops it.
pub trait Watch: Send {
    /// Waits up to `timeout` for something to happen and gives everything there is, in order.
    /// Empty when the time passed.
    ///
    /// # Errors
    /// [`DiskError::RootGone`] when the watch ended before; [`DiskError::Io`].
    fn next(&mut self, timeout: Duration) -> Result<Vec<Hint>, DiskError>;
}
