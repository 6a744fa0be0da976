//! `syncline join`: a hub that dials.

use serde_json::{Value, json};
use std::io::BufRead;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use syncline_hub::{Hub, Policy};
use syncline_net::{JoinEvent, NetError, keep_joined};
use syncline_protocol::JoinLink;
use syncline_protocol::replica::LinkEvent;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::state_dir::{StateDir, root_of};
use crate::{control, progress, report, serve};

/// How often it is looked whether all files are in step, at the first synchronisation.
const LOOK: Duration = Duration::from_millis(20);
/// The longest link that is read, in bytes.
const MAX_LINK: u64 = 16 << 10;
/// If nothing moves for so long, it is said that files are missing; they are waited for all the same.
const STUCK: Duration = Duration::from_secs(10);

/// Runs until interrupted.
pub async fn run(link: &str, dir: &Path, policy: Policy, json: bool) -> Result<(), Failure> {
    let link = if link == "-" { read_link(std::io::stdin().lock())? } else { link.to_owned() };
    let link = JoinLink::parse(&link).map_err(|error| {
        Failure::usage(error.to_string(), "give the link that `syncline serve` printed, in quotes")
    })?;
    if let Some(document) = link.document() {
        return Err(Failure::usage(
            format!(
                "this link is for one document, {}: a folder cannot be joined with it",
                report::safe(document)
            ),
            "ask for a link to the folder (`syncline token create` without --document)",
        ));
    }
    if !dir.exists() {
        std::fs::create_dir_all(dir)
            .map_err(|error| Failure::usage(format!("{}: {error}", dir.display()), ""))?;
    }
    let (root, only) = root_of(dir)?;
    if only.is_some() {
        return Err(Failure::usage(format!("{} is a file", dir.display()), "name a folder to join into"));
    }
    let known = crate::state_dir::state_path(&root).join("journal.db").exists();
    let files = if known { 0 } else { count_files(&root) };
    if files > 0 {
        if json {
            report::json_line(&json!({"event": "merging", "files": files}));
        } else {
            println!(
                "{} has {files} files or folders: they are merged by text with those of the other side, line by line.",
                root.display()
            );
            println!("Nothing in it is destroyed: where both sides differ, the lines of both are kept.");
        }
    }
    let state = StateDir::open(&root)?;
    let hub = state.open_hub(None, true, policy).await?;
    let events = hub.events();
    let place = link.place();
    let (facts, known) = watch::channel(json!({"role": "joined", "peer": place, "link": "connecting"}));
    control::listen(state.path(), hub.clone(), move || known.borrow().clone(), None);
    let (stop, stopped) = watch::channel(false);
    let (link_events, told) = mpsc::channel(256);
    let dialing = tokio::spawn(keep_joined(hub.clone(), link, link_events, stopped));
    let refused: Arc<Mutex<Option<NetError>>> = Arc::default();
    let refusal = refused.clone();
    let ended = async move {
        if let Ok(Err(error)) = dialing.await {
            *refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        } else {
            std::future::pending::<()>().await;
        }
    };
    if !json {
        println!(
            "Joining {place} into {}. Ctrl-C ends it; editing goes on without a connection.",
            root.display()
        );
    }
    let talking = Talk::new(hub.clone(), facts, json, root.display().to_string()).until_the_end(told);
    let told = serve::tell_until_interrupted(events, json, serve::interrupted()?);
    tokio::select! {
        () = ended => {}
        () = talking => {}
        done = told => done?,
    }
    stop.send_replace(true);
    hub.close();
    let error = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
    error.map_or(Ok(()), |error| {
        Err(Failure::usage(
            format!("the other side refused: {error}"),
            "is the link the one that `syncline serve` or `syncline token create` printed?",
        ))
    })
}

/// The first line of what comes: a link that is not on the command line is not seen by other users of the machine.
fn read_link(from: impl BufRead) -> Result<String, Failure> {
    let mut line = String::new();
    let read = from.take(MAX_LINK).read_line(&mut line);
    read.map_err(|error| Failure::usage(format!("no link: {error}"), "give it on the first line"))?;
    Ok(line)
}

fn count_files(root: &Path) -> usize {
    let names = std::fs::read_dir(root).map(|entries| entries.flatten().count());
    names.unwrap_or_default()
}

/// Tells how the connection fares; with a bar for the first synchronisation.
struct Talk {
    hub: Hub,
    /// What `syncline status` is told.
    facts: watch::Sender<Value>,
    json: bool,
    dir: String,
    bar: indicatif::ProgressBar,
    /// All of the other side's history was here once, and every file stood where it should.
    complete: bool,
    /// What was still missing, and since when it is that: from the synchronisation until every file is written.
    waiting: Option<Waiting>,
}

struct Waiting {
    unsettled: usize,
    missing: usize,
    since: Instant,
    /// It was said that files are missing.
    said: bool,
}

impl Talk {
    fn new(hub: Hub, facts: watch::Sender<Value>, json: bool, dir: String) -> Talk {
        let bar = progress::bar("Synchronising", json);
        Talk { hub, facts, json, dir, bar, complete: false, waiting: None }
    }

    async fn until_the_end(mut self, mut told: mpsc::Receiver<JoinEvent>) {
        loop {
            tokio::select! {
                event = told.recv() => match event {
                    Some(event) => self.event(event),
                    // The dialing ended; whoever started it knows why.
                    None => std::future::pending().await,
                },
                () = tokio::time::sleep(LOOK), if self.waiting.is_some() => self.look(),
            }
        }
    }

    fn link(&self, state: &str) {
        self.facts.send_modify(|facts| facts["link"] = json!(state));
    }

    fn event(&mut self, event: JoinEvent) {
        let json = self.json;
        match event {
            JoinEvent::Link(LinkEvent::Progress { done, total }) => {
                self.bar.set_length(total);
                self.bar.set_position(done);
            }
            JoinEvent::Link(LinkEvent::Synced { .. }) => {
                self.link("up, in step");
                if self.complete {
                    self.tell_complete(true);
                } else if self.waiting.is_none() {
                    let (unsettled, missing) = (usize::MAX, usize::MAX);
                    self.waiting = Some(Waiting { unsettled, missing, since: Instant::now(), said: false });
                    self.look();
                }
            }
            JoinEvent::Link(LinkEvent::Connected { name, .. }) => {
                self.link("up");
                if json {
                    report::json_line(&json!({"event": "connected", "folder": name}));
                } else {
                    self.bar.suspend(|| println!("Connected to {}.", report::safe(&name)));
                }
            }
            JoinEvent::Link(LinkEvent::DocumentRefused { doc, error }) => {
                if json {
                    report::json_line(
                        &json!({"event": "refused", "document": doc.to_string(), "why": error.to_string()}),
                    );
                } else {
                    eprintln!("syncline: document {doc} is not synchronised: {error}");
                }
            }
            JoinEvent::Link(LinkEvent::ContentMissing { .. }) => {}
            JoinEvent::Disconnected { why, retry_in } => {
                self.link(&format!("down ({why})"));
                if json {
                    let retry = retry_in.as_millis() as u64;
                    report::json_line(&json!({"event": "disconnected", "why": why, "retry_ms": retry}));
                } else {
                    self.bar.suspend(|| println!("No connection ({why}); editing goes on."));
                }
            }
        }
    }

    /// Looks whether every file stands where it should.
    fn look(&mut self) {
        let Some(waiting) = &mut self.waiting else { return };
        let (unsettled, missing) = (self.hub.unsettled(), self.hub.unwritten_files());
        if (unsettled, missing) == (0, 0) {
            self.waiting = None;
            self.tell_complete(false);
            return;
        }
        if (unsettled, missing) != (waiting.unsettled, waiting.missing) {
            (waiting.unsettled, waiting.missing, waiting.since) = (unsettled, missing, Instant::now());
            self.bar.set_position(self.bar.length().unwrap_or_default().saturating_sub(missing as u64));
        } else if waiting.since.elapsed() > STUCK && !waiting.said {
            waiting.said = true;
            self.bar.finish_and_clear();
            if self.json {
                report::json_line(&json!({
                    "event": "incomplete", "dir": self.dir, "unwritten": missing, "unsettled": unsettled,
                }));
            } else {
                println!(
                    "Not complete: {} files cannot be written here; `syncline status` tells more.",
                    missing.max(unsettled)
                );
            }
        }
    }

    fn tell_complete(&mut self, again: bool) {
        self.complete = true;
        self.bar.finish_and_clear();
        let documents = self.hub.document_paths().len();
        if self.json {
            report::json_line(&json!({
                "synced": true, "documents": documents, "dir": self.dir, "unwritten": 0, "again": again,
            }));
        } else if !again {
            println!("Complete: {documents} files.");
        }
    }
}
