//! Names that mean the same on every replica: agents, event ids, and portable versions.

use smallvec::SmallVec;
use std::fmt;

/// The longest agent name accepted, in bytes.
pub const MAX_AGENT_BYTES: usize = 32;

/// Who made an event: at most 32 bytes, compared in byte order (which decides ties between concurrent
/// inserts). The product draws 16 random bytes for every opening of a journal, page or window, and never
/// continues one (a restored backup could otherwise issue an event id twice); test data uses names.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AgentId {
    len: u8,
    bytes: [u8; MAX_AGENT_BYTES],
}

impl AgentId {
    /// An agent of these bytes; `None` when there are more than 32 or none at all.
    pub fn new(name: &[u8]) -> Option<AgentId> {
        if name.is_empty() || name.len() > MAX_AGENT_BYTES {
            return None;
        }
        let mut bytes = [0; MAX_AGENT_BYTES];
        bytes[..name.len()].copy_from_slice(name);
        Some(AgentId { len: name.len() as u8, bytes })
    }

    /// An agent of 128 random bits, drawn by the caller (the engine has no randomness of its own).
    pub fn from_random(random: u128) -> AgentId {
        let mut bytes = [0; MAX_AGENT_BYTES];
        bytes[..16].copy_from_slice(&random.to_be_bytes());
        AgentId { len: 16, bytes }
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl PartialOrd for AgentId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AgentId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.as_bytes()) {
            Ok(name) if name.chars().all(|c| c.is_ascii_graphic()) => f.write_str(name),
            _ => self.as_bytes().iter().try_for_each(|b| write!(f, "{b:02x}")),
        }
    }
}

/// One inserted or deleted character's event: the `seq`-th (from 0, without gaps) of its agent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Whose event.
    pub agent: AgentId,
    /// Which of that agent's events, counted from 0.
    pub seq: u64,
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{}", self.agent, self.seq)
    }
}

/// A version as every replica can read it: the ids of its heads, sorted. Empty is the version before
/// the first event.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Heads(SmallVec<[EventId; 1]>);

impl Heads {
    /// The version with these heads, in any order.
    pub fn new(ids: Vec<EventId>) -> Heads {
        Heads::sorted(SmallVec::from_vec(ids))
    }

    pub(crate) fn sorted(mut ids: SmallVec<[EventId; 1]>) -> Heads {
        ids.sort_unstable();
        ids.dedup();
        Heads(ids)
    }

    /// The version with this one head. Takes no memory of its own.
    pub fn of(id: EventId) -> Heads {
        Heads(smallvec::smallvec![id])
    }

    /// The heads, sorted.
    pub fn ids(&self) -> &[EventId] {
        &self.0
    }

    /// Whether this is the version before the first event.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}
