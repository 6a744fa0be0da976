//! Last-writer-wins against a direct model of the rule, and replicas that hear of everything in different orders.
#![allow(clippy::unwrap_used, missing_docs)]

use syncline_engine::{AgentId, Document, Edit, EventBatch, Meta, Version, apply_to_str};

struct Replica {
    document: Document,
    name: &'static str,
    agent: AgentId,
}

const NAMES: [&str; 4] = ["ann", "bob", "cat", "dan"];

fn replicas(text: &str, count: usize) -> Vec<Replica> {
    let mut document = Document::new();
    let founder = Meta { author: "".into(), channel: "founding".into(), time_ms: 0 };
    document.edit(&[Edit::insert(0, text)], AgentId::new(b"0").unwrap(), &founder).unwrap();
    let replica = |name: &&'static str| {
        let agent = AgentId::new(format!("agent of {name}").as_bytes()).unwrap();
        Replica { document: document.clone(), name, agent }
    };
    NAMES[..count].iter().map(replica).collect()
}

impl Replica {
    fn save(&mut self, edits: &[Edit], time_ms: u64) {
        let meta = Meta { author: self.name.into(), channel: "file".into(), time_ms };
        let before = self.document.version().clone();
        self.document.edit(edits, self.agent, &meta).unwrap();
        self.settle(&before);
    }

    fn settle(&mut self, before: &Version) {
        let (edits, _) = self.document.last_writer_wins(before);
        let meta = Meta { author: "syncline".into(), channel: "policy".into(), time_ms: 9 };
        self.document.edit(&edits, self.agent, &meta).unwrap();
    }

    fn hear(&mut self, batch: &EventBatch) {
        let before = self.document.version().clone();
        if self.document.merge(batch).is_ok() {
            self.settle(&before);
        }
    }

    fn all(&self) -> EventBatch {
        self.document.events_since(&Version::root())
    }

    fn text(&self) -> String {
        self.document.text().to_string()
    }
}

/// Everybody hears everybody until nothing is new, in an order drawn from `random`; all are equal then.
fn converge(replicas: &mut [Replica], random: &mut fastrand::Rng) -> String {
    for _ in 0..4 {
        for _ in 0..replicas.len() * replicas.len() {
            let (from, to) = (random.usize(..replicas.len()), random.usize(..replicas.len()));
            let batch = replicas[from].all();
            replicas[to].hear(&batch);
        }
        for from in 0..replicas.len() {
            let batch = replicas[from].all();
            replicas.iter_mut().for_each(|replica| replica.hear(&batch));
        }
    }
    let texts: Vec<String> = replicas.iter().map(Replica::text).collect();
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    texts[0].clone()
}

fn replace(range: std::ops::Range<usize>, text: &str) -> Edit {
    Edit { range, insert: text.into() }
}

/// What users make of `text`, each not knowing of the others: (user, time, edits).
fn of(text: &str, saves: &[(usize, u64, &[Edit])]) -> String {
    let mut results = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut all = replicas(text, 4);
        for (user, time, edits) in saves {
            all[*user].save(edits, *time);
        }
        results.insert(converge(&mut all, &mut fastrand::Rng::with_seed(seed)));
    }
    assert_eq!(results.len(), 1, "the order of arrival decides: {results:?}");
    results.pop_first().unwrap()
}

#[test]
fn the_newer_of_two_changes_of_one_place_wins() {
    let (a, b) = ([replace(2..4, "11")], [replace(2..4, "12")]);
    assert_eq!(of("x=10\n", &[(0, 5, &a), (1, 7, &b)]), "x=12\n");
    assert_eq!(of("x=10\n", &[(0, 8, &a), (1, 7, &b)]), "x=11\n");
}

#[test]
fn at_the_same_time_the_smaller_user_wins() {
    let (a, b) = ([replace(2..4, "11")], [replace(2..4, "12")]);
    assert_eq!(of("x=10\n", &[(0, 7, &a), (1, 7, &b)]), "x=11\n");
    assert_eq!(of("x=10\n", &[(2, 7, &a), (1, 7, &b)]), "x=12\n");
}

#[test]
fn inserts_at_one_place_conflict_and_beside_it_do_not() {
    let at = |place, text: &str| [Edit::insert(place, text)];
    assert_eq!(of("ab\n", &[(0, 5, &at(1, "X")), (1, 7, &at(1, "Y"))]), "aYb\n");
    assert_eq!(of("ab\n", &[(0, 5, &at(0, "X")), (1, 7, &at(1, "Y"))]), "XaYb\n");
}

#[test]
fn ranges_are_half_open() {
    // Beside each other: both stand.
    assert_eq!(of("abcd", &[(0, 5, &[replace(0..2, "X")]), (1, 7, &[replace(2..4, "Y")])]), "XY");
    // One character in common.
    assert_eq!(of("abcd", &[(0, 5, &[replace(0..3, "X")]), (1, 7, &[replace(2..4, "Y")])]), "Y");
    // An insert at the edge of what was replaced is beside it, one inside conflicts.
    assert_eq!(of("abcd", &[(0, 7, &[replace(0..2, "X")]), (1, 5, &[Edit::insert(2, "Y")])]), "XYcd");
    assert_eq!(of("abcd", &[(0, 7, &[replace(0..2, "X")]), (1, 5, &[Edit::insert(1, "Y")])]), "Xcd");
    assert_eq!(of("abcd", &[(0, 5, &[replace(0..2, "X")]), (1, 7, &[Edit::insert(1, "Y")])]), "Ycd");
}

#[test]
fn a_losing_deletion_stands() {
    assert_eq!(of("abcd", &[(0, 5, &[Edit::delete(0..2)]), (1, 7, &[replace(1..3, "Y")])]), "Yd");
    assert_eq!(of("abcd", &[(0, 7, &[Edit::delete(0..2)]), (1, 5, &[replace(1..3, "Y")])]), "d");
}

#[test]
fn of_three_the_newest_wins_and_whoever_loses_to_a_loser_loses_too() {
    let edits = |text: &str| [replace(0..2, text)];
    assert_eq!(of("ab", &[(0, 1, &edits("X")), (1, 2, &edits("Y")), (2, 3, &edits("Z"))]), "Z");
    // The first and the last do not touch; the one between touches both, and loses to the last.
    let saves: [(usize, u64, &[Edit]); 3] =
        [(0, 1, &[replace(0..2, "X")]), (1, 2, &[replace(1..4, "Y")]), (2, 3, &[replace(3..5, "Z")])];
    assert_eq!(of("abcdef", &saves), "Zf");
}

#[test]
fn one_users_chained_edits_are_one() {
    // x=10 -> 11 -> 12 -> 13, while somebody else made 20 of it: as old as the first of them.
    for (other, expected) in [(4, "x=20\n"), (0, "x=13\n")] {
        let steps: [[Edit; 1]; 3] = [[replace(2..4, "11")], [replace(3..4, "2")], [replace(3..4, "3")]];
        let saves: Vec<(usize, u64, &[Edit])> = vec![(0, 1, &steps[0]), (0, 2, &steps[1]), (0, 9, &steps[2])];
        let theirs = [replace(2..4, "20")];
        let all: Vec<_> = saves.into_iter().chain([(1, other, &theirs[..])]).collect();
        assert_eq!(of("x=10\n", &all), expected);
    }
    // Typed on: what was typed later is not torn from what was typed first.
    let (first, then) = ([Edit::insert(1, "foo")], [Edit::insert(4, "bar")]);
    let theirs = [Edit::insert(1, "own")];
    assert_eq!(of("ab", &[(0, 1, &first), (0, 9, &then), (1, 5, &theirs)]), "aownb");
    assert_eq!(of("ab", &[(0, 6, &first), (0, 9, &then), (1, 5, &theirs)]), "afoobarb");
}

#[test]
fn who_has_seen_a_change_does_not_conflict_with_it() {
    let mut all = replicas("ab", 2);
    all[0].save(&[Edit::insert(1, "X")], 50);
    let batch = all[0].all();
    all[1].hear(&batch);
    all[1].save(&[replace(1..2, "Y")], 7);
    assert_eq!(converge(&mut all, &mut fastrand::Rng::with_seed(1)), "aYb");
}

#[test]
fn resolutions_that_cross_on_the_wire_double_nothing() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut all = replicas("x=10\ny=20\n", 4);
        for round in 0..6 {
            for (user, replica) in all.iter_mut().enumerate() {
                let length = replica.text().chars().count();
                let from = random.usize(..=length);
                let to = (from + random.usize(..3)).min(length);
                replica.save(&[replace(from..to, &format!("<{user}{round}>"))], random.u64(..5));
            }
            // Some hear of some, and resolve, before everybody hears of everything.
            for _ in 0..random.usize(..5) {
                let (from, to) = (random.usize(..4), random.usize(..4));
                let batch = all[from].all();
                all[to].hear(&batch);
            }
        }
        let text = converge(&mut all, &mut random);
        for user in 0..4 {
            for round in 0..6 {
                assert!(text.matches(&format!("<{user}{round}>")).count() <= 1, "doubled: {text}");
            }
        }
        let before = all[0].document.version().clone();
        assert!(all[0].document.last_writer_wins(&Version::root()).0.is_empty(), "something is left to do");
        assert_eq!(*all[0].document.version(), before);
    }
}

/// The rule as it is documented, in the text that all began with.
fn model(text: &str, saves: &[(usize, u64, Vec<Edit>)]) -> Vec<(usize, u64, Edit)> {
    let changes: Vec<(usize, u64, Edit)> = saves
        .iter()
        .flat_map(|(user, time, edits)| edits.iter().map(move |edit| (*user, *time, edit.clone())))
        .collect();
    let overlap = |a: &Edit, b: &Edit| {
        a.range.start < b.range.end && b.range.start < a.range.end
            || a.range.is_empty() && b.range.is_empty() && a.range == b.range
    };
    let loses = |(user, time, edit): &(usize, u64, Edit)| {
        changes.iter().any(|(other, theirs, beside)| {
            other != user && overlap(edit, beside) && (theirs > time || theirs == time && other < user)
        })
    };
    let length = text.chars().count();
    let kept = |change: &(usize, u64, Edit)| {
        let mut change = change.clone();
        if loses(&change) {
            change.2.insert = String::new();
        }
        assert!(change.2.range.end <= length);
        change
    };
    changes.iter().map(kept).collect()
}

#[test]
fn random_changes_end_as_the_direct_model_says() {
    for seed in 0..400 {
        let mut random = fastrand::Rng::with_seed(seed);
        let text: String = (0..random.usize(4..16)).map(|at| char::from(b'a' + at as u8)).collect();
        let count = random.usize(2..=4);
        let mut saves = Vec::new();
        for user in 0..count {
            let (mut edits, mut at, mut number) = (Vec::new(), 0, 0);
            while at < text.len() && edits.len() < 3 {
                let from = at + random.usize(..4);
                let to = from + random.usize(..3);
                if to > text.len() {
                    break;
                }
                number += 1;
                let insert = if random.u8(..4) > 0 || from == to {
                    format!("<{user}{number}>")
                } else {
                    String::new()
                };
                edits.push(replace(from..to, &insert));
                // Not beside each other: they would be one change.
                at = to + 1;
            }
            saves.push((user, random.u64(..4), edits));
        }
        let kept = model(&text, &saves);
        let mut all = replicas(&text, count);
        for (user, time, edits) in &saves {
            all[*user].save(edits, *time);
        }
        let result = converge(&mut all, &mut random);
        for (_, _, edit) in &kept {
            if !edit.insert.is_empty() {
                assert_eq!(
                    result.matches(&edit.insert).count(),
                    1,
                    "seed {seed}: {text:?} {saves:?} {result:?}"
                );
            }
        }
        // The characters of the model: what nobody took out, and what the winners put in.
        let mut left: Vec<char> = text
            .chars()
            .enumerate()
            .filter(|(at, _)| !kept.iter().any(|(_, _, edit)| edit.range.contains(at)))
            .map(|(_, c)| c)
            .collect();
        left.extend(kept.iter().flat_map(|(_, _, edit)| edit.insert.chars()));
        let mut got: Vec<char> = result.chars().collect();
        left.sort_unstable();
        got.sort_unstable();
        assert_eq!(got, left, "seed {seed}: {text:?} {saves:?} {result:?}");
        // Where nobody else is, it is exactly the one user's text.
        if count == 2 && saves[1].2.is_empty() {
            assert_eq!(result, apply_to_str(&text, &saves[0].2));
        }
    }
}
