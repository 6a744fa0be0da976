//! What of others' edits is in a save, and what is not: whether its maker knew of them.

use std::ops::Range;
use syncline_engine::{Edit, diff};

use super::known::is_distinctive;

/// So many lines that were put in are looked for at most.
const SOUGHT: usize = 64;

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
            let gone = !is_any_left(&change.insert, place, taken_back);
            let beside = |edit: &Edit| edit.range.is_empty() && change.range.is_empty() && gone;
            let as_before = !own.iter().any(|edit| touches(&edit.range, &change.range) && !beside(edit));
            let as_after = if added > 0 {
                // Text put between leaves what was added as it is.
                !taken_back.iter().any(|edit| {
                    !edit.range.is_empty() && edit.range.start < place + added && place < edit.range.end
                })
            } else {
                !taken_back.iter().any(|edit| touches(&edit.range, &(place..place)))
            };
            match (as_before, as_after) {
                (true, false) => signs.unknown += 1,
                (false, true) => signs.known += 1,
                _ => {}
            }
            signs.lacks |= gone && added > 0 && change.range.is_empty();
            for line in change.insert.lines().map(str::trim).filter(|line| is_distinctive(line)) {
                sought += 1;
                signs.has |= sought <= SOUGHT && save.contains(line) && !older.contains(line);
            }
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

/// Whether anything is left of a text that was put in at a place, where all this is taken out: a letter or a digit, or
/// anything at all of a text that has none. Blanks and brackets may be somebody else's.
pub(super) fn is_any_left(inserted: &str, place: usize, taken_out: &[Edit]) -> bool {
    let has_words = inserted.chars().any(char::is_alphanumeric);
    let mut taken = taken_out.iter().peekable();
    inserted.chars().enumerate().any(|(index, c)| {
        let at = place + index;
        while taken.next_if(|edit| edit.range.end <= at).is_some() {}
        let is_out = taken.peek().is_some_and(|edit| edit.range.contains(&at));
        !is_out && (c.is_alphanumeric() || !has_words)
    })
}

/// Whether two ranges overlap or meet.
fn touches(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start <= b.end && b.start <= a.end
}
