//! Looking at the file, and what was found there.

use std::sync::Arc;
use syncline_disk::planted::{Planted, planted};
use syncline_disk::{
    Compared, ContentHash, Decoded, FileStat, LineEndings, Reading, RelPath, Splice, TextForm,
};
use syncline_engine::catalogue::{Content, Field, Form, Kind};
use syncline_engine::{Document, Version, Window, diff, diff_text};
use syncline_protocol::limits::MAX_DOCUMENT_BYTES;
use syncline_store::Record;

use super::enter::{FoundFile, SavedText};
use super::session::*;
use super::torn::{torn_base, whole_part};
use super::*;
use crate::document::DocumentTask;
use crate::document::lent::is_lent;
use crate::error::HubError;
use crate::event::HubEvent;
use crate::folder::FolderCommand;
use crate::mirror::{Candidate, Maker};

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
                if self.hub.0.rebooted && self.file.on_disk.is_some() && self.hub.is_startup(self.id) =>
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
                let was_fresh = self.hub.take_startup(self.id);
                let found = self.found(path, bytes, stat, wanted, was_fresh).await;
                if found.is_err() && was_fresh {
                    self.hub.put_startup(self.id);
                }
                found
            }
            Reading::Link { target, stat } => {
                self.found_opaque(path, target.into_bytes(), stat, Kind::Link).await
            }
            Reading::NotAFile { stat } => {
                let what =
                    format!("a {:?} stands where a document's file should be", stat.kind).to_lowercase();
                self.hub.tell(HubEvent::Trouble { path: path.to_string(), what });
                self.file.write_at = now + RETRY;
                Ok(())
            }
            Reading::TooLarge { limit, .. } => {
                let what = format!("longer than {limit} bytes: not synchronised, left as it is");
                self.hub.tell(HubEvent::Trouble { path: path.to_string(), what });
                self.file.write_at = now + RETRY * 30;
                Ok(())
            }
        }
    }

    /// Reads a file. A large one that held just the document's text is compared with that.
    async fn read_file(&mut self, path: RelPath) -> Result<Compared, HubError> {
        let limit = MAX_DOCUMENT_BYTES as u64;
        let shows = |document: &Document| {
            let (on_disk, encoded) = (self.file.on_disk.as_ref()?, self.file.encoded.as_ref()?);
            let (version, form, hash) = encoded;
            let same = on_disk.hash == *hash && on_disk.version == *version && version == document.version();
            Some(same && is_lent(document, *form) && !self.hub.is_startup(self.id))
        };
        if !self.document().and_then(shows).unwrap_or(false) {
            return self.hub.on_disk(move |folder| folder.read(&path, limit)).await.map(Compared::Read);
        }
        let known = self.lend_text().ok_or(HubError::Closed)?;
        let compared = self.hub.on_disk(move |folder| folder.read_against(&path, limit, &known)).await;
        self.take_text_back();
        compared
    }

    /// A large file that stood still was read, and is little else than the document's text, which it held.
    async fn found_splice(
        &mut self,
        path: RelPath,
        splice: Splice,
        hash: ContentHash,
        stat: FileStat,
        wanted: Option<Wanted>,
    ) -> Result<(), HubError> {
        if self.file.on_disk.as_ref().is_some_and(|on_disk| on_disk.hash == hash) {
            return self.found_unchanged(stat, wanted).await;
        }
        if self.is_held_as_shrunk(hash, &stat) {
            return Ok(());
        }
        let Some(document) = self.document() else { return Err(HubError::Closed) };
        let is_text = wanted.as_ref().is_none_or(|wanted| wanted.kind == Kind::Text);
        let window = Window::new(document.text(), splice.start, &splice.bytes, splice.tail);
        // No mark, no other line ends, no NUL: the text is in the same form as before.
        let other_form = |window: &Window| {
            window.text().contains(['\r', '\0'])
                || window.is_at_start() && window.text().starts_with('\u{feff}')
        };
        match window.filter(|window| !other_form(window)) {
            Some(window) if is_text => {
                let form = TextForm::PLAIN;
                self.enter(FoundFile { path, form, hash, stat, wanted }, SavedText::Window(window), None)
                    .await
            }
            _ => {
                let held = document.text().to_one_string().into_bytes();
                let tail = held.len().saturating_sub(splice.tail);
                let (start, tail) = (held.get(..splice.start), held.get(tail..));
                let bytes = [start.unwrap_or_default(), &splice.bytes, tail.unwrap_or_default()].concat();
                self.found_text(path, bytes, hash, stat, wanted).await
            }
        }
    }

    /// Our own write, or a save without a change.
    async fn found_unchanged(&mut self, stat: FileStat, wanted: Option<Wanted>) -> Result<(), HubError> {
        let Some(on_disk) = &mut self.file.on_disk else { return Ok(()) };
        let mode_changed = on_disk.stat.mode != stat.mode;
        if on_disk.stat != stat {
            on_disk.stat = stat;
            self.file.dirty = true;
            self.hub.note_inode(self.id, &stat);
        }
        (self.file.shrunk, self.file.removed, self.file.seen) = (None, false, Some(stat));
        if mode_changed && wanted.is_some() {
            return self
                .hub
                .write_catalogue(vec![(self.id, Field::Mode(stat.mode & 0o777))], Vec::new())
                .await;
        }
        Ok(())
    }

    /// Whether a file that became much shorter is not believed yet: it is looked at again.
    fn is_held_as_shrunk(&mut self, hash: ContentHash, stat: &FileStat) -> bool {
        let now = self.hub.uptime();
        let before = self.file.on_disk.as_ref().map_or(0, |on_disk| on_disk.stat.len);
        if before > 32 && stat.len < before / 3 {
            let held_since = match self.file.shrunk {
                Some((held, since)) if held == hash => since,
                _ => now,
            };
            self.file.shrunk = Some((hash, held_since));
            if now < held_since + SHRUNK_HOLD {
                self.file.look_at = Some(held_since + SHRUNK_HOLD);
                return true;
            }
        }
        self.file.shrunk = None;
        false
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
        if let Some(inherited) = self.hub.take_inherited(self.id).filter(|file| file.path == wanted.path) {
            // All of it is in the other document's events, which are carried over: it is to be replaced.
            let version = document.version().clone();
            self.set_on_disk(inherited.path, inherited.hash, version, inherited.stat);
            self.file.rewrite = true;
            return Ok(());
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

    /// A file that stood still was read.
    pub(super) async fn found(
        &mut self,
        path: RelPath,
        bytes: Vec<u8>,
        stat: FileStat,
        wanted: Option<Wanted>,
        was_fresh: bool,
    ) -> Result<(), HubError> {
        let hash = ContentHash::of(&bytes);
        let now = self.hub.uptime();
        if self.file.on_disk.as_ref().is_some_and(|on_disk| on_disk.hash == hash) {
            return self.found_unchanged(stat, wanted).await;
        }
        if !was_fresh && self.is_held_as_shrunk(hash, &stat) {
            return Ok(());
        }
        self.file.shrunk = None;
        if was_fresh {
            if planted(Planted::UnreadAtStart)
                && let Some(on_disk) = &mut self.file.on_disk
            {
                (on_disk.hash, on_disk.stat) = (hash, stat);
                return Ok(());
            }
            // At the start the file may hold any version we know of: that is no edit (docs/decisions/0004).
            if let Some(known) = self.known_version(hash, wanted.as_ref()) {
                if self.file.found_first.take().is_some() {
                    self.file.write_at = now;
                }
                self.set_on_disk(path, hash, known, stat);
                return Ok(());
            }
            if self.hub.awaits_peer() {
                // It may be a peer's text, of which this journal, restored from a backup, knows nothing.
                self.hub.put_startup(self.id);
                self.file.found_first.get_or_insert(hash);
                self.file.look_at = Some(now + AWAIT_PEER);
                self.file.write_at = self.file.write_at.max(now + AWAIT_PEER);
                return Ok(());
            }
            if self.hub.had_peer() {
                self.heard_peer(&bytes, wanted.as_ref());
            }
        }
        let kind = wanted.as_ref().map_or(Kind::Text, |wanted| wanted.kind);
        if was_fresh && self.hub.0.rebooted && !self.file.candidates.all().is_empty() {
            return self.found_after_power_cut(path, bytes, stat, wanted, kind).await;
        }
        self.found_text(path, bytes, hash, stat, wanted).await
    }

    /// What somebody saved is entered, as text if it is text.
    async fn found_text(
        &mut self,
        path: RelPath,
        bytes: Vec<u8>,
        hash: ContentHash,
        stat: FileStat,
        wanted: Option<Wanted>,
    ) -> Result<(), HubError> {
        let kind = wanted.as_ref().map_or(Kind::Text, |wanted| wanted.kind);
        match syncline_disk::decode(bytes) {
            Decoded::Text { text, form } if kind == Kind::Text => {
                self.enter(FoundFile { path, form, hash, stat, wanted }, SavedText::Whole(text.into()), None)
                    .await
            }
            Decoded::Text { text, form } => {
                // Opaque to text: the text history goes on by diff.
                let fields = vec![(self.id, Field::Kind(Kind::Text))];
                self.enter(FoundFile { path, form, hash, stat, wanted }, SavedText::Whole(text.into()), None)
                    .await?;
                self.hub.write_catalogue(fields, Vec::new()).await
            }
            Decoded::Opaque(bytes) => self.found_opaque(path, bytes, stat, Kind::Opaque).await,
        }
    }

    /// A file differs from all that was known of it at the start, and a peer's history may have come since (or did not
    /// come in time). The text that it led to may have been in the file, and somebody may have saved over it: then it is
    /// a base of that save. It was, if the file held it when it was first looked at, or holds all of it now.
    fn heard_peer(&mut self, bytes: &[u8], wanted: Option<&Wanted>) {
        let first = self.file.found_first.take();
        if first.is_some() {
            self.file.write_at = self.hub.uptime();
        }
        let (Some(document), Some(wanted)) = (self.document(), wanted) else { return };
        let hash = hash_of(document, wanted.form);
        let kept = || match syncline_disk::decode(bytes.to_vec()) {
            Decoded::Text { text, .. } => {
                diff_text(document.text(), &text).iter().all(|edit| edit.range.is_empty())
            }
            Decoded::Opaque(_) => false,
        };
        if wanted.kind == Kind::Text && (Some(hash) == first || kept()) {
            let version = document.version().clone();
            self.file.candidates.push(Candidate::stored(version, hash, Maker::Us));
        }
    }

    /// A file that changed shortly before, or while, the machine went down: what is missing at its end is not
    /// believed. The bytes are kept as they were found.
    async fn found_after_power_cut(
        &mut self,
        path: RelPath,
        bytes: Vec<u8>,
        stat: FileStat,
        wanted: Option<Wanted>,
        kind: Kind,
    ) -> Result<(), HubError> {
        let hash = ContentHash::of(&bytes);
        self.hub.keep_content(bytes.clone().into()).await?;
        if kind != Kind::Text {
            let whole = match self.stored_content() {
                Some(stored) => self.hub.content(stored).await?,
                None => None,
            };
            if whole.is_some_and(|whole| whole.starts_with(&bytes)) {
                let Some(document) = self.document() else { return Err(HubError::Closed) };
                let version = document.version().clone();
                self.set_on_disk(path, hash, version, stat);
                self.file.rewrite = true;
                return Ok(());
            }
            return self.found_opaque(path, bytes, stat, kind).await;
        }
        let Some(document) = self.document() else { return Err(HubError::Closed) };
        let ended = document.text().chunks().last().is_none_or(|end| end.ends_with('\n'));
        let whole = whole_part(&bytes, ended);
        let Decoded::Text { text, form } = syncline_disk::decode(whole.as_bytes().to_vec()) else {
            return Ok(());
        };
        let candidates = self.file.candidates.clone();
        let text_of = |candidate: &Candidate| match candidate.text() {
            Some(text) => text.clone(),
            None => document.string_at(&candidate.version).into(),
        };
        let mut versions: Vec<(Version, Arc<String>)> =
            candidates.all().iter().map(|each| (each.version.clone(), text_of(each))).collect();
        versions.push((document.version().clone(), document.text().to_one_string().into()));
        let texts = versions.iter().enumerate().map(|(index, (_, text))| (index, text.as_str()));
        let Some((index, edits)) = torn_base(texts, &text) else { return Err(HubError::Closed) };
        let (version, before) = &versions[index];
        if whole.len() == bytes.len() && edits == diff(before, &text) {
            // Nothing is missing: a save like any other.
            return self
                .enter(FoundFile { path, form, hash, stat, wanted }, SavedText::Whole(text.into()), None)
                .await;
        }
        let (hub, meta) = (self.hub.clone(), self.hub.file_meta());
        let version = match edits.is_empty() {
            true => version.clone(),
            false => self.load().await?.enter_save(&hub, version, &edits, &meta)?,
        };
        self.set_on_disk(path.clone(), hash, version, stat);
        self.file.rewrite = true;
        let what = "found after the machine was started anew: what is missing at its end is not believed";
        let mut records =
            vec![Record::Decision { doc: self.id, time_ms: meta.time_ms, what: what.to_owned() }];
        records.extend(self.file_record());
        self.commit(records).await?;
        self.hub.tell(HubEvent::Saved { path: path.to_string(), why: what.to_owned(), changes: edits.len() });
        Ok(())
    }

    pub(super) fn known_version(&self, hash: ContentHash, wanted: Option<&Wanted>) -> Option<Version> {
        let candidate = self.file.candidates.all().iter().rev().find(|candidate| candidate.hash == hash);
        if let Some(candidate) = candidate {
            return Some(candidate.version.clone());
        }
        let (document, wanted) = (self.document()?, wanted?);
        (wanted.kind == Kind::Text && hash_of(document, wanted.form) == hash)
            .then(|| document.version().clone())
    }

    /// A file (or link) that is not text: its content is a register, the newest counts, old ones are kept.
    pub(super) async fn found_opaque(
        &mut self,
        path: RelPath,
        bytes: Vec<u8>,
        stat: FileStat,
        kind: Kind,
    ) -> Result<(), HubError> {
        let hash = ContentHash::of(&bytes);
        if self.file.on_disk.as_ref().is_some_and(|on_disk| on_disk.hash == hash) {
            return Ok(());
        }
        let stored = self.stored_content();
        // A dead entry's content is what was deleted, not a peer's file beside this one.
        let alive = self.hub.catalogue().get(&self.id).is_some_and(|entry| entry.is_alive());
        let before = self.file.on_disk.clone();
        let joining = alive && before.is_none() && stored.is_some_and(|stored| stored != *hash.as_bytes());
        let Some(document) = self.document() else { return Err(HubError::Closed) };
        let version = document.version().clone();
        self.file.removed = false;
        self.set_on_disk(path.clone(), hash, version, stat);
        let content = Content { hash: *hash.as_bytes(), len: bytes.len() as u64 };
        let mut records = vec![Record::Content { hash: content.hash, bytes }];
        if joining {
            // Found beside a peer's: theirs counts, this one is kept in the journal.
            self.file.rewrite = true;
            records.extend(self.file_record());
            return self.commit(records).await;
        }
        records.extend(self.file_record());
        let fields = vec![
            (self.id, Field::Kind(kind)),
            (self.id, Field::Content(content)),
            (self.id, Field::Mode(stat.mode & 0o777)),
        ];
        if let Err(error) = self.hub.write_catalogue(fields, records).await {
            // Not recorded, so not known: otherwise the old content would be written over it.
            self.file.on_disk = before;
            self.file.look_at = Some(self.hub.uptime());
            return Err(error);
        }
        self.hub.tell(HubEvent::Saved {
            path: path.to_string(),
            why: "a file that is not text: the newest counts".to_owned(),
            changes: 1,
        });
        Ok(())
    }

    pub(super) fn stored_content(&self) -> Option<[u8; 32]> {
        self.hub.catalogue().get(&self.id).and_then(|entry| entry.content().map(|content| content.hash))
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
