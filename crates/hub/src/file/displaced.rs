//! What our writes displaced: looked at again until nobody can write to it any more.

use std::sync::Arc;
use syncline_disk::{ContentHash, Decoded, RelPath, Settled};
use syncline_store::Record;

use super::enter::describe;

use super::session::*;
use super::*;
use crate::document::DocumentTask;
use crate::error::HubError;
use crate::event::HubEvent;
use crate::mirror::{Candidate, Displaced, Maker, Origin, judge, whole_part};

impl DocumentTask {
    /// Looks whether a displaced inode is quiet, and enters what was written to it since.
    pub(super) async fn settle(&mut self, index: usize) -> Result<(), HubError> {
        let Some(displaced) = self.file.displaced.get(index).cloned() else {
            self.file.settle_first.clear();
            return Ok(());
        };
        // Once: a writer may keep it open for long.
        self.file.settle_first.retain(|id| *id != displaced.id);
        let id = displaced.id.clone();
        let settled = self.hub.on_disk(move |folder| folder.settle(&id)).await?;
        self.file.settle_at = self.hub.uptime() + SETTLE_EVERY;
        match settled {
            Settled::StillOpen => {
                // The others may be quiet.
                self.file.displaced.rotate_left(1);
                return Ok(());
            }
            Settled::Quiet { bytes, stat, .. } => {
                let hash = ContentHash::of(&bytes);
                if hash != displaced.hash {
                    // Nobody has written to it since the machine was started anew.
                    let torn =
                        self.hub.0.rebooted && stat.mtime_ns / 1_000_000 < i128::from(self.hub.0.opened_ms);
                    self.enter_displaced(&displaced, bytes, hash, torn).await?;
                }
                let id = displaced.id.clone();
                self.hub.on_disk(move |folder| folder.forget(&id)).await?;
            }
            Settled::TooLarge { .. } => {
                let what =
                    format!("{} grew too large to enter; it is kept in .syncline/displaced", displaced.id);
                self.hub.tell(HubEvent::Trouble { path: displaced.id.to_string(), what });
            }
            // Not displaced yet when the program was killed: it is beside the file, if it is anywhere.
            Settled::Missing => self.settle_temporary(&displaced).await?,
        }
        self.file.displaced.retain(|other| other.id != displaced.id);
        self.file.visited = true;
        self.file.settle_at = self.hub.uptime();
        self.file.dirty = true;
        Ok(())
    }

    /// After a kill in the middle of a save: the temporary holds our new bytes (the exchange did not happen),
    /// the old ones (it did), or what somebody saved in that moment, perhaps the only copy (docs/decisions/0004).
    pub(super) async fn settle_temporary(&mut self, displaced: &Displaced) -> Result<(), HubError> {
        let wanted = self.wanted();
        let on_disk = self.file.on_disk.as_ref().map(|on_disk| on_disk.path.clone());
        let path = self.file.interrupted_at.clone().or(on_disk).or(wanted.map(|wanted| wanted.path));
        let Some(temporary) =
            path.and_then(|path| RelPath::beneath(path.parent().as_ref(), &displaced.id.temporary()).ok())
        else {
            return Ok(());
        };
        let read = temporary.clone();
        let bytes = match self.hub.on_disk(move |folder| folder.read_temporary(&read)).await {
            Ok(bytes) => bytes,
            Err(HubError::Disk(error)) if matches!(*error, syncline_disk::DiskError::NotFound(_)) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let hash = ContentHash::of(&bytes);
        if hash != displaced.hash && !self.is_ours(hash, &bytes) {
            self.enter_displaced(displaced, bytes, hash, self.hub.0.rebooted).await?;
        }
        self.hub.on_disk(move |folder| folder.remove_temporary(&temporary, hash)).await?;
        Ok(())
    }

    /// Whether these bytes are (the beginning of) something that we were about to write.
    pub(super) fn is_ours(&self, hash: ContentHash, bytes: &[u8]) -> bool {
        let Some(document) = self.document() else { return false };
        let ours = |candidate: &&Candidate| candidate.maker == Maker::Us;
        self.file.candidates.all().iter().rev().filter(ours).any(|candidate| {
            candidate.hash == hash || {
                let form = self
                    .hub
                    .catalogue()
                    .get(&self.id)
                    .and_then(|entry| entry.form().copied())
                    .unwrap_or_default();
                encode_text(&document.string_at(&candidate.version), form).starts_with(bytes)
            }
        })
    }

    /// What was saved into an inode that was displaced meanwhile is a save like any other, whose maker cannot
    /// have seen what came after.
    pub(super) async fn enter_displaced(
        &mut self,
        displaced: &Displaced,
        mut bytes: Vec<u8>,
        hash: ContentHash,
        torn: bool,
    ) -> Result<(), HubError> {
        if self.file.candidates.all().iter().any(|candidate| candidate.hash == hash) {
            // Entered before a kill, or a version that the file held: nothing new.
            let what = "saved in the moment in which the file was written: a version it had held, no edit";
            let time_ms = self.hub.now_ms();
            return self
                .commit(vec![Record::Decision { doc: self.id, time_ms, what: what.to_owned() }])
                .await;
        }
        let (hub, meta) = (self.hub.clone(), self.hub.file_meta());
        let mut records = vec![Record::Content { hash: *hash.as_bytes(), bytes: bytes.clone() }];
        if torn && let Some(document) = self.document() {
            let ended = document.text().chunks().last().is_none_or(|end| end.ends_with('\n'));
            bytes.truncate(whole_part(&bytes, ended).len());
        }
        let (mut why, mut changes) = ("not text: kept, the newer content counts", 0);
        if let Decoded::Text { text, .. } = syncline_disk::decode(bytes) {
            self.supply_parts().await?;
            self.file.heed_losses(self.hub.losses());
            let candidates = self.file.candidates.up_to(displaced.hash);
            let Some(document) = self.document() else { return Err(HubError::Closed) };
            let text: Arc<String> = text.into();
            let origin = judge(&candidates, document, &text, false, false)
                .unwrap_or_else(|| Origin::newest(displaced.version.clone()));
            why = describe(origin.base.why);
            if origin.base.edit {
                let (edits, both) = origin.edits(document, &text, torn);
                changes = edits.len();
                let loaded = self.load().await?;
                let version = loaded.enter_save(&hub, &origin.version, &edits, both, &meta)?;
                let mut candidate = Candidate::new_hashed(version, hash, Maker::Other);
                if !torn || origin.part {
                    candidate = candidate.with_text(text);
                }
                candidate.part = origin.part;
                candidate.base =
                    Some(candidates.get(origin.base.index).map_or(displaced.hash, |base| base.hash));
                self.file.candidates.push_after(displaced.hash, candidate);
            }
        }
        let what = format!("saved in the moment in which the file was written: {why}");
        records.push(Record::Decision { doc: self.id, time_ms: meta.time_ms, what: what.clone() });
        records.extend(self.file_record());
        self.commit(records).await?;
        let path = self
            .file
            .on_disk
            .as_ref()
            .map_or_else(|| self.id.to_string(), |on_disk| on_disk.path.to_string());
        self.hub.tell(HubEvent::Saved { path, why: what, changes });
        Ok(())
    }
}
