//! Two sides, their pipes, and one random order of steps from a seed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use syncline_engine::AgentId;
use syncline_engine::Heads;
use syncline_engine::catalogue::DocId;
use syncline_protocol::replica::{Input, Link, LinkEvent, Local, Message, Output, Role};
use syncline_protocol::{ProtocolError, Token};

use crate::hub::Hub;

pub struct Side {
    pub hub: Hub,
    pub link: Link,
    /// What the link asked for and the hub has not done.
    todo: Vec<Output>,
    /// What the hub has done and the link has not heard of: others may act on it before, and changes be told of.
    done: VecDeque<Input>,
    /// Messages on their way to the other side.
    pub pipe: VecDeque<Vec<u8>>,
    /// Whether something was sent since the link was last told that all has left.
    drain: bool,
    seen_heads: BTreeMap<DocId, Heads>,
    seen_vector: BTreeMap<AgentId, u64>,
    pub events: Vec<LinkEvent>,
    pub closed: Option<Option<ProtocolError>>,
    pub sent_events: usize,
    pub sent_bytes: usize,
    pub longest: usize,
}

pub struct Pair {
    pub sides: [Side; 2],
    pub now: Duration,
    random: u64,
    files: u64,
}

fn link(side: usize, hub: &Hub) -> Link {
    let folder = Some([9; 16]);
    let local = Local { agent: hub.agent, folder, name: format!("side {side}"), single_file: false };
    let role = if side == 0 { Role::Accepting } else { Role::Dialing { token: Token::from_random([1; 32]) } };
    Link::new(role, local)
}

impl Pair {
    pub fn new(seed: u64) -> Pair {
        let side = |number: usize| {
            let hub = Hub::new(number as u128 + 1);
            let link = link(number, &hub);
            Side {
                hub,
                link,
                todo: Vec::new(),
                done: VecDeque::new(),
                pipe: VecDeque::new(),
                drain: false,
                seen_heads: BTreeMap::new(),
                seen_vector: BTreeMap::new(),
                events: Vec::new(),
                closed: None,
                sent_events: 0,
                sent_bytes: 0,
                longest: 0,
            }
        };
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut pair = Pair { sides: [side(0), side(1)], now: Duration::ZERO, random, files: 0 };
        pair.feed(0, Input::Opened);
        pair.feed(1, Input::Opened);
        pair
    }

    /// A number below `below`.
    pub fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as usize % below.max(1)
    }

    /// Somebody on this side does something.
    pub fn act(&mut self, side: usize) {
        let kind = self.random(8);
        let pick = self.random(1 << 16);
        let at = self.random(60);
        let count = 1 + self.random(20);
        self.files += 1;
        let path = format!("{side}/{}", self.files);
        let hub = &mut self.sides[side].hub;
        let docs: Vec<DocId> = hub.docs.keys().copied().collect();
        let doc = docs.get(pick % docs.len().max(1)).copied();
        match (kind, doc) {
            (0, _) => {
                let len = [0, 10, 3 << 20][pick % 3];
                hub.create_opaque(&path, vec![self.files as u8; len]);
            }
            (1, Some(doc)) | (2, Some(doc)) => hub.delete(doc, at, count),
            (3..=6, Some(doc)) => hub.insert(doc, at, &"ab\u{e9}"[..2].repeat(count)),
            _ => {
                let doc = hub.create(&path);
                hub.insert(doc, 0, &path);
            }
        }
    }

    pub fn feed(&mut self, side: usize, input: Input) {
        let this = &mut self.sides[side];
        for output in this.link.handle(input, self.now) {
            assert!(this.closed.is_none(), "nothing comes after a close");
            match output {
                Output::Send(message) => {
                    let bytes = message.encode();
                    this.sent_events += usize::from(matches!(message, Message::Events { .. }));
                    this.sent_bytes += bytes.len();
                    this.longest = this.longest.max(bytes.len());
                    this.pipe.push_back(bytes);
                    this.drain = true;
                }
                Output::Close(error) => this.closed = Some(error),
                Output::Event(event) => this.events.push(event),
                ask => this.todo.push(ask),
            }
        }
    }

    /// One random step of one side; whether there was one to make.
    pub fn step(&mut self) -> bool {
        let first = self.random(10);
        (0..10).any(|turn| self.try_step((first + turn) % 10))
    }

    fn try_step(&mut self, kind: usize) -> bool {
        let side = kind % 2;
        match kind / 2 {
            0 => match self.sides[1 - side].pipe.pop_front() {
                Some(bytes) => {
                    let message = Message::decode(&bytes).expect("what a link sends can be read");
                    self.feed(side, Input::Received(message));
                    true
                }
                None => false,
            },
            1 => {
                let count = self.sides[side].todo.len();
                if count == 0 {
                    return false;
                }
                let which = self.random(count);
                let this = &mut self.sides[side];
                // Any order, but what a hub does for one document it does in order.
                let ask = this.todo.remove(which);
                this.done.extend(this.hub.run(ask));
                true
            }
            2 => self.tell_changes(side),
            3 => match self.sides[side].done.pop_front() {
                Some(input) => {
                    self.feed(side, input);
                    true
                }
                None => false,
            },
            _ => {
                let this = &mut self.sides[side];
                if this.pipe.is_empty() && std::mem::take(&mut this.drain) {
                    self.feed(side, Input::Drained);
                    return true;
                }
                false
            }
        }
    }

    fn tell_changes(&mut self, side: usize) -> bool {
        let this = &mut self.sides[side];
        let vector = this.hub.catalogue.vector().clone();
        let heads = this.hub.heads();
        let catalogue = vector != this.seen_vector;
        let changed = heads.iter().filter(|(doc, heads)| this.seen_heads.get(doc) != Some(heads));
        let changed: Vec<_> = changed.map(|(doc, heads)| (*doc, heads.clone())).collect();
        this.seen_vector = vector;
        this.seen_heads = heads;
        if catalogue {
            self.feed(side, Input::CatalogueChanged);
        }
        let documents = !changed.is_empty();
        if documents {
            self.feed(side, Input::DocumentsChanged(changed));
        }
        catalogue || documents
    }

    /// Steps until nothing is left to do, lets time pass, and again: long enough for what is tried again.
    pub fn settle(&mut self) {
        for _ in 0..8 {
            while self.step() {}
            self.now += Duration::from_secs(10);
            for side in 0..2 {
                self.feed(side, Input::Tick);
            }
        }
        while self.step() {}
    }

    /// The connection breaks: what was under way is lost, what the hubs were doing is done or not.
    pub fn reconnect(&mut self) {
        for number in 0..2 {
            let todo = std::mem::take(&mut self.sides[number].todo);
            for ask in todo {
                if self.random(2) == 0 {
                    let _ = self.sides[number].hub.run(ask);
                }
            }
            let this = &mut self.sides[number];
            this.link = link(number, &this.hub);
            this.done.clear();
            this.pipe.clear();
            this.drain = false;
            this.events.clear();
            this.closed = None;
        }
        self.feed(0, Input::Opened);
        self.feed(1, Input::Opened);
    }

    pub fn assert_equal(&self) {
        let [a, b] = &self.sides;
        assert!(a.closed.is_none() && b.closed.is_none(), "{:?} {:?}", a.closed, b.closed);
        let texts = |hub: &Hub| -> BTreeMap<DocId, (String, Heads)> {
            let documents = hub.docs.iter().filter(|(_, document)| document.events() > 0);
            documents.map(|(doc, d)| (*doc, (d.text().to_string(), d.portable(d.version())))).collect()
        };
        assert_eq!(texts(&a.hub), texts(&b.hub));
        assert_eq!(a.hub.catalogue.vector(), b.hub.catalogue.vector());
        let paths = |hub: &Hub| -> Vec<String> {
            hub.catalogue.iter().filter_map(|(_, entry)| entry.path().cloned()).collect()
        };
        assert_eq!(paths(&a.hub), paths(&b.hub));
        assert!(a.hub.contents.keys().eq(b.hub.contents.keys()));
    }
}
