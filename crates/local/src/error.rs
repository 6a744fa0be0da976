//! What can go wrong between processes of one machine.

use std::io;

/// Why somebody cannot take part, or a carriage cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The user's (or group's) name cannot be part of the names of shared things.
    #[error(
        "{name:?} is no name for a user: 1 to 32 letters, digits, '-', '_' and '.', a letter or digit first"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// All places are taken.
    #[error("there are {limit} users here already ({here})")]
    Full {
        /// How many there may be.
        limit: usize,
        /// Who they are.
        here: String,
    },
    /// Another process is that user.
    #[error("{name} is here already (process {pid})")]
    NameTaken {
        /// The user's name.
        name: String,
        /// The other process.
        pid: u32,
    },
    /// A shared thing of our name belongs to another account, or others could use it.
    #[error("{what} belongs to another account, or is open to others: it is not used")]
    Foreign {
        /// Which.
        what: String,
    },
    /// The registry was made by another version of the program, or is something else altogether.
    #[error("{what} is no registry that this program knows (found {found:#x})")]
    Unknown {
        /// Which.
        what: String,
        /// What it begins with.
        found: u32,
    },
    /// The way that was asked for cannot be had here.
    #[error("{way} cannot be had here: {why}")]
    NoCarriage {
        /// Which way.
        way: &'static str,
        /// Why not.
        why: String,
    },
    /// A system call failed.
    #[error("{doing} {what}: {source}")]
    Io {
        /// What was done.
        doing: &'static str,
        /// To what.
        what: String,
        /// What the system says.
        source: io::Error,
    },
}

impl LocalError {
    pub(crate) fn io(doing: &'static str, what: &str, source: impl Into<io::Error>) -> LocalError {
        LocalError::Io { doing, what: what.to_owned(), source: source.into() }
    }
}
