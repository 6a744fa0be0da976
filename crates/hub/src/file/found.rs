//! What was found in a file that stood still: our own write, a version that is known, or what somebody saved.

use std::sync::Arc;
use syncline_disk::planted::{Planted, planted};
use syncline_disk::{ContentHash, Decoded, FileStat, RelPath, Renamed, Splice, TextForm};
use syncline_engine::catalogue::{Content, Field, Kind};
use syncline_engine::{Version, Window, diff, diff_text};
use syncline_store::Record;

use super::enter::{FoundFile, SavedText};
use super::session::*;
use super::*;
use crate::document::DocumentTask;
use crate::error::HubError;
use crate::event::HubEvent;
use crate::folder::FolderCommand;
use crate::joining::suffixed;
use crate::mirror::{Candidate, Maker, OnDisk, Pieces, carry_over, put_in, torn_base, whole_part};

impl DocumentTask {
    /// A large file that stood still was read, and is little else than the document's text, which it held.
    pub(super) async fn found_splice(
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
        // If it differed at the start, it holds again what it held.
        self.file.stop_awaiting(self.hub.uptime());
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
                self.file.stop_awaiting(now);
                self.set_on_disk(path, hash, known, stat);
                return Ok(());
            }
            if self.hub.awaits_peer() {
                // It may be a peer's text, of which this journal, restored from a backup, knows nothing.
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
        let decoded = syncline_disk::decode(bytes);
        if self.is_beside_a_peers(matches!(decoded, Decoded::Text { .. }).then_some(Kind::Text), hash) {
            return self.move_aside(path, hash).await;
        }
        match decoded {
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
        let first = self.file.stop_awaiting(self.hub.uptime());
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
    /// believed, and nothing that is missing where nobody touched it since it was last looked at. The bytes are kept
    /// as they were found.
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
        self.supply_parts().await?;
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
        let mut versions: Vec<(Version, Arc<String>, bool)> =
            candidates.all().iter().map(|each| (each.version.clone(), text_of(each), each.part)).collect();
        versions.push((document.version().clone(), document.text().to_one_string().into(), false));
        let texts = versions.iter().enumerate().map(|(index, (_, text, _))| (index, text.as_str()));
        let Some((index, mut edits)) = torn_base(texts, &text) else { return Err(HubError::Closed) };
        let (version, before, part) = &versions[index];
        // No program can set the time of a change back: an older content of the same inode is what the disk had kept.
        let untouched =
            |on_disk: &OnDisk| on_disk.stat.same_inode(&stat) && stat.ctime_ns <= on_disk.stat.ctime_ns;
        let untouched = self.file.on_disk.as_ref().is_some_and(untouched);
        if untouched {
            // The clock may have been wrong since the start: what is there and was not is entered all the same.
            edits = put_in(edits);
        } else if whole.len() == bytes.len() && edits == diff(before, &text) {
            // Nothing is missing: a save like any other.
            return self
                .enter(FoundFile { path, form, hash, stat, wanted }, SavedText::Whole(text.into()), None)
                .await;
        }
        if *part {
            edits = carry_over(&edits, &diff(before, &document.string_at(version)));
        }
        let (hub, meta) = (self.hub.clone(), self.hub.file_meta());
        let version = match edits.is_empty() {
            true => version.clone(),
            false => self.load().await?.enter_save(&hub, version, &edits, Pieces::new(), &meta)?,
        };
        if whole.len() == bytes.len() && !text.is_empty() && !edits.is_empty() {
            // Whoever has the file open has seen only what was in it, and has that from nowhere else.
            self.file.candidates.push(Candidate::joined(version.clone(), hash, text.into()));
        }
        self.set_on_disk(path.clone(), hash, version, stat);
        self.file.rewrite = true;
        let what = match untouched {
            true => {
                "found after the machine was started anew, touched by nobody: what is missing is not believed"
            }
            false => "found after the machine was started anew: what is missing at its end is not believed",
        };
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
        if self.is_beside_a_peers(Some(kind), hash) {
            return self.move_aside(path, hash).await;
        }
        let before = self.file.on_disk.clone();
        let Some(document) = self.document() else { return Err(HubError::Closed) };
        let version = document.version().clone();
        self.file.removed = false;
        self.set_on_disk(path.clone(), hash, version, stat);
        let content = Content { hash: *hash.as_bytes(), len: bytes.len() as u64 };
        let mut records = vec![Record::Content { hash: content.hash, bytes }];
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

    /// Whether a file stands where a peer's document is to be written, and the two cannot be joined by their texts.
    /// `kind`: what it is; `None`: not text.
    fn is_beside_a_peers(&self, kind: Option<Kind>, hash: ContentHash) -> bool {
        let catalogue = self.hub.catalogue();
        let Some(entry) = catalogue.get(&self.id).filter(|entry| entry.is_alive()) else { return false };
        let wanted = entry.kind().copied().unwrap_or(Kind::Text);
        let same_kind = kind.unwrap_or(Kind::Opaque) == wanted;
        let stored = entry.content().map(|content| content.hash);
        self.file.on_disk.is_none()
            && self.file.candidates.all().is_empty()
            && !(same_kind
                && (wanted == Kind::Text || stored.is_none_or(|stored| stored == *hash.as_bytes())))
    }

    /// Gives a file that stands in the place of a peer's another name, under which it is a document of its own.
    async fn move_aside(&mut self, path: RelPath, hash: ContentHash) -> Result<(), HubError> {
        let now = self.hub.uptime();
        let random = format!("{:016x}", self.hub.random_u64());
        for suffix in [hash.to_string(), random] {
            let to = RelPath::parse(&suffixed(path.as_str(), &suffix)).map_err(HubError::BadName)?;
            let (from, target) = (path.clone(), to.clone());
            match self.hub.on_disk(move |folder| folder.rename(&from, &target)).await? {
                Renamed::Done { .. } => {
                    self.file.missing_since = Some(now);
                    self.file.visited = true;
                    self.hub.tell(HubEvent::Clash { path: path.to_string(), renamed: to.to_string() });
                    self.hub.tell_folder(FolderCommand::LookAt { path: to }).await;
                    return Ok(());
                }
                Renamed::Missing => break,
                // Another file of these bytes, set aside before.
                Renamed::TargetExists { .. } => {}
            }
        }
        self.file.look_at = Some(now);
        Ok(())
    }

    pub(super) fn stored_content(&self) -> Option<[u8; 32]> {
        self.hub.catalogue().get(&self.id).and_then(|entry| entry.content().map(|content| content.hash))
    }
}
