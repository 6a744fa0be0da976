//! `syncline join`: a hub that dials.

use serde_json::json;
use std::io::BufRead;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use syncline_hub::{Hub, Policy};
use syncline_net::{JoinEvent, NetError, keep_joined};
use syncline_protocol::JoinLink;
use syncline_protocol::replica::LinkEvent;
use tokio::sync::{mpsc, watch};

use crate::failure::Failure;
use crate::state_dir::{StateDir, root_of};
use crate::{control, progress, report, serve};

/// How often it is looked whether all files are in step, at the first synchronisation.
const LOOK: Duration = Duration::from_millis(20);
/// The longest link that is read, in bytes.
const MAX_LINK: u64 = 16 << 10;
/// If nothing moves for so long, files that are still missing cannot be written here.
const STUCK: Duration = Duration::from_secs(10);

/// Runs until interrupted.
pub async fn run(link: &str, dir: &Path, policy: Policy, json: bool) -> Result<(), Failure> {
    let link = if link == "-" { read_link(std::io::stdin().lock())? } else { link.to_owned() };
    let link = JoinLink::parse(&link).map_err(|error| Failure::usage(error.to_string(), ""))?;
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
    let facts = json!({"role": "joined", "peer": place});
    control::listen(state.path(), hub.clone(), move || facts.clone(), None);
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
    let talking = talk(hub.clone(), told, json, root.display().to_string());
    let told = serve::tell_until_interrupted(events, json);
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
async fn talk(hub: Hub, mut told: mpsc::Receiver<JoinEvent>, json: bool, dir: String) {
    let bar = progress::bar("Synchronising", json);
    let mut complete = false;
    while let Some(event) = told.recv().await {
        match event {
            JoinEvent::Link(LinkEvent::Progress { done, total }) => {
                bar.set_length(total);
                bar.set_position(done);
            }
            JoinEvent::Link(LinkEvent::Synced { .. }) => {
                let unwritten = if complete { 0 } else { wait_for_files(&hub, &bar).await };
                bar.finish_and_clear();
                if json {
                    let line = json!({"synced": true, "documents": hub.document_paths().len(), "dir": dir, "unwritten": unwritten, "again": complete});
                    report::json_line(&line);
                } else if !complete {
                    println!("Complete: {} files.", hub.document_paths().len());
                }
                complete = true;
            }
            JoinEvent::Link(LinkEvent::Connected { name, .. }) => {
                if json {
                    report::json_line(&json!({"event": "connected", "folder": name}));
                } else {
                    bar.suspend(|| println!("Connected to {}.", report::safe(&name)));
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
                if json {
                    let retry = retry_in.as_millis() as u64;
                    report::json_line(&json!({"event": "disconnected", "why": why, "retry_ms": retry}));
                } else {
                    bar.suspend(|| println!("No connection ({why}); editing goes on."));
                }
            }
        }
    }
    // The dialing ended; whoever started it knows why.
    std::future::pending::<()>().await;
}

/// Waits until every file stands where it should; gives how many cannot be written here.
async fn wait_for_files(hub: &Hub, bar: &indicatif::ProgressBar) -> usize {
    let mut last = (usize::MAX, usize::MAX);
    let mut moved = tokio::time::Instant::now();
    loop {
        let now = (hub.unsettled(), hub.missing_files());
        if now == (0, 0) {
            return 0;
        }
        if now != last {
            last = now;
            moved = tokio::time::Instant::now();
            bar.set_position(bar.length().unwrap_or_default().saturating_sub(now.1 as u64));
        } else if moved.elapsed() > STUCK {
            return now.1;
        }
        tokio::time::sleep(LOOK).await;
    }
}
