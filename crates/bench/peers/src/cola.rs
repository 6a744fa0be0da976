//! cola 0.1.1 with crop's rope. It keeps no content of its own and no text history, has no bytes for a single
//! change (they are handed over as they are in memory, which costs nothing), and no edits at older versions.

use cola::{Deletion, Insertion, Replica};
use crop::Rope;

use crate::engine::Engine;
use crate::trace::Patch;

pub struct Cola {
    replica: Replica,
    rope: Rope,
}

pub enum Message {
    Inserted(Insertion, String),
    Deleted(Deletion),
}

impl Cola {
    fn inserted(&mut self, patch: &Patch) -> Option<Insertion> {
        if patch.insert.is_empty() {
            return None;
        }
        self.rope.insert(patch.at_bytes, &patch.insert);
        Some(self.replica.inserted(patch.at_bytes, patch.insert.len()))
    }

    fn deleted(&mut self, patch: &Patch) -> Option<Deletion> {
        if patch.deleted_bytes == 0 {
            return None;
        }
        let range = patch.at_bytes..patch.at_bytes + patch.deleted_bytes;
        self.rope.delete(range.clone());
        Some(self.replica.deleted(range))
    }
}

impl Engine for Cola {
    const NAME: &'static str = "cola 0.1.1 + crop";
    const COUNTS_BYTES: bool = true;
    type Message = Message;

    fn start(text: &str) -> Cola {
        Cola { replica: Replica::new(1, text.len()), rope: Rope::from(text) }
    }

    fn replica(&mut self, agent: u64) -> Cola {
        Cola { replica: self.replica.fork(agent + 1), rope: self.rope.clone() }
    }

    fn edit(&mut self, patch: &Patch) {
        self.deleted(patch);
        self.inserted(patch);
    }

    fn send(&mut self, patch: &Patch) -> Vec<Message> {
        let deleted = self.deleted(patch).map(Message::Deleted);
        let inserted = self.inserted(patch).map(|made| Message::Inserted(made, patch.insert.clone()));
        deleted.into_iter().chain(inserted).collect()
    }

    fn receive(&mut self, message: &Message) {
        match message {
            Message::Inserted(insertion, text) => {
                if let Some(at) = self.replica.integrate_insertion(insertion) {
                    self.rope.insert(at, text);
                }
            }
            Message::Deleted(deletion) => {
                for range in self.replica.integrate_deletion(deletion).into_iter().rev() {
                    self.rope.delete(range);
                }
            }
        }
    }

    fn text(&self) -> String {
        self.rope.to_string()
    }
}
