//! What of others' edits is in a save, and what is not: whether its maker knew of them.

use std::collections::HashSet;
use std::ops::Range;
use std::str::Chars;
use syncline_engine::{Edit, diff, is_distinctive};

/// Two people do not write the same word of so many letters and digits in one place, where nobody wrote it before.
const UNIQUE: usize = 12;

/// What a save shows of whether its maker knew what was changed between two versions.
///
/// Where lines are alike all around, two comparisons of the same texts may line them up otherwise. So a line that was put
/// in and that the older version has not is in the save if it is one of its lines, wherever it is lined up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Signs {
    /// So many changes stand in the save as they are after them, and not as before.
    known: usize,
    /// So many places are in the save as before the change, and not as after it.
    unknown: usize,
    /// The save has something that was put in. (Two may well take out the same, each on their own.)
    has: bool,
    /// Something was put in of which the save has nothing.
    lacks: bool,
}

impl Signs {
    /// Compares the change from `older` to `newest` with a save. `taken_back` is what the save changes in the newest text.
    pub fn read(older: &str, newest: &str, save: &str, taken_back: &[Edit]) -> Signs {
        let (own, wording) = (diff(older, save), Wording::of(older, newest, save));
        let (mut signs, mut shift) = (Signs::default(), 0isize);
        let mut removed = Removed::of(older);
        for change in diff(older, newest) {
            let added = change.insert.chars().count();
            let place = change.range.start.saturating_add_signed(shift);
            shift += added as isize - change.range.len() as isize;
            // Who puts something in where others did, and has nothing at all of theirs, left it as it was before.
            let gone = !is_any_left(&change.insert, place, taken_back);
            let beside = |edit: &Edit| edit.range.is_empty() && change.range.is_empty() && gone;
            let as_before = !own.iter().any(|edit| touches(&edit.range, &change.range) && !beside(edit));
            let is_reached = |edit: &Edit| reaches(edit, place, added);
            let as_after = if added > 0 {
                // Text put between leaves what was added as it is.
                !taken_back.iter().any(is_reached)
            } else {
                !taken_back.iter().any(|edit| touches(&edit.range, &(place..place)))
            };
            let lines = wording.lines(place..place + added, taken_back);
            let has_all = lines.lacks == 0 && lines.has > 0 && lines.has >= lines.unclear;
            match (as_before, as_after) {
                _ if has_all => signs.known += 1,
                (true, false) => signs.unknown += 1,
                (false, true) => signs.known += 1,
                _ => {}
            }
            let words = change.insert.chars().any(char::is_alphanumeric);
            signs.has |= lines.has > 0 || words && as_after && !as_before;
            let replaces_words = removed.by(&change).contains(char::is_alphanumeric);
            // What somebody put in the place of words may have been changed again, as a whole.
            let is_changed = replaces_words
                && !as_before
                && taken_back.iter().any(|edit| is_reached(edit) && !edit.insert.is_empty());
            signs.lacks |= (lines.lacks > 0 || words && gone && lines.has == 0) && !is_changed;
        }
        signs
    }

    /// Whether the maker knew the changes; `None` where the save changed the same places itself, so that neither can be
    /// told.
    pub fn verdict(self) -> Option<bool> {
        (self.known != self.unknown).then_some(self.known > self.unknown)
    }

    /// The same of changes of which nobody is known to have read them.
    pub fn may_be_known(self) -> Option<bool> {
        match self {
            Signs { has: false, lacks: true, .. } => Some(false),
            signs => signs.verdict(),
        }
    }
}

/// What changes take out of a text.
pub(super) struct Removed<'a> {
    /// What stands behind the last change that took something out.
    rest: Chars<'a>,
    /// Where that begins, in scalars.
    passed: usize,
}

impl<'a> Removed<'a> {
    pub fn of(text: &'a str) -> Removed<'a> {
        Removed { rest: text.chars(), passed: 0 }
    }

    /// What a change takes out; one change after the other, in the order of the text.
    pub fn by(&mut self, change: &Edit) -> String {
        let Range { start, end } = change.range.clone();
        if start == end {
            return String::new();
        }
        let before = start.saturating_sub(std::mem::replace(&mut self.passed, end));
        self.rest.by_ref().skip(before).take(end - start).collect()
    }
}

/// The lines and words by which three texts are told apart, where they are not the same: what is new in one of them is not
/// in what all have in common.
struct Wording<'a> {
    /// The lines of the newest text, and where each begins, in scalars.
    newest: Vec<(usize, &'a str)>,
    old_lines: HashSet<&'a str>,
    old_words: HashSet<&'a str>,
    lines: HashSet<&'a str>,
    words: HashSet<&'a str>,
}

/// Of the lines that a change put in, or put something into: how many the save has, how many it has nothing of, and of how
/// many it may have something.
#[derive(Default)]
struct Found {
    has: usize,
    lacks: usize,
    unclear: usize,
}

impl<'a> Wording<'a> {
    fn of(older: &'a str, newest: &'a str, save: &'a str) -> Wording<'a> {
        let (head, [old, new, saved]) = without_common_lines([older, newest, save]);
        let mut at = head.chars().count();
        let newest = new.split_inclusive('\n').map(|line| {
            let start = at;
            at += line.chars().count();
            (start, line)
        });
        Wording {
            newest: newest.collect(),
            old_lines: old.lines().map(str::trim).collect(),
            old_words: words(old).collect(),
            lines: saved.lines().map(str::trim).collect(),
            words: words(saved).collect(),
        }
    }

    /// Looks for the lines at these scalars of the newest text, which were put in. `taken_back`: what of them was taken out.
    fn lines(&self, place: Range<usize>, taken_back: &[Edit]) -> Found {
        let mut found = Found::default();
        let first = self.newest.partition_point(|(start, _)| *start <= place.start).saturating_sub(1);
        let touched = self.newest.iter().skip(first).take_while(|(start, _)| *start < place.end);
        for &(start, line) in touched {
            let trimmed = line.trim();
            if !is_distinctive(trimmed) || self.old_lines.contains(trimmed) {
                continue;
            }
            if self.lines.contains(trimmed) {
                found.has += 1;
                continue;
            }
            // What was put into this line, and what is left of that.
            let skipped = place.start.saturating_sub(start);
            let put_in: String =
                line.chars().skip(skipped).take(place.end - start.max(place.start)).collect();
            if put_in.is_empty() {
                continue;
            }
            let (left, all) = left_of(&put_in, start + skipped, taken_back);
            let new = || words(&put_in).filter(|word| !self.old_words.contains(word));
            let mut unique = new().filter(|word| word.chars().count() >= UNIQUE);
            // Letters, and words that anybody uses, may be left by chance of a line that is not there.
            if left * 2 > all && unique.any(|word| self.words.contains(word)) {
                found.has += 1;
            } else if new().max_by_key(|word| word.len()).is_some_and(|word| !self.words.contains(word)) {
                found.lacks += 1;
            } else {
                found.unclear += 1;
            }
        }
        found
    }
}

/// What three texts have in common at their beginning, and each without the lines that all begin and end with.
fn without_common_lines(texts: [&str; 3]) -> (&str, [&str; 3]) {
    let [a, b, c] = texts.map(str::as_bytes);
    let is_end = |byte: &u8| *byte == b'\n';
    let same = |((x, y), z): &((&u8, &u8), &u8)| x == y && y == z;
    let head = a.iter().zip(b).zip(c).take_while(same).count();
    let head = a.iter().take(head).rposition(is_end).map_or(0, |at| at + 1);
    let rest = a.len().min(b.len()).min(c.len()) - head;
    let tail = a.iter().rev().zip(b.iter().rev()).zip(c.iter().rev()).take(rest).take_while(same).count();
    // From a line's beginning on.
    let tail = a.iter().rev().take(tail).rposition(is_end).unwrap_or(0);
    let middles = texts.map(|text| text.get(head..text.len() - tail).unwrap_or_default());
    (texts[0].get(..head).unwrap_or_default(), middles)
}

/// The words of a text by which it can be told from others.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| is_distinctive(word))
}

/// Whether anything is left of a text that was put in at a place, where all this is taken out.
pub(super) fn is_any_left(inserted: &str, place: usize, taken_out: &[Edit]) -> bool {
    left_of(inserted, place, taken_out).0 > 0
}

/// How many letters and digits are left of a text that was put in at a place, where all this is taken out, and how many it
/// had; of a text that has none, how much of anything. Blanks and brackets may be somebody else's.
fn left_of(inserted: &str, place: usize, taken_out: &[Edit]) -> (usize, usize) {
    let has_words = inserted.chars().any(char::is_alphanumeric);
    // In the order of the text: what ends before the place is passed at once.
    let first = taken_out.partition_point(|edit| edit.range.end <= place);
    let mut taken = taken_out.iter().skip(first).peekable();
    let (mut left, mut all) = (0, 0);
    for (index, c) in inserted.chars().enumerate() {
        let at = place + index;
        while taken.next_if(|edit| edit.range.end <= at).is_some() {}
        if c.is_alphanumeric() || !has_words {
            all += 1;
            left += usize::from(!taken.peek().is_some_and(|edit| edit.range.contains(&at)));
        }
    }
    (left, all)
}

/// Whether an edit takes out any of so many scalars from a place on.
fn reaches(edit: &Edit, place: usize, length: usize) -> bool {
    !edit.range.is_empty() && edit.range.start < place + length && place < edit.range.end
}

/// Whether two ranges overlap or meet.
fn touches(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start <= b.end && b.start <= a.end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_an_insertion_is_told_by_its_own_letters() {
        let older = "--------\n--------\n--------\n--------\nwords of old\nend\n";
        let newest = "--------\n--------\nput in by another\n--------\n--------\ntold anew\nend\n";
        let save = "--------\n--------\nput in by another\n--------\n--------\nsomething else\nend\n";
        // What the other put in the place of words was changed again: nothing is lacking of it.
        let signs = Signs::read(older, newest, save, &diff(newest, save));
        assert!(!signs.lacks && signs.has, "{signs:?}");
    }
}
