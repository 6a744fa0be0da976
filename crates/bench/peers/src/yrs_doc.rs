//! yrs. It forgets what was deleted, so that its history is not a full one, and cannot edit an older version.

use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, ReadTxn, StateVector, Text, TextRef, Transact, Update};

use crate::engine::{Engine, Opened};
use crate::trace::Patch;

pub struct Yrs {
    document: Doc,
    text: TextRef,
}

impl Yrs {
    fn of(agent: u64) -> Yrs {
        let document = Doc::with_client_id(agent + 1);
        let text = document.get_or_insert_text("text");
        Yrs { document, text }
    }

    fn apply(&self, bytes: &[u8]) {
        let update = Update::decode_v1(bytes).expect("an update decodes");
        self.document.transact_mut().apply_update(update).expect("an update applies");
    }
}

impl Engine for Yrs {
    const NAME: &'static str = "yrs 0.28";
    const COUNTS_BYTES: bool = true;
    type Message = Vec<u8>;

    fn start(text: &str) -> Yrs {
        let yrs = Yrs::of(0);
        yrs.text.insert(&mut yrs.document.transact_mut(), 0, text);
        yrs
    }

    fn replica(&mut self, agent: u64) -> Yrs {
        let yrs = Yrs::of(agent);
        yrs.apply(&self.history().unwrap_or_default());
        yrs
    }

    fn edit(&mut self, patch: &Patch) {
        self.send(patch);
    }

    fn send(&mut self, patch: &Patch) -> Vec<Vec<u8>> {
        let mut transaction = self.document.transact_mut();
        let at = patch.at_bytes as u32;
        if patch.deleted_bytes > 0 {
            self.text.remove_range(&mut transaction, at, patch.deleted_bytes as u32);
        }
        if !patch.insert.is_empty() {
            self.text.insert(&mut transaction, at, &patch.insert);
        }
        vec![transaction.encode_update_v1()]
    }

    fn receive(&mut self, message: &Vec<u8>) {
        self.apply(message);
    }

    fn text(&self) -> String {
        self.text.get_string(&self.document.transact())
    }

    fn history(&mut self) -> Option<Vec<u8>> {
        Some(self.document.transact().encode_state_as_update_v1(&StateVector::default()))
    }

    fn open(stored: &[u8]) -> Option<Box<dyn Opened>> {
        let yrs = Yrs::of(7);
        yrs.apply(stored);
        Some(Box::new(yrs))
    }

    fn merge_whole(history: &[u8]) -> Option<String> {
        let yrs = Yrs::of(7);
        yrs.apply(history);
        Some(Engine::text(&yrs))
    }
}

impl Opened for Yrs {
    fn text(&self) -> String {
        Engine::text(self)
    }
}
