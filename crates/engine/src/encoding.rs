//! Events and documents as bytes: versioned, checksummed, in sections of which unknown ones are skipped.
//!
//! ```text
//! "SYL" version:1   { kind, length, bytes }*   crc32 of everything before, 4 bytes little-endian
//!   kind 1  agents: count, then length and bytes of each
//!   kind 2  origins: count, then author and channel of each (length and UTF-8)
//!   kind 3  runs: count, then each run's numbers (see `encode_runs`)
//!   kind 4  the inserted text of all runs, in order
//!   kind 5  the text at the newest version (documents only)
//! ```
//! Numbers are LEB128. A decoder allocates at most a small multiple of its input: every count is checked
//! against the bytes that are left.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::batch::{Change, EventBatch, EventRun};
use crate::document::Document;
use crate::id::{AgentId, EventId, Heads};
use crate::meta::Meta;
use crate::varint::{DecodeError, Reader, put_bytes, put_number};
use crate::version::Version;

const MAGIC: &[u8] = b"SYL\x01";
const AGENTS: u64 = 1;
const ORIGINS: u64 = 2;
const RUNS: u64 = 3;
const INSERTED: u64 = 4;
const TEXT: u64 = 5;

/// The most parents one run may name. Far more than any history has: they are heads, one per party.
const MAX_PARENTS: usize = 4096;

impl EventBatch {
    /// The batch as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        encode_runs(&self.runs, &mut out);
        finish(out)
    }

    /// Reads what [`EventBatch::encode`] wrote. Checks everything but what only a merge can know.
    pub fn decode(bytes: &[u8]) -> Result<EventBatch, DecodeError> {
        Ok(decode_sections(bytes)?.0)
    }
}

impl Document {
    /// The whole document as bytes: all events, and the text, so that opening replays nothing.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        encode_runs(&self.events_since(&Version::root()).runs, &mut out);
        section(&mut out, TEXT, self.text().to_one_string().as_bytes());
        finish(out)
    }

    /// Reads what [`Document::encode`] wrote. Versions taken before are valid for the document read.
    pub fn decode(bytes: &[u8]) -> Result<Document, DecodeError> {
        let (batch, text) = decode_sections(bytes)?;
        let invalid = DecodeError::Invalid { what: "document", at: 0 };
        let text = text.ok_or(invalid.clone())?;
        Document::restore(&batch, text).map_err(|_| invalid)
    }
}

fn section(out: &mut Vec<u8>, kind: u64, bytes: &[u8]) {
    put_number(out, kind);
    put_bytes(out, bytes);
}

fn finish(mut out: Vec<u8>) -> Vec<u8> {
    let sum = crc32fast::hash(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// Numbers things in the order in which they are first seen.
struct Table<T> {
    items: Vec<T>,
    index: BTreeMap<T, u64>,
}

impl<T: Ord + Clone> Table<T> {
    fn new() -> Table<T> {
        Table { items: Vec::new(), index: BTreeMap::new() }
    }

    fn number(&mut self, item: &T) -> u64 {
        if let Some(&number) = self.index.get(item) {
            return number;
        }
        let number = self.items.len() as u64;
        self.items.push(item.clone());
        self.index.insert(item.clone(), number);
        number
    }
}

/// Each run: agent, seq, parents (0: the event before it in the batch; otherwise count + 1 and the ids),
/// kind (0 insert, 1 delete, 2 delete backward), position, count of events, origin, time (ms, zigzag
/// difference to the run before).
fn encode_runs(runs: &[EventRun], out: &mut Vec<u8>) {
    let (mut agents, mut origins) = (Table::new(), Table::new());
    let (mut body, mut inserted) = (Vec::new(), Vec::new());
    let (mut previous, mut time) = (None, 0u64);
    put_number(&mut body, runs.len() as u64);
    for run in runs {
        put_number(&mut body, agents.number(&run.agent));
        put_number(&mut body, run.seq);
        if previous.is_some_and(|id| run.parents.ids() == [id]) {
            put_number(&mut body, 0);
        } else {
            put_number(&mut body, run.parents.ids().len() as u64 + 1);
            for id in run.parents.ids() {
                put_number(&mut body, agents.number(&id.agent));
                put_number(&mut body, id.seq);
            }
        }
        let count = run.count();
        let (kind, at) = match &run.change {
            Change::Insert { at, text } => {
                inserted.extend_from_slice(text.as_bytes());
                (0, *at)
            }
            Change::Delete { at, backward, .. } => (1 + u64::from(*backward), *at),
        };
        put_number(&mut body, kind);
        put_number(&mut body, at as u64);
        put_number(&mut body, count as u64);
        put_number(&mut body, origins.number(&(run.meta.author.clone(), run.meta.channel.clone())));
        let delta = run.meta.time_ms.wrapping_sub(time) as i64;
        put_number(&mut body, ((delta << 1) ^ (delta >> 63)) as u64);
        time = run.meta.time_ms;
        previous = Some(EventId { agent: run.agent, seq: run.seq + (count as u64).saturating_sub(1) });
    }
    let mut table = Vec::new();
    put_number(&mut table, agents.items.len() as u64);
    agents.items.iter().for_each(|agent| put_bytes(&mut table, agent.as_bytes()));
    section(out, AGENTS, &table);
    table.clear();
    put_number(&mut table, origins.items.len() as u64);
    for (author, channel) in &origins.items {
        put_bytes(&mut table, author.as_bytes());
        put_bytes(&mut table, channel.as_bytes());
    }
    section(out, ORIGINS, &table);
    section(out, RUNS, &body);
    section(out, INSERTED, &inserted);
}

fn decode_sections(bytes: &[u8]) -> Result<(EventBatch, Option<&str>), DecodeError> {
    let body = bytes.strip_prefix(MAGIC).ok_or(DecodeError::WrongFormat)?;
    let (body, sum) = body.split_last_chunk::<4>().ok_or(DecodeError::Truncated { at: bytes.len() })?;
    if crc32fast::hash(&bytes[..bytes.len() - 4]) != u32::from_le_bytes(*sum) {
        return Err(DecodeError::Checksum);
    }
    let mut reader = Reader::new(body);
    let (mut agents, mut origins, mut runs, mut inserted, mut text) = (None, None, None, None, None);
    while reader.left() > 0 {
        let kind = reader.number()?;
        let bytes = reader.bytes()?;
        let slot = match kind {
            AGENTS => &mut agents,
            ORIGINS => &mut origins,
            RUNS => &mut runs,
            INSERTED => &mut inserted,
            TEXT => &mut text,
            _ => continue,
        };
        if slot.replace(bytes).is_some() {
            return Err(reader.invalid("section that came twice"));
        }
    }
    let utf8 = |bytes| std::str::from_utf8(bytes).map_err(|_| reader.invalid("text"));
    let agents = decode_agents(agents.ok_or(reader.invalid("agents"))?)?;
    let origins = decode_origins(origins.ok_or(reader.invalid("origins"))?)?;
    let inserted = utf8(inserted.ok_or(reader.invalid("inserted text"))?)?;
    let runs = decode_runs(runs.ok_or(reader.invalid("runs"))?, &agents, &origins, inserted)?;
    Ok((EventBatch { runs }, text.map(utf8).transpose()?))
}

fn decode_agents(bytes: &[u8]) -> Result<SmallVec<[AgentId; 2]>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let count = reader.count(2)?;
    let agents = (0..count).map(|_| {
        let name = reader.bytes()?;
        AgentId::new(name).ok_or(reader.invalid("agent"))
    });
    let agents = agents.collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(agents)
}

fn decode_origins(bytes: &[u8]) -> Result<SmallVec<[Meta; 1]>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let count = reader.count(2)?;
    let mut origins = SmallVec::with_capacity(count);
    for _ in 0..count {
        let (author, channel) = (shared(reader.text()?), shared(reader.text()?));
        if author.len() > 256 || channel.len() > 256 {
            return Err(reader.invalid("origin"));
        }
        origins.push(Meta { author, channel, time_ms: 0 });
    }
    reader.finish()?;
    Ok(origins)
}

/// A name that many events share. Nothing is allocated for an empty one.
fn shared(text: &str) -> Arc<str> {
    if text.is_empty() { Arc::default() } else { text.into() }
}

fn decode_runs(
    bytes: &[u8],
    agents: &[AgentId],
    origins: &[Meta],
    mut inserted: &str,
) -> Result<Vec<EventRun>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let count = reader.count(7)?;
    let mut runs = Vec::with_capacity(count.min(1 << 16));
    let (mut previous, mut time) = (None, 0u64);
    for _ in 0..count {
        let agent = agent_of(&mut reader, agents)?;
        let seq = reader.number()?;
        let parents = match reader.size()? {
            0 => Heads::of(previous.ok_or(reader.invalid("parent"))?),
            2 => Heads::of(EventId { agent: agent_of(&mut reader, agents)?, seq: reader.number()? }),
            more if more - 1 > MAX_PARENTS => return Err(reader.invalid("number of parents")),
            more => {
                let mut ids = Vec::with_capacity(more - 1);
                for _ in 1..more {
                    ids.push(EventId { agent: agent_of(&mut reader, agents)?, seq: reader.number()? });
                }
                Heads::new(ids)
            }
        };
        let kind = reader.number()?;
        let at = reader.size()?;
        let count = reader.size()?;
        let end = seq.checked_add(count as u64).ok_or(reader.invalid("count"))?;
        if count == 0 {
            return Err(reader.invalid("count"));
        }
        let change = match kind {
            0 => {
                // So many characters need at least so many bytes: checked before looking for them.
                if count > inserted.len() {
                    return Err(reader.invalid("count"));
                }
                let (text, rest) = inserted.split_at(crate::edit::byte_offset(inserted, count));
                if rest.is_empty() && text.chars().count() != count {
                    return Err(reader.invalid("count"));
                }
                inserted = rest;
                Change::Insert { at, text: text.to_owned() }
            }
            1 | 2 => Change::Delete { at, count, backward: kind == 2 },
            _ => return Err(reader.invalid("kind")),
        };
        let origin = reader.size()?;
        let mut meta = origins.get(origin).ok_or(reader.invalid("origin"))?.clone();
        let delta = reader.number()?;
        time = time.wrapping_add((delta >> 1) ^ (delta & 1).wrapping_neg());
        meta.time_ms = time;
        previous = Some(EventId { agent, seq: end - 1 });
        runs.push(EventRun { agent, seq, parents, change, meta });
    }
    reader.finish()?;
    if inserted.is_empty() { Ok(runs) } else { Err(reader.invalid("inserted text")) }
}

fn agent_of(reader: &mut Reader<'_>, agents: &[AgentId]) -> Result<AgentId, DecodeError> {
    let number = reader.size()?;
    agents.get(number).copied().ok_or(reader.invalid("agent"))
}

impl Heads {
    /// The version as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, self.ids().len() as u64);
        for id in self.ids() {
            put_bytes(&mut out, id.agent.as_bytes());
            put_number(&mut out, id.seq);
        }
        out
    }

    /// Reads what [`Heads::encode`] wrote; nothing may follow.
    pub fn decode(bytes: &[u8]) -> Result<Heads, DecodeError> {
        let mut reader = Reader::new(bytes);
        let heads = Heads::read(&mut reader)?;
        reader.finish()?;
        Ok(heads)
    }

    /// Reads a version from among other things.
    pub fn read(reader: &mut Reader<'_>) -> Result<Heads, DecodeError> {
        let count = reader.count(3)?;
        if count > MAX_PARENTS {
            return Err(reader.invalid("number of heads"));
        }
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            let agent = AgentId::new(reader.bytes()?).ok_or(reader.invalid("agent"))?;
            ids.push(EventId { agent, seq: reader.number()? });
        }
        Ok(Heads::new(ids))
    }
}
