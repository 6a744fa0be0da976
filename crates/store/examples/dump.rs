//! Prints from a journal which runs of one document inserted a text, and what was decided about its saves:
//! `cargo run -p syncline-store --example dump -- FOLDER/.syncline/journal.db notes.txt 'a lost line'`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use syncline_engine::catalogue::Field;
use syncline_engine::{Change, Document, EventBatch, EventId, Heads, Version, diff};
use syncline_store::{Log, SqliteLog};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [journal, path, texts @ ..] = arguments.as_slice() else {
        eprintln!("usage: dump JOURNAL PATH [TEXT…]");
        return;
    };
    let log = SqliteLog::open(Path::new(journal)).expect("no such journal");
    let reader = log.reader().unwrap();
    for write in reader.catalogue().unwrap() {
        if !matches!(&write.field, Field::Path(known) if known == path) {
            continue;
        }
        let loaded = reader.document(write.doc).unwrap();
        let mut document = loaded.snapshot.map(|bytes| Document::decode(&bytes).unwrap()).unwrap_or_default();
        for batch in loaded.batches {
            document.merge(&EventBatch::decode(&batch).unwrap()).unwrap();
        }
        for (number, run) in document.events_since(&Version::root()).runs.iter().enumerate() {
            if let Change::Insert { at, text } = &run.change
                && texts.iter().any(|wanted| text.contains(wanted))
            {
                let (agent, seq, time) = (run.agent, run.seq, run.meta.time_ms);
                println!("{number} {agent:?}:{seq} at {at}, {time} ms, on {:?}: {text:?}", run.parents);
            }
        }
        // Event by event: when each text came into the document and when it went again.
        let mut replayed = Document::new();
        let mut there = vec![false; texts.len()];
        for event in 0..document.events() {
            let batch = document.events_in(event..event + 1);
            replayed.merge(&batch).unwrap();
            let now = replayed.text().to_string();
            for (wanted, there) in texts.iter().zip(&mut there) {
                if now.contains(wanted.as_str()) != *there {
                    *there = !*there;
                    let run = &batch.runs[0];
                    let (agent, seq, time) = (run.agent, run.seq, run.meta.time_ms);
                    let what = if *there { "came" } else { "went" };
                    println!(
                        "{wanted} {what} by {agent:?}:{seq}, {time} ms, on {:?}: {:?}",
                        run.parents, run.change
                    );
                    if !*there {
                        print_save(&document, event);
                    }
                }
            }
        }
        for (time, what) in reader.decisions(write.doc).unwrap() {
            println!("   {time} ms: {what}");
        }
    }
}

/// The save that an event belongs to (the events of one maker at one time): what it made of which text.
fn print_save(document: &Document, event: usize) {
    let meta = document.meta_of(event).cloned().unwrap_or_default();
    let of_save = |event: &usize| document.meta_of(*event) == Some(&meta);
    let first = (0..=event).rev().take_while(of_save).last().unwrap_or(event);
    let last = (event..document.events()).take_while(of_save).last().unwrap_or(event);
    let run = |event: usize| document.events_in(event..event + 1).runs.remove(0);
    let base = document.local(&run(first).parents).unwrap();
    let id = EventId { agent: run(last).agent, seq: run(last).seq };
    let after = document.local(&Heads::new(vec![id])).unwrap();
    let (before, after) = (document.string_at(&base), document.string_at(&after));
    println!("--- its base:\n{before}--- what it changed in it: {:#?}", diff(&before, &after));
}
