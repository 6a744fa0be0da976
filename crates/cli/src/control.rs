//! Talking to the hub that runs on a folder: a Unix socket in `.syncline`, one JSON line each way.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use syncline_hub::Hub;
use syncline_protocol::access::{Ask, Channel, Holder, Verb, decide};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::args::{Answer, Whose};
use crate::failure::Failure;
use crate::history::Place;
use crate::reload::Nudge;
use crate::report;
use crate::state_dir::{root_of, state_path};

/// The longest question, in bytes.
const QUESTION: u64 = 16 << 10;
/// How long a question may take to arrive, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

fn socket_in(state: &Path) -> PathBuf {
    state.join("control.sock")
}

/// Answers questions about a hub until it closes. `facts` are what only the program knows (addresses, the link);
/// `nudge` has it read its tokens.
pub fn listen(
    state: &Path,
    hub: Hub,
    facts: impl Fn() -> Value + Send + Sync + 'static,
    nudge: Option<Nudge>,
) {
    let path = socket_in(state);
    // Left by a hub that was killed; we hold the folder's lock.
    let _ = std::fs::remove_file(&path);
    let listener = match UnixListener::bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("syncline: no control socket ({error}): `syncline status` will not reach this hub");
            return;
        }
    };
    let serve = async move {
        loop {
            tokio::select! {
                () = hub.closed() => return,
                accepted = listener.accept() => {
                    // One at a time: these are a person's questions.
                    if let Ok((stream, _)) = accepted {
                        let _ = tokio::time::timeout(PATIENCE, answer(stream, &hub, facts(), nudge.as_ref())).await;
                    }
                }
            }
        }
    };
    tokio::spawn(serve);
}

/// What a command does, in the words of the rules about access.
fn verb_of(command: &str) -> Verb {
    match command {
        "status" => Verb::List,
        "restore" => Verb::Arrange,
        "reinstate" => Verb::Edit,
        _ => Verb::Administer,
    }
}

async fn answer(stream: UnixStream, hub: &Hub, facts: Value, nudge: Option<&Nudge>) -> std::io::Result<()> {
    // The kernel's word. The folder is the account's own; root may do everything anyway.
    let (asks, own) = (stream.peer_cred()?.uid(), rustix::process::geteuid().as_raw());
    let holder = if asks == own || asks == 0 { Holder::Owner } else { Holder::Nobody };
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(QUESTION)).read_line(&mut line).await?;
    let question: Value = serde_json::from_str(&line).unwrap_or_default();
    let text = |name: &str| question.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let command = text("command");
    let path = text("path");
    let document = (!path.is_empty()).then_some(path.as_str());
    let asked = Ask { channel: Channel::Control, verb: verb_of(&command), document };
    if let Err(refusal) = decide(holder, asked, report::now_ms()) {
        let answer = json!({"error": refusal.to_string()});
        return write.write_all(format!("{answer}\n").as_bytes()).await;
    }
    let answer = match command.as_str() {
        "status" => {
            let mut status = facts;
            status["running"] = json!(true);
            status["pid"] = json!(std::process::id());
            status["documents"] = json!(hub.document_paths().len());
            status["in_memory"] = json!(hub.live_documents());
            status["unsettled"] = json!(hub.unsettled());
            status["file_system"] = json!(hub.probe().file_system);
            status["file_events"] = json!(hub.probe().events);
            status["missing_files"] = json!(hub.unwritten_files());
            status["failing"] = json!(hub.failing());
            status["held_deletions"] = json!(hub.is_braked());
            status["not_recording"] = json!(hub.recording_trouble());
            status
        }
        "restore" => match hub.restore(&text("path")).await {
            Ok(()) => json!({"ok": true}),
            Err(error) => json!({"error": error.to_string()}),
        },
        "reinstate" => match hub.reinstate(&text("path"), &text("conflict")).await {
            Ok(characters) => json!({"ok": true, "characters": characters}),
            Err(error) => json!({"error": error.to_string()}),
        },
        "deletions" => match hub.decide_brake(text("answer") == "pass-on").await {
            Ok(files) => json!({"ok": true, "files": files}),
            Err(error) => json!({"error": error.to_string()}),
        },
        "tokens" => {
            if let Some(nudge) = nudge {
                nudge.look().await;
            }
            json!({"ok": true})
        }
        other => json!({"error": format!("unknown command {other:?}")}),
    };
    write.write_all(format!("{answer}\n").as_bytes()).await
}

/// Asks the hub that runs on a folder; `None` if none runs.
pub async fn ask(root: &Path, question: Value) -> Option<Value> {
    ask_at(&state_path(root), question).await
}

/// Asks the hub that has a state directory; `None` if none runs.
pub async fn ask_at(state: &Path, question: Value) -> Option<Value> {
    let stream = UnixStream::connect(socket_in(state)).await.ok()?;
    let (read, mut write) = stream.into_split();
    write.write_all(format!("{question}\n").as_bytes()).await.ok()?;
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).await.ok()?;
    serde_json::from_str(&line).ok()
}

/// The shared folder that a file (which may be gone) is in, and its path there.
pub fn shared_folder_of(file: &Path) -> Result<(PathBuf, String), Failure> {
    let absolute = std::path::absolute(file).map_err(|error| Failure::other(error.to_string(), ""))?;
    for folder in absolute.ancestors().skip(1) {
        if state_path(folder).is_dir() {
            let inside = absolute.strip_prefix(folder).unwrap_or(&absolute);
            return Ok((folder.to_owned(), inside.to_string_lossy().into_owned()));
        }
    }
    Err(Failure::usage(
        format!("{} is in no shared folder", file.display()),
        "name a file in a folder that is served or joined",
    ))
}

/// Tells what a hub answered.
pub fn show(answer: Option<Value>, done: &str, json: bool) -> Result<(), Failure> {
    let answer = answer.ok_or_else(|| {
        Failure::other("no hub runs on this folder", "start it with `syncline serve`, `join` or `local`")
    })?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        return Err(Failure::other(error, ""));
    }
    if json {
        report::json_line(&answer);
    } else {
        println!("{done}");
    }
    Ok(())
}

/// `syncline restore FILE`.
pub async fn restore(whose: &Whose, json: bool) -> Result<(), Failure> {
    let place = Place::of(whose)?;
    if let Some(copy) = place.copy().filter(|copy| copy.exists()) {
        let hint = "`syncline rescue` lists what was taken out of it";
        return Err(Failure::usage(format!("{} is there", copy.display()), hint));
    }
    let answer = ask_at(&place.state, json!({"command": "restore", "path": place.file()?})).await;
    show(answer, &format!("{} is back", whose.file.display()), json)
}

/// `syncline deletions ANSWER`.
pub async fn deletions(answer: Answer, path: &Path, json: bool) -> Result<(), Failure> {
    let (root, _) = root_of(path)?;
    let (word, done) = match answer {
        Answer::PassOn => ("pass-on", "the deletions are passed on"),
        Answer::TakeBack => ("take-back", "the files are written again"),
    };
    show(ask(&root, json!({"command": "deletions", "answer": word})).await, done, json)
}
