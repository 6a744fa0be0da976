//! Bugs that are planted to see that the simulation finds them. Without the feature `planted` there are none.

/// A bug of the product that the simulated worlds must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// An upload is acknowledged whether or not it was recorded.
    AcknowledgedFirst,
    /// Of several changes of a save the first is lost.
    DroppedEdit,
    /// A save is entered twice.
    EnteredTwice,
    /// What somebody saved is remembered at the version before it.
    StaleShadow,
    /// The directory is not synced after an exchange of names.
    RenameWithoutSync,
    /// A file is not synced before it gets its name.
    WriteWithoutSync,
    /// Lost events are not made up for by a scan.
    IgnoredRescan,
    /// No intent is recorded before a save.
    NoIntent,
    /// Every save counts as made from what was last in the file.
    AlwaysNewest,
    /// What somebody saved in the moment of our own save is thrown away.
    IgnoredRace,
    /// A deletion wins over an edit that its maker had not seen.
    DeletionWins,
    /// What a failing journal did not record stays in memory as if it had.
    KeptAfterFailure,
    /// A file that differs at the start is taken for what the journal says.
    UnreadAtStart,
    /// What changed in a large text counts as made from what the document says now.
    UnjudgedWindow,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 14] = [
        Planted::AcknowledgedFirst,
        Planted::DroppedEdit,
        Planted::EnteredTwice,
        Planted::StaleShadow,
        Planted::RenameWithoutSync,
        Planted::WriteWithoutSync,
        Planted::IgnoredRescan,
        Planted::NoIntent,
        Planted::AlwaysNewest,
        Planted::IgnoredRace,
        Planted::DeletionWins,
        Planted::KeptAfterFailure,
        Planted::UnreadAtStart,
        Planted::UnjudgedWindow,
    ];
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Planted>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in whatever this thread runs from now on, or takes it out.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Planted>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted.
#[cfg(feature = "planted")]
pub fn planted(bug: Planted) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether this bug is planted: never.
#[cfg(not(feature = "planted"))]
pub const fn planted(_: Planted) -> bool {
    false
}
