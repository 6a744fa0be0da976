//! Looking at the file, when it may have changed.

use syncline_disk::{Compared, ContentHash, Decoded, FileStat, LineEndings, Reading, RelPath};
use syncline_engine::Document;
use syncline_engine::catalogue::{Field, Form, Kind};
use syncline_protocol::limits::MAX_DOCUMENT_BYTES;
use syncline_store::Record;

use super::enter::{FoundFile, SavedText};
use super::session::*;
use crate::document::DocumentTask;
use crate::error::HubError;
use crate::event::HubEvent;
use crate::folder::FolderCommand;
use crate::mirror::{Candidate, Displaced, Inherited};

impl DocumentTask {
    /// Looks at the file and enters what somebody saved.
    pub(super) async fn look(&mut self, wanted: Option<Wanted>) -> Result<(), HubError> {
        let path = match (&self.file.on_disk, &wanted) {
            (Some(on_disk), _) => on_disk.path.clone(),
            (None, Some(wanted)) => self.file.intended.clone().unwrap_or_else(|| wanted.path.clone()),
            (None, None) => {
                self.file.look_at = None;
                return Ok(());
            }
        };
        let read = path.clone();
        let now = self.hub.uptime();
        self.file.look_at = None;
        let compared = self.read_file(read).await?;
        if !matches!(compared, Compared::Read(Reading::Missing)) {
            self.file.missing_since = None;
            self.file.reported = false;
        }
        if !matches!(compared, Compared::Read(Reading::Busy { .. })) {
            self.file.busy_since = None;
        }
        let reading = match compared {
            Compared::Spliced { splice, hash, stat } => {
                return self.found_splice(path, splice, hash, stat, wanted).await;
            }
            Compared::Read(reading) => reading,
        };
        match reading {
            Reading::Missing if self.file.intended.take().is_some_and(|at| at == path) => {
                // That save did not happen, or its file was renamed: where the catalogue has it, then.
                self.file.look_at = Some(now);
                Ok(())
            }
            Reading::Missing
                if self.hub.0.rebooted
                    && self.file.on_disk.is_some()
                    && self.hub.is_startup(self.id)
                    && self.file.found_first.is_none() =>
            {
                if self.hub.is_listed() {
                    // Its name was not synced when the power went: nobody deleted it.
                    self.file.recreate();
                } else {
                    // It may have been renamed: the scan will tell.
                    self.file.look_at = Some(now + ARRIVAL_RETRY);
                }
                Ok(())
            }
            Reading::Missing => {
                let since = *self.file.missing_since.get_or_insert(now);
                if self.file.on_disk.is_some() && !self.file.reported {
                    self.file.look_at = Some(since + GRACE);
                }
                Ok(())
            }
            Reading::Busy { stat } => {
                let since = *self.file.busy_since.get_or_insert(now);
                let held = now >= since + HELD_AFTER;
                self.file.look_at = Some(now + if held { HELD_AFTER / 4 } else { BUSY_RETRY });
                if held {
                    self.hub.tell(HubEvent::Held { path: path.to_string() });
                    if self.file.on_disk.as_ref().is_some_and(|on_disk| !on_disk.stat.same_content(&stat)) {
                        self.enter_growth(path, wanted.clone()).await?;
                    }
                    return self.patch_held(wanted).await;
                }
                Ok(())
            }
            Reading::Stable { bytes, stat, .. } => {
                let was_fresh = self.hub.is_startup(self.id);
                self.found(path, bytes, stat, wanted, was_fresh).await?;
                // One that waits for its peer is still to be judged, also by the hub after this one.
                if was_fresh && self.file.found_first.is_none() {
                    self.hub.take_startup(self.id);
                }
                Ok(())
            }
            Reading::Link { target, stat } => {
                self.found_opaque(path, target.into_bytes(), stat, Kind::Link).await
            }
            Reading::NotAFile { stat } => {
                let what =
                    format!("a {:?} stands where a document's file should be", stat.kind).to_lowercase();
                self.fail(what);
                self.file.write_at = now + RETRY;
                Ok(())
            }
            Reading::TooLarge { limit, .. } => {
                let what = format!("longer than {limit} bytes: not synchronised, left as it is");
                self.fail(what);
                self.file.write_at = now + RETRY * 30;
                Ok(())
            }
        }
    }

    /// Reads a file. A large one that held just the document's text is compared with that.
    async fn read_file(&mut self, path: RelPath) -> Result<Compared, HubError> {
        // Two sides of a merge may be longer together than one may be: such a file can be read, to be made shorter.
        let merged = |document: &Document| document.text().len_bytes() > MAX_DOCUMENT_BYTES;
        let times = if self.document().is_some_and(merged) { 2 } else { 1 };
        let limit = times * MAX_DOCUMENT_BYTES as u64;
        let shows = |document: &Document| {
            let (on_disk, encoded) = (self.file.on_disk.as_ref()?, self.file.encoded.as_ref()?);
            let (version, form, hash) = encoded;
            let same = on_disk.hash == *hash && on_disk.version == *version && version == document.version();
            Some(same && self.is_lent(document, *form) && !self.hub.is_startup(self.id))
        };
        if !self.document().and_then(shows).unwrap_or(false) {
            return self.hub.on_disk(move |folder| folder.read(&path, limit)).await.map(Compared::Read);
        }
        let known = self.lend_text().ok_or(HubError::Closed)?;
        let compared = self.hub.on_disk(move |folder| folder.read_against(&path, limit, &known)).await;
        self.take_text_back();
        compared
    }

    /// The catalogue wants a file and we have none: take up one that is there already, or write one.
    pub(super) async fn adopt(&mut self, wanted: Wanted) -> Result<(), HubError> {
        let Some(document) = self.document() else { return Err(HubError::Closed) };
        let unions = self.hub.unions_of(self.id);
        if unions.iter().any(|(loser, at)| document.local(at).is_err() || self.hub.has_file(*loser)) {
            // Another document was joined into this one, and the union is still on its way: entered before it
            // came, the text of the other's file would be there twice.
            self.hub.visit(unions.into_iter().map(|(loser, _)| loser));
            self.file.write_at = self.hub.uptime() + ARRIVAL_RETRY;
            self.file.visited = true;
            return Ok(());
        }
        let inherited = self.hub.take_inherited(self.id);
        if let Some(Inherited { on_disk, held, displaced }) =
            inherited.filter(|file| file.on_disk.path == wanted.path)
        {
            // All of it is in the other document's events, which are carried over: it is to be replaced. But somebody
            // may have it open.
            let version = document.version().clone();
            let mut records = Vec::new();
            for (text, bytes) in held {
                let hash = ContentHash::of(&bytes);
                self.file.candidates.push(Candidate::joined(version.clone(), hash, text));
                records.push(Record::Content { hash: *hash.as_bytes(), bytes });
            }
            let ours = |displaced: Displaced| Displaced { version: version.clone(), ..displaced };
            self.file.displaced.extend(displaced.into_iter().map(ours));
            self.set_on_disk(on_disk.path, on_disk.hash, version, on_disk.stat);
            self.file.rewrite = true;
            records.extend(self.file_record());
            return self.commit(records).await;
        }
        let nothing_yet = document.events() == 0 && wanted.kind == Kind::Text;
        if self.lacks_history() || nothing_yet && self.hub.awaits_peer() {
            // What is in the file may be in the history that is still to come: entered before, it would be there twice.
            self.file.write_at = self.hub.uptime() + ARRIVAL_RETRY;
            self.file.visited = true;
            return Ok(());
        }
        self.look(Some(wanted)).await?;
        if self.file.on_disk.is_none()
            && self.file.missing_since.is_some()
            && self.document().is_some_and(|document| document.events() == 0)
        {
            // A document whose events are still on their way: do not show an empty file for a moment.
            let (now, since) = (self.hub.uptime(), self.file.missing_since.unwrap_or_default());
            self.file.write_at = self.file.write_at.max((since + ARRIVAL_RETRY).max(now));
            self.file.visited = true;
        }
        Ok(())
    }

    /// A program that never closes its file (a log) is heard all the same: what it has appended is entered.
    /// Anything else that it is writing may be half of it, and waits for the close.
    async fn enter_growth(&mut self, path: RelPath, wanted: Option<Wanted>) -> Result<(), HubError> {
        let read = path.clone();
        let held = self.hub.on_disk(move |folder| folder.read_open(&read, MAX_DOCUMENT_BYTES as u64)).await?;
        let (Some((bytes, stat)), Some(on_disk)) = (held, &self.file.on_disk) else { return Ok(()) };
        let hash = ContentHash::of(&bytes);
        let newest = self.file.candidates.newest().filter(|newest| newest.hash == on_disk.hash);
        let (Decoded::Text { text, form }, Some(newest), Some(document)) =
            (syncline_disk::decode(bytes), newest, self.document())
        else {
            return Ok(());
        };
        let grew = match newest.text() {
            Some(before) => text.starts_with(before.as_str()),
            None => text.starts_with(&document.string_at(&newest.version)),
        };
        if hash == on_disk.hash || !grew {
            return Ok(());
        }
        let entered = self
            .enter(FoundFile { path, form, hash, stat, wanted }, SavedText::Whole(text.into()), None)
            .await;
        // Its holder may be writing.
        self.file.seen = None;
        entered
    }

    pub(super) async fn revive(&mut self) -> Result<(), HubError> {
        let path = {
            let catalogue = self.hub.catalogue();
            let entry = catalogue.get(&self.id).filter(|entry| !entry.is_alive());
            let path = entry.and_then(|entry| entry.path().cloned());
            path.and_then(|path| RelPath::parse(&path).ok())
        };
        let Some(path) = path else { return Ok(()) };
        let read = path.clone();
        let reading = self.hub.on_disk(move |folder| folder.read(&read, MAX_DOCUMENT_BYTES as u64)).await?;
        let mut fields = vec![(self.id, Field::Life(syncline_engine::catalogue::Life::Alive))];
        match reading {
            Reading::Stable { bytes, stat, .. } => {
                let hash = ContentHash::of(&bytes);
                if self.file.on_disk.as_ref().is_some_and(|at| at.path == path && at.hash == hash) {
                    // Our own file, not removed yet: that follows.
                    return Ok(());
                }
                fields.push((self.id, Field::Mode(stat.mode & 0o777)));
                match syncline_disk::decode(bytes) {
                    Decoded::Text { text, form } => {
                        let Some(document) = self.document() else { return Err(HubError::Closed) };
                        let base = document.version().clone();
                        self.enter(
                            FoundFile { path, form, hash, stat, wanted: None },
                            SavedText::Whole(text.into()),
                            Some(base),
                        )
                        .await?;
                        let form = Form { bom: form.bom, crlf: form.endings == LineEndings::CrLf };
                        fields.push((self.id, Field::Kind(Kind::Text)));
                        fields.push((self.id, Field::Form(form)));
                    }
                    Decoded::Opaque(bytes) => {
                        return self.revive_opaque(path, bytes, stat, Kind::Opaque, fields).await;
                    }
                }
            }
            Reading::Link { target, stat } => {
                return self.revive_opaque(path, target.into_bytes(), stat, Kind::Link, fields).await;
            }
            // It went again, or is being written: its next event brings us back here.
            _ => {
                self.hub.tell_folder(FolderCommand::LookAt { path }).await;
                return Ok(());
            }
        }
        self.hub.write_catalogue(fields, Vec::new()).await
    }

    pub(super) async fn revive_opaque(
        &mut self,
        path: RelPath,
        bytes: Vec<u8>,
        stat: FileStat,
        kind: Kind,
        fields: Vec<(syncline_engine::catalogue::DocId, Field)>,
    ) -> Result<(), HubError> {
        self.file.on_disk = None;
        self.found_opaque(path, bytes, stat, kind).await?;
        self.hub.write_catalogue(fields, Vec::new()).await
    }
}
