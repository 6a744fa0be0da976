//! Two changes made to the same text at the same time, one after the other.
//!
//! What a client typed and what the server sends were both made against the client's shadow. Positions are
//! mapped, never searched: a character that either side deletes is deleted, every insertion stands once, at
//! the place between the characters it was made at.

use syncline_engine::{Composer, Edit};

/// What `mine` comes to in the text after `theirs`. Both are batches against the same text. Where both insert
/// at one place, theirs stands first.
pub fn rebase(mine: &[Edit], theirs: &[Edit]) -> Vec<Edit> {
    let mut map = Mapping::new(theirs);
    let mut out: Vec<Edit> = Vec::with_capacity(mine.len());
    for edit in mine {
        // What they deleted is no longer there to be deleted; what they inserted inside stays.
        let mut inserted = edit.insert.as_str();
        let mut at = edit.range.start;
        while at < edit.range.end {
            let (start, kept_until) = map.place(at);
            let end = kept_until.min(edit.range.end);
            if end > at {
                push(
                    &mut out,
                    Edit {
                        range: start..start + (end - at),
                        insert: std::mem::take(&mut inserted).to_owned(),
                    },
                );
                at = end;
            } else {
                at = map.skip_deleted(at).min(edit.range.end);
            }
        }
        if !inserted.is_empty() {
            let place = map.insertion_place(edit.range.end);
            push(&mut out, Edit::insert(place, inserted));
        }
    }
    out
}

/// The same where the two sides may have made the same edit because they are two accounts of one: an edit that
/// is in both applies once. For a client whose session is not known any more.
pub fn rebase_unknown(mine: &[Edit], theirs: &[Edit]) -> Vec<Edit> {
    let new: Vec<Edit> = mine.iter().filter(|edit| !theirs.contains(edit)).cloned().collect();
    rebase(&new, theirs)
}

/// Both batches in a row as one: `second` is against the text after `first`.
pub fn composed(first: &[Edit], second: &[Edit]) -> Vec<Edit> {
    let mut composer = Composer::new();
    for batch in [first, second] {
        // From the end on, so that the places of the others stay what the batch says.
        for edit in batch.iter().rev() {
            composer.delete(edit.range.start, edit.range.len());
            composer.insert(edit.range.start, &edit.insert, edit.insert.chars().count());
        }
    }
    composer.finish()
}

/// Adds an edit behind the others; what adjoins becomes one.
fn push(out: &mut Vec<Edit>, edit: Edit) {
    match out.last_mut() {
        Some(last) if last.range.end == edit.range.start => {
            last.range.end = edit.range.end;
            last.insert.push_str(&edit.insert);
        }
        _ => out.push(edit),
    }
}

/// Where positions of the old text are in the new one. Asked in ascending order.
struct Mapping<'a> {
    theirs: &'a [Edit],
    /// The first of theirs that ends behind the position asked for, or stands at it.
    next: usize,
    /// New minus old position before `next`.
    shift: isize,
}

impl<'a> Mapping<'a> {
    fn new(theirs: &'a [Edit]) -> Mapping<'a> {
        Mapping { theirs, next: 0, shift: 0 }
    }

    /// Passes all of theirs that end before the character at `at`, insertions right before it included.
    fn pass(&mut self, at: usize) {
        while let Some(edit) = self.theirs.get(self.next)
            && edit.range.end <= at
        {
            self.shift += edit.insert.chars().count() as isize - edit.range.len() as isize;
            self.next += 1;
        }
    }

    /// Where the character at `at` is, and up to where (in the old text) it and its followers are still side
    /// by side. If they deleted it, up to `at` itself.
    fn place(&mut self, at: usize) -> (usize, usize) {
        self.pass(at);
        let kept_until = self.theirs.get(self.next).map_or(usize::MAX, |edit| edit.range.start.max(at));
        ((at as isize + self.shift) as usize, kept_until)
    }

    /// The first position behind what they deleted around `at`.
    fn skip_deleted(&self, at: usize) -> usize {
        self.theirs.get(self.next).map_or(at + 1, |edit| edit.range.end.max(at + 1))
    }

    /// Where an insertion before the character at `at` goes: behind what they inserted there.
    fn insertion_place(&mut self, at: usize) -> usize {
        self.pass(at);
        match self.theirs.get(self.next) {
            // Inside what they deleted: behind what they put in its place.
            Some(edit) if edit.range.start < at => {
                let start = (edit.range.start as isize + self.shift) as usize;
                start + edit.insert.chars().count()
            }
            _ => (at as isize + self.shift) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use syncline_engine::{apply_to_str, check_batch};

    use super::*;

    #[test]
    fn places_are_mapped() {
        let cases: [(&str, &[Edit], &[Edit], &str); 9] = [
            ("ab", &[Edit::insert(1, "M")], &[Edit::insert(0, "T")], "TaMb"),
            ("ab", &[Edit::insert(1, "M")], &[Edit::insert(1, "T")], "aTMb"),
            ("abc", &[Edit::delete(0..3)], &[Edit::insert(1, "T")], "T"),
            ("abc", &[Edit::delete(0..2)], &[Edit::delete(1..3)], ""),
            ("abcd", &[Edit::insert(2, "M")], &[Edit::delete(1..3)], "aMd"),
            ("abcd", &[Edit::insert(2, "M")], &[Edit { range: 1..3, insert: "T".into() }], "aTMd"),
            (
                "abcd",
                &[Edit { range: 1..3, insert: "M".into() }],
                &[Edit { range: 2..4, insert: "T".into() }],
                "aMT",
            ),
            (
                "abcd",
                &[Edit { range: 2..4, insert: "M".into() }],
                &[Edit { range: 1..3, insert: "T".into() }],
                "aTM",
            ),
            ("ab", &[], &[Edit::delete(0..1)], "b"),
        ];
        for (text, mine, theirs, merged) in cases {
            let rebased = rebase(mine, theirs);
            assert_eq!(
                apply_to_str(&apply_to_str(text, theirs), &rebased),
                merged,
                "{mine:?} after {theirs:?}"
            );
        }
    }

    #[test]
    fn an_edit_that_both_have_applies_once() {
        let same = [Edit::insert(1, "X")];
        assert!(rebase_unknown(&same, &same).is_empty());
        assert_eq!(rebase_unknown(&[Edit::insert(1, "Y")], &same), [Edit::insert(2, "Y")]);
    }

    /// A sorted batch against a text of this length, inserting characters that nothing else has.
    fn batch(length: usize, first: char) -> impl Strategy<Value = Vec<Edit>> {
        let step = (0usize..4, 0usize..4, 0usize..4);
        proptest::collection::vec(step, 0..5).prop_map(move |steps| {
            let (mut at, mut edits, mut next) = (0, Vec::new(), first as u32);
            for (skip, delete, insert) in steps {
                let start = (at + skip).min(length);
                let end = (start + delete).min(length);
                let insert: String =
                    (0..insert).filter_map(|offset| char::from_u32(next + offset as u32)).collect();
                next += 4;
                at = end;
                edits.push(Edit { range: start..end, insert });
            }
            edits
        })
    }

    const TEXT: &str = "0123456789";

    proptest! {
        /// Every inserted character stands once, every deleted one is gone, the order of each side is kept.
        #[test]
        fn nothing_is_lost_or_doubled(mine in batch(10, 'A'), theirs in batch(10, 'a')) {
            let (ours, after) = (apply_to_str(TEXT, &mine), apply_to_str(TEXT, &theirs));
            let rebased = rebase(&mine, &theirs);
            prop_assert!(check_batch(&rebased, after.chars().count()).is_ok(), "{:?}", rebased);
            let merged = apply_to_str(&after, &rebased);
            let in_order = |from: &str, keep: &dyn Fn(char) -> bool| -> String { from.chars().filter(|c| keep(*c)).collect() };
            // As each side has it, without what the other one deleted or inserted.
            let deleted = |side: &str, c: char| c.is_ascii_digit() && !side.contains(c);
            prop_assert_eq!(
                in_order(&merged, &|c| ours.contains(c)),
                in_order(&ours, &|c| !deleted(&after, c)));
            prop_assert_eq!(
                in_order(&merged, &|c| after.contains(c)),
                in_order(&after, &|c| !deleted(&ours, c)));
            prop_assert!(merged.chars().all(|c| ours.contains(c) || after.contains(c)));
        }

        #[test]
        fn two_batches_in_a_row_are_one(first in batch(10, 'A'), second in batch(10, 'a')) {
            let middle = apply_to_str(TEXT, &first);
            let length = middle.chars().count();
            let second: Vec<Edit> = second.into_iter().filter(|edit| edit.range.end <= length).collect();
            let both = composed(&first, &second);
            prop_assert!(check_batch(&both, 10).is_ok());
            prop_assert_eq!(apply_to_str(TEXT, &both), apply_to_str(&middle, &second));
        }
    }
}
