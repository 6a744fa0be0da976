//! A file that stands where the document's file is to be renamed to, and is no other document's: a peer, or the hub
//! before this one, renamed the document to the name of a file that is not entered yet.

use std::sync::Arc;
use syncline_disk::{ContentHash, Decoded, Expect, Reading, RelPath, Removed, temporary_name};
use syncline_engine::catalogue::Kind;
use syncline_protocol::limits::MAX_DOCUMENT_BYTES;

use super::enter::{FoundFile, SavedText};
use super::session::*;
use crate::document::DocumentTask;
use crate::error::HubError;
use crate::folder::{FolderCommand, resembles};
use crate::mirror::{Displaced, OnDisk};

impl DocumentTask {
    /// Whether no other document has, or may have, its file at a path.
    pub(super) fn is_alone_at(&self, path: &RelPath) -> bool {
        let catalogue = self.hub.catalogue();
        catalogue.at(path.as_str()) == [self.id] && self.hub.0.twins.of(&catalogue, path.as_str()).is_empty()
    }

    /// Enters what is in the file that stands there: as a save, if it is a version of the document's text that
    /// somebody changed, and else as a text to be joined, of which nothing is taken out. Then the file under the old
    /// name goes, which holds only what is in the document. A kill in between leaves that file, as a copy.
    pub(super) async fn take_up(&mut self, path: RelPath, old: OnDisk) -> Result<(), HubError> {
        let read = path.clone();
        let reading = self.hub.on_disk(move |folder| folder.read(&read, MAX_DOCUMENT_BYTES as u64)).await?;
        let wanted = self.wanted().filter(|wanted| wanted.kind == Kind::Text);
        let Some(document) = self.document() else { return Err(HubError::Closed) };
        let text = match reading {
            Reading::Stable { bytes, stat, .. } => {
                let hash = ContentHash::of(&bytes);
                match syncline_disk::decode(bytes) {
                    Decoded::Text { text, form } => Some((text, form, hash, stat)),
                    Decoded::Opaque(_) => None,
                }
            }
            _ => None,
        };
        let (Some(wanted), Some((text, form, hash, stat))) = (wanted, text) else {
            // Somebody is writing it, or it is not to be joined with a text: it stays, and so does ours.
            self.file.write_at = self.hub.uptime() + RETRY;
            self.file.visited = true;
            return Ok(());
        };
        let text = Arc::new(text);
        let ours = Arc::new(document.text().to_one_string());
        let is_a_save = resembles(&ours, &text) || resembles(&document.string_at(&old.version), &text);
        let found = FoundFile { path, form, hash, stat, wanted: Some(wanted) };
        if is_a_save {
            self.enter(found, SavedText::Whole(text), None).await?;
        } else {
            self.enter_union(found, ours, text).await?;
        }
        let (expect, temporary) = (Expect::File(old.hash), temporary_name(self.hub.random_u64()));
        let from = old.path.clone();
        match self.hub.on_disk(move |folder| folder.remove(&from, &expect, &temporary)).await? {
            Removed::Done { displaced: Some(id) } | Removed::Raced { displaced: id, .. } => {
                self.file.displaced.push(Displaced { id, version: old.version, hash: old.hash });
                self.file.settle_at = self.hub.uptime() + SETTLE_EVERY;
                self.file.dirty = true;
            }
            Removed::Done { displaced: None } => {}
            // Somebody saved there: a file of its own.
            Removed::Busy | Removed::Differs(_) => {
                self.hub.tell_folder(FolderCommand::LookAt { path: old.path }).await;
            }
        }
        Ok(())
    }
}
