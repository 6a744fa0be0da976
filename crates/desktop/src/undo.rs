//! Taking back one's own edits, and nobody else's.
//!
//! An entry is what takes one edit back, against the text as it stands when all later entries are taken back. What others
//! do goes below the entries, as it goes below a draft: they are moved and never touch anybody else's text.

use std::time::Duration;

use syncline_engine::{Edit, byte_offset};
use syncline_protocol::{composed, rebase, theirs_after};

/// How many edits can be taken back.
const MOST: usize = 1_000;
/// What is typed without a longer pause than this is taken back as one.
const PAUSE: Duration = Duration::from_millis(700);

/// What can be taken back, and what can be done again.
#[derive(Default, Debug)]
pub struct Undo {
    back: Vec<Vec<Edit>>,
    again: Vec<Vec<Edit>>,
    last: Option<Duration>,
}

impl Undo {
    /// The person made these edits in this text.
    pub fn typed(&mut self, edits: &[Edit], text: &str, now: Duration) {
        let inverse = inverse(edits, text);
        let joined = self.last.is_some_and(|last| now.saturating_sub(last) < PAUSE);
        match self.back.last_mut().filter(|_| joined) {
            Some(entry) => *entry = composed(&inverse, entry),
            None => self.back.push(inverse),
        }
        if self.back.len() > MOST {
            self.back.remove(0);
        }
        self.last = Some(now);
        self.again.clear();
    }

    /// Others made these edits in the text as it stands.
    pub fn changed(&mut self, edits: &[Edit]) {
        for entries in [&mut self.back, &mut self.again] {
            let mut theirs = edits.to_vec();
            for entry in entries.iter_mut().rev() {
                let moved = rebase(entry, &theirs);
                theirs = theirs_after(entry, &theirs, &moved);
                *entry = moved;
            }
            entries.retain(|entry| !entry.is_empty());
        }
    }

    /// What takes the last edit back; `text` is what it stands in.
    pub fn undo(&mut self, text: &str) -> Option<Vec<Edit>> {
        let edits = self.back.pop()?;
        self.again.push(inverse(&edits, text));
        self.last = None;
        Some(edits)
    }

    /// What does again what was taken back last.
    pub fn redo(&mut self, text: &str) -> Option<Vec<Edit>> {
        let edits = self.again.pop()?;
        self.back.push(inverse(&edits, text));
        self.last = None;
        Some(edits)
    }
}

/// What turns the text after these edits into what it was.
fn inverse(edits: &[Edit], text: &str) -> Vec<Edit> {
    let (mut shift, mut out) = (0isize, Vec::with_capacity(edits.len()));
    for edit in edits {
        let gone = &text[byte_offset(text, edit.range.start)..byte_offset(text, edit.range.end)];
        let start = edit.range.start.saturating_add_signed(shift);
        let inserted = edit.insert.chars().count();
        out.push(Edit { range: start..start + inserted, insert: gone.to_owned() });
        shift += inserted as isize - edit.range.len() as isize;
    }
    out
}

#[cfg(test)]
mod tests {
    use syncline_engine::apply_to_str;

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn ones_own_edits_are_taken_back_whatever_others_did_meanwhile() {
        let mut undo = Undo::default();
        let mut text = "one two three".to_owned();
        let own = |undo: &mut Undo, text: &mut String, edit: Edit, now| {
            undo.typed(std::slice::from_ref(&edit), text, now);
            *text = apply_to_str(text, &[edit]);
        };
        own(&mut undo, &mut text, Edit::delete(4..8), at(1));
        own(&mut undo, &mut text, Edit::insert(9, "!"), at(5));
        assert_eq!(text, "one three!");
        let theirs = [Edit::insert(0, "zero "), Edit { range: 4..9, insert: "THREE".into() }];
        undo.changed(&theirs);
        text = apply_to_str(&text, &theirs);
        for expected in ["zero one THREE", "zero one two THREE"] {
            let back = undo.undo(&text).unwrap();
            text = apply_to_str(&text, &back);
            assert_eq!(text, expected);
        }
        assert!(undo.undo(&text).is_none());
        for expected in ["zero one THREE", "zero one THREE!"] {
            let again = undo.redo(&text).unwrap();
            text = apply_to_str(&text, &again);
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn what_is_typed_in_one_go_is_taken_back_in_one_go() {
        let mut undo = Undo::default();
        let mut text = String::new();
        for (index, letter) in "word".chars().enumerate() {
            let edit = [Edit::insert(index, letter)];
            undo.typed(&edit, &text, at(1));
            text = apply_to_str(&text, &edit);
        }
        assert_eq!(apply_to_str(&text, &undo.undo(&text).unwrap()), "");
    }
}
