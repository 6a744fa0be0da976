//! Whether a file may have changed since it was last read, judged without reading it.

use crate::FileStat;

/// Two writes within one tick of a file system's clock leave equal times; 2 s is the coarsest (vfat).
pub const RACY_NS: i128 = 2_000_000_000;

/// What was seen when the content was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// The stat that came with the bytes.
    pub stat: FileStat,
    /// When it was read: nanoseconds since 1970 by the clock that makes the file's times.
    pub observed_ns: i128,
}

impl Fingerprint {
    /// Whether the content may differ from what was read then: something a write changes differs, or the
    /// file had been changed so shortly before it was read that a later write may show the same times.
    pub fn may_have_changed(&self, now: &FileStat) -> bool {
        let newest = self.stat.mtime_ns.max(self.stat.ctime_ns);
        !self.stat.same_content(now) || newest.saturating_add(RACY_NS) > self.observed_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileKind;

    #[test]
    fn table() {
        const S: i128 = 1_000_000_000;
        let stat = FileStat {
            kind: FileKind::File,
            len: 3,
            mtime_ns: 100 * S,
            ctime_ns: 100 * S,
            inode: 1,
            device: 1,
            birth_ns: Some(90 * S),
            mode: 0o644,
            uid: 0,
            gid: 0,
            links: 1,
        };
        let old = Fingerprint { stat, observed_ns: 110 * S };
        for (then, now, expected) in [
            (old, stat, false),
            (old, FileStat { len: 4, ..stat }, true),
            (old, FileStat { mtime_ns: 101 * S, ..stat }, true),
            // `touch -d` and `cp -p` set the mtime back; the ctime tells.
            (old, FileStat { ctime_ns: 101 * S, ..stat }, true),
            (old, FileStat { inode: 2, ..stat }, true),
            // An inode number used again.
            (old, FileStat { birth_ns: Some(95 * S), ..stat }, true),
            (old, FileStat { mode: 0o600, ..stat }, false),
            (Fingerprint { observed_ns: 101 * S, ..old }, stat, true),
            (Fingerprint { observed_ns: 102 * S, ..old }, stat, false),
            // A clock that was set back: do not believe it.
            (Fingerprint { observed_ns: 50 * S, ..old }, stat, true),
        ] {
            assert_eq!(then.may_have_changed(&now), expected, "{then:?} {now:?}");
        }
    }
}
