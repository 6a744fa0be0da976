//! The hub: what sessions, links and programs ask of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use syncline_disk::{CaseRule, ContentHash, FileStat, Folder, IgnoreRules, Probe, RelPath};
use syncline_engine::catalogue::{Catalogue, DocId, Field, Joined, Kind, Write};
use syncline_engine::{AgentId, EventBatch, Heads, Meta};
use syncline_protocol::replica::Have;
use syncline_store::{Journal, LogReader, Opener, Record};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::diffsync::{DiffParty, DiffSession, Seats};
use crate::document::{Command, DocumentTask};
use crate::error::HubError;
use crate::event::HubEvent;
use crate::feed::{ChangeFeed, Feeds};
use crate::folder::{FolderCommand, FolderTask};
use crate::founding::{self, Founding};
use crate::mirror::Inherited;
use crate::peers::Peers;
use crate::policy::Policy;
use crate::presence::Rooms;
use crate::recording::Recording;
use crate::resting::Resting;
use crate::text_session::{Party, TextSession};
use crate::twins::Twins;
use crate::workers::Workers;

/// How many documents' files are brought in step at once.
const VISITS: usize = 48;
/// A `.synclineignore` that is being written when the hub starts is waited for so often, and so long each time.
const IGNORE_TRIES: usize = 100;
const IGNORE_RETRY: Duration = Duration::from_millis(50);
/// How many commands may wait for one document; who has more waits.
const MAILBOX: usize = 256;

/// The channel of what somebody saved in a file.
const FILE: &str = "file";
/// The channel of what git put into files: one labelled change of a checkout, however many files it writes.
const GIT: &str = "git";
/// git's files settle within this time after it last touched its index lock or HEAD.
const GIT_WINDOW: Duration = Duration::from_millis(800);
/// What git did is asked about when the files that vanished meanwhile are judged.
const GIT_REMEMBERED: Duration = Duration::from_secs(60);
/// So many repositories within one folder are told apart; in more, git counts as no git.
const MAX_REPOSITORIES: usize = 1_024;

/// What a hub needs to run.
pub struct Options {
    /// The folder.
    pub folder: Arc<dyn Folder>,
    /// Opens its journal.
    pub log: Opener,
    /// Share only this file of the folder.
    pub only: Option<RelPath>,
    /// What the folder is called.
    pub name: String,
    /// The folder has a peer elsewhere: differences found at the start wait for its history (docs/decisions/0016).
    pub joined: bool,
    /// What a new journal begins with. The document's file is kept: whoever deletes it gets it back.
    pub founding: Option<Founding>,
    /// What is done about changes that two users made at one place without knowing of each other's.
    pub policy: Policy,
    /// From how many bytes on a text is large: read, compared and written without a copy of it in memory. Usually
    /// [`LARGE_TEXT`](crate::LARGE_TEXT).
    pub large_text: usize,
    /// Where random numbers start: agents, document ids, temporaries' names.
    pub seed: u64,
    /// Milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Who is named as the author of saves: the machine's or the person's name.
    pub author: String,
}

/// A set of documents, a journal, a folder, and any number of sessions. A cheap handle.
#[derive(Clone)]
pub struct Hub(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub agent: AgentId,
    pub workers: Workers,
    pub folder: Arc<dyn Folder>,
    /// What its file system can do.
    pub probe: Probe,
    pub ignore: RwLock<IgnoreRules>,
    pub only: Option<RelPath>,
    /// Whether this hub makes one of two documents at one path: one hub of all that are connected does.
    resolves: AtomicBool,
    pub policy: Policy,
    /// From how many bytes on a text is large.
    pub large_text: usize,
    /// The files here are not deleted but written again.
    pub keeps_files: bool,
    pub author: Arc<str>,
    name: String,
    folder_id: Mutex<[u8; 16]>,
    /// The id of the folder that this one was joined to, once it was.
    joined_to: Mutex<Option<[u8; 16]>>,
    journal: Journal,
    recording: Recording,
    reader: Mutex<Box<dyn LogReader>>,
    random: Mutex<fastrand::Rng>,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Only what is durable: the folder's task merges into it after the commit (docs/decisions/0005).
    published: RwLock<Catalogue>,
    catalogue_changes: watch::Sender<u64>,
    /// Documents whose names are one name here.
    pub twins: Twins,
    heads: Mutex<BTreeMap<DocId, Heads>>,
    feeds: Feeds,
    documents: Mutex<BTreeMap<DocId, Handle>>,
    /// Diff-sync sessions that connections have.
    pub seats: Seats,
    /// Who works on which text, by edits.
    pub rooms: Rooms,
    folder_commands: mpsc::Sender<FolderCommand>,
    /// Which document's file has an inode: how a rename is told from a deletion and a new file.
    pub inodes: Mutex<HashMap<Inode, DocId>>,
    /// Open once differences found at the start may be entered.
    pub gate: watch::Sender<bool>,
    pub peers: Peers,
    /// A mass deletion was found: it is not passed on until somebody decides. Everything else goes on.
    pub deletions_held: AtomicBool,
    /// The folder itself is gone: no file is touched until somebody decides.
    pub root_gone: AtomicBool,
    /// How often events of readers were lost: what seemed unread may have been read.
    losses: AtomicU64,
    /// Who read the files of documents that are not in memory.
    pub resting: Resting,
    /// Repositories in which git was lately at work (`None`: the root's), each when last, since the hub's start.
    git: Mutex<HashMap<Option<RelPath>, Duration>>,
    pub started: Instant,
    pub visits: Arc<Semaphore>,
    to_visit: Mutex<BTreeSet<DocId>>,
    /// Documents whose files are still at these paths, which the catalogue has renamed.
    pub renaming: Mutex<BTreeMap<String, DocId>>,
    /// Of which something was seen that their tasks could not be told.
    to_look: Mutex<BTreeSet<DocId>>,
    /// Of each document, those that were joined into it, and its version with their texts.
    unions: Mutex<HashMap<DocId, Vec<(DocId, Heads)>>>,
    /// Files of documents that were joined into these, which are theirs now.
    inherited: Mutex<HashMap<DocId, Inherited>>,
    /// Pairs of documents at one path that are being made one.
    pub(crate) resolving: Mutex<HashSet<(DocId, DocId)>>,
    visit_wanted: tokio::sync::Notify,
    /// One join at a time: the check and the join are one step.
    pub joins: tokio::sync::Mutex<()>,
    /// Joined documents that somebody follows.
    pub following: Mutex<BTreeSet<DocId>>,
    /// Documents whose files were known to the hub before this one, and not looked at since: what such a file holds
    /// is judged once by other rules.
    startup: Mutex<BTreeSet<DocId>>,
    /// The machine was started anew since the hub before this one: files may end where the power was cut.
    pub rebooted: bool,
    /// When this hub was opened: milliseconds since 1970.
    pub opened_ms: u64,
    /// Whether all files that changed meanwhile are known.
    listed: AtomicBool,
    /// Documents whose files are being brought in step.
    unsettled: Mutex<BTreeSet<DocId>>,
    /// Whose files could not be brought in step when that was last tried, and why.
    failing: Mutex<BTreeMap<DocId, String>>,
    pub events: broadcast::Sender<HubEvent>,
    closing: watch::Sender<bool>,
}

#[derive(Clone)]
pub(crate) struct Handle {
    pub commands: mpsc::Sender<Command>,
    /// Counts the document's durable versions.
    pub durable: watch::Receiver<u64>,
}

/// Whether a channel's changes are saves of files.
pub(crate) fn is_save(channel: &str) -> bool {
    channel == FILE || channel == GIT
}

impl Inner {
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Opens the journal, reads the catalogue, and starts to watch and scan the folder. Call within a tokio
    /// runtime. Returns when the journal is read; [`Hub::scanned`] waits for the first scan.
    ///
    /// # Errors
    /// [`HubError::Store`] when the journal cannot be opened, [`HubError::Disk`] when the folder cannot be
    /// watched.
    pub async fn open(options: Options) -> Result<Hub, HubError> {
        Hub::open_with(options, Workers::Threads).await
    }

    /// As [`Hub::open`], with these workers.
    ///
    /// # Errors
    /// As [`Hub::open`].
    pub async fn open_with(options: Options, workers: Workers) -> Result<Hub, HubError> {
        let Options {
            folder,
            mut log,
            only,
            name,
            joined,
            founding,
            policy,
            large_text,
            seed,
            clock,
            author,
        } = options;
        let mut random = fastrand::Rng::with_seed(seed);
        let mut first = log()?;
        if let Some(founding) = &founding {
            let records = founding::records(founding, first.reader()?.as_ref())?;
            first.commit(&records)?;
        }
        let reader = first.reader()?;
        drop(first);
        let journal = match workers {
            Workers::Threads => Journal::start(log)?,
            Workers::Simulated(_) => Journal::inline(log)?,
        };
        let mut catalogue = Catalogue::new();
        reader.catalogue()?.iter().for_each(|write| {
            catalogue.merge(write);
        });
        catalogue.merge_vector(&reader.vector()?);
        let heads = reader.heads()?.into_iter().collect();
        let (folder_commands, folder_mailbox) = mpsc::channel(1024);
        let id_of = |reader: &dyn LogReader, name| -> Result<Option<[u8; 16]>, HubError> {
            Ok(reader.setting(name)?.and_then(|id| id.try_into().ok()))
        };
        let boot_before = reader.setting("boot")?;
        let files = reader.files()?.into_iter().chain(reader.intents()?).map(|(doc, _)| doc).collect();
        let (stored_id, joined_to) =
            (id_of(reader.as_ref(), "folder_id")?, id_of(reader.as_ref(), "joined_to")?);
        let peers = Peers::read(reader.as_ref(), joined)?;
        let mut waited = 0;
        let ignore = loop {
            let read = folder.clone();
            match workers.run(move || IgnoreRules::load(read.as_ref())).await?? {
                Some(rules) => break rules,
                // Nothing may be listed before it is known what is to be ignored.
                None if waited < IGNORE_TRIES => waited += 1,
                None => return Err(HubError::IgnoreFileHeld),
            }
            tokio::time::sleep(IGNORE_RETRY).await;
        };
        let watch = {
            let folder = folder.clone();
            workers.run(move || folder.watch()).await??
        };
        let probe = {
            let folder = folder.clone();
            workers.run(move || folder.probe()).await?
        };
        let opened_ms = clock();
        let inner = Inner {
            agent: AgentId::from_random(random.u128(..)),
            workers,
            folder,
            twins: Twins::new(CaseRule::of(&probe), &catalogue),
            probe: probe.clone(),
            ignore: RwLock::new(ignore),
            only,
            resolves: AtomicBool::new(!joined),
            policy,
            large_text,
            keeps_files: founding.is_some(),
            author: author.into(),
            name,
            folder_id: Mutex::new(stored_id.unwrap_or_else(|| random.u128(..).to_be_bytes())),
            joined_to: Mutex::new(joined_to),
            journal,
            recording: Recording::default(),
            reader: Mutex::new(reader),
            random: Mutex::new(random),
            clock,
            published: RwLock::new(catalogue.clone()),
            catalogue_changes: watch::Sender::new(0),
            heads: Mutex::new(heads),
            feeds: Feeds::default(),
            documents: Mutex::default(),
            seats: Seats::default(),
            rooms: Rooms::default(),
            folder_commands,
            inodes: Mutex::default(),
            gate: watch::Sender::new(!joined),
            peers,
            deletions_held: AtomicBool::new(false),
            root_gone: AtomicBool::new(false),
            losses: AtomicU64::new(0),
            resting: Resting::default(),
            git: Mutex::default(),
            started: Instant::now(),
            visits: Arc::new(Semaphore::new(VISITS)),
            to_visit: Mutex::default(),
            renaming: Mutex::default(),
            to_look: Mutex::default(),
            unions: Mutex::default(),
            inherited: Mutex::default(),
            resolving: Mutex::default(),
            visit_wanted: tokio::sync::Notify::new(),
            joins: tokio::sync::Mutex::default(),
            following: Mutex::default(),
            startup: Mutex::new(files),
            rebooted: boot_before.is_some() && probe.boot.is_some() && boot_before != probe.boot,
            opened_ms,
            listed: AtomicBool::new(false),
            unsettled: Mutex::default(),
            failing: Mutex::default(),
            events: broadcast::Sender::new(1024),
            closing: watch::Sender::new(false),
        };
        let hub = Hub(Arc::new(inner));
        hub.note_unions(catalogue.iter().filter_map(|(doc, entry)| Some((*doc, entry.joined()?.clone()))));
        if stored_id.is_none() {
            let value = hub.folder_id().to_vec();
            hub.commit(vec![Record::Setting { name: "folder_id".into(), value }]).await?;
        }
        if !hub.0.rebooted {
            hub.note_boot();
        }
        tokio::spawn(FolderTask::new(hub.clone(), catalogue, folder_mailbox).run(watch));
        tokio::spawn(hub.clone().visit_documents());
        Ok(hub)
    }

    /// Stops all tasks; what was acknowledged is in the journal.
    pub fn close(&self) {
        self.0.closing.send_replace(true);
        lock(&self.0.documents).clear();
    }

    /// Resolves when the hub is closing.
    pub async fn closed(&self) {
        let mut closing = self.0.closing.subscribe();
        // An error means that the hub is gone altogether.
        let _ = closing.wait_for(|closing| *closing).await;
    }

    /// This opening's agent: new each time (docs/decisions/0016).
    pub fn agent(&self) -> AgentId {
        self.0.agent
    }

    /// The shared folder's id, the same on every hub that has joined it.
    pub fn folder_id(&self) -> [u8; 16] {
        *lock(&self.0.folder_id)
    }

    /// The id of the folder that this one is joined to, if it ever was joined: it takes part in no other.
    pub fn joined_to(&self) -> Option<[u8; 16]> {
        *lock(&self.0.joined_to)
    }

    /// Takes the id of the folder that was joined.
    pub fn adopt_folder_id(&self, id: [u8; 16]) {
        *lock(&self.0.folder_id) = id;
        if lock(&self.0.joined_to).replace(id) != Some(id) {
            let setting = |name: &str| Record::Setting { name: name.into(), value: id.to_vec() };
            // Not waited for: after a crash it is learnt again.
            self.0.journal.commit(vec![setting("folder_id"), setting("joined_to")], |_| ());
        }
    }

    /// What the folder is called.
    pub fn folder_name(&self) -> String {
        self.0.name.clone()
    }

    /// Whether only one file of the folder is shared.
    pub fn single_file(&self) -> bool {
        self.0.only.is_some()
    }

    /// What the folder's file system can do.
    pub fn probe(&self) -> &Probe {
        &self.0.probe
    }

    /// Notable events from now on. A slow reader misses the oldest.
    pub fn events(&self) -> broadcast::Receiver<HubEvent> {
        self.0.events.subscribe()
    }

    pub(crate) fn tell(&self, event: HubEvent) {
        // Nobody may be listening.
        let _ = self.0.events.send(event);
    }

    /// Whether no file is touched yet, because the peer's history may still come.
    pub fn waits_for_peer(&self) -> bool {
        !*self.0.gate.borrow()
    }

    /// A link has merged the peer's whole history: differences found at the start may be entered.
    pub fn peer_synced(&self) {
        self.0.gate.send_replace(true);
        self.peer_heard();
    }

    /// Whether this hub makes one of two documents at one path.
    pub(crate) fn resolves(&self) -> bool {
        self.0.resolves.load(Ordering::Acquire)
    }

    /// Makes this hub the one, of all that are connected, that makes one of two documents at one path; or not
    /// any more.
    pub async fn set_resolving(&self, on: bool) {
        if self.0.resolves.swap(on, Ordering::AcqRel) != on && on {
            self.tell_folder(FolderCommand::Resolve).await;
        }
    }

    // ---- catalogue ----

    pub(crate) fn catalogue(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.0.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of each agent, how many catalogue writes are known (and durable).
    pub fn catalogue_vector(&self) -> BTreeMap<AgentId, u64> {
        self.catalogue().vector().clone()
    }

    /// The catalogue writes that a replica with this vector lacks, and the vector it has after them.
    pub fn catalogue_since(&self, vector: &BTreeMap<AgentId, u64>) -> (Vec<Write>, BTreeMap<AgentId, u64>) {
        let catalogue = self.catalogue();
        (catalogue.writes_since(vector), catalogue.vector().clone())
    }

    /// Counts the catalogue's durable versions.
    pub fn catalogue_changed(&self) -> watch::Receiver<u64> {
        self.0.catalogue_changes.subscribe()
    }

    /// Merges catalogue writes from a peer, which has told its whole vector with them. Durable on return.
    ///
    /// # Errors
    /// [`HubError::BadName`] for a name that no file can have: nothing of the message is taken;
    /// [`HubError::StorageFull`], [`HubError::Store`].
    pub async fn merge_catalogue(
        &self,
        writes: Vec<Write>,
        vector: BTreeMap<AgentId, u64>,
    ) -> Result<(), HubError> {
        for write in &writes {
            if let Field::Path(path) = &write.field {
                RelPath::parse(path).map_err(HubError::BadName)?;
            }
        }
        self.ask_folder(|reply| FolderCommand::Merge { writes, vector, reply }).await
    }

    /// Writes registers, with other records in the same commit. Durable on return.
    pub(crate) async fn write_catalogue(
        &self,
        fields: Vec<(DocId, Field)>,
        records: Vec<Record>,
    ) -> Result<(), HubError> {
        self.ask_folder(|reply| FolderCommand::Write { fields, records, reply }).await
    }

    pub(crate) async fn tell_folder(&self, command: FolderCommand) {
        // The folder's task ends only with the hub.
        let _ = self.0.folder_commands.send(command).await;
    }

    async fn ask_folder<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, HubError>>) -> FolderCommand,
    ) -> Result<T, HubError> {
        let (reply, answer) = oneshot::channel();
        self.tell_folder(command(reply)).await;
        answer.await.map_err(|_| HubError::Closed)?
    }

    /// Makes durable writes visible, and has the files of the documents they concern brought in step.
    pub(crate) fn publish_catalogue(&self, writes: &[Write], vector: &BTreeMap<AgentId, u64>) {
        {
            let mut published = self.0.published.write().unwrap_or_else(PoisonError::into_inner);
            writes.iter().for_each(|write| {
                let before = published.get(&write.doc).and_then(|entry| entry.path().cloned());
                published.merge(write);
                if let Field::Path(path) = &write.field {
                    self.0.twins.note(path);
                    if let Some(before) = before.filter(|before| before != path && self.has_file(write.doc)) {
                        lock(&self.0.renaming).insert(before, write.doc);
                    }
                }
            });
            published.merge_vector(vector);
        }
        self.note_unions(writes.iter().filter_map(|write| match &write.field {
            Field::Joined(joined) => Some((write.doc, joined.clone())),
            _ => None,
        }));
        self.0.catalogue_changes.send_modify(|count| *count += 1);
        self.visit(writes.iter().map(|write| write.doc));
    }

    /// Waits for the first scan of the folder.
    pub async fn scanned(&self) -> Result<(), HubError> {
        self.ask_folder(|reply| FolderCommand::Scanned { reply }).await
    }

    /// Says what to do about a mass deletion that was held: pass it on, or write the files again.
    ///
    /// # Errors
    /// [`HubError::Closed`].
    pub async fn decide_brake(&self, pass_on: bool) -> Result<usize, HubError> {
        self.ask_folder(|reply| FolderCommand::DecideBrake { pass_on, reply }).await
    }

    /// Why nothing can be recorded now, if that is so: a full or failing disk. It is tried again.
    pub fn recording_trouble(&self) -> Option<String> {
        self.0.recording.trouble()
    }

    /// Whether a mass deletion is held, or the folder itself is gone, and a decision is waited for.
    pub fn is_braked(&self) -> bool {
        self.0.deletions_held.load(Ordering::Relaxed) || self.0.root_gone.load(Ordering::Relaxed)
    }

    /// Brings a deleted file back, as it was when it was deleted.
    ///
    /// # Errors
    /// [`HubError::UnknownDocument`] when nothing was deleted at that path.
    pub async fn restore(&self, path: &str) -> Result<(), HubError> {
        let found = {
            let catalogue = self.catalogue();
            let dead = catalogue.iter().filter(|(_, entry)| {
                !entry.is_alive() && entry.joined().is_none() && entry.path().is_some_and(|at| at == path)
            });
            dead.max_by_key(|(_, entry)| entry.life_stamp()).map(|(doc, _)| *doc)
        };
        let doc = found.ok_or_else(|| HubError::UnknownDocument { name: path.to_owned() })?;
        self.write_catalogue(vec![(doc, Field::Life(syncline_engine::catalogue::Life::Alive))], Vec::new())
            .await
    }

    /// The paths of all living documents, sorted.
    pub fn document_paths(&self) -> Vec<String> {
        self.catalogue().paths().map(|(path, _)| path.to_owned()).collect()
    }

    /// The paths of all living texts, sorted.
    pub fn text_paths(&self) -> Vec<String> {
        let catalogue = self.catalogue();
        let is_text = |doc: &DocId| catalogue.get(doc).and_then(|entry| entry.kind()) == Some(&Kind::Text);
        let texts = catalogue.paths().filter(|(_, docs)| docs.first().is_some_and(is_text));
        texts.map(|(path, _)| path.to_owned()).collect()
    }

    /// The document at a path.
    pub fn document_at(&self, path: &str) -> Option<DocId> {
        self.catalogue().at(path).first().copied()
    }

    /// The hash of the content of a document that is not text.
    pub fn content_hash(&self, doc: DocId) -> Option<[u8; 32]> {
        self.catalogue().get(&doc)?.content().map(|content| content.hash)
    }

    // ---- documents ----

    /// Every document with events, at its durable version.
    pub fn heads(&self) -> Vec<(DocId, Heads)> {
        lock(&self.0.heads).iter().map(|(doc, heads)| (*doc, heads.clone())).collect()
    }

    /// A document's durable version.
    pub fn heads_of(&self, doc: DocId) -> Heads {
        lock(&self.0.heads).get(&doc).cloned().unwrap_or_default()
    }

    /// Which documents change from now on.
    pub fn changes(&self) -> ChangeFeed {
        self.0.feeds.subscribe()
    }

    pub(crate) fn publish(&self, doc: DocId, heads: Heads) {
        // In this order: who is woken looks the version up.
        lock(&self.0.heads).insert(doc, heads.clone());
        self.0.feeds.changed(doc, &heads);
    }

    /// What the journal had of a document was set aside: links ask their peers for it.
    pub(crate) fn publish_nothing(&self, doc: DocId) {
        lock(&self.0.heads).remove(&doc);
        self.0.feeds.changed(doc, &Heads::default());
    }

    /// Merges a peer's events. Durable on return; gives the version after them.
    ///
    /// # Errors
    /// [`HubError::Missing`], [`HubError::Equivocation`], [`HubError::BadPosition`]: refused whole.
    pub async fn merge_events(&self, doc: DocId, batch: EventBatch) -> Result<Heads, HubError> {
        self.ask(doc, |reply| Command::Merge { batch, reply }).await
    }

    /// The events that a replica lacks which has these, and the version after them.
    ///
    /// # Errors
    /// [`HubError::Damaged`], [`HubError::Store`].
    pub async fn events_since(&self, doc: DocId, have: Have) -> Result<(EventBatch, Heads), HubError> {
        self.ask(doc, |reply| Command::EventsSince { have, reply }).await
    }

    /// Of each agent, how many of its events a document has.
    ///
    /// # Errors
    /// As [`Hub::events_since`].
    pub async fn vector_of(&self, doc: DocId) -> Result<Vec<(AgentId, u64)>, HubError> {
        self.ask(doc, |reply| Command::Vector { reply }).await
    }

    pub(crate) async fn ask<T>(
        &self,
        doc: DocId,
        command: impl FnOnce(oneshot::Sender<Result<T, HubError>>) -> Command,
    ) -> Result<T, HubError> {
        let (reply, answer) = oneshot::channel();
        self.send(doc, command(reply)).await?;
        answer.await.map_err(|_| HubError::Closed)?
    }

    /// Hands a command to a document's task, starting one if none runs.
    pub(crate) async fn send(&self, doc: DocId, command: Command) -> Result<(), HubError> {
        let mut command = command;
        loop {
            let handle = self.handle(doc)?;
            match handle.commands.send(command).await {
                Ok(()) => return Ok(()),
                // It ended (idle) between looking it up and sending: start another.
                Err(refused) => command = refused.0,
            }
            self.forget(doc, &handle.commands);
            // While the runtime shuts down no new task runs: without a pause this would go on for ever.
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn handle(&self, doc: DocId) -> Result<Handle, HubError> {
        if *self.0.closing.borrow() {
            return Err(HubError::Closed);
        }
        let mut documents = lock(&self.0.documents);
        if let Some(handle) = documents.get(&doc)
            && !handle.commands.is_closed()
        {
            return Ok(handle.clone());
        }
        let (commands, mailbox) = mpsc::channel(MAILBOX);
        let (published, durable) = watch::channel(0);
        let handle = Handle { commands, durable };
        documents.insert(doc, handle.clone());
        tokio::spawn(DocumentTask::new(self.clone(), doc, mailbox, published).run());
        Ok(handle)
    }

    /// The task of a document, if one runs.
    pub(crate) fn running(&self, doc: DocId) -> Option<Handle> {
        lock(&self.0.documents).get(&doc).cloned()
    }

    /// How many documents are in memory.
    pub fn live_documents(&self) -> usize {
        lock(&self.0.documents).len()
    }

    /// Takes an ended (or ending) task out of the register, if it is still the registered one.
    pub(crate) fn forget(&self, doc: DocId, commands: &mpsc::Sender<Command>) {
        let mut documents = lock(&self.0.documents);
        if documents.get(&doc).is_some_and(|handle| handle.commands.same_channel(commands)) {
            documents.remove(&doc);
        }
    }

    pub(crate) fn forget_closed(&self, doc: DocId) {
        let mut documents = lock(&self.0.documents);
        if documents.get(&doc).is_some_and(|handle| handle.commands.is_closed()) {
            documents.remove(&doc);
        }
    }

    /// Has the files of these documents brought in step, a bounded number at once.
    pub(crate) fn visit(&self, docs: impl IntoIterator<Item = DocId>) {
        lock(&self.0.to_visit).extend(docs);
        self.0.visit_wanted.notify_one();
    }

    /// As [`Hub::visit`], and its file is looked at.
    pub(crate) fn visit_to_look(&self, doc: DocId) {
        lock(&self.0.to_look).insert(doc);
        self.visit([doc]);
    }

    /// Whether the document's file is to be looked at. Asked once.
    pub(crate) fn take_look(&self, doc: DocId) -> bool {
        lock(&self.0.to_look).remove(&doc)
    }

    fn note_unions(&self, joined: impl Iterator<Item = (DocId, Joined)>) {
        let mut unions = lock(&self.0.unions);
        for (loser, joined) in joined {
            let of = unions.entry(joined.into).or_default();
            of.retain(|(other, _)| *other != loser);
            of.push((loser, joined.union_at));
        }
    }

    /// The documents that were joined into this one, and its version with the text of each.
    pub(crate) fn unions_of(&self, doc: DocId) -> Vec<(DocId, Heads)> {
        lock(&self.0.unions).get(&doc).cloned().unwrap_or_default()
    }

    /// The file of a document that was joined into `doc` is `doc`'s now.
    pub(crate) fn inherit(&self, doc: DocId, file: Inherited) {
        lock(&self.0.inherited).insert(doc, file);
        self.visit([doc]);
    }

    /// The document whose file is still at a path that is not its own any more.
    pub(crate) fn renaming(&self, path: &RelPath) -> Option<DocId> {
        lock(&self.0.renaming).get(path.as_str()).copied()
    }

    /// The file of a document is at this path, or nowhere: at no other.
    pub(crate) fn note_place(&self, doc: DocId, path: Option<&RelPath>) {
        let mut renaming = lock(&self.0.renaming);
        renaming.retain(|at, of| *of != doc || path.is_some_and(|path| path.as_str() == at.as_str()));
    }

    pub(crate) fn take_inherited(&self, doc: DocId) -> Option<Inherited> {
        lock(&self.0.inherited).remove(&doc)
    }

    /// Whether a document has a file here, as far as is known.
    pub(crate) fn has_file(&self, doc: DocId) -> bool {
        lock(&self.0.inodes).values().any(|of| *of == doc)
    }

    /// The file of this document was looked at and judged, or written: it is no longer as the hub before this one left it.
    pub(crate) fn take_startup(&self, doc: DocId) {
        let mut startup = lock(&self.0.startup);
        let was_fresh = startup.remove(&doc);
        if was_fresh && startup.is_empty() && self.0.listed.load(Ordering::Relaxed) {
            self.note_boot();
        }
    }

    /// Whether the file of this document was known to the hub before this one, and was not judged since.
    pub(crate) fn is_startup(&self, doc: DocId) -> bool {
        lock(&self.0.startup).contains(&doc)
    }

    /// Whether all files were listed since the hub was opened.
    pub(crate) fn is_listed(&self) -> bool {
        self.0.listed.load(Ordering::Relaxed)
    }

    /// Has the files looked at that are still to be judged by what is known of them since the hub before this one.
    pub(crate) fn look_at_startup(&self) {
        let waiting: Vec<DocId> = lock(&self.0.startup).iter().copied().collect();
        waiting.into_iter().for_each(|doc| self.visit_to_look(doc));
    }

    /// What was to be done about it failed: it is still to be looked at.
    pub(crate) fn put_startup(&self, doc: DocId) {
        lock(&self.0.startup).insert(doc);
    }

    /// All files were listed: those that did not change are looked at.
    pub(crate) fn note_listed(&self, living: &BTreeSet<DocId>) {
        self.0.listed.store(true, Ordering::Relaxed);
        let mut startup = lock(&self.0.startup);
        startup.retain(|doc| living.contains(doc));
        if startup.is_empty() {
            self.note_boot();
        }
    }

    /// What a power cut may have done to files has been looked at: from now on they hold what somebody saved.
    fn note_boot(&self) {
        if let Some(value) = self.0.probe.boot.clone() {
            // Not waited for: otherwise they are looked at once more.
            self.0.journal.commit(vec![Record::Setting { name: "boot".into(), value }], |_| ());
        }
    }

    pub(crate) fn note_settled(&self, doc: DocId, settled: bool) {
        let mut unsettled = lock(&self.0.unsettled);
        if settled {
            unsettled.remove(&doc);
        } else {
            unsettled.insert(doc);
        }
    }

    /// How many documents' files are not in step yet, as far as is known.
    pub fn unsettled(&self) -> usize {
        let waiting = lock(&self.0.to_visit).len() + lock(&self.0.unsettled).len();
        waiting + (VISITS - self.0.visits.available_permits())
    }

    /// Notes whether the file of a document could be brought in step, or why not, which is told once.
    pub(crate) fn note_failing(&self, doc: DocId, why: Option<String>) {
        let mut failing = lock(&self.0.failing);
        let Some(what) = why else {
            failing.remove(&doc);
            return;
        };
        if failing.insert(doc, what.clone()).as_ref() != Some(&what) {
            let path = self.catalogue().get(&doc).and_then(|entry| entry.path().cloned());
            self.tell(HubEvent::Trouble { path: path.unwrap_or_else(|| doc.to_string()), what });
        }
    }

    /// Living documents whose files cannot be read or written, by their paths, and why.
    pub fn failing(&self) -> BTreeMap<String, String> {
        let failing = lock(&self.0.failing).clone();
        let catalogue = self.catalogue();
        let living = |doc| catalogue.get(doc).filter(|entry| entry.is_alive()).and_then(|entry| entry.path());
        failing.iter().filter_map(|(doc, why)| Some((living(doc)?.clone(), why.clone()))).collect()
    }

    /// How many living documents have no file here that says what they say (yet, or because it cannot be written). Not
    /// those whose names are never written for a peer.
    pub fn unwritten_files(&self) -> usize {
        let present: BTreeSet<DocId> = lock(&self.0.inodes).values().copied().collect();
        let failing = self.failing();
        let catalogue = self.catalogue();
        let unwritten = catalogue.paths().filter(|(path, docs)| {
            (docs.iter().all(|doc| !present.contains(doc)) || failing.contains_key(*path))
                && !RelPath::parse(path).is_ok_and(|path| syncline_disk::is_refused_from_network(&path))
        });
        unwritten.count()
    }

    async fn visit_documents(self) {
        let closing = self.closed();
        let visit = async {
            // Before the peer's history is there no file is touched, and permits would only be held.
            let _ = self.0.gate.subscribe().wait_for(|open| *open).await;
            loop {
                let doc = loop {
                    let notified = self.0.visit_wanted.notified();
                    if let Some(doc) = lock(&self.0.to_visit).pop_first() {
                        break doc;
                    }
                    notified.await;
                };
                let Ok(permit) = self.0.visits.clone().acquire_owned().await else { return };
                if self.send(doc, Command::Visit { permit: Some(permit) }).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = closing => {}
            () = visit => {}
        }
    }

    // ---- contents of opaque files ----

    /// The content with this hash, if it is in the journal.
    ///
    /// # Errors
    /// [`HubError::Store`].
    pub async fn content(&self, hash: [u8; 32]) -> Result<Option<Arc<[u8]>>, HubError> {
        self.read_journal(move |reader| Ok(reader.content(&hash)?.map(Arc::from))).await
    }

    /// Keeps a content; durable on return. Gives its hash.
    ///
    /// # Errors
    /// [`HubError::StorageFull`], [`HubError::Store`].
    pub async fn keep_content(&self, bytes: Arc<[u8]>) -> Result<[u8; 32], HubError> {
        let hash = *ContentHash::of(&bytes).as_bytes();
        self.commit(vec![Record::Content { hash, bytes: bytes.to_vec() }]).await?;
        let waiting: Vec<DocId> = {
            let catalogue = self.catalogue();
            let of = catalogue
                .iter()
                .filter(|(_, entry)| entry.content().is_some_and(|content| content.hash == hash));
            of.map(|(doc, _)| *doc).collect()
        };
        self.visit(waiting);
        Ok(hash)
    }

    /// Contents that the catalogue names for living files and the journal does not have.
    pub fn wanted_contents(&self) -> Vec<[u8; 32]> {
        let named: BTreeSet<[u8; 32]> = {
            let catalogue = self.catalogue();
            let alive = catalogue.iter().filter(|(_, entry)| {
                entry.is_alive() && matches!(entry.kind(), Some(Kind::Opaque | Kind::Link))
            });
            alive.filter_map(|(_, entry)| entry.content().map(|content| content.hash)).collect()
        };
        let reader = lock(&self.0.reader);
        // A content that cannot be looked up is asked for again: that does no harm.
        named.into_iter().filter(|hash| !reader.has_content(hash).unwrap_or(false)).collect()
    }

    /// Puts what was lost in a conflict in again (see [`crate::conflict_id`]). Durable on return; gives how many
    /// characters.
    ///
    /// # Errors
    /// [`HubError::UnknownDocument`] when there is no such file, or nothing was lost in such a conflict.
    pub async fn reinstate(&self, path: &str, conflict: &str) -> Result<usize, HubError> {
        let doc =
            self.document_at(path).ok_or_else(|| HubError::UnknownDocument { name: path.to_owned() })?;
        let conflict = conflict.to_owned();
        self.ask(doc, |reply| Command::Reinstate { conflict, reply }).await
    }

    // ---- text sessions ----

    /// Opens a session on a text document: at a path, or the folder's only (otherwise first) text.
    ///
    /// # Errors
    /// [`HubError::UnknownDocument`], [`HubError::NotText`].
    pub async fn open_text(&self, path: Option<&str>, party: Party) -> Result<TextSession, HubError> {
        TextSession::open(self.clone(), path, party).await
    }

    /// Opens a diff-sync session on a text document, new or known, and says where it stands: at a path, or on
    /// the folder's only (otherwise first) text. An older connection that has the session is asked to leave.
    ///
    /// # Errors
    /// [`HubError::UnknownDocument`], [`HubError::NotText`], [`HubError::NotYours`].
    pub async fn open_diff(
        &self,
        path: Option<&str>,
        party: DiffParty,
    ) -> Result<(DiffSession, syncline_protocol::diffsync::ConnectOk), HubError> {
        DiffSession::open(self.clone(), path, party).await
    }

    // ---- for the tasks ----

    pub(crate) fn now_ms(&self) -> u64 {
        (self.0.clock)()
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    pub(crate) fn random_u64(&self) -> u64 {
        lock(&self.0.random).u64(..)
    }

    pub(crate) fn new_doc_id(&self) -> DocId {
        DocId(lock(&self.0.random).u128(..).to_be_bytes())
    }

    /// Of what somebody saved in a file.
    pub(crate) fn file_meta(&self) -> Meta {
        Meta { author: self.0.author.clone(), channel: FILE.into(), time_ms: self.now_ms() }
    }

    /// Of what git put into files, all of one checkout.
    pub(crate) fn git_meta(&self) -> Meta {
        Meta { channel: GIT.into(), ..self.file_meta() }
    }

    /// git is at work in the repository at this directory: what is saved there in the next moment means
    /// what it says.
    pub(crate) fn note_git(&self, repository: Option<RelPath>) {
        let now = self.uptime();
        let mut git = lock(&self.0.git);
        git.retain(|_, last| now < *last + GIT_REMEMBERED);
        if git.len() < MAX_REPOSITORIES {
            git.insert(repository, now);
        }
    }

    /// Whether git is at work in the repository that this path is in.
    pub(crate) fn git_at_work(&self, path: &RelPath) -> bool {
        self.git_since(path, self.uptime()).is_some()
    }

    /// The repository around this path, if git was at work there at that moment (since the hub's start) or later.
    pub(crate) fn git_since(&self, path: &RelPath, moment: Duration) -> Option<Option<RelPath>> {
        let around = |repository: &Option<RelPath>| repository.as_ref().is_none_or(|top| path.is_below(top));
        let git = lock(&self.0.git);
        let at_work = git.iter().filter(|(top, last)| around(top) && moment < **last + GIT_WINDOW);
        // The innermost: a repository within another is its own.
        at_work.map(|(top, _)| top.clone()).max_by_key(|top| top.as_ref().map_or(0, |top| top.as_str().len()))
    }

    pub(crate) fn note_loss(&self) {
        self.0.losses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn losses(&self) -> u64 {
        self.0.losses.load(Ordering::Relaxed)
    }

    pub(crate) async fn commit(&self, records: Vec<Record>) -> Result<(), HubError> {
        if records.is_empty() {
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        self.0.workers.pause().await;
        self.0.journal.commit(records, move |result| drop(done.send(result)));
        let committed = answer.await.map_err(|_| HubError::Closed)?;
        if let Some(what) = self.0.recording.note(&committed) {
            self.tell(HubEvent::Trouble { path: String::new(), what });
        }
        self.0.workers.pause().await;
        Ok(committed?)
    }

    pub(crate) async fn read_journal<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn LogReader) -> Result<T, HubError> + Send + 'static,
    ) -> Result<T, HubError> {
        let hub = self.clone();
        self.0.workers.run(move || read(lock(&hub.0.reader).as_ref())).await?
    }

    /// Runs a call to the folder on a worker thread.
    pub(crate) async fn on_disk<T: Send + 'static>(
        &self,
        run: impl FnOnce(&dyn Folder) -> Result<T, syncline_disk::DiskError> + Send + 'static,
    ) -> Result<T, HubError> {
        let folder = self.0.folder.clone();
        Ok(self.0.workers.run(move || run(folder.as_ref())).await??)
    }

    pub(crate) fn note_inode(&self, doc: DocId, stat: &FileStat) {
        lock(&self.0.inodes).insert(Inode::of(stat), doc);
    }

    pub(crate) fn forget_inode(&self, doc: DocId, stat: &FileStat) {
        let mut inodes = lock(&self.0.inodes);
        if inodes.get(&Inode::of(stat)) == Some(&doc) {
            inodes.remove(&Inode::of(stat));
        }
    }

    pub(crate) fn doc_of_inode(&self, stat: &FileStat) -> Option<DocId> {
        lock(&self.0.inodes).get(&Inode::of(stat)).copied()
    }
}

/// What tells one inode from another. Numbers are used again at once (a checkout that deletes one file and
/// makes another: tried), so the time of birth belongs to it; where there is none, the time of the last
/// change of content, which a rename leaves as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    device: u64,
    number: u64,
    born_ns: i128,
}

impl Inode {
    fn of(stat: &FileStat) -> Inode {
        Inode { device: stat.device, number: stat.inode, born_ns: stat.birth_ns.unwrap_or(stat.mtime_ns) }
    }
}
