//! What the journal keeps of a file, and the intent of a save (docs/decisions/0004).

use syncline_disk::{ContentHash, DisplacedId, FileKind, FileStat, RelPath, is_temporary_name};
use syncline_engine::varint::{DecodeError, Reader, put_bytes, put_number};
use syncline_engine::{Document, Heads, Version};

use super::candidates::{Candidate, Maker};

/// What stands at a document's path, as far as we know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OnDisk {
    /// Where.
    pub path: RelPath,
    /// The hash of the bytes (of the target, for a link).
    pub hash: ContentHash,
    /// The file's shadow: the version that these bytes are.
    pub version: Version,
    /// As it was when we last looked.
    pub stat: FileStat,
}

/// A displaced inode that somebody may still be writing to (docs/decisions/0004).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Displaced {
    /// Its name in `.syncline/displaced`.
    pub id: DisplacedId,
    /// The version that it held when it was displaced: what it holds later is an edit made at that version.
    pub version: Version,
    /// The hash of what it held.
    pub hash: ContentHash,
}

/// The journalled state of a document's file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileState {
    /// What stands at the path; `None` when there is no file.
    pub on_disk: Option<OnDisk>,
    /// That is to be written again, though it may be the document's newest version: a file that a power cut tore, or
    /// that held only a part.
    pub rewrite: bool,
    /// What the file held, oldest first.
    pub candidates: Vec<Candidate>,
    /// Displaced inodes not yet settled.
    pub displaced: Vec<Displaced>,
}

fn put_version(out: &mut Vec<u8>, document: &Document, version: &Version) {
    put_bytes(out, &document.portable(version).encode());
}

/// A version that the document knows; the part it knows of one that it does not (a restored journal).
fn read_version(reader: &mut Reader<'_>, document: &Document) -> Result<Version, DecodeError> {
    let heads = Heads::decode(reader.bytes()?)?;
    Ok(document.local(&heads).unwrap_or_else(|_| document.known_part(&heads)))
}

fn read_hash(reader: &mut Reader<'_>) -> Result<ContentHash, DecodeError> {
    let mut hash = [0; 32];
    hash.copy_from_slice(reader.take(32)?);
    Ok(ContentHash::from_bytes(hash))
}

/// In the number of a file's kind: see [`FileState::rewrite`].
const REWRITE: u64 = 8;

fn put_stat(out: &mut Vec<u8>, stat: &FileStat, rewrite: bool) {
    let kind = match stat.kind {
        FileKind::File => 0,
        FileKind::Directory => 1,
        FileKind::Link => 2,
        FileKind::Other => 3,
    };
    let kind = kind | if rewrite { REWRITE } else { 0 };
    for number in [kind, stat.len, stat.inode, stat.device, u64::from(stat.mode), u64::from(stat.uid)] {
        put_number(out, number);
    }
    put_number(out, u64::from(stat.gid));
    put_number(out, stat.links);
    for time in [Some(stat.mtime_ns), Some(stat.ctime_ns), stat.birth_ns] {
        put_bytes(out, &time.map(i128::to_le_bytes).map(Vec::from).unwrap_or_default());
    }
}

/// The stat recorded in a state, read without the document: the scan at the start compares it with what is
/// there and leaves alone what did not change.
fn read_stat(reader: &mut Reader<'_>) -> Result<(FileStat, bool), DecodeError> {
    let number = reader.number()?;
    let kind = match number & !REWRITE {
        0 => FileKind::File,
        1 => FileKind::Directory,
        2 => FileKind::Link,
        _ => FileKind::Other,
    };
    let (len, inode, device) = (reader.number()?, reader.number()?, reader.number()?);
    let (mode, uid, gid) = (reader.number()? as u32, reader.number()? as u32, reader.number()? as u32);
    let links = reader.number()?;
    let mut times = [None; 3];
    for time in &mut times {
        *time = <[u8; 16]>::try_from(reader.bytes()?).ok().map(i128::from_le_bytes);
    }
    let (mtime_ns, ctime_ns) = (times[0].unwrap_or_default(), times[1].unwrap_or_default());
    let stat =
        FileStat { kind, len, mtime_ns, ctime_ns, inode, device, birth_ns: times[2], mode, uid, gid, links };
    Ok((stat, number & REWRITE != 0))
}

impl FileState {
    /// As bytes for the journal.
    pub fn encode(&self, document: &Document) -> Vec<u8> {
        let mut out = Vec::new();
        match &self.on_disk {
            None => put_bytes(&mut out, b""),
            Some(on_disk) => {
                put_bytes(&mut out, on_disk.path.as_str().as_bytes());
                put_stat(&mut out, &on_disk.stat, self.rewrite);
                out.extend_from_slice(on_disk.hash.as_bytes());
                put_version(&mut out, document, &on_disk.version);
            }
        }
        put_number(&mut out, self.candidates.len() as u64);
        for candidate in &self.candidates {
            out.push(
                u8::from(candidate.maker == Maker::Us)
                    | u8::from(candidate.gap) << 1
                    | u8::from(candidate.part) << 2,
            );
            out.extend_from_slice(candidate.hash.as_bytes());
            put_version(&mut out, document, &candidate.version);
            put_bytes(&mut out, candidate.base.as_ref().map_or(&[], |hash| hash.as_bytes().as_slice()));
        }
        put_number(&mut out, self.displaced.len() as u64);
        for displaced in &self.displaced {
            put_bytes(&mut out, displaced.id.as_str().as_bytes());
            out.extend_from_slice(displaced.hash.as_bytes());
            put_version(&mut out, document, &displaced.version);
        }
        out
    }

    /// Reads what [`FileState::encode`] wrote for this document.
    pub fn decode(bytes: &[u8], document: &Document) -> Result<FileState, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut state = FileState::default();
        if let Some((path, stat, rewrite)) = read_place(&mut reader)? {
            state.rewrite = rewrite;
            let (hash, version) = (read_hash(&mut reader)?, read_version(&mut reader, document)?);
            state.on_disk = Some(OnDisk { path, hash, version, stat });
        }
        for _ in 0..reader.count(34)? {
            let flags = reader.byte()?;
            let maker = if flags & 1 == 1 { Maker::Us } else { Maker::Other };
            let (hash, version) = (read_hash(&mut reader)?, read_version(&mut reader, document)?);
            let mut candidate = Candidate::stored(version, hash, maker);
            candidate.base = <[u8; 32]>::try_from(reader.bytes()?).ok().map(ContentHash::from_bytes);
            (candidate.gap, candidate.part) = (flags & 2 == 2, flags & 4 == 4);
            state.candidates.push(candidate);
        }
        for _ in 0..reader.count(34)? {
            let id = DisplacedId::parse(reader.text()?).ok_or(reader.invalid("displaced file"))?;
            let (hash, version) = (read_hash(&mut reader)?, read_version(&mut reader, document)?);
            state.displaced.push(Displaced { id, version, hash });
        }
        reader.finish()?;
        Ok(state)
    }
}

/// Where a file was and what it looked like, from a journalled state.
///
/// # Errors
/// [`DecodeError`] when the state is damaged.
pub fn place_of(state: &[u8]) -> Result<Option<(RelPath, FileStat)>, DecodeError> {
    Ok(read_place(&mut Reader::new(state))?.map(|(path, stat, _)| (path, stat)))
}

fn read_place(reader: &mut Reader<'_>) -> Result<Option<(RelPath, FileStat, bool)>, DecodeError> {
    let path = reader.text()?;
    if path.is_empty() {
        return Ok(None);
    }
    let path = RelPath::parse(path).map_err(|_| reader.invalid("path"))?;
    let (stat, rewrite) = read_stat(reader)?;
    Ok(Some((path, stat, rewrite)))
}

/// What a file held, from a journalled state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The hash of its bytes.
    pub hash: ContentHash,
    /// The version that they were.
    pub heads: Heads,
    /// See [`FileState::rewrite`].
    pub rewrite: bool,
}

/// What the file held, read without its document. `None`: there was no file.
///
/// # Errors
/// [`DecodeError`] when the state is damaged.
pub fn held_in_state(state: &[u8]) -> Result<Option<Held>, DecodeError> {
    let mut reader = Reader::new(state);
    let Some((.., rewrite)) = read_place(&mut reader)? else { return Ok(None) };
    Ok(Some(Held { hash: read_hash(&mut reader)?, heads: Heads::decode(reader.bytes()?)?, rewrite }))
}

/// Where something was about to be written, and the hash of its bytes, from a journalled intent.
///
/// # Errors
/// [`DecodeError`] when the intent is damaged.
pub fn target_of(intent: &[u8]) -> Result<(RelPath, ContentHash), DecodeError> {
    let mut reader = Reader::new(intent);
    let path = RelPath::parse(reader.text()?).map_err(|_| reader.invalid("path"))?;
    reader.text()?;
    let mut hash = read_hash(&mut reader)?;
    reader.bytes()?;
    if reader.left() > 0 {
        hash = read_hash(&mut reader)?;
    }
    Ok((path, hash))
}

/// The displaced files that a journalled state names, read without its document.
///
/// # Errors
/// [`DecodeError`] when the state is damaged.
pub fn displaced_of(state: &[u8]) -> Result<Vec<DisplacedId>, DecodeError> {
    let mut reader = Reader::new(state);
    if read_place(&mut reader)?.is_some() {
        read_hash(&mut reader)?;
        reader.bytes()?;
    }
    for _ in 0..reader.count(34)? {
        reader.byte()?;
        read_hash(&mut reader)?;
        reader.bytes()?;
        reader.bytes()?;
    }
    let mut displaced = Vec::new();
    for _ in 0..reader.count(34)? {
        displaced.push(DisplacedId::parse(reader.text()?).ok_or(reader.invalid("displaced file"))?);
        read_hash(&mut reader)?;
        reader.bytes()?;
    }
    Ok(displaced)
}

/// The temporary that a journalled intent names, read without its document.
pub fn temporary_of(intent: &[u8]) -> Option<String> {
    let mut reader = Reader::new(intent);
    reader.text().ok()?;
    reader.text().ok().map(str::to_owned)
}

/// A save that is about to happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intent {
    /// Where.
    pub path: RelPath,
    /// The temporary's name.
    pub temporary: String,
    /// The file's shadow and the hash of its bytes, before; `None` when there is no file.
    pub old: Option<(Version, ContentHash)>,
    /// The same, after.
    pub new: (Version, ContentHash),
}

impl Intent {
    /// As bytes for the journal.
    pub fn encode(&self, document: &Document) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, self.path.as_str().as_bytes());
        put_bytes(&mut out, self.temporary.as_bytes());
        let sides = self.old.iter().chain(std::iter::once(&self.new));
        for (version, hash) in sides {
            out.extend_from_slice(hash.as_bytes());
            put_version(&mut out, document, version);
        }
        out
    }

    /// Reads what [`Intent::encode`] wrote for this document.
    pub fn decode(bytes: &[u8], document: &Document) -> Result<Intent, DecodeError> {
        let mut reader = Reader::new(bytes);
        let path = RelPath::parse(reader.text()?).map_err(|_| reader.invalid("path"))?;
        let temporary = reader.text()?.to_owned();
        if !is_temporary_name(&temporary) {
            return Err(reader.invalid("temporary"));
        }
        let mut side = || Ok((read_hash(&mut reader)?, read_version(&mut reader, document)?));
        let (hash, version) = side()?;
        let first = (version, hash);
        if reader.left() == 0 {
            return Ok(Intent { path, temporary, old: None, new: first });
        }
        let (hash, version) = (read_hash(&mut reader)?, read_version(&mut reader, document)?);
        reader.finish()?;
        Ok(Intent { path, temporary, old: Some(first), new: (version, hash) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_engine::{AgentId, Edit, Meta};

    #[test]
    fn state_and_intent_survive_the_journal() {
        let mut document = Document::new();
        let agent = AgentId::new(b"a").unwrap();
        let v1 = document.edit(&[Edit::insert(0, "x")], agent, &Meta::default()).unwrap().version;
        let stat = FileStat {
            kind: FileKind::File,
            len: 1,
            mtime_ns: -5,
            ctime_ns: 1 << 70,
            inode: 3,
            device: 4,
            birth_ns: None,
            mode: 0o644,
            uid: 1,
            gid: 2,
            links: 1,
        };
        let path = RelPath::parse("d/f").unwrap();
        let hash = ContentHash::of(b"x");
        let mut candidate = Candidate::stored(v1.clone(), hash, Maker::Us);
        (candidate.base, candidate.gap, candidate.part) = (Some(hash), true, false);
        let mut joined = Candidate::stored(v1.clone(), hash, Maker::Other);
        joined.part = true;
        let id = DisplacedId::parse("0123456789abcdef").unwrap();
        let state = FileState {
            on_disk: Some(OnDisk { path: path.clone(), hash, version: v1.clone(), stat }),
            rewrite: true,
            candidates: vec![candidate, joined, Candidate::stored(Version::root(), hash, Maker::Other)],
            displaced: vec![Displaced { id: id.clone(), version: v1.clone(), hash }],
        };
        let bytes = state.encode(&document);
        assert_eq!(FileState::decode(&bytes, &document).unwrap(), state);
        assert_eq!(place_of(&bytes).unwrap(), Some((path.clone(), stat)));
        let empty = FileState::default();
        assert_eq!(FileState::decode(&empty.encode(&document), &document).unwrap(), empty);
        for old in [None, Some((Version::root(), hash))] {
            let intent =
                Intent { path: path.clone(), temporary: id.temporary(), old, new: (v1.clone(), hash) };
            assert_eq!(Intent::decode(&intent.encode(&document), &document).unwrap(), intent);
        }
        for cut in 0..bytes.len() {
            assert!(FileState::decode(&bytes[..cut], &document).is_err());
        }
    }
}
