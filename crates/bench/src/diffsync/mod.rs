//! `bench diffsync`: what a step costs, how long a change takes from client to client, and what a crowd costs.

mod crowd;
mod pair;
mod steps;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use syncline_protocol::diffsync::{Client, ClientInput, ClientOutput, SessionId, Settings};

use crate::Fallible;
use crate::files::{build, rounded};
use crate::machine;
use crate::percentiles::ms;
use crate::table::Table;

/// How much is measured.
struct Plan {
    /// Steps in process, for each size.
    steps: usize,
    /// Changes from client to client.
    rounds: usize,
    clients: usize,
    /// For so long a crowd is written to.
    seconds: u64,
    quick: bool,
}

impl Plan {
    fn read(words: &[&str]) -> Fallible<Plan> {
        match words {
            [] => Ok(Plan { steps: 50_000, rounds: 300, clients: 1_000, seconds: 10, quick: false }),
            ["--quick"] => Ok(Plan { steps: 2_000, rounds: 30, clients: 100, seconds: 2, quick: true }),
            _ => Err("the only argument is --quick; see --help".into()),
        }
    }
}

/// Runs the benchmark and prints what it found.
pub fn run(words: &[&str]) -> Fallible<()> {
    let plan = Plan::read(words)?;
    let mut figure = serde_json::Map::from_iter([("figure".to_owned(), json!("diffsync"))]);
    let mut note = |key: &str, value: f64| drop(figure.insert(key.to_owned(), json!(rounded(value))));
    let mut table = Table::default();

    eprintln!("bench: steps in process");
    for (name, key, bytes) in [
        ("18 B", "18b", 18),
        ("1 KB", "1kb", 1 << 10),
        ("100 KB", "100kb", 100 << 10),
        ("1 MB", "1mb", 1 << 20),
    ] {
        let measured = steps::measure(bytes, plan.steps)?;
        table.times(&format!("a step, {name}"), &measured.summary, None);
        table.value(&format!("steps/s, {name}"), format!("{:.0}", measured.per_second), None);
        note(&format!("steps_per_s_{key}"), measured.per_second);
        note(&format!("step_p50_us_{key}"), measured.summary.p50.as_secs_f64() * 1e6);
    }

    let (binary, place) = build()?;
    eprintln!("bench: from client to client over TCP");
    let measured = pair::measure(&binary, &place, plan.rounds)?;
    let met = ms(measured.summary.p50) <= 3.0;
    table.times("client to client", &measured.summary, Some(("p50 <= 3 ms".to_owned(), met)));
    table.times("  of it the commit alone", &measured.commit, None);
    note("client_to_client_p50_ms", ms(measured.summary.p50));
    note("client_to_client_p95_ms", ms(measured.summary.p95));
    note("commit_p50_ms", ms(measured.commit.p50));

    eprintln!("bench: {} clients on one document", plan.clients);
    let measured = crowd::measure(&binary, &place, plan.clients, Duration::from_secs(plan.seconds))?;
    let (kb, p99) = (measured.kb_per_client, ms(measured.p99));
    table.value("memory per client", format!("{kb:.1} KB"), Some(("<= 10 KB".to_owned(), kb <= 10.0)));
    table.times("to each of the crowd", &measured.summary, None);
    table.value("  p99", format!("{p99:.2} ms"), Some(("<= 25 ms".to_owned(), p99 <= 25.0)));
    table.value("  deliveries/s", format!("{:.0}", measured.deliveries_per_s), None);
    table.value("  the hub's processor", format!("{:.2} cores", measured.cores), None);
    note("clients", plan.clients as f64);
    note("kb_per_client", kb);
    note("crowd_p50_ms", ms(measured.summary.p50));
    note("crowd_p99_ms", p99);
    note("crowd_edits_per_s", measured.edits_per_s);
    note("crowd_deliveries_per_s", measured.deliveries_per_s);
    note("crowd_hub_cores", measured.cores);

    let probe = tempfile::Builder::new().prefix("bench-probe-").tempdir_in(&place)?;
    println!("{}", machine::facts(probe.path())?);
    println!("a step: an edit, the request as text, the server's step, the answer as text, and taking it\n");
    println!("{table}");
    if plan.quick {
        println!("--quick: too little was measured to compare these figures with others\n");
        figure.insert("quick".into(), json!(true));
    }
    println!("{}", serde_json::Value::Object(figure));
    Ok(())
}

/// A client for a document, under a session of this number.
fn client(session: u64, token: &str) -> Client {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&session.to_be_bytes());
    id[8..].copy_from_slice(&std::process::id().to_be_bytes().repeat(2));
    Client::new(Settings {
        session: SessionId(id),
        doc: Some("shared.txt".to_owned()),
        auth: Some(token.to_owned()),
        name: Some("bench".to_owned()),
        compress: false,
        wait: true,
    })
}

/// The protocol's client on a blocking connection.
struct Connected {
    client: Client,
    read: BufReader<TcpStream>,
    started: Instant,
    said: VecDeque<ClientOutput>,
}

impl Connected {
    fn dial(address: SocketAddr, session: u64, token: &str) -> Fallible<Connected> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut connected = Connected {
            client: client(session, token),
            read: BufReader::new(stream),
            started: Instant::now(),
            said: VecDeque::new(),
        };
        connected.input(ClientInput::Connected)?;
        while !connected.client.is_live() {
            connected.step()?;
        }
        Ok(connected)
    }

    fn input(&mut self, input: ClientInput) -> Fallible<()> {
        for output in self.client.handle(input, self.started.elapsed()) {
            match output {
                ClientOutput::Send(mut text) => {
                    text.push('\n');
                    self.read.get_mut().write_all(text.as_bytes())?;
                }
                ClientOutput::Redial(why) => return Err(why.into()),
                ClientOutput::GiveUp(error) => return Err(error.into()),
                ClientOutput::Resynced => return Err("a resync without corruption".into()),
                other => self.said.push_back(other),
            }
        }
        Ok(())
    }

    /// Waits for a message, or for the time that the client wants to know of, and deals with it.
    fn step(&mut self) -> Fallible<()> {
        let wake = self.client.wake_at().unwrap_or(Duration::from_secs(60));
        let wait = wake.saturating_sub(self.started.elapsed()).max(Duration::from_millis(1));
        self.read.get_ref().set_read_timeout(Some(wait))?;
        let mut line = String::new();
        match self.read.read_line(&mut line) {
            Ok(0) => Err("the hub closed the connection".into()),
            Ok(_) => self.input(ClientInput::Received(line)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && line.is_empty() => {
                self.input(ClientInput::Tick)
            }
            Err(error) => Err(error.into()),
        }
    }
}
