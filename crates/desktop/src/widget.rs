//! The editor and the view of a shared text, for any egui program.

use std::ops::Range;
use std::sync::Arc;

use eframe::egui::text::{CCursor, CCursorRange};
use eframe::egui::text_edit::TextEditState;
use eframe::egui::{
    self, Align2, Color32, FontId, Galley, Key, KeyboardShortcut, Modifiers, Painter, Pos2, Rect, ScrollArea,
    Stroke, TextEdit, Ui, Vec2,
};
use syncline_protocol::content::Present;

use crate::desk::{DeskInput, Standing, moved};
use crate::document::Document;
use crate::editor_text::EditorText;
use crate::marks::Mark;

/// Takes one's last edit back.
pub const UNDO: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::Z);
/// Does it again.
pub const REDO: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND.plus(Modifiers::SHIFT), Key::Z);
/// Does it again, too.
pub const REDO_ALSO: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::Y);

/// How a document looks in a window: an editor, and a view that only shows what everybody has.
pub struct DocumentView {
    salt: String,
    /// The size of the letters, in points.
    pub font_size: f32,
    /// What is looked for in the editor; all its places are marked.
    pub needle: String,
    /// Where the others think that the cursor is; `None`: the editor has not the focus.
    told: Option<(usize, usize)>,
    /// Where it was when the editor had the focus.
    cursor: (usize, usize),
    /// Scroll to this place, which was found.
    go_to: Option<Range<usize>>,
    /// Select it as soon as the editor has the focus: the toolkit's editor keeps no selection without it.
    select: Option<Range<usize>>,
}

impl DocumentView {
    /// A view. Each view in a window needs another salt.
    pub fn new(salt: &str) -> DocumentView {
        DocumentView {
            salt: salt.to_owned(),
            font_size: 14.0,
            needle: String::new(),
            told: None,
            cursor: (0, 0),
            go_to: None,
            select: None,
        }
    }

    /// The id of the editor, to ask for the focus.
    pub fn editor_id(&self) -> egui::Id {
        egui::Id::unique((&self.salt, "editor"))
    }

    /// The id of the view.
    pub fn shared_id(&self) -> egui::Id {
        egui::Id::unique((&self.salt, "shared"))
    }

    /// Another document is shown from now on.
    pub fn reset(&mut self, ctx: &egui::Context) {
        (self.told, self.cursor) = (None, (0, 0));
        TextEdit::store_state(ctx, self.editor_id(), TextEditState::default());
    }

    /// What everybody has now: it can be read, and copied from.
    pub fn shared(&mut self, ui: &mut Ui, document: &Document) {
        let label = ui.strong("Live view").on_hover_text("What everybody has now");
        let id = self.shared_id();
        ScrollArea::vertical().id_salt((&self.salt, "shared area")).auto_shrink(false).show(ui, |ui| {
            let mut text = document.desk().shared();
            let output = TextEdit::multiline(&mut text)
                .id(id)
                .font(FontId::monospace(self.font_size))
                .desired_width(f32::INFINITY)
                .min_size(ui.available_size())
                .show(ui);
            output.response.response.labelled_by(label.id);
            let canvas = Canvas { painter: ui.painter(), galley: &output.galley, origin: output.galley_pos };
            canvas.marks(document.desk().shared_marks(), ui.visuals().warn_fg_color);
            canvas.others(document.desk().others());
        });
    }

    /// The editor.
    pub fn editor(&mut self, ui: &mut Ui, document: &mut Document) {
        let label = ui.strong("Editor").on_hover_text("Your text");
        let id = self.editor_id();
        if ui.memory(|memory| memory.has_focus(id)) {
            // Before the toolkit's own undo sees them: that would take back other people's edits.
            let pressed = |shortcut| ui.input_mut(|input| input.consume_shortcut(&shortcut));
            if pressed(REDO) || pressed(REDO_ALSO) {
                document.act(DeskInput::Redo);
            } else if pressed(UNDO) {
                document.act(DeskInput::Undo);
            }
        }
        self.move_cursor(ui.ctx(), document);
        self.select_found(ui.ctx());
        ScrollArea::vertical().id_salt((&self.salt, "editor area")).auto_shrink(false).show(ui, |ui| {
            let mut text = document.desk().text().to_owned();
            let mut buffer = EditorText::new(&mut text);
            let mut output = TextEdit::multiline(&mut buffer)
                .id(id)
                .font(FontId::monospace(self.font_size))
                .desired_width(f32::INFINITY)
                .min_size(ui.available_size())
                .lock_focus(true)
                .interactive(document.desk().standing() != Standing::Loading)
                .show(ui);
            output.response.response.clone().labelled_by(label.id);
            output.state.clear_undoer();
            output.state.store(ui.ctx(), id);
            let edits = buffer.edits();
            let typed = !edits.is_empty();
            if typed {
                document.act(DeskInput::Typed(edits));
            }
            if typed || output.cursor_range.is_some_and(|range| !range.is_empty()) {
                self.select = None;
            }
            if self.select.is_none() {
                self.tell_cursor(output.cursor_range, document);
            }
            let canvas = Canvas { painter: ui.painter(), galley: &output.galley, origin: output.galley_pos };
            if !typed {
                // What was laid out is the text before this key.
                canvas.marks(document.desk().marks(), ui.visuals().warn_fg_color);
                canvas.others(&document.desk().others_in_text());
                for place in found(&text, &self.needle) {
                    let strength = if self.select.as_ref() == Some(&place) { 0.9 } else { 0.35 };
                    canvas.range(&place, ui.visuals().selection.bg_fill.gamma_multiply(strength));
                }
            }
            if let Some(range) = self.go_to.take() {
                ui.scroll_to_rect(canvas.place(range.start), Some(egui::Align::Center));
            }
        });
    }

    /// Selects the next place of what is looked for, behind the cursor or from the beginning. `false`: there is none.
    pub fn find_next(&mut self, ctx: &egui::Context, document: &Document, backward: bool) -> bool {
        let places = found(document.desk().text(), &self.needle);
        let (cursor, anchor) = self.cursor;
        let from = if backward { cursor.min(anchor) } else { cursor.max(anchor) };
        let next = if backward {
            places.iter().rev().find(|place| place.end <= from).or(places.last())
        } else {
            places.iter().find(|place| place.start >= from).or(places.first())
        };
        let Some(place) = next.cloned() else { return false };
        self.cursor = (place.end, place.start);
        (self.go_to, self.select) = (Some(place.clone()), Some(place));
        ctx.request_repaint();
        true
    }

    fn select_found(&self, ctx: &egui::Context) {
        if let Some(place) = &self.select {
            let id = self.editor_id();
            let mut state = TextEdit::load_state(ctx, id).unwrap_or_default();
            state
                .cursor
                .set_char_range(Some(CCursorRange::two(CCursor::new(place.start), CCursor::new(place.end))));
            state.store(ctx, id);
        }
    }

    /// The cursor stays where it is in the text, whatever others do around it.
    fn move_cursor(&mut self, ctx: &egui::Context, document: &mut Document) {
        let moves = document.take_moves();
        let id = self.editor_id();
        if moves.is_empty() {
            return;
        }
        if let Some(mut state) = TextEdit::load_state(ctx, id) {
            if let Some(mut range) = state.cursor.char_range() {
                for cursor in [&mut range.primary, &mut range.secondary] {
                    cursor.index.0 = moved(cursor.index.0, &moves);
                }
                state.cursor.set_char_range(Some(range));
            }
            state.clear_undoer();
            state.store(ctx, id);
        }
    }

    fn tell_cursor(&mut self, range: Option<CCursorRange>, document: &mut Document) {
        let cursor = range.map(|range| (range.primary.index.0, range.secondary.index.0));
        self.cursor = cursor.unwrap_or(self.cursor);
        if cursor != self.told {
            self.told = cursor;
            let (cursor, anchor) = cursor.unzip();
            let anchor = anchor.filter(|anchor| Some(*anchor) != cursor);
            document.act(DeskInput::Moved { cursor, anchor });
        }
    }
}

/// Where a needle is, in scalars; at most the first 1,000 places.
fn found(text: &str, needle: &str) -> Vec<Range<usize>> {
    if needle.is_empty() {
        return Vec::new();
    }
    let length = needle.chars().count();
    let (mut bytes, mut scalars) = (0, 0);
    let mut places = Vec::new();
    for (at, _) in text.match_indices(needle).take(1_000) {
        scalars += text[bytes..at].chars().count();
        bytes = at;
        places.push(scalars..scalars + length);
    }
    places
}

/// Draws over a text that was laid out.
struct Canvas<'a> {
    painter: &'a Painter,
    galley: &'a Arc<Galley>,
    origin: Pos2,
}

impl Canvas<'_> {
    fn place(&self, at: usize) -> Rect {
        self.galley.pos_from_cursor(CCursor::new(at)).translate(self.origin.to_vec2())
    }

    /// Colours a range, over several rows if need be.
    fn range(&self, range: &Range<usize>, color: Color32) {
        let (first, last) = (self.place(range.start), self.place(range.end));
        let row = |left: f32, right: f32, top: f32, bottom: f32| {
            let rect = Rect::from_min_max(Pos2::new(left, top), Pos2::new(right.max(left + 2.0), bottom));
            self.painter.rect_filled(rect, 2.0, color);
        };
        if (first.top() - last.top()).abs() < 1.0 {
            return row(first.left(), last.right(), first.top(), first.bottom());
        }
        let (left, right) = (self.origin.x, self.origin.x + self.galley.size().x);
        row(first.left(), right, first.top(), first.bottom());
        if last.top() > first.bottom() + 1.0 {
            row(left, right, first.bottom(), last.top());
        }
        // A range that ends with a line's end reaches into the next row by nothing.
        if last.right() > left + 1.0 {
            row(left, last.right(), last.top(), last.bottom());
        }
    }

    fn marks(&self, marks: &[Mark], color: Color32) {
        for mark in marks {
            self.range(&mark.range, color.gamma_multiply(0.22));
            let place = self.place(mark.range.start);
            let edge = Pos2::new(self.origin.x - 4.0, place.top());
            let bar = Rect::from_min_size(edge, Vec2::new(3.0, place.height()));
            self.painter.rect_filled(bar, 1.0, color);
        }
    }

    fn others(&self, others: &[Present]) {
        // How far each row is taken, so that names hide neither its text nor one another.
        let mut taken: Vec<(usize, f32)> = Vec::new();
        for other in others {
            let Some(cursor) = other.cursor else { continue };
            let color = color_of(other);
            if let Some(anchor) = other.anchor {
                self.range(&(cursor.min(anchor)..cursor.max(anchor)), color.gamma_multiply(0.25));
            }
            let place = self.place(cursor);
            self.painter.vline(place.left(), place.y_range(), Stroke::new(2.0, color));
            let name: String = other.name.chars().filter(|c| !c.is_control()).take(24).collect();
            if name.is_empty() {
                continue;
            }
            let row = self.galley.layout_from_cursor(CCursor::new(cursor)).row;
            let end = self.galley.rows.get(row).map_or(0.0, |row| row.rect().right()) + self.origin.x;
            let before = taken.iter().filter(|(of, _)| *of == row).map(|(_, end)| *end).fold(end, f32::max);
            let text = self.painter.layout_no_wrap(name, FontId::proportional(10.0), Color32::WHITE);
            // At the end of a full row there is no room beside it.
            let last = self.painter.clip_rect().right() - text.size().x - 8.0;
            let corner = Pos2::new((before + 6.0).min(last), place.center().y);
            let tag = Align2::LEFT_CENTER.anchor_size(corner, text.size() + Vec2::new(6.0, 2.0));
            self.painter.rect_filled(tag, 3.0, color);
            self.painter.galley(tag.min + Vec2::new(3.0, 1.0), text, Color32::WHITE);
            taken.push((row, tag.right()));
        }
    }
}

/// The colour somebody wants to be seen in, or one that is far from those of who came just before and after.
fn color_of(other: &Present) -> Color32 {
    let wanted = other.color.as_deref().and_then(|hex| Color32::from_hex(hex).ok());
    wanted.unwrap_or_else(|| {
        let hue = (other.id % 1_000) as f32 * 0.618_034;
        egui::ecolor::Hsva::new(hue.fract(), 0.8, 0.62, 1.0).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needles_are_found_by_characters() {
        assert_eq!(found("\u{e4}b\u{e4}b", "b"), [1..2, 3..4]);
        assert!(found("abc", "").is_empty() && found("abc", "x").is_empty());
    }
}
