//! What can be asked of a document, and what it answers.

use super::*;

/// A text at a version.
pub(crate) struct TextAt {
    pub text: Arc<String>,
    pub version: Version,
    pub heads: Heads,
}

/// What an edit came to.
pub(crate) struct Edited {
    /// The version of its maker: what they saw, and the edit.
    pub version: Version,
    /// The same, for elsewhere. Never the document's version: whoever names that one as what they saw takes out
    /// what others wrote meanwhile.
    pub heads: Heads,
    /// Whether others' changes lie between what the maker saw and the document.
    pub merged: bool,
}

impl Edited {
    /// As the result of a request: the answer to its repetition.
    pub(super) fn encode(&self) -> Vec<u8> {
        [vec![u8::from(self.merged)], self.heads.encode()].concat()
    }

    /// Whether it was merged, and its version, from [`Edited::encode`].
    pub fn read(result: &[u8]) -> Option<(bool, Heads)> {
        let (merged, heads) = result.split_first()?;
        Some((*merged != 0, Heads::decode(heads).ok()?))
    }

    /// The answer that was given the first time. `None` if it is not one of this document's.
    pub(super) fn decode(result: &[u8], document: &Document) -> Option<Edited> {
        let (merged, heads) = Edited::read(result)?;
        Some(Edited { version: document.local(&heads).ok()?, heads, merged })
    }
}

/// What makes a repeated edit one edit.
pub(crate) struct Request {
    /// Who asked for what: the same for the same request.
    pub key: Vec<u8>,
    /// What else is recorded with the edit.
    pub records: Vec<Record>,
}

/// All that can be asked of a document.
pub(crate) enum Command {
    /// Merge a peer's events.
    Merge { batch: EventBatch, reply: Reply<Heads> },
    /// The events that somebody lacks.
    EventsSince { have: Have, reply: Reply<(EventBatch, Heads)> },
    /// Of each agent, how many events are known.
    Vector { reply: Reply<Vec<(AgentId, u64)>> },
    /// The text now.
    Text { reply: Reply<TextAt> },
    /// The text at a version that a client names.
    TextAt { heads: Heads, reply: Reply<TextAt> },
    /// The version that these heads name.
    Known { heads: Heads, reply: Reply<Version> },
    /// What changed since some versions.
    Missed(AskMissed),
    /// The base of a text whose maker does not say what it was made from, of what they were shown and made before: its
    /// version and text, and whether the text is an edit of it at all. `None`: they were shown nothing.
    Judge { candidates: Vec<Candidate>, text: String, reply: Reply<Option<(Version, Arc<String>, bool)>> },
    /// An edit by a session, at the version it saw.
    Edit { version: Version, edits: Vec<Edit>, meta: Meta, request: Option<Request>, reply: Reply<Edited> },
    /// Put what was lost in a conflict in again.
    Reinstate { conflict: String, reply: Reply<usize> },
    /// About a diff-sync session.
    Diff(DiffCommand),
    /// Something was seen at the document's path.
    Hint(What),
    /// The catalogue changed, or a file was found at the path: bring the file in step. The permit is held
    /// until that is done.
    Visit { permit: Option<OwnedSemaphorePermit> },
    /// The document was deleted, and a file is at its path again: it goes on.
    Revive,
    /// Its file vanished, and is to be written again.
    Recreate,
}

impl Command {
    /// Answers that the document cannot be had.
    pub(super) fn refuse(self, error: &HubError) {
        let error = error.clone();
        // Whoever asked may have gone.
        match self {
            Command::Merge { reply, .. } => drop(reply.send(Err(error))),
            Command::EventsSince { reply, .. } => drop(reply.send(Err(error))),
            Command::Vector { reply } => drop(reply.send(Err(error))),
            Command::Text { reply } | Command::TextAt { reply, .. } => drop(reply.send(Err(error))),
            Command::Known { reply, .. } => drop(reply.send(Err(error))),
            Command::Missed(ask) => drop(ask.reply.send(Err(error))),
            Command::Judge { reply, .. } => drop(reply.send(Err(error))),
            Command::Edit { reply, .. } => drop(reply.send(Err(error))),
            Command::Reinstate { reply, .. } => drop(reply.send(Err(error))),
            Command::Diff(command) => command.refuse(error),
            Command::Hint(_) | Command::Visit { .. } | Command::Revive | Command::Recreate => {}
        }
    }
}
