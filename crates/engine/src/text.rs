//! The text as it stands: a rope counted in Unicode scalar values.

use jumprope::JumpRope;
use std::ops::Range;

use crate::edit::{Edit, byte_offset, scalars};

/// A pending insertion longer than this goes into the rope: reading it must stay cheap.
const MOST_PENDING: usize = 512;

/// A text. All positions are Unicode scalar values unless a name says otherwise. A library's rope behind
/// our own name, so that the choice (docs/decisions/0002) can be changed in one file.
///
/// What is being typed is kept beside the rope and goes into it when the typing moves elsewhere: most edits touch
/// only the end of a short string.
#[derive(Clone, Debug)]
pub struct Text {
    rope: JumpRope,
    pending: Pending,
}

/// A replacement that the rope does not show yet.
#[derive(Clone, Default, Debug)]
struct Pending {
    /// Where, in scalars of the rope.
    at: usize,
    /// How many scalars of the rope it deletes.
    deleted: usize,
    /// What stands there instead.
    insert: String,
    /// Scalars in `insert`.
    inserted: usize,
}

impl Default for Text {
    fn default() -> Text {
        // A fixed seed: the rope's shape must not differ between runs, or simulations would.
        Text { rope: JumpRope::new_from_seed(0x5e9), pending: Pending::default() }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        let mut whole = Text::default();
        whole.rope.insert(0, text);
        whole
    }
}

impl Text {
    /// Length in scalars.
    pub fn len(&self) -> usize {
        self.rope.len_chars() - self.pending.deleted + self.pending.inserted
    }

    /// Length in bytes of UTF-8.
    pub fn len_bytes(&self) -> usize {
        let deleted: usize = self.rope.slice_substrings(self.pending.range()).map(str::len).sum();
        self.rope.len_bytes() - deleted + self.pending.insert.len()
    }

    /// Length in UTF-16 units.
    pub fn len_utf16(&self) -> usize {
        let Range { start, end } = self.pending.range();
        let deleted = self.rope.chars_to_wchars(end) - self.rope.chars_to_wchars(start);
        self.rope.len_wchars() - deleted + utf16_units(&self.pending.insert)
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inserts before the `at`-th scalar (at the end when there are fewer).
    pub fn insert(&mut self, at: usize, text: &str) {
        let at = at.min(self.len());
        if text.is_empty() {
            return;
        }
        if at != self.pending.at + self.pending.inserted || self.pending.insert.len() > MOST_PENDING {
            self.settle();
            self.pending.at = at;
        }
        self.pending.insert.push_str(text);
        self.pending.inserted += scalars(text);
    }

    /// Removes a range of scalars; what lies beyond the end is ignored.
    pub fn remove(&mut self, range: Range<usize>) {
        let range = range.start.min(self.len())..range.end.min(self.len());
        if range.is_empty() {
            return;
        }
        let pending = &mut self.pending;
        let typed = pending.at + pending.inserted;
        // The delete key and the backspace key go on where the typing stands.
        if range.start == typed {
            pending.deleted += range.len();
            return;
        }
        if range.end == typed {
            let back = range.len().min(pending.inserted);
            pending.inserted -= back;
            pending.insert.truncate(byte_offset(&pending.insert, pending.inserted));
            pending.at -= range.len() - back;
            pending.deleted += range.len() - back;
            return;
        }
        self.settle();
        self.pending.at = range.start;
        self.pending.deleted = range.len();
    }

    /// Puts into the rope what is pending.
    fn settle(&mut self) {
        let pending = &mut self.pending;
        if pending.deleted > 0 {
            self.rope.remove(pending.range());
        }
        if pending.inserted > 0 {
            self.rope.insert(pending.at, &pending.insert);
        }
        pending.insert.clear();
        (pending.deleted, pending.inserted) = (0, 0);
    }

    /// Applies a sorted batch.
    pub fn apply(&mut self, edits: &[Edit]) {
        for edit in edits.iter().rev() {
            self.remove(edit.range.clone());
            self.insert(edit.range.start, &edit.insert);
        }
    }

    /// A part, in scalars; what lies beyond the end is left out.
    pub fn slice(&self, range: Range<usize>) -> String {
        let (start, end) = (range.start.min(self.len()), range.end.min(self.len()));
        let Pending { at, deleted, insert, inserted } = &self.pending;
        let after = at + inserted;
        let mut out = String::new();
        self.copy(start..end.min(*at), &mut out);
        let within = start.clamp(*at, after) - at..end.clamp(*at, after) - at;
        if within.start < within.end {
            let rest = &insert[byte_offset(insert, within.start)..];
            out.push_str(&rest[..byte_offset(rest, within.len())]);
        }
        self.copy(start.max(after) - inserted + deleted..end.max(after) - inserted + deleted, &mut out);
        out
    }

    /// Appends a part of the rope.
    fn copy(&self, range: Range<usize>, out: &mut String) {
        if range.start < range.end {
            self.rope.slice_substrings(range).for_each(|piece| out.push_str(piece));
        }
    }

    /// The whole text as one `String`, whose memory is taken at once: `to_string` grows it piece by piece.
    pub fn to_one_string(&self) -> String {
        let mut out = String::with_capacity(self.len_bytes());
        self.chunks().for_each(|chunk| out.push_str(chunk));
        out
    }

    /// The pieces of the text in order, each a `&str`.
    pub fn chunks(&self) -> impl Iterator<Item = &str> {
        let Range { start, end } = self.pending.range();
        let before = self.rope.slice_substrings(0..start);
        let after = self.rope.slice_substrings(end..self.rope.len_chars());
        before
            .chain(std::iter::once(self.pending.insert.as_str()))
            .chain(after)
            .filter(|piece| !piece.is_empty())
    }

    /// Converts a position in UTF-16 units (JavaScript's) to scalars; `None` beyond the end or inside a
    /// character that takes two units.
    pub fn scalars_of_utf16(&self, units: usize) -> Option<usize> {
        if units > self.len_utf16() {
            return None;
        }
        let Range { start, end } = self.pending.range();
        let before = self.rope.chars_to_wchars(start);
        let typed = before + utf16_units(&self.pending.insert);
        let scalars = if units <= before {
            self.rope.wchars_to_chars(units)
        } else if units <= typed {
            let mut left = units - before;
            start + self.pending.insert.chars().take_while(|c| take_units(&mut left, *c)).count()
        } else {
            let in_rope = units - typed + self.rope.chars_to_wchars(end);
            self.rope.wchars_to_chars(in_rope) - end + start + self.pending.inserted
        };
        (self.utf16_of_scalars(scalars) == Some(units)).then_some(scalars)
    }

    /// Converts a position in scalars to UTF-16 units; `None` beyond the end.
    pub fn utf16_of_scalars(&self, scalars: usize) -> Option<usize> {
        if scalars > self.len() {
            return None;
        }
        let Range { start, end } = self.pending.range();
        let insert = &self.pending.insert;
        if scalars <= start {
            return Some(self.rope.chars_to_wchars(scalars));
        }
        let before = self.rope.chars_to_wchars(start);
        if scalars <= start + self.pending.inserted {
            return Some(before + utf16_units(&insert[..byte_offset(insert, scalars - start)]));
        }
        let in_rope = scalars - start - self.pending.inserted + end;
        let beyond = self.rope.chars_to_wchars(in_rope) - self.rope.chars_to_wchars(end);
        Some(before + utf16_units(insert) + beyond)
    }
}

impl Pending {
    /// What of the rope it replaces.
    fn range(&self) -> Range<usize> {
        self.at..self.at + self.deleted
    }
}

fn utf16_units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Whether a character fits in what is left of some UTF-16 units, which then are fewer.
fn take_units(left: &mut usize, c: char) -> bool {
    let fits = c.len_utf16() <= *left;
    *left = left.saturating_sub(c.len_utf16());
    fits
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.chunks().try_for_each(|chunk| f.write_str(chunk))
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        let mut rest = other.as_bytes();
        self.len_bytes() == rest.len()
            && self.chunks().all(|chunk| {
                let (head, tail) = rest.split_at(chunk.len());
                rest = tail;
                head == chunk.as_bytes()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the obvious oracle, read after every step: what is pending must never show.
        #[test]
        fn a_text_is_as_a_string(
            start in "[ab\u{e9}\u{1f980}]{0,8}",
            steps in proptest::collection::vec((any::<bool>(), 0usize..12, 0usize..4, "[a\u{e9}\u{1f980}]{0,3}"), 0..24),
        ) {
            let mut text = Text::from(start.as_str());
            let mut oracle: Vec<char> = start.chars().collect();
            let mut cursor = 0;
            for (here, at, count, insert) in steps {
                // Mostly on where the last step was, as typing does.
                let at = if here { cursor } else { at }.min(oracle.len());
                if insert.is_empty() {
                    let from = if count % 2 == 0 { at } else { at.saturating_sub(count) };
                    text.remove(from..from + count);
                    oracle.drain(from..(from + count).min(oracle.len()));
                    cursor = from;
                } else {
                    text.insert(at, &insert);
                    oracle.splice(at..at, insert.chars());
                    cursor = at + insert.chars().count();
                }
                let whole: String = oracle.iter().collect();
                prop_assert!(text == *whole.as_str());
                prop_assert_eq!(text.to_one_string(), whole.as_str());
                prop_assert_eq!((text.len(), text.len_bytes()), (oracle.len(), whole.len()));
                prop_assert_eq!(text.len_utf16(), whole.encode_utf16().count());
                let mut units = 0;
                for (scalars, c) in oracle.iter().enumerate() {
                    prop_assert_eq!(text.utf16_of_scalars(scalars), Some(units));
                    prop_assert_eq!(text.scalars_of_utf16(units), Some(scalars));
                    units += c.len_utf16();
                    if c.len_utf16() == 2 {
                        prop_assert_eq!(text.scalars_of_utf16(units - 1), None);
                    }
                }
                prop_assert_eq!(text.scalars_of_utf16(units), Some(oracle.len()));
                prop_assert_eq!(text.scalars_of_utf16(units + 1), None);
                let end = (at + count).min(oracle.len());
                let part: String = oracle[at.min(end)..end].iter().collect();
                prop_assert_eq!(text.slice(at..at + count), part);
            }
        }
    }
}
