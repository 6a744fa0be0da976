//! One run of events as bytes: what is sent for every key that somebody presses, so it has no tables.
//!
//! ```text
//!   agent (length and bytes), number
//!   parents: 0 for the agent's own event before; otherwise how many + 1, and agent and number of each
//!   kind (0 insert, 1 delete, 2 delete backward), position, count of events
//!   author, channel (length and UTF-8), time in ms
//!   the inserted text, to the end
//! ```

use std::sync::Arc;

use smallvec::SmallVec;

use crate::batch::{Change, EventRun};
use crate::encoding::{MAX_PARENTS, RunOf, shared};
use crate::id::{AgentId, EventId, Heads};
use crate::meta::{MAX_NAME, Meta};
use crate::varint::{DecodeError, Reader, put_bytes, put_number};

/// Appends a run.
pub fn encode(run: &EventRun, out: &mut Vec<u8>) {
    put_bytes(out, run.agent.as_bytes());
    put_number(out, run.seq);
    match run.parents.ids() {
        [id] if id.agent == run.agent && id.seq.checked_add(1) == Some(run.seq) => put_number(out, 0),
        ids => {
            put_number(out, ids.len() as u64 + 1);
            for id in ids {
                put_bytes(out, id.agent.as_bytes());
                put_number(out, id.seq);
            }
        }
    }
    let (kind, at, text) = match &run.change {
        Change::Insert { at, text } => (0, *at, text.as_str()),
        Change::Delete { at, backward, .. } => (1 + u64::from(*backward), *at, ""),
    };
    put_number(out, kind);
    put_number(out, at as u64);
    put_number(out, run.count() as u64);
    put_bytes(out, run.meta.author.as_bytes());
    put_bytes(out, run.meta.channel.as_bytes());
    put_number(out, run.meta.time_ms);
    out.extend_from_slice(text.as_bytes());
}

/// Reads what [`encode`] wrote.
pub fn decode(bytes: &[u8]) -> Result<EventRun, DecodeError> {
    let mut reader = Reader::new(bytes);
    let agent = agent(&mut reader)?;
    let seq = reader.number()?;
    let parents = match reader.size()? {
        0 => {
            let seq = seq.checked_sub(1).ok_or_else(|| reader.invalid("parent"))?;
            Heads::of(EventId { agent, seq })
        }
        more if more - 1 > MAX_PARENTS => return Err(reader.invalid("number of parents")),
        more => {
            let mut ids = SmallVec::new();
            for _ in 1..more {
                ids.push(EventId { agent: self::agent(&mut reader)?, seq: reader.number()? });
            }
            Heads::sorted(ids)
        }
    };
    let run = RunOf { agent, seq, kind: reader.number()?, at: reader.number()?, count: reader.number()? };
    let (author, channel) = (name(&mut reader)?, name(&mut reader)?);
    let meta = Meta { author, channel, time_ms: reader.number()? };
    let mut text = str::from_utf8(reader.rest()).map_err(|_| reader.invalid("text"))?;
    match run.change(&mut text) {
        Some((change, _)) if text.is_empty() => Ok(EventRun { agent, seq, parents, change, meta }),
        _ => Err(reader.invalid("run")),
    }
}

fn agent(reader: &mut Reader<'_>) -> Result<AgentId, DecodeError> {
    let name = reader.bytes()?;
    AgentId::new(name).ok_or_else(|| reader.invalid("agent"))
}

fn name(reader: &mut Reader<'_>) -> Result<Arc<str>, DecodeError> {
    let name = reader.text()?;
    if name.len() > MAX_NAME { Err(reader.invalid("origin")) } else { Ok(shared(name)) }
}
