//! The file session of a document: brings the file and the document in step, in both directions.
//!
//! One step at a time: look at the file if something hinted at it, enter what somebody saved, then write
//! what others changed. `next_step` decides (purely) which; the others carry it out.

mod displaced;
mod enter;
mod found;
mod gone;
mod look;
mod session;
mod take_up;
mod write;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use syncline_disk::{ContentHash, FileStat, LineEndings, RelPath, TextForm};
use syncline_engine::catalogue::{Entry, Form, Kind, Life};
use syncline_engine::{Document, Version};
use syncline_store::Record;

use crate::document::DocumentTask;
use crate::error::HubError;
use crate::event::HubEvent;
use crate::mirror::{Inherited, OnDisk};
pub(crate) use session::FileSession;
use session::*;

/// So many of the texts that a file held go with it to the document that its own was joined into.
const INHERITED_TEXTS: usize = 8;

impl DocumentTask {
    /// Brings the file and the document in step as far as that is possible now. Returns whether there is
    /// nothing left to do until something happens.
    pub async fn settle_file(&mut self) -> bool {
        if !self.file_may_act() {
            return false;
        }
        // Bounded: a file that others rewrite faster than we look must not keep the document's sessions
        // waiting; the rest is done after the next command.
        for _ in 0..16 {
            let now = self.hub.uptime();
            self.file.expect_no_longer(now);
            if self.file.visited {
                // The deletion may have come after the edit that beats it.
                self.check_life().await;
            }
            let wanted = self.wanted();
            let in_memory = self.document().is_some();
            let pending = self.file.look_at.is_some() || self.file.rewrite || !self.file.displaced.is_empty();
            if !in_memory && (self.file.visited || pending) && self.load().await.is_err() {
                self.file.visited = false;
                self.file.look_at = Some(now + RETRY);
                return true;
            }
            if self.document().is_none() {
                return true;
            }
            if self.was_joined() {
                // The file belongs to the survivor now, which finds in it what we have not seen.
                self.release().await;
                return true;
            }
            if self.file.reviving {
                self.file.reviving = false;
                if let Err(error) = self.revive().await {
                    self.hub.tell(HubEvent::Trouble { path: self.id.to_string(), what: error.to_string() });
                }
                continue;
            }
            let Some(document) = self.document() else { return true };
            let changed = wanted.as_ref().is_some_and(|wanted| self.file.differs(document, wanted));
            let step = self.file.next_step(wanted.as_ref(), changed, self.was_deleted_here(), now);
            let (looking, failures) = (step == Step::Look, self.file.failures);
            let acting = !matches!(step, Step::Nothing | Step::Vanished | Step::Settle(_));
            let done = match (step, wanted) {
                (Step::Nothing, _) => {
                    self.file.visited =
                        now < self.file.write_at && (changed || self.file.visited || self.file.rewrite);
                    return !self.file.visited;
                }
                (Step::Look, wanted) => self.look(wanted).await,
                (Step::Vanished, _) => self.report_vanished().await,
                (Step::Adopt, Some(wanted)) => self.adopt(wanted).await,
                (Step::Remove, _) => self.remove().await,
                (Step::Forget, _) => self.forget_file().await,
                (Step::Rename(to), _) => self.rename(to).await,
                (Step::Mode(mode), _) => self.set_mode(mode).await,
                (Step::Write, Some(wanted)) => self.write(wanted).await,
                (Step::Settle(index), _) => self.settle(index).await,
                (Step::Adopt | Step::Write, None) => Ok(()),
            };
            if let Err(error) = done {
                self.fail(error.to_string());
                // Each try of a write is a commit, and it may last: the longer it has, the rarer they are.
                let later = self.hub.uptime() + RETRY * self.file.failures.min(MOST_RETRIES);
                self.file.write_at = later;
                self.file.settle_at = later;
                // It is tried again, and until then the document stays in memory.
                self.file.visited = true;
                match &mut self.file.look_at {
                    Some(look) => *look = (*look).max(later),
                    // No event will tell of that save again.
                    None if looking => self.file.look_at = Some(later),
                    None => {}
                }
                // It may last; others' files must not wait for it.
                return true;
            }
            if acting && failures > 0 && self.file.failures == failures {
                self.file.failures = 0;
                self.hub.note_failing(self.id, None);
            }
        }
        false
    }

    /// The file could not be brought in step.
    pub(super) fn fail(&mut self, why: String) {
        self.hub.note_failing(self.id, Some(why));
        self.file.failures = self.file.failures.saturating_add(1);
    }

    /// Not while the folder itself is gone, and not before the peer's history is there.
    pub fn file_may_act(&self) -> bool {
        *self.hub.0.gate.borrow() && !self.hub.0.root_gone.load(Ordering::Relaxed)
    }

    /// What the catalogue wants at the path, if this document has a file here.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        let catalogue = self.hub.catalogue();
        let entry = catalogue.get(&self.id).filter(|entry| entry.is_alive())?;
        let path = RelPath::parse(entry.path()?).ok()?;
        // Of two documents at one path, whichever has the file here keeps it until they are joined or
        // renamed; the other waits.
        let has_file = self.file.on_disk.as_ref().is_some_and(|on_disk| on_disk.path == path);
        let shared = || {
            catalogue.at(path.as_str()).len() > 1
                || !self.hub.0.twins.of(&catalogue, path.as_str()).is_empty()
        };
        if !has_file && shared() {
            return None;
        }
        if syncline_disk::is_refused_from_network(&path)
            || self.hub.0.only.as_ref().is_some_and(|only| *only != path)
        {
            return None;
        }
        Some(Wanted {
            path,
            kind: entry.kind().copied().unwrap_or(Kind::Text),
            mode: entry.mode().copied(),
            form: entry.form().copied().unwrap_or_default(),
            content: entry.content().map(|content| content.hash),
        })
    }

    pub(super) fn was_joined(&self) -> bool {
        self.hub.catalogue().get(&self.id).is_some_and(|entry| entry.joined().is_some())
    }

    /// Whether the document was deleted by this opening of the hub: which deletes only what it found gone.
    pub(crate) fn was_deleted_here(&self) -> bool {
        let catalogue = self.hub.catalogue();
        let entry =
            catalogue.get(&self.id).filter(|entry| matches!(entry.life(), Some(Life::Deleted { .. })));
        entry.and_then(Entry::life_stamp).is_some_and(|stamp| stamp.agent == self.hub.agent())
    }

    pub(super) async fn release(&mut self) {
        self.file.visited = false;
        self.file.look_at = None;
        let held = self.held_texts();
        if let Some(on_disk) = self.file.on_disk.take() {
            let displaced = std::mem::take(&mut self.file.displaced);
            let _ = self.commit(vec![Record::NoFile(self.id), Record::NoIntent(self.id)]).await;
            let joined = self.hub.catalogue().get(&self.id).and_then(|entry| entry.joined().cloned());
            let stat = on_disk.stat;
            if let Some(joined) = joined {
                self.hub.inherit(joined.into, Inherited { on_disk, held, displaced });
            }
            self.hub.forget_inode(self.id, &stat);
            self.hub.note_place(self.id, None);
        }
    }

    /// Has the texts at hand of candidates that cannot be replayed from the history. Before anything is judged.
    pub(super) async fn supply_parts(&mut self) -> Result<(), HubError> {
        for hash in self.file.candidates.wanting() {
            let bytes = self.hub.content(*hash.as_bytes()).await?;
            let text = match bytes.map(|bytes| syncline_disk::decode(bytes.to_vec())) {
                Some(syncline_disk::Decoded::Text { text, .. }) => Some(Arc::new(text)),
                _ => None,
            };
            self.file.candidates.supply(hash, text);
        }
        Ok(())
    }

    /// The newest texts that the file held, oldest first, with their bytes.
    fn held_texts(&self) -> Vec<(Arc<String>, Vec<u8>)> {
        let (Some(document), Some(wanted)) = (self.document(), self.catalogue_form()) else {
            return Vec::new();
        };
        let all = self.file.candidates.all();
        let newest = all.iter().skip(all.len().saturating_sub(INHERITED_TEXTS));
        let known = newest.filter(|candidate| !candidate.part || candidate.text().is_some());
        let held = known.filter_map(|candidate| {
            let replayed = || Arc::new(document.string_at(&candidate.version));
            let text = candidate.text().cloned().unwrap_or_else(replayed);
            let bytes = encode_text(&text, wanted);
            (ContentHash::of(&bytes) == candidate.hash).then_some((text, bytes))
        });
        held.collect()
    }

    /// How text becomes bytes, by the catalogue.
    fn catalogue_form(&self) -> Option<Form> {
        self.hub.catalogue().get(&self.id).map(|entry| entry.form().copied().unwrap_or_default())
    }

    pub(super) fn set_on_disk(&mut self, path: RelPath, hash: ContentHash, version: Version, stat: FileStat) {
        if let Some(old) = &self.file.on_disk
            && !old.stat.same_inode(&stat)
        {
            self.hub.forget_inode(self.id, &old.stat);
        }
        self.hub.note_inode(self.id, &stat);
        self.file.intended = None;
        self.hub.note_place(self.id, Some(&path));
        self.file.on_disk = Some(OnDisk { path, hash, version, stat });
        self.file.dirty = true;
    }

    /// The state for the journal. It is newer than any intent, which would only confuse the next start.
    pub(super) fn file_record(&mut self) -> Vec<Record> {
        let state = self.file.state();
        let Some(document) = self.document() else { return Vec::new() };
        let record = Record::File { doc: self.id, state: state.encode(document) };
        self.file.dirty = false;
        vec![record, Record::NoIntent(self.id)]
    }

    /// Before the document leaves the memory.
    pub async fn record_file_state(&mut self) {
        if self.file.dirty {
            let records = self.file_record();
            // If this fails the journal still has the intent of our last write, but not what came since: it is
            // tried again before the document leaves the memory.
            self.file.dirty = self.hub.commit(records).await.is_err();
        }
    }

    pub(super) async fn set_mode(&mut self, mode: u32) -> Result<(), HubError> {
        let Some(on_disk) = &self.file.on_disk else { return Ok(()) };
        let path = on_disk.path.clone();
        let stat = self.hub.on_disk(move |folder| folder.set_mode(&path, mode)).await?;
        self.file.seen = None;
        if let Some(on_disk) = &mut self.file.on_disk {
            if (on_disk.stat.mtime_ns, on_disk.stat.len) != (stat.mtime_ns, stat.len) {
                // Somebody saved before, and this stat would hide it.
                self.file.look_at = Some(self.hub.uptime());
            }
            on_disk.stat = stat;
            self.file.dirty = true;
        }
        Ok(())
    }
}

fn encode(document: &Document, form: Form) -> Vec<u8> {
    encode_text(&document.text().to_one_string(), form)
}

/// A text as the bytes of a file.
pub(crate) fn encode_text(text: &str, form: Form) -> Vec<u8> {
    let endings = if form.crlf { LineEndings::CrLf } else { LineEndings::Lf };
    syncline_disk::encode(text, &TextForm { bom: form.bom, endings })
}

fn hash_of(document: &Document, form: Form) -> ContentHash {
    if form == Form::default() {
        return ContentHash::of_pieces(document.text().chunks().map(str::as_bytes));
    }
    ContentHash::of(&encode(document, form))
}
