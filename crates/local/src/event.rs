//! What is told of those who are here.

/// What happens in the neighbourhood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LocalEvent {
    /// There is a session with a user.
    Met {
        /// Their name.
        user: String,
        /// By which way.
        way: &'static str,
    },
    /// What a user had is here.
    Synced {
        /// Their name.
        user: String,
    },
    /// The session with a user ended.
    Parted {
        /// Their name.
        user: String,
        /// Why.
        why: String,
    },
    /// A user is here, but cannot be reached.
    Unreachable {
        /// Their name.
        user: String,
        /// Why.
        why: String,
    },
    /// What this user's file held is entered, after what the others had: from here on all is live.
    Settled,
    /// Somebody wiped the registry, or cut it short; this user has said again that they are here.
    Wiped,
}
