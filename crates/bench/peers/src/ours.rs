//! The project's own engine.

use std::collections::VecDeque;

use syncline_engine::{AgentId, Document, Edit, EventBatch, Meta, Snapshot, Text, Version};

use crate::engine::{Engine, Opened, STEPS_BEHIND};
use crate::trace::Patch;

pub struct Ours {
    document: Document,
    agent: AgentId,
    meta: Meta,
    /// The newest last.
    versions: VecDeque<Version>,
    edit: [Edit; 1],
}

impl Ours {
    fn new(document: Document, agent: u64) -> Ours {
        let agent = AgentId::from_random(u128::from(agent) + 1);
        let (meta, edit) = (Meta::default(), [Edit::insert(0, "")]);
        Ours { document, agent, meta, versions: VecDeque::new(), edit }
    }
}

impl Engine for Ours {
    const NAME: &'static str = "syncline";
    type Message = Vec<u8>;

    fn start(text: &str) -> Ours {
        let mut ours = Ours::new(Document::new(), 0);
        ours.edit(&Patch { at: 0, deleted: 0, insert: text.to_owned(), at_bytes: 0, deleted_bytes: 0 });
        ours
    }

    fn replica(&mut self, agent: u64) -> Ours {
        Ours::new(self.document.clone(), agent)
    }

    fn edit(&mut self, patch: &Patch) {
        let [edit] = &mut self.edit;
        edit.range = patch.at..patch.at + patch.deleted;
        edit.insert.clear();
        edit.insert.push_str(&patch.insert);
        self.document.record(&self.edit, self.agent, &self.meta).expect("a patch fits");
    }

    fn send(&mut self, patch: &Patch) -> Vec<Vec<u8>> {
        let first = self.document.events();
        self.edit(patch);
        vec![self.document.events_in(first..self.document.events()).encode()]
    }

    fn receive(&mut self, message: &Vec<u8>) {
        let batch = EventBatch::decode(message).expect("a sender's batch decodes");
        self.document.merge(&batch).expect("a sender's batch merges");
    }

    fn text(&self) -> String {
        self.document.text().to_one_string()
    }

    fn history(&mut self) -> Option<Vec<u8>> {
        Some(self.document.events_since(&Version::root()).encode())
    }

    fn stored(&mut self) -> Option<Vec<u8>> {
        Some(self.document.encode())
    }

    fn open(stored: &[u8]) -> Option<Box<dyn Opened>> {
        Some(Box::new(Snapshot::open(stored.to_vec()).expect("what was stored opens")))
    }

    fn merge_whole(history: &[u8]) -> Option<String> {
        let mut document = Document::new();
        document.merge(&EventBatch::decode(history).expect("a history decodes")).expect("it merges");
        Some(document.text().to_one_string())
    }

    fn stale(&mut self, head: usize, old: usize) -> Option<()> {
        let other = AgentId::from_random(99);
        let base = self.versions.front().unwrap_or(self.document.version()).clone();
        self.document.edit(&[Edit::insert(head, "x")], self.agent, &self.meta).ok()?;
        self.versions.push_back(self.document.version().clone());
        self.document.edit_at(&base, &[Edit::insert(old, "y")], other, &self.meta).ok()?;
        if self.versions.len() > STEPS_BEHIND {
            self.versions.pop_front();
        }
        Some(())
    }
}

impl Opened for Snapshot {
    fn text(&self) -> String {
        self.text().to_owned()
    }
}

/// The rope alone, without history: what local edits cannot be cheaper than. Not compared, only shown.
pub struct BareRope(Text);

impl Engine for BareRope {
    const NAME: &'static str = "the bare rope";
    type Message = Vec<u8>;

    fn start(text: &str) -> BareRope {
        BareRope(Text::from(text))
    }

    fn replica(&mut self, _agent: u64) -> BareRope {
        BareRope(self.0.clone())
    }

    fn edit(&mut self, patch: &Patch) {
        self.0.remove(patch.at..patch.at + patch.deleted);
        self.0.insert(patch.at, &patch.insert);
    }

    fn send(&mut self, patch: &Patch) -> Vec<Vec<u8>> {
        self.edit(patch);
        Vec::new()
    }

    fn receive(&mut self, _message: &Vec<u8>) {}

    fn text(&self) -> String {
        self.0.to_one_string()
    }
}
