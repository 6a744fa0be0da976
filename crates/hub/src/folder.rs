//! The folder's task: the catalogue's only writer; it hands what the watch sees to the documents, makes
//! documents of new files, and decides about files that vanished.
//!
//! It never waits for a document's task: those wait for this one.

mod ignoring;
mod kept;
mod leftovers;
mod resemblance;
mod spelling;
mod startup;
mod vanishing;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::PoisonError;
use std::time::Duration;
use syncline_disk::planted::{Planted, planted};
use syncline_disk::{
    ContentHash, Decoded, DisplacedId, FileKind, FileStat, Hint, IGNORE_FILE, LineEndings, Reading, RelPath,
    Watch, What,
};
use syncline_engine::catalogue::{Catalogue, Content, DocId, Entry, Field, Form, Kind, Life, Write};
use syncline_engine::{AgentId, Document, Edit, Heads};
use syncline_protocol::limits::MAX_DOCUMENT_BYTES;
use syncline_store::Record;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::document::{Command, SNAPSHOT_BYTES};
use crate::error::HubError;
use crate::event::HubEvent;
use crate::hub::Hub;
use crate::joining;
use crate::mirror::{
    Candidate, FileState, Held, Maker, OnDisk, displaced_of, held_in_state, place_of, target_of, temporary_of,
};
use crate::rescue;
use leftovers::Leftovers;
pub(crate) use resemblance::resembles;
use spelling::Spelling;
use startup::Missing;
pub(crate) use vanishing::Vanished;

/// A new file is taken up when nothing has happened to it for this long: temporaries are gone by then.
const NEW_FILE_AGE: Duration = Duration::from_millis(100);
/// A new file that has the inode of a document's file waits this long for that one to be missed: a rename.
const RENAME_WAIT: Duration = Duration::from_millis(3000);
/// So many renames that are under way are remembered; of more, the inode tells.
const MAX_MOVES: usize = 4_096;
/// Everything is listed and compared this often, and after lost events: what events missed heals.
const RESCAN: Duration = Duration::from_secs(300);
/// After a failure that may pass (a full disk), the next try.
const RETRY: Duration = Duration::from_secs(2);
/// New files taken up in one commit.
const CHUNK: usize = 256;

/// All that can be asked of the folder's task.
pub(crate) enum FolderCommand {
    /// Merge a peer's catalogue writes.
    Merge { writes: Vec<Write>, vector: BTreeMap<AgentId, u64>, reply: oneshot::Sender<Result<(), HubError>> },
    /// Write registers, with other records in the same commit.
    Write { fields: Vec<(DocId, Field)>, records: Vec<Record>, reply: oneshot::Sender<Result<(), HubError>> },
    /// This hub is to make one of two documents at one path from now on.
    Resolve,
    /// Say when the first scan is done.
    Scanned { reply: oneshot::Sender<Result<(), HubError>> },
    /// A document's file has been missing for the grace period.
    Vanished { doc: DocId, vanished: Vanished },
    /// Something that is no document's file may be at this path.
    LookAt { path: RelPath },
    /// What to do about a held mass deletion.
    DecideBrake { pass_on: bool, reply: oneshot::Sender<Result<usize, HubError>> },
}

pub(crate) struct FolderTask {
    hub: Hub,
    /// With what is not durable yet; the published one lags by a commit.
    catalogue: Catalogue,
    commands: mpsc::Receiver<FolderCommand>,
    /// Paths that may be new files, and when they last changed.
    new: BTreeMap<RelPath, Instant>,
    /// New files with the inode of a document's file: renames, if that one is missed. Since when.
    renames: BTreeMap<RelPath, Instant>,
    /// Documents' files that were renamed away, by the cookie that joins the two halves of a rename, and since when.
    cookies: BTreeMap<u32, (DocId, Instant)>,
    /// Where they were renamed to.
    moved: BTreeMap<RelPath, (DocId, Instant)>,
    vanished: BTreeMap<DocId, Vanished>,
    judge_at: Option<Instant>,
    scan_at: Option<Instant>,
    scanned: bool,
    /// When to look at the ignore file again.
    ignore_at: Option<Instant>,
    /// Since when it has much fewer rules than those in force.
    ignore_fewer: Option<Instant>,
    /// What the hub before this one left, once it was listed.
    leftovers: Option<Leftovers>,
    waiting_for_scan: Vec<oneshot::Sender<Result<(), HubError>>>,
    files_before: usize,
}

impl FolderTask {
    pub fn new(hub: Hub, catalogue: Catalogue, commands: mpsc::Receiver<FolderCommand>) -> FolderTask {
        FolderTask {
            hub,
            catalogue,
            commands,
            new: BTreeMap::new(),
            renames: BTreeMap::new(),
            cookies: BTreeMap::new(),
            moved: BTreeMap::new(),
            vanished: BTreeMap::new(),
            judge_at: None,
            scan_at: Some(Instant::now()),
            scanned: false,
            ignore_at: None,
            ignore_fewer: None,
            leftovers: None,
            waiting_for_scan: Vec::new(),
            files_before: 0,
        }
    }

    pub async fn run(mut self, watch: Box<dyn Watch>) {
        let weak = std::sync::Arc::downgrade(&self.hub.0);
        let mut hints = self.hub.0.workers.drain(watch, move || weak.upgrade().is_some());
        let hub = self.hub.clone();
        let mut gate = hub.0.gate.subscribe();
        let closing = hub.closed();
        tokio::pin!(closing);
        let waited = tokio::time::sleep(Duration::from_secs(30));
        tokio::pin!(waited);
        let mut gate_open = *gate.borrow();
        loop {
            let wake = self.wake_at(gate_open);
            tokio::select! {
                biased;
                () = &mut closing => return,
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command).await,
                    None => return,
                },
                batch = hints.recv() => match batch {
                    Some(batch) => self.hints(batch).await,
                    None => {
                        self.root_gone();
                        hints = never();
                    }
                },
                _ = gate.changed(), if !gate_open => {
                    gate_open = *gate.borrow_and_update();
                    self.scan_at = Some(Instant::now());
                }
                // The peer did not come: go on alone (docs/decisions/0016).
                () = &mut waited, if !gate_open => hub.peer_synced(),
                () = tokio::time::sleep_until(wake) => {}
            }
            self.due(gate_open).await;
        }
    }

    fn wake_at(&self, gate_open: bool) -> Instant {
        let far = Instant::now() + RESCAN;
        let new = self
            .new
            .values()
            .min()
            .filter(|_| gate_open)
            .map(|since| (*since + NEW_FILE_AGE).max(Instant::now()));
        let scan = self.scan_at.filter(|_| gate_open);
        let renames = self.renames.values().min().map(|since| *since + RENAME_WAIT);
        [new, renames, self.judge_at, scan, self.ignore_at.filter(|_| gate_open)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(far)
    }

    /// What the time has come for.
    async fn due(&mut self, gate_open: bool) {
        let now = Instant::now();
        if !gate_open {
            return;
        }
        if self.scan_at.is_some_and(|at| at <= now) {
            self.scan_at = Some(now + RESCAN);
            if let Err(error) = self.scan().await {
                self.hub.tell(HubEvent::Trouble { path: String::new(), what: error.to_string() });
                self.scan_at = Some(now + Duration::from_secs(5));
            }
        }
        if self.ignore_at.is_some_and(|at| at <= now) {
            self.look_at_ignore().await;
        }
        if self.judge_at.is_some_and(|at| at <= now) {
            self.judge_at = None;
            self.judge().await;
        }
        // Whose old name is still there (or has another file now) is a copy.
        let copies: Vec<RelPath> = self
            .renames
            .iter()
            .filter(|(_, since)| **since + RENAME_WAIT <= now)
            .map(|(path, _)| path.clone())
            .collect();
        for path in copies {
            if let Some(since) = self.renames.remove(&path) {
                self.new.insert(path, since);
            }
        }
        if self.new.values().any(|since| *since + NEW_FILE_AGE <= now) {
            self.take_up_new(now).await;
        }
    }

    async fn take(&mut self, command: FolderCommand) {
        match command {
            FolderCommand::Merge { writes, vector, reply } => {
                drop(reply.send(self.merge(writes, vector).await))
            }
            FolderCommand::Write { fields, records, reply } => {
                drop(reply.send(self.write(fields, records).await))
            }
            FolderCommand::Scanned { reply } if self.scanned => drop(reply.send(Ok(()))),
            FolderCommand::Scanned { reply } => self.waiting_for_scan.push(reply),
            FolderCommand::Resolve => self.resolve_all(),
            FolderCommand::Vanished { doc, .. } if self.hub.0.keeps_files => self.recreate(doc),
            FolderCommand::Vanished { doc, vanished } => self.miss(doc, vanished),
            FolderCommand::LookAt { path } => drop(self.new.insert(path, Instant::now())),
            FolderCommand::DecideBrake { pass_on, reply } => {
                drop(reply.send(self.decide_brake(pass_on).await))
            }
        }
    }

    // ---- the catalogue ----

    /// Writes registers: journal first, then for all to see.
    async fn write(&mut self, fields: Vec<(DocId, Field)>, mut records: Vec<Record>) -> Result<(), HubError> {
        let (agent, author, now_ms) = (self.hub.agent(), self.hub.0.author.clone(), self.hub.now_ms());
        let mut writes: Vec<Write> = Vec::with_capacity(fields.len());
        for (doc, field) in fields {
            records.extend(rescue::record_of(&self.catalogue, doc, &field, &author, now_ms));
            writes.push(self.catalogue.write(doc, field, agent));
        }
        records.extend(writes.iter().cloned().map(Record::Catalogue));
        self.commit(records, &writes, &BTreeMap::new()).await
    }

    async fn commit(
        &mut self,
        records: Vec<Record>,
        writes: &[Write],
        vector: &BTreeMap<AgentId, u64>,
    ) -> Result<(), HubError> {
        match self.hub.commit(records).await {
            Ok(()) => {
                self.hub.publish_catalogue(writes, vector);
                self.resolve_clashes(writes);
                Ok(())
            }
            Err(error) => {
                // What is not durable was never there.
                self.catalogue = self.hub.catalogue().clone();
                Err(error)
            }
        }
    }

    async fn merge(&mut self, writes: Vec<Write>, vector: BTreeMap<AgentId, u64>) -> Result<(), HubError> {
        let now_ms = self.hub.now_ms();
        let (mut kept, mut records): (Vec<Write>, Vec<Record>) = (Vec::new(), Vec::new());
        for write in writes {
            let displaced = rescue::record_of_peers(&self.catalogue, &write, now_ms);
            if self.catalogue.merge(&write) {
                records.extend(displaced);
                kept.push(write);
            }
        }
        self.catalogue.merge_vector(&vector);
        records.extend(kept.iter().cloned().map(Record::Catalogue));
        records.push(Record::Vector(vector.clone()));
        self.commit(records, &kept, &vector).await?;
        for write in &kept {
            if let Field::Path(path) = &write.field
                && RelPath::parse(path).is_ok_and(|path| syncline_disk::is_refused_from_network(&path))
            {
                let what = "a peer shares a file of this name, which is not written here".to_owned();
                self.hub.tell(HubEvent::Trouble { path: path.clone(), what });
            }
        }
        Ok(())
    }

    /// Two living documents at one path: the hub that others dial resolves it (docs/decisions/0008).
    fn resolve_clashes(&self, writes: &[Write]) {
        let placed = writes.iter().filter(|write| matches!(write.field, Field::Path(_) | Field::Life(_)));
        self.part_twins(placed.filter_map(|write| self.catalogue.get(&write.doc)?.path()));
        if !self.hub.resolves() {
            return;
        }
        let paths: BTreeSet<&String> =
            writes.iter().filter_map(|write| self.catalogue.get(&write.doc)?.path()).collect();
        for path in paths {
            if let [survivor, loser, ..] = self.catalogue.at(path) {
                tokio::spawn(joining::resolve(self.hub.clone(), path.clone(), *survivor, *loser));
            }
        }
        for write in writes {
            if matches!(write.field, Field::Joined(_)) {
                tokio::spawn(joining::follow(self.hub.clone(), write.doc));
            }
        }
    }

    /// Documents at these paths of which this disk can hold only one: every hub that has such a disk parts them
    /// (docs/decisions/0011).
    fn part_twins<'a>(&self, paths: impl Iterator<Item = &'a String>) {
        let paths: BTreeSet<&String> = paths.collect();
        for path in paths {
            if !self.hub.0.twins.newcomers(&self.catalogue, path).is_empty() {
                tokio::spawn(joining::part_twins(self.hub.clone(), path.clone()));
            }
        }
    }

    fn resolve_all(&self) {
        for (path, docs) in self.catalogue.paths() {
            if let [survivor, loser, ..] = docs {
                tokio::spawn(joining::resolve(self.hub.clone(), path.to_owned(), *survivor, *loser));
            }
        }
        for (doc, _) in self.catalogue.iter().filter(|(_, entry)| entry.joined().is_some()) {
            tokio::spawn(joining::follow(self.hub.clone(), *doc));
        }
    }

    // ---- hints ----

    async fn hints(&mut self, batch: Vec<Hint>) {
        for Hint { path, what } in batch {
            match (path, what) {
                (repository, What::GitActivity) => self.hub.note_git(repository),
                (_, What::RootGone) => self.root_gone(),
                (path, What::LimitReached { hint }) => {
                    self.hub.tell(HubEvent::WatchLimit { hint });
                    let _ = path;
                }
                (_, What::Rescan) if planted(Planted::IgnoredRescan) => {}
                (_, What::Rescan) => {
                    self.hub.note_loss();
                    self.scan_at = Some(Instant::now());
                }
                (Some(path), what) => self.hint(path, what).await,
                (None, _) => {}
            }
        }
    }

    async fn hint(&mut self, path: RelPath, what: What) {
        if path.as_str() == IGNORE_FILE && ignoring::may_change(&what) {
            self.look_at_ignore().await;
        }
        let is_dir = matches!(
            what,
            What::Created { dir: true }
                | What::Removed { dir: true }
                | What::MovedFrom { dir: true, .. }
                | What::MovedTo { dir: true, .. }
        );
        if is_dir {
            self.directory(path, &what).await;
            return;
        }
        self.note_move(&path, &what);
        let reading =
            matches!(what, What::Opened | What::Accessed | What::ClosedNoWrite | What::Exchanged { .. });
        let exact = self.hub.catalogue().at(path.as_str()).first().copied();
        let exact = exact.or_else(|| self.hub.renaming(&path));
        if exact.is_none() {
            if matches!(what, What::Removed { .. } | What::MovedFrom { .. }) {
                self.new.remove(&path);
            } else if what != What::Metadata && !reading && self.may_be_new(&path) {
                self.new.insert(path.clone(), Instant::now());
            }
        }
        let Some(doc) = exact.or_else(|| self.spelled_otherwise(&path)) else { return };
        if !reading {
            self.send_hint(doc, what);
            return;
        }
        // Evidence only: not worth waking a document for.
        let sent = match self.hub.running(doc) {
            Some(handle) => handle.commands.try_send(Command::Hint(what)),
            None => Err(TrySendError::Closed(Command::Hint(what))),
        };
        match sent {
            Ok(()) => {}
            Err(TrySendError::Closed(Command::Hint(what))) => self.hub.0.resting.see(doc, &what),
            Err(_) => self.hub.note_loss(),
        }
    }

    /// Remembers which document's file a rename moved, and to where: the file may be saved anew under its new name,
    /// by another inode, before it is taken up.
    fn note_move(&mut self, path: &RelPath, what: &What) {
        let now = Instant::now();
        match what {
            What::MovedFrom { cookie, dir: false } => {
                self.cookies.retain(|_, (_, since)| *since + RENAME_WAIT > now);
                self.moved.retain(|_, (_, since)| *since + RENAME_WAIT > now);
                if let Some(doc) = self.hub.catalogue().at(path.as_str()).first()
                    && self.cookies.len() < MAX_MOVES
                {
                    self.cookies.insert(*cookie, (*doc, now));
                }
            }
            What::MovedTo { cookie, dir: false } => {
                if let Some((doc, since)) = self.cookies.remove(cookie)
                    && self.moved.len() < MAX_MOVES
                {
                    self.moved.insert(path.clone(), (doc, since));
                }
            }
            _ => {}
        }
    }

    /// Never waits: a document whose mailbox is full looks at its file when it is visited.
    fn send_hint(&mut self, doc: DocId, what: What) {
        let Ok(handle) = self.hub.handle(doc) else { return };
        if handle.commands.try_send(Command::Hint(what)).is_err() {
            self.hub.forget_closed(doc);
            self.hub.visit_to_look(doc);
        }
    }

    async fn directory(&mut self, path: RelPath, what: &What) {
        match what {
            What::Removed { .. } | What::MovedFrom { .. } => {
                let below = format!("{path}/");
                let docs: Vec<DocId> = {
                    let catalogue = self.hub.catalogue();
                    catalogue.paths_under(&below).flat_map(|(_, docs)| docs.to_vec()).collect()
                };
                for doc in docs {
                    self.send_hint(doc, What::Removed { dir: false });
                }
            }
            _ => {
                // Its files follow as hints of their own; a directory moved in may have brought files that
                // no event tells of.
                if self.may_be_new(&path) {
                    self.new.insert(path, Instant::now());
                }
            }
        }
    }

    fn may_be_new(&self, path: &RelPath) -> bool {
        self.hub.0.only.as_ref().is_none_or(|only| only == path || path_above(path, only))
            && !self.ignored(path, false)
    }

    fn ignored(&self, path: &RelPath, is_dir: bool) -> bool {
        self.hub.0.ignore.read().unwrap_or_else(PoisonError::into_inner).is_ignored(path, is_dir)
    }

    // ---- scanning ----

    /// Lists the whole folder: hands changed files to their documents, takes up new ones, and has missing
    /// ones missed.
    async fn scan(&mut self) -> Result<(), HubError> {
        if !self.scanned {
            self.tell_ignore_problems();
        }
        // Its event may have been among those that were lost, or have come before there was a watch.
        self.look_at_ignore().await;
        if !self.scanned && !self.hub.probe().events {
            let file_system = self.hub.probe().file_system.clone();
            self.hub.tell(HubEvent::Polled { file_system });
        }
        // Before the intents are read: a save that begins later has its intent there before its temporary here.
        self.list_leftovers().await;
        let (states, intents) =
            self.hub.read_journal(|reader| Ok((reader.files()?, reader.intents()?))).await?;
        // Saves that were under way when the program ended: their documents find out how far they came.
        let under_way: BTreeSet<String> =
            intents.iter().filter_map(|(_, intent)| temporary_of(intent)).collect();
        if !self.scanned {
            self.hub.visit(intents.iter().map(|(doc, _)| *doc));
        }
        let intended: BTreeMap<DocId, (RelPath, ContentHash)> =
            intents.iter().filter_map(|(doc, intent)| Some((*doc, target_of(intent).ok()?))).collect();
        let mut held: BTreeMap<DocId, Held> = BTreeMap::new();
        let mut recorded: HashMap<DocId, (RelPath, FileStat)> = HashMap::with_capacity(states.len());
        for (doc, state) in &states {
            if let Ok(Some(place)) = place_of(state) {
                self.hub.note_inode(*doc, &place.1);
                recorded.insert(*doc, place);
                if let Ok(Some(of_file)) = held_in_state(state) {
                    held.insert(*doc, of_file);
                }
            }
        }
        let found = self.list_all().await?;
        let known: BTreeMap<String, DocId> = {
            let catalogue = self.hub.catalogue();
            catalogue.paths().filter_map(|(path, docs)| Some((path.to_owned(), *docs.first()?))).collect()
        };
        self.files_before = known.len();
        let mut present: BTreeSet<DocId> = BTreeSet::new();
        let mut fresh = Vec::new();
        for (path, stat) in found {
            match known.get(path.as_str()) {
                Some(doc) => {
                    present.insert(*doc);
                    let same = recorded.get(doc).is_some_and(|(at, then)| {
                        *at == path && then.same_content(&stat) && then.mode == stat.mode
                    });
                    if !same {
                        self.send_hint(*doc, What::Metadata);
                        self.hub.visit([*doc]);
                    } else if !intended.contains_key(doc) {
                        self.hub.take_startup(*doc);
                        if !self.scanned && held.get(doc).is_some_and(|held| self.is_behind(*doc, held)) {
                            // Recorded, and the hub before this one was killed before it wrote that.
                            self.hub.visit([*doc]);
                        }
                    }
                }
                None => fresh.push((path, stat)),
            }
        }
        // Never written here: its file is to be made. Otherwise it vanished while nobody looked.
        let had_file = |doc: &DocId| recorded.contains_key(doc) || intended.contains_key(doc);
        let mut missing: Vec<Missing> = Vec::new();
        for (path, doc) in known.iter().filter(|(_, doc)| !present.contains(doc)) {
            if had_file(doc) {
                let hash = intended.get(doc).map(|(_, hash)| *hash);
                let hash = hash.or(held.get(doc).map(|held| held.hash));
                let at = recorded.get(doc).map(|(at, _)| at).or(intended.get(doc).map(|(at, _)| at)).cloned();
                missing.push(Missing { doc: *doc, path: path.clone(), at, hash });
            }
            self.hub.visit([*doc]);
        }
        if !self.scanned {
            let paths: BTreeSet<RelPath> = fresh.iter().map(|(path, _)| path.clone()).collect();
            for (doc, (at, _)) in recorded.iter().filter(|(_, (at, _))| !paths.contains(at)) {
                // Deleted elsewhere; its file may have been renamed here before that was known.
                if self.catalogue.get(doc).is_some_and(|entry| !entry.is_alive() && entry.joined().is_none())
                    && !known.contains_key(at.as_str())
                {
                    let hash = held.get(doc).map(|held| held.hash);
                    missing.push(Missing { doc: *doc, path: at.to_string(), at: Some(at.clone()), hash });
                    self.hub.visit([*doc]);
                }
            }
            missing = self.find_renamed(missing, &mut fresh).await?;
            missing.retain(|missing| self.catalogue.get(&missing.doc).is_some_and(Entry::is_alive));
        }
        for Missing { doc, .. } in missing.into_iter().filter(|missing| recorded.contains_key(&missing.doc)) {
            self.send_hint(doc, What::Removed { dir: false });
        }
        let mut displaced: BTreeSet<DisplacedId> =
            under_way.iter().filter_map(|name| DisplacedId::of_temporary(name)).collect();
        displaced.extend(states.iter().filter_map(|(_, state)| displaced_of(state).ok()).flatten());
        self.tidy(&under_way, &displaced).await;
        let total = fresh.len();
        let (renamed, created): (Vec<_>, Vec<_>) = fresh.into_iter().partition(|(_, stat)| {
            self.hub.doc_of_inode(stat).is_some_and(|doc| known.values().any(|known| *known == doc))
        });
        // May be renames: wait for the old name to be missed.
        self.renames.extend(renamed.into_iter().map(|(path, _)| (path, Instant::now())));
        let paths: Vec<RelPath> = created.into_iter().map(|(path, _)| path).collect();
        for (index, chunk) in paths.chunks(CHUNK).enumerate() {
            self.hub.tell(HubEvent::Scanning { done: index * CHUNK, total });
            self.create(chunk.to_vec(), total > 1000).await?;
        }
        if total > 0 {
            self.hub.tell(HubEvent::Scanning { done: total, total });
        }
        if !self.scanned {
            let paths: Vec<String> = self.catalogue.paths().map(|(path, _)| path.to_owned()).collect();
            self.part_twins(paths.iter());
        }
        if !self.scanned && self.hub.resolves() {
            // What a kill interrupted.
            self.resolve_all();
        }
        if !self.scanned {
            self.hub.note_listed(&known.values().copied().collect());
        }
        self.keep_to_quota().await?;
        self.scanned = true;
        if self.leftovers.as_ref().is_none_or(|left| !left.is_empty()) {
            self.scan_at = Some(Instant::now() + RETRY);
        }
        self.waiting_for_scan.drain(..).for_each(|reply| drop(reply.send(Ok(()))));
        Ok(())
    }

    /// Whether a file that held this does not hold what its document says.
    fn is_behind(&self, doc: DocId, held: &Held) -> bool {
        let content =
            self.hub.catalogue().get(&doc).and_then(|entry| entry.content().map(|content| content.hash));
        held.rewrite
            || self.hub.heads_of(doc) != held.heads
            || content.is_some_and(|content| content != *held.hash.as_bytes())
    }

    async fn list_all(&self) -> Result<Vec<(RelPath, FileStat)>, HubError> {
        let hub = self.hub.clone();
        self.hub
            .on_disk(move |folder| {
                let ignore = hub.0.ignore.read().unwrap_or_else(PoisonError::into_inner);
                let mut found = Vec::new();
                let mut directories: Vec<Option<RelPath>> = vec![None];
                while let Some(directory) = directories.pop() {
                    let listing = match folder.list(directory.as_ref()) {
                        Ok(listing) => listing,
                        // It vanished since its parent was listed.
                        Err(syncline_disk::DiskError::NotFound(_)) if directory.is_some() => continue,
                        Err(error) => return Err(error),
                    };
                    for refused in listing.refused {
                        hub.tell(HubEvent::Trouble {
                            path: String::new(),
                            what: format!("not synchronised: {refused}"),
                        });
                    }
                    for entry in listing.entries {
                        let is_dir = entry.stat.kind == FileKind::Directory;
                        let only = hub.0.only.as_ref();
                        if ignore.is_ignored(&entry.path, is_dir)
                            || only.is_some_and(|only| *only != entry.path && !path_above(&entry.path, only))
                        {
                            continue;
                        }
                        match entry.stat.kind {
                            FileKind::Directory => directories.push(Some(entry.path)),
                            FileKind::File | FileKind::Link => found.push((entry.path, entry.stat)),
                            FileKind::Other => {}
                        }
                    }
                }
                Ok(found)
            })
            .await
    }

    // ---- new files ----

    async fn take_up_new(&mut self, now: Instant) {
        let due: Vec<RelPath> = self
            .new
            .iter()
            .filter(|(_, since)| **since + NEW_FILE_AGE <= now)
            .map(|(path, _)| path.clone())
            .take(CHUNK)
            .collect();
        let (mut create, mut renames) = (Vec::new(), Vec::new());
        for path in due {
            let since = self.new.remove(&path).unwrap_or(now);
            let doc = self.hub.catalogue().at(path.as_str()).first().copied();
            if let Some(doc) = doc.or_else(|| self.hub.renaming(&path)) {
                self.send_hint(doc, What::Metadata);
                continue;
            }
            let at = path.clone();
            let Ok(Some(stat)) = self.hub.on_disk(move |folder| folder.stat(&at)).await else { continue };
            if stat.kind == FileKind::Directory {
                self.list_new(path).await;
                continue;
            }
            if stat.kind == FileKind::Other || self.ignored(&path, false) {
                continue;
            }
            match self.spelling(&path, &stat).await {
                Some(Spelling::Same(doc)) => {
                    self.send_hint(doc, What::Metadata);
                    continue;
                }
                Some(Spelling::New(doc)) => {
                    self.respell(doc, &path).await;
                    continue;
                }
                None => {}
            }
            if let Some(doc) = self.renamed_from(&path, &stat).await {
                if self.vanished.contains_key(&doc) {
                    self.rename(doc, &path).await;
                    continue;
                }
                let since = self.renames.remove(&path).unwrap_or(since);
                if now < since + RENAME_WAIT {
                    // It is asked about again until the old name was missed.
                    renames.push((path, since));
                    continue;
                }
            }
            create.push(path);
        }
        self.renames.extend(renames);
        if let Err(error) = self.create(create.clone(), false).await {
            self.hub.tell(HubEvent::Trouble { path: String::new(), what: error.to_string() });
            // Nothing is created then: tried again, for no event will tell of them.
            self.new.extend(create.into_iter().map(|path| (path, Instant::now() + RETRY)));
        }
    }

    async fn list_new(&mut self, directory: RelPath) {
        let listed = directory.clone();
        let Ok(listing) = self.hub.on_disk(move |folder| folder.list(Some(&listed))).await else { return };
        for entry in listing.entries {
            if self.may_be_new(&entry.path) && self.hub.catalogue().at(entry.path.as_str()).is_empty() {
                self.new.entry(entry.path).or_insert_with(Instant::now);
            }
        }
    }

    /// The document whose file this was under another name, by the rename or by the inode.
    fn doc_before(&self, path: &RelPath, stat: &FileStat) -> Option<DocId> {
        self.moved.get(path).map(|(doc, _)| *doc).or_else(|| self.hub.doc_of_inode(stat))
    }

    /// The living document whose file this was and is not where it was.
    async fn renamed_from(&self, path: &RelPath, stat: &FileStat) -> Option<DocId> {
        let doc = self.doc_before(path, stat)?;
        let old = {
            let catalogue = self.hub.catalogue();
            let entry = catalogue.get(&doc).filter(|entry| entry.is_alive())?;
            RelPath::parse(entry.path()?).ok()?
        };
        // A second name of the same inode (a hard link, an editor's backup) is a copy, not a rename.
        let there = self.hub.on_disk(move |folder| folder.stat(&old)).await.ok().flatten();
        there.is_none().then_some(doc)
    }

    /// The catalogue follows a file that was renamed. Gives whether it does; if not, it is tried again later, for no
    /// event will tell of it again.
    async fn rename(&mut self, doc: DocId, to: &RelPath) -> bool {
        let Some(vanished) = self.vanished.remove(&doc) else { return true };
        let fields = vec![(doc, Field::Path(to.as_str().to_owned()))];
        let written = self.write(fields, Vec::new()).await;
        match written {
            Ok(()) => {
                self.hub.tell(HubEvent::Renamed { from: vanished.path.to_string(), to: to.to_string() });
                true
            }
            Err(error) => {
                self.hub.tell(HubEvent::Trouble { path: to.to_string(), what: error.to_string() });
                let again = Instant::now() + RETRY;
                self.new.insert(to.clone(), again);
                self.vanished.insert(doc, vanished);
                self.judge_at = Some(again);
                false
            }
        }
    }

    /// Makes documents of files, in one commit. A path whose document was deleted gets that one back, with
    /// its history.
    async fn create(&mut self, paths: Vec<RelPath>, quiet: bool) -> Result<(), HubError> {
        if paths.is_empty() {
            return Ok(());
        }
        let dead: BTreeMap<String, DocId> = {
            let dead =
                self.catalogue.iter().filter(|(_, entry)| !entry.is_alive() && entry.joined().is_none());
            dead.filter_map(|(doc, entry)| Some((entry.path()?.clone(), *doc))).collect()
        };
        let readings = self
            .hub
            .on_disk(move |folder| {
                let read = |path: RelPath| {
                    let reading = folder.read(&path, MAX_DOCUMENT_BYTES as u64);
                    (path, reading)
                };
                Ok(paths.into_iter().map(read).collect::<Vec<_>>())
            })
            .await?;
        let (mut fields, mut records, mut created) = (Vec::new(), Vec::new(), Vec::new());
        for (path, reading) in readings {
            let (bytes, stat, link) = match reading {
                Ok(Reading::Stable { bytes, stat, .. }) => (bytes, stat, false),
                Ok(Reading::Link { target, stat }) => (target.into_bytes(), stat, true),
                Ok(Reading::Busy { .. }) => {
                    self.new.insert(path, Instant::now());
                    continue;
                }
                Ok(Reading::TooLarge { stat, limit }) => {
                    let what =
                        format!("{} bytes long; files over {limit} bytes are not synchronised", stat.len);
                    self.hub.tell(HubEvent::Trouble { path: path.to_string(), what });
                    continue;
                }
                Ok(Reading::Missing | Reading::NotAFile { .. }) => continue,
                Err(error) => {
                    self.hub.tell(HubEvent::Trouble { path: path.to_string(), what: error.to_string() });
                    continue;
                }
            };
            if let Some(doc) = dead.get(path.as_str()) {
                self.revive(*doc);
                continue;
            }
            let doc = self.hub.new_doc_id();
            let new = NewFile { hub: &self.hub, doc, path: &path, bytes, stat, link };
            let heads = new.records(&mut fields, &mut records);
            created.push((doc, path, stat, heads));
        }
        if created.is_empty() {
            return Ok(());
        }
        self.write(fields, records).await?;
        for (doc, path, stat, heads) in created {
            self.hub.note_inode(doc, &stat);
            if !heads.is_root() {
                self.hub.publish(doc, heads);
            }
            if !quiet {
                self.hub.tell(HubEvent::Created { path: path.to_string() });
            }
        }
        Ok(())
    }

    fn revive(&self, doc: DocId) {
        let hub = self.hub.clone();
        tokio::spawn(async move { hub.send(doc, Command::Revive).await });
    }
}

/// What is recorded of a file that becomes a document.
struct NewFile<'a> {
    hub: &'a Hub,
    doc: DocId,
    path: &'a RelPath,
    bytes: Vec<u8>,
    stat: FileStat,
    link: bool,
}

impl NewFile<'_> {
    fn records(self, fields: &mut Vec<(DocId, Field)>, records: &mut Vec<Record>) -> Heads {
        let doc = self.doc;
        let hash = ContentHash::of(&self.bytes);
        let mut document = Document::new();
        let mut state = FileState::default();
        fields.push((doc, Field::Path(self.path.as_str().to_owned())));
        let decoded = match self.link {
            true => Decoded::Opaque(self.bytes),
            false => syncline_disk::decode(self.bytes),
        };
        match decoded {
            Decoded::Text { text, form } => {
                fields.push((doc, Field::Kind(Kind::Text)));
                let form = Form { bom: form.bom, crlf: form.endings == LineEndings::CrLf };
                if form != Form::default() {
                    fields.push((doc, Field::Form(form)));
                }
                let git = self.hub.git_at_work(self.path);
                let meta = if git { self.hub.git_meta() } else { self.hub.file_meta() };
                // One insertion into an empty text cannot be refused.
                if document.edit(&[Edit::insert(0, text)], self.hub.agent(), &meta).is_ok()
                    && document.events() > 0
                {
                    let heads = document.portable(document.version());
                    fields.push((doc, Field::Founded(heads.clone())));
                    records.push(if document.text().len_bytes() > SNAPSHOT_BYTES {
                        Record::Snapshot { doc, bytes: document.encode(), heads }
                    } else {
                        let batch = document.events_in(0..document.events()).encode();
                        Record::Events { doc, batch, heads }
                    });
                }
            }
            Decoded::Opaque(bytes) => {
                fields.push((doc, Field::Kind(if self.link { Kind::Link } else { Kind::Opaque })));
                let content = Content { hash: *hash.as_bytes(), len: bytes.len() as u64 };
                records.push(Record::Content { hash: content.hash, bytes });
                fields.push((doc, Field::Content(content)));
            }
        }
        fields.push((doc, Field::Mode(self.stat.mode & 0o777)));
        fields.push((doc, Field::Life(Life::Alive)));
        let version = document.version().clone();
        state.candidates.push(Candidate::new_hashed(version.clone(), hash, Maker::Other));
        state.on_disk =
            Some(OnDisk { path: self.path.clone(), hash, version: version.clone(), stat: self.stat });
        records.push(Record::File { doc, state: state.encode(&document) });
        document.portable(&version)
    }
}

fn path_above(directory: &RelPath, path: &RelPath) -> bool {
    path.is_below(directory)
}

fn never() -> mpsc::Receiver<Vec<Hint>> {
    let (keep, received) = mpsc::channel(1);
    // Never sends and never closes: the watch is gone, commands go on.
    std::mem::forget(keep);
    received
}
