//! Rows of the journal about the whole folder that cannot be read: they are set aside, and the hub goes on without.

use std::collections::{BTreeMap, BTreeSet};
use syncline_engine::catalogue::{Catalogue, DocId, Write};
use syncline_engine::{AgentId, Heads};
use syncline_store::{Log, StoreError, Unreadable};

use crate::event::HubEvent;

/// So many are told one by one.
const TOLD: usize = 20;

/// What is read of all documents at the start.
pub(crate) struct Stored {
    pub catalogue: Vec<Write>,
    pub vector: BTreeMap<AgentId, u64>,
    pub heads: BTreeMap<DocId, Heads>,
    /// Of whose files something is known.
    pub files: BTreeSet<DocId>,
}

impl Stored {
    pub fn read(log: &dyn Log) -> Result<Stored, StoreError> {
        let reader = log.reader()?;
        Ok(Stored {
            catalogue: reader.catalogue()?,
            vector: reader.vector()?,
            heads: reader.heads()?.into_iter().collect(),
            files: reader.files()?.into_iter().chain(reader.intents()?).map(|(doc, _)| doc).collect(),
        })
    }

    /// The same, of what can be read: the rest is set aside, and given.
    pub fn read_what_can_be(log: &mut dyn Log) -> Result<(Stored, Vec<Unreadable>), StoreError> {
        match Stored::read(log) {
            Err(StoreError::Damaged { .. }) => {
                let unreadable = log.set_aside_unreadable()?;
                Ok((Stored::read(log)?, unreadable))
            }
            stored => Ok((stored?, Vec::new())),
        }
    }
}

/// What to tell about them.
pub(crate) fn events(unreadable: Vec<Unreadable>, catalogue: &Catalogue) -> Vec<HubEvent> {
    let more = unreadable.len().saturating_sub(TOLD);
    let name = |row: &Unreadable| {
        let doc = row.doc?;
        let path = catalogue.get(&doc).and_then(|entry| entry.path().cloned());
        Some(path.unwrap_or_else(|| doc.to_string()))
    };
    let tell = |row: Unreadable| HubEvent::Trouble {
        path: name(&row).unwrap_or_default(),
        what: format!("{}: set aside; it is asked of the other machines", row.what),
    };
    let mut events: Vec<HubEvent> = unreadable.into_iter().take(TOLD).map(tell).collect();
    if more > 0 {
        let what = format!("{more} more rows of the journal are damaged and were set aside");
        events.push(HubEvent::Trouble { path: String::new(), what });
    }
    events
}
