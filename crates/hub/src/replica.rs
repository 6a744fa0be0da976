//! One `replica` session: a [`Link`] on one side, a [`Hub`] on the other. What carries its bytes is the
//! caller's: a WebSocket, a message queue, shared memory.
//!
//! Everything the link asks of the hub runs at the same time, each in a task of its own: the journal commits
//! many merges at once, so a thousand documents do not wait for each other. The link bounds how many there
//! are; a peer that does not keep to that is not read from until there is room.

use std::collections::VecDeque;

use syncline_engine::EventBatch;
use syncline_engine::catalogue::DocId;
use syncline_protocol::replica::{Have, Input, Link, LinkEvent, Message, Output, encode_parts};
use syncline_protocol::{ErrorCode, ProtocolError, limits};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;

use crate::hub::Hub;
use crate::refusal::refusal;

/// More than a peer that keeps to the protocol can make wait; who makes more wait is not read from.
const MAX_OUTBOX: usize = limits::MAX_MESSAGE_BYTES + (32 << 20);

/// The same for what the hub is doing.
const MAX_TASKS: usize = 4 * limits::MAX_IN_FLIGHT;

/// Batches longer than this are encoded and decoded on a thread that may take its time.
const LONG: usize = 256 << 10;

/// Events for the person that wait to be taken; progress is coalesced.
const MAX_EVENTS: usize = 1_024;

/// Decides about the token of a hello.
pub type Check<'a> = &'a (dyn Fn(&str) -> Result<(), ProtocolError> + Send + Sync);

/// Who this side of a session is, and so what its events lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// It was dialed. Nobody listens to its events.
    Served,
    /// It joined the other hub's folder: the first greeting takes over the folder's id, and the first
    /// synchronisation lets differences found at the start be entered.
    Joined,
    /// A neighbour among equals: whoever runs the sessions decides about these things.
    Neighbour,
}

/// One end of a connection between two hubs, without the connection.
pub struct Replica<'a> {
    hub: Hub,
    link: Link,
    check: Check<'a>,
    started: Instant,
    /// Encoded messages, in order.
    outbox: VecDeque<Vec<u8>>,
    outbox_bytes: usize,
    tasks: JoinSet<Input>,
    side: Side,
    /// `None`: nobody listens.
    events: Option<VecDeque<LinkEvent>>,
    /// The link is done; what is in the outbox still leaves.
    closing: Option<Option<ProtocolError>>,
    merged: u64,
}

impl<'a> Replica<'a> {
    /// A session that has not begun.
    pub fn new(hub: Hub, link: Link, check: Check<'a>, side: Side) -> Replica<'a> {
        Replica {
            hub,
            link,
            check,
            started: Instant::now(),
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            tasks: JoinSet::new(),
            side,
            events: (side != Side::Served).then(VecDeque::new),
            closing: None,
            merged: 0,
        }
    }

    /// The hub.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Whether both sides have greeted.
    pub fn is_open(&self) -> bool {
        self.link.is_open()
    }

    /// How many batches of events the peer has sent that are merged and journalled.
    pub fn merged(&self) -> u64 {
        self.merged
    }

    /// Feeds the link, and does what comes of it: what is quick at once, the rest in a task.
    pub fn handle(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.merged += u64::from(matches!(input, Input::Merged { .. }));
            for output in self.link.handle(input, self.started.elapsed()) {
                inputs.extend(self.perform(output));
            }
        }
    }

    /// A message came.
    pub fn received(&mut self, bytes: &[u8]) {
        self.handle(match Message::decode(bytes) {
            Ok(message) => Input::Received(message),
            Err(error) => Input::Garbled(error),
        });
    }

    /// Whether the next message may be taken from the peer.
    pub fn has_room(&self) -> bool {
        self.outbox_bytes < MAX_OUTBOX && self.tasks.len() < MAX_TASKS && self.closing.is_none()
    }

    /// Whether the hub is doing something for this session.
    pub fn is_working(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Waits until the hub has done something. Never, if it is doing nothing. Cancel-safe: hand the result to
    /// [`Replica::handle`].
    pub async fn done(&mut self) -> Input {
        match self.tasks.join_next().await {
            Some(done) => done.unwrap_or_else(|_| Input::Garbled(internal())),
            None => std::future::pending().await,
        }
    }

    /// Whether messages wait to be sent.
    pub fn has_messages(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The next message to send.
    pub fn next_message(&mut self) -> Option<Vec<u8>> {
        let bytes = self.outbox.pop_front()?;
        self.outbox_bytes = self.outbox_bytes.saturating_sub(bytes.len());
        Some(bytes)
    }

    /// Whether the session is over once all messages have left; [`Replica::end`] says why.
    pub fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Why the session is over (`None` within: in good order), if it is.
    pub fn end(&mut self) -> Option<Option<ProtocolError>> {
        self.closing.take()
    }

    /// Whether there are events to take.
    pub fn has_events(&self) -> bool {
        self.events.as_ref().is_some_and(|events| !events.is_empty())
    }

    /// The next event for whoever listens.
    pub fn next_event(&mut self) -> Option<LinkEvent> {
        self.events.as_mut()?.pop_front()
    }

    /// Nobody listens any more.
    pub fn stop_listening(&mut self) {
        self.events = None;
    }

    fn perform(&mut self, output: Output) -> Option<Input> {
        let hub = self.hub.clone();
        match output {
            Output::Send(message) => {
                let bytes = message.encode();
                self.outbox_bytes += bytes.len();
                self.outbox.push_back(bytes);
            }
            Output::Close(error) => self.closing = Some(error),
            Output::Event(event) => self.event(event),
            Output::CheckToken(token) => return Some(Input::TokenChecked((self.check)(&token))),
            Output::AskCatalogueVector => return Some(Input::CatalogueVector(hub.catalogue_vector())),
            Output::AskCatalogueSince(known) => {
                let (writes, vector) = hub.catalogue_since(&known);
                return Some(Input::CatalogueDelta { writes, vector });
            }
            Output::AskHeads => return Some(Input::Heads(hub.heads())),
            Output::MergeCatalogue { writes, vector } => {
                self.tasks.spawn(async move {
                    match hub.merge_catalogue(writes, vector).await {
                        Ok(()) => Input::CatalogueMerged { wanted: hub.wanted_contents() },
                        Err(error) => Input::CatalogueRefused(refusal(&error)),
                    }
                });
            }
            Output::AskEvents { doc, have } => {
                self.tasks.spawn(events_since(hub, doc, have));
            }
            Output::AskVectorOf { doc } => {
                self.tasks.spawn(async move {
                    match hub.vector_of(doc).await {
                        Ok(vector) => Input::VectorOf { doc, vector },
                        Err(error) => Input::VectorFailed { doc, error: refusal(&error) },
                    }
                });
            }
            Output::MergeEvents { doc, batch } => {
                self.tasks.spawn(merge_events(hub, doc, batch));
            }
            Output::AskContent { hash } => {
                self.tasks.spawn(async move {
                    // A content that cannot be read is one that is not there: the peer asks again.
                    let bytes = hub.content(hash).await.ok().flatten();
                    Input::ContentLoaded { hash, bytes }
                });
            }
            Output::KeepContent { hash, bytes } => {
                self.tasks.spawn(async move {
                    match hub.keep_content(bytes).await {
                        Ok(_) => Input::ContentKept { hash },
                        Err(_) => Input::ContentRefused { hash },
                    }
                });
            }
        }
        None
    }

    fn event(&mut self, event: LinkEvent) {
        match &event {
            LinkEvent::Connected { folder, .. } if self.side == Side::Joined => {
                self.hub.adopt_folder_id(*folder);
            }
            LinkEvent::Synced { .. } if self.side == Side::Joined => self.hub.peer_synced(),
            LinkEvent::Synced { .. } => self.hub.peer_heard(),
            _ => {}
        }
        let Some(events) = &mut self.events else { return };
        let progress = |event: &LinkEvent| matches!(event, LinkEvent::Progress { .. });
        let room = events.len() < MAX_EVENTS;
        match events.back_mut() {
            Some(last) if progress(last) && progress(&event) => *last = event,
            _ if room => events.push_back(event),
            // Only refused documents come in such numbers; the link itself goes on.
            _ => {}
        }
    }
}

async fn events_since(hub: Hub, doc: DocId, have: Have) -> Input {
    let (batch, heads) = match hub.events_since(doc, have).await {
        Ok(found) => found,
        Err(error) => return Input::EventsFailed { doc, error: refusal(&error) },
    };
    let runs = batch.runs.len();
    let long = runs > 1_000 || batch.runs.iter().any(|run| run.count() > LONG);
    let parts =
        if long { spawn_blocking(move || encode_parts(batch)).await.ok() } else { Some(encode_parts(batch)) };
    match parts {
        Some(parts) => Input::Events { doc, parts, heads },
        None => Input::EventsFailed { doc, error: internal() },
    }
}

async fn merge_events(hub: Hub, doc: DocId, bytes: Vec<u8>) -> Input {
    let decoded = if bytes.len() > LONG {
        spawn_blocking(move || EventBatch::decode(&bytes)).await.ok()
    } else {
        Some(EventBatch::decode(&bytes))
    };
    let batch = match decoded {
        Some(Ok(batch)) => batch,
        Some(Err(error)) => {
            let error = ProtocolError::new(ErrorCode::BadEvents, error.to_string());
            return Input::MergeRefused { doc, error };
        }
        None => return Input::MergeRefused { doc, error: internal() },
    };
    match hub.merge_events(doc, batch).await {
        Ok(heads) => Input::Merged { doc, heads },
        Err(error) => Input::MergeRefused { doc, error: refusal(&error) },
    }
}

fn internal() -> ProtocolError {
    ProtocolError::new(ErrorCode::Internal, "a task of the hub failed")
}
