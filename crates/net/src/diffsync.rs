//! One `diffsync` connection, over lines or a WebSocket: a [`Connection`] on one side, the hub's sessions on
//! the other.

use std::collections::VecDeque;

use futures_util::future::select_all;
use syncline_hub::diffsync::{DiffParty, DiffSession, News};
use syncline_hub::{Hub, HubError, refusal};
use syncline_protocol::diffsync::{ConnectOk, Connection, Input, Output};
use syncline_protocol::{ErrorCode, ProtocolError, limits};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use syncline_protocol::access::Verb;

use crate::access::Presented;
use crate::admission::Place;
use crate::lines::Lines;
use crate::pass::Pass;
use crate::socket::{Broken, Incoming, Outgoing, Received, Stranger, Writer};

/// What carries the messages.
pub(crate) enum Wire {
    Lines(Lines),
    /// A WebSocket of somebody who was not let in yet.
    Stranger(Box<Stranger>),
    Socket(Box<(Incoming, Writer)>),
}

impl Wire {
    /// The next message. Cancel-safe.
    async fn next(&mut self) -> Result<String, Broken> {
        let received = match self {
            Wire::Lines(lines) => return lines.next().await,
            Wire::Stranger(stranger) => stranger.next().await?,
            Wire::Socket(socket) => socket.0.next().await?,
        };
        match received {
            Received::Text(text) => Ok(text),
            Received::Binary(_) => {
                let what = "a binary message; this address speaks JSON as text messages";
                Err(Broken::Rule(ProtocolError::new(ErrorCode::BadMessage, what)))
            }
        }
    }

    /// How many bytes came so far, of whole messages or not. A stranger's time does not depend on it.
    fn read(&self) -> u64 {
        match self {
            Wire::Lines(lines) => lines.read(),
            Wire::Stranger(_) => 0,
            Wire::Socket(socket) => socket.0.read(),
        }
    }

    async fn send(&mut self, text: String) -> Result<(), Broken> {
        match self {
            Wire::Lines(lines) => lines.send(text).await,
            Wire::Stranger(stranger) => stranger.send(Outgoing::Text(text)).await,
            Wire::Socket(socket) => {
                let sent = socket.1.queue.send(Outgoing::Text(text)).await;
                sent.map_err(|_| Broken::Gone("it takes nothing".to_owned()))
            }
        }
    }

    /// It has said who it is: from now on messages of full length.
    async fn let_in(self) -> Result<Wire, Broken> {
        match self {
            Wire::Lines(mut lines) => {
                lines.set_limit(limits::MAX_LINE);
                Ok(Wire::Lines(lines))
            }
            Wire::Stranger(stranger) => Ok(Wire::Socket(Box::new(stranger.let_in(limits::MAX_LINE).await?))),
            socket @ Wire::Socket(_) => Ok(socket),
        }
    }

    async fn close(self, error: Option<ProtocolError>) {
        match self {
            Wire::Lines(lines) => lines.close().await,
            Wire::Stranger(mut stranger) => drop(stranger.send(Outgoing::Close(error)).await),
            Wire::Socket(socket) => socket.1.close(error).await,
        }
    }
}

struct Driver<'a> {
    hub: Hub,
    pass: &'a Pass<'a>,
    connection: Connection,
    /// In the order of opening, which is that of the connection's indexes.
    sessions: Vec<DiffSession>,
    started: Instant,
    todo: VecDeque<Output>,
}

/// How a connection ends.
enum End {
    /// Nothing more can be sent.
    Gone,
    /// What was sent is to arrive.
    Close(Option<ProtocolError>),
}

/// Runs a connection to its end, and leaves its sessions to whoever comes back.
///
/// What happens once in a connection's life, or seldom, is in a box of its own: it takes no room while the connection
/// stands and is idle.
pub(crate) async fn run(
    wire: Wire,
    hub: Hub,
    pass: &Pass<'_>,
    place: &mut Place,
    shutdown: watch::Receiver<bool>,
) {
    let mut driver = Driver {
        hub,
        pass,
        connection: Connection::new(),
        sessions: Vec::new(),
        started: Instant::now(),
        todo: VecDeque::new(),
    };
    let mut wire = Some(wire);
    let end = driver.talk(&mut wire, place, shutdown).await;
    // First the sessions: the client may be dialing again already.
    for session in std::mem::take(&mut driver.sessions) {
        Box::pin(session.leave()).await;
    }
    if let (End::Close(error), Some(wire)) = (end, wire) {
        Box::pin(wire.close(error)).await;
    }
}

impl Driver<'_> {
    async fn talk(
        &mut self,
        carrier: &mut Option<Wire>,
        place: &mut Place,
        mut shutdown: watch::Receiver<bool>,
    ) -> End {
        self.handle(Input::Opened);
        let (mut stranger, mut read) = (true, 0);
        let ended = self.pass.ended();
        let stopped = crate::stopped(&mut shutdown);
        let tick = sleep_until(self.started + self.connection.wake_at());
        tokio::pin!(ended, stopped, tick);
        loop {
            if stranger && self.connection.is_let_in() {
                stranger = false;
                place.let_in();
                let Some(wire) = carrier.take() else { return End::Gone };
                match Box::pin(wire.let_in()).await {
                    Ok(wire) => *carrier = Some(wire),
                    Err(_) => return End::Gone,
                }
            }
            let Some(wire) = carrier.as_mut() else { return End::Gone };
            // One after the other, and meanwhile nothing is read: a client that is faster than the journal
            // waits in its own buffer.
            if let Some(output) = self.todo.pop_front() {
                match output {
                    Output::Send(text) => tokio::select! {
                        biased;
                        sent = wire.send(text) => if sent.is_err() { return End::Gone },
                        // A client that takes nothing must not keep its own next connection out.
                        () = taken_over(&mut self.sessions) => return End::Gone,
                    },
                    Output::Close(error) => return End::Close(error),
                    output => {
                        if let Some(input) = Box::pin(self.perform(output)).await {
                            self.handle(input);
                        }
                    }
                }
                continue;
            }
            // An idle connection keeps no room for what is to be done.
            self.todo = VecDeque::new();
            // Every message moves the time at which silence counts. The timer is set anew when it has run out: with a
            // thousand clients that is a thousand times less often.
            let wake = self.started + self.connection.wake_at();
            if wake < tick.deadline() || tick.is_elapsed() {
                tick.as_mut().reset(wake);
            }
            let connection = &self.connection;
            let input = tokio::select! {
                message = wire.next() => match message {
                    Ok(text) => {
                        // What came with it was heard with it: only what comes from now on is another message's.
                        read = wire.read();
                        Input::Received(text)
                    }
                    Err(Broken::Rule(error)) => Input::Garbled(error),
                    Err(Broken::Gone(_)) => return End::Gone,
                },
                news = news(&mut self.sessions, |index| connection.wants_changes(index)) => news,
                () = &mut tick => {
                    if std::mem::replace(&mut read, wire.read()) != wire.read() {
                        self.handle(Input::Arriving);
                    }
                    Input::Tick
                }
                refusal = &mut ended => Input::Expelled(refusal.into()),
                () = &mut stopped => Input::Stop,
            };
            self.handle(input);
        }
    }

    fn handle(&mut self, input: Input) {
        let todo = self.connection.handle(input, self.started.elapsed());
        if self.todo.is_empty() {
            self.todo = todo.into();
        } else {
            self.todo.extend(todo);
        }
    }

    async fn perform(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::CheckToken(token) => {
                let shown = self.pass.show(Presented::Token(&token));
                Some(Input::TokenChecked(shown.map_err(ProtocolError::from)))
            }
            Output::Open { session, doc, name } => {
                // Whoever may not read a document is not told whether there is one.
                let doc = match self.pass.document(doc) {
                    Ok(doc) => doc,
                    Err(refused) => return Some(Input::DocumentOpened(Err(refused.into()))),
                };
                let party = DiffParty { session, identity: self.pass.identity(), name };
                Some(Input::DocumentOpened(match Box::pin(self.open(doc.as_deref(), party)).await {
                    Ok(ok) => Ok(ok),
                    Err(Refused::By(error)) => Err(error),
                    Err(Refused::Wanted) => return Some(Input::Stop),
                }))
            }
            Output::Sync(index, sync) => {
                let verb = if sync.edits.is_empty() { Verb::Read } else { Verb::Edit };
                Some(Input::Answered(match self.allowed(index, verb) {
                    Ok(session) => session.sync(sync).await.map_err(|error| refusal(&error)),
                    Err(refused) => Err(refused),
                }))
            }
            // What a client brings back is kept, even where it is no edit.
            Output::Return(index, back) => Some(Input::Answered(match self.allowed(index, Verb::Edit) {
                Ok(session) => session.returned(back).await.map_err(|error| refusal(&error)),
                Err(refused) => Err(refused),
            })),
            Output::News(index) => Some(Input::Answered(match self.allowed(index, Verb::Read) {
                Ok(session) => session.answer().await.map_err(|error| refusal(&error)),
                Err(refused) => Err(refused),
            })),
            Output::History(index) => Some(Input::History(match self.allowed(index, Verb::Read) {
                Ok(session) => Box::pin(session.history()).await.map_err(|error| refusal(&error)),
                Err(refused) => Err(refused),
            })),
            Output::Send(_) | Output::Close(_) => None,
        }
    }
}

/// Why a document was not opened.
enum Refused {
    By(ProtocolError),
    /// Another connection wants a session of this one.
    Wanted,
}

impl From<ProtocolError> for Refused {
    fn from(error: ProtocolError) -> Refused {
        Refused::By(error)
    }
}

impl Driver<'_> {
    async fn open(&mut self, path: Option<&str>, party: DiffParty) -> Result<ConnectOk, Refused> {
        let refused = |error: HubError| refusal(&error);
        // First which document it is: a path may mean another one to this session than to everybody else.
        let target = self.hub.find_diff(path, &party).await.map_err(refused)?;
        // It may have been renamed to where this token does not reach.
        self.pass.may(Verb::Read, Some(target.document())).map_err(ProtocolError::from)?;
        if self.sessions.iter().any(|open| open.excludes(&target)) {
            let message = "the document is open on this connection already";
            return Err(ProtocolError::new(ErrorCode::BadMessage, message).into());
        }
        let hub = self.hub.clone();
        let (session, ok) = tokio::select! {
            opened = hub.open_diff(target, party) => opened.map_err(refused)?,
            // Two connections may want each other's sessions: neither may wait for ever.
            () = taken_over(&mut self.sessions) => return Err(Refused::Wanted),
        };
        // Most have one, and room for four is a kilobyte.
        self.sessions.reserve_exact(1);
        self.sessions.push(session);
        Ok(ok)
    }

    /// An open document's session, if this may be done with it.
    fn allowed(&mut self, index: usize, verb: Verb) -> Result<&mut DiffSession, ProtocolError> {
        let gone = || ProtocolError::new(ErrorCode::Internal, "the document is not open");
        let session = self.sessions.get_mut(index).ok_or_else(gone)?;
        self.pass.may(verb, Some(session.document()))?;
        Ok(session)
    }
}

/// What happens to the sessions that is not asked for.
async fn news(sessions: &mut [DiffSession], wants_changes: impl Fn(usize) -> bool) -> Input {
    let (index, news) = match sessions {
        [] => std::future::pending().await,
        [session] => (0, session.news(wants_changes(0)).await),
        sessions => {
            let each = sessions.iter_mut().enumerate();
            let each = each.map(|(index, session)| Box::pin(session.news(wants_changes(index))));
            let (news, index, _) = select_all(each).await;
            (index, news)
        }
    };
    match news {
        News::Changed => Input::Changed(index),
        News::TakenOver => Input::TakenOver(index),
    }
}

async fn taken_over(sessions: &mut [DiffSession]) {
    news(sessions, |_| false).await;
}
