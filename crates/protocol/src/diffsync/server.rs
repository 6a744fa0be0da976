//! The server's end of one session on one document: Fraser's guaranteed delivery, with what simulation forced
//! upon it (docs/protocols/diffsync.md).
//!
//! A pure state machine over a [`History`], which is the document as the engine has it: shadows are versions
//! of that history, edits enter it at the shadow's version, and merging is the engine's. A request is verified
//! whole, on a shadow that costs nothing to try out, before anything is entered.

use std::sync::Arc;

use syncline_engine::{Edit, diff};

use super::checksum::Sum;
use super::delta::Delta;
use super::request::{ClientReturn, ClientSync, Numbered};
use super::response::{Resync, ServerSync};
use super::summed_text::SummedText;
use crate::limits;
use crate::rebase::rebase_unknown;

/// A version of a document, with its text.
#[derive(Clone, Debug)]
pub struct Shadow<V> {
    /// Which version.
    pub version: V,
    /// The text there; shares its parts with the texts of other versions.
    pub text: SummedText,
}

/// What a session needs of a document.
pub trait History {
    /// A version of the document.
    type Version: Clone + PartialEq;
    /// Why an edit could not be entered.
    type Error;

    /// The newest version.
    fn now(&mut self) -> Shadow<Self::Version>;

    /// Enters batches of edits one after the other, the first at version `at`, each further one at what the
    /// one before made. Gives the version of whoever made them. All of them or none.
    ///
    /// # Errors
    /// If the document does not take them.
    fn enter(&mut self, at: &Self::Version, batches: &[Vec<Edit>]) -> Result<Self::Version, Self::Error>;

    /// What changed from a shadow to the newest version; `None` if the text is the same.
    fn changes(&mut self, since: &Shadow<Self::Version>) -> Option<Arc<Delta>>;

    /// A version whose text has this sum, if one is known.
    fn version_with(&mut self, sum: Sum) -> Option<Self::Version>;
}

/// What was answered last, so that it can be answered again. Its parts are those of the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answered {
    /// Nothing yet.
    Nothing,
    /// A `ServerSync`.
    Sync,
    /// A `Resync`.
    Resync,
}

/// What a session is, besides its shadows' texts: what the journal keeps.
#[derive(Clone, Debug)]
pub struct Server<V> {
    /// What the client's shadow is, as far as is known.
    shadow: Shadow<V>,
    /// The client's version.
    n: u64,
    /// The server's version.
    m: u64,
    /// What the client's shadow is if the last answer was lost.
    backup: Shadow<V>,
    /// `m` of the backup. Its `n` is always `n`.
    backup_m: u64,
    /// What was told since the backup, oldest first, until the client says that it has it. Each raised `m` by one.
    told: Vec<Told<V>>,
    last_seq: u64,
    answered: Answered,
}

/// Something that the client was told.
#[derive(Clone, Debug)]
struct Told<V> {
    delta: Arc<Delta>,
    /// What its shadow is if it heard this and nothing since.
    after: Shadow<V>,
}

/// The parts of a [`Server`], as a journal keeps them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parts<V> {
    /// The shadow's version.
    pub shadow: V,
    /// The backup's version.
    pub backup: V,
    /// The client's version.
    pub n: u64,
    /// The server's version in the backup.
    pub backup_m: u64,
    /// The server's edits that were not acknowledged, and the version after each.
    pub told: Vec<(Arc<Delta>, V)>,
    /// The last request that was carried out.
    pub last_seq: u64,
    /// How it was answered.
    pub answered: Answered,
}

/// What a request came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The step was taken.
    Sync(ServerSync),
    /// It could not be taken, and nothing was entered: both sides begin anew.
    Resync(Resync),
    /// It is older than one that was answered: no answer.
    Late,
    /// A `ClientReturn` where there is nothing to come back to: nothing was entered, and that is an error.
    OutOfPlace,
}

/// An answer, and whether the client's edits are in it for the first time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What to send.
    pub answer: Answer,
    /// Something was entered into the document: the session must be journalled with it.
    pub entered: bool,
}

impl<V: Clone + PartialEq> Server<V> {
    /// A new session: the client gets this text.
    pub fn new(now: Shadow<V>) -> Server<V> {
        Server {
            backup: now.clone(),
            shadow: now,
            n: 0,
            m: 0,
            backup_m: 0,
            told: Vec::new(),
            last_seq: 0,
            answered: Answered::Nothing,
        }
    }

    /// Whether any request was answered: until then its client may not know that it has the session.
    pub fn has_answered(&self) -> bool {
        self.answered != Answered::Nothing
    }

    /// A session as it was, with the text of its backup. The others follow from that, unless it is not this session's.
    pub fn restored(parts: Parts<V>, backup: SummedText) -> Option<Server<V>> {
        let Parts { shadow: version, backup: backup_version, n, backup_m, told: parts, last_seq, answered } =
            parts;
        let (mut text, mut told) = (backup.clone(), Vec::with_capacity(parts.len()));
        for (delta, version) in parts {
            text = text.edited(&delta.edits(text.chars()).ok()?).ok()?;
            told.push(Told { delta, after: Shadow { version, text: text.clone() } });
        }
        let m = backup_m.checked_add(told.len() as u64)?;
        let backup = Shadow { version: backup_version, text: backup };
        Some(Server { shadow: Shadow { version, text }, n, m, backup, backup_m, told, last_seq, answered })
    }

    /// What must be kept for the session to go on.
    pub fn parts(&self) -> Parts<V> {
        Parts {
            shadow: self.shadow.version.clone(),
            backup: self.backup.version.clone(),
            n: self.n,
            backup_m: self.backup_m,
            told: self.told.iter().map(|told| (told.delta.clone(), told.after.version.clone())).collect(),
            last_seq: self.last_seq,
            answered: self.answered,
        }
    }

    /// The shadow.
    pub fn shadow(&self) -> &Shadow<V> {
        &self.shadow
    }

    /// The client's version, the server's, and the last request that was carried out.
    pub fn numbers(&self) -> (u64, u64, u64) {
        (self.n, self.m, self.last_seq)
    }

    /// Takes a request.
    ///
    /// # Errors
    /// If the document does not take the edits: the session is as before, and the request may come again.
    pub fn sync<H: History<Version = V>>(
        &mut self,
        sync: &ClientSync,
        history: &mut H,
    ) -> Result<Step, H::Error> {
        if sync.seq <= self.last_seq {
            // A duplicate of the last request gets the last answer; an older one none.
            let answer = if sync.seq == self.last_seq { self.again() } else { Answer::Late };
            return Ok(Step { answer, entered: false });
        }
        let Some(base) = self.acknowledged(sync.m_ack) else {
            return Ok(self.resync(sync.seq, sync.m_ack, history));
        };
        let Some((text, batches)) = self.verified(sync, &base.text) else {
            return Ok(self.resync(sync.seq, sync.m_ack, history));
        };
        let version = match batches.as_slice() {
            [] => base.version.clone(),
            batches => history.enter(&base.version, batches)?,
        };
        self.last_seq = sync.seq;
        self.n += batches.len() as u64;
        // On every accepted request, also one without edits: the answer to it may get lost as well.
        self.backup = Shadow { version, text };
        (self.m, self.backup_m, self.answered) = (sync.m_ack, sync.m_ack, Answered::Sync);
        self.told.clear();
        self.shadow = self.backup.clone();
        self.tell(history);
        Ok(Step { answer: self.again(), entered: !batches.is_empty() })
    }

    /// The client's shadow, if it has what was told up to `m_ack`. What it did not get of that was lost.
    fn acknowledged(&self, m_ack: u64) -> Option<&Shadow<V>> {
        if m_ack == self.m {
            return Some(&self.shadow);
        }
        match m_ack.checked_sub(self.backup_m)? {
            0 => Some(&self.backup),
            heard => self.told.get(usize::try_from(heard).ok()? - 1).map(|told| &told.after),
        }
    }

    /// Tells the client what changed since its shadow, if anything did.
    fn tell<H: History<Version = V>>(&mut self, history: &mut H) -> Option<Numbered> {
        let delta = history.changes(&self.shadow);
        self.shadow = history.now();
        let delta = delta?;
        let numbered = (self.m, delta.clone());
        self.told.push(Told { delta, after: self.shadow.clone() });
        self.m += 1;
        Some(numbered)
    }

    /// What there is to say to the last request, which waits, beyond what was said to it before: perhaps nothing.
    pub fn news<H: History<Version = V>>(&mut self, history: &mut H) -> Answer {
        if self.answered != Answered::Sync || self.told.len() >= limits::MAX_TOLD {
            return Answer::Late;
        }
        let edits = self.tell(history).into_iter().collect();
        Answer::Sync(self.answer_with(edits))
    }

    /// The text of the client's shadow after its new edits, and these, if everything fits.
    fn verified(&self, sync: &ClientSync, base: &SummedText) -> Option<(SummedText, Vec<Vec<Edit>>)> {
        let (mut text, mut batches, mut n) = (base.clone(), Vec::new(), self.n);
        for (base_n, delta) in &sync.edits {
            if *base_n < n {
                // Seen before. (Or twice in one message: the sum will tell.)
                continue;
            }
            if *base_n > n {
                return None;
            }
            let edits = delta.edits(text.chars()).ok()?;
            text = text.edited(&edits).ok()?;
            batches.push(edits);
            n += 1;
        }
        // Without a sum the client asks for a fresh start.
        (sync.sum == Some(text.sum())).then_some((text, batches))
    }

    /// Begins anew from the newest version, under numbers that no message under way can have.
    fn resync<H: History<Version = V>>(&mut self, seq: u64, m_ack: u64, history: &mut H) -> Step {
        self.shadow = history.now();
        // A client may claim any number; one that cannot be counted on from is not believed.
        let claimed = if m_ack < u64::MAX / 2 { m_ack } else { 0 };
        self.m = self.m.max(claimed) + 1;
        self.backup = self.shadow.clone();
        self.backup_m = self.m;
        self.told.clear();
        self.last_seq = seq;
        self.answered = Answered::Resync;
        Step { answer: self.again(), entered: false }
    }

    /// Takes what a client has whose session was not known here: its edits since the shadow that it had.
    ///
    /// # Errors
    /// If the document does not take them: the session is as before.
    pub fn returned<H: History<Version = V>>(
        &mut self,
        back: &ClientReturn,
        history: &mut H,
    ) -> Result<Step, H::Error> {
        if back.seq <= self.last_seq {
            let answer = if back.seq == self.last_seq { self.again() } else { Answer::Late };
            return Ok(Step { answer, entered: false });
        }
        if self.has_answered() {
            // The session is known and its client goes on with it. Entered by its text, what it did would be there twice.
            return Ok(Step { answer: Answer::OutOfPlace, entered: false });
        }
        let mut entered = false;
        if Sum::of(&back.shadow) == back.sum {
            let theirs = diff(&back.shadow, &back.text);
            let (version, edits) = match history.version_with(back.sum) {
                Some(version) => (version, theirs),
                // No version here is known to be the text they saw. Both have changed it since: what the
                // document did is found by comparing, and an edit that both have is one edit.
                None => {
                    let now = history.now();
                    let ours = diff(&back.shadow, &now.text.to_string());
                    (now.version, rebase_unknown(&theirs, &ours))
                }
            };
            if !edits.is_empty() {
                history.enter(&version, &[edits])?;
                entered = true;
            }
        }
        Ok(Step { entered, ..self.resync(back.seq, 0, history) })
    }

    fn answer_with(&self, edits: Vec<Numbered>) -> ServerSync {
        let (doc, sum) = (String::new(), self.shadow.text.sum());
        ServerSync { doc, seq: self.last_seq, n_ack: self.n, edits, sum }
    }

    /// The last answer, once more.
    fn again(&self) -> Answer {
        let doc = String::new();
        let sum = self.shadow.text.sum();
        match self.answered {
            Answered::Nothing => Answer::Late,
            Answered::Sync => {
                let told = (self.backup_m..).zip(&self.told);
                Answer::Sync(self.answer_with(told.map(|(base, told)| (base, told.delta.clone())).collect()))
            }
            Answered::Resync => Answer::Resync(Resync {
                doc,
                seq: self.last_seq,
                n_ack: self.n,
                n: self.n,
                m: self.m,
                text: self.shadow.text.to_string(),
                sum,
            }),
        }
    }

    /// What must hold after every request, for tests: what was told leads from the backup to the shadow.
    pub fn invariants_hold(&self) -> bool {
        let again = Server::restored(self.parts(), self.backup.text.clone());
        let leads = |server: Server<V>| {
            let texts = server.told.iter().zip(&self.told);
            server.m == self.m
                && server.shadow.text.sum() == self.shadow.text.sum()
                && texts.into_iter().all(|(a, b)| a.after.text.sum() == b.after.text.sum())
        };
        again.is_some_and(leads) && self.told.len() <= limits::MAX_TOLD
    }
}

/// The delta of a batch for a text of `length` scalars. One of more places than a message may have is one
/// replacement of everything between the first and the last.
pub fn delta_of(edits: &[Edit], length: usize, after: &SummedText) -> Delta {
    let delta = Delta::of(edits, length);
    if delta.steps() <= limits::MAX_DELTA_STEPS / 2 {
        return delta;
    }
    let (Some(first), Some(last)) = (edits.first(), edits.last()) else { return delta };
    let end = after.chars() - (length - last.range.end);
    let insert = after.slice(first.range.start..end);
    Delta::of(&[Edit { range: first.range.start..last.range.end, insert }], length)
}
