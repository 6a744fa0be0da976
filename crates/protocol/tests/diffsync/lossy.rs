//! Clients and a server over a network that loses up to 30 %, repeats up to 20 % and reorders.
//!
//! Every inserted word occurs once in the world, so that lost, doubled and torn ones are counted.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use syncline_engine::{Edit, Version};
use syncline_protocol::diffsync::{
    Answer, Client, ClientInput, ClientOutput, ConnectOk, History, Request, Response, Server, ServerSync,
    SessionId, Settings,
};

use super::history::Kept;

const RUNS: u64 = 2_000;
const DOC: &str = "a.txt";

struct World {
    rng: Rng,
    now: Duration,
    kept: Kept,
    clients: Vec<(Client, Server<Version>)>,
    /// Whether requests wait for news, and whose does.
    waiting: bool,
    waits: Vec<bool>,
    /// Delivery time and a number that keeps the order among equals; to the server or to the client, which.
    wire: BTreeMap<(Duration, u64), (bool, usize, String)>,
    sent: u64,
    loss: f64,
    repeat: f64,
    delay: u64,
    words: Vec<String>,
    resyncs: u64,
    requests: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng::with_seed(seed);
        let (loss, repeat) = (rng.f64() * 0.3, rng.f64() * 0.2);
        let delay = rng.u64(1..400);
        let mut kept = Kept::new(&"0123456789\n".repeat(rng.usize(0..6)));
        let waiting = seed % 2 == 1;
        let mut clients = Vec::new();
        for number in 0..rng.u8(2..=5) {
            let session = SessionId([number; 16]);
            let settings =
                Settings { session, doc: None, auth: None, name: None, compress: false, wait: waiting };
            let mut client = Client::new(settings);
            client.handle(ClientInput::Connected, Duration::ZERO);
            let now = kept.now();
            let (text, sum) = (Some(now.text.to_string()), now.text.sum());
            let ok = ConnectOk {
                doc: DOC.into(),
                resumed: false,
                text,
                n: 0,
                m: 0,
                sum,
                last_seq: 0,
                version: 0,
                changed_ms: 0,
                compress: None,
                wait: waiting,
            };
            client.handle(ClientInput::Received(Response::ConnectOk(ok).to_json()), Duration::ZERO);
            clients.push((client, Server::new(now)));
        }
        World {
            rng,
            now: Duration::ZERO,
            kept,
            waiting,
            waits: vec![false; clients.len()],
            clients,
            wire: BTreeMap::new(),
            sent: 0,
            loss,
            repeat,
            delay,
            words: Vec::new(),
            resyncs: 0,
            requests: 0,
        }
    }

    fn send(&mut self, to_server: bool, client: usize, text: &str) {
        let copies = usize::from(self.rng.f64() >= self.loss) + usize::from(self.rng.f64() < self.repeat);
        for _ in 0..copies {
            // A few come very late: after what was said since.
            let late = if self.rng.u8(..) < 8 { 5_000 } else { 0 };
            let at = self.now + Duration::from_millis(1 + self.rng.u64(0..self.delay) + late);
            self.sent += 1;
            self.wire.insert((at, self.sent), (to_server, client, text.to_owned()));
        }
    }

    fn handle(&mut self, client: usize, input: ClientInput) {
        for output in self.clients[client].0.handle(input, self.now) {
            match output {
                ClientOutput::Send(text) => self.send(true, client, &text),
                ClientOutput::Resynced => self.resyncs += 1,
                ClientOutput::Redial(why) => panic!("redials: {why}"),
                ClientOutput::GiveUp(error) => panic!("gives up: {error}"),
                ClientOutput::Refused(error) => panic!("refused: {error}"),
                _ => {}
            }
        }
    }

    fn deliver(&mut self, to_server: bool, client: usize, text: String) {
        if !to_server {
            return self.handle(client, ClientInput::Received(text));
        }
        let Request::Sync(sync) = Request::parse(&text).unwrap() else { return };
        self.requests += 1;
        let before = self.kept.entered;
        let server = &mut self.clients[client].1;
        let step = server.sync(&sync, &mut self.kept).unwrap();
        assert!(server.invariants_hold());
        assert_eq!(step.entered, self.kept.entered > before);
        let empty = matches!(&step.answer, Answer::Sync(answer) if answer.edits.is_empty());
        if step.answer != Answer::Late {
            self.waits[client] = sync.wait && sync.edits.is_empty() && matches!(step.answer, Answer::Sync(_));
            if self.waits[client] && empty {
                return;
            }
        }
        let response = match step.answer {
            Answer::Sync(mut sync) => {
                sync.doc = DOC.into();
                Response::Sync(sync)
            }
            Answer::Resync(mut resync) => {
                resync.doc = DOC.into();
                Response::Resync(resync)
            }
            Answer::Late | Answer::OutOfPlace => return,
        };
        self.send(false, client, &response.to_json());
        if step.entered {
            for other in 0..self.clients.len() {
                if other != client
                    && let Some(news) = self.news_for(other)
                {
                    self.send(false, other, &news.to_json());
                }
            }
        }
    }

    /// A further answer to a request that waits, or that there is something to ask for.
    fn news_for(&mut self, client: usize) -> Option<Response> {
        if !self.waits[client] {
            return (!self.waiting).then(|| Response::Poke { doc: DOC.into() });
        }
        let server = &mut self.clients[client].1;
        let answer = server.news(&mut self.kept);
        assert!(server.invariants_hold());
        match answer {
            Answer::Sync(sync) if sync.edits.is_empty() => None,
            Answer::Sync(sync) => Some(Response::Sync(ServerSync { doc: DOC.into(), ..sync })),
            Answer::Late => None,
            other => panic!("{other:?}"),
        }
    }

    /// Types a word somewhere, or deletes some of the digits: the words must stay.
    fn edit(&mut self, client: Option<usize>) {
        let text = match client {
            Some(client) => self.clients[client].0.text().to_string(),
            None => self.kept.text(),
        };
        let chars: Vec<char> = text.chars().collect();
        // Between words, not inside one: a word torn by a deletion could not be told from a fault.
        let at = self.rng.usize(0..=chars.len());
        let mut edit = Edit::insert(at, "");
        if self.rng.u8(..) < 80 {
            let end = chars[at..].iter().take(5).take_while(|c| c.is_ascii_digit()).count() + at;
            edit.range = at..end;
        }
        if edit.range.is_empty() || self.rng.bool() {
            let at = (0..=at).rev().find(|&at| at == 0 || !is_word(chars[at - 1])).unwrap_or(0);
            edit.range.start = at.min(edit.range.start);
            if edit.range.start < edit.range.end && chars[edit.range.clone()].iter().any(|c| is_word(*c)) {
                edit.range = at..at;
            }
            let word = format!("<{}é{}>", client.map_or(9, |client| client), self.words.len());
            edit.insert =
                word.replace(|c: char| c.is_ascii_digit(), "").replace("é", &letters(self.words.len()));
            self.words.push(edit.insert.clone());
        }
        match client {
            Some(client) => self.handle(client, ClientInput::Edited(vec![edit])),
            None => self.kept.edit(&[edit]),
        }
    }

    /// Runs until this time.
    fn run_until(&mut self, end: Duration, mut editing: bool) {
        while self.now < end {
            let wakes = self
                .clients
                .iter()
                .enumerate()
                .filter_map(|(index, (client, _))| Some((client.wake_at()?, index)));
            let wake = wakes.min();
            let arrival = self.wire.first_key_value().map(|(key, _)| key.0);
            let next = [wake.map(|(at, _)| at), arrival].into_iter().flatten().min().unwrap_or(end).min(end);
            self.now = self.now.max(next);
            if arrival.is_some_and(|at| at <= self.now) {
                if let Some((_, (to_server, client, text))) = self.wire.pop_first() {
                    self.deliver(to_server, client, text);
                }
            } else if let Some((at, client)) = wake
                && at <= self.now
            {
                self.handle(client, ClientInput::Tick);
            }
            if editing && self.rng.u8(..) < 60 {
                let client = self.rng.usize(0..=self.clients.len());
                self.edit((client < self.clients.len()).then_some(client));
            }
            editing &= self.words.len() < 120;
        }
    }

    /// What is wrong; nothing, in a good world.
    fn fault(&self) -> Option<String> {
        let text = self.kept.text();
        for (index, (client, server)) in self.clients.iter().enumerate() {
            if client.text().to_string() != text {
                return Some(format!("client {index} did not converge"));
            }
            let (n, m, _) = server.numbers();
            if !client.is_saved() || client.numbers() != (n, m) {
                return Some(format!("idle, client {index} and its server differ in their numbers"));
            }
            if client.shadow_sum() != server.shadow().text.sum() {
                return Some(format!("idle, client {index} and its server differ in their shadow"));
            }
        }
        for word in &self.words {
            let count = text.matches(word.as_str()).count();
            if count != 1 {
                return Some(format!("{word} is there {count} times in {text}"));
            }
        }
        (self.resyncs > 0).then(|| format!("{} resyncs without corruption", self.resyncs))
    }
}

fn is_word(c: char) -> bool {
    matches!(c, '<' | '>' | 'a'..='z' | 'ä')
}

/// A name of letters only: digits may be deleted.
fn letters(mut number: usize) -> String {
    let mut out = String::from("ä");
    loop {
        out.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
        if number == 0 {
            return out;
        }
    }
}

fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    world.run_until(Duration::from_secs(20), true);
    // The faults stop.
    (world.loss, world.repeat) = (0.0, 0.0);
    world.run_until(Duration::from_secs(120), false);
    world
}

#[test]
fn two_thousand_lossy_runs_converge_without_a_resync() {
    let (mut words, mut requests) = (0, 0);
    for seed in 0..RUNS {
        let world = run(seed);
        assert_eq!(world.fault(), None, "seed {seed}");
        words += world.words.len();
        requests += world.requests;
    }
    println!(
        "{RUNS} runs, {words} words, {requests} requests: all converged, nothing lost or doubled, no resync"
    );
    assert!(words > RUNS as usize * 20, "the runs must do something");
}

/// The checker is worth something: a server that forgets its backup is caught.
#[test]
fn a_planted_fault_is_caught() {
    let caught = (0..40).any(|seed| {
        let mut world = World::new(seed);
        world.loss = 0.3;
        for step in 1..=40u64 {
            world.run_until(Duration::from_millis(500 * step), true);
            // Planted: the server takes what it sent for received, as if no answer were ever lost.
            for (_, server) in &mut world.clients {
                let mut parts = server.parts();
                let (_, m, _) = server.numbers();
                (parts.backup, parts.backup_m, parts.told) = (parts.shadow.clone(), m, vec![]);
                *server = Server::restored(parts, server.shadow().text.clone()).unwrap();
            }
        }
        (world.loss, world.repeat) = (0.0, 0.0);
        world.run_until(Duration::from_secs(120), false);
        world.fault().is_some()
    });
    assert!(caught);
}
