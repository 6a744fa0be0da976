//! What is asked of a folder and what it answers: reading, saving, removing, renaming.

use crate::path::is_id;
use crate::{ContentHash, FileBytes, FileStat, PathError, RelPath, Splice, TEMPORARY_PREFIX};
use std::fmt;

/// The names in one directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Sorted by path. Never `.syncline` of the root, `.git`, or our temporaries.
    pub entries: Vec<crate::Entry>,
    /// Names that cannot be a [`RelPath`] (not UTF-8, control characters, too long): to be shown, never
    /// synchronised. `.git` and `.syncline` are not reported here.
    pub refused: Vec<PathError>,
}

/// What reading a path gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Nothing is there.
    Missing,
    /// A regular file that did not change while it was read.
    Stable {
        /// All its bytes.
        bytes: Vec<u8>,
        /// As it was before and after.
        stat: FileStat,
        /// Whether it is known that nobody had it open for writing.
        writers: Writers,
    },
    /// A writer has it open, or it changed while it was read: wait for `ClosedWrite`, or ask again.
    Busy {
        /// As it was last seen.
        stat: FileStat,
    },
    /// A symbolic link, not followed.
    Link {
        /// Where it points, as stored (lossily decoded when it is not UTF-8).
        target: String,
        /// Of the link itself.
        stat: FileStat,
    },
    /// A directory, FIFO, socket or device: not opened.
    NotAFile {
        /// What it is.
        stat: FileStat,
    },
    /// Longer than the limit: not read.
    TooLarge {
        /// Its stat, with the length.
        stat: FileStat,
        /// The limit that was given, in bytes.
        limit: u64,
    },
}

/// What reading a path gave, where it was compared with known bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// A regular file that did not change while it was read, and is little else than those bytes.
    Spliced {
        /// What is different.
        splice: Splice,
        /// Of all its bytes.
        hash: ContentHash,
        /// As it was before and after.
        stat: FileStat,
    },
    /// As if it had not been compared.
    Read(Reading),
}

/// What is known about other writers of a file that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// A read lease proved that nobody had it open for writing.
    None,
    /// No leases here (network file system, foreign owner): two equal reads with equal stats.
    Unknown,
}

/// What the caller believes is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// A regular file with these bytes.
    File(ContentHash),
    /// A symbolic link with this target.
    Link(String),
}

/// What really is at a path, where it is not what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Missing,
    /// A regular file.
    File {
        /// The hash of its bytes; `None` when it was not read (it is longer than the folder's limit,
        /// being written, or it did not matter: something was there where nothing should be).
        hash: Option<ContentHash>,
        /// Its stat.
        stat: FileStat,
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        target: String,
        /// Of the link itself.
        stat: FileStat,
    },
    /// A directory, FIFO, socket or device.
    NotAFile {
        /// What it is.
        stat: FileStat,
    },
}

/// When a save must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// When `save` returns: the file is synced before the exchange and the directory after it.
    Full,
    /// Only when [`crate::Folder::sync_all`] returned afterwards; for a first synchronisation in bulk.
    Deferred,
}

/// A request to put bytes at a path.
#[derive(Debug, Clone)]
pub struct Save {
    /// Where.
    pub path: RelPath,
    /// What.
    pub bytes: FileBytes,
    /// What we believe is there.
    pub expect: Expect,
    /// The file's stat when the bytes that are expected were known to be in it; `None`: not known. Where it
    /// proves that they still are ([`FileStat::proves_unchanged`]) what comes out is not read again.
    pub seen: Option<FileStat>,
    /// Permission bits of the result. `None`: the old file's, or `0o644` less the umask for a new one.
    pub mode: Option<u32>,
    /// The temporary's name, from [`crate::temporary_name`], journalled before the call: it is written
    /// beside the target, and names the displaced file afterwards ([`DisplacedId::of_temporary`]).
    pub temporary: String,
    /// How durable.
    pub sync: Sync,
    /// The bytes were written by [`crate::Folder::write_ahead`] under the same temporary's name, and are taken from
    /// there if the target is replaced by exchange and is on the same file system; call
    /// [`crate::Folder::clear_ahead`] afterwards.
    pub ahead: bool,
}

/// What a save did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// Our bytes are at the path and what they displaced was what we expected.
    Done {
        /// Of the file now at the path.
        stat: FileStat,
        /// By which way.
        how: How,
        /// The old inode, kept because an open writer may still write to it, or because without leases
        /// nobody can tell: call `settle` until it is quiet.
        displaced: Option<DisplacedId>,
    },
    /// Our bytes are in place, but what came out was not what we expected: somebody saved in between.
    Raced {
        /// Of the file now at the path.
        stat: FileStat,
        /// What they had saved, as far as it was written when we looked.
        bytes: Vec<u8>,
        /// The same, kept until settled and forgotten.
        displaced: DisplacedId,
    },
    /// A writer has the target open: nothing was done. Wait for `ClosedWrite`.
    Busy,
    /// The target is not what was expected; nothing was done.
    Differs(Found),
}

/// The way a save took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The names of the old and the new file were exchanged atomically.
    Exchange,
    /// There was nothing; the new file was renamed to its name without replacing.
    Create,
    /// Written into the existing inode: several names, a link, or a mount point. A crash can tear it;
    /// the caller's journalled intent mends that.
    InPlace,
    /// Exchange is not available here: checked, renamed over. A save by somebody else between the two
    /// is not detected by the rename; its bytes are kept by a second name where the file system allows it.
    RenameChecked,
}

/// The name of a file in `.syncline/displaced`: the 16 hexadecimal digits of the temporary it came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DisplacedId(String);

impl DisplacedId {
    /// The id of what the given temporary displaced; `None` if that is no temporary's name.
    pub fn of_temporary(name: &str) -> Option<Self> {
        Self::parse(name.strip_prefix(TEMPORARY_PREFIX)?)
    }

    /// An id that was stored earlier: 16 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        is_id(text).then(|| Self(text.to_owned()))
    }

    /// The 16 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the temporary it came from.
    pub fn temporary(&self) -> String {
        format!("{TEMPORARY_PREFIX}{}", self.0)
    }
}

impl fmt::Display for DisplacedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a removal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// It is gone, and parents that it left empty too.
    Done {
        /// Kept because a writer had it open, or nobody can tell: settle it.
        displaced: Option<DisplacedId>,
    },
    /// A writer has it open: nothing was done.
    Busy,
    /// It is not what was expected; nothing was done (it was put back if need be).
    Differs(Found),
    /// It was not what was expected, and while we looked somebody put another file at the path: that one
    /// stays, these are the bytes of the one taken away.
    Raced {
        /// What was taken away.
        bytes: Vec<u8>,
        /// The same, kept until settled and forgotten.
        displaced: DisplacedId,
    },
}

/// What a rename did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renamed {
    /// It has the new name; both directories are durable.
    Done {
        /// Of the file at the new name.
        stat: FileStat,
    },
    /// Something has the new name already; nothing was done.
    TargetExists {
        /// What has it.
        stat: FileStat,
    },
    /// Nothing has the old name.
    Missing,
}

/// What writing into a held file did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patched {
    /// Written and synced. Another writer may have written at the same time: the watch will say so.
    Done {
        /// After the write.
        stat: FileStat,
        /// Only a suffix was appended (with `O_APPEND`).
        appended: bool,
    },
    /// The file is not what was expected; nothing was done.
    Differs(Found),
}

/// What became of a displaced file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Nobody has it open any more: these are its last bytes. Enter what changed, then call `forget`.
    Quiet {
        /// All its bytes.
        bytes: Vec<u8>,
        /// Its stat.
        stat: FileStat,
    },
    /// A writer still has it open, or (without leases) 60 s have not yet passed.
    StillOpen,
    /// There is no such file (forgotten already).
    Missing,
    /// It grew beyond the folder's limit: kept, to be shown to somebody.
    TooLarge {
        /// Its stat.
        stat: FileStat,
    },
}

/// What the folder's file system can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// `RENAME_EXCHANGE` works.
    pub exchange: bool,
    /// Read leases work (for files we own).
    pub leases: bool,
    /// `A` and `a` are two names.
    pub case_sensitive: bool,
    /// The two normal forms of `é` are two names.
    pub normalisation_sensitive: bool,
    /// User extended attributes work.
    pub xattrs: bool,
    /// Changes made by others give events (not on network and FUSE mounts, which are polled).
    pub events: bool,
    /// The file system's name, or its number in hexadecimal.
    pub file_system: String,
    /// Which run of the machine this is (Linux: `/proc/sys/kernel/random/boot_id`): another one than before means
    /// that the power may have been cut. `None`: not known.
    pub boot: Option<Vec<u8>>,
}
