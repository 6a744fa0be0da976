//! The folder's task: the catalogue's only writer; it hands what the watch sees to the documents, makes
//! documents of new files, and decides about files that vanished.
//!
//! It never waits for a document's task: those wait for this one.

mod clashes;
mod hints;
mod ignoring;
mod kept;
mod leftovers;
mod new_files;
mod resemblance;
mod scan;
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
