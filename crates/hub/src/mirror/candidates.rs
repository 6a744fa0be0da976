//! What a file held, version by version: the possible bases of the next save.

use std::sync::Arc;
use syncline_disk::ContentHash;
use syncline_engine::Version;

/// How many versions are remembered.
pub const MAX_CANDIDATES: usize = 24;
/// Texts longer than this (together, in bytes) are not kept but replayed from the history when asked for.
const KEPT_TEXT_BYTES: usize = 4 << 20;

/// Who put a version into the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Maker {
    /// A write of ours.
    Us,
    /// Somebody's save.
    Other,
}

/// Whether anybody read a version that we wrote (docs/decisions/0007).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// Somebody read the file while it held this.
    Read,
    /// It is not known: we read it ourselves, events were lost, the program was restarted.
    Unknown,
    /// Somebody opened and closed it without a call that reads: rsync does so with the file it replaces, and
    /// so does whoever maps it into memory.
    Opened,
    /// Nobody opened it: the watch has seen our write take effect, and no opening since.
    Unread,
}

impl Evidence {
    /// Smaller is likelier to be somebody's base.
    pub fn rank(self) -> u8 {
        self as u8
    }

    /// Whether somebody read it, as far as can be told.
    pub fn is_reading(self) -> bool {
        matches!(self, Evidence::Read | Evidence::Unknown)
    }
}

/// A version that the file held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The version of the document. Of a save: what its maker had seen, and the save.
    pub version: Version,
    /// The hash of the file's bytes.
    pub hash: ContentHash,
    /// Who put it there.
    pub maker: Maker,
    /// Whether it was read.
    pub evidence: Evidence,
    /// Of a save: the hash of the candidate that was found to be its base.
    pub base: Option<ContentHash>,
    /// The text, while it is small enough to keep.
    text: Option<Arc<String>>,
}

impl Candidate {
    /// A version with these bytes, whose text is not kept.
    pub fn new(version: Version, bytes: &[u8], maker: Maker, evidence: Evidence) -> Candidate {
        Candidate { version, hash: ContentHash::of(bytes), maker, evidence, base: None, text: None }
    }

    /// A version whose bytes have this hash, read by its maker.
    pub fn new_hashed(version: Version, hash: ContentHash, maker: Maker) -> Candidate {
        Candidate { version, hash, maker, evidence: Evidence::Read, base: None, text: None }
    }

    /// A version from the journal.
    pub fn stored(version: Version, hash: ContentHash, maker: Maker) -> Candidate {
        Candidate { version, hash, maker, evidence: Evidence::Unknown, base: None, text: None }
    }

    /// With its text at hand.
    pub fn with_text(mut self, text: Arc<String>) -> Candidate {
        self.text = Some(text);
        self
    }

    /// The text, if it is at hand.
    pub fn text(&self) -> Option<&Arc<String>> {
        self.text.as_ref()
    }
}

/// The versions a file held, oldest first.
#[derive(Clone, Default, Debug)]
pub struct Candidates {
    list: Vec<Candidate>,
}

impl Candidates {
    /// Those from the journal.
    pub fn stored(list: Vec<Candidate>) -> Candidates {
        Candidates { list }
    }

    /// All, oldest first.
    pub fn all(&self) -> &[Candidate] {
        &self.list
    }

    /// Whether one of them has these bytes.
    pub fn has(&self, hash: ContentHash) -> bool {
        self.list.iter().any(|candidate| candidate.hash == hash)
    }

    /// What the file held last.
    pub fn newest(&self) -> Option<&Candidate> {
        self.list.last()
    }

    /// The bytes of the newest candidate, if these are they, are those of this version of the document too: the
    /// next save is made from it.
    pub fn set_newest_version(&mut self, hash: ContentHash, version: &Version) {
        if let Some(newest) = self.list.last_mut().filter(|newest| newest.hash == hash) {
            newest.version = version.clone();
        }
    }

    /// The file now holds this.
    pub fn push(&mut self, candidate: Candidate) {
        self.list.push(candidate);
        if self.list.len() > MAX_CANDIDATES {
            // The oldest save stays as long as any: an editor may have had it open for days.
            self.list.remove(1);
        }
        // The newest is kept however long it is: the next save is compared with it.
        let mut bytes = 0;
        for candidate in self.list.iter_mut().rev().skip(1) {
            bytes += candidate.text.as_ref().map_or(0, |text| text.len());
            if bytes > KEPT_TEXT_BYTES {
                candidate.text = None;
            }
        }
    }

    /// Somebody saved this when the file held the version with these bytes, which was then overwritten.
    pub fn push_after(&mut self, hash: ContentHash, candidate: Candidate) {
        let later = match self.list.iter().rposition(|older| older.hash == hash) {
            Some(at) => self.list.split_off(at + 1),
            None => self.list.pop().into_iter().collect(),
        };
        self.push(candidate);
        later.into_iter().for_each(|candidate| self.push(candidate));
    }

    /// What the file held up to the last time that it held these bytes; everything if it never did.
    pub fn up_to(&self, hash: ContentHash) -> Vec<Candidate> {
        let end = self
            .list
            .iter()
            .rposition(|candidate| candidate.hash == hash)
            .map_or(self.list.len(), |at| at + 1);
        self.list[..end].to_vec()
    }

    /// Somebody looked at the version with these bytes (`None`: at the newest). What was known to be read
    /// stays so.
    pub fn mark(&mut self, hash: Option<ContentHash>, evidence: Evidence) {
        let looked_at = |candidate: &&mut Candidate| hash.is_none_or(|hash| candidate.hash == hash);
        if let Some(candidate) = self.list.iter_mut().rfind(looked_at)
            && evidence.rank() < candidate.evidence.rank()
        {
            candidate.evidence = evidence;
        }
    }

    /// What is known of the readers of the versions that we wrote, oldest first.
    pub fn evidence(&self) -> Vec<(ContentHash, Evidence)> {
        let ours = self.list.iter().filter(|candidate| candidate.maker == Maker::Us);
        ours.map(|candidate| (candidate.hash, candidate.evidence)).collect()
    }

    /// What was known when these versions were last in memory.
    pub fn recall(&mut self, evidence: &[(ContentHash, Evidence)]) {
        for candidate in self.list.iter_mut().filter(|candidate| candidate.maker == Maker::Us) {
            if let Some((_, known)) = evidence.iter().rfind(|(hash, _)| *hash == candidate.hash) {
                candidate.evidence = *known;
            }
        }
    }

    /// The watch has seen our write of these bytes take effect: from here on an opening would be noticed.
    pub fn mark_shown(&mut self, hash: ContentHash) {
        let written = |candidate: &&mut Candidate| candidate.hash == hash && candidate.maker == Maker::Us;
        if let Some(candidate) = self.list.iter_mut().rfind(written)
            && candidate.evidence == Evidence::Unknown
        {
            candidate.evidence = Evidence::Unread;
        }
    }

    /// Events were lost: what seemed unread may have been read.
    pub fn doubt(&mut self) {
        for candidate in self.list.iter_mut().filter(|candidate| !candidate.evidence.is_reading()) {
            candidate.evidence = Evidence::Unknown;
        }
    }
}
