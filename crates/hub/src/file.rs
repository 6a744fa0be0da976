//! The file session of a document: brings the file and the document in step, in both directions.
//!
//! One step at a time: look at the file if something hinted at it, enter what somebody saved, then write
//! what others changed. `next_step` decides (purely) which; the others carry it out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use syncline_disk::{
    ContentHash, Decoded, DisplacedId, Expect, FileBytes, FileStat, How, LineEndings, Reading, RelPath,
    Removed, Renamed, Save, Saved, Settled, Sync, TextForm, What, temporary_name,
};
use syncline_engine::catalogue::{Content, Entry, Field, Form, Kind, Life};
use syncline_engine::varint::DecodeError;
use syncline_engine::{Document, Version, diff};
use syncline_protocol::limits::MAX_DOCUMENT_BYTES;
use syncline_store::Record;
use tokio::time::Instant;

use crate::document::DocumentTask;
use crate::error::HubError;
use crate::event::HubEvent;
use crate::folder::FolderCommand;
use crate::mirror::{
    Base, Candidate, Candidates, Displaced, Evidence, FileState, FoundSave, Intent, Maker, OnDisk, Texts,
    Why, infer_base, union_edits,
};

/// A file that vanished is taken for deleted (or renamed) after this: editors save by renaming, too.
pub const GRACE: Duration = Duration::from_millis(1000);
/// A file that became empty or much shorter is looked at again after this before it is believed.
const SHRUNK_HOLD: Duration = Duration::from_millis(120);
/// A file that a writer holds open is looked at again after this (and at every event).
const BUSY_RETRY: Duration = Duration::from_millis(25);
/// After so long of continued writing a file counts as held (docs/decisions/0004).
const HELD_AFTER: Duration = Duration::from_secs(2);
/// After a failure that may pass (disk full, read-only), the next try.
const RETRY: Duration = Duration::from_secs(2);
/// Displaced inodes are looked at again after this.
const SETTLE_EVERY: Duration = Duration::from_millis(500);

/// The watch tells of our own exchange within this, where it tells of anything; after it, a save that raced
/// with it is judged without knowing who read what.
const SHOWN_WITHIN: Duration = Duration::from_millis(500);
/// How many of our own exchanges the watch may still have to tell of.
const MAX_UNSHOWN: usize = 32;

/// A write of ours that the watch has not told of yet: whoever is seen to open the file read the version
/// before.
#[derive(Clone, Debug)]
struct Unshown {
    temporary: String,
    before: Option<ContentHash>,
    after: ContentHash,
    /// When it was done.
    at: Duration,
}

/// What the catalogue wants at the path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Where.
    pub path: RelPath,
    /// What kind of file.
    pub kind: Kind,
    /// Permission bits.
    pub mode: Option<u32>,
    /// How text becomes bytes.
    pub form: Form,
    /// The content, if it is not text.
    pub content: Option<[u8; 32]>,
}

/// The state of a file session. Times are since the hub's start.
#[derive(Default)]
pub(crate) struct FileSession {
    pub on_disk: Option<OnDisk>,
    candidates: Candidates,
    displaced: Vec<Displaced>,
    unshown: VecDeque<Unshown>,
    /// A change was hinted at by something that happened before our last exchange, which looked at what it
    /// replaced: there is nothing to see, and looking would count as reading what we wrote.
    seen_by_exchange: bool,
    /// Somebody opened the file, and neither read nor wrote it yet, as far as the watch has told.
    opened: bool,
    /// Which of the hub's losses of events the evidence takes account of.
    losses: u64,
    /// When to look at the file next; `None`: nothing hints at a change.
    look_at: Option<Duration>,
    /// The file must be written though the document's version did not change.
    rewrite: bool,
    missing_since: Option<Duration>,
    /// The folder's task was told that the file vanished, and has not decided yet.
    reported: bool,
    shrunk: Option<(ContentHash, Duration)>,
    busy_since: Option<Duration>,
    /// Not before this: a failure, a writer, or the pace of writing.
    write_at: Duration,
    /// The file was removed since the last save: the next was not written over it.
    removed: bool,
    /// The bytes of a save that was taken for an unchanged old buffer: a second time they are meant.
    refused: Option<ContentHash>,
    settle_at: Duration,
    /// Displaced files that may hold a save which raced with ours. They are settled before the file is looked
    /// at or written again: the next save may be built on that one, whose text would be entered twice.
    settle_first: Vec<DisplacedId>,
    /// The state in the journal is older than this one.
    dirty: bool,
    /// The catalogue may want something else than before.
    visited: bool,
    /// See [`FileSession::revive`].
    reviving: bool,
    /// Version and hash of the text last encoded, so that an unchanged document is not encoded again.
    encoded: Option<(Version, Form, ContentHash)>,
    /// The text that is being written, until it becomes a candidate.
    text: Option<(Version, Arc<String>)>,
}

/// What to do next about a file.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Nothing,
    Look,
    Vanished,
    Adopt,
    Remove,
    Forget,
    Rename(RelPath),
    Mode(u32),
    Write,
    Settle(usize),
}

impl FileSession {
    /// What the journal knows of the file.
    pub fn restore(
        &mut self,
        state: Option<&[u8]>,
        intent: Option<&[u8]>,
        document: &Document,
    ) -> Result<(), DecodeError> {
        let (visited, reviving, look_at) = (self.visited, self.reviving, self.look_at);
        *self = FileSession { visited, reviving, look_at, ..FileSession::default() };
        if let Some(state) = state {
            let state = FileState::decode(state, document)?;
            self.on_disk = state.on_disk;
            self.candidates = Candidates::stored(state.candidates);
            self.displaced = state.displaced;
        }
        if let Some(intent) = intent {
            // A save may have happened or not: the file's bytes will tell (docs/decisions/0004).
            let intent = Intent::decode(intent, document)?;
            let (version, hash) = intent.new;
            if let Some(id) = DisplacedId::of_temporary(&intent.temporary) {
                let (version, hash) = intent.old.unwrap_or((Version::root(), ContentHash::of(b"")));
                self.displaced.push(Displaced { id, version, hash });
            }
            self.candidates.push(Candidate::stored(version, hash, Maker::Us));
            self.look_at.get_or_insert(Duration::ZERO);
        }
        self.settle_first = self.displaced.iter().map(|displaced| displaced.id.clone()).collect();
        Ok(())
    }

    /// After a failed commit: everything is read again from the journal and from the file.
    pub fn forget(&mut self) {
        *self = FileSession { visited: true, look_at: Some(Duration::ZERO), ..FileSession::default() };
    }

    /// Something was seen at the path.
    pub fn hint(&mut self, what: &What, now: Duration) {
        self.expect_no_longer(now);
        match what {
            // Whoever only writes (`>`, `cp`, `rsync --inplace`) opens the file too: the close will tell.
            What::Opened => self.opened = true,
            What::Accessed => self.note(Evidence::Read),
            What::ClosedNoWrite => self.note(Evidence::Opened),
            What::Exchanged { temporary } => {
                if self.opened {
                    // By somebody who has the version before, and whose close we shall not see.
                    self.note(Evidence::Read);
                }
                let told = self.unshown.iter().position(|unshown| unshown.temporary == *temporary);
                if let Some(unshown) = told.and_then(|at| self.unshown.drain(..=at).next_back()) {
                    self.candidates.mark_shown(unshown.after);
                    self.seen_by_exchange &= !self.unshown.is_empty();
                    if !self.settle_first.is_empty() {
                        // Now it is known who had read what.
                        self.settle_at = now;
                    }
                }
            }
            What::ClosedWrite | What::Modified | What::MovedTo { .. } | What::Metadata
                if !self.unshown.is_empty() =>
            {
                self.opened &= *what != What::ClosedWrite;
                self.seen_by_exchange = true;
            }
            What::Modified => {
                // A writer is at work; its close will come. If it does not, look all the same.
                self.look_at.get_or_insert(now + BUSY_RETRY);
            }
            What::ClosedWrite => (self.opened, self.look_at) = (false, Some(now)),
            What::Removed { .. } => (self.removed, self.look_at) = (true, Some(now)),
            _ => self.look_at = Some(now),
        }
    }

    /// What the watch has not told of in time it will not tell of: there may be none here.
    fn expect_no_longer(&mut self, now: Duration) {
        while self.unshown.front().is_some_and(|unshown| now >= unshown.at + SHOWN_WITHIN) {
            self.unshown.pop_front();
        }
        if self.unshown.is_empty() && std::mem::take(&mut self.seen_by_exchange) {
            self.look_at = Some(now);
        }
    }

    /// Somebody looked at the version that the watch has told of last.
    fn note(&mut self, evidence: Evidence) {
        self.opened = false;
        match self.unshown.front() {
            Some(Unshown { before: None, .. }) => {}
            unshown => self.candidates.mark(unshown.and_then(|unshown| unshown.before), evidence),
        }
    }

    /// The catalogue changed, or somebody wants the file looked at.
    pub fn visit(&mut self) {
        self.visited = true;
        self.reported = false;
    }

    /// The document was deleted and its path has a file again: what is in it is an edit of the text that
    /// was deleted.
    pub fn revive(&mut self) {
        self.reviving = true;
        self.visited = true;
    }

    /// The file vanished and is to be written again.
    pub fn recreate(&mut self) {
        self.on_disk = None;
        self.missing_since = None;
        self.reported = false;
        self.visited = true;
    }

    /// The document lives again: if its file is missing, that was the deletion that lost.
    pub fn reappear(&mut self) {
        if self.missing_since.is_some() {
            self.recreate();
        }
    }

    /// When the session must be called again, if nothing happens before.
    pub fn wake_at(&self, started: Instant, now: Duration) -> Option<Instant> {
        let settle = (!self.displaced.is_empty()).then_some(self.settle_at);
        // Only kept while something waits for its time; what waits for a decision is woken by that.
        let write = self.visited.then_some(self.write_at.max(now));
        let doubted = self.unshown.front().filter(|_| self.seen_by_exchange);
        let doubted = doubted.map(|unshown| unshown.at + SHOWN_WITHIN);
        [self.look_at, settle, write, doubted].into_iter().flatten().min().map(|at| started + at)
    }

    /// Whether something is still to be looked at: the document must not leave the memory before.
    pub fn is_waiting(&self) -> bool {
        self.look_at.is_some()
            || self.seen_by_exchange
            || self.visited
            || self.rewrite
            || !self.displaced.is_empty()
    }

    /// Events were lost since the last save was judged: what seemed unread may have been read.
    /// Or somebody has the file open, who may have mapped it into memory.
    fn heed_losses(&mut self, losses: u64) {
        if std::mem::replace(&mut self.losses, losses) != losses || self.opened {
            self.candidates.doubt();
        }
    }

    fn state(&self) -> FileState {
        FileState {
            on_disk: self.on_disk.clone(),
            candidates: self.candidates.all().to_vec(),
            displaced: self.displaced.clone(),
        }
    }

    /// The one next thing to do. `changed`: the document (or the content wanted) is not what the file holds.
    /// `deleted_here`: it is not wanted because this hub found its file gone.
    fn next_step(&self, wanted: Option<&Wanted>, changed: bool, deleted_here: bool, now: Duration) -> Step {
        if let Some(id) = self.settle_first.first() {
            let index = self.displaced.iter().position(|displaced| displaced.id == *id);
            return if now < self.settle_at { Step::Nothing } else { Step::Settle(index.unwrap_or(0)) };
        }
        if self.look_at.is_some_and(|at| at <= now) {
            if let (Some(_), Some(since)) = (&self.on_disk, self.missing_since)
                && now >= since + GRACE
                && !self.reported
            {
                return Step::Vanished;
            }
            return Step::Look;
        }
        if self.missing_since.is_some()
            && let (Some(on_disk), Some(wanted)) = (&self.on_disk, wanted)
            && on_disk.path == wanted.path
        {
            // Missing: nothing is written until it is known whether it was deleted or renamed.
            return Step::Nothing;
        }
        if now >= self.settle_at && !self.displaced.is_empty() {
            return Step::Settle(0);
        }
        if now < self.write_at {
            return Step::Nothing;
        }
        match (wanted, &self.on_disk) {
            // It vanished here, which is how it was deleted. Whatever is there now was made since, by
            // somebody (a checkout of the other branch), even if its bytes are the old ones.
            (None, Some(_)) if deleted_here => Step::Forget,
            (None, Some(_)) => Step::Remove,
            (None, None) => Step::Nothing,
            (Some(_), None) if self.missing_since.is_none() => Step::Adopt,
            (Some(_), None) => Step::Write,
            (Some(wanted), Some(on_disk)) if wanted.path != on_disk.path => Step::Rename(wanted.path.clone()),
            (Some(_), Some(_)) if self.busy_since.is_some() => Step::Nothing,
            (Some(wanted), Some(on_disk)) => match wanted.mode {
                Some(mode) if wanted.kind != Kind::Link && mode != on_disk.stat.mode & 0o777 => {
                    Step::Mode(mode)
                }
                _ if changed || self.rewrite => Step::Write,
                _ => Step::Nothing,
            },
        }
    }
}

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
                let wanted = self.wanted();
                let path = wanted.map_or_else(|| self.id.to_string(), |wanted| wanted.path.to_string());
                self.hub.tell(HubEvent::Trouble { path, what: error.to_string() });
                let later = self.hub.uptime() + RETRY;
                self.file.write_at = later;
                self.file.settle_at = later;
                if let Some(look) = &mut self.file.look_at {
                    *look = (*look).max(later);
                }
                // It may last; others' files must not wait for it.
                return true;
            }
        }
        false
    }

    /// Not while a mass deletion waits for a decision, and not before the peer's history is there.
    pub fn file_may_act(&self) -> bool {
        *self.hub.0.gate.borrow() && !self.hub.0.braked.load(Ordering::Relaxed)
    }

    /// What the catalogue wants at the path, if this document has a file here.
    fn wanted(&self) -> Option<Wanted> {
        let catalogue = self.hub.catalogue();
        let entry = catalogue.get(&self.id).filter(|entry| entry.is_alive())?;
        let path = RelPath::parse(entry.path()?).ok()?;
        // Of two documents at one path, whichever has the file here keeps it until they are joined or
        // renamed; the other waits.
        let has_file = self.file.on_disk.as_ref().is_some_and(|on_disk| on_disk.path == path);
        if catalogue.at(path.as_str()).len() > 1 && !has_file {
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

    fn was_joined(&self) -> bool {
        self.hub.catalogue().get(&self.id).is_some_and(|entry| entry.joined().is_some())
    }

    /// Whether the document was deleted by this opening of the hub: which deletes only what it found gone.
    fn was_deleted_here(&self) -> bool {
        let catalogue = self.hub.catalogue();
        let entry =
            catalogue.get(&self.id).filter(|entry| matches!(entry.life(), Some(Life::Deleted { .. })));
        entry.and_then(Entry::life_stamp).is_some_and(|stamp| stamp.agent == self.hub.agent())
    }

    async fn release(&mut self) {
        self.file.visited = false;
        self.file.look_at = None;
        if let Some(on_disk) = self.file.on_disk.take() {
            self.hub.forget_inode(self.id, &on_disk.stat);
            let _ = self.commit(vec![Record::NoFile(self.id), Record::NoIntent(self.id)]).await;
        }
    }

    async fn revive(&mut self) -> Result<(), HubError> {
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
                        self.enter(path, text.into(), form, hash, stat, None, Some(base)).await?;
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

    async fn revive_opaque(
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

    /// Looks at the file and enters what somebody saved.
    async fn look(&mut self, wanted: Option<Wanted>) -> Result<(), HubError> {
        let path = match (&self.file.on_disk, &wanted) {
            (Some(on_disk), _) => on_disk.path.clone(),
            (None, Some(wanted)) => wanted.path.clone(),
            (None, None) => {
                self.file.look_at = None;
                return Ok(());
            }
        };
        let read = path.clone();
        let now = self.hub.uptime();
        self.file.look_at = None;
        let reading = self.hub.on_disk(move |folder| folder.read(&read, MAX_DOCUMENT_BYTES as u64)).await?;
        if !matches!(reading, Reading::Missing) {
            self.file.missing_since = None;
            self.file.reported = false;
        }
        if !matches!(reading, Reading::Busy { .. }) {
            self.file.busy_since = None;
        }
        match reading {
            Reading::Missing => {
                let since = *self.file.missing_since.get_or_insert(now);
                if self.file.on_disk.is_some() && !self.file.reported {
                    self.file.look_at = Some(since + GRACE);
                }
                Ok(())
            }
            Reading::Busy { .. } => {
                let since = *self.file.busy_since.get_or_insert(now);
                let held = now >= since + HELD_AFTER;
                self.file.look_at = Some(now + if held { HELD_AFTER / 4 } else { BUSY_RETRY });
                if held {
                    self.hub.tell(HubEvent::Held { path: path.to_string() });
                    return self.patch_held(wanted).await;
                }
                Ok(())
            }
            Reading::Stable { bytes, stat, .. } => self.found(path, bytes, stat, wanted).await,
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

    /// A file that stood still was read.
    async fn found(
        &mut self,
        path: RelPath,
        bytes: Vec<u8>,
        stat: FileStat,
        wanted: Option<Wanted>,
    ) -> Result<(), HubError> {
        let hash = ContentHash::of(&bytes);
        let now = self.hub.uptime();
        let was_fresh = self.hub.take_startup(self.id);
        if let Some(on_disk) = &mut self.file.on_disk {
            if on_disk.hash == hash {
                // Our own write, or a save without a change.
                let mode_changed = on_disk.stat.mode != stat.mode;
                if on_disk.stat != stat {
                    on_disk.stat = stat;
                    self.file.dirty = true;
                    self.hub.note_inode(self.id, &stat);
                }
                self.file.shrunk = None;
                if mode_changed && wanted.is_some() {
                    return self
                        .hub
                        .write_catalogue(vec![(self.id, Field::Mode(stat.mode & 0o777))], Vec::new())
                        .await;
                }
                return Ok(());
            }
            let much_shorter = on_disk.stat.len > 32 && stat.len < on_disk.stat.len / 3;
            if much_shorter && !was_fresh {
                let held_since = match self.file.shrunk {
                    Some((held, since)) if held == hash => since,
                    _ => now,
                };
                self.file.shrunk = Some((hash, held_since));
                if now < held_since + SHRUNK_HOLD {
                    self.file.look_at = Some(held_since + SHRUNK_HOLD);
                    return Ok(());
                }
            }
        }
        self.file.shrunk = None;
        if was_fresh {
            // At the start the file may hold any version we know of: that is no edit (docs/decisions/0004).
            if let Some(known) = self.known_version(hash, wanted.as_ref()) {
                self.set_on_disk(path, hash, known, stat);
                return Ok(());
            }
        }
        let kind = wanted.as_ref().map_or(Kind::Text, |wanted| wanted.kind);
        match syncline_disk::decode(bytes) {
            Decoded::Text { text, form } if kind == Kind::Text => {
                self.enter(path, text.into(), form, hash, stat, wanted, None).await
            }
            Decoded::Text { text, form } => {
                // Opaque to text: the text history goes on by diff.
                let fields = vec![(self.id, Field::Kind(Kind::Text))];
                self.enter(path, text.into(), form, hash, stat, wanted, None).await?;
                self.hub.write_catalogue(fields, Vec::new()).await
            }
            Decoded::Opaque(bytes) => self.found_opaque(path, bytes, stat, Kind::Opaque).await,
        }
    }

    fn known_version(&self, hash: ContentHash, wanted: Option<&Wanted>) -> Option<Version> {
        let candidate = self.file.candidates.all().iter().rev().find(|candidate| candidate.hash == hash);
        if let Some(candidate) = candidate {
            return Some(candidate.version.clone());
        }
        let (document, wanted) = (self.document()?, wanted?);
        (wanted.kind == Kind::Text && hash_of(document, wanted.form) == hash)
            .then(|| document.version().clone())
    }

    fn set_on_disk(&mut self, path: RelPath, hash: ContentHash, version: Version, stat: FileStat) {
        if let Some(old) = &self.file.on_disk
            && !old.stat.same_inode(&stat)
        {
            self.hub.forget_inode(self.id, &old.stat);
        }
        self.hub.note_inode(self.id, &stat);
        self.file.on_disk = Some(OnDisk { path, hash, version, stat });
        self.file.dirty = true;
    }

    /// Enters a save: infers what its maker had seen, and records the edit there.
    #[expect(clippy::too_many_arguments, reason = "the parts of one found file")]
    async fn enter(
        &mut self,
        path: RelPath,
        text: Arc<String>,
        form: TextForm,
        hash: ContentHash,
        stat: FileStat,
        wanted: Option<Wanted>,
        known_base: Option<Version>,
    ) -> Result<(), HubError> {
        let (hub, id) = (self.hub.clone(), self.id);
        let repeated = self.file.refused == Some(hash);
        self.file.heed_losses(hub.losses());
        // git removes a file and makes it anew; others may save in the repository at the same time.
        let git = std::mem::take(&mut self.file.removed) && hub.git_at_work(&path);
        let candidates = self.file.candidates.clone();
        let known = self.file.on_disk.is_some() || !candidates.all().is_empty();
        let Some(document) = self.document() else { return Err(HubError::Closed) };
        let now_version = document.version().clone();
        let (base, version, base_text) = if let Some(version) = known_base {
            let base_text: Arc<String> = document.string_at(&version).into();
            (Base { index: 0, edit: true, why: Why::Newest }, version, base_text)
        } else if !known {
            // A file that was there before the document came: joined by text, nothing taken out.
            let ours: Arc<String> = Arc::new(document.text().to_text());
            return self.enter_union(path, ours, text, hash, stat).await;
        } else {
            match judge(candidates.all(), document, &text, repeated, git) {
                Some(judged) => judged,
                None => {
                    let base = Base { index: 0, edit: true, why: Why::Newest };
                    (base, now_version.clone(), Arc::new(document.text().to_text()))
                }
            }
        };
        let base_hash = candidates.all().get(base.index).map(|candidate| candidate.hash);
        let meta = hub.file_meta();
        let saved_version = if base.edit {
            let edits = diff(&base_text, &text);
            let loaded = self.load().await?;
            loaded.enter_save(&hub, &version, &edits, &meta)?
        } else {
            version
        };
        self.file.refused = (!base.edit).then_some(hash);
        let mut candidate = Candidate::new_hashed(saved_version.clone(), hash, Maker::Other).with_text(text);
        candidate.base = base_hash;
        if base.edit || self.file.candidates.newest().is_none_or(|newest| newest.hash != hash) {
            self.file.candidates.push(candidate);
        }
        if self.document().is_some_and(|document| *document.version() == saved_version) {
            let form = Form { bom: form.bom, crlf: form.endings == LineEndings::CrLf };
            self.file.encoded = Some((saved_version.clone(), form, hash));
        }
        self.set_on_disk(path.clone(), hash, saved_version, stat);
        self.file.rewrite |= !base.edit;
        let why = describe(base.why);
        let what = format!(
            "{why}; base {}",
            base_hash.map_or("unknown".to_owned(), |hash| hash.to_string()[..12].to_owned())
        );
        let mut records = vec![Record::Decision { doc: id, time_ms: meta.time_ms, what }];
        records.extend(self.file_record());
        self.commit(records).await?;
        hub.tell(HubEvent::Saved { path: path.to_string(), why: why.to_owned() });
        if let Some(wanted) = wanted {
            let mut fields = Vec::new();
            let form = Form { bom: form.bom, crlf: form.endings == LineEndings::CrLf };
            if form != wanted.form && self.file.on_disk.is_some() {
                fields.push((id, Field::Form(form)));
            }
            if wanted.mode != Some(stat.mode & 0o777) {
                fields.push((id, Field::Mode(stat.mode & 0o777)));
            }
            if !fields.is_empty() {
                hub.write_catalogue(fields, Vec::new()).await?;
            }
        }
        Ok(())
    }

    async fn enter_union(
        &mut self,
        path: RelPath,
        ours: Arc<String>,
        theirs: Arc<String>,
        hash: ContentHash,
        stat: FileStat,
    ) -> Result<(), HubError> {
        let (agent, meta) = (self.hub.agent(), self.hub.file_meta());
        let edits = union_edits(&ours, &theirs);
        let loaded = self.load().await?;
        let version = loaded.document.version().clone();
        let applied = loaded.document.edit_at(&version, &edits, agent, &meta);
        let version = applied.map_err(|error| HubError::BadPosition { what: error.to_string() })?.version;
        self.set_on_disk(path.clone(), hash, version, stat);
        self.file.rewrite = true;
        let what = "a file that was here before: joined by text, nothing taken out".to_owned();
        let mut records = vec![Record::Decision { doc: self.id, time_ms: meta.time_ms, what: what.clone() }];
        // The bytes as they were: the union is a text that nobody wrote, and must be reversible.
        records.push(Record::Content { hash: *hash.as_bytes(), bytes: theirs.as_bytes().to_vec() });
        records.extend(self.file_record());
        self.commit(records).await?;
        self.hub.tell(HubEvent::Saved { path: path.to_string(), why: what });
        Ok(())
    }

    /// A file (or link) that is not text: its content is a register, the newest counts, old ones are kept.
    async fn found_opaque(
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
        });
        Ok(())
    }

    fn stored_content(&self) -> Option<[u8; 32]> {
        self.hub.catalogue().get(&self.id).and_then(|entry| entry.content().map(|content| content.hash))
    }

    /// The state for the journal. It is newer than any intent, which would only confuse the next start.
    fn file_record(&mut self) -> Vec<Record> {
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
            // If this fails the journal still has the intent, from which the next start finds its way.
            let _ = self.hub.commit(records).await;
        }
    }

    async fn report_vanished(&mut self) -> Result<(), HubError> {
        self.file.reported = true;
        self.file.look_at = None;
        let Some(on_disk) = &self.file.on_disk else { return Ok(()) };
        let seen = self.document().map(|document| document.portable(&on_disk.version)).unwrap_or_default();
        let command = FolderCommand::Vanished {
            doc: self.id,
            path: on_disk.path.clone(),
            stat: on_disk.stat,
            seen,
            hash: *on_disk.hash.as_bytes(),
        };
        self.hub.tell_folder(command).await;
        Ok(())
    }

    /// The catalogue wants a file and we have none: take up one that is there already, or write one.
    async fn adopt(&mut self, wanted: Wanted) -> Result<(), HubError> {
        self.look(Some(wanted)).await?;
        if self.file.on_disk.is_none()
            && self.file.missing_since.is_some()
            && self.document().is_some_and(|document| document.events() == 0)
        {
            // A document whose events are still on their way: do not show an empty file for a moment.
            let (now, since) = (self.hub.uptime(), self.file.missing_since.unwrap_or_default());
            self.file.write_at = self.file.write_at.max((since + Duration::from_millis(60)).max(now));
            self.file.visited = true;
        }
        Ok(())
    }

    async fn remove(&mut self) -> Result<(), HubError> {
        let Some(on_disk) = self.file.on_disk.clone() else { return Ok(()) };
        let (path, temporary) = (on_disk.path.clone(), temporary_name(self.hub.random_u64()));
        let expect = match on_disk.stat.kind {
            syncline_disk::FileKind::Link => match self.hub.content(*on_disk.hash.as_bytes()).await? {
                Some(target) => Expect::Link(String::from_utf8_lossy(&target).into_owned()),
                None => Expect::File(on_disk.hash),
            },
            _ => Expect::File(on_disk.hash),
        };
        let removed = self.hub.on_disk(move |folder| folder.remove(&path, &expect, &temporary)).await?;
        let now = self.hub.uptime();
        match removed {
            Removed::Done { displaced } => self.gone(displaced, &on_disk).await,
            Removed::Busy => {
                self.file.write_at = now + BUSY_RETRY;
                self.file.visited = true;
                Ok(())
            }
            Removed::Differs(syncline_disk::Found::Missing) => self.gone(None, &on_disk).await,
            Removed::Differs(_) => {
                self.file.look_at = Some(now);
                Ok(())
            }
            Removed::Raced { displaced, .. } => {
                // Settling it enters what was saved in the last moment, which brings the document back.
                self.file.settle_first.push(displaced.clone());
                self.gone(Some(displaced), &on_disk).await
            }
        }
    }

    async fn forget_file(&mut self) -> Result<(), HubError> {
        let Some(on_disk) = self.file.on_disk.clone() else { return Ok(()) };
        self.gone(None, &on_disk).await?;
        self.hub.tell_folder(FolderCommand::LookAt { path: on_disk.path }).await;
        Ok(())
    }

    async fn gone(&mut self, displaced: Option<DisplacedId>, on_disk: &OnDisk) -> Result<(), HubError> {
        self.hub.forget_inode(self.id, &on_disk.stat);
        if let Some(id) = displaced {
            self.file.displaced.push(Displaced { id, version: on_disk.version.clone(), hash: on_disk.hash });
        }
        self.file.on_disk = None;
        self.file.missing_since = Some(self.hub.uptime());
        self.file.reported = false;
        self.hub.tell(HubEvent::Deleted { path: on_disk.path.to_string() });
        let records = if self.file.displaced.is_empty() {
            vec![Record::NoFile(self.id), Record::NoIntent(self.id)]
        } else {
            self.file_record()
        };
        self.commit(records).await
    }

    async fn rename(&mut self, to: RelPath) -> Result<(), HubError> {
        let Some(on_disk) = self.file.on_disk.clone() else { return Ok(()) };
        let (from, target) = (on_disk.path.clone(), to.clone());
        let renamed = self.hub.on_disk(move |folder| folder.rename(&from, &target)).await?;
        let now = self.hub.uptime();
        match renamed {
            Renamed::Done { stat } => {
                self.hub.tell(HubEvent::Renamed { from: on_disk.path.to_string(), to: to.to_string() });
                self.set_on_disk(to, on_disk.hash, on_disk.version, stat);
            }
            Renamed::Missing => {
                // Renamed here already (that is how the catalogue learnt of it), or gone: look there.
                self.set_on_disk(to, on_disk.hash, on_disk.version, on_disk.stat);
                self.file.missing_since = None;
                self.file.look_at = Some(now);
            }
            Renamed::TargetExists { stat } if self.hub.doc_of_inode(&stat) == Some(self.id) => {
                self.set_on_disk(to, on_disk.hash, on_disk.version, stat);
                self.file.look_at = Some(now);
            }
            Renamed::TargetExists { .. } => {
                // Something else is there: it becomes a document of its own, and the clash is resolved.
                self.file.write_at = now + RETRY / 8;
                self.file.visited = true;
                self.hub.tell_folder(FolderCommand::LookAt { path: to }).await;
            }
        }
        Ok(())
    }

    async fn set_mode(&mut self, mode: u32) -> Result<(), HubError> {
        let Some(on_disk) = &self.file.on_disk else { return Ok(()) };
        let path = on_disk.path.clone();
        let stat = self.hub.on_disk(move |folder| folder.set_mode(&path, mode)).await?;
        if let Some(on_disk) = &mut self.file.on_disk {
            on_disk.stat = stat;
            self.file.dirty = true;
        }
        Ok(())
    }

    /// Writes what the document says into the file.
    async fn write(&mut self, wanted: Wanted) -> Result<(), HubError> {
        let Some((version, bytes, hash)) = self.bytes_wanted(&wanted).await? else {
            // A content that has not come yet.
            self.file.visited = false;
            return Ok(());
        };
        self.file.rewrite = false;
        let now = self.hub.uptime();
        let old = self.file.on_disk.clone();
        if let Some(on_disk) = &mut self.file.on_disk
            && on_disk.hash == hash
        {
            on_disk.version = version;
            self.file.dirty = true;
            return Ok(());
        }
        let temporary = temporary_name(self.hub.random_u64());
        let intent = Intent {
            path: wanted.path.clone(),
            temporary: temporary.clone(),
            old: old.as_ref().map(|old| (old.version.clone(), old.hash)),
            new: (version.clone(), hash),
        };
        let Some(document) = self.document() else { return Err(HubError::Closed) };
        let intent = Record::Intent { doc: self.id, intent: intent.encode(document) };
        // The last save is known only by the intent that this one replaces: without its outcome a kill now
        // would leave a file whose bytes nobody knows, and an old text would be taken for a deletion.
        let mut records = if self.file.dirty { self.file_record() } else { Vec::new() };
        records.push(intent);
        // Everything the file is about to show must be durable first, and so must the intent.
        self.commit(records).await?;
        let expect = match &old {
            None => Expect::Absent,
            Some(old) if old.stat.kind == syncline_disk::FileKind::Link => {
                let target = self.hub.content(*old.hash.as_bytes()).await?.unwrap_or_default();
                Expect::Link(String::from_utf8_lossy(&target).into_owned())
            }
            Some(old) => Expect::File(old.hash),
        };
        let seen = old.as_ref().map(|old| old.stat);
        let began = Instant::now();
        let (path, mode, shown) = (wanted.path.clone(), wanted.mode, temporary.clone());
        let link = (wanted.kind == Kind::Link).then(|| String::from_utf8_lossy(&bytes).into_owned());
        let file_bytes = bytes.clone();
        let saved = self
            .hub
            .on_disk(move |folder| match link {
                Some(target) => folder.make_link(&path, &target, &expect, &temporary),
                None => folder.save(&Save {
                    path,
                    bytes: file_bytes,
                    expect,
                    seen,
                    mode,
                    temporary,
                    sync: Sync::Full,
                }),
            })
            .await?;
        // A large file is not written again for every keystroke: at most half of the time goes into it.
        self.file.write_at = self.hub.uptime() + began.elapsed();
        let shows = !matches!(saved, Saved::Done { how: How::InPlace, .. } | Saved::Busy | Saved::Differs(_));
        if shows {
            let before = old.as_ref().map(|old| old.hash);
            let at = self.hub.uptime();
            self.file.unshown.push_back(Unshown { temporary: shown, before, after: hash, at });
            if self.file.unshown.len() > MAX_UNSHOWN {
                self.file.unshown.pop_front();
            }
        }
        match saved {
            Saved::Done { stat, displaced, .. } => {
                self.wrote(&wanted, version, hash, stat, displaced, old.as_ref());
                self.hub.tell(HubEvent::Written { path: wanted.path.to_string() });
                Ok(())
            }
            Saved::Raced { stat, displaced, .. } => {
                // Somebody saved between our look and the exchange, or is at it: what came out may be half
                // of it. It is kept, and entered once its writer is done.
                self.file.settle_first.push(displaced.clone());
                self.wrote(&wanted, version, hash, stat, Some(displaced), old.as_ref());
                self.file.settle_at = self.hub.uptime() + SHOWN_WITHIN;
                self.file.visited = true;
                Ok(())
            }
            Saved::Busy => {
                self.file.busy_since.get_or_insert(now);
                self.file.look_at = Some(self.hub.uptime() + BUSY_RETRY);
                self.file.visited = true;
                Ok(())
            }
            Saved::Differs(_) => {
                self.file.look_at = Some(self.hub.uptime());
                self.file.missing_since = None;
                self.file.visited = true;
                Ok(())
            }
        }
    }

    /// Our bytes are in the file.
    fn wrote(
        &mut self,
        wanted: &Wanted,
        version: Version,
        hash: ContentHash,
        stat: FileStat,
        displaced: Option<DisplacedId>,
        old: Option<&OnDisk>,
    ) {
        if let (Some(id), Some(old)) = (displaced, old) {
            self.file.displaced.push(Displaced { id, version: old.version.clone(), hash: old.hash });
            self.file.settle_at = self.hub.uptime() + SETTLE_EVERY;
        }
        let mut candidate = Candidate::new_hashed(version.clone(), hash, Maker::Us);
        // Until the watch has told of our write, and where there is no watch.
        candidate.evidence = Evidence::Unknown;
        if wanted.kind == Kind::Text {
            if let Some((of, text)) = self.file.text.take()
                && of == version
            {
                candidate = candidate.with_text(text);
            }
            self.file.candidates.push(candidate);
        }
        self.file.missing_since = None;
        self.set_on_disk(wanted.path.clone(), hash, version, stat);
    }

    /// What the file should hold: the version, the bytes and their hash. `None`: a content not here yet.
    async fn bytes_wanted(
        &mut self,
        wanted: &Wanted,
    ) -> Result<Option<(Version, FileBytes, ContentHash)>, HubError> {
        let Some(document) = self.document() else { return Err(HubError::Closed) };
        let version = document.version().clone();
        if wanted.kind == Kind::Text {
            let text = Arc::new(document.text().to_text());
            let bytes: FileBytes = if wanted.form == Form::default() {
                text.clone().into()
            } else {
                encode_text(&text, wanted.form).into()
            };
            self.file.text = Some((version.clone(), text));
            let hash = ContentHash::of(&bytes);
            self.file.encoded = Some((version.clone(), wanted.form, hash));
            return Ok(Some((version, bytes, hash)));
        }
        let Some(hash) = wanted.content else { return Ok(None) };
        let bytes = self.hub.content(hash).await?;
        Ok(bytes.map(|bytes| (version, bytes.into(), ContentHash::from_bytes(hash))))
    }

    /// A program has held the file open for long: write without exchanging the file under it (docs/decisions/0004).
    async fn patch_held(&mut self, wanted: Option<Wanted>) -> Result<(), HubError> {
        let (Some(wanted), Some(on_disk)) = (wanted, self.file.on_disk.clone()) else { return Ok(()) };
        let Some((version, bytes, hash)) = self.bytes_wanted(&wanted).await? else { return Ok(()) };
        if hash == on_disk.hash || wanted.kind == Kind::Link {
            return Ok(());
        }
        let path = on_disk.path.clone();
        let patched =
            self.hub.on_disk(move |folder| folder.append_or_patch(&path, on_disk.hash, &bytes)).await?;
        if let syncline_disk::Patched::Done { stat, .. } = patched {
            self.wrote(&wanted, version, hash, stat, None, None);
        }
        Ok(())
    }

    /// Looks whether a displaced inode is quiet, and enters what was written to it since.
    async fn settle(&mut self, index: usize) -> Result<(), HubError> {
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
            Settled::Quiet { bytes, .. } => {
                let hash = ContentHash::of(&bytes);
                if hash != displaced.hash {
                    self.enter_displaced(&displaced, bytes, hash).await?;
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
    async fn settle_temporary(&mut self, displaced: &Displaced) -> Result<(), HubError> {
        let wanted = self.wanted();
        let path = self
            .file
            .on_disk
            .as_ref()
            .map(|on_disk| on_disk.path.clone())
            .or(wanted.map(|wanted| wanted.path));
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
            self.enter_displaced(displaced, bytes, hash).await?;
        }
        self.hub.on_disk(move |folder| folder.remove_temporary(&temporary, hash)).await?;
        Ok(())
    }

    /// Whether these bytes are (the beginning of) something that we were about to write.
    fn is_ours(&self, hash: ContentHash, bytes: &[u8]) -> bool {
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
    async fn enter_displaced(
        &mut self,
        displaced: &Displaced,
        bytes: Vec<u8>,
        hash: ContentHash,
    ) -> Result<(), HubError> {
        if self.file.candidates.all().iter().any(|candidate| candidate.hash == hash) {
            // Entered before a kill, or a version that the file held: nothing new.
            return Ok(());
        }
        let (hub, meta) = (self.hub.clone(), self.hub.file_meta());
        let mut records = vec![Record::Content { hash: *hash.as_bytes(), bytes: bytes.clone() }];
        let mut why = "not text: kept, the newer content counts";
        if let Decoded::Text { text, .. } = syncline_disk::decode(bytes) {
            self.file.heed_losses(self.hub.losses());
            let candidates = self.file.candidates.up_to(displaced.hash);
            let Some(document) = self.document() else { return Err(HubError::Closed) };
            let text: Arc<String> = text.into();
            let (base, version, before) =
                judge(&candidates, document, &text, false, false).unwrap_or_else(|| {
                    let base = Base { index: 0, edit: true, why: Why::Newest };
                    let before = document.string_at(&displaced.version);
                    (base, displaced.version.clone(), before.into())
                });
            why = describe(base.why);
            if base.edit {
                let edits = diff(&before, &text);
                let loaded = self.load().await?;
                let version = loaded.enter_save(&hub, &version, &edits, &meta)?;
                let mut candidate = Candidate::new_hashed(version, hash, Maker::Other).with_text(text);
                candidate.base = Some(ContentHash::of(before.as_bytes()));
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
        self.hub.tell(HubEvent::Saved { path, why: what });
        Ok(())
    }
}

/// The base of a save, its version and its text; texts that are not at hand are replayed when the decision
/// asks for them. `None` when there is no candidate.
fn judge(
    candidates: &[Candidate],
    document: &Document,
    text: &str,
    repeated: bool,
    git: bool,
) -> Option<(Base, Version, Arc<String>)> {
    let texts = Texts::new(candidates.len(), |index| match candidates[index].text() {
        Some(text) => Some(text.clone()),
        None => Some(document.string_at(&candidates[index].version).into()),
    });
    let base = infer_base(&FoundSave { candidates, texts: &texts, text, repeated, git })?;
    let (version, text) = (candidates.get(base.index)?.version.clone(), texts.get(base.index)?.clone());
    Some((base, version, text))
}

impl FileSession {
    /// Whether the file does not hold what is wanted.
    fn differs(&self, document: &Document, wanted: &Wanted) -> bool {
        let Some(on_disk) = &self.on_disk else { return true };
        match wanted.kind {
            Kind::Text if on_disk.version == *document.version() => match &self.encoded {
                Some((version, form, hash)) if version == document.version() && *form == wanted.form => {
                    *hash != on_disk.hash
                }
                _ => self.visited && hash_of(document, wanted.form) != on_disk.hash,
            },
            Kind::Text => true,
            Kind::Opaque | Kind::Link => wanted.content.is_some_and(|hash| hash != *on_disk.hash.as_bytes()),
        }
    }
}

fn encode(document: &Document, form: Form) -> Vec<u8> {
    encode_text(&document.text().to_text(), form)
}

fn encode_text(text: &str, form: Form) -> Vec<u8> {
    let endings = if form.crlf { LineEndings::CrLf } else { LineEndings::Lf };
    syncline_disk::encode(text, &TextForm { bom: form.bom, endings })
}

fn hash_of(document: &Document, form: Form) -> ContentHash {
    ContentHash::of(&encode(document, form))
}

fn describe(why: Why) -> &'static str {
    match why {
        Why::Newest => "made from what the file held",
        Why::LeastChange => "made from what the file held, others' edits included",
        Why::Stale => "made from an older version: merged with what came since",
        Why::Unchanged => "an old buffer saved unchanged: no edit, the file is written again",
        Why::Repeated => "the same old text a second time: taken as meant",
        Why::Git => "replaced by git",
        Why::Unrelated => "another file put in its place",
        Why::Blind => "replaced by a program that never read it",
    }
}
