//! The hub: what sessions, links and programs ask of it.

mod contents;
mod documents;
mod git;
mod in_step;
mod inodes;
mod registers;

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

use crate::diffsync::{DiffParty, DiffSession, DiffTarget, Seats};
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
use crate::unreadable::{self, Stored};
use crate::workers::Workers;
use inodes::Inode;

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
    /// Whose turn it is to read: who waits is a task and not a thread, of which a thousand clients that come at once would
    /// take hundreds.
    reading: tokio::sync::Semaphore,
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
    /// What was to be told before anybody could listen: whoever does first is told.
    early: Mutex<Vec<HubEvent>>,
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
        let (mut stored, unreadable) = Stored::read_what_can_be(first.as_mut())?;
        if let Some(founding) = &founding {
            let records = founding::records(founding, first.reader()?.as_ref())?;
            first.commit(&records)?;
            stored = Stored::read(first.as_ref())?;
        }
        let reader = first.reader()?;
        drop(first);
        let journal = match workers {
            Workers::Threads => Journal::start(log)?,
            Workers::Simulated(_) => Journal::inline(log)?,
        };
        let catalogue = Catalogue::restored(&stored.catalogue, stored.vector);
        let (folder_commands, folder_mailbox) = mpsc::channel(1024);
        let id_of = |reader: &dyn LogReader, name| -> Result<Option<[u8; 16]>, HubError> {
            Ok(reader.setting(name)?.and_then(|id| id.try_into().ok()))
        };
        let boot_before = reader.setting("boot")?;
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
            reading: tokio::sync::Semaphore::new(1),
            random: Mutex::new(random),
            clock,
            published: RwLock::new(catalogue.clone()),
            catalogue_changes: watch::Sender::new(0),
            heads: Mutex::new(stored.heads),
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
            startup: Mutex::new(stored.files),
            rebooted: boot_before.is_some() && probe.boot.is_some() && boot_before != probe.boot,
            opened_ms,
            listed: AtomicBool::new(false),
            unsettled: Mutex::default(),
            failing: Mutex::default(),
            events: broadcast::Sender::new(1024),
            early: Mutex::new(unreadable::events(unreadable, &catalogue)),
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
        let events = self.0.events.subscribe();
        std::mem::take(&mut *lock(&self.0.early)).into_iter().for_each(|event| self.tell(event));
        events
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

    // ---- text sessions ----

    /// Opens a session on a text document: at a path, or the folder's only (otherwise first) text.
    ///
    /// # Errors
    /// [`HubError::UnknownDocument`], [`HubError::NotText`].
    pub async fn open_text(&self, path: Option<&str>, party: Party) -> Result<TextSession, HubError> {
        TextSession::open(self.clone(), path, party).await
    }

    /// Finds the text document that a diff-sync client means: the one that its session had under the path, wherever that
    /// is now, or what is at the path; without one, the folder's only (otherwise first) text.
    ///
    /// # Errors
    /// [`HubError::UnknownDocument`], [`HubError::NotText`].
    pub async fn find_diff(&self, path: Option<&str>, party: &DiffParty) -> Result<DiffTarget, HubError> {
        DiffTarget::find(self, path, party).await
    }

    /// Opens a diff-sync session, new or known, on a document that was found for it, and says where it stands. An older
    /// connection that has the session is asked to leave, and waited for.
    ///
    /// # Errors
    /// [`HubError::NotYours`].
    pub async fn open_diff(
        &self,
        target: DiffTarget,
        party: DiffParty,
    ) -> Result<(DiffSession, syncline_protocol::diffsync::ConnectOk), HubError> {
        DiffSession::open(self.clone(), target, party).await
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
        let _turn = match self.0.workers {
            Workers::Threads => Some(self.0.reading.acquire().await.map_err(|_| HubError::Closed)?),
            // There it takes no thread.
            Workers::Simulated(_) => None,
        };
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
}
