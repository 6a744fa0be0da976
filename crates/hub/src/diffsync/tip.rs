//! The newest text of a document with its checksum, kept current for its diff-sync sessions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use syncline_engine::{Document, Edit, Version, diff};
use syncline_protocol::diffsync::{Delta, Shadow, Sum, SummedText, composed, delta_of};

/// How many versions are remembered with what changed since: most clients stand at one of them.
const BEHIND: usize = 8;

/// What changed since is remembered while it inserts no more bytes than this.
const MAX_CHANGES: usize = 64 << 10;

/// How many versions are remembered by their checksum, for clients whose session is not known any more.
const KNOWN: usize = 256;

/// A walker of more spans than this is built anew, if that makes it smaller.
const SPANS: usize = 256;

/// A version behind the newest one, and what changed since.
#[derive(Clone, Debug)]
struct Behind {
    version: Version,
    chars: usize,
    changes: Vec<Edit>,
    delta: Option<Arc<Delta>>,
}

/// The text at a version, and what changed since the versions before it. Whoever enters an edit says what came
/// of it ([`Tip::note`]); what nobody said is found out when the newest version is asked for.
#[derive(Debug)]
pub struct Tip {
    now: Shadow<Version>,
    behind: VecDeque<Behind>,
    known: VecDeque<(Sum, Version)>,
    /// From so many spans on the engine's walker is let go.
    most_spans: usize,
    /// It was let go since it was last looked at.
    let_go: bool,
    shown: Arc<Showcase>,
}

/// What is durable of a document, for sessions to look at without asking its task.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// The document's count of durable versions with this one.
    pub count: u64,
    pub now: Shadow<Version>,
    behind: VecDeque<Behind>,
}

/// Where the newest snapshot is shown.
#[derive(Debug, Default)]
pub struct Showcase(Mutex<Option<Arc<Snapshot>>>);

impl Showcase {
    pub(super) fn look(&self) -> Option<Arc<Snapshot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Snapshot {
    /// Whether it can say what changed since this version.
    pub fn knows(&self, version: &Version) -> bool {
        *version == self.now.version || self.behind.iter().any(|behind| behind.version == *version)
    }

    /// What changed since a shadow, if it is remembered.
    pub fn changes(&self, since: &Version) -> Option<Option<Arc<Delta>>> {
        if *since == self.now.version {
            return Some(None);
        }
        let behind = self.behind.iter().find(|behind| behind.version == *since)?;
        Some(behind.delta.clone().filter(|_| !behind.changes.is_empty()))
    }
}

impl Tip {
    /// The tip of a document as it stands. Costs its whole text, once.
    pub fn of(document: &Document) -> Tip {
        let text = SummedText::from(document.text().to_one_string().as_str());
        let now = Shadow { version: document.version().clone(), text };
        let (behind, known, shown) = (VecDeque::new(), VecDeque::new(), Arc::default());
        Tip { now, behind, known, most_spans: SPANS, let_go: false, shown }
    }

    /// An edit was entered into the document, which stood at `before`; its effect was this. Costs the edit.
    pub fn note(&mut self, before: &Version, effect: &[Edit], document: &Document) {
        if self.now.version == *before {
            self.advance(effect, document);
        }
    }

    /// The newest version. Costs what changed since it was last asked for.
    pub fn now(&mut self, document: &mut Document) -> &Shadow<Version> {
        if self.now.version != *document.version() {
            match document.changes_since(&self.now.version) {
                Ok(changes) => self.advance(&changes, document),
                // Another document in its place: nothing that was known of the old one holds.
                Err(_) => *self = Tip { shown: self.shown.clone(), ..Tip::of(document) },
            }
        }
        &self.now
    }

    fn advance(&mut self, changes: &[Edit], document: &Document) {
        let version = document.version().clone();
        if version == self.now.version {
            return;
        }
        // What the engine says fits what it said before; if ever it did not, the text itself counts.
        let Ok(text) = self.now.text.edited(changes) else {
            let shown = self.shown.clone();
            *self = Tip { shown, ..Tip::of(document) };
            return;
        };
        for behind in &mut self.behind {
            behind.changes = composed(&behind.changes, changes);
            behind.delta = None;
        }
        let before = std::mem::replace(&mut self.now, Shadow { version, text });
        if self.known.len() == KNOWN {
            self.known.pop_front();
        }
        self.known.push_back((before.text.sum(), before.version.clone()));
        let (version, chars) = (before.version, before.text.chars());
        self.behind.push_back(Behind { version, chars, changes: changes.to_vec(), delta: None });
        let long = |behind: &Behind| {
            behind.changes.iter().map(|edit| edit.insert.len() + 16).sum::<usize>() > MAX_CHANGES
        };
        while self.behind.len() > BEHIND || self.behind.front().is_some_and(long) {
            self.behind.pop_front();
        }
    }

    /// What changed from a shadow to the newest version; `None` if the text is the same.
    pub fn changes(&mut self, document: &mut Document, since: &Shadow<Version>) -> Option<Arc<Delta>> {
        self.now(document);
        if since.version == self.now.version {
            return None;
        }
        if let Some(behind) = self.behind.iter_mut().find(|behind| behind.version == since.version) {
            return behind.delta(&self.now.text);
        }
        // The version of a client that edited while others did: only the engine knows what it lacks.
        // Of a version that the document does not have the text is known all the same.
        let edits = document.changes_since(&since.version);
        let edits = edits.unwrap_or_else(|_| diff(&since.text.to_string(), &self.now.text.to_string()));
        self.trim(document);
        (!edits.is_empty()).then(|| Arc::new(delta_of(&edits, since.text.chars(), &self.now.text)))
    }

    /// Every question about a version costs the walker's spans, and sessions stand near the newest version: what
    /// they need of a long walker is soon built again. Where it comes back as long as it was (everybody has been
    /// behind somebody for long), it is worth keeping.
    fn trim(&mut self, document: &mut Document) {
        let spans = document.walker_spans();
        if std::mem::take(&mut self.let_go) && spans > self.most_spans / 2 {
            self.most_spans = spans * 2;
        }
        if spans > self.most_spans {
            document.release();
            self.let_go = true;
        }
    }

    /// A version whose text has this sum, if one is remembered; the newest if there are several.
    pub fn version_with(&self, sum: Sum) -> Option<Version> {
        if self.now.text.sum() == sum {
            return Some(self.now.version.clone());
        }
        self.known.iter().rev().find(|(known, _)| *known == sum).map(|(_, version)| version.clone())
    }

    /// Where sessions find what was shown last.
    pub fn showcase(&self) -> Arc<Showcase> {
        self.shown.clone()
    }

    /// Shows the newest version, which is durable now, as the document's `count`-th.
    pub fn show(&mut self, document: &mut Document, count: u64) {
        self.now(document);
        for behind in &mut self.behind {
            behind.delta(&self.now.text);
        }
        let snapshot = Snapshot { count, now: self.now.clone(), behind: self.behind.clone() };
        *self.shown.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(snapshot));
    }
}

impl Behind {
    fn delta(&mut self, now: &SummedText) -> Option<Arc<Delta>> {
        if self.changes.is_empty() {
            return None;
        }
        let (changes, chars) = (&self.changes, self.chars);
        Some(self.delta.get_or_insert_with(|| Arc::new(delta_of(changes, chars, now))).clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use syncline_engine::{AgentId, Meta, apply_to_str};

    use super::*;

    #[test]
    fn a_version_of_another_document_is_no_version_of_this_one() {
        let (agent, meta) = (AgentId::from_random(1), Meta::default());
        let mut longer = Document::new();
        longer.edit(&[Edit::insert(0, "a longer text")], agent, &meta).unwrap();
        let shadow = Tip::of(&longer).now(&mut longer).clone();
        let mut document = Document::new();
        document.edit(&[Edit::insert(0, "text")], agent, &meta).unwrap();
        let unknown = document.changes_since(&shadow.version);
        assert_eq!(unknown, Err(syncline_engine::EditError::UnknownVersion { lv: 12, events: 4 }));
        let delta = Tip::of(&document).changes(&mut document, &shadow).unwrap();
        assert_eq!(apply_to_str("a longer text", &delta.edits(13).unwrap()), "text");
        let mut tip = Tip::of(&longer);
        assert_eq!(tip.now(&mut document).text.to_string(), "text");
    }

    proptest! {
        /// Told of an edit or not, at the newest version or an older one: what it says turns every earlier text
        /// into the newest.
        #[test]
        fn what_changed_since_turns_the_old_text_into_the_new(
            steps in proptest::collection::vec((0usize..30, 0usize..4, "[a-cé]{0,3}", 0usize..4, any::<bool>()), 1..40),
        ) {
            let agent = AgentId::from_random(1);
            let mut document = Document::new();
            document.edit(&[Edit::insert(0, "0123456789")], agent, &Meta::default()).unwrap();
            let mut tip = Tip::of(&document);
            let mut seen = vec![tip.now(&mut document).clone()];
            for (at, delete, insert, back, told) in steps {
                let shadow = &seen[seen.len().saturating_sub(1 + back)];
                let start = at.min(shadow.text.chars());
                let end = (start + delete).min(shadow.text.chars());
                let edit = Edit { range: start..end, insert };
                let before = document.version().clone();
                let applied = document.edit_at(&shadow.version.clone(), &[edit], agent, &Meta::default()).unwrap();
                if told {
                    tip.note(&before, &applied.effect, &document);
                }
                let now = tip.now(&mut document).clone();
                prop_assert_eq!(now.text.to_string(), document.text().to_string());
                for shadow in &seen {
                    let old = shadow.text.to_string();
                    let edits = match tip.changes(&mut document, shadow) {
                        Some(delta) => delta.edits(shadow.text.chars()).unwrap(),
                        None => Vec::new(),
                    };
                    prop_assert_eq!(apply_to_str(&old, &edits), now.text.to_string());
                }
                seen.push(now);
            }
        }
    }
}
