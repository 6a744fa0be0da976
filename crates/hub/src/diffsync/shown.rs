//! What a document shows, as a session needs it that has nothing to enter.

use std::sync::Arc;

use syncline_engine::{Edit, Version};
use syncline_protocol::diffsync::{Delta, History, Shadow, Sum};

use super::tip::Snapshot;

/// What is asked for is not shown.
#[derive(Debug)]
pub struct NotShown;

/// A snapshot, and whether something was asked for that it does not have: then nothing that came of it counts.
pub struct Shown<'a> {
    pub snapshot: &'a Snapshot,
    pub missed: bool,
}

impl History for Shown<'_> {
    type Version = Version;
    type Error = NotShown;

    fn now(&mut self) -> Shadow<Version> {
        self.snapshot.now.clone()
    }

    fn enter(&mut self, _: &Version, _: &[Vec<Edit>]) -> Result<Version, NotShown> {
        Err(NotShown)
    }

    fn changes(&mut self, since: &Shadow<Version>) -> Option<Arc<Delta>> {
        let shown = self.snapshot.changes(&since.version);
        self.missed |= shown.is_none();
        shown.flatten()
    }

    fn version_with(&mut self, _: Sum) -> Option<Version> {
        self.missed = true;
        None
    }
}
