//! Two links wired together over an in-memory pipe, each with a fake hub: whatever the order of steps, and
//! however often the connection breaks, both hubs end equal.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod faults;
mod hub;
mod pair;

use pair::Pair;
use syncline_protocol::replica::{LinkEvent, Message};

/// Edits on both sides, creations, contents and breaks at random moments.
fn run(seed: u64) {
    let mut pair = Pair::new(seed);
    for side in 0..2 {
        for _ in 0..pair.random(12) {
            pair.act(side);
        }
    }
    let breaks = pair.random(4);
    for _ in 0..breaks {
        let steps = pair.random(300);
        for _ in 0..steps {
            pair.step();
        }
        pair.reconnect();
        // Edits while there is no connection.
        for side in 0..2 {
            for _ in 0..pair.random(4) {
                pair.act(side);
            }
        }
    }
    for _ in 0..pair.random(400) {
        if pair.random(10) == 0 {
            let side = pair.random(2);
            pair.act(side);
        }
        pair.step();
    }
    pair.settle();
    pair.assert_equal();
    for side in &pair.sides {
        let synced = side.events.iter().filter(|event| matches!(event, LinkEvent::Synced { .. })).count();
        assert_eq!(synced, 1, "seed {seed}: each connection is synced once");
    }
}

#[test]
fn both_sides_end_equal_whatever_happens() {
    for seed in 0..400 {
        eprintln!("seed {seed}");
        run(seed);
    }
}

#[test]
fn what_came_from_the_peer_is_not_sent_back() {
    let mut pair = Pair::new(1);
    pair.act(0);
    pair.settle();
    let doc = pair.sides[0].hub.docs.keys().next().copied().unwrap();
    let before = pair.sides[1].sent_events;
    for number in 0..50 {
        pair.sides[0].hub.insert(doc, 0, &format!("{number} "));
        pair.settle();
    }
    assert_eq!(pair.sides[1].sent_events, before, "the receiver of 50 edits sends none");
    assert!(pair.sides[0].sent_events >= 50);
    pair.assert_equal();
}

#[test]
fn after_offline_edits_only_what_is_missing_is_sent() {
    let mut pair = Pair::new(2);
    pair.act(0);
    let doc = pair.sides[0].hub.docs.keys().next().copied().unwrap();
    pair.sides[0].hub.insert(doc, 0, &"long ".repeat(20_000));
    pair.settle();
    pair.reconnect();
    pair.sides[0].hub.insert(doc, 0, "a");
    pair.sides[1].hub.insert(doc, 0, "b");
    let before = pair.sides[0].sent_bytes + pair.sides[1].sent_bytes;
    pair.settle();
    pair.assert_equal();
    let sent = pair.sides[0].sent_bytes + pair.sides[1].sent_bytes - before;
    assert!(sent < 3_000, "{sent} bytes were sent after one small edit on each side");
}

#[test]
fn ten_thousand_documents_are_declared_in_parts() {
    let mut pair = Pair::new(3);
    for number in 0..3_500 {
        let doc = pair.sides[0].hub.create(&format!("file {number}"));
        pair.sides[0].hub.insert(doc, 0, "text");
    }
    pair.settle();
    pair.assert_equal();
    assert!(pair.sides[0].longest < 256 << 10, "no message is longer than it must be");
    let progress = pair.sides[1].events.iter().filter(|event| matches!(event, LinkEvent::Progress { .. }));
    assert!(progress.count() > 10);
}

#[test]
fn an_end_that_was_stopped_says_so() {
    let mut pair = Pair::new(4);
    pair.settle();
    pair.feed(0, syncline_protocol::replica::Input::Stop);
    let last = pair.sides[0].pipe.back().map(|bytes| Message::decode(bytes).unwrap());
    assert_eq!(last, Some(Message::Bye));
    pair.settle();
    assert!(pair.sides[1].closed.is_some());
}
