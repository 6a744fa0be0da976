//! External histories and real editing traces: every correct merge gives the same text.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

use serde::Deserialize;
use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use syncline_engine::{AgentId, Change, Document, EventBatch, EventId, EventRun, Heads, Meta, Version};

fn read(name: &str) -> Option<String> {
    let folder = std::env::var_os("SYNCLINE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let Ok(file) = std::fs::File::open(folder.join(name)) else {
        eprintln!("SKIPPED: {name} is not in {folder:?}; set SYNCLINE_DATA (see CONTRIBUTING.md)");
        return None;
    };
    let mut json = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut json).unwrap();
    Some(json)
}

#[derive(Deserialize)]
struct History {
    txns: Vec<Transaction>,
    #[serde(rename = "endContent")]
    end: String,
}

#[derive(Deserialize)]
struct Transaction {
    span: [usize; 2],
    parents: Vec<usize>,
    agent: String,
    #[serde(rename = "seqStart")]
    seq: u64,
    ops: Vec<(usize, usize, String)>,
}

/// The runs of a transaction: deletions and insertions at sequential positions.
fn runs(agent: AgentId, mut seq: u64, mut parents: Heads, ops: &[(usize, usize, String)]) -> Vec<EventRun> {
    let mut out = Vec::new();
    for (at, deleted, inserted) in ops {
        let mut push = |change: Change, count: usize| {
            let meta = Meta::default();
            out.push(EventRun { agent, seq, parents: parents.clone(), change, meta });
            seq += count as u64;
            parents = Heads::new(vec![EventId { agent, seq: seq - 1 }]);
        };
        if *deleted > 0 {
            push(Change::Delete { at: *at, count: *deleted, backward: false }, *deleted);
        }
        if !inserted.is_empty() {
            push(Change::Insert { at: *at, text: inserted.clone() }, inserted.chars().count());
        }
    }
    out
}

#[test]
fn every_external_history_merges_to_its_text() {
    let Some(json) = read("conformance/merge-order-500.json.gz") else { return };
    let histories: Vec<History> = serde_json::from_str(&json).unwrap();
    assert_eq!(histories.len(), 500);
    for (number, history) in histories.iter().enumerate() {
        let mut ids: Vec<EventId> = Vec::new();
        let mut one_by_one = Document::new();
        let mut batches = Vec::new();
        for txn in &history.txns {
            let agent = AgentId::new(txn.agent.as_bytes()).unwrap();
            assert_eq!(ids.len(), txn.span[0]);
            let parents = Heads::new(txn.parents.iter().map(|&event| ids[event]).collect());
            ids.extend((0..(txn.span[1] - txn.span[0]) as u64).map(|i| EventId { agent, seq: txn.seq + i }));
            let batch = EventBatch { runs: runs(agent, txn.seq, parents, &txn.ops) };
            let before = one_by_one.text().to_string();
            let merged = one_by_one.merge(&batch).unwrap();
            let after = syncline_engine::apply_to_str(&before, &merged.effect);
            assert_eq!(
                one_by_one.text().to_string(),
                after,
                "history {number}: the effect is not what changed"
            );
            batches.push(batch);
        }
        assert_eq!(one_by_one.text().to_string(), history.end, "history {number}, one by one");
        let mut at_once = Document::new();
        at_once.merge(&EventBatch { runs: batches.iter().flat_map(|b| b.runs.clone()).collect() }).unwrap();
        assert_eq!(at_once.text().to_string(), history.end, "history {number}, at once");
        check_versions(&mut one_by_one, &ids, number);
    }
}

/// At versions here and there: the changes since then lead from the text then to the text now.
fn check_versions(document: &mut Document, ids: &[EventId], number: usize) {
    for at in (0..ids.len()).step_by(7) {
        let version = document.local(&Heads::new(vec![ids[at], ids[at / 2]])).unwrap();
        let then = document.text_at(&version).to_string();
        let changes = document.changes_since(&version).unwrap();
        let now = syncline_engine::apply_to_str(&then, &changes);
        assert_eq!(now, document.text().to_string(), "history {number}, since event {at}");
        let mut other = Document::new();
        let all = document.events_since(&Version::root());
        other.merge(&all).unwrap();
        assert_eq!(other.text().to_string(), document.text().to_string());
    }
}

#[derive(Deserialize)]
struct Trace {
    #[serde(rename = "startContent", default)]
    start: String,
    #[serde(rename = "endContent")]
    end: String,
    txns: Vec<TraceTransaction>,
}

#[derive(Deserialize)]
struct TraceTransaction {
    #[serde(default)]
    parents: Vec<usize>,
    #[serde(default)]
    agent: usize,
    patches: Vec<(usize, usize, String)>,
}

fn replay(name: &str) {
    let Some(json) = read(&format!("traces/{name}.json.gz")) else { return };
    let trace: Trace = serde_json::from_str(&json).unwrap();
    let concurrent = name.ends_with(".concurrent");
    let mut document = Document::new();
    let mut next_seq: HashMap<usize, u64> = HashMap::new();
    let mut heads: Vec<Vec<EventId>> = Vec::new();
    let mut previous = Heads::default();
    if !trace.start.is_empty() {
        let agent = AgentId::new(b"start").unwrap();
        document
            .merge(&EventBatch { runs: runs(agent, 0, Heads::default(), &[(0, 0, trace.start)]) })
            .unwrap();
        previous = document.portable(document.version());
    }
    for txn in &trace.txns {
        let agent = AgentId::new(format!("agent{}", txn.agent).as_bytes()).unwrap();
        let parents = if concurrent {
            Heads::new(txn.parents.iter().flat_map(|&parent| heads[parent].clone()).collect())
        } else {
            previous.clone()
        };
        let seq = next_seq.entry(txn.agent).or_default();
        let batch = EventBatch { runs: runs(agent, *seq, parents.clone(), &txn.patches) };
        *seq += batch.runs.iter().map(|run| run.count() as u64).sum::<u64>();
        document.merge(&batch).unwrap();
        let last = batch.runs.last().map(|run| EventId { agent, seq: run.seq + run.count() as u64 - 1 });
        heads.push(last.map_or_else(|| parents.ids().to_vec(), |id| vec![id]));
        previous = last.map_or(parents, |id| Heads::new(vec![id]));
    }
    assert_eq!(document.text().to_string(), trace.end, "{name}");
    let mut copy = Document::new();
    copy.merge(&document.events_since(&Version::root())).unwrap();
    assert_eq!(copy.text().to_string(), trace.end, "{name}, merged at once");
}

macro_rules! traces {
    ($($test:ident $name:literal)*) => { $(#[test] fn $test() { replay($name); })* };
}

traces! {
    trace_automerge_paper "automerge-paper"
    trace_clownschool_concurrent "clownschool.concurrent"
    trace_clownschool "clownschool_flat"
    trace_friendsforever_concurrent "friendsforever.concurrent"
    trace_friendsforever "friendsforever_flat"
    trace_rustcode "rustcode"
    trace_seph_blog "seph-blog1"
    trace_sveltecomponent "sveltecomponent"
}
