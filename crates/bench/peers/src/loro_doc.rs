//! loro.

use std::collections::VecDeque;

use loro::{ExportMode, Frontiers, LoroDoc, LoroText, VersionVector};

use crate::engine::{Engine, Opened, STEPS_BEHIND};
use crate::trace::Patch;

pub struct Loro {
    document: LoroDoc,
    text: LoroText,
    sent: VersionVector,
    versions: VecDeque<Frontiers>,
}

impl Loro {
    fn of(document: LoroDoc, agent: u64) -> Loro {
        document.set_peer_id(agent + 1).expect("no transaction is open");
        let text = document.get_text("text");
        let sent = document.oplog_vv();
        Loro { document, text, sent, versions: VecDeque::new() }
    }
}

impl Engine for Loro {
    const NAME: &'static str = "loro 1.17.1";
    type Message = Vec<u8>;

    fn start(text: &str) -> Loro {
        let loro = Loro::of(LoroDoc::new(), 0);
        loro.text.insert(0, text).expect("it fits");
        loro.document.commit();
        loro
    }

    fn replica(&mut self, agent: u64) -> Loro {
        let document = LoroDoc::new();
        document
            .import(&self.document.export(ExportMode::Snapshot).expect("it exports"))
            .expect("it imports");
        Loro::of(document, agent)
    }

    fn edit(&mut self, patch: &Patch) {
        if patch.deleted > 0 {
            self.text.delete(patch.at, patch.deleted).expect("it fits");
        }
        if !patch.insert.is_empty() {
            self.text.insert(patch.at, &patch.insert).expect("it fits");
        }
        self.document.commit();
    }

    fn send(&mut self, patch: &Patch) -> Vec<Vec<u8>> {
        self.sent = self.document.oplog_vv();
        self.edit(patch);
        vec![self.document.export(ExportMode::updates(&self.sent)).expect("it exports")]
    }

    fn receive(&mut self, message: &Vec<u8>) {
        self.document.import(message).expect("it imports");
    }

    fn text(&self) -> String {
        self.text.to_string()
    }

    fn history(&mut self) -> Option<Vec<u8>> {
        self.document.export(ExportMode::all_updates()).ok()
    }

    fn stored(&mut self) -> Option<Vec<u8>> {
        let now = self.document.oplog_frontiers();
        self.document.export(ExportMode::shallow_snapshot(&now)).ok()
    }

    fn open(stored: &[u8]) -> Option<Box<dyn Opened>> {
        let document = LoroDoc::new();
        document.import(stored).expect("what was stored opens");
        Some(Box::new(document))
    }

    fn merge_whole(history: &[u8]) -> Option<String> {
        let document = LoroDoc::new();
        document.import(history).expect("a history imports");
        Some(document.get_text("text").to_string())
    }

    fn stale(&mut self, head: usize, old: usize) -> Option<()> {
        let base = self.versions.front().cloned().unwrap_or_else(|| self.document.oplog_frontiers());
        self.document.set_detached_editing(true);
        self.text.insert(head, "x").ok()?;
        self.document.commit();
        self.versions.push_back(self.document.oplog_frontiers());
        self.document.checkout(&base).ok()?;
        self.text.insert(old, "y").ok()?;
        self.document.commit();
        self.document.checkout_to_latest();
        if self.versions.len() > STEPS_BEHIND {
            self.versions.pop_front();
        }
        Some(())
    }
}

impl Opened for LoroDoc {
    fn text(&self) -> String {
        self.get_text("text").to_string()
    }
}
