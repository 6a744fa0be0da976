//! What a file held, version by version: the possible bases of the next save.

use std::sync::Arc;
use syncline_disk::ContentHash;
use syncline_engine::Version;

use super::file_state::{Displaced, OnDisk};

/// How many versions are remembered.
pub const MAX_CANDIDATES: usize = 32;
/// So many of the newest are remembered all: what the watch tells of their readers may still be on its way.
const KEPT_WHOLE: usize = 16;
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
    /// Between this and the candidate before it were others, which somebody may have read (see
    /// [`super::nearest_left_out`]).
    pub gap: bool,
    /// The file held only part of that version's text, for two texts were joined: what it held is among the journal's
    /// contents, under the hash.
    pub part: bool,
    /// The text, while it is small enough to keep.
    text: Option<Arc<String>>,
}

impl Candidate {
    /// A version from the journal.
    pub fn stored(version: Version, hash: ContentHash, maker: Maker) -> Candidate {
        let (evidence, base, text) = (Evidence::Unknown, None, None);
        Candidate { version, hash, maker, evidence, base, gap: false, part: false, text }
    }

    /// A version whose bytes have this hash, read by its maker.
    pub fn new_hashed(version: Version, hash: ContentHash, maker: Maker) -> Candidate {
        Candidate { evidence: Evidence::Read, ..Candidate::stored(version, hash, maker) }
    }

    /// A version with these bytes, whose text is not kept.
    pub fn new(version: Version, bytes: &[u8], maker: Maker, evidence: Evidence) -> Candidate {
        Candidate { evidence, ..Candidate::stored(version, ContentHash::of(bytes), maker) }
    }

    /// What a file held before it was joined with the text of a document, which was this version then.
    pub fn joined(version: Version, hash: ContentHash, text: Arc<String>) -> Candidate {
        let mut candidate = Candidate::new_hashed(version, hash, Maker::Other).with_text(text);
        candidate.part = true;
        candidate
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

/// The file of a document that was joined into another, which takes it over.
pub struct Inherited {
    /// The file.
    pub on_disk: OnDisk,
    /// What it held, oldest first: text and bytes.
    pub held: Vec<(Arc<String>, Vec<u8>)>,
    /// Files that it was put in the place of, and to which somebody may still be writing.
    pub displaced: Vec<Displaced>,
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
            self.thin();
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

    /// Forgets some of the older versions: one that nobody read, which nobody can have changed; otherwise every second
    /// of our writes, so that the older they are the fewer there are; otherwise the oldest save. The first of all stays: an
    /// editor may have had it open for days; and so do our writes from which saves were made.
    fn thin(&mut self) {
        let older = 1..self.list.len().saturating_sub(KEPT_WHOLE);
        let bases: Vec<ContentHash> = self.list.iter().filter_map(|candidate| candidate.base).collect();
        let ours = |list: &[Candidate], at: usize| {
            list.get(at).is_some_and(|each| each.maker == Maker::Us && !bases.contains(&each.hash))
        };
        let unread = older.clone().find(|&at| {
            ours(&self.list, at) && self.list.get(at).is_some_and(|each| !each.evidence.is_reading())
        });
        if let Some(at) = unread {
            return self.leave_out(at);
        }
        let second: Vec<usize> = older.clone().filter(|&at| ours(&self.list, at)).step_by(2).collect();
        if second.is_empty() {
            let save = |at: &usize| self.list.get(*at).is_some_and(|each| each.maker == Maker::Other);
            return self.leave_out(older.clone().find(save).unwrap_or(older.start));
        }
        second.into_iter().rev().for_each(|at| self.leave_out(at));
    }

    fn leave_out(&mut self, at: usize) {
        let left_out = self.list.remove(at);
        if let Some(next) = self.list.get_mut(at) {
            next.gap |= left_out.gap || left_out.maker == Maker::Us && left_out.evidence.is_reading();
        }
        self.close_up(&left_out);
    }

    /// What was made from a save that is remembered no longer counts as made from what that was made from.
    fn close_up(&mut self, left_out: &Candidate) {
        if left_out.maker == Maker::Other {
            let made_from_it = |candidate: &&mut Candidate| candidate.base == Some(left_out.hash);
            self.list.iter_mut().filter(made_from_it).for_each(|candidate| candidate.base = left_out.base);
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

    /// Those whose text cannot be replayed from the history and is not at hand.
    pub fn wanting(&self) -> Vec<ContentHash> {
        let wanting = self.list.iter().filter(|candidate| candidate.part && candidate.text.is_none());
        wanting.map(|candidate| candidate.hash).collect()
    }

    /// What was found of such a text. `None`: it is not kept any more, and nobody can be told to have it as a base.
    pub fn supply(&mut self, hash: ContentHash, text: Option<Arc<String>>) {
        let wanting = |candidate: &Candidate| candidate.part && candidate.hash == hash;
        match text {
            Some(text) => self
                .list
                .iter_mut()
                .filter(|candidate| wanting(candidate))
                .for_each(|candidate| candidate.text = Some(text.clone())),
            None => {
                let (gone, kept) = self.list.drain(..).partition(wanting);
                self.list = kept;
                gone.iter().for_each(|gone: &Candidate| self.close_up(gone));
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(number: u8, maker: Maker, evidence: Evidence) -> Candidate {
        Candidate::new(Version::root(), &[number], maker, evidence)
    }

    #[test]
    fn what_nobody_read_is_forgotten_first_and_no_gap() {
        let mut all = Candidates::default();
        for number in 0..100 {
            let evidence = if number % 10 == 0 { Evidence::Read } else { Evidence::Unread };
            all.push(candidate(number, Maker::Us, evidence));
        }
        let kept: Vec<&Candidate> = all.all().iter().collect();
        assert!(kept.len() <= MAX_CANDIDATES);
        for read in (0..100).step_by(10) {
            assert!(kept.iter().any(|each| each.hash == ContentHash::of(&[read])), "{read} was read");
        }
        assert!(kept.iter().all(|each| !each.gap));
    }

    #[test]
    fn of_many_that_were_read_fewer_stay_the_older_they_are() {
        let mut all = Candidates::default();
        let save =
            Candidate { base: Some(ContentHash::of(&[7])), ..candidate(8, Maker::Other, Evidence::Read) };
        for number in 0..200 {
            match number {
                8 => all.push(save.clone()),
                _ => all.push(candidate(number, Maker::Us, Evidence::Read)),
            }
        }
        let at = |number: u8| all.all().iter().position(|each| each.hash == ContentHash::of(&[number]));
        assert!(all.all().len() <= MAX_CANDIDATES);
        assert_eq!(
            (at(0), at(7)),
            (Some(0), at(8).map(|at| at - 1)),
            "the first, and what a save was made from"
        );
        assert!((184..200).all(|number| at(number).is_some()), "the newest");
        assert!(all.all().iter().any(|each| each.gap));
    }

    #[test]
    fn what_a_forgotten_save_was_made_from_is_what_the_next_was_made_from() {
        let mut all = Candidates::default();
        for number in 0..100 {
            let base = all.newest().map(|newest| newest.hash);
            all.push(Candidate { base, ..candidate(number, Maker::Other, Evidence::Read) });
        }
        assert!(all.all().len() <= MAX_CANDIDATES);
        for pair in all.all().windows(2) {
            assert_eq!((pair[1].base, pair[1].gap), (Some(pair[0].hash), false));
        }
    }
}
