//! One client's session on one document, for as long as its connection has it.

use std::sync::Arc;

use syncline_engine::catalogue::DocId;
use syncline_engine::{Document, Meta, Version};
use syncline_protocol::diffsync::{
    Answer, Answered, ClientReturn, ClientSync, ConnectOk, HistoryEntry, Server, SessionId, Step, SummedText,
};
use syncline_protocol::limits;
use syncline_store::Record;
use tokio::sync::watch;

use super::change_log;
use super::live_history::LiveHistory;
use super::seat::Taken;
use super::shown::Shown;
use super::stored;
use super::tip::{Showcase, Tip};
use crate::document::{Command, Reply};
use crate::error::HubError;
use crate::hub::Hub;
use crate::text_session::{clipped, find_text};

/// Who a session is with.
#[derive(Clone, Debug)]
pub struct DiffParty {
    /// The session's name.
    pub session: SessionId,
    /// Who may have it: a hash of what let them in.
    pub identity: [u8; 32],
    /// How the client named itself; may be empty.
    pub name: String,
}

/// A client's session on a document. Ended by [`DiffSession::leave`]; if it is only dropped, what is not in the
/// journal yet (nothing that was typed) is told to the client again.
pub struct DiffSession {
    hub: Hub,
    doc: DocId,
    path: String,
    party: Arc<DiffParty>,
    taken: Taken,
    durable: watch::Receiver<u64>,
    /// What the document shows; `None` until it was asked once.
    showcase: Option<Arc<Showcase>>,
    /// The state has changed since it was journalled.
    dirty: bool,
}

/// What happens to a session that its connection did not ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// The document has a version that the client has not.
    Changed,
    /// Another connection wants the session.
    TakenOver,
}

async fn changed(hub: &Hub, doc: DocId, durable: &mut watch::Receiver<u64>) {
    if durable.changed().await.is_err() {
        // The task ended; a new one tells what happens from now on.
        match hub.handle(doc) {
            Ok(handle) => *durable = handle.durable,
            Err(_) => std::future::pending().await,
        }
    }
}

/// What a document's task is asked about a session.
pub(crate) enum DiffCommand {
    /// Begin a session, or go on with one as the journal has it.
    Open { stored: Option<Vec<u8>>, reply: Reply<Opened> },
    /// Take a step.
    Step { server: Server<Version>, request: Request, party: Arc<DiffParty>, reply: Reply<Stepped> },
    /// Journal the session as it stands.
    Park { server: Server<Version>, party: Arc<DiffParty>, reply: Reply<()> },
    /// What happened?
    History { reply: Reply<Vec<HistoryEntry>> },
    /// How many events are there?
    Version { reply: Reply<u64> },
}

pub(crate) enum Request {
    Sync(ClientSync),
    Return(ClientReturn),
}

pub(crate) struct Opened {
    server: Server<Version>,
    resumed: bool,
}

pub(crate) struct Stepped {
    server: Server<Version>,
    step: Step,
    showcase: Arc<Showcase>,
    /// Tells of what is durable after this answer.
    durable: watch::Receiver<u64>,
}

impl DiffCommand {
    /// Answers that the document cannot be had.
    pub fn refuse(self, error: HubError) {
        match self {
            DiffCommand::Open { reply, .. } => drop(reply.send(Err(error))),
            DiffCommand::Step { reply, .. } => drop(reply.send(Err(error))),
            DiffCommand::Park { reply, .. } => drop(reply.send(Err(error))),
            DiffCommand::History { reply } => drop(reply.send(Err(error))),
            DiffCommand::Version { reply } => drop(reply.send(Err(error))),
        }
    }
}

/// What waits for the commit.
type Waiting = Box<dyn FnOnce(Result<(), HubError>, &Document) + Send>;

/// Carries a command out on the document in memory. What is to be journalled with it goes to `extra`; what is
/// answered waits for the commit.
pub(crate) fn take(
    command: DiffCommand,
    (hub, doc): (&Hub, DocId),
    (document, tip): (&mut Document, &mut Option<Tip>),
    published: &watch::Sender<u64>,
    extra: &mut Vec<Record>,
) -> Option<Waiting> {
    let tip = tip.get_or_insert_with(|| Tip::of(document));
    let record = |server: &Server<Version>, party: &DiffParty, document: &Document| Record::DiffSession {
        session: party.session.0,
        doc,
        identity: party.identity,
        state: stored::encode(&server.parts(), document),
    };
    Some(match command {
        DiffCommand::Open { stored, reply } => {
            let opened = opened(stored, document, tip);
            Box::new(move |committed, _| drop(reply.send(committed.map(|()| opened))))
        }
        DiffCommand::Step { mut server, request, party, reply } => {
            let name = if party.name.is_empty() { "diff-sync client" } else { clipped(&party.name) };
            let meta = Meta { author: name.into(), channel: "diffsync".into(), time_ms: hub.now_ms() };
            let mut history = LiveHistory { document, tip, agent: hub.agent(), meta: &meta };
            let step = match &request {
                Request::Sync(sync) => server.sync(sync, &mut history),
                Request::Return(back) => server.returned(back, &mut history),
            };
            let step = match step {
                Ok(step) => step,
                Err(error) => {
                    drop(reply.send(Err(error)));
                    return None;
                }
            };
            if step.entered {
                extra.push(record(&server, &party, document));
            }
            if let Request::Return(back) = request
                && (step.entered || *document.text() != *back.text)
            {
                // Its text may be the only copy of what somebody wrote: kept whole, also if nothing of it was
                // entered (its checksum was wrong, or its edit equalled somebody else's).
                let hash = *blake3::hash(back.text.as_bytes()).as_bytes();
                let what = format!(
                    "{name} came back with a session not known any more; its text is kept as {}",
                    blake3::Hash::from_bytes(hash).to_hex()
                );
                extra.push(Record::Content { hash, bytes: back.text.into_bytes() });
                extra.push(Record::Decision { doc, time_ms: meta.time_ms, what });
            }
            let (published, showcase) = (published.clone(), tip.showcase());
            Box::new(move |committed, _| {
                // Subscribed when the commit is published: what comes after is news to this client, and what
                // came before is in its answer.
                let done = || Stepped { server, step, showcase, durable: published.subscribe() };
                drop(reply.send(committed.map(|()| done())));
            })
        }
        DiffCommand::Park { server, party, reply } => {
            extra.push(record(&server, &party, document));
            Box::new(move |committed, _| drop(reply.send(committed)))
        }
        DiffCommand::History { reply } => Box::new(move |committed, document| {
            drop(reply.send(committed.map(|()| change_log(document, limits::MAX_HISTORY))));
        }),
        DiffCommand::Version { reply } => Box::new(move |committed, document| {
            drop(reply.send(committed.map(|()| document.events() as u64)));
        }),
    })
}

/// The session that the journal has, or a new one.
fn opened(stored: Option<Vec<u8>>, document: &mut Document, tip: &mut Tip) -> Opened {
    // A session that cannot be read is a session that is not known: its client brings its text itself.
    let parts = stored.and_then(|bytes| stored::decode(&bytes, document).ok().flatten());
    let now = tip.now(document).clone();
    // Whether its client ever learnt of a session that answered nothing is not known: it begins anew, and the client
    // brings what it has.
    let Some(parts) = parts.filter(|parts| parts.answered != Answered::Nothing) else {
        return Opened { server: Server::new(now), resumed: false };
    };
    let text = |version: &Version| {
        if *version == now.version {
            return now.text.clone();
        }
        SummedText::from(document.text_at(version).to_string().as_str())
    };
    let (shadow, backup) = (text(&parts.shadow), text(&parts.backup));
    Opened { server: Server::restored(parts, shadow, backup), resumed: true }
}

impl DiffSession {
    pub(crate) async fn open(
        hub: Hub,
        path: Option<&str>,
        party: DiffParty,
    ) -> Result<(DiffSession, ConnectOk), HubError> {
        let (doc, path) = find_text(&hub, path)?;
        let mut taken = hub.0.seats.take((doc, party.session), party.identity).await?;
        let opened = DiffSession::state(&hub, doc, &party, &mut taken).await;
        let (resumed, changed_ms) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                hub.0.seats.leave((doc, party.session), taken);
                return Err(error);
            }
        };
        let handle = hub.handle(doc);
        let version = hub.ask(doc, |reply| Command::Diff(DiffCommand::Version { reply })).await;
        let (durable, version) = match (handle, version) {
            (Ok(handle), Ok(version)) => (handle.durable, version),
            (Err(error), _) | (_, Err(error)) => {
                hub.0.seats.leave((doc, party.session), taken);
                return Err(error);
            }
        };
        let server = taken.state.as_ref().ok_or(HubError::Closed)?;
        let (n, m, last_seq) = server.numbers();
        let text = &server.shadow().text;
        let ok = ConnectOk {
            doc: path.clone(),
            resumed,
            text: (!resumed).then(|| text.to_string()),
            n,
            m,
            sum: text.sum(),
            last_seq,
            version,
            changed_ms,
            compress: None,
        };
        let session = DiffSession {
            hub,
            doc,
            path,
            party: Arc::new(party),
            taken,
            durable,
            showcase: None,
            dirty: true,
        };
        Ok((session, ok))
    }

    /// Finds the session's state: left by an older connection, in the journal, or new.
    async fn state(
        hub: &Hub,
        doc: DocId,
        party: &DiffParty,
        taken: &mut Taken,
    ) -> Result<(bool, u64), HubError> {
        let session = party.session.0;
        let (stored, changed_ms) = hub
            .read_journal(move |reader| {
                Ok((reader.diff_session(session, doc)?, reader.changed_ms(doc)?.unwrap_or_default()))
            })
            .await?;
        if taken.state.as_ref().is_some_and(Server::has_answered) {
            return Ok((true, changed_ms));
        }
        if stored.as_ref().is_some_and(|stored| stored.identity != party.identity) {
            return Err(HubError::NotYours);
        }
        let stored = stored.map(|stored| stored.state);
        let Opened { server, resumed } =
            hub.ask(doc, |reply| Command::Diff(DiffCommand::Open { stored, reply })).await?;
        *taken.state = Some(server);
        Ok((resumed, changed_ms))
    }

    /// Whether this is that session on the document at that path (`None`: the folder's first).
    pub fn is_on(&self, path: Option<&str>, session: SessionId) -> bool {
        self.party.session == session && find_text(&self.hub, path).is_ok_and(|(doc, _)| doc == self.doc)
    }

    /// The document's path.
    pub fn document(&self) -> &str {
        &self.path
    }

    /// Takes a step. What it entered is durable on return.
    ///
    /// # Errors
    /// [`HubError::TooLarge`], [`HubError::StorageFull`] and others: nothing was entered, the session is as
    /// before, and the request may come again.
    pub async fn sync(&mut self, sync: ClientSync) -> Result<Answer, HubError> {
        if let Some(answer) = self.glance(&sync) {
            return Ok(answer);
        }
        self.step(Request::Sync(sync)).await
    }

    /// Takes a step that enters nothing by what the document shows, without asking its task: of a thousand
    /// clients that hear of an edit, one made it. `None` if that does not do.
    fn glance(&mut self, sync: &ClientSync) -> Option<Answer> {
        let snapshot = self.showcase.as_ref()?.look()?;
        // It counts only if it is the newest, and if the task that showed it still runs.
        self.durable.has_changed().ok()?;
        if *self.durable.borrow_and_update() != snapshot.count {
            return None;
        }
        let mut server = self.taken.state.clone()?;
        let mut shown = Shown { snapshot: &snapshot, missed: false };
        // An error: there is something to enter.
        let step = server.sync(sync, &mut shown).ok()?;
        if shown.missed {
            return None;
        }
        *self.taken.state = Some(server);
        self.dirty = true;
        Some(step.answer)
    }

    /// Takes the text of a client whose session was not known. Durable on return.
    ///
    /// # Errors
    /// As [`DiffSession::sync`].
    pub async fn returned(&mut self, back: ClientReturn) -> Result<Answer, HubError> {
        self.step(Request::Return(back)).await
    }

    async fn step(&mut self, request: Request) -> Result<Answer, HubError> {
        // A copy goes: if the commit fails, or this future is dropped, the session stands where it stood.
        let server = self.taken.state.clone().ok_or(HubError::Closed)?;
        let party = self.party.clone();
        let Stepped { server, step, showcase, durable } = self
            .hub
            .ask(self.doc, |reply| Command::Diff(DiffCommand::Step { server, request, party, reply }))
            .await?;
        *self.taken.state = Some(server);
        (self.durable, self.showcase) = (durable, Some(showcase));
        self.dirty = !step.entered;
        Ok(step.answer)
    }

    /// The newest changes, oldest first.
    ///
    /// # Errors
    /// When the document cannot be read.
    pub async fn history(&self) -> Result<Vec<HistoryEntry>, HubError> {
        self.hub.ask(self.doc, |reply| Command::Diff(DiffCommand::History { reply })).await
    }

    /// Returns when the document has a version that the last answer did not carry. Cancel-safe.
    pub async fn changed(&mut self) {
        changed(&self.hub, self.doc, &mut self.durable).await;
    }

    /// Returns when another connection wants this session. Cancel-safe.
    pub async fn taken_over(&mut self) {
        self.taken.wanted().await;
    }

    /// What happens that nobody here asked for: that another connection wants the session, and, if asked for,
    /// changes of the document. Cancel-safe.
    pub async fn news(&mut self, changes: bool) -> News {
        tokio::select! {
            () = self.taken.wanted() => News::TakenOver,
            () = changed(&self.hub, self.doc, &mut self.durable), if changes => News::Changed,
        }
    }

    /// Leaves the session to whoever comes back to it.
    pub async fn leave(self) {
        let DiffSession { hub, doc, party, taken, dirty, .. } = self;
        // Whoever waits goes on with what is in memory.
        if dirty
            && !taken.is_wanted()
            && let Some(server) = taken.state.clone()
        {
            let (asked, party) = (hub.clone(), party.clone());
            // If it cannot be recorded now, the client will be told again what it was told since.
            let _ = asked.ask(doc, |reply| Command::Diff(DiffCommand::Park { server, party, reply })).await;
        }
        hub.0.seats.leave((doc, party.session), taken);
    }
}
