//! The newest text of a document with its checksum, kept current for its diff-sync sessions.

use std::collections::VecDeque;
use std::sync::Arc;

use syncline_engine::{Document, Version};
use syncline_protocol::diffsync::{Delta, Shadow, Sum, SummedText, delta_of};

/// How many answers to "what changed since?" are remembered: many clients stand at the same version.
const DELTAS: usize = 16;

/// How many versions are remembered by their checksum, for clients whose session is not known any more.
const KNOWN: usize = 256;

/// The text at a version. It is brought up to date when it is asked for, by what changed since; whoever
/// changed the document need not know of it.
#[derive(Debug)]
pub struct Tip {
    now: Shadow<Version>,
    /// What changed from these versions to the newest one.
    deltas: VecDeque<(Version, Option<Arc<Delta>>)>,
    known: VecDeque<(Sum, Version)>,
}

impl Tip {
    /// The tip of a document as it stands. Costs its whole text, once.
    pub fn of(document: &Document) -> Tip {
        let text = SummedText::from(document.text().to_string().as_str());
        let now = Shadow { version: document.version().clone(), text };
        Tip { now, deltas: VecDeque::new(), known: VecDeque::new() }
    }

    /// The newest version. Costs what changed since it was last asked for.
    pub fn now(&mut self, document: &mut Document) -> &Shadow<Version> {
        if self.now.version != *document.version() {
            if self.known.len() == KNOWN {
                self.known.pop_front();
            }
            self.known.push_back((self.now.text.sum(), self.now.version.clone()));
            self.deltas.clear();
            let edits = document.changes_since(&self.now.version);
            match self.now.text.edited(&edits) {
                Ok(text) => self.now = Shadow { version: document.version().clone(), text },
                // What the engine says fits what it said before; if ever it did not, the text itself counts.
                Err(_) => *self = Tip::of(document),
            }
        }
        &self.now
    }

    /// What changed from a shadow to the newest version; `None` if the text is the same.
    pub fn changes(&mut self, document: &mut Document, since: &Shadow<Version>) -> Option<Arc<Delta>> {
        self.now(document);
        if since.version == self.now.version {
            return None;
        }
        if let Some((_, delta)) = self.deltas.iter().find(|(version, _)| *version == since.version) {
            return delta.clone();
        }
        let edits = document.changes_since(&since.version);
        let delta =
            (!edits.is_empty()).then(|| Arc::new(delta_of(&edits, since.text.chars(), &self.now.text)));
        if self.deltas.len() == DELTAS {
            self.deltas.pop_front();
        }
        self.deltas.push_back((since.version.clone(), delta.clone()));
        delta
    }

    /// A version whose text has this sum, if one is remembered; the newest if there are several.
    pub fn version_with(&self, sum: Sum) -> Option<Version> {
        if self.now.text.sum() == sum {
            return Some(self.now.version.clone());
        }
        self.known.iter().rev().find(|(known, _)| *known == sum).map(|(_, version)| version.clone())
    }
}
