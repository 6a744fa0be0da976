//! One client's session on one document, for as long as its connection has it.

use std::sync::Arc;

use syncline_engine::Version;
use syncline_engine::catalogue::DocId;
use syncline_protocol::diffsync::{
    Answer, ClientReturn, ClientSync, ConnectOk, HistoryEntry, Server, SessionId,
};
use tokio::sync::watch;

use super::command::{DiffCommand, Opened, Request, Seated, Stepped};
use super::seat::Taken;
use super::shown::Shown;
use super::stored;
use super::tip::{Showcase, Snapshot};
use crate::document::Command;
use crate::error::HubError;
use crate::hub::Hub;
use crate::text_session::{find_text, still_text};

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
    /// Where the document was when this was opened. The client may know it by an older path.
    place: String,
    seated: Arc<Seated>,
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

/// The document that a client means: which one, where it is, and by which path its client knows it.
#[derive(Clone, Debug)]
pub struct DiffTarget {
    doc: DocId,
    place: String,
    path: String,
}

impl DiffTarget {
    /// The document's path, which need not be the one that the client asked for.
    pub fn document(&self) -> &str {
        &self.place
    }

    /// The document that is meant: what this session had under this path, wherever it was renamed to since, or else
    /// what is at the path. Its client cannot know the new name, and what it has not sent yet belongs there: also if
    /// another document of this session has the name now.
    pub(crate) async fn find(hub: &Hub, path: Option<&str>, party: &DiffParty) -> Result<Self, HubError> {
        let found = find_text(hub, path).map(|(doc, place)| Self { doc, path: place.clone(), place });
        let Some(path) = path else {
            // Whoever edits by mistake another text than the one that was meant would not notice.
            let texts = hub.text_paths().len();
            return if texts > 1 { Err(HubError::WhichDocument { texts }) } else { found };
        };
        let session = party.session.0;
        let journalled = hub.read_journal(move |reader| Ok(reader.diff_documents(session)?)).await?;
        // What connections have is newer than the journal.
        let mut known = hub.0.seats.of(party.session, &party.identity);
        for (doc, state) in journalled.into_iter().filter(|(_, state)| state.identity == party.identity) {
            if let Ok(path) = stored::path(&state.state) {
                known.entry(doc).or_insert_with(|| path.to_owned());
            }
        }
        known.retain(|_, known_as| known_as == path);
        if found.as_ref().is_ok_and(|found| known.contains_key(&found.doc)) {
            return found;
        }
        let moved = known.into_keys().find_map(|doc| {
            let place = hub.catalogue().get(&doc)?.path()?.clone();
            // Not if it was deleted, or became something else.
            let is_there = find_text(hub, Some(&place)).is_ok_and(|(at, _)| at == doc);
            is_there.then(|| Self { doc, place, path: path.to_owned() })
        });
        moved.map_or(found, Ok)
    }
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

impl DiffSession {
    pub(crate) async fn open(
        hub: Hub,
        target: DiffTarget,
        party: DiffParty,
    ) -> Result<(DiffSession, ConnectOk), HubError> {
        let DiffTarget { doc, place, path } = target;
        let mut taken = hub.0.seats.take((party.session, doc), &path, party.identity).await?;
        let (resumed, changed_ms) = DiffSession::state(&hub, doc, &party, &mut taken).await?;
        let durable = hub.handle(doc)?.durable;
        let version = hub.ask(doc, |reply| Command::Diff(DiffCommand::Version { reply })).await?;
        let server = taken.state.server.as_ref().ok_or(HubError::Closed)?;
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
            wait: false,
        };
        let seated = Arc::new((party, path));
        let session = DiffSession { hub, doc, place, seated, taken, durable, showcase: None, dirty: true };
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
        let known = taken.state.server.as_ref().is_some_and(Server::has_answered);
        if known && !taken.state.unsure {
            return Ok((true, changed_ms));
        }
        if stored.as_ref().is_some_and(|stored| stored.identity != party.identity) {
            return Err(HubError::NotYours);
        }
        let stored = stored.map(|stored| stored.state);
        let Opened { server, resumed } =
            hub.ask(doc, |reply| Command::Diff(DiffCommand::Open { stored, reply })).await?;
        taken.state.unsure = false;
        // What the journal has is newer only if the step was committed that seemed to have failed.
        let last_seq = |server: &Server<Version>| server.numbers().2;
        if known
            && !(resumed
                && taken.state.server.as_ref().is_some_and(|ours| last_seq(ours) < last_seq(&server)))
        {
            return Ok((true, changed_ms));
        }
        taken.state.server = Some(server);
        Ok((resumed, changed_ms))
    }

    /// Whether a connection that has this session cannot open that document as well: it would wait for its own seat, or
    /// its client could not say which of the two it means.
    pub fn excludes(&self, target: &DiffTarget) -> bool {
        self.doc == target.doc || self.seated.1 == target.path
    }

    /// The document's path, which need not be the one that the client asked for.
    pub fn document(&self) -> &str {
        &self.place
    }

    /// Takes a step. What it entered is durable on return.
    ///
    /// # Errors
    /// [`HubError::NotText`] when the document has become something else, [`HubError::TooLarge`], [`HubError::StorageFull`] and others: nothing was entered, the session is as
    /// before, and the request may come again.
    pub async fn sync(&mut self, sync: ClientSync) -> Result<Answer, HubError> {
        if let Some(answer) = self.glance(&sync) {
            return Ok(answer);
        }
        // In a box, as all that is rare: of a thousand sessions each has room for what it awaits.
        Box::pin(self.step(Request::Sync(sync))).await
    }

    /// What there is to say to the last request, which waits for news: perhaps nothing.
    ///
    /// # Errors
    /// As [`DiffSession::sync`].
    pub async fn answer(&mut self) -> Result<Answer, HubError> {
        let missed = match (self.shown(), &mut self.taken.state.server) {
            // In place: what is looked at here is known to be there.
            (Some(snapshot), Some(server)) if snapshot.knows(&server.shadow().version) => {
                self.dirty = true;
                return Ok(server.news(&mut Shown { snapshot: &snapshot, missed: false }));
            }
            _ => Request::News,
        };
        Box::pin(self.step(missed)).await
    }

    /// Takes a step that enters nothing by what the document shows, without asking its task: of a thousand
    /// clients that hear of an edit, one made it. `None` if that does not do.
    fn glance(&mut self, sync: &ClientSync) -> Option<Answer> {
        let snapshot = self.shown()?;
        let mut server = self.taken.state.server.clone()?;
        let mut shown = Shown { snapshot: &snapshot, missed: false };
        // An error: there is something to enter.
        let step = server.sync(sync, &mut shown).ok()?;
        if shown.missed {
            return None;
        }
        self.taken.state.server = Some(server);
        self.dirty = true;
        Some(step.answer)
    }

    /// What the document shows, if that is its newest version and the session stands where it seems to.
    fn shown(&mut self) -> Option<Arc<Snapshot>> {
        let snapshot = self.showcase.as_ref()?.look()?;
        // The task refuses then: what is shown is in no file any more.
        still_text(&self.hub, self.doc).ok()?;
        // If the task that showed it does not run any more, nobody says what is newest.
        self.durable.has_changed().ok()?;
        (*self.durable.borrow_and_update() == snapshot.count && !self.taken.state.unsure).then_some(snapshot)
    }

    /// Takes the text of a client whose session was not known. Durable on return.
    ///
    /// # Errors
    /// As [`DiffSession::sync`].
    pub async fn returned(&mut self, back: ClientReturn) -> Result<Answer, HubError> {
        Box::pin(self.step(Request::Return(back))).await
    }

    async fn step(&mut self, request: Request) -> Result<Answer, HubError> {
        if self.taken.state.unsure {
            DiffSession::state(&self.hub, self.doc, &self.seated.0, &mut self.taken).await?;
        }
        // A copy goes: if nothing is committed, the session stands where it stood. Whether anything was is not known
        // when the commit fails, or when this future is dropped: then the journal is asked before the next step.
        let server = self.taken.state.server.clone().ok_or(HubError::Closed)?;
        self.taken.state.unsure = true;
        let seated = self.seated.clone();
        let Stepped { server, step, showcase, durable } = self
            .hub
            .ask(self.doc, |reply| Command::Diff(DiffCommand::Step { server, request, seated, reply }))
            .await?;
        (self.taken.state.server, self.taken.state.unsure) = (Some(server), false);
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
        let DiffSession { hub, doc, seated, taken, dirty, .. } = self;
        // Whoever waits goes on with what is in memory.
        if dirty
            && !taken.is_wanted()
            && !taken.state.unsure
            && let Some(server) = taken.state.server.clone()
        {
            // If it cannot be recorded now, the client will be told again what it was told since.
            let _ = hub.ask(doc, |reply| Command::Diff(DiffCommand::Park { server, seated, reply })).await;
        }
    }
}
