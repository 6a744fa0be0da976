//! What a save was found to be made from, and what it changes there.

use std::sync::Arc;
use syncline_engine::{Document, Edit, Version, diff, diff_text};

use super::torn::torn_edits;
use super::{
    Base, Candidate, FoundSave, Pieces, Texts, Why, carry_over, infer_base, nearest_left_out, put_in_by_both,
};

/// What a save was found to be made from.
pub struct Origin {
    /// Which candidate, and why.
    pub base: Base,
    /// The version of the base.
    pub version: Version,
    /// The text of the base, if it is at hand or was needed.
    pub before: Option<Arc<String>>,
    /// Of a save that was made from an older version: the newest that the file held and anybody may have read.
    held: Option<Arc<String>>,
    /// See [`Candidate::part`].
    pub part: bool,
}

impl Origin {
    /// Nothing is known of the file but that it is to be a change of this version.
    pub fn newest(version: Version) -> Origin {
        let base = Base { index: 0, edit: true, why: Why::Newest };
        Origin { base, version, before: None, held: None, part: false }
    }

    /// What turns the text at the version into the one that was saved, and what of it others had put in too, which is not
    /// to be there twice. `torn`: what is missing at the end of what was saved was taken out by nobody.
    pub fn edits(&self, document: &Document, saved: &str, torn: bool) -> (Vec<Edit>, Pieces) {
        if !self.base.edit {
            return (Vec::new(), Pieces::new());
        }
        if let (true, Some(shown)) = (self.part, &self.before) {
            let whole = document.string_at(&self.version);
            let edits = if torn { torn_edits(shown, saved) } else { diff(shown, saved) };
            return (carry_over(&edits, &diff(shown, &whole)), Pieces::new());
        }
        let edits = match &self.before {
            // Of a large file only the lines around what was changed are copied.
            None if !torn && self.version == *document.version() => diff_text(document.text(), saved),
            before => {
                let replayed = || Arc::new(document.string_at(&self.version));
                let before = before.clone().unwrap_or_else(replayed);
                if torn { torn_edits(&before, saved) } else { diff(&before, saved) }
            }
        };
        let both = match (&self.before, &self.held) {
            (Some(before), Some(held)) => put_in_by_both(before, &edits, &diff(before, held)),
            _ => Pieces::new(),
        };
        (edits, both)
    }
}

impl Origin {
    /// Of what was found in an inode that we had displaced: whoever opened it to append wrote behind `held`, what it held then,
    /// without having read it, and what they had saved before may stand elsewhere by now. So if it is `held` and more, that is
    /// its base, rather than a version that it would have to alter. (Rule 4 of writes: an edit of what was displaced.)
    pub fn or_added_to(self, held: &Candidate, index: usize, document: &Document, text: &str) -> Origin {
        let alters = self.edits(document, text, false).0.iter().any(|edit| !edit.range.is_empty());
        if !alters {
            return self;
        }
        let replayed = || Arc::new(document.string_at(&held.version));
        let before = held.text().cloned().unwrap_or_else(replayed);
        if before.is_empty() || !text.starts_with(before.as_str()) {
            return self;
        }
        let base = Base { index, edit: true, why: Why::LeastChange };
        Origin { base, version: held.version.clone(), before: Some(before), held: None, part: held.part }
    }
}

/// The base of a save. Texts are replayed when the decision asks for them. `None` when there is no candidate.
pub fn judge(
    candidates: &[Candidate],
    document: &Document,
    text: &str,
    repeated: bool,
    git: bool,
) -> Option<Origin> {
    let texts = Texts::new(candidates.len(), |index| match candidates[index].text() {
        Some(text) => Some(text.clone()),
        None => Some(document.string_at(&candidates[index].version).into()),
    });
    let includes = |index: usize, other: usize| {
        document.includes(&candidates[index].version, &candidates[other].version)
    };
    let base =
        infer_base(&FoundSave { candidates, texts: &texts, includes: &includes, text, repeated, git })?;
    let candidate = candidates.get(base.index)?;
    if matches!(base.why, Why::Newest | Why::LeastChange | Why::Stale)
        && let Some((version, before)) = nearest_left_out(candidates, base.index, document, text)
    {
        // A version that the file held and that is not in the list.
        let edit = before != text;
        let base = Base { edit, why: if edit { Why::Stale } else { Why::Unchanged }, ..base };
        return Some(Origin { base, version, before: Some(before.into()), held: None, part: false });
    }
    let before = texts.known(base.index).or(candidate.text()).cloned();
    // What nobody has read nobody can have put in again: two who put in the same each have theirs (rule 14).
    let read = candidates.iter().rposition(|candidate| candidate.evidence.is_reading());
    let held = read.filter(|_| base.why == Why::Stale).and_then(|read| texts.get(read)).cloned();
    Some(Origin { base, version: candidate.version.clone(), before, held, part: candidate.part })
}

#[cfg(test)]
mod tests {
    use syncline_engine::{AgentId, Meta};

    use super::*;
    use crate::mirror::{Evidence, Maker};

    /// Lines alike, appended within the same milliseconds: what was written behind what we had put there, unread, needs less
    /// change from its maker's own save before, which raced with that too.
    #[test]
    fn what_was_appended_unread_is_no_change_of_an_own_save_that_raced() {
        let (ann, bob) = (AgentId::from_random(1), AgentId::from_random(2));
        let mut document = Document::new();
        document.edit(&[Edit::insert(0, "start\n")], ann, &Meta::default()).unwrap();
        let start = document.version().clone();
        document.edit(&[Edit::insert(6, "r1.0 u0\n")], ann, &Meta::default()).unwrap();
        let raced = document.version().clone();
        let theirs = [Edit::insert(6, "r1.0 u1\n")];
        let written = document.edit_at(&start, &theirs, bob, &Meta::default()).unwrap().version;
        let held = Candidate::new(written, b"start\nr1.0 u1\n", Maker::Us, Evidence::Unread);
        let origin = |version: &Version, index| Origin {
            base: Base { index, edit: true, why: Why::Stale },
            before: Some(document.string_at(version).into()),
            version: version.clone(),
            held: None,
            part: false,
        };
        let saved = "start\nr1.0 u1\nr1.1 u0\n";
        let found = origin(&raced, 0).or_added_to(&held, 1, &document, saved);
        assert_eq!((found.base.index, &found.version), (1, &held.version));
        assert_eq!(found.edits(&document, saved, false).0, [Edit::insert(14, "r1.1 u0\n")]);
        // Not from a version that explains it without taking anything out, nor where it is not what was held and more.
        assert_eq!(origin(&start, 0).or_added_to(&held, 1, &document, saved).base.index, 0);
        let other = "start\nr1.1 u0\n";
        assert_eq!(origin(&raced, 0).or_added_to(&held, 1, &document, other).base.index, 0);
    }
}
