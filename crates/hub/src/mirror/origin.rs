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
