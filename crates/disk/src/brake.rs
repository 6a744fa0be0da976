//! The brake: when so much vanished at once that a person must be asked before it is believed.

/// At most this many deletions never brake, whatever share of the folder they are.
pub const FEW: usize = 20;

/// What a directory is to git.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitState {
    /// No repository.
    Absent,
    /// A repository.
    Quiet,
    /// A repository whose index is locked: a checkout, rebase or commit is under way.
    AtWork,
}

/// What is known about a burst of deletions, before it is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrakeInput {
    /// The root is still where it was ([`crate::DiskError::RootGone`] was not seen).
    pub root_present: bool,
    /// A `.git` that was there before the burst is not there any more.
    pub git_vanished: bool,
    /// `.git/index.lock` or `HEAD` changed during the burst.
    pub git_burst: bool,
    /// How many synchronised files there were before the burst.
    pub files_before: usize,
    /// How many of them are gone now.
    pub deleted: usize,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brake {
    /// The deletions are meant.
    Pass,
    /// Nothing is passed on until a person says so; remote edits go on meanwhile.
    Stop(BrakeReason),
}

/// Why the brake is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrakeReason {
    /// The root is gone: removed, moved away, unmounted.
    RootVanished,
    /// `.git` vanished with the files: more than a checkout happened.
    GitVanished,
    /// All of several files are gone: what an unmounted disk looks like.
    Emptied {
        /// How many there were.
        files: usize,
    },
    /// More than half of the files, and more than [`FEW`].
    MassDeletion {
        /// How many are gone.
        deleted: usize,
        /// Of how many.
        of: usize,
    },
}

/// Decides about a burst of deletions.
pub fn brake(input: &BrakeInput) -> Brake {
    let BrakeInput { root_present, git_vanished, git_burst, files_before, deleted } = *input;
    if !root_present {
        return Brake::Stop(BrakeReason::RootVanished);
    }
    if deleted == 0 {
        return Brake::Pass;
    }
    let mass = deleted > FEW && deleted > files_before / 2;
    let emptied = files_before > 1 && deleted >= files_before;
    if git_vanished && (mass || emptied || git_burst) {
        return Brake::Stop(BrakeReason::GitVanished);
    }
    if git_burst {
        return Brake::Pass;
    }
    if emptied {
        return Brake::Stop(BrakeReason::Emptied { files: files_before });
    }
    if mass { Brake::Stop(BrakeReason::MassDeletion { deleted, of: files_before }) } else { Brake::Pass }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_16_table() {
        use Brake::*;
        use BrakeReason::*;
        let calm = BrakeInput {
            root_present: true,
            git_vanished: false,
            git_burst: false,
            files_before: 100,
            deleted: 0,
        };
        let git = BrakeInput { git_burst: true, ..calm };
        for (input, expected) in [
            (calm, Pass),
            (BrakeInput { deleted: 1, ..calm }, Pass),
            (BrakeInput { deleted: 50, ..calm }, Pass),
            (BrakeInput { deleted: 51, ..calm }, Stop(MassDeletion { deleted: 51, of: 100 })),
            (BrakeInput { deleted: 20, files_before: 21, ..calm }, Pass),
            (
                BrakeInput { deleted: 21, files_before: 40, ..calm },
                Stop(MassDeletion { deleted: 21, of: 40 }),
            ),
            (BrakeInput { deleted: 21, files_before: 42, ..calm }, Pass),
            (BrakeInput { deleted: 1, files_before: 1, ..calm }, Pass),
            (BrakeInput { deleted: 2, files_before: 2, ..calm }, Stop(Emptied { files: 2 })),
            (BrakeInput { deleted: 100, ..calm }, Stop(Emptied { files: 100 })),
            (BrakeInput { root_present: false, ..calm }, Stop(RootVanished)),
            (BrakeInput { root_present: false, ..git }, Stop(RootVanished)),
            (BrakeInput { deleted: 90, ..git }, Pass),
            (BrakeInput { deleted: 100, ..git }, Pass),
            (BrakeInput { deleted: 100, git_vanished: true, ..git }, Stop(GitVanished)),
            (BrakeInput { deleted: 1, git_vanished: true, ..git }, Stop(GitVanished)),
            (BrakeInput { deleted: 1, git_vanished: true, ..calm }, Pass),
            (BrakeInput { deleted: 100, git_vanished: true, ..calm }, Stop(GitVanished)),
        ] {
            assert_eq!(brake(&input), expected, "{input:?}");
        }
    }
}
