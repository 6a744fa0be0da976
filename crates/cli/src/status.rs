//! `syncline status` and `syncline why`.

use serde_json::{Value, json};
use std::path::Path;
use syncline_engine::catalogue::Catalogue;

use crate::control::{ask, shared_folder_of};
use crate::failure::Failure;
use crate::report::{clock_of, json_line, safe};
use crate::state_dir::{JOURNAL, opener_at, root_of, state_path};

/// `syncline status [PATH]`.
pub async fn run(path: &Path, json: bool) -> Result<(), Failure> {
    let (root, _) = root_of(path)?;
    let status = match ask(&root, json!({"command": "status"})).await {
        Some(status) => status,
        None => stopped(&root)?,
    };
    if json {
        let mut status = status;
        status["files"] = json!(files(&root)?);
        json_line(&status);
        return Ok(());
    }
    println!("{}", root.display());
    let number = |name: &str| status.get(name).and_then(Value::as_u64).unwrap_or_default();
    if status["running"] == json!(true) {
        println!("  running, process {}", number("pid"));
        for (name, label) in [
            ("role", "role"),
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
    } else {
        println!("  not running; {} documents in its journal", number("documents"));
    }
    let files = files(&root)?;
    for file in files.iter().rev().take(SHOWN) {
        let (path, changed) = (file["path"].as_str().unwrap_or_default(), file["changed_ms"].as_u64());
        let when =
            changed.map_or_else(|| "never changed".to_owned(), |ms| format!("changed {}", clock_of(ms)));
        println!("  {}  {when}", safe(path));
    }
    if files.len() > SHOWN {
        println!("  and {} others; --json lists all", files.len() - SHOWN);
    }
    Ok(())
}

/// How many files are listed for a person: those that changed last.
const SHOWN: usize = 10;

/// Every file with when it last changed, that one last.
fn files(root: &Path) -> Result<Vec<Value>, Failure> {
    let (catalogue, reader) = read_catalogue(root)?;
    let mut files = Vec::new();
    for (path, docs) in catalogue.paths() {
        for doc in docs {
            files.push((reader.changed_ms(*doc)?, path.to_owned()));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(changed, path)| json!({"path": path, "changed_ms": changed})).collect())
}

/// The catalogue as the journal has it, and the journal's reader.
pub fn read_catalogue(root: &Path) -> Result<(Catalogue, Box<dyn syncline_store::LogReader>), Failure> {
    read_catalogue_at(&state_path(root))
}

/// The same of a state directory.
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

fn stopped(root: &Path) -> Result<Value, Failure> {
    let (catalogue, _) = read_catalogue(root)?;
    Ok(json!({"running": false, "documents": catalogue.paths().count()}))
}

/// `syncline why FILE`.
pub async fn why(file: &Path, json: bool) -> Result<(), Failure> {
    let (root, path) = shared_folder_of(file)?;
    let (catalogue, reader) = read_catalogue(&root)?;
    let Some(doc) = catalogue.at(&path).first() else {
        return Err(Failure::usage(format!("{path} is not shared"), "`syncline status` shows what is"));
    };
    for (time_ms, what) in reader.decisions(*doc)? {
        if json {
            json_line(&json!({"time_ms": time_ms, "what": what}));
        } else {
            let seconds = time_ms / 1000;
            println!(
                "{:02}:{:02}:{:02}Z  {}",
                seconds / 3600 % 24,
                seconds / 60 % 60,
                seconds % 60,
                safe(&what)
            );
        }
    }
    Ok(())
}
