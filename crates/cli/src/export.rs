//! `syncline export`: every text of a folder in a database that can be asked with SQL.

use std::path::Path;

use serde_json::json;
use syncline_engine::catalogue::Kind;
use syncline_store::{Export, Exported};

use crate::args::Whose;
use crate::failure::Failure;
use crate::history::Place;
use crate::report::{json_line, safe};
use crate::status::read_catalogue_at;

/// Writes all texts as the journal has them, whether a hub runs or not.
pub fn run(database: &Path, whose: &Whose, json: bool) -> Result<(), Failure> {
    let place = Place::of(whose)?;
    let database = std::path::absolute(database)
        .map_err(|error| Failure::other(format!("{}: {error}", database.display()), "name a file"))?;
    if database.starts_with(&place.root) {
        let what = format!("{} would be shared with everybody", database.display());
        return Err(Failure::usage(what, "name a file outside of the folder"));
    }
    let (catalogue, reader) = read_catalogue_at(&place.state)?;
    let mut export = Export::begin(&database)?;
    let mut count = 0;
    for (path, docs) in catalogue.paths() {
        for doc in docs {
            if catalogue.get(doc).and_then(|entry| entry.kind()) != Some(&Kind::Text) {
                continue;
            }
            let document = reader.document(*doc)?.to_document().map_err(|error| {
                Failure::other(format!("{path} in the journal: {error}"), "nothing was written")
            })?;
            export.add(&Exported {
                path: path.to_owned(),
                text: document.text().to_string(),
                version: document.events() as u64,
                changed_ms: reader.changed_ms(*doc)?,
            })?;
            count += 1;
        }
    }
    export.finish()?;
    if json {
        json_line(&json!({"exported": count, "database": database}));
    } else {
        println!("{count} texts in {}", safe(&database.display().to_string()));
    }
    Ok(())
}
