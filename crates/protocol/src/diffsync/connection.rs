//! The server's end of a connection, as a pure state machine: who is let in, which documents are open, one
//! request at a time, who is told that there is news, and who has been silent for too long.
//!
//! What a request comes to is decided by [`Server`](super::Server), where the document is; here it only passes
//! through. While a request is being worked on, [`Connection::is_busy`] tells the shell not to read on: a
//! client that sends faster than its edits are journalled waits.

use std::time::Duration;

use super::packing::{ZLIB, pack, unpack};
use super::request::{ClientReturn, ClientSync, Connect, Request};
use super::response::{ConnectOk, HistoryEntry, Response};
use super::server::Answer;
use super::session_id::SessionId;
use crate::error::{ErrorCode, ProtocolError};
use crate::limits;

/// Everything that can happen to a connection.
#[derive(Clone, Debug)]
pub enum Input {
    /// It stands.
    Opened,
    /// A line, or a text message, came.
    Received(String),
    /// Something came that is no text, or the channel broke its rules.
    Garbled(ProtocolError),
    /// The right to be here has ended.
    Expelled(ProtocolError),
    /// Whether the token of [`Output::CheckToken`] lets in.
    TokenChecked(Result<(), ProtocolError>),
    /// The document of [`Output::Open`] is open, or why not.
    DocumentOpened(Result<ConnectOk, ProtocolError>),
    /// What the request of [`Output::Sync`] or [`Output::Return`] came to.
    Answered(Result<Answer, ProtocolError>),
    /// The changes of [`Output::History`].
    History(Result<Vec<HistoryEntry>, ProtocolError>),
    /// The document of this index (in the order of opening) has a version that the client has not.
    Changed(usize),
    /// Another connection has taken this document's session over.
    TakenOver(usize),
    /// Bytes of a message came that is not whole yet. Told before a [`Input::Tick`].
    Arriving,
    /// Time has passed; wanted at [`Connection::wake_at`].
    Tick,
    /// The hub goes away.
    Stop,
}

/// What is to be done. Texts are sent in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send this text, as a line or a message.
    Send(String),
    /// Close after what was sent before. `None`: in good order.
    Close(Option<ProtocolError>),
    /// Does this token let in?
    CheckToken(String),
    /// Open this document, or the only one, for this session.
    Open {
        /// The session, new or known.
        session: SessionId,
        /// The document's path.
        doc: Option<String>,
        /// A readable name; may be empty.
        name: String,
    },
    /// Take this step on the open document of this index, journal it, then answer.
    Sync(usize, ClientSync),
    /// Take this client's text back into the open document of this index, journal it, then answer.
    Return(usize, ClientReturn),
    /// The last request on the open document of this index waits for news: what is there to say to it?
    News(usize),
    /// What happened to the open document of this index?
    History(usize),
}

#[derive(Clone, Debug)]
enum Phase {
    /// Waits for a `Connect` with a token.
    Greeting {
        until: Option<Duration>,
    },
    /// The token is being checked.
    Checking(Connect),
    Open,
    Closed,
}

/// What is being worked on.
#[derive(Clone, Debug)]
enum Work {
    Open(SessionId),
    /// On the document of this index; whether its answer may wait for news.
    Request(usize, bool),
    History(usize),
}

#[derive(Debug)]
struct Document {
    path: String,
    session: SessionId,
    /// The client was told that there is news and has not asked yet.
    poked: bool,
    /// A request waits for news.
    waits: bool,
}

/// The server's end of a connection.
#[derive(Debug)]
pub struct Connection {
    phase: Phase,
    documents: Vec<Document>,
    work: Option<Work>,
    /// The client's name, from its first `Connect`.
    name: String,
    /// Compression was agreed.
    packing: bool,
    /// That requests may wait was agreed.
    waiting: bool,
    heard: Duration,
    pinged: Duration,
    /// Since when parts of a message come.
    arriving: Option<Duration>,
}

impl Default for Connection {
    fn default() -> Self {
        Connection::new()
    }
}

impl Connection {
    /// A connection that waits for a `Connect` with a token.
    pub fn new() -> Connection {
        Connection {
            phase: Phase::Greeting { until: None },
            documents: Vec::new(),
            work: None,
            name: String::new(),
            packing: false,
            waiting: false,
            heard: Duration::ZERO,
            pinged: Duration::ZERO,
            arriving: None,
        }
    }

    /// Whether the client has been let in.
    pub fn is_let_in(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether the shell should not read from the client now: it would only have to keep what it reads.
    pub fn is_busy(&self) -> bool {
        self.work.is_some() || matches!(self.phase, Phase::Checking(_))
    }

    /// Whether the client would be told of a change of the document of this index now.
    pub fn wants_changes(&self, index: usize) -> bool {
        // Who agreed to wait asks again after every answer, and needs no telling between two requests.
        let tell = |document: &Document| if self.waiting { document.waits } else { !document.poked };
        self.work.is_none() && self.documents.get(index).is_some_and(tell)
    }

    /// When the next [`Input::Tick`] is wanted.
    pub fn wake_at(&self) -> Duration {
        match self.phase {
            Phase::Greeting { until: Some(until) } => until,
            Phase::Closed => self.heard + limits::SILENCE_CLOSE,
            _ => (self.heard.max(self.pinged) + limits::HEARTBEAT).min(self.heard + limits::SILENCE_CLOSE),
        }
    }

    /// Takes what happened at `now` (any clock that does not go back) and returns what to do, in order.
    pub fn handle(&mut self, input: Input, now: Duration) -> Vec<Output> {
        let mut out = Vec::new();
        if matches!(self.phase, Phase::Closed) {
            return out;
        }
        if let Err(error) = self.step(input, now, &mut out) {
            self.phase = Phase::Closed;
            out.push(Output::Send(error.to_json()));
            out.push(Output::Close(Some(error)));
        }
        out
    }

    fn step(&mut self, input: Input, now: Duration, out: &mut Vec<Output>) -> Result<(), ProtocolError> {
        match input {
            Input::Opened => {
                self.phase = Phase::Greeting { until: Some(now + limits::HELLO_TIMEOUT) };
                (self.heard, self.pinged) = (now, now);
            }
            Input::Arriving => {
                let since = *self.arriving.get_or_insert(now);
                if now.saturating_sub(since) < limits::LONGEST_ARRIVAL {
                    self.heard = now;
                }
            }
            Input::Received(line) => {
                (self.heard, self.arriving) = (now, None);
                return self.received(&line, out);
            }
            Input::Garbled(error) | Input::Expelled(error) => return Err(error),
            Input::TokenChecked(checked) => {
                checked?;
                let phase = std::mem::replace(&mut self.phase, Phase::Open);
                if let Phase::Checking(connect) = phase {
                    self.name = connect.name.clone().unwrap_or_default();
                    self.packing = connect.compress.iter().any(|name| name == ZLIB);
                    self.waiting = connect.wait;
                    self.open(connect, out)?;
                }
            }
            Input::DocumentOpened(opened) => self.opened(opened, out),
            Input::Answered(answer) => self.answered(answer, out),
            Input::History(entries) => {
                let Some(Work::History(index)) = self.work.take() else { return Ok(()) };
                let Some(document) = self.documents.get(index) else { return Ok(()) };
                let doc = document.path.clone();
                self.send(
                    out,
                    match entries {
                        Ok(entries) => Response::History { doc, entries },
                        Err(error) => Response::Error(error),
                    },
                );
            }
            Input::Changed(index) => {
                if self.wants_changes(index)
                    && let Some(document) = self.documents.get_mut(index)
                {
                    if document.waits {
                        self.work = Some(Work::Request(index, true));
                        out.push(Output::News(index));
                        return Ok(());
                    }
                    document.poked = true;
                    let doc = document.path.clone();
                    self.send(out, Response::Poke { doc });
                }
            }
            Input::TakenOver(_) => {
                let message = "this session goes on over another connection";
                return Err(ProtocolError::new(ErrorCode::Replaced, message));
            }
            Input::Tick => return self.tick(now, out),
            Input::Stop => {
                out.push(Output::Send(Response::Disconnect.to_json()));
                return Err(ProtocolError::new(ErrorCode::Closing, "the hub goes away"));
            }
        }
        Ok(())
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<Output>) -> Result<(), ProtocolError> {
        if let Phase::Greeting { until: Some(until) } = self.phase
            && now >= until
        {
            return Err(ProtocolError::new(ErrorCode::Timeout, "no Connect came in time"));
        }
        // What is being worked on here is not the client's silence.
        if self.is_busy() {
            self.heard = now;
        }
        if now.saturating_sub(self.heard) >= limits::SILENCE_CLOSE {
            let message = format!("nothing came for {} s", limits::SILENCE_CLOSE.as_secs());
            return Err(ProtocolError::new(ErrorCode::Timeout, message));
        }
        let quiet = now.saturating_sub(self.heard.max(self.pinged));
        if self.is_let_in() && quiet >= limits::HEARTBEAT {
            self.pinged = now;
            self.send(out, Response::Ping);
        }
        Ok(())
    }

    fn send(&self, out: &mut Vec<Output>, response: Response) {
        let message = pack(response.to_json(), self.packing);
        if message.len() <= limits::MAX_LINE {
            return out.push(Output::Send(message));
        }
        // A text of little but control characters, each of which JSON writes as six.
        let what = format!("the text as JSON is longer than {} bytes", limits::MAX_LINE);
        out.push(Output::Send(ProtocolError::new(ErrorCode::TooLarge, what).to_json()));
    }

    fn received(&mut self, line: &str, out: &mut Vec<Output>) -> Result<(), ProtocolError> {
        if !self.is_let_in() && line.len() > limits::MAX_BEFORE_HELLO {
            return Err(ProtocolError::new(ErrorCode::TooLarge, "too much before the Connect"));
        }
        let unpacked = unpack(line, self.packing, limits::MAX_LINE);
        let request = match unpacked.and_then(|json| Request::parse(&json)) {
            Ok(request) => request,
            // A client that is let in gets its error and may go on; nothing of the message was done.
            Err(error) if self.is_let_in() => {
                self.send(out, Response::Error(error));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if !self.is_let_in() {
            let Request::Connect(connect) = request else {
                // An edit before the greeting is refused, never kept for later.
                let message = "the first message must be a Connect";
                return Err(ProtocolError::new(ErrorCode::Unauthorized, message));
            };
            let Some(token) = connect.auth.clone() else {
                return Err(ProtocolError::new(ErrorCode::Unauthorized, "the Connect carries no auth"));
            };
            out.push(Output::CheckToken(token));
            self.phase = Phase::Checking(connect);
            return Ok(());
        }
        if let Err(error) = self.request(request, out) {
            self.send(out, Response::Error(error));
        }
        Ok(())
    }

    /// A request of a client that is let in; an error is its answer.
    fn request(&mut self, request: Request, out: &mut Vec<Output>) -> Result<(), ProtocolError> {
        match request {
            Request::Connect(connect) => self.open(connect, out)?,
            Request::Sync(sync) => {
                let index = self.index(&sync.doc)?;
                // Who sends edits waits for their acknowledgement.
                let may_wait = sync.wait && sync.edits.is_empty();
                self.begin(index, sync.session, may_wait)?;
                out.push(Output::Sync(index, sync));
            }
            Request::Return(back) => {
                let index = self.index(&back.doc)?;
                self.begin(index, None, false)?;
                out.push(Output::Return(index, back));
            }
            Request::History { doc } => {
                let index = self.index(&doc)?;
                self.work = Some(Work::History(index));
                out.push(Output::History(index));
            }
            Request::Ping => self.send(out, Response::Pong),
            Request::Pong => {}
            Request::Disconnect => {
                self.phase = Phase::Closed;
                out.push(Output::Close(None));
            }
        }
        Ok(())
    }

    fn index(&self, doc: &str) -> Result<usize, ProtocolError> {
        let index = self.documents.iter().position(|document| document.path == doc);
        let message = "this document is not open on this connection; send a Connect for it";
        index.ok_or_else(|| ProtocolError::new(ErrorCode::UnknownDocument, message))
    }

    fn begin(
        &mut self,
        index: usize,
        session: Option<SessionId>,
        may_wait: bool,
    ) -> Result<(), ProtocolError> {
        if let Some(document) = self.documents.get_mut(index) {
            if session.is_some_and(|session| session != document.session) {
                let message = "the document was opened on this connection for another session";
                return Err(ProtocolError::new(ErrorCode::Forbidden, message));
            }
            // The client asks: it will have what is new now.
            document.poked = false;
        }
        self.work = Some(Work::Request(index, may_wait && self.waiting));
        Ok(())
    }

    fn open(&mut self, connect: Connect, out: &mut Vec<Output>) -> Result<(), ProtocolError> {
        let Connect { session: Some(session), doc, name, .. } = connect else {
            return Err(ProtocolError::new(ErrorCode::BadMessage, "the Connect names no session"));
        };
        if self.documents.len() >= limits::MAX_OPEN_DOCUMENTS {
            let message = format!("{} documents are open on this connection", limits::MAX_OPEN_DOCUMENTS);
            return Err(ProtocolError::new(ErrorCode::TooMany, message));
        }
        self.work = Some(Work::Open(session));
        let name = name.unwrap_or_else(|| self.name.clone());
        out.push(Output::Open { session, doc, name });
        Ok(())
    }

    fn opened(&mut self, opened: Result<ConnectOk, ProtocolError>, out: &mut Vec<Output>) {
        let Some(Work::Open(session)) = self.work.take() else { return };
        match opened {
            Ok(mut ok) => {
                ok.compress = self.packing.then(|| ZLIB.to_owned());
                ok.wait = self.waiting;
                self.documents.push(Document { path: ok.doc.clone(), session, poked: false, waits: false });
                // Whoever offers a compression reads it: also here, where most of the text goes.
                self.send(out, Response::ConnectOk(ok));
            }
            Err(error) => self.send(out, Response::Error(error)),
        }
    }

    fn answered(&mut self, answer: Result<Answer, ProtocolError>, out: &mut Vec<Output>) {
        let Some(Work::Request(index, may_wait)) = self.work.take() else { return };
        let Some(document) = self.documents.get_mut(index) else { return };
        if matches!(answer, Ok(Answer::Late)) {
            // What waits is newer than this.
            return;
        }
        // If another one waited it is not answered any more: this one is newer.
        document.waits = may_wait && matches!(answer, Ok(Answer::Sync(_)));
        if document.waits && matches!(&answer, Ok(Answer::Sync(sync)) if sync.edits.is_empty()) {
            return;
        }
        let doc = document.path.clone();
        match answer {
            Ok(Answer::Sync(mut sync)) => {
                sync.doc = doc;
                self.send(out, Response::Sync(sync));
            }
            Ok(Answer::Resync(mut resync)) => {
                resync.doc = doc;
                self.send(out, Response::Resync(resync));
            }
            Ok(Answer::Late) => {}
            Ok(Answer::OutOfPlace) => {
                let message = "a ClientReturn is only for a session that was not known; send a ClientSync";
                self.send(out, Response::Error(ProtocolError::new(ErrorCode::BadMessage, message)));
            }
            Err(error) => self.send(out, Response::Error(error)),
        }
    }
}

#[cfg(test)]
mod tests;
