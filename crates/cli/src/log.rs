//! `syncline log`: who changed a file, how much, and when.

use serde_json::json;
use syncline_hub::diffsync::change_log;

use crate::args::Whose;
use crate::failure::Failure;
use crate::history::{Place, for_each};
use crate::report::{json_line, moment_of, safe};

/// Prints the newest changes of a file, oldest first, from the journal: whether a hub runs or not.
pub fn run(whose: &Whose, most: usize, json: bool) -> Result<(), Failure> {
    for_each(&Place::all_of(whose)?, json, |place| tell(place, most, json))
}

fn tell(place: &Place, most: usize, json: bool) -> Result<(), Failure> {
    for entry in change_log(&place.read()?, most) {
        if json {
            json_line(&json!({
                "time_ms": entry.time_ms, "author": entry.author, "channel": entry.channel,
                "inserted": entry.inserted, "deleted": entry.deleted, "version": entry.version,
                "user": place.user,
            }));
        } else {
            let (time, author, channel) =
                (moment_of(entry.time_ms), safe(&entry.author), safe(&entry.channel));
            println!(
                "{time}  version {}  +{} -{}  {author} ({channel})",
                entry.version, entry.inserted, entry.deleted
            );
        }
    }
    Ok(())
}
