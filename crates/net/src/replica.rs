//! One `replica` connection: a [`Replica`] session and a WebSocket.

use std::time::Duration;

use syncline_hub::{Hub, Replica, Side};
use syncline_protocol::access::Refusal;
use syncline_protocol::replica::{Input, Link, Message};
use syncline_protocol::{ErrorCode, ProtocolError, limits};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::admission::Place;
use crate::dial::JoinEvent;
use crate::pass::Pass;
use crate::socket::{Broken, Incoming, Outgoing, Received, Stranger, Writer};

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
    /// What the other side may do here; `None` for the side that dialed.
    pub pass: Option<&'a Pass<'a>>,
    /// Given back as a stranger's when the greeting is done.
    pub place: Option<&'a mut Place>,
}

struct Driver<'a> {
    shell: Shell<'a>,
    replica: Replica<'a>,
}

/// Runs a connection to its end; `opened` says whether the greeting was done.
pub(crate) async fn run(stranger: Stranger, link: Link, shell: Shell<'_>, opened: &mut bool) -> End {
    let side = if shell.events.is_some() { Side::Joined } else { Side::Served };
    let replica = Replica::new(shell.hub.clone(), link, shell.check, side);
    let mut driver = Driver { shell, replica };
    let end = driver.run(stranger, opened).await;
    // Events that were not taken yet: the last ones are the ones that matter.
    if let Some(events) = &driver.shell.events {
        while let Some(event) = driver.replica.next_event() {
            if events.try_send(JoinEvent::Link(event)).is_err() {
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
        self.replica.handle(Input::Opened);
        loop {
            // Once it is open, what is left to send may be long: it leaves by the writer.
            if self.replica.is_open() {
                return Ok(());
            }
            while let Some(bytes) = self.replica.next_message() {
                stranger.send(Outgoing::Binary(bytes)).await.map_err(end_of)?;
            }
            if let Some(error) = self.replica.end() {
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
            self.replica.handle(input);
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
        let ended = ended(self.shell.pass);
        tokio::pin!(ended);
        loop {
            if !self.replica.has_messages()
                && let Some(error) = self.replica.end()
            {
                writer.close(error.clone()).await;
                return error.map_or(End::Stopped, End::Refused);
            }
            let all_written = !self.replica.has_messages() && *writer.written.borrow() == queued;
            if all_written && drained < queued {
                drained = queued;
                self.replica.handle(Input::Drained);
                continue;
            }
            let (room, working) = (self.replica.has_room(), self.replica.is_working());
            let closing = self.replica.is_closing();
            let (messages, told) = (self.replica.has_messages(), self.replica.has_events());
            let queue = writer.queue.clone();
            let mut written = writer.written.clone();
            tokio::select! {
                why = writer.ended() => return End::Lost(why),
                permit = queue.reserve(), if messages => {
                    if let (Ok(permit), Some(bytes)) = (permit, self.replica.next_message()) {
                        permit.send(Outgoing::Binary(bytes));
                        queued += 1;
                    }
                }
                _ = written.wait_for(|count| *count == queued), if !messages && drained < queued => {}
                message = incoming.next(), if room => match message {
                    Ok(received) => self.replica.handle(read(received)),
                    Err(Broken::Rule(error)) => self.replica.handle(Input::Garbled(error)),
                    Err(broken) => return end_of(broken),
                },
                done = self.replica.done(), if working => self.replica.handle(done),
                changed = catalogue.changed() => {
                    if changed.is_err() {
                        self.replica.handle(Input::Stop);
                    } else {
                        self.replica.handle(Input::CatalogueChanged);
                    }
                }
                changed = changes.next() => {
                    // A new document's events must not overtake the catalogue that names it.
                    if catalogue.has_changed().unwrap_or(false) {
                        catalogue.mark_unchanged();
                        self.replica.handle(Input::CatalogueChanged);
                    }
                    self.replica.handle(Input::DocumentsChanged(changed));
                }
                permit = reserve(&events), if told => {
                    match (permit, self.replica.next_event()) {
                        (Some(permit), Some(event)) => permit.send(JoinEvent::Link(event)),
                        // Nobody listens any more.
                        _ => self.replica.stop_listening(),
                    }
                }
                _ = tick.tick() => self.replica.handle(Input::Tick),
                refusal = &mut ended, if !closing => self.replica.handle(Input::Expelled(refusal.into())),
                () = crate::stopped(&mut shutdown), if !closing => self.replica.handle(Input::Stop),
            }
        }
    }
}

/// Waits until the other side's right to be here has ended. Never, where it was this side that dialed.
async fn ended(pass: Option<&Pass<'_>>) -> Refusal {
    match pass {
        Some(pass) => pass.ended().await,
        None => std::future::pending().await,
    }
}

/// A place in the channel of events; `None` when nobody listens. Never without a channel.
async fn reserve(events: &Option<mpsc::Sender<JoinEvent>>) -> Option<mpsc::Permit<'_, JoinEvent>> {
    match events {
        Some(events) => events.reserve().await.ok(),
        None => std::future::pending().await,
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

fn end_of(broken: Broken) -> End {
    match broken {
        Broken::Gone(why) => End::Lost(why),
        Broken::Rule(error) => End::Refused(error),
    }
}
