//! What changes took out of a text: every change that deleted something, with the lines as they were before it.
//!
//! The history is gone through once, from its beginning, in the order in which this replica learnt of it. A character
//! that two people deleted without knowing of each other is displaced once: by whom this replica heard of first.

use std::ops::Range;

use crate::branch::Branch;
use crate::document::{Document, compose};
use crate::id::EventId;
use crate::meta::Meta;
use crate::text::Text;
use crate::version::Version;

/// The end of a line is looked for so far, in scalars: some programs write everything in one line.
const LINE_REACH: usize = 4 << 10;
/// How many scalars are looked at at once for it.
const WINDOW: usize = 256;

/// What one change took out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Displaced<'a> {
    /// The first event of the change; it names the change on this replica.
    pub id: EventId,
    /// Who, when, and by which channel.
    pub meta: &'a Meta,
    /// The version that the change was entered at: [`Document::text_at`] has the whole text as it was.
    pub before: Version,
    /// How many characters it took out.
    pub removed: usize,
    /// The whole lines that it took something out of, as they were; each place begins a line of its own.
    pub lines: String,
}

impl Document {
    /// Tells of every change that took something out, oldest first. Events of one author, channel and moment are
    /// one change. Costs a walk over the whole history.
    pub fn displaced(&self, visit: &mut dyn FnMut(Displaced<'_>)) {
        let (mut branch, mut next) = (Branch::default(), 0);
        while next < self.events() {
            let (change, meta) = self.metas.run_from(next, self.events());
            let (before, mut effects) = (branch.version.clone(), Vec::new());
            let walked = branch.walk(&self.graph, &self.operations, change.clone(), &mut effects);
            debug_assert!(walked.is_ok(), "an event that was accepted has no place");
            let taken: Vec<Range<usize>> = compose(&self.operations, &effects)
                .into_iter()
                .map(|edit| edit.range)
                .filter(|range| !range.is_empty())
                .collect();
            if !taken.is_empty() {
                visit(Displaced {
                    id: self.graph.id_of(change.start),
                    meta,
                    before,
                    removed: taken.iter().map(Range::len).sum(),
                    lines: lines_of(&branch.text, &taken),
                });
            }
            branch.apply(&self.operations, &effects);
            next = change.end;
        }
    }
}

/// The whole lines that these ranges, ascending, lie in.
fn lines_of(text: &Text, ranges: &[Range<usize>]) -> String {
    let mut whole: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        let lines = line_start(text, range.start)..line_end(text, range.end);
        match whole.last_mut() {
            Some(last) if lines.start < last.end => last.end = last.end.max(lines.end),
            _ => whole.push(lines),
        }
    }
    let mut out = String::new();
    for lines in whole {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&text.slice(lines));
    }
    out
}

/// Where the line begins that has this position.
fn line_start(text: &Text, at: usize) -> usize {
    let (mut from, least) = (at, at.saturating_sub(LINE_REACH));
    while from > least {
        let start = from.saturating_sub(WINDOW).max(least);
        let window = text.slice(start..from);
        if let Some(found) = window.rfind('\n') {
            return start + window[..=found].chars().count();
        }
        from = start;
    }
    from
}

/// Where the line ends, with its newline, that the character before this position is in.
fn line_end(text: &Text, at: usize) -> usize {
    let (mut from, most) = (at, at.saturating_add(LINE_REACH).min(text.len()));
    if from > 0 && text.slice(from - 1..from) == "\n" {
        return from;
    }
    while from < most {
        let end = from.saturating_add(WINDOW).min(most);
        let window = text.slice(from..end);
        if let Some(found) = window.find('\n') {
            return from + window[..=found].chars().count();
        }
        from = end;
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::diff;
    use crate::edit::Edit;
    use crate::id::AgentId;

    fn meta(author: &str, time_ms: u64) -> Meta {
        Meta { author: author.into(), channel: "file".into(), time_ms }
    }

    fn all(document: &Document) -> Vec<(String, u64, usize, String, String)> {
        let mut found = Vec::new();
        document.displaced(&mut |it| {
            let before = document.string_at(&it.before);
            found.push((it.meta.author.to_string(), it.meta.time_ms, it.removed, it.lines, before));
        });
        found
    }

    #[test]
    fn every_change_that_took_something_out_is_told_with_the_lines_as_they_were() {
        let ann = AgentId::from_random(1);
        let mut document = Document::new();
        let texts = [
            "one\ntwo\nthree\n",
            "one\ntwo\nthree\nfour\n",
            "one\n2wo\nthree\nfour\n",
            "ONE\n2wo\nthree\nFOUR\n",
            "",
            "äö\nnew",
        ];
        let mut before = String::new();
        for (number, text) in texts.iter().enumerate() {
            let edits = diff(&before, text);
            document.edit(&edits, ann, &meta("ann", number as u64)).unwrap();
            before = (*text).to_owned();
        }
        let found = all(&document);
        let told: Vec<_> = found.iter().map(|(_, time, _, lines, _)| (*time, lines.as_str())).collect();
        assert_eq!(told, [(2, "two\n"), (3, "one\nfour\n"), (4, texts[3])]);
        for (_, time, removed, _, before) in &found {
            assert_eq!(before, texts[*time as usize - 1], "the text as it was before");
            assert!(*removed > 0);
        }
        assert_eq!(found[2].2, texts[3].chars().count());
    }

    #[test]
    fn what_two_deleted_without_knowing_of_each_other_is_displaced_once() {
        let (ann, bob) = (AgentId::from_random(1), AgentId::from_random(2));
        let mut document = Document::new();
        let base = document.edit(&[Edit::insert(0, "a\nb\nc\n")], ann, &meta("ann", 1)).unwrap().version;
        document.edit_at(&base, &[Edit::delete(2..4)], ann, &meta("ann", 2)).unwrap();
        document.edit_at(&base, &[Edit::delete(2..6)], bob, &meta("bob", 3)).unwrap();
        let found = all(&document);
        let told = found.iter().map(|(who, _, removed, lines, _)| (who.as_str(), *removed, lines.as_str()));
        assert_eq!(told.collect::<Vec<_>>(), [("ann", 2, "b\n"), ("bob", 2, "c\n")]);
        assert_eq!(found[1].4, "a\nc\n", "the text that the change came to, others' changes included");
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let ann = AgentId::from_random(1);
        let mut document = Document::new();
        let long = "x".repeat(3 * LINE_REACH);
        document.edit(&[Edit::insert(0, long)], ann, &meta("ann", 1)).unwrap();
        document.edit(&[Edit::delete(LINE_REACH + 9..LINE_REACH + 10)], ann, &meta("ann", 2)).unwrap();
        assert_eq!(all(&document)[0].3.len(), 2 * LINE_REACH + 1);
    }
}
