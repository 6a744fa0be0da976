//! Cutting a batch that is too long for one message.

use syncline_engine::{Change, EventBatch, EventId, EventRun, Heads, byte_offset};

use crate::limits;

/// The batch as encoded parts of about 80 MiB at most, each of which can be merged after those before it.
/// Usually one; none if the batch is empty.
pub fn encode_parts(batch: EventBatch) -> Vec<Vec<u8>> {
    parts(batch, limits::MAX_PART_BYTES).iter().map(EventBatch::encode).collect()
}

fn parts(batch: EventBatch, most: usize) -> Vec<EventBatch> {
    let mut parts = Vec::new();
    let (mut runs, mut size) = (Vec::new(), 0);
    for run in batch.runs {
        let mut rest = Some(run);
        while let Some(mut run) = rest.take() {
            let room = most.saturating_sub(size);
            if weight(&run) > room && !runs.is_empty() {
                parts.push(EventBatch { runs: std::mem::take(&mut runs) });
                size = 0;
                rest = Some(run);
                continue;
            }
            rest = cut(&mut run, most);
            size += weight(&run);
            runs.push(run);
        }
    }
    if !runs.is_empty() {
        parts.push(EventBatch { runs });
    }
    parts
}

/// At least about what the run takes encoded.
fn weight(run: &EventRun) -> usize {
    let text = match &run.change {
        Change::Insert { text, .. } => text.len(),
        Change::Delete { .. } => 0,
    };
    text + 64 + run.parents.ids().len() * 12
}

/// Cuts an insertion that is too long even alone; returns its rest.
fn cut(run: &mut EventRun, most: usize) -> Option<EventRun> {
    if weight(run) <= most {
        return None;
    }
    let Change::Insert { at, text } = &mut run.change else { return None };
    // A character has at most four bytes: so many surely fit, and at least one goes on.
    let count = (most / 4).max(1);
    let end = byte_offset(text, count);
    if end >= text.len() {
        return None;
    }
    let rest = text.split_off(end);
    let last = EventId { agent: run.agent, seq: run.seq + count as u64 - 1 };
    Some(EventRun {
        agent: run.agent,
        seq: run.seq + count as u64,
        parents: Heads::new(vec![last]),
        change: Change::Insert { at: *at + count, text: rest },
        meta: run.meta.clone(),
    })
}

#[cfg(test)]
mod tests {
    use syncline_engine::{AgentId, Document, Edit, Meta, Version};

    use super::*;

    #[test]
    fn parts_merge_to_the_whole() {
        let mut document = Document::new();
        let agent = AgentId::from_random(1);
        let other = AgentId::from_random(2);
        let long = "ab\u{1f600}c\n".repeat(60);
        document.edit(&[Edit::insert(0, long.clone())], agent, &Meta::default()).unwrap();
        document.edit(&[Edit::delete(3..40)], other, &Meta::default()).unwrap();
        document.edit(&[Edit::insert(5, long)], other, &Meta::default()).unwrap();
        let batch = document.events_since(&Version::root());
        for most in [1, 70, 100, 200, 1_000, 100_000] {
            let parts = parts(batch.clone(), most);
            let mut copy = Document::new();
            for part in &parts {
                copy.merge(&EventBatch::decode(&part.encode()).unwrap()).unwrap();
            }
            assert_eq!(copy.text().to_string(), document.text().to_string(), "{most}");
            assert_eq!(copy.vector(), document.vector());
            assert!(most > 1_000 || parts.len() > 1, "{most}");
        }
        assert!(parts(EventBatch::default(), 10).is_empty());
    }
}
