//! The diff of a text that is in memory piece by piece, without putting it together: of a large file in which a
//! word was changed only the lines around it are copied.

use super::{common_prefix, common_suffix, diff};
use crate::edit::Edit;
use crate::text::Text;

/// As [`diff`], from a rope. Time is that of comparing both texts once; memory that of what lies between the
/// lines they share at both ends, and 16 bytes for each piece of the rope.
pub fn diff_text(old: &Text, new: &str) -> Vec<Edit> {
    let pieces: Vec<&str> = old.chunks().collect();
    let head = shared(pieces.iter().copied(), new.as_bytes(), common_prefix);
    let room = new.len().min(old.len_bytes()) - head;
    let rest = &new.as_bytes()[new.len() - room..];
    let tail = shared_end(pieces.iter().copied(), rest);
    // Both windows begin after a line break that both texts have, and end after one: nothing outside differs, and
    // no grapheme reaches across (GB4 of Unicode's annex 29).
    let start = new.as_bytes()[..head].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let kept = &new.as_bytes()[new.len() - tail..];
    let end = kept.iter().position(|byte| *byte == b'\n').map_or(0, |at| tail - at - 1);
    let before: usize = scalars(&new[..start]);
    let old = part(&pieces, start, old.len_bytes() - end);
    let mut edits = diff(&old, &new[start..new.len() - end]);
    for edit in &mut edits {
        edit.range = edit.range.start + before..edit.range.end + before;
    }
    edits
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

/// The bytes from `start` to `end` of the pieces, which must not cut a character.
fn part(pieces: &[&str], start: usize, end: usize) -> String {
    let mut out = String::with_capacity(end.saturating_sub(start));
    let mut at = 0;
    for piece in pieces {
        let (from, to) = (start.max(at), end.min(at + piece.len()));
        if let Some(inside) = piece.get(from.saturating_sub(at)..to.saturating_sub(at)) {
            out.push_str(inside);
        }
        at += piece.len();
    }
    out
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

    #[test]
    fn at_the_ends() {
        for (old, new) in
            [("", ""), ("", "a\n"), ("a\n", ""), ("a", "ab"), ("\n", "\n\n"), ("a\nb", "a\nb\nc")]
        {
            assert_eq!(diff_text(&Text::from(old), new), diff(old, new), "{old:?} {new:?}");
        }
    }
}
