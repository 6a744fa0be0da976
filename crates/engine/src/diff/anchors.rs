//! Lines by which two texts are lined up.
//!
//! A blank line or a bracket is everywhere. Lined up by one of those, a line that is in both texts beside it counts as
//! taken out here and put in there; and where two people's changes are lined up in such ways, it stands there twice. So only
//! lines with words on them are compared first.

use imara_diff::{Algorithm, Diff, InternedInput, TokenSource};
use std::ops::Range;

/// A line with fewer letters and digits may be anywhere.
const DISTINCTIVE: usize = 6;

/// Whether a line or a word has so many letters and digits that it is hardly there by chance.
pub fn is_distinctive(line: &str) -> bool {
    line.chars().filter(|c| c.is_alphanumeric()).take(DISTINCTIVE).count() == DISTINCTIVE
}

/// The hunks between lines with words on them that are in both texts: byte ranges of both, in order. What is equal in a
/// hunk is still to be found.
pub(super) fn anchored_hunks(old: &str, new: &str) -> Vec<(Range<usize>, Range<usize>)> {
    // Lines without words are left out, not made equal to none: each would end a run of common lines, and of those
    // a text with a blank line after each paragraph would have as many as paragraphs.
    let (old_lines, new_lines) = (Lines::of(old), Lines::of(new));
    let input = InternedInput::new(&old_lines, &new_lines);
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let (mut hunks, mut from) = (Vec::new(), (0, 0));
    let mut add = |from: (usize, usize), to: (usize, usize)| {
        if old.get(from.0..to.0) != new.get(from.1..to.1) {
            hunks.push((from.0..to.0, from.1..to.1));
        }
    };
    let (mut i, mut j) = (0, 0);
    while i < old_lines.at.len() || j < new_lines.at.len() {
        let (is_out, is_in) = (
            i < old_lines.at.len() && diff.is_removed(i as u32),
            j < new_lines.at.len() && diff.is_added(j as u32),
        );
        if is_out || is_in {
            (i, j) = (i + usize::from(is_out), j + usize::from(is_in));
            continue;
        }
        let (Some(before), Some(after)) = (old_lines.at.get(i), new_lines.at.get(j)) else { break };
        add(from, (before.start, after.start));
        (from, i, j) = ((before.end, after.end), i + 1, j + 1);
    }
    add(from, (old.len(), new.len()));
    hunks
}

/// The lines of a text that have words on them.
struct Lines<'a> {
    text: &'a str,
    /// Where they are, in bytes.
    at: Vec<Range<usize>>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Lines<'a> {
        let mut end = 0;
        let lines = text.split_inclusive('\n').map(|line| {
            let start = end;
            end += line.len();
            (line, start..end)
        });
        Lines { text, at: lines.filter(|(line, _)| is_distinctive(line)).map(|(_, at)| at).collect() }
    }
}

impl<'l> TokenSource for &'l Lines<'_> {
    type Token = &'l str;
    type Tokenizer = Box<dyn Iterator<Item = &'l str> + 'l>;

    fn tokenize(&self) -> Self::Tokenizer {
        let lines: &'l Lines<'_> = self;
        Box::new(lines.at.iter().filter_map(|at| lines.text.get(at.clone())))
    }

    fn estimate_tokens(&self) -> u32 {
        self.at.len() as u32
    }
}
