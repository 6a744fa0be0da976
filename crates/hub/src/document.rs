//! The task of one live document: it alone touches the document, records before it tells, and keeps the
//! document's file in step (see `file`).

mod command;
mod damaged;
pub(crate) mod lent;
pub(crate) mod missed;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use syncline_disk::What;
use syncline_disk::planted::{Planted, planted};
use syncline_engine::catalogue::{DocId, Field, Kind, Life};
use syncline_engine::{AgentId, Conflict, Document, Edit, EventBatch, Heads, Lv, Meta, Version};
use syncline_protocol::limits::MAX_DOCUMENT_BYTES;
use syncline_protocol::replica::Have;
use syncline_store::Record;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::Instant;

pub(crate) use self::command::{Command, Edited, Request, TextAt};
use self::missed::AskMissed;
use crate::diffsync::{self, DiffCommand, Tip};
use crate::error::HubError;
use crate::event::HubEvent;
use crate::file::FileSession;
use crate::hub::{Hub, is_save};
use crate::mirror::{Candidate, Pieces, copies, judge};
use crate::policy::{self, Policy};

/// How many commands are taken up together and share one commit.
const TOGETHER: usize = 64;
/// A document that nobody needs stays in memory this long,
const IDLE: Duration = Duration::from_secs(3);
/// or so many times as long as it took to load, if that is longer (and at most [`LONGEST_IDLE`]): to load one of
/// 50 MB costs more than to keep it for the next save.
const IDLE_PER_LOAD: u32 = 100;
const LONGEST_IDLE: Duration = Duration::from_secs(120);
/// What is known of a file is recorded when nothing has happened to it for this long: before that the intent of
/// our last write is all that a restart has.
const RECORD_AFTER: Duration = Duration::from_millis(250);
/// How often a document whose file must not be touched yet asks whether it may.
const GATED: Duration = Duration::from_millis(100);
/// Events since the last snapshot, in bytes, from which on a new one is taken (if the document is small;
/// a larger one waits for a quarter of its own size).
pub(crate) const SNAPSHOT_BYTES: usize = 64 << 10;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, HubError>>;

pub(crate) struct DocumentTask {
    pub hub: Hub,
    pub id: DocId,
    commands: mpsc::Receiver<Command>,
    published: watch::Sender<u64>,
    /// What it was when its sessions were told last.
    kind: Option<Kind>,
    /// `None`: not loaded yet, or dropped after a failed commit; never saved in that state.
    loaded: Option<Loaded>,
    /// The document, while its text is being written.
    lent: Option<Arc<Document>>,
    pub file: FileSession,
    /// When what the journal had of it was set aside.
    set_aside_at: Option<Instant>,
    /// Held while the file is being brought in step.
    permit: Option<OwnedSemaphorePermit>,
    last_used: Instant,
    /// How long it stays in memory unused.
    idle: Duration,
}

/// What is in memory of a document.
pub(crate) struct Loaded {
    pub document: Document,
    /// The newest text with its checksum, once a diff-sync session asked for it.
    tip: Option<Tip>,
    /// Events up to here are in the journal.
    recorded: Lv,
    /// The policy was asked about everything up to here.
    judged: Version,
    /// Bytes of batches in the journal since its last snapshot.
    since_snapshot: usize,
    snapshot_len: usize,
}

impl Loaded {
    /// Enters what somebody saved who saw `version`. Gives their version: that, and the save. Of `both`, which others had
    /// put in too, one copy stays.
    pub fn enter_save(
        &mut self,
        hub: &Hub,
        version: &Version,
        edits: &[Edit],
        both: Pieces,
        meta: &Meta,
    ) -> Result<Version, HubError> {
        let before = self.document.version().clone();
        let edits = if planted(Planted::DroppedEdit) && edits.len() > 1 { &edits[1..] } else { edits };
        let applied = self.document.edit_at(version, edits, hub.agent(), meta);
        if planted(Planted::EnteredTwice) {
            let _ = self.document.edit_at(version, edits, hub.agent(), meta);
        }
        let applied = applied.map_err(|error| HubError::BadPosition { what: error.to_string() })?;
        let copies = copies(&applied.effect, both);
        if !copies.is_empty() {
            let meta = policy_meta(hub);
            let done = self.document.edit(&copies, hub.agent(), &meta);
            debug_assert!(done.is_ok(), "the copies are in the text");
        }
        self.keep_one_copy(hub, &before, applied.events);
        Ok(applied.version)
    }

    /// Two programs that saved the same rewrite without knowing of each other (formatters, on two machines)
    /// meant it once. `new` are the events that came to what the document was at `before`.
    pub fn keep_one_copy(&mut self, hub: &Hub, before: &Version, new: Range<Lv>) {
        if hub.0.policy == Policy::LastWriterWins {
            // Of two that are alike that policy takes one away as well, and it may be the other one.
            return;
        }
        let copies = self.document.repeated_rewrites(before, new, |meta| is_save(&meta.channel));
        if !copies.is_empty() {
            let meta = policy_meta(hub);
            let done = self.document.edit(&copies, hub.agent(), &meta);
            debug_assert!(done.is_ok(), "the copies are in the text");
        }
    }
}

/// Of what the hub itself changes.
fn policy_meta(hub: &Hub) -> Meta {
    Meta { author: "syncline".into(), channel: "policy".into(), time_ms: hub.now_ms() }
}

/// A reply that waits for the commit.
type Waiting = Box<dyn FnOnce(Result<(), HubError>, &Document) + Send>;

impl DocumentTask {
    pub fn new(
        hub: Hub,
        id: DocId,
        commands: mpsc::Receiver<Command>,
        published: watch::Sender<u64>,
    ) -> DocumentTask {
        let file = FileSession::default();
        DocumentTask {
            hub,
            id,
            commands,
            published,
            kind: None,
            loaded: None,
            lent: None,
            file,
            set_aside_at: None,
            permit: None,
            last_used: Instant::now(),
            idle: IDLE,
        }
    }

    /// Until the hub closes, or nobody has needed the document for a while.
    pub async fn run(mut self) {
        let mut together = Vec::with_capacity(TOGETHER);
        let hub = self.hub.clone();
        let closing = hub.closed();
        tokio::pin!(closing);
        loop {
            let wake = self.wake_at();
            tokio::select! {
                biased;
                () = &mut closing => return,
                count = self.commands.recv_many(&mut together, TOGETHER) => {
                    if count == 0 {
                        return;
                    }
                    self.last_used = Instant::now();
                }
                () = tokio::time::sleep_until(wake) => {}
            }
            self.handle(&mut together).await;
            let settled = self.settle_file().await;
            self.note_kind();
            self.hub.note_settled(self.id, settled);
            if settled {
                self.permit = None;
            }
            if settled && self.file.is_dirty() && self.last_used.elapsed() >= RECORD_AFTER {
                self.record_file_state().await;
            }
            if (settled || self.is_gated()) && self.is_idle() && self.commands.is_empty() {
                self.record_file_state().await;
                if self.file.is_dirty() {
                    self.last_used = Instant::now();
                    continue;
                }
                self.hub.0.resting.rest(self.id, self.file.rested());
                // From here on senders fail and start a new task, which waits for nothing of ours:
                // everything is in the journal.
                self.commands.close();
                self.leave(settled).await;
                return;
            }
        }
    }

    /// Wakes the sessions when the document has become something else than it was. No event says so, and whoever edits it
    /// as text would only hear of it with the next edit.
    fn note_kind(&mut self) {
        let kind = self.hub.catalogue().get(&self.id).and_then(|entry| entry.kind().copied());
        let before = std::mem::replace(&mut self.kind, kind);
        if before.is_some() && before != kind {
            self.published.send_modify(|count| *count += 1);
        }
    }

    /// Whether the peer's history is still on its way: no file is touched before.
    fn is_gated(&self) -> bool {
        !*self.hub.0.gate.borrow()
    }

    fn is_idle(&self) -> bool {
        let crowded = self.hub.live_documents() > 256;
        // The sender side of `published` counts sessions that wait for changes.
        self.published.receiver_count() <= 1
            && !self.file.is_waiting()
            && (crowded || self.last_used.elapsed() >= self.idle)
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        if !self.file_may_act() {
            // Whoever opens the gate or releases the brake does not know us.
            return now + GATED;
        }
        let idle = if self.file.is_dirty() { now + RECORD_AFTER } else { now + self.idle };
        self.file.wake_at(self.hub.0.started, self.hub.uptime()).map_or(idle, |at| at.min(idle))
    }

    /// Commands that were sent before the mailbox closed go to the task that follows this one. This one must not
    /// carry them out: two tasks would give different events one id.
    async fn leave(&mut self, settled: bool) {
        self.hub.forget_closed(self.id);
        while let Ok(command) = self.commands.try_recv() {
            // Fails only when the hub closes.
            let _ = self.hub.send(self.id, command).await;
        }
        if !settled {
            // A first synchronisation brings thousands of documents before it lets any file be touched: their
            // files' turn comes when the gate opens, and until then none needs its text in memory.
            self.hub.visit([self.id]);
        }
    }

    /// The document, from the journal if need be.
    pub async fn load(&mut self) -> Result<&mut Loaded, HubError> {
        if self.loaded.is_none() {
            let id = self.id;
            let began = Instant::now();
            let (stored, file, intent) = self
                .hub
                .read_journal(move |reader| {
                    let intents = reader.intents()?;
                    let intent = intents.into_iter().find(|(doc, _)| *doc == id).map(|(_, intent)| intent);
                    Ok((reader.document(id)?, reader.file(id)?, intent))
                })
                .await?;
            let (document, stored) = match stored.to_document() {
                Ok(document) => (document, stored),
                Err(what) => {
                    self.set_aside(what).await?;
                    (Document::new(), syncline_store::Loaded::default())
                }
            };
            let known = self.set_aside_at.is_none();
            let (file, intent) = (file.filter(|_| known), intent.filter(|_| known));
            if let Err(error) = self.file.restore(file.as_deref(), intent.as_deref(), &document) {
                self.forget_file_state(&error.to_string()).await?;
            }
            let mut loaded = Loaded {
                document,
                tip: None,
                recorded: 0,
                judged: Version::root(),
                since_snapshot: stored.batches.iter().map(Vec::len).sum(),
                snapshot_len: stored.snapshot.as_ref().map_or(0, Vec::len),
            };
            loaded.document.release();
            loaded.recorded = loaded.document.events();
            loaded.judged = loaded.document.version().clone();
            if let Some(rested) = self.hub.0.resting.wake(id) {
                self.file.recall(&rested);
            }
            self.loaded = Some(loaded);
            self.idle = (began.elapsed() * IDLE_PER_LOAD).clamp(IDLE, LONGEST_IDLE);
        }
        self.loaded.as_mut().ok_or(HubError::Closed)
    }

    /// The document, if it is in memory.
    pub fn document(&self) -> Option<&Document> {
        self.loaded.as_ref().map(|loaded| &loaded.document)
    }

    async fn handle(&mut self, together: &mut Vec<Command>) {
        if together.is_empty() {
            return;
        }
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut extra: Vec<Record> = Vec::new();
        let mut missed: Vec<AskMissed> = Vec::new();
        for command in together.drain(..) {
            if let Err(error) = self.load().await {
                command.refuse(&error);
                continue;
            }
            if command.is_about_the_text() && self.lacks_history() {
                let what = "its history is on its way from the other machines".to_owned();
                command.refuse(&HubError::Damaged { doc: self.id.to_string(), what });
                continue;
            }
            let command = match command {
                // After the commit, and it moves the engine's walker, which the other answers only look at.
                Command::Missed(ask) => {
                    missed.push(ask);
                    continue;
                }
                command => command,
            };
            match self.earlier(&command, &extra).await {
                Err(error) => command.refuse(&error),
                Ok(None) => self.take(command, &mut waiting, &mut extra),
                Ok(Some(result)) => repeat(command, result, &mut waiting),
            }
        }
        let result = self.commit(extra).await;
        let result = if planted(Planted::AcknowledgedFirst) { Ok(()) } else { result };
        let empty = Document::new();
        for reply in waiting {
            reply(result.clone(), self.document().unwrap_or(&empty));
        }
        self.tell_missed(missed, &result);
    }

    /// The result of an edit with the same request id, among those taken up together or in the journal. Asked
    /// here, where edits come one after the other: a client may repeat a request while it still waits.
    async fn earlier(&self, command: &Command, extra: &[Record]) -> Result<Option<Vec<u8>>, HubError> {
        let Command::Edit { request: Some(Request { key, .. }), .. } = command else { return Ok(None) };
        let same = extra.iter().find_map(|record| match record {
            Record::Request { key: other, result } if other == key => Some(result.clone()),
            _ => None,
        });
        if same.is_some() {
            return Ok(same);
        }
        let key = key.clone();
        self.hub.read_journal(move |reader| Ok(reader.request(&key)?)).await
    }

    /// Applies one command to the document in memory; what it answers waits for the commit.
    fn take(&mut self, command: Command, waiting: &mut Vec<Waiting>, extra: &mut Vec<Record>) {
        let hub = self.hub.clone();
        let Some(loaded) = self.loaded.as_mut() else { return };
        let document = &mut loaded.document;
        match command {
            Command::Merge { mut batch, reply } => {
                policy::clamp_times(&mut batch, hub.now_ms());
                let before = document.version().clone();
                let merged = document.merge(&batch).map_err(HubError::from);
                if let (Some(tip), Ok(merged)) = (&mut loaded.tip, &merged) {
                    tip.note(&before, &merged.effect, document);
                }
                if let Ok(merged) = &merged {
                    loaded.keep_one_copy(&hub, &before, merged.events.clone());
                }
                waiting.push(Box::new(move |committed, document| {
                    let heads = merged.and(committed).map(|()| document.portable(document.version()));
                    drop(reply.send(heads));
                }));
            }
            Command::EventsSince { have, reply } => waiting.push(Box::new(move |committed, document| {
                let version = match have {
                    Have::Heads(heads) => document.known_part(&heads),
                    Have::Vector(vector) => document.version_of_vector(&vector),
                };
                let events = || (document.events_since(&version), document.portable(document.version()));
                drop(reply.send(committed.map(|()| events())));
            })),
            Command::Vector { reply } => waiting.push(Box::new(move |committed, document| {
                drop(reply.send(committed.map(|()| document.vector())));
            })),
            Command::Text { reply } => waiting.push(Box::new(move |committed, document| {
                drop(reply.send(committed.map(|()| text_now(document))));
            })),
            Command::TextAt { heads, reply } => waiting.push(Box::new(move |committed, document| {
                let version = document.local(&heads).map_err(|_| HubError::BadBase);
                drop(reply.send(committed.and(version).map(|version| TextAt {
                    text: document.string_at(&version).into(),
                    heads,
                    version,
                })));
            })),
            Command::Edit { version, edits, meta, request, reply } => {
                let added: usize = edits.iter().map(|edit| edit.insert.len()).sum();
                let bytes = document.text().len_bytes() + added;
                let put_in: usize = edits.iter().map(|edit| edit.insert.chars().count()).sum();
                let taken: usize = edits.iter().map(|edit| edit.range.len()).sum();
                // What a merge made longer than that may be made shorter.
                if bytes > MAX_DOCUMENT_BYTES && put_in >= taken {
                    drop(reply.send(Err(HubError::TooLarge { bytes, limit: MAX_DOCUMENT_BYTES })));
                    return;
                }
                let merged = version != *document.version();
                let before = document.version().clone();
                let applied = document.edit_at(&version, &edits, hub.agent(), &meta);
                if let (Some(tip), Ok(applied)) = (&mut loaded.tip, &applied) {
                    tip.note(&before, &applied.effect, document);
                }
                let applied = applied.map_err(|error| HubError::BadPosition { what: error.to_string() });
                let edited = applied.map(|applied| {
                    let heads = document.portable(&applied.version);
                    Edited { version: applied.version, heads, merged }
                });
                if let (Ok(edited), Some(Request { key, records })) = (&edited, request) {
                    extra.push(Record::Request { key, result: edited.encode() });
                    extra.extend(records);
                }
                waiting.push(Box::new(move |committed, _| drop(reply.send(committed.and(edited)))));
            }
            Command::Reinstate { conflict, reply } => {
                let done = policy::reinstate(&hub, document, &conflict);
                waiting.push(Box::new(move |committed, _| drop(reply.send(committed.and(done)))));
            }
            Command::Known { heads, reply } => waiting.push(Box::new(move |committed, document| {
                let version = document.local(&heads).map_err(|_| HubError::BadBase);
                drop(reply.send(committed.and(version)));
            })),
            Command::Judge { candidates, text, reply } => {
                waiting.push(Box::new(move |committed, document| {
                    let base = || {
                        let origin = judge(&candidates, document, &text, false, false)?;
                        let replayed = || Arc::new(document.string_at(&origin.version));
                        let before = origin.before.clone().unwrap_or_else(replayed);
                        Some((origin.version, before, origin.base.edit))
                    };
                    drop(reply.send(committed.map(|()| base())));
                }))
            }
            // Taken out before.
            Command::Missed(ask) => drop(ask.reply.send(Err(HubError::Closed))),
            Command::Diff(command) => {
                let (to, of) = ((&hub, self.id), (document, &mut loaded.tip));
                waiting.extend(diffsync::take(command, to, of, &self.published, extra));
            }
            Command::Revive => self.file.revive(),
            Command::Recreate => self.file.recreate(),
            Command::Hint(what) => self.file.hint(&what, hub.uptime()),
            Command::Visit { permit } => {
                if permit.is_some() {
                    self.permit = permit;
                }
                if hub.take_look(self.id) {
                    self.file.hint(&What::Metadata, hub.uptime());
                }
                self.file.visit();
            }
        }
    }

    /// Records what is new in memory, with `extra` in the same commit, and then makes it visible. After a
    /// failed commit the memory is dropped: what the journal has is the truth (docs/decisions/0005).
    pub async fn commit(&mut self, mut extra: Vec<Record>) -> Result<(), HubError> {
        let Some(loaded) = self.loaded.as_mut() else { return Ok(()) };
        let mut conflicts = Vec::new();
        if loaded.document.events() > loaded.recorded {
            // In the same commit: what loses is never seen by itself.
            conflicts = policy::apply(&self.hub, &mut loaded.document, &loaded.judged);
            loaded.judged = loaded.document.version().clone();
        }
        let events = loaded.document.events();
        let news = events > loaded.recorded;
        let mut snapshot = false;
        if news {
            let heads = loaded.document.portable(loaded.document.version());
            let batch = loaded.document.events_in(loaded.recorded..events).encode();
            loaded.since_snapshot += batch.len();
            // Also of what is large from its first commit on: the next, a word, must not bring all of it again.
            snapshot = loaded.since_snapshot > SNAPSHOT_BYTES.max(loaded.snapshot_len / 4);
            let doc = self.id;
            extra.push(if snapshot {
                Record::Snapshot { doc, bytes: loaded.document.encode(), heads }
            } else {
                Record::Events { doc, batch, heads }
            });
        }
        if snapshot && let Some(Record::Snapshot { bytes, .. }) = extra.last() {
            loaded.snapshot_len = bytes.len();
            loaded.since_snapshot = 0;
        }
        if let Err(error) = self.hub.commit(extra).await {
            if planted(Planted::KeptAfterFailure) {
                loaded_as_if_recorded(self.loaded.as_mut());
                return Err(error);
            }
            self.loaded = None;
            self.file.forget();
            // It may hold a version that was written and not recorded.
            self.hub.put_startup(self.id);
            self.published.send_modify(|count| *count += 1);
            return Err(error);
        }
        if news && let Some(loaded) = self.loaded.as_mut() {
            loaded.recorded = events;
            let heads = loaded.document.portable(loaded.document.version());
            self.hub.publish(self.id, heads);
            if let Some(tip) = &mut loaded.tip {
                // Before the count says so: who sees the count finds it.
                let count = *self.published.borrow() + 1;
                tip.show(&mut loaded.document, count);
            }
            self.published.send_modify(|count| *count += 1);
            self.tell_conflicts(conflicts);
            self.check_life().await;
        }
        Ok(())
    }

    fn tell_conflicts(&self, conflicts: Vec<Conflict>) {
        if conflicts.is_empty() {
            return;
        }
        let path = self.hub.catalogue().get(&self.id).and_then(|entry| entry.path().cloned());
        let path = path.unwrap_or_else(|| self.id.to_string());
        for Conflict { winner, loser } in conflicts {
            self.hub.tell(HubEvent::Conflict {
                path: path.clone(),
                winner: winner.author.to_string(),
                loser: loser.author.to_string(),
                lost: loser.inserted,
            });
        }
    }

    /// An edit beats a concurrent delete: events that whoever deleted the document had not seen bring it
    /// back (docs/decisions/0008).
    pub async fn check_life(&mut self) {
        let seen = match self.hub.catalogue().get(&self.id) {
            Some(entry) if entry.joined().is_none() => match entry.life() {
                Some(Life::Deleted { seen, .. }) => seen.clone(),
                _ => return,
            },
            _ => return,
        };
        let Some(document) = self.document() else { return };
        if planted(Planted::DeletionWins) {
            return;
        }
        // If what they had seen is not known here yet, it is too early to tell.
        if let Ok(seen) = document.local(&seen)
            && !document.includes(&seen, document.version())
        {
            let fields = vec![(self.id, Field::Life(Life::Alive))];
            let deleted_here = self.was_deleted_here();
            match self.hub.write_catalogue(fields, Vec::new()).await {
                Ok(()) => self.file.reappear(deleted_here),
                Err(error) => {
                    let path = self.id.to_string();
                    self.hub.tell(HubEvent::Trouble { path, what: error.to_string() });
                }
            }
        }
    }
}

/// See [`Planted::KeptAfterFailure`].
fn loaded_as_if_recorded(loaded: Option<&mut Loaded>) {
    if let Some(loaded) = loaded {
        loaded.recorded = loaded.document.events();
    }
}

/// Answers a repeated request as the first time.
fn repeat(command: Command, result: Vec<u8>, waiting: &mut Vec<Waiting>) {
    let Command::Edit { reply, .. } = command else { return };
    waiting.push(Box::new(move |committed, document| {
        let edited = Edited::decode(&result, document).ok_or(HubError::BadBase);
        drop(reply.send(committed.and(edited)));
    }));
}

fn text_now(document: &Document) -> TextAt {
    TextAt {
        text: Arc::new(document.text().to_one_string()),
        version: document.version().clone(),
        heads: document.portable(document.version()),
    }
}
