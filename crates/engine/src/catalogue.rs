//! A folder's catalogue: for each document where it is, whether it lives, and what kind of file it is.
//!
//! Every property is a register. Of two writes to one register the later one counts: causally later, and
//! between concurrent ones the greater (Lamport time, agent). Because a Lamport time is greater than that of
//! every write its maker knew, comparing (Lamport time, agent, sequence number) does both. Overwritten values
//! are not kept here; the history of texts is in the documents.

use std::collections::BTreeMap;
use std::fmt;

use crate::id::{AgentId, Heads};
use crate::varint::{DecodeError, Reader, put_bytes, put_number};

/// A document's origin id: 128 random bits drawn when it was created. Its path may change, this does not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocId(pub [u8; 16]);

impl fmt::Debug for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// When a register was written; later ones win.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Stamp {
    /// Greater than that of every write its maker knew.
    pub lamport: u64,
    /// Who wrote it.
    pub agent: AgentId,
    /// Which of that agent's catalogue writes, from 1.
    pub seq: u64,
}

/// Whether a document lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Life {
    /// It has a file.
    Alive,
    /// It was deleted by somebody who had seen its text at `seen` (and its content `hash`, if opaque).
    /// Events outside that bring it back: an edit beats a concurrent delete.
    Deleted {
        /// The version of its text that was deleted.
        seen: Heads,
        /// The content that was deleted, of an opaque file.
        hash: Option<[u8; 32]>,
    },
}

/// What kind of file a document is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Text: merged character by character.
    Text,
    /// Bytes that are not UTF-8 text: whole-file, the newest wins.
    Opaque,
    /// A symbolic link; its target is the content.
    Link,
}

/// How a text's characters become the file's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Form {
    /// The file begins with a byte order mark.
    pub bom: bool,
    /// Every line ends in CR LF.
    pub crlf: bool,
}

/// The content of a file that is not text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// BLAKE3 of the bytes.
    pub hash: [u8; 32],
    /// Length in bytes.
    pub len: u64,
}

/// A document that was joined into another one, because both were created independently at one path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The document that goes on.
    pub into: DocId,
    /// The loser's version whose text went into the union.
    pub loser_at: Heads,
    /// The survivor's version right after the union.
    pub union_at: Heads,
}

/// One property and its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Field {
    /// Where it is: a path relative to the folder, with `/`.
    Path(String),
    /// Whether it lives.
    Life(Life),
    /// What kind of file it is.
    Kind(Kind),
    /// Permission bits (at most 0o777).
    Mode(u32),
    /// Line endings and byte order mark.
    Form(Form),
    /// The content, if it is not text.
    Content(Content),
    /// Where it went.
    Joined(Joined),
    /// The version of the text that it began with: until that has come, what is known of the text says nothing.
    Founded(Heads),
}

impl Field {
    /// The number of the register that the field is a value of.
    pub fn register(&self) -> u8 {
        match self {
            Field::Path(_) => 1,
            Field::Life(_) => 2,
            Field::Kind(_) => 3,
            Field::Mode(_) => 4,
            Field::Form(_) => 5,
            Field::Content(_) => 6,
            Field::Joined(_) => 7,
            Field::Founded(_) => 8,
        }
    }
}

/// A write to one register of one document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// Which document.
    pub doc: DocId,
    /// When.
    pub stamp: Stamp,
    /// What.
    pub field: Field,
}

/// What the catalogue says about one document.
#[derive(Clone, Default, Debug)]
pub struct Entry {
    registers: BTreeMap<u8, (Stamp, Field)>,
}

macro_rules! register {
    ($(#[$doc:meta])* $name:ident, $number:literal, $variant:ident, $type:ty) => {
        $(#[$doc])*
        pub fn $name(&self) -> Option<&$type> {
            match self.registers.get(&$number) {
                Some((_, Field::$variant(value))) => Some(value),
                _ => None,
            }
        }
    };
}

impl Entry {
    register!(/** Where it is. */ path, 1, Path, String);
    register!(/** Whether it lives. */ life, 2, Life, Life);
    register!(/** What kind of file it is. */ kind, 3, Kind, Kind);
    register!(/** Permission bits. */ mode, 4, Mode, u32);
    register!(/** Line endings and byte order mark. */ form, 5, Form, Form);
    register!(/** The content, if it is not text. */ content, 6, Content, Content);
    register!(/** Where it went, if it was joined into another. */ joined, 7, Joined, Joined);
    register!(/** The version of the text that it began with, if it began with one. */ founded, 8, Founded, Heads);

    /// Whether it has a file: alive, and not joined into another one.
    pub fn is_alive(&self) -> bool {
        self.joined().is_none() && matches!(self.life(), Some(Life::Alive)) && self.path().is_some()
    }

    /// When a register was last written ([`Field::register`] numbers them).
    pub fn stamp(&self, register: u8) -> Option<Stamp> {
        self.registers.get(&register).map(|(stamp, _)| *stamp)
    }

    /// When, and by whom, it was last said where it is.
    pub fn path_stamp(&self) -> Option<Stamp> {
        self.stamp(1)
    }

    /// When, and by whom, it was last said whether it lives.
    pub fn life_stamp(&self) -> Option<Stamp> {
        self.stamp(2)
    }
}

/// The catalogue of one folder, as one replica knows it.
#[derive(Clone, Default, Debug)]
pub struct Catalogue {
    entries: BTreeMap<DocId, Entry>,
    /// Of each agent, how many writes are known.
    vector: BTreeMap<AgentId, u64>,
    lamport: u64,
    /// Living documents by path; more than one where two were created independently.
    by_path: BTreeMap<String, Vec<DocId>>,
}

impl Catalogue {
    /// An empty one.
    pub fn new() -> Catalogue {
        Catalogue::default()
    }

    /// As it was recorded: these registers, and of each agent so many writes known. An agent that is not named there is
    /// one whose writes are to be asked for, even if some of them are here.
    pub fn restored<'a>(
        writes: impl IntoIterator<Item = &'a Write>,
        vector: BTreeMap<AgentId, u64>,
    ) -> Catalogue {
        let mut catalogue = Catalogue::new();
        for write in writes {
            catalogue.merge(write);
        }
        catalogue.vector = vector;
        catalogue
    }

    /// What is known of a document.
    pub fn get(&self, doc: &DocId) -> Option<&Entry> {
        self.entries.get(doc)
    }

    /// All documents, living and deleted.
    pub fn iter(&self) -> impl Iterator<Item = (&DocId, &Entry)> {
        self.entries.iter()
    }

    /// The living documents at a path: usually one; the smallest id first.
    pub fn at(&self, path: &str) -> &[DocId] {
        self.by_path.get(path).map_or(&[], Vec::as_slice)
    }

    /// Living documents by path, in order of the paths.
    pub fn paths(&self) -> impl Iterator<Item = (&str, &[DocId])> {
        self.by_path.iter().map(|(path, ids)| (path.as_str(), ids.as_slice()))
    }

    /// Living documents at paths that begin with `prefix`.
    pub fn paths_under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a [DocId])> {
        let from = self.by_path.range(prefix.to_owned()..);
        from.take_while(move |(path, _)| path.starts_with(prefix))
            .map(|(path, ids)| (path.as_str(), ids.as_slice()))
    }

    /// The deleted document of each path at which one was; of several the one that was deleted last.
    pub fn deleted(&self) -> BTreeMap<&str, DocId> {
        let mut deleted: BTreeMap<&str, (Option<Stamp>, DocId)> = BTreeMap::new();
        for (doc, entry) in &self.entries {
            let Some(path) = entry.path().filter(|_| !entry.is_alive() && entry.joined().is_none()) else {
                continue;
            };
            let latest = deleted.entry(path).or_insert((entry.life_stamp(), *doc));
            *latest = (*latest).max((entry.life_stamp(), *doc));
        }
        deleted.into_iter().map(|(path, (_, doc))| (path, doc)).collect()
    }

    /// Of each agent, how many writes are known.
    pub fn vector(&self) -> &BTreeMap<AgentId, u64> {
        &self.vector
    }

    /// Writes a register; returns the write, to be journalled and sent.
    pub fn write(&mut self, doc: DocId, field: Field, agent: AgentId) -> Write {
        let seq = self.vector.get(&agent).copied().unwrap_or(0).saturating_add(1);
        let stamp = Stamp { lamport: self.lamport.saturating_add(1), agent, seq };
        let write = Write { doc, stamp, field };
        self.merge(&write);
        write
    }

    /// Takes a write from another replica or from the journal. Returns whether it changed the register
    /// (`false`: a later one is known).
    pub fn merge(&mut self, write: &Write) -> bool {
        self.lamport = self.lamport.max(write.stamp.lamport);
        let known = self.vector.entry(write.stamp.agent).or_default();
        *known = (*known).max(write.stamp.seq);
        let number = write.field.register();
        let entry = self.entries.entry(write.doc).or_default();
        if entry.stamp(number).is_some_and(|stamp| stamp >= write.stamp) {
            return false;
        }
        let before = entry.is_alive().then(|| entry.path().cloned()).flatten();
        entry.registers.insert(number, (write.stamp, write.field.clone()));
        let after = entry.is_alive().then(|| entry.path().cloned()).flatten();
        if before != after {
            if let Some(path) = before
                && let Some(ids) = self.by_path.get_mut(&path)
            {
                ids.retain(|id| *id != write.doc);
                if ids.is_empty() {
                    self.by_path.remove(&path);
                }
            }
            if let Some(path) = after {
                let ids = self.by_path.entry(path).or_default();
                let at = ids.partition_point(|id| *id < write.doc);
                ids.insert(at, write.doc);
            }
        }
        true
    }

    /// Notes that another replica's writes up to this vector have all been merged (or overwritten).
    pub fn merge_vector(&mut self, vector: &BTreeMap<AgentId, u64>) {
        for (agent, &count) in vector {
            let known = self.vector.entry(*agent).or_default();
            *known = (*known).max(count);
        }
    }

    /// The writes that a replica with this vector lacks, oldest first.
    pub fn writes_since(&self, vector: &BTreeMap<AgentId, u64>) -> Vec<Write> {
        let mut writes: Vec<Write> = Vec::new();
        for (doc, entry) in &self.entries {
            for (stamp, field) in entry.registers.values() {
                if vector.get(&stamp.agent).copied().unwrap_or(0) < stamp.seq {
                    writes.push(Write { doc: *doc, stamp: *stamp, field: field.clone() });
                }
            }
        }
        writes.sort_by_key(|write| write.stamp);
        writes
    }
}

impl Write {
    /// The write as bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.doc.0);
        put_number(out, self.stamp.lamport);
        put_bytes(out, self.stamp.agent.as_bytes());
        put_number(out, self.stamp.seq);
        out.push(self.field.register());
        let mut value = Vec::new();
        match &self.field {
            Field::Path(path) => value.extend_from_slice(path.as_bytes()),
            Field::Life(Life::Alive) => value.push(1),
            Field::Life(Life::Deleted { seen, hash }) => {
                value.push(0);
                value.extend_from_slice(&seen.encode());
                value.extend_from_slice(hash.as_ref().map_or(&[], |hash| hash.as_slice()));
            }
            Field::Kind(kind) => value.push(match kind {
                Kind::Text => 0,
                Kind::Opaque => 1,
                Kind::Link => 2,
            }),
            Field::Mode(mode) => put_number(&mut value, u64::from(*mode)),
            Field::Form(form) => value.push(u8::from(form.bom) | u8::from(form.crlf) << 1),
            Field::Content(content) => {
                value.extend_from_slice(&content.hash);
                put_number(&mut value, content.len);
            }
            Field::Joined(joined) => {
                value.extend_from_slice(&joined.into.0);
                value.extend_from_slice(&joined.loser_at.encode());
                value.extend_from_slice(&joined.union_at.encode());
            }
            Field::Founded(heads) => value.extend_from_slice(&heads.encode()),
        }
        put_bytes(out, &value);
    }

    /// Reads what [`Write::encode`] wrote, from among other things. `None`: a register that a newer version
    /// of the program knows; it is skipped.
    pub fn read(reader: &mut Reader<'_>) -> Result<Option<Write>, DecodeError> {
        let doc = DocId(array(reader)?);
        let lamport = reader.number()?;
        let agent = AgentId::new(reader.bytes()?).ok_or(reader.invalid("agent"))?;
        let seq = reader.number()?;
        // A Lamport time near the end of the range would leave no room for later writes.
        if lamport > u64::MAX / 2 || seq == 0 {
            return Err(reader.invalid("stamp"));
        }
        let register = reader.byte()?;
        let mut value = Reader::new(reader.bytes()?);
        let field = match register {
            1 => {
                let bytes = value.take(value.left())?;
                let path = std::str::from_utf8(bytes).map_err(|_| reader.invalid("path"))?;
                Field::Path(path.to_owned())
            }
            2 => Field::Life(match value.byte()? {
                1 => Life::Alive,
                0 => {
                    let seen = Heads::read(&mut value)?;
                    let hash = if value.left() > 0 { Some(array(&mut value)?) } else { None };
                    Life::Deleted { seen, hash }
                }
                _ => return Err(value.invalid("life")),
            }),
            3 => Field::Kind(match value.byte()? {
                0 => Kind::Text,
                1 => Kind::Opaque,
                2 => Kind::Link,
                _ => return Err(value.invalid("kind")),
            }),
            4 => match value.number()? {
                mode @ 0..=0o777 => Field::Mode(mode as u32),
                _ => return Err(value.invalid("mode")),
            },
            5 => match value.byte()? {
                bits @ 0..=3 => Field::Form(Form { bom: bits & 1 != 0, crlf: bits & 2 != 0 }),
                _ => return Err(value.invalid("form")),
            },
            6 => Field::Content(Content { hash: array(&mut value)?, len: value.number()? }),
            7 => Field::Joined(Joined {
                into: DocId(array(&mut value)?),
                loser_at: Heads::read(&mut value)?,
                union_at: Heads::read(&mut value)?,
            }),
            8 => Field::Founded(Heads::read(&mut value)?),
            _ => return Ok(None),
        };
        value.finish()?;
        Ok(Some(Write { doc, stamp: Stamp { lamport, agent, seq }, field }))
    }
}

fn array<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], DecodeError> {
    let mut out = [0; N];
    out.copy_from_slice(reader.take(N)?);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> AgentId {
        AgentId::new(name.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_restored_without_its_vector_is_asked_for_again() {
        let (doc, mut all) = (DocId([1; 16]), Catalogue::new());
        let path = all.write(doc, Field::Path("x".into()), agent("a"));
        let life = all.write(doc, Field::Life(Life::Alive), agent("a"));
        let mut some = Catalogue::restored([&life], BTreeMap::new());
        assert_eq!(all.writes_since(some.vector()), [path.clone(), life.clone()]);
        assert!(some.merge(&path) && some.at("x") == [doc]);
        assert_eq!(all.writes_since(Catalogue::restored([&path, &life], all.vector().clone()).vector()), []);
    }

    #[test]
    fn replicas_agree_whatever_the_order() {
        let doc = DocId([1; 16]);
        let (mut a, mut b) = (Catalogue::new(), Catalogue::new());
        let created = [
            a.write(doc, Field::Path("x".into()), agent("a")),
            a.write(doc, Field::Life(Life::Alive), agent("a")),
        ];
        created.iter().for_each(|write| assert!(b.merge(write)));
        let renamed_a = a.write(doc, Field::Path("from-a".into()), agent("a"));
        let renamed_b = b.write(doc, Field::Path("from-b".into()), agent("b"));
        assert!(a.merge(&renamed_b) && !b.merge(&renamed_a));
        for catalogue in [&a, &b] {
            assert_eq!(catalogue.at("from-b"), [doc]);
            assert!(catalogue.at("x").is_empty() && catalogue.at("from-a").is_empty());
        }
        let later = a.write(doc, Field::Path("later".into()), agent("a"));
        assert!(b.merge(&later), "a write that knew the winner wins");
        assert_eq!(b.writes_since(a.vector()), []);
        let mut late = Catalogue::new();
        a.writes_since(late.vector()).iter().for_each(|write| assert!(late.merge(write)));
        assert_eq!(late.at("later"), [doc]);
    }

    #[test]
    fn every_field_survives_encoding() {
        let id = crate::id::EventId { agent: agent("z"), seq: 7 };
        let fields = [
            Field::Path("ä/b".into()),
            Field::Life(Life::Alive),
            Field::Life(Life::Deleted { seen: Heads::new(vec![id]), hash: Some([9; 32]) }),
            Field::Kind(Kind::Link),
            Field::Mode(0o755),
            Field::Form(Form { bom: true, crlf: true }),
            Field::Content(Content { hash: [3; 32], len: 1 << 40 }),
            Field::Joined(Joined {
                into: DocId([2; 16]),
                loser_at: Heads::default(),
                union_at: Heads::new(vec![id]),
            }),
            Field::Founded(Heads::new(vec![id])),
        ];
        let mut catalogue = Catalogue::new();
        for field in fields {
            let write = catalogue.write(DocId([5; 16]), field, agent("me"));
            let mut bytes = Vec::new();
            write.encode(&mut bytes);
            let mut reader = Reader::new(&bytes);
            assert_eq!(Write::read(&mut reader), Ok(Some(write)));
            reader.finish().unwrap();
            for cut in 0..bytes.len() {
                assert!(Write::read(&mut Reader::new(&bytes[..cut])).is_err());
            }
        }
    }
}
