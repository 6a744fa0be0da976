//! Events that come from the peer: in order per document, each answered when the journal has it.

use std::time::Duration;

use syncline_engine::Heads;
use syncline_engine::catalogue::DocId;

use super::{Batch, Documents};
use crate::error::{ErrorCode, ProtocolError};
use crate::limits;
use crate::replica::message::Message;
use crate::replica::step::Output;

/// How long a merge that failed for want of space waits for the next try.
const RETRY: Duration = Duration::from_secs(5);

impl Documents {
    /// Events from the peer.
    pub fn received(
        &mut self,
        message: Message,
        parts: u64,
        out: &mut Vec<Output>,
    ) -> Result<(), ProtocolError> {
        let Message::Events { doc: id, answer, more, heads, batch } = message else { return Ok(()) };
        if batch.is_empty() {
            if let Some(doc) = self.docs.get_mut(&id).filter(|_| !more) {
                doc.resyncing = false;
            }
            self.settle(id, answer, more, out);
            return Ok(());
        }
        self.waiting += 1;
        self.waiting_bytes += batch.len();
        // Twice what a peer of this program has under way: a delta of several parts may go beyond.
        if self.waiting > 2 * limits::MAX_IN_FLIGHT
            || self.waiting_bytes > limits::MAX_IN_FLIGHT_BYTES + 2 * limits::MAX_MESSAGE_BYTES
        {
            return Err(ProtocolError::new(ErrorCode::TooMany, "too many unacknowledged events"));
        }
        let doc = self.docs.entry(id).or_default();
        let len = batch.len();
        doc.incoming.push_back(Batch { answer, more, heads, bytes: batch, len, after: parts });
        self.gated.insert(id);
        Ok(())
    }

    /// Hands over what may be merged now.
    pub fn merge_ready(&mut self, merged_parts: u64, out: &mut Vec<Output>) {
        let docs = &mut self.docs;
        self.gated.retain(|id| {
            let Some(doc) = docs.get_mut(id) else { return false };
            if doc.merging {
                return false;
            }
            let Some(first) = doc.incoming.front_mut() else { return false };
            if first.after > merged_parts {
                return true;
            }
            doc.merging = true;
            out.push(Output::MergeEvents { doc: *id, batch: std::mem::take(&mut first.bytes) });
            false
        });
    }

    fn take_merged(&mut self, id: DocId) -> Option<Batch> {
        let doc = self.docs.get_mut(&id)?;
        doc.merging = false;
        doc.held = doc.held.saturating_add(1);
        let batch = doc.incoming.pop_front()?;
        if !doc.incoming.is_empty() {
            self.gated.insert(id);
        }
        self.waiting = self.waiting.saturating_sub(1);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(batch.len);
        Some(batch)
    }

    /// The hub merged and journalled the oldest events of the document.
    pub fn merged(&mut self, id: DocId, heads: Heads, out: &mut Vec<Output>) {
        let Some(batch) = self.take_merged(id) else { return };
        out.push(Output::Send(Message::Ack { doc: id, heads }));
        if let Some(doc) = self.docs.get_mut(&id) {
            // `now` stays: the hub tells of every change by itself, and what it told of since (an edit of its own, behind the
            // merge) is newer than what the merge came to. Taken back here, that would never be sent.
            doc.resyncing = false;
            if !batch.more {
                doc.theirs = batch.heads;
                doc.resyncs = 0;
            }
        }
        self.settle(id, batch.answer, batch.more, out);
        self.wake(id);
    }

    /// The hub did not take the oldest events of the document.
    pub fn refused(&mut self, id: DocId, error: ProtocolError, now: Duration, out: &mut Vec<Output>) {
        let Some(batch) = self.take_merged(id) else { return };
        let Some(doc) = self.docs.get_mut(&id) else { return };
        match error.code {
            ErrorCode::Resync | ErrorCode::UnknownDocument if self.deferred.contains_key(&id) => {
                // It builds on what had no space; its vector is sent when there is.
                let error = ProtocolError::new(ErrorCode::StorageFull, error.message);
                out.push(Output::Send(Message::Refused { doc: id, answer: false, error }));
            }
            ErrorCode::Resync | ErrorCode::UnknownDocument => {
                let tried = doc.resyncing && !batch.answer;
                if !tried {
                    doc.resyncs += 1;
                }
                if doc.resyncs > limits::MAX_RESYNCS {
                    let error = ProtocolError::new(ErrorCode::BadEvents, error.message);
                    out.push(Output::Send(Message::Refused { doc: id, answer: false, error: error.clone() }));
                    return self.stop(id, error, out);
                }
                let error = ProtocolError::new(ErrorCode::Resync, error.message);
                out.push(Output::Send(Message::Refused { doc: id, answer: false, error }));
                // Of several that were under way only the first asks; the others fail for the same cause.
                if !tried {
                    doc.resyncing = true;
                    self.vectors_out.remove(&id);
                    self.vectors.insert(id);
                    self.pump_vectors(out);
                }
            }
            ErrorCode::StorageFull | ErrorCode::ReadOnly | ErrorCode::Internal | ErrorCode::Closing => {
                self.deferred.insert(id, now + RETRY);
                self.vectors_out.remove(&id);
                let error = ProtocolError::new(ErrorCode::StorageFull, error.message);
                out.push(Output::Send(Message::Refused { doc: id, answer: false, error }));
                self.pump_vectors(out);
            }
            _ => {
                out.push(Output::Send(Message::Refused { doc: id, answer: false, error: error.clone() }));
                self.stop(id, error, out);
            }
        }
        self.wake(id);
    }

    /// Tries again what had no space.
    pub fn tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        let due: Vec<DocId> = self.deferred.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.deferred.remove(&id);
            self.vectors.insert(id);
        }
        self.pump_vectors(out);
    }
}
