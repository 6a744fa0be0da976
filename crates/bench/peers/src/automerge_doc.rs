//! automerge.

use std::collections::VecDeque;

use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, ChangeHash, ObjId, ObjType, ROOT, ReadDoc, Value};

use crate::engine::{Engine, Opened, STEPS_BEHIND};
use crate::trace::Patch;

pub struct Automerge {
    document: AutoCommit,
    text: ObjId,
    versions: VecDeque<Vec<ChangeHash>>,
}

fn text_of(document: &AutoCommit) -> ObjId {
    match document.get(ROOT, "text") {
        Ok(Some((Value::Object(ObjType::Text), id))) => id,
        other => panic!("no text in the document: {other:?}"),
    }
}

impl Automerge {
    fn of(document: AutoCommit, agent: u64) -> Automerge {
        let document = document.with_actor(ActorId::from((agent + 1).to_be_bytes()));
        let text = text_of(&document);
        Automerge { document, text, versions: VecDeque::new() }
    }
}

impl Engine for Automerge {
    const NAME: &'static str = "automerge 0.12";
    type Message = Vec<u8>;

    fn start(text: &str) -> Automerge {
        let mut document = AutoCommit::new().with_actor(ActorId::from(0u64.to_be_bytes()));
        let id = document.put_object(ROOT, "text", ObjType::Text).expect("a text");
        document.splice_text(&id, 0, 0, text).expect("it fits");
        document.commit();
        document.save_incremental();
        Automerge::of(document, 0)
    }

    fn replica(&mut self, agent: u64) -> Automerge {
        Automerge::of(AutoCommit::load(&self.document.save()).expect("it loads"), agent)
    }

    fn edit(&mut self, patch: &Patch) {
        self.document
            .splice_text(&self.text, patch.at, patch.deleted as isize, &patch.insert)
            .expect("a patch fits");
        self.document.commit();
    }

    fn send(&mut self, patch: &Patch) -> Vec<Vec<u8>> {
        self.edit(patch);
        vec![self.document.save_incremental()]
    }

    fn receive(&mut self, message: &Vec<u8>) {
        self.document.load_incremental(message).expect("a change loads");
    }

    fn text(&self) -> String {
        ReadDoc::text(&self.document, &self.text).expect("a text")
    }

    fn history(&mut self) -> Option<Vec<u8>> {
        Some(self.document.save())
    }

    fn open(stored: &[u8]) -> Option<Box<dyn Opened>> {
        Some(Box::new(AutoCommit::load(stored).expect("what was stored opens")))
    }

    fn merge_whole(history: &[u8]) -> Option<String> {
        let document = AutoCommit::load(history).expect("a history loads");
        Some(Opened::text(&document))
    }

    fn stale(&mut self, head: usize, old: usize) -> Option<()> {
        let now = self.document.get_heads();
        let base = self.versions.front().cloned().unwrap_or(now);
        self.document.splice_text(&self.text, head, 0, "x").ok()?;
        self.document.commit();
        self.versions.push_back(self.document.get_heads());
        self.document.isolate(&base);
        self.document.splice_text(&self.text, old, 0, "y").ok()?;
        self.document.commit();
        self.document.integrate();
        if self.versions.len() > STEPS_BEHIND {
            self.versions.pop_front();
        }
        Some(())
    }
}

impl Opened for AutoCommit {
    fn text(&self) -> String {
        ReadDoc::text(self, text_of(self)).expect("a text")
    }
}
