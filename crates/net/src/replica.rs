//! One `replica` connection: a [`Link`] on one side, a [`Hub`] on the other, a WebSocket between them.
//!
//! Everything the link asks of the hub runs at the same time, each in a task of its own: the journal commits
//! many merges at once, so a thousand documents do not wait for each other. The link bounds how many there
//! are; a peer that does not keep to that is not read from until there is room.

use std::collections::VecDeque;
use std::time::Duration;

use syncline_engine::EventBatch;
use syncline_engine::catalogue::DocId;
use syncline_hub::Hub;
use syncline_protocol::replica::{Have, Input, Link, LinkEvent, Message, Output, encode_parts};
use syncline_protocol::{ErrorCode, ProtocolError, limits};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::admission::Place;
use crate::dial::JoinEvent;
use crate::refusal::refusal;
use crate::socket::{Broken, Incoming, Outgoing, Received, Stranger, Writer};

/// More than a peer that keeps to the protocol can make wait; who makes more wait is not read from.
const MAX_OUTBOX: usize = limits::MAX_MESSAGE_BYTES + (32 << 20);

/// The same for what the hub is doing.
const MAX_TASKS: usize = 4 * limits::MAX_IN_FLIGHT;

/// Batches longer than this are encoded and decoded on a thread that may take its time.
const LONG: usize = 256 << 10;

/// Events for the person that wait to be taken; progress is coalesced.
const MAX_EVENTS: usize = 1_024;

/// How a connection ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// This hub goes away.
    Stopped,
    /// One side refused to go on.
    Refused(ProtocolError),
    /// The network or the other side broke off.
    Lost(String),
}

/// What a connection needs beside its link.
pub(crate) struct Shell<'a> {
    pub hub: Hub,
    /// Decides about the token of a hello.
    pub check: &'a (dyn Fn(&str) -> Result<(), ProtocolError> + Send + Sync),
    /// Whoever wants to know.
    pub events: Option<mpsc::Sender<JoinEvent>>,
    pub shutdown: watch::Receiver<bool>,
    /// Given back as a stranger's when the greeting is done.
    pub place: Option<&'a mut Place>,
}

struct Driver<'a> {
    shell: Shell<'a>,
    link: Link,
    started: Instant,
    /// Encoded messages, in order.
    outbox: VecDeque<Vec<u8>>,
    outbox_bytes: usize,
    tasks: JoinSet<Input>,
    events: VecDeque<JoinEvent>,
    /// The link is done; what is in the outbox still leaves.
    closing: Option<Option<ProtocolError>>,
}

/// Runs a connection to its end; `opened` says whether the greeting was done.
pub(crate) async fn run(stranger: Stranger, link: Link, shell: Shell<'_>, opened: &mut bool) -> End {
    let mut driver = Driver {
        shell,
        link,
        started: Instant::now(),
        outbox: VecDeque::new(),
        outbox_bytes: 0,
        tasks: JoinSet::new(),
        events: VecDeque::new(),
        closing: None,
    };
    let end = driver.run(stranger, opened).await;
    // Events that were not taken yet: the last ones are the ones that matter.
    if let Some(events) = &driver.shell.events {
        for event in driver.events.drain(..) {
            if events.try_send(event).is_err() {
                break;
            }
        }
    }
    end
}

impl Driver<'_> {
    async fn run(&mut self, mut stranger: Stranger, opened: &mut bool) -> End {
        // Subscribed before anything is read of the hub: what changes from here on is told.
        let changes = self.shell.hub.changes();
        let catalogue = self.shell.hub.catalogue_changed();
        if let Err(end) = self.greet(&mut stranger).await {
            return end;
        }
        *opened = true;
        if let Some(place) = &mut self.shell.place {
            place.let_in();
        }
        match stranger.let_in(limits::MAX_MESSAGE_BYTES).await {
            Ok((incoming, writer)) => self.talk(incoming, writer, changes, catalogue).await,
            Err(broken) => end_of(broken),
        }
    }

    /// Until the link is open: one message after the other, all of them short.
    async fn greet(&mut self, stranger: &mut Stranger) -> Result<(), End> {
        let mut tick = interval(Duration::from_secs(1));
        let mut shutdown = self.shell.shutdown.clone();
        self.handle(Input::Opened);
        loop {
            // Once it is open, what is left to send may be long: it leaves by the writer.
            if self.link.is_open() {
                return Ok(());
            }
            while let Some(bytes) = self.outbox.pop_front() {
                self.outbox_bytes = self.outbox_bytes.saturating_sub(bytes.len());
                stranger.send(Outgoing::Binary(bytes)).await.map_err(end_of)?;
            }
            if let Some(error) = self.closing.take() {
                let _ = stranger.send(Outgoing::Close(error.clone())).await;
                return Err(error.map_or(End::Stopped, End::Refused));
            }
            let input = tokio::select! {
                message = stranger.next() => match message {
                    Ok(received) => read(received),
                    Err(Broken::Rule(error)) => Input::Garbled(error),
                    Err(broken) => return Err(end_of(broken)),
                },
                _ = tick.tick() => Input::Tick,
                () = crate::stopped(&mut shutdown) => Input::Stop,
            };
            self.handle(input);
        }
    }

    async fn talk(
        &mut self,
        mut incoming: Incoming,
        mut writer: Writer,
        mut changes: syncline_hub::ChangeFeed,
        mut catalogue: watch::Receiver<u64>,
    ) -> End {
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shutdown = self.shell.shutdown.clone();
        let mut queued = 0u64;
        let mut drained = 0u64;
        let events = self.shell.events.clone();
        loop {
            if self.outbox.is_empty()
                && let Some(error) = self.closing.take()
            {
                writer.close(error.clone()).await;
                return error.map_or(End::Stopped, End::Refused);
            }
            let all_written = self.outbox.is_empty() && *writer.written.borrow() == queued;
            if all_written && drained < queued {
                drained = queued;
                self.handle(Input::Drained);
                continue;
            }
            let room =
                self.outbox_bytes < MAX_OUTBOX && self.tasks.len() < MAX_TASKS && self.closing.is_none();
            let queue = writer.queue.clone();
            let mut written = writer.written.clone();
            tokio::select! {
                why = writer.ended() => return End::Lost(why),
                permit = queue.reserve(), if !self.outbox.is_empty() => {
                    if let (Ok(permit), Some(bytes)) = (permit, self.outbox.pop_front()) {
                        self.outbox_bytes = self.outbox_bytes.saturating_sub(bytes.len());
                        permit.send(Outgoing::Binary(bytes));
                        queued += 1;
                    }
                }
                _ = written.wait_for(|count| *count == queued), if self.outbox.is_empty() && drained < queued => {}
                message = incoming.next(), if room => match message {
                    Ok(received) => self.handle(read(received)),
                    Err(Broken::Rule(error)) => self.handle(Input::Garbled(error)),
                    Err(broken) => return end_of(broken),
                },
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    let input = done.unwrap_or_else(|_| Input::Garbled(internal()));
                    self.handle(input);
                }
                changed = catalogue.changed() => {
                    if changed.is_err() {
                        self.handle(Input::Stop);
                    } else {
                        self.handle(Input::CatalogueChanged);
                    }
                }
                changed = changes.next() => {
                    // A new document's events must not overtake the catalogue that names it.
                    if catalogue.has_changed().unwrap_or(false) {
                        catalogue.mark_unchanged();
                        self.handle(Input::CatalogueChanged);
                    }
                    self.handle(Input::DocumentsChanged(changed));
                }
                permit = reserve(&events), if !self.events.is_empty() => {
                    match (permit, self.events.pop_front()) {
                        (Some(permit), Some(event)) => permit.send(event),
                        // Nobody listens any more.
                        _ => self.events.clear(),
                    }
                }
                _ = tick.tick() => self.handle(Input::Tick),
                () = crate::stopped(&mut shutdown), if self.closing.is_none() => self.handle(Input::Stop),
            }
        }
    }

    /// Feeds the link, and does what comes of it: what is quick at once, the rest in a task.
    fn handle(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in self.link.handle(input, self.started.elapsed()) {
                inputs.extend(self.perform(output));
            }
        }
    }

    fn perform(&mut self, output: Output) -> Option<Input> {
        let hub = self.shell.hub.clone();
        match output {
            Output::Send(message) => {
                let bytes = message.encode();
                self.outbox_bytes += bytes.len();
                self.outbox.push_back(bytes);
            }
            Output::Close(error) => self.closing = Some(error),
            Output::Event(event) => self.event(event),
            Output::CheckToken(token) => return Some(Input::TokenChecked((self.shell.check)(&token))),
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
            // Only the dialing side has somebody who takes events; a joiner takes over the folder's id.
            LinkEvent::Connected { folder, .. } if self.shell.events.is_some() => {
                self.shell.hub.adopt_folder_id(*folder);
            }
            LinkEvent::Synced { .. } => self.shell.hub.peer_synced(),
            _ => {}
        }
        if self.shell.events.is_none() {
            return;
        }
        let progress = |event: &JoinEvent| matches!(event, JoinEvent::Link(LinkEvent::Progress { .. }));
        let event = JoinEvent::Link(event);
        let room = self.events.len() < MAX_EVENTS;
        match self.events.back_mut() {
            Some(last) if progress(last) && progress(&event) => *last = event,
            _ if room => self.events.push_back(event),
            // Only refused documents come in such numbers; the link itself goes on.
            _ => {}
        }
    }
}

/// A place in the channel of events; `None` when nobody listens. Never without a channel.
async fn reserve(events: &Option<mpsc::Sender<JoinEvent>>) -> Option<mpsc::Permit<'_, JoinEvent>> {
    match events {
        Some(events) => events.reserve().await.ok(),
        None => std::future::pending().await,
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

fn read(received: Received) -> Input {
    match received {
        Received::Binary(bytes) => match Message::decode(&bytes) {
            Ok(message) => Input::Received(message),
            Err(error) => Input::Garbled(error),
        },
        Received::Text(_) => Input::Garbled(ProtocolError::new(
            ErrorCode::BadMessage,
            "a text; this address speaks the binary protocol between hubs",
        )),
    }
}

fn internal() -> ProtocolError {
    ProtocolError::new(ErrorCode::Internal, "a task of the hub failed")
}

fn end_of(broken: Broken) -> End {
    match broken {
        Broken::Gone(why) => End::Lost(why),
        Broken::Rule(error) => End::Refused(error),
    }
}
