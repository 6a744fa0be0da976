//! The conversation: commands from the terminal, messages from the hub, and dialing again when it is gone.

use std::io::IsTerminal;
use std::time::Duration;

use serde_json::json;
use syncline_engine::Edit;
use syncline_net::{BackOff, ConnectError, Stream, connect};
use syncline_protocol::diffsync::{Client, ClientInput, ClientOutput, HistoryEntry};
use syncline_protocol::{ProtocolError, limits};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::Place;
use super::command::{Command, HELP};
use super::terminal::{Terminal, Typed};
use crate::failure::Failure;
use crate::report::{moment_of, safe};

/// How long the first connection, and saving at the end, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What happens that nobody typed.
enum Event {
    /// It is time to dial.
    Dial,
    /// A message came.
    Received(String),
    /// The client wants to know that time has passed.
    Tick,
    /// The connection is gone.
    Broken,
}

/// A connection.
struct Line {
    read: BufReader<ReadHalf<Stream>>,
    write: WriteHalf<Stream>,
    /// What of a line has come: reading may be given up in the middle of one.
    part: Vec<u8>,
    /// So much of it had come when that was last looked at.
    seen: usize,
}

/// The client, its connection, and what is known of both.
pub struct Talk {
    place: Place,
    client: Client,
    line: Option<Line>,
    started: Instant,
    back_off: BackOff,
    /// When to dial again.
    dial_at: Instant,
    opened: bool,
    failure: Option<Failure>,
    /// A script's command that could not be carried out.
    wrong: Option<Failure>,
    /// History that was asked for and has not come.
    asked: bool,
    /// Why the hub does not take what was typed, if it said so.
    refused: Option<ProtocolError>,
    /// Why the last attempt to reach the hub failed, if it did.
    unreached: Option<String>,
}

impl Talk {
    /// A conversation that has not begun.
    pub fn new(place: Place, client: Client) -> Talk {
        let now = Instant::now();
        Talk {
            place,
            client,
            line: None,
            started: now,
            back_off: BackOff::new(),
            dial_at: now,
            opened: false,
            failure: None,
            wrong: None,
            asked: false,
            refused: None,
            unreached: None,
        }
    }

    /// Runs until `quit` or the end of the input.
    ///
    /// # Errors
    /// If the hub refuses, cannot be reached at all, or what was typed could not be saved.
    pub async fn run(mut self, mut terminal: Terminal, mut typed: Receiver<Typed>) -> Result<(), Failure> {
        if !self.until(&mut terminal, |talk| talk.opened).await {
            return Err(self.failure.take().unwrap_or_else(|| self.unreachable()));
        }
        loop {
            let event = tokio::select! {
                line = typed.recv() => {
                    let last = match line {
                        Some(Typed::Line(line)) => self.command(&line, &mut terminal).await,
                        Some(Typed::Wrong(why)) => self.wrong(&why, &mut terminal),
                        Some(Typed::End) | None => true,
                    };
                    if last {
                        break;
                    }
                    terminal.done();
                    continue;
                }
                event = self.wait() => event,
            };
            self.take(event, &mut terminal).await;
            if let Some(failure) = self.failure.take() {
                return Err(self.with_text(failure));
            }
        }
        self.leave(&mut terminal).await
    }

    fn unreachable(&self) -> Failure {
        let start = "start it with `syncline serve FOLDER --diffsync ADDR`";
        match &self.unreached {
            Some(why) => Failure::other(format!("no hub answers at {}: {why}", self.place), start),
            None if self.line.is_none() => Failure::other(format!("no hub answers at {}", self.place), start),
            // Something is there, and does not speak.
            None => Failure::other(
                format!("what listens at {} does not answer as a hub does", self.place),
                "is it the address that `serve --diffsync` printed? If the hub speaks TLS: --tls or --fingerprint",
            ),
        }
    }

    /// Waits for one thing that is not the terminal's. Cancel-safe.
    async fn wait(&mut self) -> Event {
        let Some(line) = &mut self.line else {
            sleep_until(self.dial_at).await;
            return Event::Dial;
        };
        let wake = self.client.wake_at().map(|at| self.started + at);
        tokio::select! {
            read = read_line(line) => read.map_or(Event::Broken, Event::Received),
            () = sleep_until(wake.unwrap_or(self.started)), if wake.is_some() => Event::Tick,
        }
    }

    /// Deals with it. Must not be given up: a message would be sent in part.
    async fn take(&mut self, event: Event, terminal: &mut Terminal) {
        match event {
            Event::Dial => self.dial(terminal).await,
            Event::Received(text) => self.handle(ClientInput::Received(text), terminal).await,
            Event::Tick => {
                let come = self.line.as_ref().map_or(0, |line| line.part.len());
                let seen = self.line.as_mut().map_or(0, |line| std::mem::replace(&mut line.seen, come));
                if come > seen {
                    self.handle(ClientInput::Arriving, terminal).await;
                }
                self.handle(ClientInput::Tick, terminal).await;
            }
            Event::Broken => self.lost("the connection broke", terminal),
        }
    }

    async fn dial(&mut self, terminal: &mut Terminal) {
        let stream = match connect(&self.place.host, self.place.port, self.place.trust).await {
            Ok(stream) => stream,
            Err(error) => {
                let nobody = matches!(&error, ConnectError::Unreachable(error)
                    if error.kind() == std::io::ErrorKind::ConnectionRefused);
                if error.is_lasting() {
                    let what = format!("{}: {error}", self.place);
                    self.failure = Some(Failure::usage(what, "see `syncline connect --help` about TLS"));
                } else if nobody && !self.opened {
                    self.failure = Some(self.unreachable());
                } else {
                    self.unreached = Some(error.to_string());
                }
                return self.later();
            }
        };
        self.unreached = None;
        let (read, write) = tokio::io::split(stream);
        self.line = Some(Line { read: BufReader::new(read), write, part: Vec::new(), seen: 0 });
        self.handle(ClientInput::Connected, terminal).await;
    }

    fn later(&mut self) {
        let mut random = [0];
        // Without randomness the pause is the shortest: that is no reason to fail.
        let _ = getrandom::fill(&mut random);
        self.dial_at = Instant::now() + self.back_off.pause(f64::from(random[0]) / 255.0);
    }

    fn lost(&mut self, why: &str, terminal: &mut Terminal) {
        let now = self.started.elapsed();
        self.client.handle(ClientInput::Disconnected, now);
        self.line = None;
        if self.opened {
            let text = format!("({}; what you type is kept and sent when the hub is back)", safe(why));
            terminal.note(&text, &json!({"event": "disconnected", "why": why}));
        }
        self.later();
    }

    async fn handle(&mut self, input: ClientInput, terminal: &mut Terminal) {
        for output in self.client.handle(input, self.started.elapsed()) {
            match output {
                ClientOutput::Send(mut text) => {
                    text.push('\n');
                    let Some(line) = &mut self.line else { continue };
                    let write = async {
                        line.write.write_all(text.as_bytes()).await?;
                        line.write.flush().await
                    };
                    let sent = timeout(limits::PROGRESS_CLOSE, write).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        return self.lost("the connection broke", terminal);
                    }
                }
                ClientOutput::Opened(ok) => {
                    self.back_off.reset();
                    if terminal.is_json() {
                        terminal.print_json(&json!({
                            "event": "connected", "doc": ok.doc, "resumed": ok.resumed,
                            "version": ok.version, "changed_ms": ok.changed_ms,
                        }));
                    } else if terminal.is_interactive() {
                        let what = if self.opened { "Connected again to" } else { "Connected to" };
                        let (doc, place, version) = (safe(&ok.doc), &self.place, ok.version);
                        let changed = match ok.changed_ms {
                            0 => String::new(),
                            time_ms => format!(", changed {}", moment_of(time_ms)),
                        };
                        terminal.print(&format!(
                            "{what} {doc} at {place}, version {version}{changed}. `help` lists what you can say."
                        ));
                    }
                    self.opened = true;
                }
                ClientOutput::Changed(edits) => {
                    if terminal.is_json() {
                        let (inserted, deleted) = counts(&edits);
                        terminal.print_json(
                            &json!({"event": "changed", "inserted": inserted, "deleted": deleted}),
                        );
                    } else if terminal.is_interactive() {
                        terminal.print(&format!("({})", told(&edits, &self.client)));
                    }
                }
                ClientOutput::Saved => {
                    self.refused = None;
                    if terminal.is_json() {
                        terminal.print_json(&json!({"event": "saved"}));
                    }
                }
                ClientOutput::Resynced => terminal.note(
                    "(the hub knew another text than was left here; it is shown now, with what you typed and was not saved)",
                    &json!({"event": "resynced"}),
                ),
                ClientOutput::History(entries) => {
                    self.asked = false;
                    show_history(&entries, terminal);
                }
                ClientOutput::Refused(error) => {
                    terminal.note(
                        &format!("(the hub: {})", safe(&error.to_string())),
                        &json!({"event": "refused", "code": error.code.code(), "message": error.message}),
                    );
                    self.refused = Some(error);
                }
                ClientOutput::Redial(why) => return self.lost(&why, terminal),
                ClientOutput::GiveUp(error) => {
                    let what = format!("the hub refused: {}", safe(&error.message));
                    self.failure = Some(Failure::usage(what, error.code.hint()));
                    self.line = None;
                    return;
                }
            }
        }
    }

    /// Goes on until something holds, the hub has refused, or the patience is at its end.
    async fn until(&mut self, terminal: &mut Terminal, holds: impl Fn(&Talk) -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) && self.failure.is_none() {
            match timeout_at(deadline, self.wait()).await {
                Ok(event) => self.take(event, terminal).await,
                Err(_) => return false,
            }
        }
        self.failure.is_none()
    }

    /// Carries a command out; `true` if it was the last.
    async fn command(&mut self, line: &str, terminal: &mut Terminal) -> bool {
        let command = match Command::parse(line) {
            Ok(command) => command,
            Err(why) => return self.wrong(&why, terminal),
        };
        // A script wants to see what is there, its own edits merged with everybody's; a person does not wait.
        if !terminal.is_interactive() && matches!(command, Command::Show | Command::Stats | Command::History)
        {
            self.until(terminal, |talk| talk.client.is_saved()).await;
        }
        match &command {
            Command::Show => self.show(terminal),
            Command::Stats => self.stats(terminal),
            Command::Help if terminal.is_json() => terminal.print_json(&json!({"help": HELP})),
            Command::Help => terminal.print(HELP),
            Command::Quit => return true,
            Command::History => {
                if !self.client.is_live() {
                    terminal.note(
                        "(there is no connection now)",
                        &json!({"error": "there is no connection now"}),
                    );
                    return false;
                }
                self.asked = true;
                self.handle(ClientInput::AskHistory, terminal).await;
                self.until(terminal, |talk| !talk.asked).await;
            }
            _ => {
                if let Some(edits) = command.edits(&self.client.text().to_string()) {
                    match edits {
                        Ok(edits) => self.handle(ClientInput::Edited(edits), terminal).await,
                        Err(why) => return self.wrong(&why, terminal),
                    }
                }
            }
        }
        false
    }

    /// A command that cannot be carried out; `true` if that ends the conversation.
    fn wrong(&mut self, why: &str, terminal: &mut Terminal) -> bool {
        if terminal.is_json() {
            terminal.print_json(&json!({"error": why}));
        } else if terminal.is_interactive() {
            terminal.print(why);
        }
        // A script must not go on as if it had been carried out. What came before is saved first.
        if !terminal.is_interactive() {
            self.wrong = Some(Failure::usage(why.to_owned(), "`help` lists what can be said"));
        }
        self.wrong.is_some()
    }

    fn show(&self, terminal: &mut Terminal) {
        let text = self.client.text().to_string();
        if terminal.is_json() {
            terminal.print_json(
                &json!({"doc": self.client.doc(), "text": text, "saved": self.client.is_saved()}),
            );
        } else if terminal.is_interactive() {
            let lines: Vec<String> = text
                .lines()
                .enumerate()
                .map(|(number, line)| format!("{:4}  {}", number + 1, safe(line)))
                .collect();
            terminal.print(if lines.is_empty() { "(no text)".to_owned() } else { lines.join("\n") }.as_str());
        } else {
            terminal.print_raw(&text);
        }
    }

    fn stats(&self, terminal: &mut Terminal) {
        let counts = self.client.counts();
        let (n, m) = self.client.numbers();
        let (text, sum) = (self.client.text(), self.client.text().sum());
        if terminal.is_json() {
            terminal.print_json(&json!({
                "doc": self.client.doc(), "connected": self.client.is_live(), "saved": self.client.is_saved(),
                "characters": text.chars(), "bytes": text.bytes(), "sum": sum.to_string(), "n": n, "m": m,
                "requests": counts.requests, "answers": counts.answers, "timeouts": counts.timeouts,
                "resyncs": counts.resyncs, "acknowledged": counts.acknowledged, "received": counts.received,
                "connections": counts.connections,
            }));
            return;
        }
        let state = match (self.client.is_live(), self.client.is_saved()) {
            (true, true) => "connected, everything saved",
            (true, false) => "connected, saving",
            (false, true) => "not connected, everything saved",
            (false, false) => "not connected, something to be sent",
        };
        terminal.print(&format!(
            "  {} at {}: {state}\n  text      {} characters, {} bytes\n  edits     {} of yours saved, {} of others received (n {n}, m {m})\n  requests  {} sent, {} answered, {} timed out, {} fresh starts, {} connections",
            safe(self.client.doc()), self.place, text.chars(), text.bytes(), counts.acknowledged, counts.received,
            counts.requests, counts.answers, counts.timeouts, counts.resyncs, counts.connections,
        ));
    }

    /// Saves what was typed, and says good-bye.
    async fn leave(mut self, terminal: &mut Terminal) -> Result<(), Failure> {
        let saved = self.until(terminal, |talk| talk.client.is_saved()).await;
        if let Some(failure) = self.failure.take() {
            return Err(self.with_text(failure));
        }
        if let Some(line) = &mut self.line {
            // The session is kept either way.
            let bye = async {
                line.write.write_all(b"{\"type\":\"Disconnect\"}\n").await?;
                line.write.shutdown().await
            };
            let _ = timeout(Duration::from_secs(1), bye).await;
        }
        if saved {
            return self.wrong.map_or(Ok(()), Err);
        }
        Err(self.with_text(match &self.refused {
            Some(error) => {
                Failure::other(format!("the hub refused: {}", safe(&error.message)), error.code.hint())
            }
            None => Failure::other(
                "the hub could not be reached",
                "keep your text, and try again when the hub runs",
            ),
        }))
    }

    /// A failure, and what was typed and is nowhere else: it must not go with the program.
    fn with_text(&self, failure: Failure) -> Failure {
        if self.client.is_saved() {
            return failure;
        }
        let mut text = self.client.text().to_string();
        if std::io::stderr().is_terminal() {
            // Other people's words must not command it.
            text = text.split('\n').map(safe).collect::<Vec<_>>().join("\n");
        }
        failure.saying(&format!("what you typed is not saved. Your text was:\n{text}"))
    }
}

/// The next line, without its end; `None` when nothing more comes. Cancel-safe: a part that was read is kept.
async fn read_line(line: &mut Line) -> Option<String> {
    let most = (limits::MAX_LINE + 2 - line.part.len()) as u64;
    let count = (&mut line.read).take(most).read_until(b'\n', &mut line.part).await.ok()?;
    if count == 0 || line.part.last() != Some(&b'\n') {
        return None;
    }
    String::from_utf8(std::mem::take(&mut line.part)).ok()
}

fn counts(edits: &[Edit]) -> (usize, usize) {
    let inserted = edits.iter().map(|edit| edit.insert.chars().count()).sum();
    (inserted, edits.iter().map(|edit| edit.range.len()).sum())
}

/// What others did, in a line.
fn told(edits: &[Edit], client: &Client) -> String {
    let (inserted, deleted) = counts(edits);
    let at = edits.first().map_or(0, |edit| edit.range.start);
    let line = client.text().slice(0..at).matches('\n').count() + 1;
    let what = match (inserted, deleted) {
        (inserted, 0) => format!("{inserted} characters inserted"),
        (0, deleted) => format!("{deleted} characters deleted"),
        (inserted, deleted) => format!("{inserted} characters inserted, {deleted} deleted"),
    };
    format!("by others, at line {line}: {what}")
}

fn show_history(entries: &[HistoryEntry], terminal: &mut Terminal) {
    for entry in entries {
        if terminal.is_json() {
            terminal.print_json(&json!({
                "time_ms": entry.time_ms, "author": entry.author, "channel": entry.channel,
                "inserted": entry.inserted, "deleted": entry.deleted, "version": entry.version,
            }));
        } else {
            let (time, author) = (moment_of(entry.time_ms), safe(&entry.author));
            let (channel, version) = (safe(&entry.channel), entry.version);
            terminal.print(&format!(
                "{time}  version {version}  +{} -{}  {author} ({channel})",
                entry.inserted, entry.deleted
            ));
        }
    }
}
