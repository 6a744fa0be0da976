//! How much goes into one message. What is too long for one goes in several: each is a step of its own.

use syncline_engine::Edit;

use crate::limits;

/// The most bytes that the deltas of a message may have as JSON. The rest is for the message around them. In tests few.
pub(super) const MOST: usize = if cfg!(test) { 256 } else { limits::MAX_LINE - (1 << 16) };

/// A step of a delta without its text, with what stands between two of them, has at most so many bytes.
const STEP: usize = 24;

/// The bytes of a text within a JSON string.
fn bytes_of(text: &str) -> usize {
    text.bytes().map(escaped).sum()
}

fn escaped(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | 0x08 | b'\t' | b'\n' | 0x0c | b'\r' => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

/// No less than the bytes of a batch as a delta in JSON.
pub(super) fn weight(edits: &[Edit]) -> usize {
    let each = edits.iter().map(|edit| 3 * STEP + bytes_of(&edit.insert));
    STEP + each.sum::<usize>()
}

/// The first part of a batch that is not heavier than `most`, and the rest, which is a batch against the text after
/// the first part. The first part has something in it, whatever `most` is.
pub(super) fn cut(edits: &[Edit], most: usize) -> (Vec<Edit>, Vec<Edit>) {
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    // What the first part adds to the positions behind it.
    let (mut spent, mut shift) = (STEP, 0isize);
    for edit in edits {
        let start = edit.range.start.saturating_add_signed(shift);
        let end = edit.range.end.saturating_add_signed(shift);
        if !rest.is_empty() || (!first.is_empty() && spent + 3 * STEP > most) {
            rest.push(Edit { range: start..end, insert: edit.insert.clone() });
            continue;
        }
        let room = most.saturating_sub(spent + 3 * STEP);
        let (head, tail) = edit.insert.split_at(fitting(&edit.insert, room, first.is_empty()));
        if head.is_empty() && !edit.insert.is_empty() {
            rest.push(Edit { range: start..end, insert: edit.insert.clone() });
            continue;
        }
        spent += 3 * STEP + bytes_of(head);
        let chars = head.chars().count();
        if !tail.is_empty() {
            rest.push(Edit::insert(start + chars, tail));
        }
        shift += chars as isize - edit.range.len() as isize;
        first.push(Edit { range: edit.range.clone(), insert: head.to_owned() });
    }
    (first, rest)
}

/// How many bytes of a text, up to the end of a character, have room; of the first text one character at least.
fn fitting(text: &str, room: usize, some: bool) -> usize {
    let mut spent = 0;
    for (at, c) in text.char_indices() {
        spent += text.as_bytes().iter().skip(at).take(c.len_utf8()).map(|byte| escaped(*byte)).sum::<usize>();
        if spent > room && !(some && at == 0) {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use syncline_engine::{apply_to_str, check_batch};

    use super::super::super::delta::Delta;
    use super::*;

    proptest! {
        #[test]
        fn the_parts_in_a_row_are_the_whole(
            steps in proptest::collection::vec((0usize..5, 0usize..4, "[a\u{1}é\"\n]{0,40}"), 0..8),
            most in 1usize..400,
        ) {
            let text = "0123456789".repeat(4);
            let (mut at, mut edits) = (0, Vec::new());
            for (skip, delete, insert) in steps {
                let start = (at + skip).min(40);
                let end = (start + delete).min(40);
                at = end;
                edits.push(Edit { range: start..end, insert });
            }
            let whole = apply_to_str(&text, &edits);
            let (mut now, mut left, mut rounds) = (text, edits, 0);
            while !left.is_empty() {
                let (first, rest) = cut(&left, most);
                prop_assert!(!first.is_empty());
                let length = now.chars().count();
                prop_assert!(check_batch(&first, length).is_ok());
                prop_assert!(Delta::of(&first, length).to_json().len() <= weight(&first));
                prop_assert!(weight(&first) <= most.max(STEP * 4 + 6), "{} of {}", weight(&first), most);
                now = apply_to_str(&now, &first);
                left = rest;
                rounds += 1;
                prop_assert!(rounds < 1_000);
            }
            prop_assert_eq!(now, whole);
        }
    }
}
