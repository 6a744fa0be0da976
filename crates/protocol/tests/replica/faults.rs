//! What must not happen, and what follows when it does.

use std::time::Duration;

use syncline_engine::catalogue::DocId;
use syncline_engine::{AgentId, Document, Heads};
use syncline_protocol::replica::{Hello, Input, Link, LinkEvent, Local, Message, Output, Role, Welcome};
use syncline_protocol::{ErrorCode, ProtocolError};

use crate::pair::Pair;

fn two_documents(seed: u64) -> (Pair, DocId, DocId) {
    let mut pair = Pair::new(seed);
    let ids = ["a", "b"].map(|path| {
        let doc = pair.sides[0].hub.create(path);
        pair.sides[0].hub.insert(doc, 0, "begun ");
        doc
    });
    pair.settle();
    pair.assert_equal();
    (pair, ids[0], ids[1])
}

#[test]
fn missing_events_are_asked_for_again() {
    for seed in 0..20 {
        let (mut pair, doc, _) = two_documents(seed);
        // The receiver's memory is dropped and reloaded from before, unseen by the sender.
        let old = pair.sides[1].hub.docs.get(&doc).cloned().unwrap();
        for number in 0..5 {
            pair.sides[0].hub.insert(doc, 0, &format!("{number} "));
            pair.settle();
        }
        pair.sides[1].hub.docs.insert(doc, old);
        for number in 0..3 {
            pair.sides[0].hub.insert(doc, 2, &format!("later {number} "));
            pair.step();
        }
        pair.settle();
        pair.assert_equal();
    }
}

#[test]
fn a_document_that_a_hub_lost_is_sent_again_while_the_link_is_up() {
    for (seed, side) in [(0, 0), (1, 1), (2, 0), (3, 1)] {
        let (mut pair, doc, other) = two_documents(seed);
        pair.sides[1].hub.insert(doc, 0, "from the other side ");
        pair.settle();
        // What its journal had of it was set aside.
        pair.sides[side].hub.docs.insert(doc, Document::new());
        pair.feed(side, Input::DocumentsChanged(vec![(doc, Heads::default())]));
        pair.sides[1 - side].hub.insert(doc, 3, "meanwhile ");
        pair.sides[side].hub.insert(other, 0, "goes on ");
        pair.settle();
        pair.assert_equal();
        assert!(pair.sides[side].hub.docs[&doc].text().to_string().contains("meanwhile"));
    }
}

#[test]
fn equivocation_stops_one_document_and_no_other() {
    let (mut pair, doc, other) = two_documents(5);
    let twin = AgentId::from_random(99);
    for (side, text) in [(0, "this"), (1, "that")] {
        let hub = &mut pair.sides[side].hub;
        let agent = std::mem::replace(&mut hub.agent, twin);
        hub.insert(doc, 0, text);
        hub.agent = agent;
    }
    pair.sides[0].hub.insert(other, 0, "goes on ");
    pair.settle();
    for side in &pair.sides {
        let refused = |event: &LinkEvent| matches!(event, LinkEvent::DocumentRefused { .. });
        assert!(side.events.iter().any(refused), "{:?}", side.events);
        assert!(side.closed.is_none());
        assert!(side.events.iter().any(|event| matches!(event, LinkEvent::Synced { .. })));
    }
    let text = |side: usize| pair.sides[side].hub.docs[&other].text().to_string();
    assert_eq!(text(0), text(1));
}

#[test]
fn a_full_disk_is_tried_again() {
    let (mut pair, doc, _) = two_documents(6);
    pair.sides[1].hub.full = true;
    for number in 0..4 {
        pair.sides[0].hub.insert(doc, 0, &format!("{number} "));
        pair.settle();
    }
    assert!(pair.sides[1].closed.is_none());
    pair.sides[1].hub.full = false;
    pair.settle();
    pair.assert_equal();
}

fn accepting() -> Link {
    let agent = AgentId::from_random(1);
    let local = Local { agent, folder: Some([1; 16]), name: "hub".into(), single_file: false };
    let mut link = Link::new(Role::Accepting, local);
    assert!(link.handle(Input::Opened, Duration::ZERO).is_empty());
    link
}

fn closed_with(out: &[Output]) -> Option<ErrorCode> {
    match out.last() {
        Some(Output::Close(Some(error))) => Some(error.code),
        _ => None,
    }
}

fn hello(agent: u128, folder: Option<[u8; 16]>, proto: u32) -> Input {
    let agent = AgentId::from_random(agent);
    Input::Received(Message::Hello(Hello { proto, token: "t".into(), agent, folder, name: "n".into() }))
}

#[test]
fn nothing_is_taken_before_the_greeting() {
    let events = Message::Events {
        doc: DocId([1; 16]),
        answer: false,
        more: false,
        heads: Heads::default(),
        batch: vec![1],
    };
    let welcome = Message::Welcome(Welcome {
        proto: 1,
        agent: AgentId::from_random(2),
        folder: [1; 16],
        name: String::new(),
        single_file: false,
    });
    for message in [events.clone(), welcome, Message::Have { docs: Vec::new(), last: true }] {
        let out = accepting().handle(Input::Received(message), Duration::ZERO);
        assert_eq!(closed_with(&out), Some(ErrorCode::BadMessage));
        assert_eq!(out.len(), 2, "an error and a close, nothing done: {out:?}");
    }
    // Nor while the token is being checked.
    let mut link = accepting();
    assert_eq!(link.handle(hello(2, None, 1), Duration::ZERO), [Output::CheckToken("t".into())]);
    let out = link.handle(Input::Received(events), Duration::ZERO);
    assert_eq!(closed_with(&out), Some(ErrorCode::BadMessage));
    assert!(link.handle(Input::TokenChecked(Ok(())), Duration::ZERO).is_empty());
}

#[test]
fn a_greeting_that_cannot_be_is_refused() {
    let denied = ProtocolError::new(ErrorCode::Unauthorized, "no");
    let cases = [
        (hello(2, None, 2), Ok(()), ErrorCode::UnsupportedVersion),
        (hello(1, None, 1), Ok(()), ErrorCode::SameHub),
        (hello(2, Some([2; 16]), 1), Ok(()), ErrorCode::WrongFolder),
        // Without the right token nothing is said about the folder.
        (hello(2, Some([2; 16]), 1), Err(denied), ErrorCode::Unauthorized),
    ];
    for (hello, checked, code) in cases {
        let mut link = accepting();
        let mut out = link.handle(hello, Duration::ZERO);
        if closed_with(&out).is_none() {
            out = link.handle(Input::TokenChecked(checked), Duration::ZERO);
        }
        assert_eq!(closed_with(&out), Some(code));
    }
    let out = accepting().handle(Input::Tick, Duration::from_secs(5));
    assert_eq!(closed_with(&out), Some(ErrorCode::Timeout));
    let garbled = Message::decode(&[99]).unwrap_err();
    let out = accepting().handle(Input::Garbled(garbled), Duration::ZERO);
    assert_eq!(closed_with(&out), Some(ErrorCode::BadMessage));
}

#[test]
fn a_peer_that_breaks_the_rules_is_closed() {
    let doc = DocId([7; 16]);
    let ack = Message::Ack { doc, heads: Heads::default() };
    let content = Message::Content { hash: [1; 32], offset: 0, total: 1, bytes: vec![1] };
    let have = || Message::Have { docs: Vec::new(), last: true };
    let events = |len: usize| Message::Events {
        doc,
        answer: false,
        more: false,
        heads: Heads::default(),
        batch: vec![0; len],
    };
    let cases: Vec<(Vec<Message>, ErrorCode)> = vec![
        (vec![ack], ErrorCode::BadMessage),
        (vec![content], ErrorCode::BadMessage),
        (vec![have(), have()], ErrorCode::BadMessage),
        (vec![Message::CatalogueVector { vector: Default::default() }], ErrorCode::BadMessage),
        ((0..2_000).map(|_| events(10)).collect(), ErrorCode::TooMany),
        (
            (0..100).map(|hash| Message::WantContent { hash: [hash; 32], offset: 0 }).collect(),
            ErrorCode::TooMany,
        ),
    ];
    for (messages, code) in cases {
        let mut pair = Pair::new(8);
        pair.sides[0].hub.create("x");
        pair.settle();
        for message in messages {
            if pair.sides[0].closed.is_none() && pair.sides[1].closed.is_none() {
                pair.feed(0, Input::Received(message));
            }
        }
        let closed = pair.sides[0].closed.clone().flatten().map(|error| error.code);
        assert_eq!(closed, Some(code));
    }
}
