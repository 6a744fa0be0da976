//! Edits, and how several of them in a row become one batch.

use std::ops::Range;

/// Replaces the characters of `range` (Unicode scalar values) by `insert`. In a batch (`&[Edit]`) edits
/// are sorted and do not overlap, and all ranges refer to the text that the batch was made against (as in
/// the Language Server Protocol).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// What is replaced, in scalars of the text the batch was made against.
    pub range: Range<usize>,
    /// What stands there afterwards.
    pub insert: String,
}

impl Edit {
    /// An insertion before the `at`-th scalar.
    pub fn insert(at: usize, text: impl Into<String>) -> Edit {
        Edit { range: at..at, insert: text.into() }
    }

    /// A deletion of a range of scalars.
    pub fn delete(range: Range<usize>) -> Edit {
        Edit { range, insert: String::new() }
    }

    /// Whether this changes nothing.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty() && self.insert.is_empty()
    }
}

/// Why a batch of edits was refused. Nothing of it was entered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EditError {
    /// Two edits overlap or are not in order.
    #[error("edit {index} begins at {start}, before the end {previous_end} of the edit before it")]
    Unsorted {
        /// Which edit of the batch, from 0.
        index: usize,
        /// Where it begins, in scalars.
        start: usize,
        /// Where the one before it ends, in scalars.
        previous_end: usize,
    },
    /// A range ends before it begins or beyond the end of the text at that version.
    #[error("edit {index} covers {start}..{end}, but the text has {length} characters at that version")]
    OutOfBounds {
        /// Which edit of the batch, from 0.
        index: usize,
        /// Where it begins, in scalars.
        start: usize,
        /// Where it ends, in scalars.
        end: usize,
        /// The length of the text at the version the batch was made at, in scalars.
        length: usize,
    },
    /// The version is not one of this document's.
    #[error("the version names event {lv}, but this document has only {events}")]
    UnknownVersion {
        /// The number of the unknown event.
        lv: usize,
        /// How many events there are.
        events: usize,
    },
}

/// Checks that a batch is sorted, does not overlap, and stays within `length` scalars.
pub fn check_batch(edits: &[Edit], length: usize) -> Result<(), EditError> {
    let mut previous_end = 0;
    for (index, edit) in edits.iter().enumerate() {
        let Range { start, end } = edit.range;
        if start > end || end > length {
            return Err(EditError::OutOfBounds { index, start, end, length });
        }
        if start < previous_end {
            return Err(EditError::Unsorted { index, start, previous_end });
        }
        previous_end = end;
    }
    Ok(())
}

/// The text after a batch. The batch must fit (see [`check_batch`]); what lies outside is ignored.
pub fn apply_to_str(text: &str, edits: &[Edit]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = 0;
    let mut rest = text;
    let mut skip = |rest: &mut &str, to: usize, keep: Option<&mut String>| {
        let count = to.saturating_sub(chars);
        let bytes = byte_offset(rest, count);
        let (head, tail) = rest.split_at(bytes);
        if let Some(out) = keep {
            out.push_str(head);
        }
        *rest = tail;
        chars = chars.max(to);
    };
    for edit in edits {
        skip(&mut rest, edit.range.start, Some(&mut out));
        out.push_str(&edit.insert);
        skip(&mut rest, edit.range.end, None);
    }
    out.push_str(rest);
    out
}

/// How many scalars a text has.
pub fn scalars(text: &str) -> usize {
    // What is typed comes one character at a time.
    if text.len() < 2 { text.len() } else { text.chars().count() }
}

/// The byte offset of the `scalars`-th character, or the length when there are fewer.
pub fn byte_offset(text: &str, scalars: usize) -> usize {
    if scalars == 0 {
        return 0;
    }
    // Only as much is looked at as is needed: the rest of the text may be long.
    match text.as_bytes().get(..scalars) {
        None => return text.len(),
        Some(head) if head.is_ascii() => return scalars,
        Some(_) => {}
    }
    text.char_indices().nth(scalars).map_or(text.len(), |(at, _)| at)
}

/// Builds one sorted batch out of changes that happened one after the other, each at positions in the
/// text as the ones before left it.
#[derive(Default, Debug)]
pub struct Composer {
    /// Sorted, disjoint, and never adjacent to one another on both sides.
    edits: Vec<Piece>,
    /// Where the last change landed: changes come in clusters, so the search starts there.
    hint: Hint,
}

#[derive(Debug)]
struct Piece {
    edit: Edit,
    /// Scalars in `edit.insert`.
    inserted: usize,
}

#[derive(Default, Debug, Clone, Copy)]
struct Hint {
    index: usize,
    /// New position minus old position just before piece `index`.
    shift: isize,
}

impl Composer {
    /// Nothing yet.
    pub fn new() -> Composer {
        Composer::default()
    }

    /// The first piece that ends (in new positions) at or after `at`, and the shift before it.
    fn seek(&mut self, at: usize) -> Hint {
        let mut hint = self.hint;
        while hint.index > 0 {
            let before = &self.edits[hint.index - 1];
            let shift = hint.shift - (before.inserted as isize - before.edit.range.len() as isize);
            let new_end = (before.edit.range.start as isize + shift) as usize + before.inserted;
            if new_end < at {
                break;
            }
            hint = Hint { index: hint.index - 1, shift };
        }
        while let Some(piece) = self.edits.get(hint.index) {
            let new_start = (piece.edit.range.start as isize + hint.shift) as usize;
            if new_start + piece.inserted >= at {
                break;
            }
            hint.shift += piece.inserted as isize - piece.edit.range.len() as isize;
            hint.index += 1;
        }
        self.hint = hint;
        hint
    }

    /// `text` (of `count` scalars) was inserted before position `at`.
    pub fn insert(&mut self, at: usize, text: &str, count: usize) {
        if count == 0 {
            return;
        }
        let hint = self.seek(at);
        if let Some(piece) = self.edits.get_mut(hint.index) {
            let new_start = (piece.edit.range.start as isize + hint.shift) as usize;
            if at >= new_start {
                let offset = byte_offset(&piece.edit.insert, at - new_start);
                piece.edit.insert.insert_str(offset, text);
                piece.inserted += count;
                return;
            }
        }
        let old = (at as isize - hint.shift) as usize;
        self.edits.insert(hint.index, Piece { edit: Edit::insert(old, text), inserted: count });
    }

    /// `count` scalars were deleted from position `at` on.
    pub fn delete(&mut self, at: usize, count: usize) {
        if count == 0 {
            return;
        }
        let Hint { index, mut shift } = self.seek(at);
        // All positions here are those before this deletion, which covers at..end.
        let end = at + count;
        let mut merged = Piece { edit: Edit::insert((at as isize - shift) as usize, ""), inserted: 0 };
        let mut next = index;
        let mut covered = at;
        while let Some(piece) = self.edits.get(next) {
            let new_start = (piece.edit.range.start as isize + shift) as usize;
            if new_start > end {
                break;
            }
            let new_end = new_start + piece.inserted;
            let cut = byte_offset(&piece.edit.insert, at.saturating_sub(new_start))
                ..byte_offset(&piece.edit.insert, end.min(new_end) - new_start);
            merged.edit.range.start = merged.edit.range.start.min(piece.edit.range.start);
            merged.edit.insert.push_str(&piece.edit.insert[..cut.start]);
            merged.edit.insert.push_str(&piece.edit.insert[cut.end.max(cut.start)..]);
            merged.inserted += piece.inserted - (end.min(new_end) - at.max(new_start).min(end.min(new_end)));
            shift += piece.inserted as isize - piece.edit.range.len() as isize;
            covered = covered.max(new_end);
            next += 1;
        }
        merged.edit.range.end = (covered.max(end) as isize - shift) as usize;
        self.edits.splice(index..next, (!merged.edit.is_empty()).then_some(merged));
    }

    /// The batch: sorted, disjoint edits against the text before the first change.
    pub fn finish(self) -> Vec<Edit> {
        let mut out: Vec<Edit> = Vec::with_capacity(self.edits.len());
        for Piece { edit, .. } in self.edits {
            match out.last_mut() {
                Some(last) if last.range.end == edit.range.start => {
                    last.range.end = edit.range.end;
                    last.insert.push_str(&edit.insert);
                }
                _ => out.push(edit),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the obvious oracle: a string that each change is applied to.
        #[test]
        fn composed_changes_equal_the_changes_one_by_one(
            start in "[a-dé]{0,12}",
            changes in proptest::collection::vec((0usize..30, 0usize..5, "[A-Cü]{0,3}"), 0..12),
        ) {
            let mut text = start.clone();
            let mut composer = Composer::new();
            for (at, delete, insert) in changes {
                let length = text.chars().count();
                let at = at.min(length);
                let delete = delete.min(length - at);
                composer.delete(at, delete);
                text = apply_to_str(&text, &[Edit::delete(at..at + delete)]);
                composer.insert(at, &insert, insert.chars().count());
                text = apply_to_str(&text, &[Edit::insert(at, insert)]);
            }
            let batch = composer.finish();
            prop_assert!(check_batch(&batch, start.chars().count()).is_ok(), "{batch:?}");
            prop_assert_eq!(apply_to_str(&start, &batch), text);
        }
    }
}
