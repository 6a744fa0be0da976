//! What every journal must do. Run against SQLite and against the one in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use syncline_engine::catalogue::{Catalogue, DocId, Field, Life};
use syncline_engine::{AgentId, EventId, Heads};

use crate::log::{DISPLACED, DiffState, Displaced, Loaded, Log, Record};

fn heads(seq: u64) -> Heads {
    Heads::new(AgentId::new(b"a").map(|agent| EventId { agent, seq }).into_iter().collect())
}

/// Runs every check. `open` opens the same journal each time it is called.
///
/// # Panics
/// When a check fails.
pub fn check(mut open: impl FnMut() -> Box<dyn Log>) {
    let (a, b) = (DocId([1; 16]), DocId([2; 16]));
    let mut log = open();
    let events = |doc, text: &str, seq| Record::Events { doc, batch: text.into(), heads: heads(seq) };
    log.commit(&[events(a, "a1", 0), events(b, "b1", 5), events(a, "a2", 1)]).unwrap();
    log.commit(&[Record::Snapshot { doc: b, bytes: "B".into(), heads: heads(6) }, events(b, "b2", 7)])
        .unwrap();
    let mut catalogue = Catalogue::new();
    let agent = AgentId::new(b"me").unwrap();
    let first = catalogue.write(a, Field::Path("x".into()), agent);
    let second = catalogue.write(a, Field::Path("y".into()), agent);
    let life = catalogue.write(a, Field::Life(Life::Alive), agent);
    let other = AgentId::new(b"other").unwrap();
    log.commit(&[
        Record::Catalogue(first),
        Record::Catalogue(second.clone()),
        Record::Catalogue(life.clone()),
        Record::Vector(BTreeMap::from([(other, 9), (agent, 1)])),
        Record::File { doc: a, state: vec![1] },
        Record::File { doc: b, state: vec![2] },
        Record::NoFile(b),
        Record::Intent { doc: a, intent: vec![3] },
        Record::Intent { doc: a, intent: vec![4] },
        Record::Intent { doc: b, intent: vec![5] },
        Record::NoIntent(b),
        Record::Content { hash: [7; 32], bytes: vec![0; 100_000] },
        Record::Decision { doc: a, time_ms: 1, what: "first".into() },
        Record::Decision { doc: b, time_ms: 2, what: "other".into() },
        Record::Decision { doc: a, time_ms: 3, what: "second".into() },
        Record::Request { key: vec![1], result: vec![2] },
        Record::DiffSession { session: [1; 16], doc: a, identity: [5; 32], state: vec![1] },
        Record::DiffSession { session: [1; 16], doc: b, identity: [5; 32], state: vec![2] },
        Record::DiffSession { session: [1; 16], doc: a, identity: [6; 32], state: vec![3] },
        Record::Setting { name: "s".into(), value: vec![9] },
    ])
    .unwrap();
    // The same is read by whoever is open, and after closing and opening again.
    for reopen in [false, true] {
        if reopen {
            drop(log);
            log = open();
        }
        let reader = log.reader().unwrap();
        let loaded = Loaded { snapshot: None, batches: vec!["a1".into(), "a2".into()] };
        assert_eq!(reader.document(a).unwrap(), loaded);
        let loaded = Loaded { snapshot: Some("B".into()), batches: vec!["b2".into()] };
        assert_eq!(reader.document(b).unwrap(), loaded);
        assert_eq!(reader.document(DocId([3; 16])).unwrap(), Loaded::default());
        let mut all = reader.heads().unwrap();
        all.sort();
        assert_eq!(all, [(a, heads(1)), (b, heads(7))]);
        let mut writes = reader.catalogue().unwrap();
        writes.sort_by_key(|write| write.stamp);
        assert_eq!(writes, [second.clone(), life.clone()]);
        assert_eq!(reader.vector().unwrap(), BTreeMap::from([(agent, 3), (other, 9)]));
        assert_eq!(reader.files().unwrap(), [(a, vec![1])]);
        assert_eq!((reader.file(a).unwrap(), reader.file(b).unwrap()), (Some(vec![1]), None));
        assert_eq!(reader.intents().unwrap(), [(a, vec![4])]);
        assert_eq!(reader.content(&[7; 32]).unwrap().map(|bytes| bytes.len()), Some(100_000));
        assert!(reader.has_content(&[7; 32]).unwrap() && !reader.has_content(&[8; 32]).unwrap());
        assert_eq!(reader.decisions(a).unwrap(), [(1, "first".to_owned()), (3, "second".to_owned())]);
        assert_eq!((reader.request(&[1]).unwrap(), reader.request(&[2]).unwrap()), (Some(vec![2]), None));
        let state = |identity, state| Some(DiffState { identity: [identity; 32], state: vec![state] });
        assert_eq!(reader.diff_session([1; 16], a).unwrap(), state(6, 3));
        assert_eq!(reader.diff_session([1; 16], b).unwrap(), state(5, 2));
        assert_eq!(reader.diff_session([2; 16], a).unwrap(), None);
        let documents = reader.diff_documents([1; 16]).unwrap();
        assert_eq!(documents, [(a, state(6, 3).unwrap()), (b, state(5, 2).unwrap())]);
        assert!(reader.diff_documents([2; 16]).unwrap().is_empty());
        assert!(
            reader.changed_ms(a).unwrap().is_some() && reader.changed_ms(DocId([3; 16])).unwrap().is_none()
        );
        assert_eq!((reader.setting("s").unwrap(), reader.setting("t").unwrap()), (Some(vec![9]), None));
    }
    log.commit(&[Record::SetAside { doc: b, what: "spoilt".into() }, events(b, "b3", 1)]).unwrap();
    for reopen in [false, true] {
        if reopen {
            drop(log);
            log = open();
        }
        let reader = log.reader().unwrap();
        let anew = Loaded { snapshot: None, batches: vec!["b3".into()] };
        assert_eq!(reader.document(b).unwrap(), anew);
        let row = |bytes: &str| ("spoilt".to_owned(), bytes.as_bytes().to_vec());
        assert_eq!(reader.set_aside(b).unwrap(), [row("B"), row("b2")]);
        assert_eq!(reader.set_aside(a).unwrap(), []);
        assert_eq!(reader.document(a).unwrap().batches.len(), 2);
    }
    let content = |number: u8, len| Record::Content { hash: [number; 32], bytes: vec![number; len] };
    log.commit(&[content(8, 10), content(9, 20), Record::NoContent([7; 32])]).unwrap();
    let mut kept: Vec<_> = log.reader().unwrap().contents().unwrap();
    kept.sort_by_key(|kept| kept.len);
    let kept: Vec<_> = kept.iter().map(|kept| (kept.hash, kept.len)).collect();
    assert_eq!(kept, [([8; 32], 10), ([9; 32], 20)]);
    assert!(!log.reader().unwrap().has_content(&[7; 32]).unwrap());
    let displaced = |doc, time_ms, content: Option<u8>| Displaced {
        doc,
        time_ms,
        author: format!("author {time_ms}"),
        content: content.map(|number| [number; 32]),
    };
    let of_b = [displaced(b, 1, Some(8)), displaced(b, 2, None), displaced(b, 3, Some(9))];
    log.commit(&of_b.clone().map(Record::Displaced)).unwrap();
    assert_eq!(log.reader().unwrap().displaced().unwrap(), of_b);
    log.commit(&[Record::NoContent([8; 32])]).unwrap();
    assert_eq!(log.reader().unwrap().displaced().unwrap(), of_b[1..], "gone with its content");
    let many: Vec<_> = (0..DISPLACED + 5).map(|time| Record::Displaced(displaced(a, time, None))).collect();
    log.commit(&many).unwrap();
    let all = log.reader().unwrap().displaced().unwrap();
    let times: Vec<u64> = all.iter().filter(|it| it.doc == a).map(|it| it.time_ms).collect();
    assert_eq!(times, (5..DISPLACED + 5).collect::<Vec<_>>(), "the newest are kept");
    assert_eq!(all.iter().filter(|it| it.doc == b).count(), 2, "each document has its own");
}
