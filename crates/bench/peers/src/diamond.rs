//! diamond-types 1.0.0.

use std::collections::VecDeque;

use diamond_types::list::encoding::{ENCODE_FULL, ENCODE_PATCH};
use diamond_types::list::{Branch, ListCRDT, OpLog};

use crate::engine::{Engine, Opened, STEPS_BEHIND};
use crate::trace::Patch;

pub struct Diamond {
    list: ListCRDT,
    agent: u32,
    versions: VecDeque<Vec<usize>>,
}

impl Engine for Diamond {
    const NAME: &'static str = "diamond-types 1.0.0";
    type Message = Vec<u8>;

    fn start(text: &str) -> Diamond {
        let mut list = ListCRDT::new();
        let agent = list.get_or_create_agent_id("0");
        if !text.is_empty() {
            list.insert(agent, 0, text);
        }
        Diamond { list, agent, versions: VecDeque::new() }
    }

    fn replica(&mut self, agent: u64) -> Diamond {
        let mut list = ListCRDT::load_from(&self.list.oplog.encode(ENCODE_FULL)).expect("it reads its own");
        let agent = list.get_or_create_agent_id(&agent.to_string());
        Diamond { list, agent, versions: VecDeque::new() }
    }

    fn edit(&mut self, patch: &Patch) {
        if patch.deleted > 0 {
            self.list.delete_without_content(self.agent, patch.at..patch.at + patch.deleted);
        }
        if !patch.insert.is_empty() {
            self.list.insert(self.agent, patch.at, &patch.insert);
        }
    }

    fn send(&mut self, patch: &Patch) -> Vec<Vec<u8>> {
        let before = self.list.oplog.local_version();
        self.edit(patch);
        vec![self.list.oplog.encode_from(ENCODE_PATCH, &before)]
    }

    fn receive(&mut self, message: &Vec<u8>) {
        self.list.merge_data_and_ff(message).expect("a sender's patch merges");
    }

    fn text(&self) -> String {
        self.list.branch.content().to_string()
    }

    fn history(&mut self) -> Option<Vec<u8>> {
        Some(self.list.oplog.encode(ENCODE_FULL))
    }

    fn open(stored: &[u8]) -> Option<Box<dyn Opened>> {
        Some(Box::new(ListCRDT::load_from(stored).expect("what was stored opens")))
    }

    fn merge_whole(history: &[u8]) -> Option<String> {
        let oplog = OpLog::load_from(history).expect("a history decodes");
        Some(Branch::new_at_tip(&oplog).content().to_string())
    }

    fn stale(&mut self, head: usize, old: usize) -> Option<()> {
        let now = self.list.oplog.local_version().to_vec();
        let base = self.versions.front().unwrap_or(&now).clone();
        let other = self.list.get_or_create_agent_id("other");
        self.list.insert(self.agent, head, "x");
        self.versions.push_back(self.list.oplog.local_version().to_vec());
        self.list.oplog.add_insert_at(other, &base, old, "y");
        let tip = self.list.oplog.local_version();
        self.list.branch.merge(&self.list.oplog, &tip);
        if self.versions.len() > STEPS_BEHIND {
            self.versions.pop_front();
        }
        Some(())
    }
}

impl Opened for ListCRDT {
    fn text(&self) -> String {
        self.branch.content().to_string()
    }
}
