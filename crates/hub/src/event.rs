//! What a hub tells the person or program that runs it.

/// A notable event. Shown as a line; told to programs as JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HubEvent {
    /// The first scan: so many files of so many seen.
    Scanning {
        /// Files taken up so far.
        done: usize,
        /// Files found.
        total: usize,
    },
    /// A file became a document.
    Created {
        /// Its path.
        path: String,
    },
    /// Somebody saved a file.
    Saved {
        /// Its path.
        path: String,
        /// Which base it was given, and why.
        why: String,
        /// How many places of the text it changed.
        changes: usize,
    },
    /// Of two changes at one place, made without knowledge of each other, the later one won: what the other put in
    /// was taken out again, and is in the history.
    Conflict {
        /// The file's path.
        path: String,
        /// Whose change stays.
        winner: String,
        /// Whose does not.
        loser: String,
        /// What they had put in; empty if they only took something out.
        lost: String,
    },
    /// Others' changes were written into a file.
    Written {
        /// Its path.
        path: String,
    },
    /// A file was deleted; its text can be restored.
    Deleted {
        /// Its path.
        path: String,
    },
    /// A file was renamed.
    Renamed {
        /// Its old path.
        from: String,
        /// Its new path.
        to: String,
    },
    /// Two documents created independently at one path became one.
    Joined {
        /// Their path.
        path: String,
    },
    /// Two documents want one path: one got another name.
    Clash {
        /// The path both wanted.
        path: String,
        /// The name that one of them has now.
        renamed: String,
    },
    /// A file is held open by a program that goes on writing; changes wait or are written in place.
    Held {
        /// Its path.
        path: String,
    },
    /// This folder's file system does not tell of others' changes (a network or FUSE mount): it is looked at again
    /// and again instead, which notices them later.
    Polled {
        /// What the file system is called.
        file_system: String,
    },
    /// Something cannot be done now; it is tried again, and nothing is lost.
    Trouble {
        /// About which path, if one.
        path: String,
        /// What.
        what: String,
    },
    /// Many files vanished at once: their deletion is not passed on until somebody says so.
    Brake {
        /// How many.
        files: usize,
        /// Why it stopped.
        why: String,
    },
    /// The kernel's limit of watches is reached.
    WatchLimit {
        /// The command that raises it.
        hint: String,
    },
}
