//! The merge against an oracle: a list of single characters, searched from the front, without runs, spans,
//! fast paths or an order of walking. It is FugueMax in the form that is known as YjsMod.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use support::{Dice, History, Step, meta};
use syncline_engine::{Change, Document, Edit, EventBatch, EventId, Version, apply_to_str};

type Events = BTreeSet<EventId>;

/// A character that was ever inserted.
struct Item {
    id: EventId,
    character: char,
    /// Its neighbour to the left when it was inserted.
    left: Option<EventId>,
    /// Its neighbour to the right then, if that had the same left neighbour.
    right: Option<EventId>,
    /// The events that deleted it.
    deleted: Vec<EventId>,
}

impl Item {
    fn exists(&self, at: &Events) -> bool {
        at.contains(&self.id)
    }

    fn visible(&self, at: &Events) -> bool {
        self.exists(at) && !self.deleted.iter().any(|event| at.contains(event))
    }
}

/// All characters in document order, and what each event builds on.
#[derive(Default)]
struct List {
    items: Vec<Item>,
    /// Each event with everything before it, itself included.
    pasts: BTreeMap<EventId, Events>,
}

impl List {
    fn of(batch: &EventBatch) -> List {
        let mut list = List::default();
        for run in &batch.runs {
            let mut past: Events =
                run.parents.ids().iter().flat_map(|parent| list.pasts[parent].clone()).collect();
            for number in 0..run.count() {
                let id = EventId { agent: run.agent, seq: run.seq + number as u64 };
                match &run.change {
                    Change::Insert { at, text } => {
                        list.insert(id, at + number, text.chars().nth(number).unwrap(), &past);
                    }
                    Change::Delete { at, backward, .. } => {
                        let at = if *backward { at - number } else { *at };
                        let found = list.items.iter_mut().filter(|item| item.visible(&past)).nth(at);
                        found.unwrap().deleted.push(id);
                    }
                }
                past.insert(id);
                list.pasts.insert(id, past.clone());
            }
        }
        list
    }

    fn text(&self, at: &Events) -> String {
        self.items.iter().filter(|item| item.visible(at)).map(|item| item.character).collect()
    }

    /// Where a character is; the beginning is -1 as a left neighbour, the end is the length as a right one.
    fn index(&self, id: Option<EventId>, none: isize) -> isize {
        id.map_or(none, |id| self.items.iter().position(|item| item.id == id).unwrap() as isize)
    }

    fn insert(&mut self, id: EventId, at: usize, character: char, past: &Events) {
        let visible: Vec<usize> =
            (0..self.items.len()).filter(|&index| self.items[index].visible(past)).collect();
        assert!(at <= visible.len());
        let after = at.checked_sub(1).map(|last| visible[last]);
        let left = after.map(|index| self.items[index].id);
        let start = after.map_or(0, |index| index + 1);
        let next = self.items[start..].iter().find(|item| item.exists(past));
        let right = next.filter(|item| item.left == left).map(|item| item.id);

        let end = self.items.len() as isize;
        let (our_left, our_right) = (start as isize - 1, self.index(right, end));
        let (mut place, mut scanning) = (start, false);
        for index in start..self.items.len() {
            let other = &self.items[index];
            let its_left = self.index(other.left, -1);
            if other.exists(past) || its_left < our_left {
                break;
            }
            if its_left == our_left {
                let its_right = self.index(other.right, end);
                if its_right == our_right && id < other.id {
                    break;
                }
                scanning = its_right < our_right;
            }
            if !scanning {
                place = index + 1;
            }
        }
        self.items.insert(place, Item { id, character, left, right, deleted: Vec::new() });
    }
}

fn past_of(list: &List, document: &Document, version: &Version) -> Events {
    document.portable(version).ids().iter().flat_map(|head| list.pasts[head].clone()).collect()
}

fn check(steps: &[Step]) {
    let mut history = History::of(steps);
    history.exchange_all();
    let all = history.documents[0].events_since(&Version::root());
    let list = List::of(&all);
    let everything: Events = list.pasts.keys().copied().collect();
    let expected = list.text(&everything);
    for (document, versions) in history.documents.iter_mut().zip(&history.versions) {
        assert_eq!(document.text().to_string(), expected);
        for version in versions {
            let then = list.text(&past_of(&list, document, version));
            assert_eq!(document.text_at(version).to_string(), then);
            let changes = document.changes_since(version).unwrap();
            assert_eq!(apply_to_str(&then, &changes), expected);
        }
    }
    // In one batch, and in the order of another document.
    for source in &history.documents {
        let mut copy = Document::new();
        copy.merge(&source.events_since(&Version::root())).unwrap();
        assert_eq!(copy.text().to_string(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_merge_as_the_oracle_does(steps in prop::collection::vec(any::<Step>(), 0..60)) {
        check(&steps);
    }
}

/// Longer histories than a property is shrunk for; chunks of the walker's list fill and split.
#[test]
fn long_histories_merge_as_the_oracle_does() {
    for seed in 0..8 {
        check(&support::Dice(seed).steps(220));
    }
}

/// Recording is editing, told nothing of the effect: with and without somebody else at an older version.
#[test]
fn what_is_recorded_is_as_what_is_edited() {
    let ann = syncline_engine::AgentId::new(b"ann").unwrap();
    let bob = syncline_engine::AgentId::new(b"bob").unwrap();
    let (mut recorded, mut edited) = (Document::new(), Document::new());
    let mut old = Version::root();
    let mut dice = Dice(11);
    for step in 0..2_000 {
        let length = edited.text().len();
        let at = dice.below(length + 1);
        let end = (at + dice.below(4)).min(length);
        let edits =
            [Edit { range: at..end, insert: "x\u{e9}\u{1f980}".chars().take(dice.below(4)).collect() }];
        let meta = meta(step / 100);
        let events = recorded.record(&edits, ann, &meta).unwrap();
        assert_eq!(edited.edit(&edits, ann, &meta).unwrap().events, events);
        if step % 300 > 290 {
            let stale = [Edit::insert(0, "b")];
            let here = recorded.edit_at(&old, &stale, bob, &meta).unwrap();
            assert_eq!(edited.edit_at(&old, &stale, bob, &meta).unwrap(), here);
        } else if step % 7 == 0 {
            old = edited.version().clone();
        }
        assert_eq!(recorded.text().to_string(), edited.text().to_string());
    }
    assert_eq!(recorded.encode(), edited.encode());
    let beyond = recorded.text().len() + 1;
    assert!(recorded.record(&[Edit::insert(beyond, "x")], ann, &meta(0)).is_err());
    assert!(recorded.record(&[Edit::insert(0, "")], ann, &meta(0)).unwrap().is_empty());
}
