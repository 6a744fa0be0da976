//! A peer that has the token and means ill, on a real connection of `replica`: each thing it does gives one error, for
//! the document or for the connection, and changes nothing.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod support;

use std::collections::BTreeMap;

use futures_util::{SinkExt, StreamExt};
use support::{PATIENCE, Served, eventually, serve_folder};
use syncline_engine::catalogue::{Catalogue, DocId, Field, Joined, Kind, Life, Write};
use syncline_engine::{AgentId, Change, Document, Edit, EventBatch, EventId, EventRun, Heads, Meta};
use syncline_protocol::ErrorCode;
use syncline_protocol::replica::{Hello, Message, VERSION};
use tokio_tungstenite::tungstenite::Message as Frame;

const TEXT: &str = "the text\n";

fn mallory() -> AgentId {
    AgentId::from_random(666)
}

struct Peer {
    client: support::Client,
}

impl Peer {
    /// A peer that was let in.
    async fn greeted(served: &Served) -> Peer {
        let mut peer = Peer { client: served.dial("/replica").await.unwrap() };
        peer.send(&Message::Hello(Hello {
            proto: VERSION,
            token: support::token().secret(),
            agent: mallory(),
            folder: None,
            name: "mallory".into(),
        }))
        .await;
        assert!(matches!(peer.next().await, Some(Message::Welcome(_))));
        peer.send(&Message::CatalogueVector { vector: BTreeMap::new() }).await;
        peer
    }

    async fn send(&mut self, message: &Message) {
        self.raw(message.encode()).await;
    }

    async fn raw(&mut self, bytes: Vec<u8>) {
        // The other side may have closed: what it said is read.
        let _ = self.client.ws.send(Frame::binary(bytes)).await;
    }

    /// The next message; `None` when the connection is closed.
    async fn next(&mut self) -> Option<Message> {
        loop {
            match tokio::time::timeout(PATIENCE, self.client.ws.next()).await.expect("an answer in time") {
                Some(Ok(Frame::Binary(bytes))) => return Some(Message::decode(&bytes).unwrap()),
                Some(Ok(Frame::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The error that it is told, for the connection (and then nothing but the close) or for a document.
    async fn told(&mut self) -> ErrorCode {
        loop {
            match self.next().await.expect("an error before the close") {
                Message::Error(error) => {
                    assert_eq!(self.next().await, None, "one error and the close");
                    return error.code;
                }
                Message::Refused { error, .. } => return error.code,
                _ => {}
            }
        }
    }
}

fn run(agent: AgentId, seq: u64, parents: &Heads, change: Change) -> EventRun {
    EventRun { agent, seq, parents: parents.clone(), change, meta: Meta::default() }
}

fn insert(at: usize, text: &str) -> Change {
    Change::Insert { at, text: text.to_owned() }
}

fn events(doc: DocId, runs: Vec<EventRun>) -> Message {
    let batch = EventBatch { runs }.encode();
    Message::Events { doc, answer: false, more: false, heads: Heads::default(), batch }
}

/// Writes that a peer tells of, in one message with its vector.
fn told_of(fields: Vec<(DocId, Field)>) -> Message {
    let mut catalogue = Catalogue::new();
    let writes: Vec<Write> =
        fields.into_iter().map(|(doc, field)| catalogue.write(doc, field, mallory())).collect();
    Message::Catalogue { writes, vector: Some(catalogue.vector().clone()) }
}

fn document(doc: DocId, path: &str) -> Vec<(DocId, Field)> {
    vec![(doc, Field::Path(path.into())), (doc, Field::Kind(Kind::Text)), (doc, Field::Life(Life::Alive))]
}

async fn assert_unchanged(served: &Served, what: &str) {
    assert_eq!(served.kept.text("a.txt").await, TEXT, "{what}");
    assert_eq!(served.kept.read("a.txt"), TEXT, "{what}");
    assert_eq!(served.kept.hub.document_paths(), ["a.txt"], "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_cannot_be_are_refused() {
    let served = serve_folder(&[("a.txt", TEXT)]).await;
    let doc = served.kept.hub.document_at("a.txt").unwrap();
    let now = served.kept.hub.heads_of(doc);
    let author = now.ids()[0].agent;
    let unknown = Heads::new(vec![EventId { agent: mallory(), seq: 77 }]);
    let cases = [
        ("unknown parents", run(mallory(), 0, &unknown, insert(0, "x")), ErrorCode::Resync),
        ("a jump of 2^60", run(mallory(), 1 << 60, &now, insert(0, "x")), ErrorCode::Resync),
        (
            "another agent's id",
            run(author, 0, &Heads::default(), insert(0, "forged")),
            ErrorCode::Equivocation,
        ),
        ("an insertion beyond the end", run(mallory(), 0, &now, insert(1_000, "x")), ErrorCode::BadEvents),
        (
            "a deletion beyond the end",
            run(mallory(), 0, &now, Change::Delete { at: 5, count: 1 << 40, backward: false }),
            ErrorCode::BadEvents,
        ),
    ];
    for (what, bad, code) in cases {
        let mut peer = Peer::greeted(&served).await;
        peer.send(&events(doc, vec![bad.clone()])).await;
        assert_eq!(peer.told().await, code, "{what}");
        // With an honest one before it: all or nothing.
        let mut peer = Peer::greeted(&served).await;
        let honest = run(AgentId::from_random(7), 0, &now, insert(0, "honest"));
        peer.send(&events(doc, vec![honest, bad])).await;
        assert_eq!(peer.told().await, code, "{what}");
        assert_unchanged(&served, what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_cannot_be_close_the_connection() {
    let served = serve_folder(&[("a.txt", TEXT)]).await;
    let doc = served.kept.hub.document_at("a.txt").unwrap();
    let have = |count: usize| (0..count).map(|_| (doc, Heads::default())).collect::<Vec<_>>();
    let mut spoilt = Message::Bye.encode();
    *spoilt.last_mut().unwrap() ^= 1;
    let crc = |mut bytes: Vec<u8>| {
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("a wrong checksum", spoilt),
        ("an unknown kind", crc(vec![250])),
        ("10^9 documents declared in 3 bytes", crc(vec![5, 0x80, 0x94, 0xeb, 0xdc, 0x03])),
        ("more documents than a part may have", Message::Have { docs: have(1_001), last: true }.encode()),
        (
            "a second greeting",
            Message::Hello(Hello {
                proto: VERSION,
                token: support::token().secret(),
                agent: mallory(),
                folder: None,
                name: String::new(),
            })
            .encode(),
        ),
        ("an acknowledgement of nothing", Message::Ack { doc, heads: Heads::default() }.encode()),
        ("a text message", Vec::new()),
    ];
    for (what, bytes) in cases {
        let mut peer = Peer::greeted(&served).await;
        if what == "a text message" {
            let _ = peer.client.ws.send(Frame::text("{}")).await;
        } else {
            peer.raw(bytes).await;
        }
        let code = peer.told().await;
        assert!(
            matches!(code, ErrorCode::BadMessage | ErrorCode::TooLarge | ErrorCode::TooMany),
            "{what}: {code}"
        );
    }
    assert_unchanged(&served, "bad messages").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_cannot_be_close_the_connection_and_none_is_written() {
    let served = serve_folder(&[("a.txt", TEXT)]).await;
    let long = "x".repeat(256);
    for name in
        ["../x", "/etc/cron.d/x", "a\0b", "a\nb", ".git/hooks/x", &long, "a\u{202e}b", ".syncline/token"]
    {
        let mut peer = Peer::greeted(&served).await;
        peer.send(&told_of([document(DocId([9; 16]), "fine.txt"), document(DocId([8; 16]), name)].concat()))
            .await;
        assert_eq!(peer.told().await, ErrorCode::BadName, "{name:?}");
        assert_unchanged(&served, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_joined_in_a_circle_do_no_harm() {
    let served = serve_folder(&[("a.txt", TEXT)]).await;
    let doc = served.kept.hub.document_at("a.txt").unwrap();
    let [one, other] = [DocId([8; 16]), DocId([9; 16])];
    let joined =
        |into| Field::Joined(Joined { into, loser_at: Heads::default(), union_at: Heads::default() });
    let mut peer = Peer::greeted(&served).await;
    let mut fields = [document(one, "one.txt"), document(other, "other.txt")].concat();
    fields.extend([(one, joined(other)), (other, joined(one)), (DocId([7; 16]), joined(DocId([7; 16])))]);
    peer.send(&told_of(fields)).await;
    peer.send(&Message::Have { docs: Vec::new(), last: true }).await;
    let taken = || served.kept.hub.catalogue_vector().contains_key(&mallory());
    eventually("the circle is in the catalogue", taken).await;
    // The hub goes on: what another party writes is in the file, and a good document is taken.
    let mut honest = Peer::greeted(&served).await;
    let now = served.kept.hub.heads_of(doc);
    let batch = vec![run(AgentId::from_random(7), 0, &now, insert(0, "honest "))];
    honest.send(&events(doc, batch)).await;
    eventually("the file is written", || served.kept.read("a.txt") == format!("honest {TEXT}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_insertions_and_deletions_are_taken_or_refused_and_others_are_served() {
    let served = serve_folder(&[("a.txt", TEXT), ("b.txt", TEXT)]).await;
    let doc = served.kept.hub.document_at("a.txt").unwrap();
    let mut copy = Document::new();
    let (batch, _) = served
        .kept
        .hub
        .events_since(doc, syncline_protocol::replica::Have::Heads(Heads::default()))
        .await
        .unwrap();
    copy.merge(&batch).unwrap();
    let (before, agent) = (copy.events(), AgentId::from_random(7));
    for number in 0..500_000usize {
        let at = number % (copy.text().len() + 1);
        copy.edit(&[Edit::insert(at, "x")], agent, &Meta::default()).unwrap();
        copy.edit(&[Edit::delete(at..at + 1)], agent, &Meta::default()).unwrap();
    }
    let pairs = copy.events_in(before..copy.events());
    let mut peer = Peer::greeted(&served).await;
    let message =
        Message::Events { doc, answer: false, more: false, heads: Heads::default(), batch: pairs.encode() };
    peer.send(&message).await;
    // Meanwhile another document is edited.
    std::fs::write(served.kept.path("b.txt"), "edited\n").unwrap();
    while served.kept.text("b.txt").await != "edited\n" {
        tokio::task::yield_now().await;
    }
    loop {
        match peer.next().await.expect("an answer") {
            Message::Ack { .. } | Message::Refused { .. } | Message::Error(_) => break,
            _ => {}
        }
    }
    assert_eq!(served.kept.text("a.txt").await, TEXT, "each took back the one before");
    assert_eq!(served.kept.read("a.txt"), TEXT);
}
