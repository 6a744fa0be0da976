//! `syncline log`: who changed a file, how much, and when.

use serde_json::json;
use std::path::Path;
use syncline_hub::diffsync::change_log;

use crate::failure::Failure;
use crate::history::Place;
use crate::report::{clock_of, json_line, safe};

/// Prints the newest changes of a file, oldest first, from the journal: whether a hub runs or not.
pub fn run(file: &Path, most: usize, json: bool) -> Result<(), Failure> {
    let document = Place::of(file)?.read()?;
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
