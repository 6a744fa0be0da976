//! Lines by which two texts are lined up.
//!
//! A blank line or a bracket is everywhere. Lined up by one of those, a line that is in both texts beside it counts as
//! taken out here and put in there; and where two people's changes are lined up in such ways, it stands there twice. So only
//! lines with words on them are compared first.

use imara_diff::{Algorithm, Diff, InternedInput, TokenSource};
use std::ops::Range;

use super::line_offsets;

/// A line with fewer letters and digits may be anywhere.
const DISTINCTIVE: usize = 6;

/// Whether a line is hardly there by chance.
fn is_distinctive(line: &str) -> bool {
    line.chars().filter(|c| c.is_alphanumeric()).take(DISTINCTIVE).count() == DISTINCTIVE
}

/// A line as it is compared: one without words is equal to no other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Line<'a> {
    text: &'a str,
    /// Of a line without words: which it is.
    only: Option<(Side, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Old,
    New,
}

impl AsRef<[u8]> for Line<'_> {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// The lines of a text.
#[derive(Clone)]
struct Lines<'a> {
    lines: std::iter::Enumerate<std::str::SplitInclusive<'a, char>>,
    side: Side,
    count: u32,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str, side: Side) -> Lines<'a> {
        Lines { lines: text.split_inclusive('\n').enumerate(), side, count: (text.len() / 32) as u32 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let (number, text) = self.lines.next()?;
        let only = (!is_distinctive(text)).then_some((self.side, number));
        Some(Line { text, only })
    }
}

impl<'a> TokenSource for Lines<'a> {
    type Token = Line<'a>;
    type Tokenizer = Lines<'a>;

    fn tokenize(&self) -> Lines<'a> {
        self.clone()
    }

    fn estimate_tokens(&self) -> u32 {
        self.count
    }
}

/// The hunks between lines with words on them that are in both texts: byte ranges of both, in order. What is equal in a
/// hunk is still to be found.
pub(super) fn anchored_hunks(old: &str, new: &str) -> Vec<(Range<usize>, Range<usize>)> {
    let input = InternedInput::new(Lines::of(old, Side::Old), Lines::of(new, Side::New));
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let (old_lines, new_lines) = (line_offsets(old, 0), line_offsets(new, 0));
    let bytes = |lines: &[usize], range: &Range<u32>| lines[range.start as usize]..lines[range.end as usize];
    let hunks = diff.hunks().map(|hunk| (bytes(&old_lines, &hunk.before), bytes(&new_lines, &hunk.after)));
    hunks.filter(|(before, after)| old[before.clone()] != new[after.clone()]).collect()
}
