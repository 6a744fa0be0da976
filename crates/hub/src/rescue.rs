//! What was displaced: overwritten by a save, deleted, lost to a later writer, or the older content of a file that is
//! not text. Selected from what the journal has, by functions without a disk; `syncline rescue` lists and gives back.

mod selection;

use std::collections::BTreeMap;

use syncline_disk::ContentHash;
use syncline_engine::catalogue::{Catalogue, DocId, Entry, Field, Life, Write};
use syncline_engine::{Document, Version};
use syncline_store::{Displaced, LogReader, Record};

use crate::error::HubError;
use crate::file::encode_text;
pub use selection::{Wanted, orphans, selected};

/// How many hexadecimal digits an id has.
const ID_DIGITS: usize = 12;
/// A content that is longer, in bytes, is not opened to show how it begins.
const SHOWN_CONTENT: u64 = 64 << 10;
/// So much of a first line is shown, in characters.
const SHOWN_LINE: usize = 120;

/// How something was displaced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum How {
    /// A change took it out of a text.
    Overwritten,
    /// The file was deleted.
    Deleted,
    /// It lost to the change of a later writer.
    Lost {
        /// Who that was; empty if that is not known.
        winner: String,
    },
    /// The file holds something else now, that is not text or was not.
    Replaced,
    /// Kept because it may be the only copy of something: a text as a client had it that came back after long, or one of
    /// which it is not recorded what file held it.
    Kept,
}

impl How {
    /// In one word.
    pub fn word(&self) -> &'static str {
        match self {
            How::Overwritten => "overwritten",
            How::Deleted => "deleted",
            How::Lost { .. } => "lost",
            How::Replaced => "replaced",
            How::Kept => "kept",
        }
    }
}

/// Where its bytes are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// In the history of the document's text.
    Passage {
        /// The lines as they were; empty in a list of everything.
        lines: String,
        /// The version before the change.
        before: Version,
    },
    /// The document's text at a version.
    Text(Version),
    /// A content in the journal.
    Content([u8; 32]),
}

/// Something that was displaced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rescuable {
    /// What it is called: the same each time, on this machine.
    pub id: String,
    /// Of which document it was, if that is known.
    pub doc: Option<DocId>,
    /// The file's path, as it is or was last; empty if it is not known.
    pub path: String,
    /// When: milliseconds since 1970; 0 if that is not known.
    pub time_ms: u64,
    /// How.
    pub how: How,
    /// By whom; of what lost to a later writer, whose it was. Empty: not known here.
    pub author: String,
    /// How much: the characters that were taken out, or the length of a file, in bytes.
    pub amount: u64,
    /// How it begins: the first line with something on it, shortened. Empty if it is not text.
    pub first_line: String,
    /// Where it is.
    pub source: Source,
}

/// What is displaced, as far as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Displacements {
    /// The newest, oldest first.
    pub found: Vec<Rescuable>,
    /// How many older ones were left out.
    pub older: u64,
    /// Files whose history cannot be read.
    pub damaged: Vec<String>,
}

/// What was displaced in a folder, of what the journal still has.
///
/// # Errors
/// [`HubError::Store`] when the journal cannot be read. A document that is damaged is named, and the rest listed.
pub fn list(
    catalogue: &Catalogue,
    reader: &dyn LogReader,
    wanted: &Wanted<'_>,
) -> Result<Displacements, HubError> {
    let mut collected = selection::Newest::new(wanted);
    let mut damaged = Vec::new();
    let contents: BTreeMap<_, _> = reader.contents()?.into_iter().map(|kept| (kept.hash, kept)).collect();
    let mut rows: BTreeMap<DocId, Vec<Displaced>> = BTreeMap::new();
    for row in reader.displaced()? {
        rows.entry(row.doc).or_default().push(row);
    }
    for (doc, entry) in catalogue.iter().filter(|(_, entry)| wanted.covers(path_of(entry))) {
        // Its text went into another document, line by line.
        if entry.joined().is_some() {
            continue;
        }
        let document = match reader.document(*doc)?.to_document() {
            Ok(document) => document,
            Err(_) => {
                damaged.push(path_of(entry).to_owned());
                Document::new()
            }
        };
        let rows = rows.get(doc).map_or(&[][..], Vec::as_slice);
        let known = selection::Known {
            doc: *doc,
            entry,
            document: &document,
            rows,
            contents: &contents,
            changed_ms: reader.changed_ms(*doc)?.unwrap_or_default(),
        };
        selected(&known, &mut |it| collected.take(it));
    }
    if wanted.path.is_none() {
        orphans(catalogue, rows.values().flatten(), &contents, &mut |it| collected.take(it));
    }
    let (mut found, older) = collected.finish();
    for it in &mut found {
        if let Source::Content(hash) = &it.source
            && it.amount <= SHOWN_CONTENT
            && let Some(bytes) = reader.content(hash)?
        {
            it.first_line = std::str::from_utf8(&bytes).map(first_line).unwrap_or_default();
        }
    }
    Ok(Displacements { found, older, damaged })
}

/// What has an id that begins like this. More than one: it is too short.
///
/// # Errors
/// As [`list`].
pub fn find(catalogue: &Catalogue, reader: &dyn LogReader, id: &str) -> Result<Vec<Rescuable>, HubError> {
    let all = Wanted { id: Some(id), newest: 2, ..Wanted::default() };
    Ok(list(catalogue, reader, &all)?.found)
}

/// The bytes of what was displaced: what was taken out, or, with `whole`, the file as it was before. `None`: they are
/// not kept any longer.
///
/// # Errors
/// [`HubError::Store`], [`HubError::Damaged`].
pub fn bytes_of(
    catalogue: &Catalogue,
    reader: &dyn LogReader,
    it: &Rescuable,
    whole: bool,
) -> Result<Option<Vec<u8>>, HubError> {
    let at = match &it.source {
        Source::Content(hash) => return Ok(reader.content(hash)?),
        Source::Passage { lines, .. } if !whole => return Ok(Some(lines.clone().into_bytes())),
        Source::Passage { before: at, .. } | Source::Text(at) => at,
    };
    let Some(doc) = it.doc else { return Ok(None) };
    let damaged = |what: String| HubError::Damaged { doc: doc.to_string(), what };
    let document = reader.document(doc)?.to_document().map_err(damaged)?;
    let form = catalogue.get(&doc).and_then(|entry| entry.form().copied()).unwrap_or_default();
    Ok(Some(encode_text(&document.string_at(at), form)))
}

/// What a write to the catalogue is about to displace, to be recorded with it.
pub(crate) fn record_of(
    catalogue: &Catalogue,
    doc: DocId,
    field: &Field,
    author: &str,
    time_ms: u64,
) -> Option<Record> {
    let entry = catalogue.get(&doc)?;
    let content = match field {
        Field::Life(Life::Deleted { .. }) if entry.is_alive() => None,
        Field::Content(new) => match entry.content() {
            Some(old) if old.hash != new.hash => Some(old.hash),
            _ => return None,
        },
        _ => return None,
    };
    Some(Record::Displaced(Displaced { doc, time_ms, author: author.to_owned(), content }))
}

/// The same of a peer's write: who made it is not told.
pub(crate) fn record_of_peers(catalogue: &Catalogue, write: &Write, time_ms: u64) -> Option<Record> {
    record_of(catalogue, write.doc, &write.field, "", time_ms)
}

fn path_of(entry: &Entry) -> &str {
    entry.path().map_or("", String::as_str)
}

/// The name of something, made of what it is.
fn id_of(parts: &[&[u8]]) -> String {
    let mut id = ContentHash::of(&parts.concat()).to_string();
    id.truncate(ID_DIGITS);
    id
}

/// The first line that has something on it, shortened.
fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut shown: String = line.chars().take(SHOWN_LINE).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}
