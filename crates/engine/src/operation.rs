//! What each event did: a column of runs, and the inserted text, in the order of the events.

use std::ops::Range;

use crate::version::Lv;

/// What a run of events did. All positions are scalars, in the text at the version of the run's first
/// event's parents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Characters were inserted, each after the one before, the first before position `at`.
    Insert {
        /// Position of the first inserted character.
        at: usize,
    },
    /// Characters were deleted. Forward (the delete key, a selection): each at position `at`. Backward
    /// (the backspace key): the first at `at`, each further one a position lower.
    Delete {
        /// Position of the first deleted character.
        at: usize,
        /// Whether the positions descend.
        backward: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct Run {
    start: Lv,
    kind: Kind,
    /// Where the run's text begins in `inserted`, in bytes (the end of it so far, for a deletion).
    text: usize,
}

/// A part of one run: what the events `range` did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation<'a> {
    /// The events.
    pub range: Range<Lv>,
    /// What the first of them did, and so the rest.
    pub kind: Kind,
    /// What was inserted (empty for a deletion).
    pub text: &'a str,
}

/// The operations of all events of a document.
#[derive(Clone, Default, Debug)]
pub struct Operations {
    runs: Vec<Run>,
    inserted: String,
    len: usize,
}

impl Operations {
    /// Appends an insertion of `count` scalars.
    pub fn push_insert(&mut self, at: usize, text: &str, count: usize) {
        let continues = match self.runs.last() {
            Some(Run { start, kind: Kind::Insert { at: first }, .. }) => {
                at.checked_sub(self.len - start) == Some(*first)
            }
            _ => false,
        };
        if !continues {
            self.runs.push(Run { start: self.len, kind: Kind::Insert { at }, text: self.inserted.len() });
        }
        self.inserted.push_str(text);
        self.len += count;
    }

    /// Appends a deletion of `count` scalars.
    pub fn push_delete(&mut self, at: usize, count: usize, backward: bool) {
        if let Some(Run { start, kind: Kind::Delete { at: first, backward: was }, .. }) = self.runs.last_mut()
        {
            let length = self.len - *start;
            let single = length == 1;
            let forward = (!*was || single) && (!backward || count == 1) && *first == at;
            let back = (*was || single) && (backward || count == 1) && at.checked_add(length) == Some(*first);
            if forward || back {
                *was = !forward;
                self.len += count;
                return;
            }
        }
        let backward = backward && count > 1;
        self.runs.push(Run {
            start: self.len,
            kind: Kind::Delete { at, backward },
            text: self.inserted.len(),
        });
        self.len += count;
    }

    /// Forgets every event from `len` on.
    pub fn truncate(&mut self, len: usize) {
        let keep = self.runs.partition_point(|run| run.start < len);
        let mut end = self.runs.get(keep).map_or(self.inserted.len(), |run| run.text);
        if let Some(last) = keep.checked_sub(1).map(|at| self.runs[at])
            && let Kind::Insert { .. } = last.kind
        {
            end = last.text + crate::edit::byte_offset(&self.inserted[last.text..end], len - last.start);
        }
        self.inserted.truncate(end);
        self.runs.truncate(keep);
        if let Some(Run { start, kind: Kind::Delete { backward, .. }, .. }) = self.runs.last_mut()
            && len - *start == 1
        {
            // What came after it made it the first of a backward run.
            *backward = false;
        }
        self.len = self.len.min(len);
    }

    /// What the events of a range did, run by run.
    pub fn iter(&self, range: Range<Lv>) -> impl Iterator<Item = Operation<'_>> {
        let mut next = range.start;
        let mut index = self.runs.partition_point(|run| run.start <= range.start).wrapping_sub(1);
        std::iter::from_fn(move || {
            if next >= range.end {
                return None;
            }
            let run = self.runs[index];
            let (run_end, text_end) =
                self.runs.get(index + 1).map_or((self.len, self.inserted.len()), |run| (run.start, run.text));
            let part = next..run_end.min(range.end);
            let skip = part.start - run.start;
            let (kind, text) = match run.kind {
                Kind::Insert { at } => {
                    let all = &self.inserted[run.text..text_end];
                    let whole = part.len() == run_end - run.start;
                    let text = if whole {
                        all
                    } else {
                        let from = crate::edit::byte_offset(all, skip);
                        let to = from + crate::edit::byte_offset(&all[from..], part.len());
                        &all[from..to]
                    };
                    (Kind::Insert { at: at.saturating_add(skip) }, text)
                }
                Kind::Delete { at, backward: true } => {
                    (Kind::Delete { at: at.saturating_sub(skip), backward: true }, "")
                }
                Kind::Delete { at, backward: false } => (Kind::Delete { at, backward: false }, ""),
            };
            next = part.end;
            index += 1;
            Some(Operation { range: part, kind, text })
        })
    }
}
