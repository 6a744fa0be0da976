//! What a watch says. A hint is never the truth: content decides.

use crate::RelPath;

/// Something seen at a path. Hints of one path keep their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// Where; `None` means everywhere (`Rescan` after an overflow, `RootGone`, `GitActivity` of the root).
    pub path: Option<RelPath>,
    /// What.
    pub what: What,
}

/// What was seen. `Opened` to `ClosedNoWrite` are of files only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Somebody opened it. Our own `read` shows here too; the look a `save` takes does not.
    Opened,
    /// Somebody read from it.
    Accessed,
    /// Somebody wrote to it.
    Modified,
    /// Somebody who had it open for writing closed it.
    ClosedWrite,
    /// Somebody who had it open for reading closed it.
    ClosedNoWrite,
    /// It appeared. A directory is already watched and its files follow as `Created` and `ClosedWrite`.
    Created {
        /// It is a directory.
        dir: bool,
    },
    /// It was removed.
    Removed {
        /// It was a directory.
        dir: bool,
    },
    /// It was renamed away; `MovedTo` with the same cookie follows if the new name is in the folder.
    MovedFrom {
        /// Joins the two halves.
        cookie: u32,
        /// It is a directory.
        dir: bool,
    },
    /// It was renamed to here.
    MovedTo {
        /// Joins the two halves.
        cookie: u32,
        /// It is a directory.
        dir: bool,
    },
    /// Mode, owner, times, links or extended attributes changed.
    Metadata,
    /// Our own save took effect here. What comes before it in the queue concerns the version before,
    /// what follows concerns the new one.
    Exchanged {
        /// The temporary named in the [`crate::Save`].
        temporary: String,
    },
    /// Events were lost, here and below: list and read again.
    Rescan,
    /// `.git/index.lock` or `.git/HEAD` of the directory at the path (`None`: the root) changed.
    GitActivity,
    /// The root was removed, moved away or unmounted. The last hint of a watch.
    RootGone,
    /// The kernel's limit of watches is reached: this directory and what is below are polled every 2 s.
    LimitReached {
        /// The command that raises the limit.
        hint: String,
    },
}

impl Hint {
    /// A hint about one path.
    pub fn at(path: RelPath, what: What) -> Self {
        Self { path: Some(path), what }
    }

    /// A hint about the whole folder.
    pub fn everywhere(what: What) -> Self {
        Self { path: None, what }
    }
}
