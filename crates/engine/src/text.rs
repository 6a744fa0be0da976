//! The text as it stands: a rope counted in Unicode scalar values.

use jumprope::JumpRope;
use std::ops::Range;

use crate::edit::Edit;

/// A text. All positions are Unicode scalar values unless a name says otherwise. A library's rope behind
/// our own name, so that the choice (docs/decisions/0002) can be changed in one file.
#[derive(Clone, Debug)]
pub struct Text(JumpRope);

impl Default for Text {
    fn default() -> Text {
        // A fixed seed: the rope's shape must not differ between runs, or simulations would.
        Text(JumpRope::new_from_seed(0x5e9))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        let mut rope = Text::default();
        rope.0.insert(0, text);
        rope
    }
}

impl Text {
    /// Length in scalars.
    pub fn len(&self) -> usize {
        self.0.len_chars()
    }

    /// Length in bytes of UTF-8.
    pub fn len_bytes(&self) -> usize {
        self.0.len_bytes()
    }

    /// Length in UTF-16 units.
    pub fn len_utf16(&self) -> usize {
        self.0.len_wchars()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Inserts before the `at`-th scalar (at the end when there are fewer).
    pub fn insert(&mut self, at: usize, text: &str) {
        self.0.insert(at, text);
    }

    /// Removes a range of scalars; what lies beyond the end is ignored.
    pub fn remove(&mut self, range: Range<usize>) {
        let range = range.start.min(self.len())..range.end.min(self.len());
        if !range.is_empty() {
            self.0.remove(range);
        }
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
        let range = range.start.min(self.len())..range.end.min(self.len());
        if range.is_empty() {
            return String::new();
        }
        self.0.slice_substrings(range).collect()
    }

    /// The whole text as one `String`, whose memory is taken at once: `to_string` grows it piece by piece.
    pub fn to_one_string(&self) -> String {
        let mut out = String::with_capacity(self.len_bytes());
        self.chunks().for_each(|chunk| out.push_str(chunk));
        out
    }

    /// The pieces of the text in order, each a `&str`.
    pub fn chunks(&self) -> impl Iterator<Item = &str> {
        self.0.substrings()
    }

    /// Converts a position in UTF-16 units (JavaScript's) to scalars; `None` beyond the end or inside a
    /// character that takes two units.
    pub fn scalars_of_utf16(&self, units: usize) -> Option<usize> {
        if units > self.len_utf16() {
            return None;
        }
        let scalars = self.0.wchars_to_chars(units);
        (self.0.chars_to_wchars(scalars) == units).then_some(scalars)
    }

    /// Converts a position in scalars to UTF-16 units; `None` beyond the end.
    pub fn utf16_of_scalars(&self, scalars: usize) -> Option<usize> {
        (scalars <= self.len()).then(|| self.0.chars_to_wchars(scalars))
    }
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
