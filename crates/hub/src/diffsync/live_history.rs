//! A live document as a diff-sync session needs it.

use std::sync::Arc;

use syncline_engine::{AgentId, Document, Edit, Meta, Version};
use syncline_protocol::diffsync::{Delta, History, Shadow, Sum};
use syncline_protocol::limits::MAX_DOCUMENT_BYTES;

use super::tip::Tip;
use crate::error::HubError;

/// A document, and in whose name edits enter it.
pub struct LiveHistory<'a> {
    /// The document.
    pub document: &'a mut Document,
    /// Its newest text with its checksum.
    pub tip: &'a mut Tip,
    /// The agent of the events.
    pub agent: AgentId,
    /// Who, how and when.
    pub meta: &'a Meta,
}

impl History for LiveHistory<'_> {
    type Version = Version;
    type Error = HubError;

    fn now(&mut self) -> Shadow<Version> {
        self.tip.now(self.document).clone()
    }

    fn enter(&mut self, at: &Version, batches: &[Vec<Edit>]) -> Result<Version, HubError> {
        // Before the first is entered: all of them or none.
        let added: usize = batches.iter().flatten().map(|edit| edit.insert.len()).sum();
        self.tip.now(self.document);
        let bytes = self.document.text().len_bytes() + added;
        if bytes > MAX_DOCUMENT_BYTES {
            return Err(HubError::TooLarge { bytes, limit: MAX_DOCUMENT_BYTES });
        }
        let mut at = at.clone();
        for batch in batches {
            // The batch was tried out on the text at this version: it fits.
            let before = self.document.version().clone();
            let applied = self.document.edit_at(&at, batch, self.agent, self.meta);
            let applied = applied.map_err(|error| HubError::BadPosition { what: error.to_string() })?;
            self.tip.note(&before, &applied.effect, self.document);
            at = applied.version;
        }
        Ok(at)
    }

    fn changes(&mut self, since: &Shadow<Version>) -> Option<Arc<Delta>> {
        self.tip.changes(self.document, since)
    }

    fn version_with(&mut self, sum: Sum) -> Option<Version> {
        self.tip.now(self.document);
        self.tip.version_with(sum)
    }
}
