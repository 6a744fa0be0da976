//! The transcripts in `conformance/diffsync`, each run against both ends. What a line means is said in
//! docs/protocols/diffsync.md; the sums in them were computed by another program.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use syncline_engine::{Edit, Version};
use syncline_protocol::diffsync::{
    Client, ClientInput, ClientOutput, ConnectOk, Connection, Delta, History, Input, Output, Server,
    SessionId, Settings,
};

use super::history::Kept;

struct Transcript {
    name: String,
    lines: Vec<Value>,
}

fn transcripts() -> Vec<Transcript> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/diffsync");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        all.push(Transcript { name: path.file_stem().unwrap().to_string_lossy().into_owned(), lines });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(all.len() >= 21, "the transcripts are there");
    all
}

fn edits(delta: &Value, length: usize) -> Vec<Edit> {
    let delta: Delta = serde_json::from_value(delta.clone()).unwrap();
    delta.edits(length).unwrap()
}

/// What must be the same. Of an error only the code is agreed.
fn agreed(text: &str) -> Value {
    let value: Value = serde_json::from_str(text).unwrap();
    if value["type"] == "error" {
        return serde_json::json!({"type": "error", "code": value["code"]});
    }
    value
}

/// Whether the client offers that its requests wait for news.
fn waits(lines: &[Value]) -> bool {
    lines.iter().any(|line| line["client"]["type"] == "Connect" && line["client"]["wait"] == true)
}

fn flag(line: &Value, name: &str) -> bool {
    line[name] == true
}

struct ServerEnd {
    connection: Connection,
    session: Option<Server<Version>>,
    kept: Kept,
    said: VecDeque<Value>,
    now: Duration,
}

impl ServerEnd {
    fn new(text: &str) -> ServerEnd {
        let mut end = ServerEnd {
            connection: Connection::new(),
            session: None,
            kept: Kept::new(text),
            said: VecDeque::new(),
            now: Duration::ZERO,
        };
        end.handle(Input::Opened);
        end
    }

    fn handle(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in self.connection.handle(input, self.now) {
                match output {
                    Output::Send(text) => self.said.push_back(agreed(&text)),
                    Output::Close(error) => panic!("closes: {error:?}"),
                    Output::CheckToken(token) => {
                        assert_eq!(token, "TOKEN");
                        inputs.push_back(Input::TokenChecked(Ok(())));
                    }
                    Output::Open { doc, .. } => inputs.push_back(Input::DocumentOpened(Ok(self.open(doc)))),
                    Output::Sync(0, sync) => {
                        let step = self.session.as_mut().unwrap().sync(&sync, &mut self.kept);
                        assert!(self.session.as_ref().unwrap().invariants_hold());
                        inputs.push_back(Input::Answered(Ok(step.unwrap().answer)));
                    }
                    Output::News(0) => {
                        let answer = self.session.as_mut().unwrap().news(&mut self.kept);
                        assert!(self.session.as_ref().unwrap().invariants_hold());
                        inputs.push_back(Input::Answered(Ok(answer)));
                    }
                    Output::Return(0, back) => {
                        let step = self.session.as_mut().unwrap().returned(&back, &mut self.kept);
                        inputs.push_back(Input::Answered(Ok(step.unwrap().answer)));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn open(&mut self, doc: Option<String>) -> ConnectOk {
        let resumed = self.session.is_some();
        let now = self.kept.now();
        let session = self.session.get_or_insert_with(|| Server::new(now));
        let (n, m, last_seq) = session.numbers();
        let text = (!resumed).then(|| session.shadow().text.to_string());
        let sum = session.shadow().text.sum();
        let version = self.kept.document.events() as u64;
        ConnectOk {
            doc: doc.unwrap(),
            resumed,
            text,
            n,
            m,
            sum,
            last_seq,
            version,
            changed_ms: 0,
            compress: None,
            wait: false,
        }
    }
}

#[test]
fn the_server_says_what_the_transcripts_say() {
    for Transcript { name, lines } in transcripts() {
        let mut end = ServerEnd::new(lines[0]["text"].as_str().unwrap());
        for (number, line) in lines.iter().enumerate().skip(1) {
            let place = format!("{name}, line {}", number + 1);
            // What the client types does not concern the server, whose answer may be under way.
            if line.get("server").is_none() && line.get("edit").is_none() {
                assert!(end.said.is_empty(), "{place}: the server has said {:?}", end.said);
            }
            if let Some(message) = line.get("client") {
                if !flag(line, "lost") {
                    end.handle(Input::Received(message.to_string()));
                }
            } else if let Some(message) = line.get("server") {
                if flag(line, "again") {
                    continue;
                }
                if message["type"] == "Poke" {
                    end.handle(Input::Changed(0));
                }
                assert_eq!(end.said.pop_front().as_ref(), Some(message), "{place}");
            } else if let Some(delta) = line.get("others") {
                let edits = edits(delta, end.kept.document.text().len());
                end.kept.edit(&edits);
                if waits(&lines) {
                    end.handle(Input::Changed(0));
                }
            } else if let Some(time) = line.get("wait") {
                end.now += Duration::from_millis(time.as_u64().unwrap());
                end.handle(Input::Tick);
            } else if line.get("cut").is_some() {
                end.connection = Connection::new();
                end.handle(Input::Opened);
                if flag(line, "forgotten") {
                    end.session = None;
                }
            } else if let Some(texts) = line.get("end") {
                assert_eq!(Some(end.kept.text().as_str()), texts["document"].as_str(), "{place}");
            } else {
                assert!(line.get("edit").is_some(), "{place}: an unknown line");
            }
        }
    }
}

struct ClientEnd {
    client: Client,
    said: VecDeque<Value>,
    now: Duration,
}

impl ClientEnd {
    fn handle(&mut self, input: ClientInput) {
        for output in self.client.handle(input, self.now) {
            match output {
                ClientOutput::Send(text) => self.said.push_back(agreed(&text)),
                ClientOutput::Redial(why) => panic!("redials: {why}"),
                ClientOutput::GiveUp(error) => panic!("gives up: {error}"),
                _ => {}
            }
        }
    }
}

#[test]
fn the_client_says_what_the_transcripts_say() {
    for Transcript { name, lines } in transcripts() {
        let session: SessionId = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
        let (doc, auth) = (Some("a.txt".to_owned()), Some("TOKEN".to_owned()));
        let wait = waits(&lines);
        let client = Client::new(Settings { session, doc, auth, name: None, compress: false, wait });
        let mut end = ClientEnd { client, said: VecDeque::new(), now: Duration::ZERO };
        end.handle(ClientInput::Connected);
        let mut cut = false;
        for (number, line) in lines.iter().enumerate().skip(1) {
            let place = format!("{name}, line {}", number + 1);
            // Between the cut and the next Connect the client is offline.
            if cut && line.get("client").is_some() {
                end.handle(ClientInput::Connected);
                cut = false;
            }
            let expected = line.get("client").filter(|_| !flag(line, "again"));
            if expected.is_none() {
                assert!(end.said.is_empty(), "{place}: the client has said {:?}", end.said);
            }
            if let Some(message) = expected {
                assert_eq!(end.said.pop_front().as_ref(), Some(message), "{place}");
            } else if let Some(message) = line.get("server") {
                if !flag(line, "lost") {
                    end.handle(ClientInput::Received(message.to_string()));
                }
            } else if let Some(delta) = line.get("edit") {
                let edits = edits(delta, end.client.text().chars());
                end.handle(ClientInput::Edited(edits));
            } else if let Some(time) = line.get("wait") {
                end.now += Duration::from_millis(time.as_u64().unwrap());
                end.handle(ClientInput::Tick);
            } else if line.get("cut").is_some() {
                end.handle(ClientInput::Disconnected);
                cut = true;
            } else if let Some(texts) = line.get("end") {
                assert_eq!(Some(end.client.text().to_string().as_str()), texts["client"].as_str(), "{place}");
            }
        }
    }
}
