//! What a document's task does for a session: every step over the document itself, journalled with it.

use std::sync::Arc;

use syncline_engine::catalogue::DocId;
use syncline_engine::{Document, Meta, Version};
use syncline_protocol::diffsync::{
    Answer, Answered, ClientReturn, ClientSync, HistoryEntry, Parts, Server, Shadow, Step, SummedText,
};
use syncline_protocol::limits;
use syncline_store::{Displaced, Record};
use tokio::sync::watch;

use super::change_log;
use super::live_history::LiveHistory;
use super::session::DiffParty;
use super::stored;
use super::tip::{Showcase, Tip};
use crate::document::Reply;
use crate::error::HubError;
use crate::hub::Hub;
use crate::text_session::{clipped, still_text};

/// Who a session is with, and the path by which they know the document.
pub(crate) type Seated = (DiffParty, String);

/// What a document's task is asked about a session.
pub(crate) enum DiffCommand {
    /// Begin a session, or go on with one as the journal has it.
    Open { stored: Option<Vec<u8>>, reply: Reply<Opened> },
    /// Take a step.
    Step { server: Server<Version>, request: Request, seated: Arc<Seated>, reply: Reply<Stepped> },
    /// Journal the session as it stands.
    Park { server: Server<Version>, seated: Arc<Seated>, reply: Reply<()> },
    /// What happened?
    History { reply: Reply<Vec<HistoryEntry>> },
    /// How many events are there?
    Version { reply: Reply<u64> },
}

pub(crate) enum Request {
    Sync(ClientSync),
    Return(ClientReturn),
    /// The last one waits for news.
    News,
}

pub(crate) struct Opened {
    pub server: Server<Version>,
    pub resumed: bool,
}

pub(crate) struct Stepped {
    pub server: Server<Version>,
    pub step: Step,
    pub showcase: Arc<Showcase>,
    /// Tells of what is durable after this answer.
    pub durable: watch::Receiver<u64>,
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
    let record =
        |server: &Server<Version>, (party, path): &Seated, document: &Document| Record::DiffSession {
            session: party.session.0,
            doc,
            identity: party.identity,
            state: stored::encode(&server.parts(), path, document),
        };
    Some(match command {
        DiffCommand::Open { stored, reply } => {
            let opened = opened(stored, document, tip);
            Box::new(move |committed, _| drop(reply.send(committed.map(|()| opened))))
        }
        DiffCommand::Step { mut server, request, seated, reply } => {
            if let Err(error) = still_text(hub, doc) {
                drop(reply.send(Err(error)));
                return None;
            }
            let party = &seated.0;
            let name = if party.name.is_empty() { "diff-sync client" } else { clipped(&party.name) };
            let meta = Meta { author: name.into(), channel: "diffsync".into(), time_ms: hub.now_ms() };
            let mut history = LiveHistory { document, tip, agent: hub.agent(), meta: &meta };
            let step = match &request {
                Request::Sync(sync) => server.sync(sync, &mut history),
                Request::Return(back) => server.returned(back, &mut history),
                Request::News => Ok(Step { answer: server.news(&mut history), entered: false }),
            };
            let step = match step {
                Ok(step) => step,
                Err(error) => {
                    drop(reply.send(Err(error)));
                    return None;
                }
            };
            if step.entered {
                extra.push(record(&server, &seated, document));
            }
            if let Request::Return(back) = request
                && step.answer != Answer::OutOfPlace
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
                let (time_ms, author) = (meta.time_ms, name.to_owned());
                extra.push(Record::Displaced(Displaced { doc, time_ms, author, content: Some(hash) }));
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
        DiffCommand::Park { server, seated, reply } => {
            extra.push(record(&server, &seated, document));
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
    match restored(parts, &now, |version| SummedText::from(document.string_at(version).as_str())) {
        Some(server) => Opened { server, resumed: true },
        None => Opened { server: Server::new(now), resumed: false },
    }
}

/// The session. Of its texts at most one is looked up, which replays the document's history: what the client was told
/// leads from the backup's to the others.
fn restored(
    parts: Parts<Version>,
    now: &Shadow<Version>,
    look_up: impl FnOnce(&Version) -> SummedText,
) -> Option<Server<Version>> {
    // Where nothing was told since the backup, the two may be two versions with one text.
    let is_now = parts.backup == now.version || (parts.told.is_empty() && parts.shadow == now.version);
    let backup = if is_now { now.text.clone() } else { look_up(&parts.backup) };
    Server::restored(parts, backup)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use syncline_engine::{AgentId, Edit, Meta};
    use syncline_protocol::diffsync::Delta;

    use super::*;

    #[test]
    fn a_resumed_session_replays_the_history_once_at_most() {
        let mut document = Document::new();
        let agent = AgentId::from_random(1);
        let mut versions = Vec::new();
        for word in ["one", "two ", "three "] {
            versions.push(document.edit(&[Edit::insert(0, word)], agent, &Meta::default()).unwrap().version);
        }
        let now = Tip::of(&document).now(&mut document).clone();
        let delta = Arc::new(Delta::of(&[Edit::insert(0, "two ")], 3));
        let parts = |shadow: usize, backup: usize, told: bool| Parts {
            shadow: versions[shadow].clone(),
            backup: versions[backup].clone(),
            n: 0,
            backup_m: 0,
            told: told.then(|| (delta.clone(), versions[shadow].clone())).into_iter().collect(),
            last_seq: 1,
            answered: Answered::Sync,
        };
        for (parts, expected, most) in [
            (parts(1, 0, true), "two one", 1),
            (parts(1, 1, false), "two one", 1),
            (parts(2, 2, false), "three two one", 0),
        ] {
            let asked = Cell::new(0);
            let server = restored(parts, &now, |version| {
                asked.set(asked.get() + 1);
                SummedText::from(document.string_at(version).as_str())
            });
            assert_eq!(server.unwrap().shadow().text.to_string(), expected);
            assert_eq!(asked.get(), most);
        }
    }
}
