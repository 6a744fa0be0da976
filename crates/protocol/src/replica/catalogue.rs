//! The catalogue's side of a link: deltas out, deltas in, one at a time each way.

use std::collections::{BTreeMap, VecDeque};

use syncline_engine::AgentId;
use syncline_engine::catalogue::Write;

use super::message::Message;
use super::step::Output;
use crate::error::{ErrorCode, ProtocolError};
use crate::limits;

type Vector = BTreeMap<AgentId, u64>;

#[derive(Default)]
pub(super) struct Catalogue {
    /// What the peer's catalogue has, as far as it is known here; `None` before it said so.
    theirs: Option<Vector>,
    /// Whether this side has said what it has: that goes before its answer to the peer's vector.
    told: bool,
    /// Whether a delta was asked of the hub.
    asking: bool,
    /// Whether the first delta is on its way: it is sent even if it is empty, as the peer waits for it.
    begun: bool,
    /// Whether the catalogue changed since the delta under way was made.
    dirty: bool,
    /// The delta being sent, and the vector it leads to.
    outgoing: Option<(VecDeque<Write>, Vector)>,
    /// Parts that came and are not journalled yet; the first is with the hub.
    incoming: VecDeque<(Vec<Write>, Option<Vector>)>,
    /// How many parts came, and how many are journalled.
    received: u64,
    merged: u64,
    /// Whether the peer's first delta is journalled whole.
    pub complete: bool,
}

impl Catalogue {
    /// The peer says what it has.
    pub fn peer_vector(&mut self, vector: Vector, out: &mut Vec<Output>) -> Result<(), ProtocolError> {
        if self.theirs.is_some() {
            return Err(ProtocolError::new(ErrorCode::BadMessage, "a second catalogue vector"));
        }
        self.theirs = Some(vector);
        self.dirty = true;
        self.ask(out);
        Ok(())
    }

    /// What the hub's catalogue has.
    pub fn own_vector(&mut self, vector: Vector, out: &mut Vec<Output>) {
        out.push(Output::Send(Message::CatalogueVector { vector }));
        self.told = true;
        self.ask(out);
    }

    /// The hub's catalogue changed.
    pub fn changed(&mut self, out: &mut Vec<Output>) {
        self.dirty = true;
        self.ask(out);
    }

    fn ask(&mut self, out: &mut Vec<Output>) {
        if let Some(theirs) = &self.theirs
            && self.told
            && self.dirty
            && !self.asking
            && self.outgoing.is_none()
        {
            self.dirty = false;
            self.asking = true;
            out.push(Output::AskCatalogueSince(theirs.clone()));
        }
    }

    /// The hub's answer.
    pub fn delta(&mut self, writes: Vec<Write>, vector: Vector, out: &mut Vec<Output>) {
        self.asking = false;
        if writes.is_empty() && self.begun {
            self.known(&vector);
            return self.ask(out);
        }
        self.begun = true;
        self.outgoing = Some((writes.into(), vector));
    }

    /// The next part of the delta being sent.
    pub fn next_part(&mut self, out: &mut Vec<Output>) -> Option<Message> {
        let (rest, _) = self.outgoing.as_mut()?;
        let count = rest.len().min(limits::MAX_WRITES);
        let writes: Vec<Write> = rest.drain(..count).collect();
        if !rest.is_empty() {
            return Some(Message::Catalogue { writes, vector: None });
        }
        let vector = self.outgoing.take().map(|(_, vector)| vector)?;
        self.known(&vector);
        self.ask(out);
        Some(Message::Catalogue { writes, vector: Some(vector) })
    }

    /// Whether everything known of the hub's catalogue has been sent: the events of a new document must
    /// not overtake the writes that name it.
    pub fn settled(&self) -> bool {
        !self.asking && !self.dirty && self.outgoing.is_none()
    }

    /// A part from the peer.
    pub fn received(
        &mut self,
        writes: Vec<Write>,
        vector: Option<Vector>,
        out: &mut Vec<Output>,
    ) -> Result<(), ProtocolError> {
        if self.theirs.is_none() {
            return Err(ProtocolError::new(ErrorCode::BadMessage, "catalogue writes before the vector"));
        }
        if self.incoming.len() >= limits::MAX_CATALOGUES_WAITING {
            return Err(ProtocolError::new(ErrorCode::TooMany, "too many catalogue messages at once"));
        }
        // The peer has what it sends: the hub will report it as changed here, and it must not go back.
        let theirs = self.theirs.get_or_insert_default();
        for (agent, count) in writes.iter().map(|write| (write.stamp.agent, write.stamp.seq)) {
            let known = theirs.entry(agent).or_default();
            *known = (*known).max(count);
        }
        if let Some(vector) = &vector {
            self.known(vector);
        }
        self.received += 1;
        self.incoming.push_back((writes, vector));
        if self.incoming.len() == 1 {
            self.merge(out);
        }
        Ok(())
    }

    fn merge(&mut self, out: &mut Vec<Output>) {
        if let Some((writes, vector)) = self.incoming.front_mut() {
            // The writes are needed no more once the hub has them; the vector is, when it is journalled.
            let writes = std::mem::take(writes);
            out.push(Output::MergeCatalogue { writes, vector: vector.clone().unwrap_or_default() });
        }
    }

    /// The part that the hub had is journalled.
    pub fn merged(&mut self, out: &mut Vec<Output>) {
        let Some((_, vector)) = self.incoming.pop_front() else { return };
        self.merged += 1;
        self.complete = self.complete || vector.is_some();
        self.merge(out);
    }

    fn known(&mut self, vector: &Vector) {
        let theirs = self.theirs.get_or_insert_default();
        for (agent, &count) in vector {
            let known = theirs.entry(*agent).or_default();
            *known = (*known).max(count);
        }
    }

    /// How many parts have come: what comes after them may name documents that they introduce.
    pub fn received_parts(&self) -> u64 {
        self.received
    }

    /// How many parts are journalled.
    pub fn merged_parts(&self) -> u64 {
        self.merged
    }
}
