//! What happens, told to a person on a display or in lines, or to a program in lines of JSON.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use syncline_hub::{Hub, HubEvent, Party, TextSession};
use syncline_local::{Counters, LocalEvent, Seat};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use super::SHARED;
use super::screen::{Key, Screen};
use super::view::{Counts, User, View};
use crate::args::{LocalArgs, OnConflict};
use crate::failure::Failure;
use crate::{report, serve};

/// The display is drawn again at most this often, and its counters are read this often.
const FRAME: Duration = Duration::from_millis(100);

/// Tells a person or a program what happens.
pub struct Teller {
    json: bool,
    name: String,
    /// The user's copy; `None`: a whole folder.
    file: Option<PathBuf>,
    hub: Hub,
    seat: Arc<Seat>,
    counters: Arc<Counters>,
    view: View,
    /// Who there is a session with, and by which way.
    ways: BTreeMap<String, &'static str>,
    screen: Option<Screen>,
}

impl Teller {
    /// Tells what begins. On a terminal this takes it for the display.
    pub fn begin(
        args: &LocalArgs,
        json: bool,
        file: Option<PathBuf>,
        (hub, seat, counters): (Hub, Arc<Seat>, Arc<Counters>),
        missing: &[String],
    ) -> Result<Teller, Failure> {
        let shown = file.as_ref().unwrap_or(&args.dir).display().to_string();
        let policy = match args.on_conflict {
            OnConflict::Merge => "merge",
            OnConflict::LastWriterWins => "last-writer-wins",
        };
        let view = View { name: args.name.clone(), file: shown.clone(), policy, ..View::default() };
        let ways = BTreeMap::new();
        let name = args.name.clone();
        let mut teller = Teller { json, name, file, hub, seat, counters, view, ways, screen: None };
        if json {
            report::json_line(&json!({
                "user": teller.name, "file": shown, "group": args.group, "max_users": args.max_users,
                "missing": missing,
            }));
            return Ok(teller);
        }
        if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
            let taken = Screen::take().map_err(|error| Failure::other(format!("the terminal: {error}"), ""));
            teller.screen = Some(taken?);
        } else {
            println!("You are {}; your copy is {shown}. Ctrl-C ends it; nothing is lost.", teller.name);
        }
        for missing in missing {
            teller.line(format!("{missing}; the other way is used."));
        }
        Ok(teller)
    }

    /// Tells of everything until Ctrl-C, SIGTERM or, on the display, `q`.
    pub async fn tell_until_interrupted(
        mut self,
        mut hub_events: broadcast::Receiver<HubEvent>,
        mut told: mpsc::Receiver<LocalEvent>,
    ) -> Result<(), Failure> {
        let interrupted = serve::interrupted()?;
        tokio::pin!(interrupted);
        let mut frame = interval(FRAME);
        frame.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut text = None;
        let mut stale = true;
        loop {
            let displayed = self.screen.is_some();
            tokio::select! {
                () = &mut interrupted => return Ok(()),
                event = hub_events.recv() => match event {
                    Ok(event) => self.hub_event(event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
                Some(event) = told.recv() => self.local_event(&event),
                key = key(&mut self.screen) => match key {
                    Some(Key::Scroll(lines)) => self.view.scroll(lines),
                    Some(Key::Draw) => {}
                    Some(Key::Quit) | None => return Ok(()),
                },
                () = changed(&mut text), if displayed && !stale => stale = true,
                _ = frame.tick(), if displayed => {
                    if stale {
                        self.read(&mut text).await;
                        stale = text.is_none();
                    }
                    self.draw();
                }
            }
        }
    }

    /// Reads the document for the display, as it is recorded.
    async fn read(&mut self, session: &mut Option<TextSession>) {
        if session.is_none() {
            let party = Party { name: self.name.clone(), channel: "display" };
            let path = self.file.is_some().then_some(SHARED);
            *session = self.hub.open_text(path, party).await.ok();
        }
        if let Some(open) = session {
            match open.current().await {
                Ok(now) => self.view.text = now.text,
                Err(_) => *session = None,
            }
        }
    }

    fn draw(&mut self) {
        let here =
            self.seat.registry().neighbours().into_iter().map(|neighbour| neighbour.who.name.to_string());
        let way =
            |name: String| User { way: self.ways.get(&name).copied().unwrap_or("…").to_owned(), name };
        let own = User { name: self.name.clone(), way: String::new() };
        self.view.users = std::iter::once(own).chain(here.map(way)).collect();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        self.view.counts = Counts {
            changes: count(&self.counters.changes),
            broadcast: count(&self.counters.broadcast),
            receipts: count(&self.counters.receipts),
            conflicts: self.view.counts.conflicts,
        };
        if let Some(screen) = &mut self.screen {
            screen.draw(&self.view);
        }
    }

    /// A line for a person.
    fn line(&mut self, text: String) {
        match &self.screen {
            Some(_) => self.view.note(text),
            None => println!("{}", report::safe(&text)),
        }
    }

    fn hub_event(&mut self, event: HubEvent) {
        let event = self.renamed(event);
        self.view.counts.conflicts += u64::from(matches!(event, HubEvent::Conflict { .. }));
        if self.screen.is_some() {
            if let Some(line) = report::line(&event) {
                self.view.note(line);
            }
        } else {
            report::tell(&event, self.json);
        }
    }

    /// The event, about the file's own name.
    fn renamed(&self, event: HubEvent) -> HubEvent {
        let Some(name) = self.file.as_ref().and_then(|file| file.file_name()) else { return event };
        let name = name.to_string_lossy().into_owned();
        let own = |path: String| if path == SHARED { name.clone() } else { path };
        match event {
            HubEvent::Saved { path, why, changes } => HubEvent::Saved { path: own(path), why, changes },
            HubEvent::Written { path } => HubEvent::Written { path: own(path) },
            HubEvent::Conflict { path, winner, loser, lost } => {
                HubEvent::Conflict { path: own(path), winner, loser, lost }
            }
            HubEvent::Held { path } => HubEvent::Held { path: own(path) },
            HubEvent::Trouble { path, what } => HubEvent::Trouble { path: own(path), what },
            other => other,
        }
    }

    fn local_event(&mut self, event: &LocalEvent) {
        match event {
            LocalEvent::Met { user, way } => drop(self.ways.insert(user.clone(), way)),
            LocalEvent::Parted { user, .. } => drop(self.ways.remove(user)),
            _ => {}
        }
        if self.json {
            report::json_line(&self.as_json(event));
            return;
        }
        let users = self.seat.registry().neighbours().len() + 1;
        self.line(match event {
            LocalEvent::Met { user, way } => format!("{user} is here ({way}); {users} users."),
            LocalEvent::Synced { .. } => return,
            LocalEvent::Parted { user, why } => format!("{user} is gone ({why})."),
            LocalEvent::Unreachable { user, why } => format!("{user} cannot be reached: {why}"),
            LocalEvent::Settled => "In step with everybody.".to_owned(),
            LocalEvent::Wiped => "Somebody wiped the list of who is here; you are in it again.".to_owned(),
        });
    }

    fn as_json(&self, event: &LocalEvent) -> Value {
        match event {
            LocalEvent::Met { user, way } => json!({"event": "met", "user": user, "way": way}),
            LocalEvent::Synced { user } => json!({"event": "in_step", "user": user}),
            LocalEvent::Parted { user, why } => json!({"event": "parted", "user": user, "why": why}),
            LocalEvent::Unreachable { user, why } => {
                json!({"event": "unreachable", "user": user, "why": why})
            }
            LocalEvent::Wiped => json!({"event": "wiped"}),
            LocalEvent::Settled => {
                let neighbours = self.seat.registry().neighbours();
                let users: Vec<&str> =
                    neighbours.iter().map(|neighbour| neighbour.who.name.as_str()).collect();
                json!({"synced": true, "users": users})
            }
        }
    }
}

/// The next key; never, without a display.
async fn key(screen: &mut Option<Screen>) -> Option<Key> {
    match screen {
        Some(screen) => screen.keys.recv().await,
        None => std::future::pending().await,
    }
}

async fn changed(session: &mut Option<TextSession>) {
    match session {
        Some(session) => session.changed().await,
        None => std::future::pending().await,
    }
}
