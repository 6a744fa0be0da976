//! Editing traces: what people really typed, from the public data sets.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Fallible;

/// One change of a text: so many characters deleted, and some inserted, at a position.
#[derive(Clone, Debug)]
pub struct Patch {
    /// Where, in Unicode scalar values.
    pub at: usize,
    /// How many are deleted.
    pub deleted: usize,
    /// What is inserted.
    pub insert: String,
    /// Where, in bytes of UTF-8: some engines count so.
    pub at_bytes: usize,
    /// How many bytes are deleted.
    pub deleted_bytes: usize,
}

/// Changes that somebody made one after the other.
pub struct Transaction {
    /// The transactions that they were made after (indexes); of a concurrent trace only.
    pub parents: Vec<usize>,
    /// Who.
    pub agent: usize,
    /// What. In a concurrent trace without the positions in bytes.
    pub patches: Vec<Patch>,
}

/// A history and the text that it must give.
pub struct Trace {
    pub name: String,
    pub start: String,
    pub end: String,
    pub concurrent: bool,
    pub transactions: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Stored {
    #[serde(rename = "startContent", default)]
    start: String,
    #[serde(rename = "endContent")]
    end: String,
    txns: Vec<StoredTransaction>,
}

#[derive(Deserialize)]
struct StoredTransaction {
    #[serde(default)]
    parents: Vec<usize>,
    #[serde(default)]
    agent: usize,
    patches: Vec<(usize, usize, String)>,
}

impl Trace {
    /// The changes in their order.
    pub fn patches(&self) -> impl Iterator<Item = &Patch> {
        self.transactions.iter().flat_map(|transaction| &transaction.patches)
    }

    fn read(path: &Path) -> Fallible<Trace> {
        let file = std::fs::File::open(path)?;
        let mut json = String::new();
        flate2::read::GzDecoder::new(file).read_to_string(&mut json)?;
        let stored: Stored = serde_json::from_str(&json)?;
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = file_name.trim_end_matches(".json.gz").to_owned();
        let concurrent = name.ends_with(".concurrent");
        let mut text = stored.start.clone();
        let transactions = stored.txns.into_iter().map(|txn| {
            let patches = txn.patches.into_iter().map(|(at, deleted, insert)| {
                let (mut at_bytes, mut deleted_bytes) = (at, deleted);
                if !concurrent {
                    at_bytes = str_indices::chars::to_byte_idx(&text, at);
                    deleted_bytes = str_indices::chars::to_byte_idx(&text[at_bytes..], deleted);
                    text.replace_range(at_bytes..at_bytes + deleted_bytes, &insert);
                }
                Patch { at, deleted, insert, at_bytes, deleted_bytes }
            });
            let patches = patches.collect();
            Transaction { parents: txn.parents, agent: txn.agent, patches }
        });
        let transactions = transactions.collect();
        Ok(Trace { name, start: stored.start, end: stored.end, concurrent, transactions })
    }
}

/// All traces in `SYNCLINE_DATA`, or beside the project, whose names contain `only`.
pub fn all(only: &str) -> Fallible<Vec<Trace>> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/data");
    let folder = std::env::var_os("SYNCLINE_DATA").map_or_else(beside, PathBuf::from).join("traces");
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| format!("{}: {error}; set SYNCLINE_DATA (see CONTRIBUTING.md)", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Fallible<Vec<PathBuf>>>()?;
    paths.retain(|path| path.to_string_lossy().ends_with(".json.gz"));
    paths.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(only)));
    paths.sort();
    paths.iter().map(|path| Trace::read(path)).collect()
}
