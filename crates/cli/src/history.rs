//! A file's history, read from the journal: whether a hub runs or not.

use std::path::{Path, PathBuf};
use syncline_engine::{Document, EventBatch};

use crate::control::shared_folder_of;
use crate::failure::Failure;
use crate::local;
use crate::state_dir::{JOURNAL, state_path, user_state_path};
use crate::status::read_catalogue_at;

/// A file, and whose hub knows it by what path.
pub struct Place {
    /// The state directory of the hub.
    pub state: PathBuf,
    /// The path, as the hub knows it.
    pub path: String,
}

impl Place {
    /// Finds it: in a shared folder, or as a local user's copy of a document.
    pub fn of(file: &Path) -> Result<Place, Failure> {
        let (root, path) = shared_folder_of(file)?;
        let user = path.strip_suffix(local::COPY).filter(|user| !user.contains('/'));
        if let Some(state) = user.map(|user| user_state_path(&root, user))
            && state.join(JOURNAL).is_file()
        {
            return Ok(Place { state, path: local::SHARED.to_owned() });
        }
        Ok(Place { state: state_path(&root), path })
    }

    /// The file's document, with all its events.
    pub fn read(&self) -> Result<Document, Failure> {
        let (catalogue, reader) = read_catalogue_at(&self.state)?;
        let path = &self.path;
        let Some(doc) = catalogue.at(path).first() else {
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
        Ok(document)
    }
}
