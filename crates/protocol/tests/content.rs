//! Both ends of `content` in the mode `edits`, over channels that delay and break, with a hub that is a document:
//! clients that count in different units end with one text, in which every edit is once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;
use syncline_engine::{AgentId, Document, Edit, Heads, Meta, Version};
use syncline_protocol::content::{
    Client, ClientInput, ClientOutput, Greeting, Guest, Input, Kept, News, Output, Session, Unit, to_edits,
    to_steps,
};
use syncline_protocol::{ErrorCode, ProtocolError};

const NOW: Duration = Duration::from_secs(100);
const UNITS: [Unit; 3] = [Unit::Scalar, Unit::Utf16, Unit::Utf8];

/// A hub with one document.
struct Hub {
    document: Document,
    agent: AgentId,
    answers: HashMap<String, Heads>,
}

fn name_of(heads: &Heads) -> String {
    heads.encode().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn version_of(name: &str, document: &Document) -> Option<Version> {
    let bytes: Option<Vec<u8>> = name
        .as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok())
        .collect();
    document.local(&Heads::decode(&bytes?).ok()?).ok()
}

impl Hub {
    fn name(&self, version: &Version) -> String {
        name_of(&self.document.portable(version))
    }

    fn news(&mut self, since: &mut Version, unit: Unit) -> News {
        let edits = self.document.changes_since(since).unwrap();
        let edits = to_steps(edits, unit, &self.document.string_at(since)).unwrap();
        let base = self.name(since);
        *since = self.document.version().clone();
        News { base, version: self.name(since), edits, others: None }
    }
}

/// A client, its connection, and the hub's end of it.
struct Party {
    client: Client,
    unit: Unit,
    up: VecDeque<String>,
    down: VecDeque<String>,
    session: Option<(Session, Version)>,
    kept: Vec<String>,
}

impl Party {
    fn new(index: usize) -> Party {
        let unit = UNITS[index % UNITS.len()];
        let greeting = Self::greeting(index, 0);
        let (up, down) = (VecDeque::new(), VecDeque::new());
        Party { client: Client::new(greeting), unit, up, down, session: None, kept: Vec::new() }
    }

    fn greeting(index: usize, start: usize) -> Greeting {
        let unit = UNITS[index % UNITS.len()];
        let (name, nonce) = (format!("p{index}"), format!("{index}.{start}"));
        Greeting { token: Some("t".into()), document: None, name, color: None, unit, nonce }
    }

    fn act(&mut self, input: ClientInput) {
        for output in self.client.handle(input, NOW) {
            match output {
                ClientOutput::Send(text) => self.up.push_back(text),
                ClientOutput::Redial => panic!("the two ends have come apart"),
                ClientOutput::Keep(kept) => self.kept.push(kept.to_line()),
                ClientOutput::Event(_) => {}
            }
        }
    }

    fn connect(&mut self, hub: &mut Hub) {
        if self.session.is_none() {
            self.session = Some((Session::new(), Version::root()));
            self.serve(Input::Opened, hub);
            self.act(ClientInput::Connected);
        }
    }

    fn cut(&mut self) {
        self.session = None;
        self.up.clear();
        self.down.clear();
        self.act(ClientInput::Lost);
    }

    /// Killed, and started again with what it wrote down.
    fn restart(&mut self, index: usize, start: usize) {
        let before = self.client.text().to_one_string();
        self.cut();
        let Some(layers) = Kept::replay(self.kept.iter().map(String::as_str)) else { return };
        self.client = Client::restored(Party::greeting(index, start), layers);
        assert_eq!(self.client.text().to_one_string(), before);
    }

    /// The hub's end takes what happened, and what comes of it.
    fn serve(&mut self, input: Input, hub: &mut Hub) {
        let unit = self.unit;
        let Some((session, shadow)) = &mut self.session else { return };
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in session.handle(input, NOW) {
                match output {
                    Output::Send(text) => {
                        self.down.push_back(text);
                        inputs.push_back(Input::Sent);
                    }
                    Output::Close(error) => panic!("{error:?}"),
                    Output::CheckToken(_) => inputs.push_back(Input::TokenChecked(Ok(()))),
                    Output::OpenDocument { guest, .. } => {
                        assert_eq!(guest, Some(Guest { unit, color: None }));
                        inputs.push_back(Input::DocumentOpened(Ok("a.txt".into())));
                    }
                    Output::AskNews if shadow.is_root() => {
                        panic!("nothing was sent yet");
                    }
                    Output::AskNews => inputs.push_back(Input::News(Ok(hub.news(shadow, unit)))),
                    Output::AskCurrent => {
                        *shadow = hub.document.version().clone();
                        let version = hub.name(shadow);
                        inputs.push_back(Input::Current(Ok((hub.document.text().to_one_string(), version))));
                    }
                    Output::Edit { base, edits, request_id } => {
                        let made = match hub.answers.get(&request_id) {
                            Some(heads) => hub
                                .document
                                .local(heads)
                                .map_err(|_| ProtocolError::new(ErrorCode::BadBase, "")),
                            None => {
                                let base = version_of(&base, &hub.document).expect("a known base");
                                let edits = to_edits(edits, unit, &hub.document.string_at(&base)).unwrap();
                                let applied =
                                    hub.document.edit_at(&base, &edits, hub.agent, &Meta::default()).unwrap();
                                hub.answers.insert(request_id, hub.document.portable(&applied.version));
                                Ok(applied.version)
                            }
                        };
                        *shadow = made.unwrap();
                        inputs.push_back(Input::Edited(Ok(hub.news(shadow, unit))));
                    }
                    Output::Mark(_) => inputs.push_back(Input::Marked(Ok(()))),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// One message in each direction, if there is one.
    fn step(&mut self, hub: &mut Hub, up: bool) -> bool {
        if up {
            let Some(text) = self.up.pop_front() else { return false };
            self.serve(Input::Received(text), hub);
        } else {
            let Some(text) = self.down.pop_front() else { return false };
            self.act(ClientInput::Received(text));
        }
        true
    }
}

#[derive(Clone, Debug)]
enum Step {
    Type { at: usize, delete: usize, mark: char },
    Hold(bool),
    Upload,
    Move(usize),
    Up,
    Down,
    News,
    Cut,
    Connect,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..40, 0usize..3, prop_oneof![Just('x'), Just('\u{e4}'), Just('\u{1f600}')])
            .prop_map(|(at, delete, mark)| Step::Type { at, delete, mark }),
        1 => any::<bool>().prop_map(Step::Hold),
        1 => Just(Step::Upload),
        1 => (0usize..40).prop_map(Step::Move),
        6 => Just(Step::Up),
        6 => Just(Step::Down),
        4 => Just(Step::News),
        1 => Just(Step::Cut),
        2 => Just(Step::Connect),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn clients_of_all_units_end_with_one_text(steps in proptest::collection::vec((0usize..3, step()), 0..120)) {
        let agent = AgentId::from_random(1);
        let mut hub = Hub { document: Document::new(), agent, answers: HashMap::new() };
        hub.document.edit(&[Edit::insert(0, "\u{1f600} one \u{e4} two")], AgentId::from_random(2), &Meta::default()).unwrap();
        let mut parties: Vec<Party> = (0..3).map(Party::new).collect();
        let (mut inserted, mut starts) = (0, 0);
        for (who, step) in steps {
            let party = &mut parties[who];
            match step {
                Step::Type { at, delete, mark } if party.client.has_text() => {
                    let length = party.client.text().len();
                    let at = at.min(length);
                    // Only what stood there at the beginning is deleted: what was typed must all be found.
                    let end = (at + delete).min(length);
                    let old = party.client.text().slice(at..end).chars().all(|c| " onetw".contains(c));
                    let end = if old { end } else { at };
                    inserted += 1;
                    let insert = format!("{mark}{}", char::from_u32(0x4e00 + inserted).unwrap());
                    party.act(ClientInput::Edited(vec![Edit { range: at..end, insert }]));
                }
                Step::Type { .. } => {}
                Step::Hold(hold) => party.act(ClientInput::Hold(hold)),
                Step::Upload => party.act(ClientInput::Upload),
                Step::Move(at) => party.act(ClientInput::Moved { cursor: Some(at), anchor: None }),
                Step::Up => drop(party.step(&mut hub, true)),
                Step::Down => drop(party.step(&mut hub, false)),
                Step::News => party.serve(Input::Changed, &mut hub),
                Step::Cut => party.cut(),
                Step::Connect => party.connect(&mut hub),
                Step::Restart => {
                    starts += 1;
                    party.restart(who, starts);
                }
            }
        }
        // Everybody comes back, and sends what they have.
        for _ in 0..4 {
            for party in &mut parties {
                party.connect(&mut hub);
                loop {
                    while party.step(&mut hub, true) || party.step(&mut hub, false) {}
                    if !party.client.is_waiting() && !party.client.held().is_empty() {
                        party.act(ClientInput::Upload);
                    } else {
                        break;
                    }
                }
                party.serve(Input::Changed, &mut hub);
                while party.step(&mut hub, true) || party.step(&mut hub, false) {}
            }
        }
        let text = hub.document.text().to_one_string();
        for party in &parties {
            prop_assert!(!party.client.is_waiting());
            prop_assert_eq!(party.client.text().to_one_string(), text.as_str());
            prop_assert_eq!(party.client.shared().to_one_string(), text.as_str());
        }
        for mark in 1..=inserted {
            let mark = char::from_u32(0x4e00 + mark).unwrap();
            prop_assert_eq!(text.matches(mark).count(), 1, "{} in {}", mark, text);
        }
    }
}
