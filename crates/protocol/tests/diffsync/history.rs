//! A document of the real engine as a session needs it, without the hub's care for speed.

use std::sync::Arc;

use syncline_engine::{AgentId, Document, Edit, Meta, Version};
use syncline_protocol::diffsync::{Delta, History, Shadow, Sum, SummedText};

pub struct Kept {
    pub document: Document,
    pub agent: AgentId,
    /// The next `enter` fails.
    pub refuse: bool,
    /// Batches entered through `History`.
    pub entered: usize,
}

impl Kept {
    pub fn new(text: &str) -> Kept {
        let agent = AgentId::from_random(1);
        let mut document = Document::new();
        document.edit(&[Edit::insert(0, text)], agent, &Meta::default()).unwrap();
        Kept { document, agent, refuse: false, entered: 0 }
    }

    pub fn text(&self) -> String {
        self.document.text().to_string()
    }

    /// Somebody else's edit, made at the newest version.
    pub fn edit(&mut self, edits: &[Edit]) {
        self.document.edit(edits, self.agent, &Meta::default()).unwrap();
    }
}

impl History for Kept {
    type Version = Version;
    type Error = &'static str;

    fn now(&mut self) -> Shadow<Version> {
        let text = SummedText::from(self.text().as_str());
        Shadow { version: self.document.version().clone(), text }
    }

    fn enter(&mut self, at: &Version, batches: &[Vec<Edit>]) -> Result<Version, &'static str> {
        if self.refuse {
            return Err("told to refuse");
        }
        let mut at = at.clone();
        for batch in batches {
            at = self.document.edit_at(&at, batch, self.agent, &Meta::default()).unwrap().version;
            self.entered += 1;
        }
        Ok(at)
    }

    fn changes(&mut self, since: &Shadow<Version>) -> Option<Arc<Delta>> {
        let edits = self.document.changes_since(&since.version).unwrap();
        (!edits.is_empty()).then(|| Arc::new(Delta::of(&edits, since.text.chars())))
    }

    fn version_with(&mut self, sum: Sum) -> Option<Version> {
        let now = self.now();
        (now.text.sum() == sum).then_some(now.version)
    }
}
