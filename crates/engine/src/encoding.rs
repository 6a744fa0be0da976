//! Events and documents as bytes: versioned, checksummed, in sections of which unknown ones are skipped.
//!
//! ```text
//! "SYL" version:1   { kind, length, bytes }*   crc32 of everything before, 4 bytes little-endian
//!   kind 1  agents: count, then length and bytes of each
//!   kind 2  origins: count, then author and channel of each (length and UTF-8)
//!   kind 3  runs: count, then each run's numbers (see `encode_runs`)
//!   kind 4  the inserted text of all runs, in order
//!   kind 5  the text at the newest version (documents only)
//!   kind 6  instead of 3: runs as columns, compressed (see `columns`): what is long
//!   kind 7  instead of 4: the inserted text, packed as a column
//!   kind 8  instead of all of these: one single run (see `single`)
//! ```
//! Numbers are LEB128. A decoder allocates at most a small multiple of its input: every count is checked
//! against the bytes that are left.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::batch::{Change, EventBatch, EventRun};
use crate::columns;
use crate::document::Document;
use crate::id::{AgentId, EventId, Heads};
use crate::meta::{MAX_NAME, Meta};
use crate::single;
use crate::varint::{DecodeError, Reader, put_bytes, put_number};
use crate::version::Version;

const MAGIC: &[u8] = b"SYL\x01";
const AGENTS: u64 = 1;
const ORIGINS: u64 = 2;
const RUNS: u64 = 3;
const INSERTED: u64 = 4;
const TEXT: u64 = 5;
const COLUMNS: u64 = 6;
const PACKED: u64 = 7;
const SINGLE: u64 = 8;

/// Batches of so many runs or bytes inserted are written as columns. What is shorter is sent one by one, as it is
/// typed, and gains nothing.
const LONG: usize = 64;
const LONG_TEXT: usize = 1024;

/// The most parents one run may name. Far more than any history has: they are heads, one per party.
pub(crate) const MAX_PARENTS: usize = 4096;

impl EventBatch {
    /// The batch as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.extend_from_slice(MAGIC);
        if let [run] = self.runs.as_slice()
            && run.inserted_bytes() <= LONG_TEXT
        {
            let mut body = Vec::with_capacity(96);
            single::encode(run, &mut body);
            section(&mut out, SINGLE, &body);
            return finish(out);
        }
        let inserted: usize = self.runs.iter().map(EventRun::inserted_bytes).sum();
        let long = self.runs.len() > LONG || inserted > LONG_TEXT;
        encode_runs(&self.runs, long, &mut out);
        finish(out)
    }

    /// Reads what [`EventBatch::encode`] wrote. Checks everything but what only a merge can know.
    pub fn decode(bytes: &[u8]) -> Result<EventBatch, DecodeError> {
        if let Some(run) = decode_single(bytes)? {
            return Ok(EventBatch { runs: vec![run] });
        }
        Ok(decode_sections(bytes)?.0)
    }
}

impl Document {
    /// The whole document as bytes: all events, and the text, so that opening replays nothing.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        encode_runs(&self.events_since(&Version::root()).runs, true, &mut out);
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
    /// Only when there are many: few are found faster by looking at all.
    index: BTreeMap<T, u64>,
}

/// From so many on a table has an index.
const INDEXED: usize = 16;

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table { items: Vec::new(), index: BTreeMap::new() }
    }
}

impl<T: Ord + Clone> Table<T> {
    fn number(&mut self, item: &T) -> u64 {
        let found = if self.items.len() < INDEXED {
            self.items.iter().position(|known| known == item).map(|at| at as u64)
        } else {
            self.index.get(item).copied()
        };
        if let Some(number) = found {
            return number;
        }
        self.items.push(item.clone());
        let first = if self.items.len() == INDEXED { 0 } else { self.items.len() - 1 };
        if self.items.len() >= INDEXED {
            let new = self.items.iter().enumerate().skip(first);
            self.index.extend(new.map(|(number, item)| (item.clone(), number as u64)));
        }
        self.items.len() as u64 - 1
    }
}

/// Each run: agent, seq, parents (0: the event before it in the batch; otherwise count + 1 and the ids),
/// kind (0 insert, 1 delete, 2 delete backward), position, count of events, origin, time (ms, zigzag
/// difference to the run before).
fn encode_rows(runs: &[EventRun], tables: &mut Tables, inserted: &mut Vec<u8>) -> Vec<u8> {
    let mut body = Vec::new();
    let (mut previous, mut time) = (None, 0u64);
    put_number(&mut body, runs.len() as u64);
    for run in runs {
        put_number(&mut body, tables.agent(&run.agent));
        put_number(&mut body, run.seq);
        if previous.is_some_and(|id| run.parents.ids() == [id]) {
            put_number(&mut body, 0);
        } else {
            put_number(&mut body, run.parents.ids().len() as u64 + 1);
            for id in run.parents.ids() {
                put_number(&mut body, tables.agent(&id.agent));
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
        put_number(&mut body, tables.origin(&run.meta));
        let delta = run.meta.time_ms.wrapping_sub(time) as i64;
        put_number(&mut body, ((delta << 1) ^ (delta >> 63)) as u64);
        time = run.meta.time_ms;
        previous = Some(EventId { agent: run.agent, seq: run.seq + (count as u64).saturating_sub(1) });
    }
    body
}

/// All sections but the text.
fn encode_runs(runs: &[EventRun], long: bool, out: &mut Vec<u8>) {
    let mut tables = Tables::default();
    let mut inserted = Vec::new();
    let body = if long {
        columns::encode(runs, &mut tables, &mut inserted)
    } else {
        encode_rows(runs, &mut tables, &mut inserted)
    };
    let mut table = Vec::new();
    put_number(&mut table, tables.agents.items.len() as u64);
    tables.agents.items.iter().for_each(|agent| put_bytes(&mut table, agent.as_bytes()));
    section(out, AGENTS, &table);
    table.clear();
    put_number(&mut table, tables.origins.items.len() as u64);
    for (author, channel) in &tables.origins.items {
        put_bytes(&mut table, author.as_bytes());
        put_bytes(&mut table, channel.as_bytes());
    }
    section(out, ORIGINS, &table);
    if long {
        section(out, COLUMNS, &body);
        let mut packed = Vec::new();
        columns::pack(&mut packed, &inserted);
        section(out, PACKED, &packed);
    } else {
        section(out, RUNS, &body);
        section(out, INSERTED, &inserted);
    }
}

/// Where the text of a stored document is in its bytes.
pub(crate) fn text_section(bytes: &[u8]) -> Result<Range<usize>, DecodeError> {
    let mut reader = checked(bytes)?;
    let mut found = None;
    while reader.left() > 0 {
        let kind = reader.number()?;
        let section = reader.bytes()?;
        if kind == TEXT {
            let end = MAGIC.len() + reader.at();
            str::from_utf8(section).map_err(|_| reader.invalid("text"))?;
            if found.replace(end - section.len()..end).is_some() {
                return Err(reader.invalid("section that came twice"));
            }
        }
    }
    found.ok_or_else(|| reader.invalid("text"))
}

/// A reader of the sections, if the bytes begin as they should and the checksum fits.
fn checked(bytes: &[u8]) -> Result<Reader<'_>, DecodeError> {
    let body = bytes.strip_prefix(MAGIC).ok_or(DecodeError::WrongFormat)?;
    let (body, sum) = body.split_last_chunk::<4>().ok_or(DecodeError::Truncated { at: bytes.len() })?;
    if crc32fast::hash(&bytes[..bytes.len() - 4]) != u32::from_le_bytes(*sum) {
        return Err(DecodeError::Checksum);
    }
    Ok(Reader::new(body))
}

/// The agents and origins of some runs, numbered.
#[derive(Default)]
pub(crate) struct Tables {
    agents: Table<AgentId>,
    origins: Table<(Arc<str>, Arc<str>)>,
}

impl Tables {
    pub(crate) fn agent(&mut self, agent: &AgentId) -> u64 {
        self.agents.number(agent)
    }

    pub(crate) fn origin(&mut self, meta: &Meta) -> u64 {
        self.origins.number(&(meta.author.clone(), meta.channel.clone()))
    }
}

/// The numbers of a run, as any encoding has them.
pub(crate) struct RunOf {
    pub agent: AgentId,
    pub seq: u64,
    /// 0 insert, 1 delete, 2 delete backward.
    pub kind: u64,
    pub at: u64,
    pub count: u64,
}

impl RunOf {
    /// What the run did, taking its text from `inserted`, and its last event. `None` if that cannot be.
    pub(crate) fn change(&self, inserted: &mut &str) -> Option<(Change, EventId)> {
        let (at, count) = (usize::try_from(self.at).ok()?, usize::try_from(self.count).ok()?);
        let end = self.seq.checked_add(self.count)?;
        let last = EventId { agent: self.agent, seq: end.checked_sub(1).filter(|_| count > 0)? };
        let change = match self.kind {
            0 => {
                // So many characters need at least so many bytes: checked before looking for them.
                if count > inserted.len() {
                    return None;
                }
                let (text, rest) = inserted.split_at(crate::edit::byte_offset(inserted, count));
                if rest.is_empty() && text.chars().count() != count {
                    return None;
                }
                *inserted = rest;
                Change::Insert { at, text: text.to_owned() }
            }
            1 | 2 => Change::Delete { at, count, backward: self.kind == 2 },
            _ => return None,
        };
        Some((change, last))
    }
}

/// The run, if the bytes begin with a single one.
fn decode_single(bytes: &[u8]) -> Result<Option<EventRun>, DecodeError> {
    if bytes.get(MAGIC.len()) != Some(&(SINGLE as u8)) {
        return Ok(None);
    }
    let mut reader = checked(bytes)?;
    reader.number()?;
    let run = single::decode(reader.bytes()?)?;
    while reader.left() > 0 {
        let kind = reader.number()?;
        reader.bytes()?;
        if (AGENTS..=SINGLE).contains(&kind) {
            return Err(reader.invalid("section beside a single run"));
        }
    }
    Ok(Some(run))
}

fn decode_sections(bytes: &[u8]) -> Result<(EventBatch, Option<&str>), DecodeError> {
    let mut reader = checked(bytes)?;
    let (mut columns, mut packed) = (None, None);
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
            COLUMNS => &mut columns,
            PACKED => &mut packed,
            SINGLE => return Err(reader.invalid("single run among others")),
            _ => continue,
        };
        if slot.replace(bytes).is_some() {
            return Err(reader.invalid("section that came twice"));
        }
    }
    fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
        str::from_utf8(bytes).map_err(|_| DecodeError::Invalid { what: "text", at: 0 })
    }
    let agents = decode_agents(agents.ok_or_else(|| reader.invalid("agents"))?)?;
    let origins = decode_origins(origins.ok_or_else(|| reader.invalid("origins"))?)?;
    let runs = match (runs, inserted, columns, packed) {
        (Some(rows), Some(inserted), None, None) => decode_rows(rows, &agents, &origins, utf8(inserted)?)?,
        (None, None, Some(runs), Some(packed)) => {
            let mut packed = Reader::new(packed);
            let inserted = columns::unpack(&mut packed)?;
            packed.finish()?;
            columns::decode(runs, &agents, &origins, utf8(&inserted)?)?
        }
        _ => return Err(reader.invalid("runs")),
    };
    Ok((EventBatch { runs }, text.map(utf8).transpose()?))
}

fn decode_agents(bytes: &[u8]) -> Result<SmallVec<[AgentId; 2]>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let count = reader.count(2)?;
    let agents = (0..count).map(|_| {
        let name = reader.bytes()?;
        AgentId::new(name).ok_or_else(|| reader.invalid("agent"))
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
        if author.len() > MAX_NAME || channel.len() > MAX_NAME {
            return Err(reader.invalid("origin"));
        }
        origins.push(Meta { author, channel, time_ms: 0 });
    }
    reader.finish()?;
    Ok(origins)
}

/// A name that many events share. Nothing is allocated for an empty one.
pub(crate) fn shared(text: &str) -> Arc<str> {
    if text.is_empty() { Arc::default() } else { text.into() }
}

fn decode_rows(
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
            0 => Heads::of(previous.ok_or_else(|| reader.invalid("parent"))?),
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
        let at = reader.number()?;
        let count = reader.number()?;
        let run = RunOf { agent, seq, kind, at, count };
        let (change, last) = run.change(&mut inserted).ok_or_else(|| reader.invalid("run"))?;
        let origin = reader.size()?;
        let mut meta = origins.get(origin).ok_or_else(|| reader.invalid("origin"))?.clone();
        let delta = reader.number()?;
        time = time.wrapping_add((delta >> 1) ^ (delta & 1).wrapping_neg());
        meta.time_ms = time;
        previous = Some(last);
        runs.push(EventRun { agent, seq, parents, change, meta });
    }
    reader.finish()?;
    if inserted.is_empty() { Ok(runs) } else { Err(reader.invalid("inserted text")) }
}

fn agent_of(reader: &mut Reader<'_>, agents: &[AgentId]) -> Result<AgentId, DecodeError> {
    let number = reader.size()?;
    agents.get(number).copied().ok_or_else(|| reader.invalid("agent"))
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
            let agent = AgentId::new(reader.bytes()?).ok_or_else(|| reader.invalid("agent"))?;
            ids.push(EventId { agent, seq: reader.number()? });
        }
        Ok(Heads::new(ids))
    }
}
