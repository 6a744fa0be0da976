//! `syncline log`: who changed a file, how much, and when.

use serde_json::json;
use std::path::Path;
use syncline_engine::{Document, EventBatch};
use syncline_hub::diffsync::change_log;

use crate::control::shared_folder_of;
use crate::failure::Failure;
use crate::report::{clock_of, json_line, safe};
use crate::status::read_catalogue;

/// Prints the newest changes of a file, oldest first, from the journal: whether a hub runs or not.
pub fn run(file: &Path, most: usize, json: bool) -> Result<(), Failure> {
    let (root, path) = shared_folder_of(file)?;
    let (catalogue, reader) = read_catalogue(&root)?;
    let Some(doc) = catalogue.at(&path).first() else {
        return Err(Failure::usage(format!("{path} is not shared"), "`syncline status` shows what is"));
    };
    let damaged = |error: &dyn std::fmt::Display| {
        Failure::other(format!("{path} in the journal: {error}"), "the other documents are not affected")
    };
    let stored = reader.document(*doc)?;
    let mut document = match &stored.snapshot {
        Some(bytes) => Document::decode(bytes).map_err(|error| damaged(&error))?,
        None => Document::new(),
    };
    for batch in &stored.batches {
        let batch = EventBatch::decode(batch).map_err(|error| damaged(&error))?;
        document.merge(&batch).map_err(|error| damaged(&error))?;
    }
    for entry in change_log(&document, most) {
        if json {
            json_line(&json!({
                "time_ms": entry.time_ms, "author": entry.author, "channel": entry.channel,
                "inserted": entry.inserted, "deleted": entry.deleted, "version": entry.version,
            }));
        } else {
            let (time, author, channel) =
                (clock_of(entry.time_ms), safe(&entry.author), safe(&entry.channel));
            println!(
                "{time}  version {}  +{} -{}  {author} ({channel})",
                entry.version, entry.inserted, entry.deleted
            );
        }
    }
    Ok(())
}
