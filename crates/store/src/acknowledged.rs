//! What was last acknowledged, to be looked for in a journal that was opened anew after a failure.
//!
//! Kept in memory: the ordinary commit writes nothing more for it. One record of the last commit is enough, for
//! the commit is there as a whole or not at all, and so are those before it.

use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;
use syncline_engine::catalogue::{DocId, Write};

use crate::log::{LogReader, Record, StoreError};

/// Something in the journal of which each commit leaves one value.
#[derive(Clone, PartialEq, Debug)]
enum Place {
    Document(DocId),
    Register(DocId, u8),
    File(DocId),
    Intent(DocId),
    Content([u8; 32]),
    Setting(String),
}

/// A hash of a value; `None`: there is none.
type Print = Option<u64>;

/// The mark that the last acknowledged commit left.
#[derive(Default)]
pub(crate) struct Acknowledged {
    last: Option<(Place, Print)>,
    /// What the failed commit would have left there: it may have been made all the same.
    doubtful: Option<Print>,
}

impl Acknowledged {
    /// These were committed.
    pub fn note(&mut self, records: &[Record]) {
        let mark = |record: &Record| {
            let place = Place::of(record)?;
            let print = place.written(record)?;
            Some((place, print))
        };
        // The last that can be looked up: nothing in this commit overwrote it. Records that cannot be looked up
        // overwrite none of these places.
        if let Some(mark) = records.iter().rev().find_map(mark) {
            self.last = Some(mark);
        }
        self.doubtful = None;
    }

    /// Whether these were committed is not known.
    pub fn doubt(&mut self, records: &[Record]) {
        if let Some((place, _)) = &self.last {
            self.doubtful = records.iter().rev().find_map(|record| place.written(record));
        }
    }

    /// Looks for it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it is not there; others, if that cannot be told now.
    pub fn check(&mut self, reader: &dyn LogReader) -> Result<(), StoreError> {
        let Some((place, print)) = &mut self.last else { return Ok(()) };
        let found = place.read(reader)?;
        if found != *print && self.doubtful != Some(found) {
            let what = format!("what was last acknowledged is not in it ({})", place.name());
            return Err(StoreError::Damaged { path: PathBuf::from("journal"), what });
        }
        *print = found;
        self.doubtful = None;
        Ok(())
    }
}

impl Place {
    fn of(record: &Record) -> Option<Place> {
        Some(match record {
            Record::Events { doc, .. } | Record::Snapshot { doc, .. } | Record::SetAside { doc, .. } => {
                Place::Document(*doc)
            }
            Record::Catalogue(write) => Place::Register(write.doc, write.field.register()),
            Record::File { doc, .. } | Record::NoFile(doc) => Place::File(*doc),
            Record::Intent { doc, .. } | Record::NoIntent(doc) => Place::Intent(*doc),
            Record::Content { hash, .. } | Record::NoContent(hash) => Place::Content(*hash),
            Record::Setting { name, .. } => Place::Setting(name.clone()),
            Record::Vector(_)
            | Record::Displaced(_)
            | Record::Decision { .. }
            | Record::Request { .. }
            | Record::DiffSession { .. } => return None,
        })
    }

    /// What a record leaves here; `None` if it has nothing to do with this place.
    fn written(&self, record: &Record) -> Option<Print> {
        Some(match (self, record) {
            (
                Place::Document(here),
                Record::Events { doc, heads, .. } | Record::Snapshot { doc, heads, .. },
            ) if here == doc => Some(print(&heads.encode())),
            (
                Place::Document(here) | Place::File(here) | Place::Intent(here),
                Record::SetAside { doc, .. },
            ) if here == doc => None,
            (Place::Register(here, register), Record::Catalogue(write))
                if *here == write.doc && *register == write.field.register() =>
            {
                Some(print_of(write))
            }
            (Place::File(here), Record::File { doc, state }) if here == doc => Some(print(state)),
            (Place::File(here), Record::NoFile(doc)) if here == doc => None,
            (Place::Intent(here), Record::Intent { doc, intent }) if here == doc => Some(print(intent)),
            (Place::Intent(here), Record::NoIntent(doc)) if here == doc => None,
            (Place::Content(here), Record::Content { hash, .. }) if here == hash => Some(print(hash)),
            (Place::Content(here), Record::NoContent(hash)) if here == hash => None,
            (Place::Setting(here), Record::Setting { name, value }) if here == name => Some(print(value)),
            _ => return None,
        })
    }

    fn read(&self, reader: &dyn LogReader) -> Result<Print, StoreError> {
        Ok(match self {
            Place::Document(here) => {
                let all = reader.heads()?;
                all.iter().find(|(doc, _)| doc == here).map(|(_, heads)| print(&heads.encode()))
            }
            Place::Register(here, register) => {
                let all = reader.catalogue()?;
                let mine = |write: &&Write| write.doc == *here && write.field.register() == *register;
                all.iter().find(mine).map(print_of)
            }
            Place::File(here) => reader.file(*here)?.map(|state| print(&state)),
            Place::Intent(here) => {
                reader.intents()?.iter().find(|(doc, _)| doc == here).map(|(_, intent)| print(intent))
            }
            Place::Content(hash) => reader.has_content(hash)?.then(|| print(hash)),
            Place::Setting(name) => reader.setting(name)?.map(|value| print(&value)),
        })
    }

    fn name(&self) -> String {
        match self {
            Place::Document(doc) => format!("the text of document {doc}"),
            Place::Register(doc, _) => format!("the catalogue's entry of document {doc}"),
            Place::File(doc) | Place::Intent(doc) => format!("the state of the file of document {doc}"),
            Place::Content(_) => "the content of a file".to_owned(),
            Place::Setting(name) => format!("the setting {name}"),
        }
    }
}

fn print_of(write: &Write) -> u64 {
    let mut bytes = Vec::new();
    write.encode(&mut bytes);
    print(&bytes)
}

fn print(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Log, MemoryLog};

    const DOC: DocId = DocId([1; 16]);

    fn state(state: u8) -> Record {
        Record::File { doc: DOC, state: vec![state] }
    }

    fn missing(acknowledged: &mut Acknowledged, log: &MemoryLog) -> bool {
        let checked = acknowledged.check(log.reader().unwrap().as_ref());
        assert!(matches!(checked, Ok(()) | Err(StoreError::Damaged { .. })), "{checked:?}");
        checked.is_err()
    }

    #[test]
    fn what_is_there_is_found_and_what_is_gone_is_missed() {
        let (mut log, mut acknowledged) = (MemoryLog::new(), Acknowledged::default());
        assert!(!missing(&mut acknowledged, &log), "nothing was acknowledged");
        for record in [
            state(1),
            Record::NoFile(DOC),
            Record::Intent { doc: DOC, intent: vec![1] },
            Record::NoIntent(DOC),
            Record::Content { hash: [1; 32], bytes: vec![1] },
            Record::NoContent([1; 32]),
            Record::Setting { name: "n".into(), value: vec![1] },
            Record::Snapshot { doc: DOC, bytes: vec![1], heads: Default::default() },
            Record::SetAside { doc: DOC, what: "spoilt".into() },
        ] {
            let before = log.backup();
            log.commit(std::slice::from_ref(&record)).unwrap();
            acknowledged.note(std::slice::from_ref(&record));
            assert!(!missing(&mut acknowledged, &log), "{record:?}");
            assert!(missing(&mut acknowledged, &before), "{record:?}");
        }
    }

    #[test]
    fn a_failed_commit_may_have_been_made_or_not() {
        let (mut log, mut acknowledged) = (MemoryLog::new(), Acknowledged::default());
        let empty = log.backup();
        log.commit(&[state(1)]).unwrap();
        acknowledged.note(&[state(1)]);
        acknowledged.doubt(&[state(2), Record::NoFile(DocId([2; 16]))]);
        assert!(missing(&mut acknowledged, &empty), "that is neither");
        assert!(!missing(&mut acknowledged, &log), "it was not made");
        let before = log.backup();
        acknowledged.doubt(&[Record::SetAside { doc: DOC, what: "spoilt".into() }]);
        log.commit(&[Record::SetAside { doc: DOC, what: "spoilt".into() }]).unwrap();
        assert!(!missing(&mut acknowledged, &log), "it was made");
        assert!(missing(&mut acknowledged, &before), "and must be there from then on");
    }
}
