//! What a save made from an older version has all the same of what others put in since.
//!
//! Whoever read half of a file, or took out one of two edits that came together, saves a text that has some of what
//! others changed and lacks the rest. What it lacks was not taken out (rule 2), so an older version is its base. What
//! it has comes a second time, and the copy is taken out again. (Of replacements rule 14 keeps one copy already.)

use std::collections::HashMap;
use syncline_engine::{Edit, is_distinctive};

/// Pieces of text, each as often as it is there.
pub type Pieces = HashMap<String, usize>;

/// The distinctive lines, or whole insertions, that both batches put in at the same place of `base`.
pub fn put_in_by_both(base: &str, own: &[Edit], theirs: &[Edit]) -> Pieces {
    let (mut at, mut both) = (0, Pieces::new());
    // The edits are sorted: the text is gone through once.
    let (mut chars, mut passed, mut before) = (base.chars(), 0, None);
    for edit in own.iter().filter(|edit| edit.range.is_empty()) {
        while theirs.get(at).is_some_and(|their| their.range.start < edit.range.start) {
            at += 1;
        }
        let Some(their) = theirs.get(at).filter(|their| their.range == edit.range) else { continue };
        if their.insert == edit.insert {
            if is_distinctive(&edit.insert) {
                *both.entry(edit.insert.clone()).or_default() += 1;
            }
            continue;
        }
        while passed < edit.range.start {
            (before, passed) = (chars.next(), passed + 1);
        }
        let skipped = usize::from(before.is_some_and(|c| c != '\n'));
        let lines = |text: &str| {
            let mut counts = Pieces::new();
            let whole = text.split_inclusive('\n').skip(skipped).filter(|line| line.ends_with('\n'));
            for line in whole.filter(|line| is_distinctive(line)) {
                *counts.entry(line.to_owned()).or_default() += 1;
            }
            counts
        };
        let theirs = lines(&their.insert);
        for (line, count) in lines(&edit.insert) {
            let common = count.min(theirs.get(&line).copied().unwrap_or(0));
            if common > 0 {
                *both.entry(line).or_default() += common;
            }
        }
    }
    both
}

/// The edits that take these pieces out of what `effect`, a batch that was just applied, put in: in the text after it.
pub fn copies(effect: &[Edit], mut pieces: Pieces) -> Vec<Edit> {
    let (mut out, mut shift) = (Vec::new(), 0isize);
    let mut take = |piece: &str| match pieces.get_mut(piece) {
        Some(left) if *left > 0 => {
            *left -= 1;
            true
        }
        _ => false,
    };
    for edit in effect {
        let start = edit.range.start.saturating_add_signed(shift);
        let length = edit.insert.chars().count();
        shift += length as isize - edit.range.len() as isize;
        if take(&edit.insert) {
            out.push(Edit::delete(start..start + length));
            continue;
        }
        let mut at = start;
        for line in edit.insert.split_inclusive('\n') {
            let end = at + line.chars().count();
            if take(line) {
                out.push(Edit::delete(at..end));
            }
            at = end;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_engine::{AgentId, Document, Meta, apply_to_str, diff};

    /// The text when a save is entered at `base`, after somebody else made it `newest`.
    fn merged(base: &str, newest: &str, save: &str) -> String {
        let (mut document, meta) = (Document::new(), Meta::default());
        let agent = AgentId::from_random(1);
        let old = document.edit(&[Edit::insert(0, base)], agent, &meta).unwrap().version;
        let theirs = diff(base, newest);
        document.edit_at(&old, &theirs, AgentId::from_random(2), &meta).unwrap();
        let own = diff(base, save);
        let applied = document.edit_at(&old, &own, agent, &meta).unwrap();
        assert_eq!(document.string_at(&applied.version), save, "the version of a save is its text");
        let text = document.text().to_one_string();
        apply_to_str(&text, &copies(&applied.effect, put_in_by_both(base, &own, &theirs)))
    }

    #[test]
    fn what_others_put_in_is_not_there_twice() {
        let base = "one\ntwo\nthree\n";
        for (newest, save, wanted) in [
            // Of two lines of others the save has one.
            (
                "one\nby another\ntwo\nthree\nlast of all\n",
                "one\nmine\nby another\ntwo\nthree\n",
                "by another,last of all,mine,one,three,two",
            ),
            // A word at the end of a line.
            ("one by another\ntwo\nthree!\n", "one by another\ntwo\nthree\n", "one by another,three!,two"),
            // What two may well have put in, each on their own.
            ("one\n}\ntwo\nthree!\n", "one\n}\ntwo\nthree\n", "one,three!,two,},}"),
            // Elsewhere, or more often than theirs.
            (
                "one\nby another\ntwo\nthree\n",
                "one\ntwo\nby another\nthree\n",
                "by another,by another,one,three,two",
            ),
            (
                "one\nby another\ntwo\nthree\n",
                "one\nby another\nby another\ntwo\nthree\n",
                "by another,by another,one,three,two",
            ),
            // Text in the middle of a line and whole lines behind it.
            (
                "one and more\nby another\ntwo\nthree\n",
                "one, mine\nby another\ntwo\nthree\n",
                "by another,one, mine and more,three,two",
            ),
        ] {
            let text = merged(base, newest, save);
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            assert_eq!(lines.join(","), wanted, "{save:?}");
        }
    }
}
