//! What somebody changed, from the text before and the text after.
//!
//! Trim what both ends share; line the rest up by lines with words on them that are in both (histogram diff,
//! `imara-diff`); in what is between, compare each line with each, or, of too many, again by histogram; and in lines that are
//! alike compare words and single characters, under a budget. Edits begin and end where a person
//! would see a character begin and end (Unicode grapheme clusters).

mod anchors;
mod rope;

use imara_diff::{Algorithm, Diff, InternedInput, TokenSource};
use std::collections::HashMap;
use std::ops::Range;
use unicode_segmentation::GraphemeCursor;

use crate::edit::Edit;
use anchors::anchored_hunks;
pub use anchors::is_distinctive;
pub use rope::{Window, diff_text};

/// A hunk with more bytes than this on either side is replaced as a whole line by line: comparing words in
/// it would take longer than it is worth.
const WORD_BUDGET: usize = 64 << 10;

/// A hunk with at most so many pairs of lines has all of them compared: 64 lines by 64, or one by 4096.
const PAIRED_LINES: usize = 64 * 64;

/// So many bytes are compared at most to find those pairs: each line is gone through once for each of the other side.
const PAIRED_BYTES: usize = 4 << 20;

/// Of a longer line (in bytes) no more counts for how lines are paired.
const LONG_LINE: usize = 80;

/// What a line that is in both texts counts for, where one that is as alike as can be counts 100.
const EQUAL: u32 = 250;

/// Lines that have less than this in common (in percent) are different lines, not one that was changed.
const ALIKE: u32 = 50;

/// The edits that turn `old` into `new`: sorted, disjoint, in scalars of `old`. Equal texts give none.
pub fn diff(old: &str, new: &str) -> Vec<Edit> {
    let mut changes = Vec::new();
    let (head, tail) = common_ends(old, new);
    if head + tail < old.len().max(new.len()) {
        // Whole lines, so that a line is compared with a line and not with the middle of one: a line put
        // before one that begins alike must not be taken for text put into that one.
        let start = old[..head].rfind('\n').map_or(0, |at| at + 1);
        let at_line = |text: &str| tail == text.len() || text[..text.len() - tail].ends_with('\n');
        let rest = &old[old.len() - tail..];
        let more = match rest.find('\n') {
            _ if at_line(old) && at_line(new) => 0,
            Some(at) => at + 1,
            None => tail,
        };
        let end = |text: &str| text.len() - tail + more;
        compare_lines(old, new, start..end(old), start..end(new), &mut changes);
    }
    to_edits(old, new, &changes)
}

/// How much must be put in and taken out to turn `old` into `new`: the cost that base inference compares
/// (docs/decisions/0007).
pub fn diff_cost(old: &str, new: &str) -> DiffCost {
    let (head, tail) = common_ends(old, new);
    let start = old[..head].rfind('\n').map_or(0, |at| at + 1);
    let line_end = |text: &str| {
        let from = text.len() - tail;
        text[from..].find('\n').map_or(text.len(), |at| from + at + 1)
    };
    let input = InternedInput::new(&old[start..line_end(old)], &new[start..line_end(new)]);
    let lines = Diff::compute(Algorithm::Histogram, &input);
    let edits = diff(old, new);
    DiffCost {
        inserted_lines: lines.count_additions() as usize,
        deleted_lines: lines.count_removals() as usize,
        inserted: edits.iter().map(|edit| edit.insert.chars().count()).sum(),
        deleted: edits.iter().map(|edit| edit.range.len()).sum(),
    }
}

/// The hunks of whole lines in which two texts differ: byte ranges of both, in order.
pub fn line_hunks(old: &str, new: &str) -> Vec<(Range<usize>, Range<usize>)> {
    let input = InternedInput::new(old, new);
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let (old_lines, new_lines) = (line_offsets(old, 0), line_offsets(new, 0));
    let bytes = |lines: &[usize], range: &Range<u32>| lines[range.start as usize]..lines[range.end as usize];
    diff.hunks().map(|hunk| (bytes(&old_lines, &hunk.before), bytes(&new_lines, &hunk.after))).collect()
}

/// Where each line begins, and where the last one ends, in bytes, counted from `start`.
fn line_offsets(text: &str, start: usize) -> Vec<usize> {
    let mut at = start;
    let ends = text.split_inclusive('\n').map(|line| {
        at += line.len();
        at
    });
    std::iter::once(start).chain(ends).collect()
}

/// What [`diff_cost`] counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiffCost {
    /// Scalars to insert.
    pub inserted: usize,
    /// Scalars to delete.
    pub deleted: usize,
    /// Lines of the new text that the old one lacks.
    pub inserted_lines: usize,
    /// Lines of the old text that the new one lacks.
    pub deleted_lines: usize,
}

impl DiffCost {
    /// The smaller, the nearer are the texts: characters first, then lines.
    pub fn weight(&self) -> (usize, usize) {
        (self.inserted + self.deleted, self.inserted_lines + self.deleted_lines)
    }
}

/// A change in byte ranges of both texts.
type Change = (Range<usize>, Range<usize>);

/// How many bytes both texts share at the beginning and at the end, cut back to where graphemes end.
fn common_ends(old: &str, new: &str) -> (usize, usize) {
    let head = common_prefix(old.as_bytes(), new.as_bytes());
    let head = snap_down(old, new, head);
    let (old_rest, new_rest) = (&old.as_bytes()[head..], &new.as_bytes()[head..]);
    let tail = common_suffix(old_rest, new_rest);
    let tail = snap_tail(old, new, tail);
    (head, tail)
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    // Eight bytes at a time: most of a large file is equal.
    let mut at = 0;
    for (x, y) in a.chunks_exact(64).zip(b.chunks_exact(64)) {
        if x != y {
            break;
        }
        at += 64;
    }
    at + a[at..].iter().zip(&b[at..]).take_while(|(x, y)| x == y).count()
}

fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    let mut at = 0;
    for (x, y) in a.rchunks_exact(64).zip(b.rchunks_exact(64)) {
        if x != y {
            break;
        }
        at += 64;
    }
    let (a, b) = (&a[..a.len() - at], &b[..b.len() - at]);
    at + a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count()
}

fn is_boundary(text: &str, at: usize) -> bool {
    if !text.is_char_boundary(at) {
        return false;
    }
    let around = text.as_bytes();
    // Between two ASCII characters there is always a boundary, but inside CR LF.
    if at == 0 || at == around.len() {
        return true;
    }
    if around[at - 1].is_ascii() && around[at].is_ascii() {
        return !(around[at - 1] == b'\r' && around[at] == b'\n');
    }
    // Context of a few hundred bytes is enough for any real cluster, and keeps hostile ones cheap.
    let mut from = at.saturating_sub(256);
    while !text.is_char_boundary(from) {
        from -= 1;
    }
    let mut to = (at + 256).min(text.len());
    while !text.is_char_boundary(to) {
        to += 1;
    }
    let part = &text[from..to];
    GraphemeCursor::new(at - from, part.len(), true).is_boundary(part, 0).unwrap_or(true)
}

fn snap_down(old: &str, new: &str, mut at: usize) -> usize {
    while !(is_boundary(old, at) && is_boundary(new, at)) {
        at -= 1;
    }
    at
}

fn snap_tail(old: &str, new: &str, mut tail: usize) -> usize {
    while !(is_boundary(old, old.len() - tail) && is_boundary(new, new.len() - tail)) {
        tail -= 1;
    }
    tail
}

fn compare_lines(old: &str, new: &str, a: Range<usize>, b: Range<usize>, out: &mut Vec<Change>) {
    for (before, after) in anchored_hunks(&old[a.clone()], &new[b.clone()]) {
        let before = a.start + before.start..a.start + before.end;
        let after = b.start + after.start..b.start + after.end;
        if can_pair_all(&old[before.clone()], &new[after.clone()]) {
            compare_hunk(old, new, before, after, out);
            continue;
        }
        for (part, other) in line_hunks(&old[before.clone()], &new[after.clone()]) {
            let part = before.start + part.start..before.start + part.end;
            compare_hunk(old, new, part, after.start + other.start..after.start + other.end, out);
        }
    }
}

/// Whether a hunk is small enough to compare each of its lines with each.
fn can_pair_all(old: &str, new: &str) -> bool {
    let (count_a, count_b) = (old.lines().count(), new.lines().count());
    let compared = count_a.saturating_mul(new.len()).saturating_add(count_b.saturating_mul(old.len()));
    count_a.saturating_mul(count_b) <= PAIRED_LINES && compared <= PAIRED_BYTES
}

/// Inside a hunk, lines that are alike are compared word by word; the others go or come as whole lines.
fn compare_hunk(old: &str, new: &str, a: Range<usize>, b: Range<usize>, out: &mut Vec<Change>) {
    let (old_lines, new_lines) =
        (line_offsets(&old[a.clone()], a.start), line_offsets(&new[b.clone()], b.start));
    let (count_a, count_b) = (old_lines.len() - 1, new_lines.len() - 1);
    if count_a == 0 || count_b == 0 {
        out.push((a, b));
        return;
    }
    let old_line = |index: usize| old_lines[index]..old_lines[index + 1];
    let new_line = |index: usize| new_lines[index]..new_lines[index + 1];
    let likeness = |i: usize, j: usize| alike(&old[old_line(i)], &new[new_line(j)]);
    let pairs = if can_pair_all(&old[a.clone()], &new[b.clone()]) {
        // A line that is in both weighs more than two alike, and a long one more than several blank ones.
        pair_lines(count_a, count_b, |i, j| {
            let length = old_line(i).len().min(new_line(j).len()).min(LONG_LINE) as u32;
            if old[old_line(i)] == new[new_line(j)] {
                return EQUAL * length;
            }
            match likeness(i, j) {
                likeness if likeness >= ALIKE => likeness * length,
                _ => 0,
            }
        })
    } else {
        pair_ends(count_a, count_b, likeness)
    };
    let (mut at_a, mut at_b) = (0, 0);
    for (i, j) in pairs {
        push_unless_empty(old_lines[at_a]..old_lines[i], new_lines[at_b]..new_lines[j], out);
        compare_words(old, new, old_line(i), new_line(j), out);
        (at_a, at_b) = (i + 1, j + 1);
    }
    push_unless_empty(old_lines[at_a]..a.end, new_lines[at_b]..b.end, out);
}

fn push_unless_empty(a: Range<usize>, b: Range<usize>, out: &mut Vec<Change>) {
    if a.is_empty() && b.is_empty() {
        return;
    }
    match out.last_mut() {
        // The end of a line that was added to, and the lines behind it: put in as one piece.
        Some((before, after))
            if a.is_empty()
                && before.start == before.end
                && before.end == a.start
                && after.end == b.start =>
        {
            after.end = b.end;
        }
        _ => out.push((a, b)),
    }
}

/// The pairs (ascending in both) where there are too many lines to try all: at either end for as long as they
/// are alike (lines were put before or after one that was changed too), and between them line by line if there
/// are as many (a formatter went over them).
fn pair_ends(count_a: usize, count_b: usize, alike: impl Fn(usize, usize) -> u32) -> Vec<(usize, usize)> {
    let least = count_a.min(count_b);
    let head = (0..least).take_while(|&i| alike(i, i) >= ALIKE).count();
    let from_end = |i: usize| (count_a - 1 - i, count_b - 1 - i);
    let is_tail = |&i: &usize| {
        let (a, b) = from_end(i);
        alike(a, b) >= ALIKE
    };
    let tail = (0..least - head).take_while(is_tail).count();
    let between = if count_a == count_b { head..least - tail } else { head..head };
    let alike_between = between.filter(|&i| alike(i, i) >= ALIKE).map(|i| (i, i));
    let heads = (0..head).map(|i| (i, i));
    heads.chain(alike_between).chain((0..tail).rev().map(from_end)).collect()
}

/// The pairs (ascending in both) whose likeness adds up to the most; 0: not to be paired.
fn pair_lines(count_a: usize, count_b: usize, alike: impl Fn(usize, usize) -> u32) -> Vec<(usize, usize)> {
    let width = count_b + 1;
    let mut likeness = vec![0u32; count_a * count_b];
    let mut best = vec![0u32; (count_a + 1) * width];
    for i in (0..count_a).rev() {
        for j in (0..count_b).rev() {
            let here = alike(i, j);
            likeness[i * count_b + j] = here;
            let paired = if here > 0 { here + best[(i + 1) * width + j + 1] } else { 0 };
            best[i * width + j] = paired.max(best[(i + 1) * width + j]).max(best[i * width + j + 1]);
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < count_a && j < count_b {
        let here = likeness[i * count_b + j];
        if here > 0 && best[i * width + j] == here + best[(i + 1) * width + j + 1] {
            pairs.push((i, j));
            i += 1;
            j += 1;
        } else if best[i * width + j] == best[(i + 1) * width + j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// How alike two lines are, in percent: what their ends or their words have in common.
fn alike(a: &str, b: &str) -> u32 {
    let (a, b) = (a.trim(), b.trim());
    let longest = a.len().max(b.len());
    if longest == 0 {
        return 100;
    }
    let head = common_prefix(a.as_bytes(), b.as_bytes());
    let tail = common_suffix(&a.as_bytes()[head..], &b.as_bytes()[head..]);
    if head + tail == a.len() && a.len() > 2 {
        // The whole old line is still there: it was added to.
        return 100;
    }
    let ends = (head + tail) * 100 / longest;
    if longest > WORD_BUDGET {
        return ends as u32;
    }
    let mut words: HashMap<&str, isize> = HashMap::new();
    let counted = |word: &&str| word.len() > 1 && word.trim() == *word;
    let mut total = 0;
    for word in Words(a).filter(counted) {
        *words.entry(word).or_default() += 1;
        total += word.len();
    }
    let mut common = 0;
    for word in Words(b).filter(counted) {
        total += word.len();
        if let Some(left) = words.get_mut(word).filter(|left| **left > 0) {
            *left -= 1;
            common += 2 * word.len();
        }
    }
    ends.max((common * 100).checked_div(total).unwrap_or(0)) as u32
}

/// A text cut into words (letters and digits), runs of blanks, and everything else grapheme by grapheme.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let first = self.0.chars().next()?;
        let class = |c: char| {
            if c.is_alphanumeric() || c == '_' {
                1
            } else if c == ' ' {
                2
            } else {
                0
            }
        };
        let mut len = match class(first) {
            0 => first.len_utf8(),
            kind => self.0.find(|c| class(c) != kind).unwrap_or(self.0.len()),
        };
        while !is_boundary(self.0, len) {
            len += 1;
        }
        let (word, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(word)
    }
}

impl<'a> TokenSource for Words<'a> {
    type Token = &'a str;
    type Tokenizer = Words<'a>;

    fn tokenize(&self) -> Words<'a> {
        Words(self.0)
    }

    fn estimate_tokens(&self) -> u32 {
        (self.0.len() / 4) as u32
    }
}

fn compare_words(old: &str, new: &str, a: Range<usize>, b: Range<usize>, out: &mut Vec<Change>) {
    let (old_part, new_part) = (&old[a.clone()], &new[b.clone()]);
    if old_part.is_empty() || new_part.is_empty() || a.len().max(b.len()) > WORD_BUDGET {
        push_trimmed(old, new, a, b, out);
        return;
    }
    let input = InternedInput::new(Words(old_part), Words(new_part));
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    diff.postprocess_no_heuristic(&input);
    let offsets = |part: &str, start: usize| {
        let mut at = start;
        let mut offsets = vec![at];
        for word in Words(part) {
            at += word.len();
            offsets.push(at);
        }
        offsets
    };
    let (old_words, new_words) = (offsets(old_part, a.start), offsets(new_part, b.start));
    for hunk in diff.hunks() {
        let before = old_words[hunk.before.start as usize]..old_words[hunk.before.end as usize];
        let after = new_words[hunk.after.start as usize]..new_words[hunk.after.end as usize];
        push_trimmed(old, new, before, after, out);
    }
}

/// Adds a replacement without what both sides share at their ends, if that is most of them (a word with one
/// letter changed). Two different words that happen to begin alike are replaced whole.
fn push_trimmed(old: &str, new: &str, a: Range<usize>, b: Range<usize>, out: &mut Vec<Change>) {
    let (head, tail) = common_ends(&old[a.clone()], &new[b.clone()]);
    let most = (head + tail) * 2 >= a.len().max(b.len()) || head + tail == a.len().min(b.len());
    let (head, tail) = if most { (head, tail) } else { (0, 0) };
    push_unless_empty(a.start + head..a.end - tail, b.start + head..b.end - tail, out);
}

fn to_edits(old: &str, new: &str, changes: &[Change]) -> Vec<Edit> {
    let (mut bytes, mut scalars) = (0, 0);
    let mut count = |to: usize| {
        scalars += old[bytes..to].chars().count();
        bytes = to;
        scalars
    };
    let edits = changes.iter().map(|(a, b)| {
        let range = count(a.start)..count(a.end);
        Edit { range, insert: new[b.clone()].to_owned() }
    });
    edits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::{apply_to_str, check_batch};
    use proptest::prelude::*;

    #[test]
    fn edits_are_those_a_person_would_make() {
        let cases = [
            ("", "abc", vec![Edit::insert(0, "abc")]),
            ("one two three", "one 2 three", vec![Edit { range: 4..7, insert: "2".into() }]),
            ("a\nb\nc\n", "a\nb\nx\nc\n", vec![Edit::insert(4, "x\n")]),
            ("a\nb\nc\n", "a\nc\n", vec![Edit::delete(2..4)]),
            (
                "fn a() {}\nfn b() {}\n",
                "fn a() {}\nfn c() {}\n",
                vec![Edit { range: 13..14, insert: "c".into() }],
            ),
            // Lines that begin alike stay whole, whichever comes first.
            ("mk1\nmk2\n", "mk1\nmk0\nmk2\n", vec![Edit::insert(4, "mk0\n")]),
            ("mk1\n", "mk12\nmk1\n", vec![Edit::insert(0, "mk12\n")]),
            ("mk1\nmk2\n", "mk0\nmk1\n", vec![Edit::insert(0, "mk0\n"), Edit::delete(4..8)]),
            ("mkvim1\nend\n", "mkrsync2\nmkvim1\nend\n", vec![Edit::insert(0, "mkrsync2\n")]),
            ("mkvim1\nend\n", "mkrsync2\nend\n", vec![Edit { range: 0..7, insert: "mkrsync2\n".into() }]),
            (
                "a b c d\n",
                "new\na b c D\n",
                vec![Edit::insert(0, "new\n"), Edit { range: 6..7, insert: "D".into() }],
            ),
            // The flag of two letters is one grapheme: no edit may split it.
            ("🇩🇪x", "🇩🇰x", vec![Edit { range: 0..2, insert: "🇩🇰".into() }]),
            ("e\u{301}", "e\u{300}", vec![Edit { range: 0..2, insert: "e\u{300}".into() }]),
        ];
        for (old, new, expected) in cases {
            assert_eq!(diff(old, new), expected, "{old:?} -> {new:?}");
        }
    }

    #[test]
    fn a_line_is_not_lined_up_by_a_blank_one_beside_it() {
        for (old, new, line) in [
            ("\nby Ann, some\nlines\n\nend\n", " by Bob \nby Ann, some more\n\nend\n", "by Ann"),
            ("\nby Ann, some\nlines\n\nend\n", "\nby Bob, some\n\nby Ann, some\n more \nend\n", "by Ann"),
            ("{\n}\nreturn it;\n}\n", "}\nreturn it;\nmore;\n{\n}\n}\n", "return it;"),
        ] {
            let edits = diff(old, new);
            assert!(edits.iter().all(|edit| !edit.insert.contains(line)), "{old:?} -> {new:?}: {edits:?}");
            assert_eq!(apply_to_str(old, &edits), new);
        }
    }

    #[test]
    fn a_line_that_was_added_to_before_many_new_ones_is_not_replaced() {
        for count in [3, 70, 4000, 5000] {
            let filler = |end: &str| (0..count).map(|n| format!("filler {n}{end}")).collect::<String>();
            // An unterminated last line, and text behind it.
            let (old, new) = ("one\n mk13 ", format!("one\n mk13 {}", filler("\n")));
            assert_eq!(diff(old, &new), [Edit::insert(10, filler("\n"))], "{count}");
            // Lines put before one that is changed at its end, and the last without a line end.
            let new = format!("{}one of all\n mk13 ", filler("\n"));
            assert_eq!(
                diff(old, &new),
                [Edit::insert(0, filler("\n")), Edit::insert(3, " of all")],
                "{count}"
            );
            // Most of them go.
            let old = format!("one\n{}two is here\n", filler(" of old\n"));
            let taken = old.chars().count() - "one\ntwo is here\n".len();
            let expected = [Edit::delete(4..4 + taken), Edit::insert(8 + taken, "now ")];
            assert_eq!(diff(&old, "one\ntwo now is here\n"), expected, "{count}");
        }
    }

    #[test]
    fn cost_counts_lines_then_characters() {
        let cost = diff_cost("a\nb\nc\n", "a\nx\nc\nd\n");
        assert_eq!((cost.inserted_lines, cost.deleted_lines, cost.inserted, cost.deleted), (2, 1, 4, 2));
        assert_eq!(diff_cost("same\n", "same\n"), DiffCost::default());
    }

    proptest! {
        #[test]
        fn edits_turn_the_old_text_into_the_new(
            old in "([ab]{1,3}[ \n]|é|🇩🇪|e\u{301}|\r\n){0,24}",
            new in "([ab]{1,3}[ \n]|é|🇩🇪|e\u{301}|\r\n){0,24}",
        ) {
            let edits = diff(&old, &new);
            prop_assert!(check_batch(&edits, old.chars().count()).is_ok(), "{edits:?}");
            prop_assert!(edits.iter().all(|edit| !edit.is_empty()));
            prop_assert_eq!(apply_to_str(&old, &edits), new);
        }

        #[test]
        fn any_two_texts(old in ".{0,40}", new in ".{0,40}") {
            prop_assert_eq!(apply_to_str(&old, &diff(&old, &new)), new);
        }
    }
}
