//! What of others' edits is in a save, and what is not: whether its maker knew of them.

use std::ops::Range;
use syncline_engine::{Edit, diff};

use super::known::is_distinctive;

/// So many lines and words that were put in are looked for at most.
const SOUGHT: usize = 64;

/// Two people do not write the same word of so many letters and digits in one place, where nobody wrote it before.
const UNIQUE: usize = 12;

/// What a save shows of whether its maker knew what was changed between two versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Signs {
    /// So many changes stand in the save as they are after them, and not as before.
    known: usize,
    /// So many places are in the save as before the change, and not as after it.
    unknown: usize,
    /// The save has a line, or the part of one, that was put in and that is nowhere in the older version. Whoever puts
    /// in the same on their own, or takes out the same, leaves a text that can be lined up with either version; this
    /// they can hardly have from elsewhere.
    has: bool,
    /// Something was put in of which the save has nothing.
    lacks: bool,
}

impl Signs {
    /// Compares the change from `older` to `newest` with a save. `taken_back` is what the save changes in the newest text.
    pub fn read(older: &str, newest: &str, save: &str, taken_back: &[Edit]) -> Signs {
        let own = diff(older, save);
        let (mut signs, mut shift, mut sought) = (Signs::default(), 0isize, 0);
        for change in diff(older, newest) {
            let added = change.insert.chars().count();
            let place = change.range.start.saturating_add_signed(shift);
            shift += added as isize - change.range.len() as isize;
            // Who puts something in where others did, and has nothing at all of theirs, left it as it was before.
            let (left, all) = left_of(&change.insert, place, taken_back);
            let gone = left == 0;
            let beside = |edit: &Edit| edit.range.is_empty() && change.range.is_empty() && gone;
            let as_before = !own.iter().any(|edit| touches(&edit.range, &change.range) && !beside(edit));
            let as_after = if added > 0 {
                // Text put between leaves what was added as it is.
                !taken_back.iter().any(|edit| reaches(edit, place, added))
            } else {
                !taken_back.iter().any(|edit| touches(&edit.range, &(place..place)))
            };
            match (as_before, as_after) {
                (true, false) => signs.unknown += 1,
                (false, true) => signs.known += 1,
                _ => {}
            }
            // What somebody put in the place of words may have been changed again, as a whole.
            let mut is_changed = !change.range.is_empty()
                && taken_back.iter().any(|edit| !edit.insert.is_empty() && reaches(edit, place, added));
            if is_changed && sought < SOUGHT {
                sought += 1;
                let mut replaced = older.chars().skip(change.range.start).take(change.range.len());
                is_changed = replaced.any(char::is_alphanumeric);
            }
            let is_new = |piece: &str| save.contains(piece) && !older.contains(piece);
            let lines = change.insert.lines().map(str::trim).filter(|line| is_distinctive(line));
            let lines: Vec<&str> = lines.take(SOUGHT.saturating_sub(sought)).collect();
            sought += lines.len();
            signs.has |= lines.iter().any(|line| is_new(line));
            if left < all && left * 2 > all && sought < SOUGHT {
                // A line that was changed in the middle, or went in part.
                signs.has |= words(&change.insert).filter(|word| word.chars().count() >= UNIQUE).any(is_new);
            }
            // Letters, and words that anybody uses, may be left by chance of a line that is not there; and one that is
            // there may be lined up with another.
            let is_there = |line: &&str| save.contains(line);
            let is_missing = |line: &str| {
                longest_word(line).is_some_and(|word| !save.contains(line) && !save.contains(word))
            };
            let nothing_left = gone && added > 0 && !lines.iter().any(is_there);
            signs.lacks |= !is_changed && (nothing_left || lines.iter().any(|line| is_missing(line)));
        }
        signs
    }

    /// Whether the maker knew the changes; `None` where the save changed the same places itself, so that neither can be
    /// told.
    pub fn verdict(self) -> Option<bool> {
        match self {
            Signs { has: true, lacks: false, .. } => Some(true),
            Signs { known, unknown, .. } if known == unknown => None,
            Signs { known, unknown, .. } => Some(known > unknown),
        }
    }

    /// The same of changes of which nobody is known to have read them.
    pub fn may_be_known(self) -> Option<bool> {
        match self {
            Signs { has: false, lacks: true, .. } => Some(false),
            signs => signs.verdict(),
        }
    }
}

/// The words of a text: letters and digits without a gap.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).take(SOUGHT)
}

/// The word by which a line can be told from others, if it has one.
fn longest_word(line: &str) -> Option<&str> {
    words(line).filter(|word| is_distinctive(word)).max_by_key(|word| word.len())
}

/// Whether anything is left of a text that was put in at a place, where all this is taken out.
pub(super) fn is_any_left(inserted: &str, place: usize, taken_out: &[Edit]) -> bool {
    left_of(inserted, place, taken_out).0 > 0
}

/// How many letters and digits are left of a text that was put in at a place, where all this is taken out, and how many it
/// had; of a text that has none, how much of anything. Blanks and brackets may be somebody else's.
fn left_of(inserted: &str, place: usize, taken_out: &[Edit]) -> (usize, usize) {
    let has_words = inserted.chars().any(char::is_alphanumeric);
    let mut taken = taken_out.iter().peekable();
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
