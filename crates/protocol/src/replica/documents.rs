//! The documents' side of a link: who has what, and who sends what to whom.
//!
//! Both sides declare their documents once (`Have`) and compare the *same two lists*, so both come to the
//! same conclusion: equal heads are in sync; where they differ each side sends its vector and answers the
//! other's; what only one side has, it sends. After that each side keeps, per document, what the peer is
//! known to have (what was sent on this connection, and what came from it) and sends what goes beyond.

mod incoming;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use syncline_engine::catalogue::DocId;
use syncline_engine::{AgentId, Heads};

use super::message::Message;
use super::step::{Have, LinkEvent, Output};
use crate::error::{ErrorCode, ProtocolError};
use crate::limits;

/// How often the sending of a document may be put off because something of it is just being merged.
const MAX_HELD: u8 = 16;

/// `Events` that came.
struct Batch {
    answer: bool,
    more: bool,
    heads: Heads,
    /// Taken when the hub gets it.
    bytes: Vec<u8>,
    len: usize,
    /// May be merged when so many catalogue parts are journalled.
    after: u64,
}

#[derive(Default)]
struct Doc {
    /// The newest durable version here.
    now: Heads,
    /// Everything up to here was sent on this connection (or was equal at the start).
    sent: Heads,
    /// The peer's version as of the newest of its events that are merged here.
    theirs: Heads,
    /// There may be something to send.
    dirty: bool,
    /// Events were asked of the hub, to answer a vector or not.
    asking: Option<bool>,
    /// The peer will send its vector; before that nothing is sent.
    awaiting: bool,
    /// Its vector came.
    vectored: bool,
    /// The vector to be answered.
    vector: Option<Vec<(AgentId, u64)>>,
    /// The lengths of `Events` that are not acknowledged.
    in_flight: VecDeque<usize>,
    incoming: VecDeque<Batch>,
    merging: bool,
    held: u8,
    /// The vector was sent because events were missing; how often answers did not help.
    resyncing: bool,
    resyncs: u8,
    /// Left alone on this link.
    stopped: bool,
}

impl Doc {
    fn may_send(&self) -> bool {
        let merging = !self.incoming.is_empty() && self.held < MAX_HELD;
        !(merging || self.asking.is_some() || self.awaiting || self.stopped || self.vector.is_some())
    }
}

#[derive(Default)]
pub(super) struct Documents {
    docs: BTreeMap<DocId, Doc>,
    /// What this side declared and the peer has not matched yet; `None` before it is known.
    declared: Option<BTreeMap<DocId, Heads>>,
    /// The declaration that is not sent yet.
    to_declare: Option<VecDeque<(DocId, Heads)>>,
    /// What the peer declared before this side knew its own.
    early: Vec<(DocId, Heads)>,
    their_last: bool,
    /// Both declarations are compared.
    pub compared: bool,
    /// Documents with something to send that may be sent.
    ready: BTreeSet<DocId>,
    /// The document last taken from `ready`, so that all get their turn.
    turn: Option<DocId>,
    answers: VecDeque<DocId>,
    /// Documents whose vector is to be sent, and those whose vector waits for the answer.
    vectors: BTreeSet<DocId>,
    vectors_out: BTreeSet<DocId>,
    /// Documents that wait until the catalogue that introduces them is journalled.
    gated: BTreeSet<DocId>,
    /// Documents to try again, and when.
    deferred: BTreeMap<DocId, Duration>,
    asks: usize,
    in_flight: usize,
    in_flight_bytes: usize,
    waiting: usize,
    waiting_bytes: usize,
    /// Documents that the peer had something new of when it declared.
    pub expected: BTreeSet<DocId>,
    pub total: u64,
    pub done: u64,
    /// How many documents the peer declared.
    pub declared_by_peer: u64,
}

impl Documents {
    /// What this side has. Before this, changes are only noted.
    pub fn declare(&mut self, heads: Vec<(DocId, Heads)>, out: &mut Vec<Output>) {
        for (doc, heads) in &heads {
            let doc = self.docs.entry(*doc).or_default();
            // What was told of meanwhile is newer.
            if doc.now.is_root() {
                doc.now = heads.clone();
            }
        }
        self.to_declare = Some(heads.iter().cloned().collect());
        self.declared = Some(heads.into_iter().collect());
        let early = std::mem::take(&mut self.early);
        early.into_iter().for_each(|(doc, heads)| self.compare(doc, heads));
        self.finish_comparing();
        self.pump_vectors(out);
    }

    /// The next part of this side's declaration.
    pub fn next_part(&mut self) -> Option<Message> {
        let rest = self.to_declare.as_mut()?;
        let count = rest.len().min(limits::MAX_HAVE);
        let docs = rest.drain(..count).collect();
        let last = rest.is_empty();
        if last {
            self.to_declare = None;
        }
        Some(Message::Have { docs, last })
    }

    /// A part of the peer's declaration.
    pub fn peer_has(
        &mut self,
        docs: Vec<(DocId, Heads)>,
        last: bool,
        out: &mut Vec<Output>,
    ) -> Result<(), ProtocolError> {
        if self.their_last {
            return Err(ProtocolError::new(ErrorCode::BadMessage, "a Have after the last one"));
        }
        self.declared_by_peer += docs.len() as u64;
        if self.declared_by_peer > limits::MAX_DOCUMENTS as u64 {
            return Err(ProtocolError::new(ErrorCode::TooMany, "more documents than one link can carry"));
        }
        self.their_last = last;
        if self.declared.is_some() {
            docs.into_iter().for_each(|(doc, heads)| self.compare(doc, heads));
            self.finish_comparing();
            self.pump_vectors(out);
        } else {
            self.early.extend(docs);
        }
        Ok(())
    }

    fn compare(&mut self, id: DocId, theirs: Heads) {
        let mine = self.declared.as_mut().and_then(|declared| declared.remove(&id));
        if mine.as_ref() != Some(&theirs) {
            self.total += u64::from(self.expected.insert(id));
        }
        let Some(mine) = mine else { return };
        let doc = self.docs.entry(id).or_default();
        if mine == theirs {
            doc.sent = mine;
            doc.theirs = theirs;
        } else {
            // The peer may have compared first: its vector can overtake the rest of its declaration.
            doc.awaiting = !doc.vectored;
            self.vectors.insert(id);
        }
    }

    fn finish_comparing(&mut self) {
        if !self.their_last || self.compared {
            return;
        }
        let Some(only_mine) = self.declared.as_mut().map(std::mem::take) else { return };
        self.compared = true;
        for id in only_mine.into_keys() {
            self.docs.entry(id).or_default().dirty = true;
        }
        let ready = self.docs.iter().filter(|(_, doc)| doc.dirty && doc.may_send());
        self.ready = ready.map(|(id, _)| *id).collect();
    }

    /// Documents have new durable versions.
    pub fn changed(&mut self, changes: Vec<(DocId, Heads)>) {
        for (id, heads) in changes {
            let doc = self.docs.entry(id).or_default();
            if heads.is_root() && !doc.now.is_root() {
                // The hub lost what it had of the document: the peer is told so, and sends all of it.
                (doc.sent, doc.theirs) = (Heads::default(), Heads::default());
                doc.stopped = false;
                self.vectors.insert(id);
            }
            doc.dirty = doc.dirty || !(heads == doc.sent || heads == doc.theirs);
            doc.now = heads;
            self.wake(id);
        }
    }

    fn wake(&mut self, id: DocId) {
        if self.compared && self.docs.get(&id).is_some_and(|doc| doc.dirty && doc.may_send()) {
            self.ready.insert(id);
        }
    }

    /// Asks for the events of as many documents as may be under way.
    pub fn pump(&mut self, catalogue_settled: bool, out: &mut Vec<Output>) {
        if self.compared {
            self.pump_vectors(out);
        }
        let mut asked = 0;
        while self.asks < limits::MAX_ASKS
            && self.in_flight + self.asks < limits::MAX_IN_FLIGHT
            && self.in_flight_bytes < limits::MAX_IN_FLIGHT_BYTES
        {
            if let Some(id) = self.answers.get(asked).copied() {
                let Some(doc) = self.docs.get_mut(&id) else { break };
                if doc.asking.is_some() {
                    asked += 1;
                    continue;
                }
                self.answers.remove(asked);
                if let Some(vector) = doc.vector.take() {
                    doc.asking = Some(true);
                    doc.dirty = false;
                    self.asks += 1;
                    out.push(Output::AskEvents { doc: id, have: Have::Vector(vector) });
                }
                continue;
            }
            // The peer must have heard of a document, and of all that it is to expect, before its events.
            if !catalogue_settled || self.to_declare.is_some() {
                break;
            }
            let Some(id) = self.next_ready() else { break };
            let Some(doc) = self.docs.get_mut(&id) else { continue };
            if !doc.dirty || !doc.may_send() {
                continue;
            }
            doc.dirty = false;
            doc.held = 0;
            if doc.now == doc.sent || doc.now == doc.theirs {
                continue;
            }
            doc.asking = Some(false);
            self.asks += 1;
            let known = doc.sent.ids().iter().chain(doc.theirs.ids()).copied().collect();
            out.push(Output::AskEvents { doc: id, have: Have::Heads(Heads::new(known)) });
        }
    }

    fn next_ready(&mut self) -> Option<DocId> {
        let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.ready.range((after, Bound::Unbounded)).next().or_else(|| self.ready.first());
        let next = *next?;
        self.ready.remove(&next);
        self.turn = Some(next);
        Some(next)
    }

    /// The hub's events.
    pub fn events(&mut self, id: DocId, parts: Vec<Vec<u8>>, heads: Heads, out: &mut Vec<Output>) {
        let Some(doc) = self.docs.get_mut(&id) else { return };
        let Some(answer) = doc.asking.take() else { return };
        self.asks = self.asks.saturating_sub(1);
        if doc.stopped {
            return;
        }
        let count = parts.len();
        if count == 0 && answer {
            let heads = heads.clone();
            out.push(Output::Send(Message::Events {
                doc: id,
                answer,
                more: false,
                heads,
                batch: Vec::new(),
            }));
        }
        for (number, batch) in parts.into_iter().enumerate() {
            self.in_flight += 1;
            self.in_flight_bytes += batch.len();
            doc.in_flight.push_back(batch.len());
            let more = number + 1 < count;
            let heads = if more { Heads::default() } else { heads.clone() };
            out.push(Output::Send(Message::Events { doc: id, answer, more, heads, batch }));
        }
        // The connection delivers in order or breaks: what is sent is known to arrive.
        doc.sent = heads;
        self.wake(id);
    }

    /// The hub cannot give the events.
    pub fn events_failed(&mut self, id: DocId, error: ProtocolError, out: &mut Vec<Output>) {
        let Some(doc) = self.docs.get_mut(&id) else { return };
        if let Some(answer) = doc.asking.take() {
            self.asks = self.asks.saturating_sub(1);
            if answer {
                // The peer waits for it, and an empty answer would say that it lacks nothing.
                let refused = Message::Refused { doc: id, answer: true, error: error.clone() };
                out.push(Output::Send(refused));
            }
            self.stop(id, error, out);
        }
    }

    /// The peer says what it has of a document.
    pub fn peer_vector(&mut self, id: DocId, vector: Vec<(AgentId, u64)>) -> Result<(), ProtocolError> {
        if self.answers.len() > 2 * limits::MAX_VECTORS {
            return Err(ProtocolError::new(ErrorCode::TooMany, "too many vectors at once"));
        }
        let doc = self.docs.entry(id).or_default();
        doc.awaiting = false;
        doc.vectored = true;
        doc.stopped = false;
        if doc.vector.replace(vector).is_none() {
            self.answers.push_back(id);
        }
        Ok(())
    }

    fn pump_vectors(&mut self, out: &mut Vec<Output>) {
        while self.vectors_out.len() < limits::MAX_VECTORS
            && let Some(id) = self.vectors.pop_first()
        {
            if self.vectors_out.insert(id) {
                out.push(Output::AskVectorOf { doc: id });
            }
        }
    }

    /// The peer acknowledges the oldest events of the document.
    pub fn acknowledged(&mut self, id: DocId) -> Result<(), ProtocolError> {
        let len = self.docs.get_mut(&id).and_then(|doc| doc.in_flight.pop_front());
        let len = len.ok_or(ProtocolError::new(ErrorCode::BadMessage, "an Ack of nothing"))?;
        self.in_flight = self.in_flight.saturating_sub(1);
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(len);
        Ok(())
    }

    /// The peer did not take the oldest events of the document, or cannot answer a vector.
    pub fn peer_refused(
        &mut self,
        id: DocId,
        answer: bool,
        error: ProtocolError,
        out: &mut Vec<Output>,
    ) -> Result<(), ProtocolError> {
        if !answer {
            self.acknowledged(id)?;
        }
        // After these the peer sends its vector when it can take what it lacks, and gets it as the answer.
        let vector_follows = matches!(error.code, ErrorCode::Resync | ErrorCode::StorageFull);
        if !vector_follows {
            self.stop(id, error, out);
        }
        Ok(())
    }

    fn stop(&mut self, id: DocId, error: ProtocolError, out: &mut Vec<Output>) {
        if let Some(doc) = self.docs.get_mut(&id)
            && !doc.stopped
        {
            doc.stopped = true;
            self.ready.remove(&id);
            out.push(Output::Event(LinkEvent::DocumentRefused { doc: id, error }));
        }
        self.settle(id, true, false, out);
    }

    /// A delta is complete.
    fn settle(&mut self, id: DocId, answer: bool, more: bool, out: &mut Vec<Output>) {
        if more {
            return;
        }
        if answer {
            self.vectors_out.remove(&id);
            self.pump_vectors(out);
        }
        // What was under way when the vector was sent does not answer it.
        let answered = answer || !self.vectors.contains(&id) && !self.vectors_out.contains(&id);
        if answered && self.expected.remove(&id) {
            self.done += 1;
            if self.done.is_multiple_of(64) || self.expected.is_empty() {
                out.push(Output::Event(LinkEvent::Progress { done: self.done, total: self.total }));
            }
        }
    }

    /// The hub cannot tell the vector.
    pub fn vector_failed(&mut self, id: DocId, error: ProtocolError, out: &mut Vec<Output>) {
        self.vectors_out.remove(&id);
        self.stop(id, error, out);
    }
}
