//! The diff of a text that is in memory piece by piece, without putting it together: of a large file in which a
//! word was changed only the lines around it are copied.

use super::{common_prefix, common_suffix, diff};
use crate::edit::Edit;
use crate::text::Text;
use std::ops::Range;

/// As [`diff`], from a rope. Time is that of comparing both texts once; memory that of what lies between the
/// lines they share at both ends, and 16 bytes for each piece of the rope.
pub fn diff_text(old: &Text, new: &str) -> Vec<Edit> {
    let pieces: Vec<&str> = old.chunks().collect();
    let head = shared(pieces.iter().copied(), new.as_bytes(), common_prefix);
    let room = new.len().min(old.len_bytes()) - head;
    let rest = &new.as_bytes()[new.len() - room..];
    let tail = shared_end(pieces.iter().copied(), rest);
    match Window::new(old, head, &new.as_bytes()[head..new.len() - tail], tail) {
        Some(window) => window.diff(),
        // Not possible: what lies between line breaks of a text is text.
        None => diff(&old.to_one_string(), new),
    }
}

/// Whole lines of a text, and what stands there instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// Where the lines are, in bytes of the old text.
    range: Range<usize>,
    /// How many scalars are before them.
    before: usize,
    old: String,
    new: String,
}

impl Window {
    /// The lines around a change: all of `text` but its first `start` and last `tail` bytes is now `bytes`. They may
    /// cut characters. `None`: that is not UTF-8, or `start` and `tail` are more than there is. Time is that of going
    /// once through what comes before the change.
    pub fn new(text: &Text, start: usize, bytes: &[u8], tail: usize) -> Option<Window> {
        let end = text.len_bytes().checked_sub(tail).filter(|end| start <= *end)?;
        // It begins after a line break that both texts have, and ends after one: nothing outside differs, and no
        // grapheme reaches across (GB4 of Unicode's annex 29).
        let (mut from, mut before, mut passed) = (0, 0, 0);
        let mut old: Vec<u8> = Vec::new();
        for piece in text.chunks() {
            let at = from + old.len();
            let within = piece.len().min(start.saturating_sub(at));
            let mut rest = piece;
            if let Some((lines, line)) = last_line(within, piece) {
                before = passed + scalars(lines);
                from = at + lines.len();
                old.clear();
                rest = line;
            }
            passed += if at < start { scalars(piece) } else { 0 };
            let after = end.saturating_sub(from + old.len()).min(rest.len());
            if from + old.len() + rest.len() > end
                && let Some(found) = rest.as_bytes()[after..].iter().position(|byte| *byte == b'\n')
            {
                old.extend_from_slice(&rest.as_bytes()[..after + found + 1]);
                break;
            }
            old.extend_from_slice(rest.as_bytes());
        }
        let mut new = old.get(..start - from)?.to_vec();
        new.extend_from_slice(bytes);
        new.extend_from_slice(old.get(end - from..)?);
        let range = from..from + old.len();
        Some(Window { range, before, old: String::from_utf8(old).ok()?, new: String::from_utf8(new).ok()? })
    }

    /// What stands in the lines now.
    pub fn text(&self) -> &str {
        &self.new
    }

    /// Whether the first line is among them.
    pub fn is_at_start(&self) -> bool {
        self.range.start == 0
    }

    /// What changes the old text, as [`diff`] finds it.
    pub fn diff(&self) -> Vec<Edit> {
        let mut edits = diff(&self.old, &self.new);
        for edit in &mut edits {
            edit.range = edit.range.start + self.before..edit.range.end + self.before;
        }
        edits
    }

    /// The whole new text, from the old one.
    pub fn whole(&self, old: &Text) -> String {
        let after = self.range.end..old.len_bytes();
        let mut whole = String::with_capacity(self.range.start + self.new.len() + after.len());
        let (mut at, mut put) = (0, false);
        for piece in old.chunks() {
            let end = at + piece.len();
            whole.push_str(
                piece.get(..self.range.start.saturating_sub(at).min(piece.len())).unwrap_or_default(),
            );
            if !put && end >= self.range.start {
                whole.push_str(&self.new);
                put = true;
            }
            whole.push_str(
                piece.get(self.range.end.saturating_sub(at).min(piece.len())..).unwrap_or_default(),
            );
            at = end;
        }
        if !put {
            whole.push_str(&self.new);
        }
        whole
    }
}

/// A text cut after its last line break within the first `within` bytes, if there is one.
fn last_line(within: usize, text: &str) -> Option<(&str, &str)> {
    let found = text.as_bytes()[..within].iter().rposition(|byte| *byte == b'\n')?;
    text.split_at_checked(found + 1)
}

fn scalars(text: &str) -> usize {
    text.chars().count()
}

/// How many bytes the pieces, one after the other, share with the beginning of `text`.
fn shared<'a>(
    pieces: impl Iterator<Item = &'a str>,
    mut text: &[u8],
    common: fn(&[u8], &[u8]) -> usize,
) -> usize {
    let mut length = 0;
    for piece in pieces {
        let same = common(piece.as_bytes(), text);
        length += same;
        if same < piece.len() {
            break;
        }
        text = &text[same..];
    }
    length
}

/// As [`shared`], at the ends.
fn shared_end<'a>(pieces: impl DoubleEndedIterator<Item = &'a str>, mut text: &[u8]) -> usize {
    let mut length = 0;
    for piece in pieces.rev() {
        let same = common_suffix(piece.as_bytes(), text);
        length += same;
        if same < piece.len() {
            break;
        }
        text = &text[..text.len() - same];
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_the_diff_of_strings(
            lines in proptest::collection::vec("[ab\u{e9}\u{1f1e9}\u{301}\r]{0,3}\n?", 0..40),
            cut in any::<(usize, usize)>(),
            put in "[abe\u{301}\r\n]{0,6}",
            cuts in proptest::collection::vec(any::<usize>(), 0..5),
        ) {
            let old = lines.concat();
            let chars: Vec<char> = old.chars().collect();
            let from = cut.0 % (chars.len() + 1);
            let to = from + cut.1 % (chars.len() - from + 1).min(12);
            let new: String = chars[..from].iter().copied().chain(put.chars()).chain(chars[to..].iter().copied()).collect();
            // In many pieces: a rope that was typed here and there.
            let mut text = Text::from(old.as_str());
            for cut in cuts {
                let at = cut % (text.len() + 1);
                text.insert(at, "x");
                text.remove(at..at + 1);
            }
            prop_assert_eq!(diff_text(&text, &new), diff(&old, &new));
        }
    }

    proptest! {
        #[test]
        fn a_window_is_the_change_in_whole_lines(
            old in "[ab\u{e9}\n]{0,12}",
            cut in any::<(usize, usize)>(),
            put in "[abe\u{e9}\n]{0,4}",
        ) {
            // Between any bytes, also those of one character.
            let (start, tail) = (cut.0 % (old.len() + 1), cut.1 % (old.len() + 1));
            let tail = tail.min(old.len() - start);
            let text = Text::from(old.as_str());
            let new = [&old.as_bytes()[..start], put.as_bytes(), &old.as_bytes()[old.len() - tail..]].concat();
            let window = Window::new(&text, start, put.as_bytes(), tail);
            match String::from_utf8(new) {
                Ok(new) => {
                    let window = window.unwrap();
                    prop_assert_eq!(window.whole(&text), new.clone());
                    prop_assert_eq!(crate::edit::apply_to_str(&old, &window.diff()), new);
                }
                Err(_) => prop_assert_eq!(window, None),
            }
        }
    }

    #[test]
    fn at_the_ends() {
        for (old, new) in
            [("", ""), ("", "a\n"), ("a\n", ""), ("a", "ab"), ("\n", "\n\n"), ("a\nb", "a\nb\nc")]
        {
            assert_eq!(diff_text(&Text::from(old), new), diff(old, new), "{old:?} {new:?}");
        }
    }
}
