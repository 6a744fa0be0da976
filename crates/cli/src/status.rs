//! `syncline status` and `syncline why`.

use serde_json::{Value, json};
use std::path::Path;
use syncline_engine::catalogue::Catalogue;

use crate::args::Whose;
use crate::control::ask_at;
use crate::failure::Failure;
use crate::history::{Place, for_each, local_users};
use crate::local;
use crate::report::{json_line, moment_of, safe};
use crate::state_dir::{JOURNAL, opener_at, root_of, state_path, user_state_path};

/// `syncline status [PATH]`: of the folder, and of each user who has a copy of a document in it.
pub async fn run(path: &Path, user: Option<&str>, json: bool) -> Result<(), Failure> {
    let (root, _) = root_of(path)?;
    let users = local_users(&root);
    if let Some(user) = user {
        // A name that is nobody's is refused with those that are.
        let whose = Whose { file: root.clone(), user: Some(user.to_owned()) };
        return tell(&Place::of(&whose)?, json).await;
    }
    if users.is_empty() || state_path(&root).join(JOURNAL).is_file() {
        let place = Place { root: root.clone(), state: state_path(&root), path: None, user: None };
        tell(&place, json).await?;
    } else if !json {
        println!("{}", root.display());
    }
    for user in users {
        let (state, user) = (user_state_path(&root, &user), Some(user));
        tell(&Place { root: root.clone(), state, path: None, user }, json).await?;
    }
    Ok(())
}

async fn tell(place: &Place, json: bool) -> Result<(), Failure> {
    let mut status = match ask_at(&place.state, json!({"command": "status"})).await {
        Some(status) => status,
        None => stopped(&place.state)?,
    };
    // A copy is called what its user calls it.
    let copy = place.user.as_ref().map(|user| format!("{user}{}", local::COPY));
    let mut files = files(&place.state)?;
    if let Some(copy) = &copy {
        files
            .iter_mut()
            .filter(|file| file["path"] == local::SHARED)
            .for_each(|file| file["path"] = json!(copy));
        status["file"] = json!(place.root.join(copy));
        status["user"] = json!(place.user);
    }
    if json {
        status["files"] = json!(files);
        json_line(&status);
        return Ok(());
    }
    match &copy {
        Some(copy) => println!("{copy}"),
        None => println!("{}", place.root.display()),
    }
    describe(&status);
    for file in files.iter().rev().take(SHOWN) {
        let (path, changed) = (file["path"].as_str().unwrap_or_default(), file["changed_ms"].as_u64());
        let when =
            changed.map_or_else(|| "never changed".to_owned(), |ms| format!("changed {}", moment_of(ms)));
        println!("  {}  {when}", safe(path));
    }
    if files.len() > SHOWN {
        println!("  and {} others; --json lists all", files.len() - SHOWN);
    }
    Ok(())
}

fn describe(status: &Value) {
    let number = |name: &str| status.get(name).and_then(Value::as_u64).unwrap_or_default();
    if status["running"] != json!(true) {
        println!("  not running; {} documents in its journal", number("documents"));
        return;
    }
    println!("  running, process {}", number("pid"));
    for (name, label) in [
        ("role", "role"),
        ("group", "group"),
        ("listen", "listens at"),
        ("diffsync", "diff-sync at"),
        ("peer", "joined to"),
        ("link", "link:"),
    ] {
        if let Some(value) = status.get(name).and_then(Value::as_str) {
            println!("  {label} {}", safe(value));
        }
    }
    println!("  {} documents, {} not in step yet", number("documents"), number("unsettled"));
    if status["file_events"] == json!(false) {
        println!(
            "  its file system ({}) tells of no changes: looked at every few seconds",
            safe(status["file_system"].as_str().unwrap_or_default())
        );
    }
    let failing = status.get("failing").and_then(Value::as_object);
    for (path, why) in failing.into_iter().flatten().take(SHOWN) {
        println!("  not in step: {}: {}", safe(path), safe(why.as_str().unwrap_or_default()));
    }
    if let Some(why) = status["not_recording"].as_str() {
        println!("  nothing can be recorded now: {}", safe(why));
    }
    if status["held_deletions"] == json!(true) {
        println!("  many deletions are held back: `syncline deletions pass-on` or `take-back`");
    }
}

/// How many files are listed for a person: those that changed last.
const SHOWN: usize = 10;

/// Every file with when it last changed, that one last.
fn files(state: &Path) -> Result<Vec<Value>, Failure> {
    let (catalogue, reader) = read_catalogue_at(state)?;
    let mut files = Vec::new();
    for (path, docs) in catalogue.paths() {
        for doc in docs {
            files.push((reader.changed_ms(*doc)?, path.to_owned()));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(changed, path)| json!({"path": path, "changed_ms": changed})).collect())
}

/// The catalogue as the journal in a state directory has it, and the journal's reader.
pub fn read_catalogue_at(state: &Path) -> Result<(Catalogue, Box<dyn syncline_store::LogReader>), Failure> {
    if !state.join(JOURNAL).is_file() {
        let folder = state.parent().unwrap_or(state);
        return Err(Failure::usage(
            format!("{} is not shared", folder.display()),
            "share it with `syncline serve`",
        ));
    }
    let reader = opener_at(state)()?.reader()?;
    let mut catalogue = Catalogue::new();
    for write in reader.catalogue()? {
        catalogue.merge(&write);
    }
    Ok((catalogue, reader))
}

fn stopped(state: &Path) -> Result<Value, Failure> {
    let (catalogue, _) = read_catalogue_at(state)?;
    Ok(json!({"running": false, "documents": catalogue.paths().count()}))
}

/// `syncline why FILE`.
pub fn why(whose: &Whose, json: bool) -> Result<(), Failure> {
    for_each(&Place::all_of(whose)?, json, |place| {
        let (doc, reader) = place.document()?;
        for (time_ms, what) in reader.decisions(doc)? {
            if json {
                json_line(&json!({"time_ms": time_ms, "what": what, "user": place.user}));
            } else {
                println!("{}  {}", moment_of(time_ms), safe(&what));
            }
        }
        Ok(())
    })
}
