//! The client's end: a text that somebody edits, kept in step with a hub's document.
//!
//! What was typed is an edit of the shadow, what the hub sends is an edit of the shadow, and the one is rebased
//! over the other: no text is searched for a context, and nothing typed is lost, whatever the network does. A
//! request carries everything that was not acknowledged; at most one is under way.

mod answers;
mod events;
mod parcel;
mod sending;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use syncline_engine::Edit;

use super::checksum::Sum;
use super::delta::Delta;
use super::packing::{ZLIB, pack, unpack};
use super::request::{Connect, Request};
use super::response::{ConnectOk, Response};
use super::summed_text::SummedText;
use crate::error::{ErrorCode, ProtocolError};
use crate::limits;
use crate::rebase::composed;

pub use events::{ClientInput, ClientOutput, Counts, Settings};

/// Edits beyond this many are not given a number of their own while requests get lost: they wait in the text.
const MAX_SENT: usize = 16;

/// Answers in a row that do not fit before a fresh start is asked for.
const MAX_MISFITS: u32 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Offline,
    /// The `Connect` is under way.
    Greeting,
    Live,
}

/// An edit that the hub may have.
#[derive(Clone, Debug)]
struct Sent {
    base_n: u64,
    /// The shadow before it.
    before: SummedText,
    edits: Vec<Edit>,
    delta: Arc<Delta>,
}

/// What is told to a hub that has forgotten the session.
#[derive(Clone, Debug)]
struct Returning {
    /// What the shadow was before everything that the hub may not have.
    before: SummedText,
    /// Under which number, and so with which text, it was told. It is told again in the same words: told in
    /// others, what the hub has entered already would be entered once more.
    seq: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    seq: u64,
    until: Duration,
    /// It is answered whenever there is news. It stops nothing: a newer request takes its place.
    waits: bool,
    /// How often it was answered.
    answers: usize,
}

/// The client's end of a session on one document.
#[derive(Clone, Debug)]
pub struct Client {
    settings: Settings,
    phase: Phase,
    /// The document's path, once the hub has said it.
    doc: String,
    /// What the hub has, or will have once it has all that was sent.
    shadow: SummedText,
    /// What was typed since: a batch against the shadow.
    local: Vec<Edit>,
    text: SummedText,
    n: u64,
    m: u64,
    sent: VecDeque<Sent>,
    seq: u64,
    flight: Option<Flight>,
    /// A session was opened once: there is something to come back to.
    known: bool,
    /// The hub had forgotten the session.
    returning: Option<Returning>,
    /// There is a reason to send at once.
    again: bool,
    /// The hub does not take what was typed, however often it is told: it is too long. Nothing is sent until it changes.
    stuck: bool,
    wait: Duration,
    poll: Duration,
    next_poll: Duration,
    misfits: u32,
    heard: Duration,
    /// Since when parts of a message come.
    arriving: Option<Duration>,
    said: Duration,
    packing: bool,
    /// Requests may wait for news: that was agreed.
    waiting: bool,
    unsaved: bool,
    counts: Counts,
}

impl Client {
    /// A client that has no connection and no text yet.
    pub fn new(settings: Settings) -> Client {
        Client {
            settings,
            phase: Phase::Offline,
            doc: String::new(),
            shadow: SummedText::new(),
            local: Vec::new(),
            text: SummedText::new(),
            n: 0,
            m: 0,
            sent: VecDeque::new(),
            seq: 0,
            flight: None,
            known: false,
            returning: None,
            again: false,
            stuck: false,
            wait: limits::ANSWER_WAIT,
            poll: limits::POLL,
            next_poll: Duration::ZERO,
            misfits: 0,
            heard: Duration::ZERO,
            arriving: None,
            said: Duration::ZERO,
            packing: false,
            waiting: false,
            unsaved: false,
            counts: Counts::default(),
        }
    }

    /// The text as whoever edits sees it.
    pub fn text(&self) -> &SummedText {
        &self.text
    }

    /// The document's path, once it is known.
    pub fn doc(&self) -> &str {
        &self.doc
    }

    /// Whether everything that was typed is durable at the hub.
    pub fn is_saved(&self) -> bool {
        self.local.is_empty() && self.sent.is_empty() && self.returning.is_none()
    }

    /// Whether a connection stands and the document is open.
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// The client's version, and the server's that the client has.
    pub fn numbers(&self) -> (u64, u64) {
        (self.n, self.m)
    }

    /// How often things happened.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When a [`ClientInput::Tick`] is wanted; `None`: only when something happens.
    pub fn wake_at(&self) -> Option<Duration> {
        let silence = self.heard + limits::SILENCE_CLOSE;
        match self.phase {
            Phase::Offline => None,
            Phase::Greeting => Some(self.heard + limits::HEAD_TIMEOUT),
            Phase::Live => {
                let flight = self.flight.filter(|flight| !flight.waits);
                let work = flight.map_or(self.next_poll, |flight| flight.until);
                let work = if self.stuck { silence } else { work };
                Some(work.min(self.said + limits::HEARTBEAT).min(silence))
            }
        }
    }

    /// Takes what happened at `now` (any clock that does not go back) and returns what to do, in order.
    pub fn handle(&mut self, input: ClientInput, now: Duration) -> Vec<ClientOutput> {
        let mut out = Vec::new();
        match input {
            ClientInput::Connected => self.connected(now, &mut out),
            ClientInput::Disconnected => {
                self.phase = Phase::Offline;
                self.flight = None;
            }
            ClientInput::Arriving => {
                let since = *self.arriving.get_or_insert(now);
                if now.saturating_sub(since) < limits::LONGEST_ARRIVAL {
                    self.heard = now;
                    // It may be the answer: asked again, it would come again, under another number.
                    if let Some(flight) = &mut self.flight {
                        flight.until = now + self.wait;
                    }
                }
            }
            ClientInput::Received(line) => {
                (self.heard, self.arriving) = (now, None);
                if let Err(error) = self.received(&line, now, &mut out) {
                    out.push(ClientOutput::Redial(error.to_string()));
                }
            }
            ClientInput::Edited(edits) => self.edited(&edits),
            ClientInput::AskHistory => {
                if self.phase == Phase::Live {
                    self.send(Request::History { doc: self.doc.clone() }, now, &mut out);
                }
            }
            ClientInput::Tick => self.tick(now, &mut out),
        }
        if self.phase == Phase::Live {
            self.step(now, &mut out);
            if self.unsaved && self.is_saved() {
                self.unsaved = false;
                out.push(ClientOutput::Saved);
            }
        }
        out
    }

    fn send(&mut self, request: Request, now: Duration, out: &mut Vec<ClientOutput>) {
        self.said = now;
        out.push(ClientOutput::Send(pack(request.to_json(), self.packing)));
    }

    fn connected(&mut self, now: Duration, out: &mut Vec<ClientOutput>) {
        (self.phase, self.packing, self.flight) = (Phase::Greeting, false, None);
        self.stuck = false;
        (self.heard, self.arriving, self.wait) = (now, None, limits::ANSWER_WAIT);
        self.counts.connections += 1;
        self.waiting = false;
        let Settings { session, doc, auth, name, compress, wait } = self.settings.clone();
        let compress = if compress { vec![ZLIB.to_owned()] } else { Vec::new() };
        // Once the path is known it is asked for: "the only one" may be another one later.
        let doc = if self.known { Some(self.doc.clone()) } else { doc };
        let connect = Connect { session: Some(session), doc, auth, name, compress, wait };
        self.send(Request::Connect(connect), now, out);
    }

    fn edited(&mut self, edits: &[Edit]) {
        // What does not fit the text is a fault of whoever calls; nothing of it is taken.
        let Ok(text) = self.text.edited(edits) else { return };
        if edits.iter().all(Edit::is_empty) {
            return;
        }
        self.text = text;
        self.local = composed(&self.local, edits);
        (self.again, self.unsaved) = (true, true);
        if std::mem::take(&mut self.stuck) {
            // A fresh start draws all that was typed together: what was too long and is deleted again is gone from it.
            self.misfits = MAX_MISFITS + 1;
        }
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<ClientOutput>) {
        let silence =
            if self.phase == Phase::Greeting { limits::HEAD_TIMEOUT } else { limits::SILENCE_CLOSE };
        if self.phase != Phase::Offline && now.saturating_sub(self.heard) >= silence {
            out.push(ClientOutput::Redial(format!("the hub said nothing for {} s", silence.as_secs())));
            return;
        }
        if self.phase != Phase::Live {
            return;
        }
        if self.flight.is_some_and(|flight| !flight.waits && now >= flight.until) {
            self.flight = None;
            self.counts.timeouts += 1;
            self.wait = (self.wait * 2).min(limits::MAX_ANSWER_WAIT);
            self.again = true;
        }
        if self.flight.is_none_or(|flight| flight.waits) && now >= self.next_poll {
            self.again = true;
            self.poll = (self.poll * 2).min(limits::MAX_POLL);
        }
        if now.saturating_sub(self.said) >= limits::HEARTBEAT {
            self.send(Request::Ping, now, out);
        }
    }

    fn received(
        &mut self,
        line: &str,
        now: Duration,
        out: &mut Vec<ClientOutput>,
    ) -> Result<(), ProtocolError> {
        // Who offers a compression gets it from the first answer on.
        let offered = self.packing || (self.phase == Phase::Greeting && self.settings.compress);
        let json = unpack(line, offered, limits::MAX_LINE)?;
        match Response::parse(&json)? {
            Response::ConnectOk(ok) => self.opened(ok, now, out)?,
            Response::Sync(sync) => self.synced(&sync, now, out),
            Response::Resync(resync) => self.resynced(&resync, now, out)?,
            Response::Poke { doc } => {
                if doc == self.doc {
                    self.lively(now);
                    self.again = true;
                }
            }
            Response::History { entries, .. } => out.push(ClientOutput::History(entries)),
            Response::Ping => self.send(Request::Pong, now, out),
            Response::Pong => {}
            Response::Disconnect => out.push(ClientOutput::Redial("the hub goes away".to_owned())),
            Response::Error(error) => self.refused(error, now, out),
        }
        Ok(())
    }

    /// Something happened: ask often for a while.
    fn lively(&mut self, now: Duration) {
        self.poll = limits::POLL;
        self.next_poll = self.next_poll.min(now + self.poll);
    }

    fn refused(&mut self, error: ProtocolError, now: Duration, out: &mut Vec<ClientOutput>) {
        use ErrorCode::{
            Closing, Expired, Forbidden, NotText, Replaced, Revoked, Timeout, TooLarge, Unauthorized,
            UnknownDocument, UnsupportedVersion,
        };
        match error.code {
            Unauthorized | Expired | Revoked | Forbidden | NotText | UnknownDocument | UnsupportedVersion
            | Replaced => {
                out.push(ClientOutput::GiveUp(error));
            }
            TooLarge if self.flight.is_some() => {
                self.flight = None;
                // Of what is there to read: nothing but reading it in parts would help, which this protocol has not.
                if self.is_saved() {
                    return out.push(ClientOutput::GiveUp(error));
                }
                self.stuck = true;
                out.push(ClientOutput::Refused(error));
            }
            Closing | Timeout => out.push(ClientOutput::Redial(error.to_string())),
            _ => {
                // The request is not carried out (the disk is full, say): it is sent again after a pause.
                if let Some(flight) = &mut self.flight {
                    flight.until = now + self.wait;
                }
                out.push(ClientOutput::Refused(error));
            }
        }
    }

    fn opened(
        &mut self,
        ok: ConnectOk,
        now: Duration,
        out: &mut Vec<ClientOutput>,
    ) -> Result<(), ProtocolError> {
        if self.phase != Phase::Greeting {
            return Ok(());
        }
        let bad = |what| Err(ProtocolError::new(ErrorCode::BadMessage, what));
        if self.known && ok.doc != self.doc {
            return bad("the hub opened another document");
        }
        self.packing = ok.compress.as_deref() == Some(ZLIB);
        self.waiting = ok.wait;
        self.seq = self.seq.max(ok.last_seq);
        if ok.resumed {
            if !self.known && self.n == 0 && ok.n > 0 {
                return bad("the hub knows this session, this client does not: draw another session");
            }
            let told = self.returning.as_ref().and_then(|returning| returning.seq);
            if told.is_some_and(|seq| ok.last_seq >= seq) {
                // It has entered what it was told; only its answer was lost.
                self.returning = None;
            }
        } else {
            let Some(text) = &ok.text else { return bad("a new session without a text") };
            let text = SummedText::from(text.as_str());
            if text.sum() != ok.sum {
                return bad("the text does not have the checksum that came with it");
            }
            self.forgotten(text, &ok);
        }
        self.doc.clone_from(&ok.doc);
        (self.phase, self.known) = (Phase::Live, true);
        (self.poll, self.next_poll) = (limits::POLL, now + limits::POLL);
        // A new session has what it needs; one that is resumed hears what it missed, and sends what it has.
        self.again = ok.resumed || !self.is_saved();
        out.push(ClientOutput::Opened(ok));
        Ok(())
    }

    /// The hub has no such session (any more), and begins a new one with this text.
    fn forgotten(&mut self, text: SummedText, ok: &ConnectOk) {
        // Before anything was opened, what was typed was typed into an empty text.
        let before = self.returning.take().map(|returning| returning.before);
        let before = before.or_else(|| self.sent.front().map(|sent| sent.before.clone()));
        let before = before.unwrap_or_else(|| self.shadow.clone());
        self.sent.clear();
        (self.n, self.m) = (ok.n, ok.m);
        if before.sum() == self.text.sum() {
            // Nothing was typed that the hub may not have.
            self.shadow = text.clone();
            self.text = text;
            self.local.clear();
        } else {
            self.returning = Some(Returning { before, seq: None });
        }
    }

    /// The checksum of the shadow, for tests.
    pub fn shadow_sum(&self) -> Sum {
        self.shadow.sum()
    }
}
