//! Batches that nobody honest sends: each is refused whole, and the document is as it was.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use support::{Dice, History, agent};
use syncline_engine::{
    AgentId, Change, Document, Edit, EventBatch, EventId, EventRun, Heads, MergeError, Meta, Version,
};

fn mallory() -> AgentId {
    AgentId::new(b"mallory").unwrap()
}

/// "hello world" in two edits, with a concurrent deletion.
fn document() -> Document {
    let mut document = Document::new();
    let hello = document.edit(&[Edit::insert(0, "hello")], agent(0), &Meta::default()).unwrap();
    document.edit_at(&hello.version, &[Edit::insert(5, " world")], agent(1), &Meta::default()).unwrap();
    document.edit_at(&hello.version, &[Edit::delete(0..1)], agent(2), &Meta::default()).unwrap();
    assert_eq!(document.text().to_string(), "ello world");
    document
}

fn now(document: &Document) -> Heads {
    document.portable(document.version())
}

fn run(agent: AgentId, seq: u64, parents: Heads, change: Change) -> EventRun {
    EventRun { agent, seq, parents, change, meta: Meta::default() }
}

fn insert(at: usize, text: &str) -> Change {
    Change::Insert { at, text: text.to_owned() }
}

fn delete(at: usize, count: usize, backward: bool) -> Change {
    Change::Delete { at, count, backward }
}

/// Everything that can be seen of a document.
fn state(document: &Document) -> (Vec<u8>, Version, Vec<(AgentId, u64)>, usize) {
    (document.encode(), document.version().clone(), document.vector(), document.events())
}

/// The runs are refused, alone and after an honest one, and nothing is left of either.
fn refused(document: &mut Document, bad: EventRun) -> MergeError {
    let before = state(document);
    let error = document.merge(&EventBatch { runs: vec![bad.clone()] }).unwrap_err();
    assert_eq!(state(document), before, "{error}");
    let honest = run(AgentId::new(b"honest").unwrap(), 0, now(document), insert(1, "fine"));
    let again = document.merge(&EventBatch { runs: vec![honest.clone(), bad] }).unwrap_err();
    assert_eq!(again, error);
    assert_eq!(state(document), before, "{error}");
    // It goes on working.
    let mut copy = document.clone();
    copy.merge(&EventBatch { runs: vec![honest] }).unwrap();
    assert_eq!(copy.text().to_string(), "efinello world");
    error
}

#[test]
fn unknown_parents_are_named() {
    let mut document = document();
    let unknown = EventId { agent: mallory(), seq: 7 };
    let beyond = EventId { agent: agent(0), seq: 5 };
    for id in [unknown, beyond] {
        let bad = run(AgentId::new(b"eve").unwrap(), 0, Heads::new(vec![id]), insert(0, "x"));
        assert_eq!(refused(&mut document, bad), MergeError::Missing { missing: vec![id] });
    }
}

#[test]
fn a_jump_of_the_sequence_is_a_gap() {
    let mut document = document();
    let parents = now(&document);
    for (agent, seq, next) in [(mallory(), 1 << 60, 0), (agent(0), u64::MAX, 5), (agent(1), 7, 6)] {
        let error = refused(&mut document, run(agent, seq, parents.clone(), delete(0, 1, false)));
        let (EventId { seq: named, .. }, error) = match &error {
            MergeError::Missing { missing } => (missing[0], error),
            // The last number has none after it.
            MergeError::BadCount { .. } => (EventId { agent, seq: next }, error),
            other => panic!("{other}"),
        };
        assert_eq!(named, next, "{error}");
    }
}

#[test]
fn an_id_with_other_content_is_an_equivocation() {
    let mut document = document();
    let (root, world) = (Heads::default(), Heads::new(vec![EventId { agent: agent(0), seq: 4 }]));
    let forged = [
        run(agent(0), 0, root.clone(), insert(0, "jello")),
        run(agent(0), 0, root.clone(), insert(1, "hello")),
        run(agent(0), 0, root.clone(), insert(0, "help")),
        run(agent(0), 0, root.clone(), delete(0, 5, false)),
        run(agent(0), 0, world.clone(), insert(0, "hello")),
        run(agent(1), 0, root, insert(5, " world")),
        run(agent(2), 0, world.clone(), delete(1, 1, false)),
        run(agent(0), 3, Heads::new(vec![EventId { agent: agent(0), seq: 2 }]), insert(usize::MAX, "lo")),
    ];
    for (number, bad) in forged.into_iter().enumerate() {
        let (agent, seq) = (bad.agent, bad.seq);
        match refused(&mut document, bad) {
            MergeError::Equivocation { id } => {
                assert!(id.agent == agent && id.seq >= seq, "{number}: {id:?}")
            }
            other => panic!("{number}: {other}"),
        }
    }
}

#[test]
fn positions_beyond_the_end_are_refused() {
    let mut document = document();
    let newest = now(&document);
    let older = Heads::new(vec![EventId { agent: agent(0), seq: 4 }]);
    for (parents, length) in [(newest, 10), (older, 5), (Heads::default(), 0)] {
        for change in [
            insert(length + 1, "x"),
            insert(usize::MAX, "xyz"),
            delete(0, length + 1, false),
            delete(length, 1, false),
            delete(usize::MAX, 2, false),
            delete(0, 1 << 60, false),
            delete(length, 1, true),
            delete(0, 2, true),
            delete(usize::MAX, 3, true),
            delete(usize::MAX - 1, 1 << 60, true),
        ] {
            let error = refused(&mut document, run(mallory(), 0, parents.clone(), change.clone()));
            assert!(matches!(error, MergeError::BadPosition { .. }), "{change:?} at {parents:?}: {error}");
        }
    }
}

/// A second bad run after a first: numbers are added up before positions are looked at.
#[test]
fn several_huge_positions_in_a_row_are_refused() {
    let mut document = document();
    let before = state(&document);
    for (first, second) in [
        (insert(usize::MAX, "ab"), insert(usize::MAX, "cd")),
        (delete(usize::MAX, 2, true), delete(usize::MAX, 2, true)),
        (delete(usize::MAX, 1, false), delete(usize::MAX, 1, true)),
        (delete(1, 1 << 61, false), delete(1, 1 << 61, false)),
    ] {
        let count = run(mallory(), 0, Heads::default(), first.clone()).count() as u64;
        let after = Heads::new(vec![EventId { agent: mallory(), seq: count - 1 }]);
        let runs = vec![run(mallory(), 0, now(&document), first), run(mallory(), count, after, second)];
        assert!(document.merge(&EventBatch { runs }).is_err());
        assert_eq!(state(&document), before);
    }
}

#[test]
fn a_run_without_events_or_with_too_many_is_refused() {
    let mut document = document();
    let parents = now(&document);
    for change in [insert(0, ""), delete(0, 0, false), delete(0, usize::MAX, false)] {
        let error = refused(&mut document, run(mallory(), 0, parents.clone(), change));
        assert_eq!(error, MergeError::BadCount { agent: mallory(), seq: 0 });
    }
    let error = refused(&mut document, run(agent(0), u64::MAX, parents, delete(0, 2, false)));
    assert_eq!(error, MergeError::BadCount { agent: agent(0), seq: u64::MAX });
}

#[test]
fn repeated_events_are_ignored() {
    let mut document = document();
    let before = state(&document);
    let all = document.events_since(&Version::root());
    for batch in [all.clone(), EventBatch { runs: all.runs.iter().chain(&all.runs).cloned().collect() }] {
        let merged = document.merge(&batch).unwrap();
        assert!(merged.effect.is_empty() && merged.events.is_empty());
        assert_eq!(state(&document), before);
    }
    // A run of which the first part is known: the rest is new.
    let parents = Heads::new(vec![EventId { agent: agent(0), seq: 4 }]);
    let longer = run(agent(1), 0, parents, insert(5, " world!"));
    assert_eq!(document.merge(&EventBatch { runs: vec![longer] }).unwrap().effect, [Edit::insert(10, "!")]);
    assert_eq!(document.text().to_string(), "ello world!");
}

/// Whatever the history, a refused batch leaves nothing behind, and the honest part of it can come again.
#[test]
fn refusals_leave_random_histories_alone() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let mut history = History::of(&dice.steps(30));
        let [first, second, _] = &mut history.documents;
        let before = state(first);
        let mut batch = second.events_since(&Version::root());
        let unknown = batch.runs.len();
        let at = dice.below(first.text().len() + 40);
        batch.runs.push(run(mallory(), 0, now(second), delete(at, 1 << 40, dice.below(2) == 0)));
        assert!(matches!(first.merge(&batch), Err(MergeError::BadPosition { .. })));
        assert_eq!(state(first), before, "seed {seed}");
        batch.runs.truncate(unknown);
        first.merge(&batch).unwrap();
        second.merge(&first.events_since(&Version::root())).unwrap();
        assert_eq!(first.text().to_string(), second.text().to_string(), "seed {seed}");
    }
}
