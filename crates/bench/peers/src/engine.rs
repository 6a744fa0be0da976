//! What is asked of every engine, ours included.

use crate::trace::Patch;

/// A text-merging engine holding one document. What an engine cannot do, it leaves at `None`.
pub trait Engine: Sized {
    /// As the table names it.
    const NAME: &'static str;
    /// Whether positions are taken in bytes.
    const COUNTS_BYTES: bool = false;
    /// What one replica tells the others of one change.
    type Message;

    /// A document with this text, made by agent 0.
    fn start(text: &str) -> Self;

    /// The same document for another agent.
    fn replica(&mut self, agent: u64) -> Self;

    /// A change of one's own.
    fn edit(&mut self, patch: &Patch);

    /// A change of one's own, and what the others need of it.
    fn send(&mut self, patch: &Patch) -> Vec<Self::Message>;

    /// A change of another replica: its text is as the sender's afterwards.
    fn receive(&mut self, message: &Self::Message);

    /// The text in one piece.
    fn text(&self) -> String;

    /// The full history in the engine's own format.
    fn history(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// What a document is stored as, to be opened for its text.
    fn stored(&mut self) -> Option<Vec<u8>> {
        self.history()
    }

    /// Opens what was stored, as far as reading the text needs it.
    fn open(_stored: &[u8]) -> Option<Box<dyn Opened>> {
        None
    }

    /// Merges a whole history into an empty document: the text.
    fn merge_whole(_history: &[u8]) -> Option<String> {
        None
    }

    /// Somebody inserts a character at `head`, seeing everything; then somebody else one at `old`, having
    /// seen the text as it was five such steps before.
    fn stale(&mut self, _head: usize, _old: usize) -> Option<()> {
        None
    }
}

/// A document that was opened for its text.
pub trait Opened {
    /// The text in one piece.
    fn text(&self) -> String;
}

/// How many steps [`Engine::stale`] looks back: two events each, so that an edit is ten events behind.
pub const STEPS_BEHIND: usize = 5;
