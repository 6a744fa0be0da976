//! A text as the toolkit's editor wants it, which notes what is done to it.

use std::ops::Range;

use eframe::egui::TextBuffer;
use eframe::egui::text::CharIndex;
use syncline_engine::{Composer, Edit, byte_offset};

/// A text that notes every change made to it.
pub(crate) struct EditorText<'a> {
    text: &'a mut String,
    noted: Composer,
    changed: bool,
}

impl<'a> EditorText<'a> {
    pub fn new(text: &'a mut String) -> EditorText<'a> {
        EditorText { text, noted: Composer::new(), changed: false }
    }

    /// What was done, as one batch against the text as it was.
    pub fn edits(self) -> Vec<Edit> {
        if self.changed { self.noted.finish() } else { Vec::new() }
    }
}

impl TextBuffer for EditorText<'_> {
    fn is_mutable(&self) -> bool {
        true
    }

    fn as_str(&self) -> &str {
        self.text
    }

    fn insert_text(&mut self, text: &str, char_index: CharIndex) -> usize {
        let count = text.chars().count();
        let at = byte_offset(self.text, char_index.0);
        self.text.insert_str(at, text);
        self.noted.insert(char_index.0, text, count);
        self.changed = true;
        count
    }

    fn delete_char_range(&mut self, char_range: Range<CharIndex>) {
        let (start, end) = (char_range.start.0, char_range.end.0);
        if start >= end {
            return;
        }
        let from = byte_offset(self.text, start);
        let until = from + byte_offset(&self.text[from..], end - start);
        // What lies beyond the end is not there to be deleted.
        let count = self.text[from..until].chars().count();
        self.text.replace_range(from..until, "");
        self.noted.delete(start, count);
        self.changed = true;
    }

    fn type_id(&self) -> std::any::TypeId {
        std::any::TypeId::of::<EditorText<'static>>()
    }
}

/// Applies a batch to a text in place.
pub(crate) fn apply(text: &mut String, edits: &[Edit]) {
    for edit in edits.iter().rev() {
        let from = byte_offset(text, edit.range.start);
        let until = from + byte_offset(&text[from..], edit.range.len());
        text.replace_range(from..until, &edit.insert);
    }
}

#[cfg(test)]
mod tests {
    use syncline_engine::apply_to_str;

    use super::*;

    #[test]
    fn what_is_done_is_noted_as_one_batch() {
        let before = "a\u{e4}c def";
        let mut text = before.to_owned();
        let mut editor = EditorText::new(&mut text);
        editor.insert_text("\u{1f600}", CharIndex(1));
        editor.delete_char_range(CharIndex(2)..CharIndex(4));
        editor.delete_char_range(CharIndex(5)..CharIndex(99));
        editor.insert_text("z", CharIndex(4));
        let edits = editor.edits();
        assert_eq!(apply_to_str(before, &edits), text);
        let mut again = before.to_owned();
        apply(&mut again, &edits);
        assert_eq!(again, text);
    }
}
