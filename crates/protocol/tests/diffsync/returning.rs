//! Clients that come back: to a session that is known, and to a hub that has forgotten it.

use std::time::Duration;

use syncline_engine::{Edit, Version};
use syncline_protocol::diffsync::{
    Answer, Client, ClientInput, ClientOutput, ClientReturn, ConnectOk, History, Request, Response, Server,
    SessionId, Settings, Sum,
};

use super::history::Kept;

struct Pair {
    client: Client,
    server: Option<Server<Version>>,
    kept: Kept,
    now: Duration,
}

impl Pair {
    fn new(text: &str) -> Pair {
        let settings = Settings {
            session: SessionId([1; 16]),
            doc: None,
            auth: None,
            name: None,
            compress: false,
            wait: false,
        };
        Pair { client: Client::new(settings), server: None, kept: Kept::new(text), now: Duration::ZERO }
    }

    /// What the client says.
    fn input(&mut self, input: ClientInput) -> Vec<String> {
        self.now += Duration::from_millis(1);
        let sends = self.client.handle(input, self.now).into_iter().filter_map(|output| match output {
            ClientOutput::Send(text) => Some(text),
            ClientOutput::Redial(why) => panic!("redials: {why}"),
            ClientOutput::GiveUp(error) => panic!("gives up: {error}"),
            _ => None,
        });
        sends.collect()
    }

    fn type_in(&mut self, at: usize, text: &str) -> Vec<String> {
        self.input(ClientInput::Edited(vec![Edit::insert(at, text)]))
    }

    /// What the server says to that.
    fn answer(&mut self, request: &str) -> String {
        let response = match Request::parse(request).unwrap() {
            Request::Connect(_) => {
                let (now, resumed) = (self.kept.now(), self.server.is_some());
                let server = self.server.get_or_insert_with(|| Server::new(now));
                let (n, m, last_seq) = server.numbers();
                let text = (!resumed).then(|| server.shadow().text.to_string());
                let sum = server.shadow().text.sum();
                let (doc, version, changed_ms) = ("a.txt".into(), 0, 0);
                return Response::ConnectOk(ConnectOk {
                    doc,
                    resumed,
                    text,
                    n,
                    m,
                    sum,
                    last_seq,
                    version,
                    changed_ms,
                    compress: None,
                    wait: false,
                })
                .to_json();
            }
            Request::Sync(sync) => self.server.as_mut().unwrap().sync(&sync, &mut self.kept).unwrap(),
            Request::Return(back) => self.server.as_mut().unwrap().returned(&back, &mut self.kept).unwrap(),
            other => panic!("{other:?}"),
        };
        match response.answer {
            Answer::Sync(sync) => Response::Sync(sync).to_json(),
            Answer::Resync(resync) => Response::Resync(resync).to_json(),
            other => panic!("{other:?}"),
        }
    }

    /// Everything is delivered until nobody has anything to say.
    fn settle(&mut self, mut said: Vec<String>) {
        while let Some(request) = said.pop() {
            let answer = self.answer(&request);
            said.extend(self.input(ClientInput::Received(answer)));
        }
    }

    fn connect(&mut self) {
        self.client.handle(ClientInput::Disconnected, self.now);
        let said = self.input(ClientInput::Connected);
        self.settle(said);
    }

    fn texts(&self) -> (String, String) {
        (self.client.text().to_string(), self.kept.text())
    }

    fn both(&self, text: &str) {
        assert_eq!(self.texts(), (text.to_owned(), text.to_owned()));
        assert!(self.client.is_saved());
    }
}

#[test]
fn typed_offline_it_arrives_once_whether_or_not_the_request_before_did() {
    for arrives in [false, true] {
        let mut pair = Pair::new("text");
        pair.connect();
        let said = pair.type_in(0, "A");
        if arrives {
            pair.answer(&said[0]);
        }
        pair.client.handle(ClientInput::Disconnected, pair.now);
        assert!(pair.type_in(1, "B").is_empty(), "offline nothing is said");
        pair.kept.edit(&[Edit::insert(pair.kept.text().len(), "!")]);
        pair.connect();
        pair.both("ABtext!");
        assert_eq!(pair.client.counts().resyncs, 0);
    }
}

#[test]
fn a_hub_that_forgot_the_session_gets_what_was_typed() {
    for arrives in [false, true] {
        let mut pair = Pair::new("text");
        pair.connect();
        pair.client.handle(ClientInput::Disconnected, pair.now);
        pair.type_in(4, " mine");
        if arrives {
            pair.kept.edit(&[Edit::insert(0, "theirs ")]);
        }
        pair.server = None;
        pair.connect();
        pair.both(if arrives { "theirs text mine" } else { "text mine" });
    }
}

/// What a hub has entered and then forgotten that it did is not entered again.
#[test]
fn what_the_forgetful_hub_already_has_is_not_doubled() {
    let mut pair = Pair::new("text");
    pair.connect();
    let said = pair.type_in(4, " mine");
    pair.answer(&said[0]);
    pair.server = None;
    pair.connect();
    pair.both("text mine");
}

/// The answer to the return is lost: it must not be entered again, whichever way the client asks again.
#[test]
fn a_return_whose_answer_is_lost_is_entered_once() {
    for reconnects in [false, true] {
        let mut pair = Pair::new("text");
        pair.connect();
        pair.client.handle(ClientInput::Disconnected, pair.now);
        pair.type_in(4, " mine");
        pair.server = None;
        let connect = pair.input(ClientInput::Connected);
        let ok = pair.answer(&connect[0]);
        let said = pair.input(ClientInput::Received(ok));
        assert!(said[0].contains("ClientReturn"));
        pair.answer(&said[0]);
        pair.type_in(0, "more ");
        pair.kept.edit(&[Edit::insert(0, "theirs ")]);
        if reconnects {
            pair.connect();
        } else {
            pair.now += Duration::from_secs(3);
            let said = pair.input(ClientInput::Tick);
            pair.settle(said);
        }
        pair.both("theirs more text mine");
    }
}

/// The session is known: what its client did is told as edits. By its text it would be entered twice.
#[test]
fn a_return_in_the_middle_of_a_session_enters_nothing() {
    let mut pair = Pair::new("text");
    pair.connect();
    let said = pair.type_in(4, " mine");
    pair.settle(said);
    let back = ClientReturn {
        doc: "a.txt".into(),
        seq: 99,
        shadow: "text".into(),
        text: "text mine".into(),
        sum: Sum::of("text"),
    };
    let server = pair.server.as_mut().unwrap();
    let step = server.returned(&back, &mut pair.kept).unwrap();
    assert_eq!((step.answer, step.entered), (Answer::OutOfPlace, false));
    pair.both("text mine");
    let said = pair.type_in(0, "more ");
    pair.settle(said);
    pair.both("more text mine");
}

/// A large text over a slow line, packed or not.
#[test]
fn a_first_answer_that_takes_long_is_waited_for_while_it_comes() {
    for compress in [false, true] {
        let settings = Settings {
            session: SessionId([1; 16]),
            doc: None,
            auth: None,
            name: None,
            compress,
            wait: false,
        };
        let mut client = Client::new(settings);
        client.handle(ClientInput::Connected, Duration::ZERO);
        for seconds in (9..100).step_by(9) {
            client.handle(ClientInput::Arriving, Duration::from_secs(seconds));
            let out = client.handle(ClientInput::Tick, Duration::from_secs(seconds + 8));
            assert!(out.is_empty(), "{out:?}");
        }
        let text = "a long text ".repeat(1_000);
        let ok = ConnectOk {
            doc: "a.txt".into(),
            resumed: false,
            sum: Sum::of(&text),
            text: Some(text.clone()),
            n: 0,
            m: 0,
            last_seq: 0,
            version: 0,
            changed_ms: 0,
            compress: compress.then(|| "zlib".into()),
            wait: false,
        };
        let line = syncline_protocol::diffsync::pack(Response::ConnectOk(ok).to_json(), compress);
        client.handle(ClientInput::Received(line), Duration::from_secs(110));
        assert_eq!(client.text().to_string(), text);
    }
}

/// Corrupted on the way: nothing of it is taken, the hub is asked again, and a fresh start is the last resort.
#[test]
fn answers_that_do_not_fit_end_in_one_resync_and_lose_nothing() {
    let mut pair = Pair::new("text");
    pair.connect();
    pair.kept.edit(&[Edit::insert(0, "theirs ")]);
    let mut said = pair.type_in(4, " mine");
    let mut rounds = 0;
    while let Some(request) = said.pop() {
        rounds += 1;
        assert!(rounds < 20, "a loop");
        let answer = pair.answer(&request);
        // Every delta is damaged, a resync is not.
        said.extend(pair.input(ClientInput::Received(answer.replace("+theirs", "+thiers"))));
    }
    pair.both("theirs text mine");
    assert_eq!(pair.client.counts().resyncs, 1);
}
