#![allow(missing_docs, clippy::unwrap_used)]
use syncline_engine::*;
use syncline_store::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let log = SqliteLog::open(std::path::Path::new(&a[1])).unwrap();
    let r = log.reader().unwrap();
    for w in r.catalogue().unwrap() {
        if let catalogue::Field::Path(p) = &w.field {
            if *p == a[2] {
                let l = r.document(w.doc).unwrap();
                let mut d = l.snapshot.map(|s| Document::decode(&s).unwrap()).unwrap_or_default();
                for b in l.batches {
                    d.merge(&EventBatch::decode(&b).unwrap()).unwrap();
                }
                let all = d.events_since(&Version::root());
                for (i, run) in all.runs.iter().enumerate() {
                    if let Change::Insert { at, text } = &run.change {
                        if a[3..].iter().any(|m| text.contains(m.as_str())) {
                            println!(
                                "{i} {:?}:{} at {at} len {} t {} parents {:?} {:?}",
                                run.agent,
                                run.seq,
                                text.len(),
                                run.meta.time_ms % 1000000,
                                run.parents,
                                text
                            );
                        }
                    }
                }
                for (t, what) in r.decisions(w.doc).unwrap() {
                    println!("   {} {what}", t % 1000000);
                }
            }
        }
    }
}
