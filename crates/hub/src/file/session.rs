//! The state of a file session, and what is to be done next: decided here, carried out by the others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use syncline_disk::{ContentHash, DisplacedId, FileStat, RelPath, What};
use syncline_engine::catalogue::{Form, Kind};
use syncline_engine::varint::DecodeError;
use syncline_engine::{Document, Version};
use tokio::time::Instant;

use super::hash_of;
use crate::mirror::{Candidate, Candidates, Displaced, Evidence, FileState, Intent, Maker, OnDisk};
use crate::resting::Rested;

/// A file that vanished is taken for deleted (or renamed) after this: editors save by renaming, too.
pub const GRACE: Duration = Duration::from_millis(1000);
/// A file that became empty or much shorter is looked at again after this before it is believed.
pub(super) const SHRUNK_HOLD: Duration = Duration::from_millis(120);
/// A file that a writer holds open is looked at again after this (and at every event).
pub(super) const BUSY_RETRY: Duration = Duration::from_millis(25);
/// After so long of continued writing a file counts as held (docs/decisions/0004).
pub(super) const HELD_AFTER: Duration = Duration::from_secs(2);
/// After a failure that may pass (disk full, read-only), the next try.
pub(super) const RETRY: Duration = Duration::from_secs(2);
/// The time to the next try grows up to so many times that.
pub(super) const MOST_RETRIES: u32 = 8;
/// Displaced inodes are looked at again after this.
pub(super) const SETTLE_EVERY: Duration = Duration::from_millis(500);

/// The watch tells of our own exchange within this, where it tells of anything; after it, a save that raced
/// with it is judged without knowing who read what.
pub(super) const SHOWN_WITHIN: Duration = Duration::from_millis(500);
/// A document whose events are still on their way is looked at again after this.
pub(super) const ARRIVAL_RETRY: Duration = Duration::from_millis(60);
/// What was found at the start, and may be in a peer's history that is still to come, is looked at again after this.
pub(super) const AWAIT_PEER: Duration = Duration::from_secs(1);
/// How many of our own exchanges the watch may still have to tell of.
pub(super) const MAX_UNSHOWN: usize = 32;

/// A write of ours that the watch has not told of yet: whoever is seen to open the file read the version
/// before.
#[derive(Clone, Debug)]
pub(super) struct Unshown {
    pub(super) temporary: String,
    pub(super) before: Option<ContentHash>,
    pub(super) after: ContentHash,
    /// When it was done.
    pub(super) at: Duration,
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
    pub(crate) candidates: Candidates,
    pub(super) displaced: Vec<Displaced>,
    pub(super) unshown: VecDeque<Unshown>,
    /// A change was hinted at by something that happened before our last exchange, which looked at what it
    /// replaced: there is nothing to see, and looking would count as reading what we wrote.
    pub(super) seen_by_exchange: bool,
    /// Somebody opened the file, and neither read nor wrote it yet, as far as the watch has told.
    pub(super) opened: bool,
    /// Where our last write was to be, if nothing else is known of the file since the start.
    pub(super) intended: Option<RelPath>,
    /// Where the save was that was under way when the hub before this one ended.
    pub(super) interrupted_at: Option<RelPath>,
    /// Which of the hub's losses of events the evidence takes account of.
    pub(super) losses: u64,
    /// When to look at the file next; `None`: nothing hints at a change.
    pub(super) look_at: Option<Duration>,
    /// How often in a row it could not be brought in step.
    pub(super) failures: u32,
    /// The file must be written though the document's version did not change.
    pub(super) rewrite: bool,
    /// What was found at the start, and held back until a peer was heard.
    pub(super) found_first: Option<ContentHash>,
    pub(super) missing_since: Option<Duration>,
    /// The folder's task was told that the file vanished, and has not decided yet.
    pub(super) reported: bool,
    pub(super) shrunk: Option<(ContentHash, Duration)>,
    pub(super) busy_since: Option<Duration>,
    /// Not before this: a failure, a writer, or the pace of writing.
    pub(super) write_at: Duration,
    /// The file's stat when its bytes were last known to be `on_disk`'s: read with nobody writing, or written by
    /// us. Not one taken after a change of mode or name, which would hide a save made before it.
    pub(super) seen: Option<FileStat>,
    /// The file was removed since the last save: the next was not written over it.
    pub(super) removed: bool,
    /// The bytes of a save that was taken for an unchanged old buffer: a second time they are meant.
    pub(super) refused: Option<ContentHash>,
    pub(super) settle_at: Duration,
    /// Displaced files that may hold a save which raced with ours. They are settled before the file is looked
    /// at or written again: the next save may be built on that one, whose text would be entered twice.
    pub(super) settle_first: Vec<DisplacedId>,
    /// The state in the journal is older than this one.
    pub(super) dirty: bool,
    /// The catalogue may want something else than before.
    pub(super) visited: bool,
    /// See [`FileSession::revive`].
    pub(super) reviving: bool,
    /// Version and hash of the text last encoded, so that an unchanged document is not encoded again.
    pub(super) encoded: Option<(Version, Form, ContentHash)>,
    /// The text that is being written, until it becomes a candidate.
    pub(super) text: Option<(Version, Arc<String>)>,
}

/// What to do next about a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
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
        // After a failure the file is looked at before it is written again: the state may be older than what it holds.
        let write_at = self.write_at;
        *self = FileSession { visited, reviving, look_at, write_at, ..FileSession::default() };
        if let Some(state) = state {
            let state = FileState::decode(state, document)?;
            (self.on_disk, self.rewrite) = (state.on_disk, state.rewrite);
            self.candidates = Candidates::stored(state.candidates);
            self.displaced = state.displaced;
        }
        if let Some(intent) = intent {
            // A save may have happened or not: the file's bytes will tell (docs/decisions/0004).
            let intent = Intent::decode(intent, document)?;
            let (version, hash) = intent.new;
            if let Some(id) = DisplacedId::of_temporary(&intent.temporary) {
                let (version, hash) = intent.old.clone().unwrap_or((Version::root(), ContentHash::of(b"")));
                self.displaced.push(Displaced { id, version, hash });
            }
            // The state may be older than the version that was to be replaced.
            if let Some((version, hash)) = intent.old.filter(|(_, hash)| !self.candidates.has(*hash)) {
                self.candidates.push(Candidate::stored(version, hash, Maker::Us));
            }
            self.candidates.push(Candidate::stored(version, hash, Maker::Us));
            self.interrupted_at = Some(intent.path.clone());
            if self.on_disk.is_none() {
                self.intended = Some(intent.path);
            }
            self.look_at.get_or_insert(Duration::ZERO);
        }
        self.settle_first = self.displaced.iter().map(|displaced| displaced.id.clone()).collect();
        Ok(())
    }

    /// What is to be known of the file's readers while the document is not in memory.
    pub fn rested(&self) -> Rested {
        Rested {
            evidence: self.candidates.evidence(),
            newest_is_ours: self.candidates.newest().is_some_and(|newest| newest.maker == Maker::Us),
            opened: self.opened,
            losses: self.losses,
        }
    }

    /// What became known meanwhile.
    pub fn recall(&mut self, rested: &Rested) {
        self.candidates.recall(&rested.evidence);
        (self.opened, self.losses) = (rested.opened, rested.losses);
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
    pub(super) fn expect_no_longer(&mut self, now: Duration) {
        while self.unshown.front().is_some_and(|unshown| now >= unshown.at + SHOWN_WITHIN) {
            self.unshown.pop_front();
        }
        if self.unshown.is_empty() && std::mem::take(&mut self.seen_by_exchange) {
            self.look_at = Some(now);
        }
    }

    /// Somebody looked at the version that the watch has told of last.
    pub(super) fn note(&mut self, evidence: Evidence) {
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

    /// What was found at the start is no longer held back until a peer is heard; gives it. The file may be written.
    pub(super) fn stop_awaiting(&mut self, now: Duration) -> Option<ContentHash> {
        let first = self.found_first.take()?;
        self.write_at = now;
        Some(first)
    }

    /// The document lives again: if its file is missing, that was the deletion that lost, if it was made here. Deleted
    /// elsewhere, and missing here, it may have been renamed: that is found out first.
    pub fn reappear(&mut self, deleted_here: bool) {
        let Some(since) = self.missing_since else { return };
        if self.on_disk.is_none() || deleted_here {
            self.recreate();
        } else {
            // The folder may have been told before, of a document that did not live.
            self.reported = false;
            self.look_at.get_or_insert(since + GRACE);
        }
    }

    /// When the session must be called again, if nothing happens before.
    pub fn wake_at(&self, started: Instant, now: Duration) -> Option<Instant> {
        if !self.settle_first.is_empty() {
            // Nothing else is done before.
            return Some(started + self.settle_at);
        }
        let settle = (!self.displaced.is_empty()).then_some(self.settle_at);
        // Only kept while something waits for its time; what waits for a decision is woken by that.
        let write = self.visited.then_some(self.write_at.max(now));
        let doubted = self.unshown.front().map(|unshown| unshown.at + SHOWN_WITHIN);
        [self.look_at, settle, write, doubted].into_iter().flatten().min().map(|at| started + at)
    }

    /// Whether the journal's state of the file is older than this one.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether something is still to be looked at: the document must not leave the memory before.
    pub fn is_waiting(&self) -> bool {
        self.look_at.is_some()
            || !self.unshown.is_empty()
            || self.visited
            || self.rewrite
            || !self.displaced.is_empty()
    }

    /// Before a save is judged: what seemed unread may have been read if events were lost since the last one
    /// (`losses`: how often that happened to the hub), or if somebody has the file open, perhaps mapped into
    /// memory.
    pub(super) fn heed_losses(&mut self, losses: u64) {
        if std::mem::replace(&mut self.losses, losses) != losses || self.opened {
            self.candidates.doubt();
        }
    }

    pub(super) fn state(&self) -> FileState {
        FileState {
            on_disk: self.on_disk.clone(),
            rewrite: self.rewrite,
            candidates: self.candidates.all().to_vec(),
            displaced: self.displaced.clone(),
        }
    }

    /// The one next thing to do. `changed`: the document (or the content wanted) is not what the file holds.
    /// `deleted_here`: it is not wanted because this hub found its file gone.
    pub(super) fn next_step(
        &self,
        wanted: Option<&Wanted>,
        changed: bool,
        deleted_here: bool,
        now: Duration,
    ) -> Step {
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
        if now >= self.settle_at && !self.displaced.is_empty() {
            return Step::Settle(0);
        }
        if self.missing_since.is_some()
            && let (Some(on_disk), Some(wanted)) = (&self.on_disk, wanted)
            && on_disk.path == wanted.path
        {
            // Missing: nothing is written until it is known whether it was deleted or renamed.
            return Step::Nothing;
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

    /// Whether the file does not hold what is wanted.
    pub(super) fn differs(&self, document: &Document, wanted: &Wanted) -> bool {
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
