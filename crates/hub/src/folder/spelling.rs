//! Names that a disk takes for one: a file whose name is spelled otherwise than its document's path.

use syncline_disk::{CaseRule, DiskError, FileStat, Folder, RelPath, clash_key};
use syncline_engine::catalogue::{DocId, Field};

use super::FolderTask;
use crate::event::HubEvent;

/// What a file is whose name is another spelling of a document's path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// The document's file: the disk itself changed the normal form of its name. Names stay as they were given.
    Same(DocId),
    /// The document's file, to which somebody gave this name.
    New(DocId),
}

impl FolderTask {
    /// The document that this path names here though its own path is spelled otherwise.
    pub(super) fn spelled_otherwise(&self, path: &RelPath) -> Option<DocId> {
        let probe = &self.hub.0.probe;
        if probe.case_sensitive && probe.normalisation_sensitive {
            return None;
        }
        let others = self.hub.0.twins.of(&self.hub.catalogue(), path.as_str());
        others.first().map(|(_, doc)| *doc)
    }

    /// Whether a file that was found at a path is the file of a document with another spelling of it. The disk
    /// finds it by both names, so only the names that its directories list tell.
    pub(super) async fn spelling(&self, path: &RelPath, stat: &FileStat) -> Option<Spelling> {
        let doc = self.spelled_otherwise(path)?;
        let old = {
            let catalogue = self.hub.catalogue();
            RelPath::parse(catalogue.get(&doc)?.path()?).ok()?
        };
        let (asked, found) = (old.clone(), *stat);
        let listed = self.hub.on_disk(move |folder| {
            let there = folder.stat(&asked)?.is_some_and(|there| there.same_inode(&found));
            Ok((there, there && is_listed(folder, &asked)?))
        });
        // Two names of one inode are two files.
        let (true, false) = listed.await.ok()? else { return None };
        let same = clash_key(path, CaseRule::Sensitive) == clash_key(&old, CaseRule::Sensitive);
        Some(if same { Spelling::Same(doc) } else { Spelling::New(doc) })
    }

    /// Somebody renamed a document's file to another spelling of its name.
    pub(super) async fn respell(&mut self, doc: DocId, to: &RelPath) {
        let from = self.hub.catalogue().get(&doc).and_then(|entry| entry.path().cloned()).unwrap_or_default();
        match self.write(vec![(doc, Field::Path(to.as_str().to_owned()))], Vec::new()).await {
            Ok(()) => self.hub.tell(HubEvent::Renamed { from, to: to.to_string() }),
            Err(error) => self.hub.tell(HubEvent::Trouble { path: to.to_string(), what: error.to_string() }),
        }
    }
}

/// Whether the directories list every part of the path exactly as it is spelled.
fn is_listed(folder: &dyn Folder, path: &RelPath) -> Result<bool, DiskError> {
    let mut at = Some(path.clone());
    while let Some(part) = at {
        let above = part.parent();
        if !folder.list(above.as_ref())?.entries.iter().any(|entry| entry.path == part) {
            return Ok(false);
        }
        at = above;
    }
    Ok(true)
}
