//! Two changes made to the same text at the same time, one after the other.
//!
//! What a client typed and what the server sends were both made against the client's shadow. Positions are
//! mapped, never searched: a character that either side deletes is deleted, every insertion stands once, at
//! the place between the characters it was made at.

use std::collections::HashSet;

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
    // A table, for both may have as many edits as a text has lines.
    let known: HashSet<_> = theirs.iter().map(identity).collect();
    let new: Vec<Edit> = mine.iter().filter(|edit| !known.contains(&identity(edit))).cloned().collect();
    rebase(&new, theirs)
}

/// What makes two edits one.
fn identity(edit: &Edit) -> (usize, usize, &str) {
    (edit.range.start, edit.range.end, &edit.insert)
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

/// What `theirs` comes to in the text after `mine`, where `mine_after` is what [`rebase`] made of mine: either way round
/// the text is the same. What both texts have in common stays where it is, so that cursors can be moved with it.
pub fn theirs_after(mine: &[Edit], theirs: &[Edit], mine_after: &[Edit]) -> Vec<Edit> {
    let (mut from, mut to) = (pieces(mine, Maker::Mine), pieces(theirs, Maker::Theirs));
    overwrite(&mut to, mine_after);
    let (mut from, mut to) = (from.drain(..).peekable(), to.drain(..).peekable());
    let (mut at, mut out) = (0, Vec::new());
    loop {
        let (Some(old), Some(new)) = (from.peek_mut(), to.peek_mut()) else { return out };
        let (take_old, take_new) = match (old.maker, new.maker) {
            (_, Maker::Theirs) => {
                push(&mut out, Edit::insert(at, new.text(theirs)));
                (0, new.length)
            }
            (Maker::Mine, Maker::Mine) => {
                let both = old.length.min(new.length);
                (both, both)
            }
            // What they left of the old text.
            (Maker::Nobody, Maker::Nobody) if old.start == new.start => {
                let both = old.length.min(new.length);
                (both, both)
            }
            // They deleted this.
            (Maker::Nobody, other) => {
                let until =
                    if other == Maker::Nobody { new.start.saturating_sub(old.start) } else { old.length };
                let gone = until.min(old.length).max(1);
                push(&mut out, Edit::delete(at..at + gone));
                (gone, 0)
            }
            (Maker::Mine | Maker::Theirs, Maker::Nobody) | (Maker::Theirs, Maker::Mine) => (0, new.length),
        };
        at += take_old;
        old.skip(take_old);
        new.skip(take_new);
        from.next_if(|piece| piece.length == 0);
        to.next_if(|piece| piece.length == 0);
    }
}

/// Who put a piece of a text there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Maker {
    /// It is of the text both began with.
    Nobody,
    Mine,
    Theirs,
}

/// A piece of a text: of the first text from `start` on, or of what the `edit`-th edit put in, from `start` on.
#[derive(Clone, Copy, Debug)]
struct Piece {
    maker: Maker,
    edit: usize,
    start: usize,
    length: usize,
}

impl Piece {
    fn skip(&mut self, count: usize) {
        self.start += count;
        self.length -= count;
    }

    fn text(&self, edits: &[Edit]) -> String {
        let insert = edits.get(self.edit).map_or("", |edit| edit.insert.as_str());
        insert.chars().skip(self.start).take(self.length).collect()
    }
}

/// The text after a batch. Its end is beyond every position.
fn pieces(edits: &[Edit], maker: Maker) -> Vec<Piece> {
    let (mut out, mut at) = (Vec::new(), 0);
    let mut add = |maker, edit, start, length| {
        if length > 0 {
            out.push(Piece { maker, edit, start, length });
        }
    };
    for (index, edit) in edits.iter().enumerate() {
        add(Maker::Nobody, 0, at, edit.range.start - at);
        add(maker, index, 0, edit.insert.chars().count());
        at = edit.range.end;
    }
    add(Maker::Nobody, 0, at, usize::MAX / 2 - at);
    out
}

/// The text after another batch of mine.
fn overwrite(text: &mut Vec<Piece>, mine: &[Edit]) {
    let (mut out, mut rest, mut at) = (Vec::with_capacity(text.len()), text.iter().copied(), 0);
    let mut current = rest.next();
    let mut pass = |until: usize, mut keep: Option<&mut Vec<Piece>>| {
        while at < until
            && let Some(piece) = &mut current
        {
            let count = piece.length.min(until - at);
            if let Some(out) = &mut keep {
                out.push(Piece { length: count, ..*piece });
            }
            at += count;
            piece.skip(count);
            if piece.length == 0 {
                current = rest.next();
            }
        }
    };
    for (index, edit) in mine.iter().enumerate() {
        pass(edit.range.start, Some(&mut out));
        let length = edit.insert.chars().count();
        if length > 0 {
            out.push(Piece { maker: Maker::Mine, edit: index, start: 0, length });
        }
        pass(edit.range.end, None);
    }
    pass(usize::MAX, Some(&mut out));
    *text = out;
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

    /// Compared one with each other, these would be 4 * 10^10 comparisons.
    #[test]
    fn two_long_accounts_are_compared_in_a_moment() {
        let every = |text: &str| (0..200_000).map(|at| Edit::insert(at, text)).collect::<Vec<_>>();
        let (mine, theirs) = (every("mine"), every("theirs"));
        assert_eq!(rebase_unknown(&mine, &theirs).len(), mine.len());
        assert!(rebase_unknown(&theirs, &theirs).is_empty());
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

        /// Mine and then theirs is the same as theirs and then mine, and what I typed is not touched by it.
        #[test]
        fn both_ways_lead_to_one_text(mine in batch(10, 'A'), theirs in batch(10, 'a')) {
            let (ours, after) = (apply_to_str(TEXT, &mine), apply_to_str(TEXT, &theirs));
            let mine_after = rebase(&mine, &theirs);
            let theirs_after = theirs_after(&mine, &theirs, &mine_after);
            prop_assert!(check_batch(&theirs_after, ours.chars().count()).is_ok(), "{:?}", theirs_after);
            prop_assert_eq!(apply_to_str(&ours, &theirs_after), apply_to_str(&after, &mine_after));
            for edit in &theirs_after {
                let gone: String = ours.chars().skip(edit.range.start).take(edit.range.len()).collect();
                prop_assert!(gone.chars().all(|c| c.is_ascii_digit()), "{} is deleted", gone);
                prop_assert!(edit.insert.chars().all(|c| !ours.contains(c)));
            }
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
