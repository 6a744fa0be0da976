//! The contents' side of a link: files that are not text, whole, in pieces, verified by their hash.
//!
//! The side that wants a content asks for one piece after another, so neither side ever holds more than it
//! asked for. First pieces are asked for up to 16 at once (most contents are one piece); what is longer
//! goes on one after the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::message::Message;
use super::step::{LinkEvent, Output};
use crate::error::{ErrorCode, ProtocolError};
use crate::limits;

type Hash = [u8; 32];

/// When a content that the peer lacks is asked for again, for the first time and at the latest.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// How many requests of the peer may wait for the hub.
const MAX_REQUESTS: usize = 4 * limits::MAX_WANTS;

struct Absent {
    at: Duration,
    pause: Duration,
}

#[derive(Default)]
pub(super) struct Contents {
    /// To be asked for.
    queue: BTreeSet<Hash>,
    /// Asked for, and what came of each.
    asked: BTreeMap<Hash, Vec<u8>>,
    /// Those of which the first piece came and more is to come; only the first one goes on.
    long: VecDeque<Hash>,
    /// Whole, and with the hub.
    keeping: BTreeSet<Hash>,
    absent: BTreeMap<Hash, Absent>,
    /// The peer's requests that the hub has not answered.
    requests: BTreeMap<Hash, u64>,
    /// The long content that was last asked for: each of its pieces would otherwise be read whole.
    serving: Option<(Hash, Arc<[u8]>)>,
}

impl Contents {
    /// All contents that the catalogue names and the journal lacks.
    pub fn wanted(&mut self, wanted: Vec<Hash>, out: &mut Vec<Output>) {
        let wanted: BTreeSet<Hash> = wanted.into_iter().collect();
        self.absent.retain(|hash, _| wanted.contains(hash));
        self.queue = wanted;
        self.queue.retain(|hash| {
            !(self.asked.contains_key(hash) || self.keeping.contains(hash) || self.absent.contains_key(hash))
        });
        self.pump(out);
    }

    fn pump(&mut self, out: &mut Vec<Output>) {
        while self.asked.len() + self.keeping.len() < limits::MAX_WANTS
            && let Some(hash) = self.queue.pop_first()
        {
            self.asked.insert(hash, Vec::new());
            out.push(Output::Send(Message::WantContent { hash, offset: 0 }));
        }
    }

    /// Whether every content that is wanted and can be had is journalled.
    pub fn settled(&self) -> bool {
        self.queue.is_empty() && self.asked.is_empty() && self.keeping.is_empty()
    }

    /// A piece from the peer.
    pub fn piece(
        &mut self,
        hash: Hash,
        offset: u64,
        total: u64,
        bytes: &[u8],
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), ProtocolError> {
        let bad = |what: &str| Err(ProtocolError::new(ErrorCode::BadMessage, what));
        let Some(sofar) = self.asked.get_mut(&hash) else { return bad("a content that was not asked for") };
        if total > limits::MAX_DOCUMENT_BYTES as u64 {
            self.missing(hash, LAST_RETRY, now, out);
            return Ok(());
        }
        let end = offset.checked_add(bytes.len() as u64);
        if offset != sofar.len() as u64
            || end.is_none_or(|end| end > total)
            || (bytes.is_empty() && total > 0)
        {
            return bad("a piece of a content that does not fit");
        }
        sofar.extend_from_slice(bytes);
        if (sofar.len() as u64) < total {
            if offset == 0 {
                self.long.push_back(hash);
            }
            if self.long.front() == Some(&hash) {
                self.go_on(out);
            }
            return Ok(());
        }
        let whole = self.asked.remove(&hash).unwrap_or_default();
        self.no_longer(hash, out);
        if blake3::hash(&whole) == blake3::Hash::from_bytes(hash) {
            self.keeping.insert(hash);
            out.push(Output::KeepContent { hash, bytes: whole.into() });
        } else {
            self.missing(hash, LAST_RETRY, now, out);
        }
        self.pump(out);
        Ok(())
    }

    /// Asks for the next piece of the long content whose turn it is.
    fn go_on(&mut self, out: &mut Vec<Output>) {
        if let Some(hash) = self.long.front()
            && let Some(sofar) = self.asked.get(hash)
        {
            out.push(Output::Send(Message::WantContent { hash: *hash, offset: sofar.len() as u64 }));
        }
    }

    fn no_longer(&mut self, hash: Hash, out: &mut Vec<Output>) {
        let turn = self.long.front() == Some(&hash);
        self.long.retain(|other| *other != hash);
        if turn {
            self.go_on(out);
        }
    }

    /// The peer lacks it (or sent something else): it is asked again later.
    pub fn missing(&mut self, hash: Hash, first: Duration, now: Duration, out: &mut Vec<Output>) {
        let asked = self.asked.remove(&hash).is_some();
        self.no_longer(hash, out);
        let before = self.absent.get(&hash).map(|absent| absent.pause);
        if asked || !self.absent.contains_key(&hash) {
            let pause = before.map_or(first, |pause| (pause * 2).min(LAST_RETRY));
            self.absent.insert(hash, Absent { at: now + pause, pause });
            if before.is_none() {
                out.push(Output::Event(LinkEvent::ContentMissing { hash }));
            }
        }
        self.pump(out);
    }

    /// The peer says that it lacks it.
    pub fn peer_lacks(&mut self, hash: Hash, now: Duration, out: &mut Vec<Output>) {
        if self.asked.contains_key(&hash) {
            self.missing(hash, FIRST_RETRY, now, out);
        }
    }

    /// The hub journalled it.
    pub fn kept(&mut self, hash: Hash, out: &mut Vec<Output>) {
        self.keeping.remove(&hash);
        self.absent.remove(&hash);
        self.pump(out);
    }

    /// The hub could not journal it; it is asked for again later.
    pub fn not_kept(&mut self, hash: Hash, now: Duration, out: &mut Vec<Output>) {
        self.keeping.remove(&hash);
        self.missing(hash, FIRST_RETRY, now, out);
    }

    /// Asks again for what is due.
    pub fn tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        let room = limits::MAX_WANTS.saturating_sub(self.asked.len() + self.keeping.len());
        let due = self.absent.iter_mut().filter(|(_, absent)| absent.at <= now).take(room);
        for (hash, absent) in due {
            // Not again before this request is answered; it stays absent, so `Synced` does not wait for it.
            absent.at = Duration::MAX;
            if !self.asked.contains_key(hash) {
                self.asked.insert(*hash, Vec::new());
                out.push(Output::Send(Message::WantContent { hash: *hash, offset: 0 }));
            }
        }
    }

    /// The peer asks for a piece.
    pub fn requested(&mut self, hash: Hash, offset: u64, out: &mut Vec<Output>) -> Result<(), ProtocolError> {
        if let Some((serving, bytes)) = &self.serving
            && *serving == hash
        {
            let bytes = Arc::clone(bytes);
            self.send_piece(hash, offset, &bytes, out);
            return Ok(());
        }
        if self.requests.len() >= MAX_REQUESTS || self.requests.contains_key(&hash) {
            return Err(ProtocolError::new(ErrorCode::TooMany, "too many contents at once"));
        }
        self.requests.insert(hash, offset);
        out.push(Output::AskContent { hash });
        Ok(())
    }

    /// The hub's answer.
    pub fn loaded(&mut self, hash: Hash, bytes: Option<Arc<[u8]>>, out: &mut Vec<Output>) {
        let Some(offset) = self.requests.remove(&hash) else { return };
        match bytes {
            Some(bytes) => {
                if bytes.len() > limits::MAX_CHUNK {
                    self.serving = Some((hash, Arc::clone(&bytes)));
                }
                self.send_piece(hash, offset, &bytes, out);
            }
            None => out.push(Output::Send(Message::NoContent { hash })),
        }
    }

    fn send_piece(&mut self, hash: Hash, offset: u64, whole: &Arc<[u8]>, out: &mut Vec<Output>) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
        let end = start.saturating_add(limits::MAX_CHUNK).min(whole.len());
        if end == whole.len() && self.serving.as_ref().is_some_and(|(serving, _)| *serving == hash) {
            self.serving = None;
        }
        let bytes = whole.get(start..end).unwrap_or_default().to_vec();
        out.push(Output::Send(Message::Content { hash, offset, total: whole.len() as u64, bytes }));
    }
}
