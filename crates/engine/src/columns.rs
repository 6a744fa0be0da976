//! Many runs of events as columns, compressed: what a document's history is stored as.
//!
//! What is alike stands together, and most of it is said by its absence. Each column is packed by itself:
//!
//! ```text
//!   tags    per run: kind (0 insert, 1 delete, 2 delete backward)
//!           + 4 if it follows the run before (same agent, next number, that run as only parent)
//!           + 8 if its origin and time are those of the run before
//!   links   of runs without 4: agent, number, count of parents, agent and number of each
//!   places  position, as zigzag difference to where the run before left the cursor
//!   counts  how many events
//!   metas   of runs without 8: origin, time as zigzag difference to the one before
//! ```
//! A packed column is a byte for the method (0 as it is, 1 deflate), the length unpacked, and the bytes.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use smallvec::SmallVec;
use std::borrow::Cow;

use crate::batch::{Change, EventRun};
use crate::encoding::{MAX_PARENTS, RunOf, Tables};
use crate::id::{AgentId, EventId, Heads};
use crate::meta::Meta;
use crate::varint::{DecodeError, Reader, put_bytes, put_number};

/// No packed column unpacks to more than so many times its bytes: the encoder leaves what shrinks further as it
/// is, so a decoder refuses it. A run in memory is some 50 times its numbers.
const MAX_RATIO: usize = 16;
/// Columns shorter than this are left as they are.
const SHORTEST: usize = 64;
/// The compression that is worth its time here: beyond it, bytes shrink by less than a hundredth.
const LEVEL: u8 = 8;

const FOLLOWS: u64 = 4;
const SAME_META: u64 = 8;

/// Appends a packed column.
pub fn pack(out: &mut Vec<u8>, column: &[u8]) {
    let deflated = if column.len() < SHORTEST { Vec::new() } else { compress_to_vec(column, LEVEL) };
    let smaller = deflated.len() < column.len() && column.len() <= deflated.len() * MAX_RATIO;
    out.push(u8::from(smaller));
    put_number(out, column.len() as u64);
    put_bytes(out, if smaller { &deflated } else { column });
}

/// Reads a packed column.
pub fn unpack<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, [u8]>, DecodeError> {
    let method = reader.byte()?;
    let length = reader.size()?;
    let bytes = reader.bytes()?;
    let column = match method {
        0 => Cow::Borrowed(bytes),
        1 if length <= bytes.len().saturating_mul(MAX_RATIO) => {
            let unpacked = decompress_to_vec_with_limit(bytes, length);
            Cow::Owned(unpacked.map_err(|_| reader.invalid("compressed column"))?)
        }
        _ => return Err(reader.invalid("packing of a column")),
    };
    if column.len() == length { Ok(column) } else { Err(reader.invalid("length of a column")) }
}

fn zigzag(difference: i64) -> u64 {
    ((difference << 1) ^ (difference >> 63)) as u64
}

fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// Where a run leaves the cursor.
fn cursor_after(kind: u64, at: u64, count: u64) -> u64 {
    match kind {
        0 => at.wrapping_add(count),
        1 => at,
        _ => at.wrapping_sub(count),
    }
}

/// The columns of these runs; their agents and origins are numbered in `tables`, what they inserted is appended to
/// `inserted`.
pub fn encode(runs: &[EventRun], tables: &mut Tables, inserted: &mut Vec<u8>) -> Vec<u8> {
    let [mut tags, mut links, mut places, mut counts, mut metas] = [const { Vec::new() }; 5];
    let (mut cursor, mut time) = (0u64, 0u64);
    let mut previous: Option<(EventId, &Meta)> = None;
    for run in runs {
        let count = run.count() as u64;
        let (kind, at) = match &run.change {
            Change::Insert { at, text } => {
                inserted.extend_from_slice(text.as_bytes());
                (0, *at as u64)
            }
            Change::Delete { at, backward, .. } => (1 + u64::from(*backward), *at as u64),
        };
        let follows = previous.is_some_and(|(id, _)| {
            run.agent == id.agent && Some(run.seq) == id.seq.checked_add(1) && run.parents.ids() == [id]
        });
        let same_meta = previous.is_some_and(|(_, meta)| *meta == run.meta);
        put_number(
            &mut tags,
            kind + if follows { FOLLOWS } else { 0 } + if same_meta { SAME_META } else { 0 },
        );
        if !follows {
            put_number(&mut links, tables.agent(&run.agent));
            put_number(&mut links, run.seq);
            put_number(&mut links, run.parents.ids().len() as u64);
            for id in run.parents.ids() {
                put_number(&mut links, tables.agent(&id.agent));
                put_number(&mut links, id.seq);
            }
        }
        put_number(&mut places, zigzag(at.wrapping_sub(cursor) as i64));
        put_number(&mut counts, count);
        if !same_meta {
            put_number(&mut metas, tables.origin(&run.meta));
            put_number(&mut metas, zigzag(run.meta.time_ms.wrapping_sub(time) as i64));
            time = run.meta.time_ms;
        }
        cursor = cursor_after(kind, at, count);
        let last = EventId { agent: run.agent, seq: run.seq + count.saturating_sub(1) };
        previous = Some((last, &run.meta));
    }
    let mut out = Vec::new();
    put_number(&mut out, runs.len() as u64);
    for column in [tags, links, places, counts, metas] {
        pack(&mut out, &column);
    }
    out
}

/// Reads what [`encode`] wrote.
pub fn decode(
    bytes: &[u8],
    agents: &[AgentId],
    origins: &[Meta],
    mut inserted: &str,
) -> Result<Vec<EventRun>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let count = reader.size()?;
    let columns = [(); 5].map(|()| unpack(&mut reader));
    reader.finish()?;
    let [tags, links, places, counts, metas] = columns;
    let (tags, links, places, counts, metas) = (tags?, links?, places?, counts?, metas?);
    // Each run has a byte of its own in these.
    if count > tags.len().min(places.len()).min(counts.len()) {
        return Err(reader.invalid("count of runs"));
    }
    let [mut tags, mut links, mut places, mut counts, mut metas] =
        [&tags, &links, &places, &counts, &metas].map(|column| Reader::new(column));
    let mut runs: Vec<EventRun> = Vec::with_capacity(count);
    let (mut cursor, mut time) = (0u64, 0u64);
    let mut previous: Option<EventId> = None;
    for _ in 0..count {
        let tag = tags.number()?;
        let (agent, seq, parents) = if tag & FOLLOWS != 0 {
            let id = previous.ok_or_else(|| tags.invalid("run that follows none"))?;
            let seq = id.seq.checked_add(1).ok_or_else(|| tags.invalid("number"))?;
            (id.agent, seq, Heads::of(id))
        } else {
            let agent = agent_of(&mut links, agents)?;
            let seq = links.number()?;
            let parents = links.count(2)?;
            if parents > MAX_PARENTS {
                return Err(links.invalid("number of parents"));
            }
            let mut ids = SmallVec::with_capacity(parents);
            for _ in 0..parents {
                ids.push(EventId { agent: agent_of(&mut links, agents)?, seq: links.number()? });
            }
            (agent, seq, Heads::sorted(ids))
        };
        let at = cursor.wrapping_add(unzigzag(places.number()?));
        let count = counts.number()?;
        let kind = tag & 3;
        let run = RunOf { agent, seq, kind, at, count };
        let (change, last) = run.change(&mut inserted).ok_or_else(|| counts.invalid("run"))?;
        let meta = match runs.last() {
            Some(before) if tag & SAME_META != 0 => before.meta.clone(),
            _ => {
                let mut meta = origins.get(metas.size()?).ok_or_else(|| metas.invalid("origin"))?.clone();
                time = time.wrapping_add(unzigzag(metas.number()?));
                meta.time_ms = time;
                meta
            }
        };
        cursor = cursor_after(kind, at, count);
        previous = Some(last);
        runs.push(EventRun { agent, seq, parents, change, meta });
    }
    for column in [tags, links, places, counts, metas] {
        column.finish()?;
    }
    if inserted.is_empty() { Ok(runs) } else { Err(reader.invalid("inserted text")) }
}

fn agent_of(reader: &mut Reader<'_>, agents: &[AgentId]) -> Result<AgentId, DecodeError> {
    let number = reader.size()?;
    agents.get(number).copied().ok_or_else(|| reader.invalid("agent"))
}
