//! The window of `syncline-desktop`.

use std::io::Write;

use eframe::egui::{self, Color32, Key, KeyboardShortcut, Modifiers, Panel, RichText, Ui, ViewportCommand};
use syncline_protocol::JoinLink;
use syncline_protocol::diffsync::Sum;

use crate::desk::{Connection, DeskInput, Mode, Standing};
use crate::document::Document;
use crate::widget::DocumentView;

const CTRL: Modifiers = Modifiers::COMMAND;

/// A key, what it does, and how that is said in the list of keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Upload,
    ToggleMode,
    Seen,
    Find,
    FindNext,
    FindPrevious,
    Larger,
    Smaller,
    Theme,
    Files,
    NextPane,
    Keys,
}

const KEYS: &[(KeyboardShortcut, Action, &str)] = &[
    (KeyboardShortcut::new(CTRL, Key::Enter), Action::Upload, "Upload the draft"),
    (KeyboardShortcut::new(CTRL, Key::L), Action::ToggleMode, "Draft or live"),
    (KeyboardShortcut::new(CTRL, Key::M), Action::Seen, "Forget the marks of what others changed"),
    (KeyboardShortcut::new(CTRL, Key::F), Action::Find, "Find"),
    (KeyboardShortcut::new(Modifiers::SHIFT, Key::F3), Action::FindPrevious, "Find the one before"),
    (KeyboardShortcut::new(Modifiers::NONE, Key::F3), Action::FindNext, "Find the next one"),
    (KeyboardShortcut::new(CTRL, Key::Plus), Action::Larger, "Larger letters"),
    (KeyboardShortcut::new(CTRL, Key::Equals), Action::Larger, ""),
    (KeyboardShortcut::new(CTRL, Key::Minus), Action::Smaller, "Smaller letters"),
    (KeyboardShortcut::new(Modifiers::NONE, Key::F8), Action::Theme, "Dark or light"),
    (KeyboardShortcut::new(Modifiers::NONE, Key::F9), Action::Files, "Show or hide the files"),
    (KeyboardShortcut::new(Modifiers::NONE, Key::F6), Action::NextPane, "Go to the next part of the window"),
    (KeyboardShortcut::new(Modifiers::NONE, Key::F1), Action::Keys, "Show or hide this list"),
];

/// How a window begins.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// How its person is called.
    pub name: String,
    /// When what is typed is shared.
    pub mode: Mode,
    /// The size of letters in points.
    pub font_size: f32,
    /// Print a line of JSON whenever something else is shown.
    pub json: bool,
}

/// The window.
pub struct App {
    /// Where other documents are; `None`: only this one can be shown.
    link: Option<JoinLink>,
    name: String,
    document: Document,
    view: DocumentView,
    finding: bool,
    files: bool,
    keys: bool,
    /// In which part of the window the keyboard is.
    pane: usize,
    title: String,
    /// Why another document could not be opened.
    trouble: Option<String>,
    focused: bool,
    json: bool,
    told: Option<String>,
}

impl App {
    /// A window on the document that a link leads to.
    ///
    /// # Errors
    /// As [`Document::open`].
    pub fn open(link: JoinLink, beginning: Beginning, ctx: &egui::Context) -> std::io::Result<App> {
        let document = Document::open(link.clone(), None, &beginning.name, ctx)?;
        Ok(App { link: Some(link), ..App::with(document, beginning) })
    }

    /// A window on this document.
    pub fn with(mut document: Document, beginning: Beginning) -> App {
        document.act(DeskInput::Mode(beginning.mode));
        let mut view = DocumentView::new("main");
        view.font_size = beginning.font_size.clamp(6.0, 48.0);
        App {
            link: None,
            name: beginning.name,
            document,
            view,
            finding: false,
            files: true,
            keys: false,
            pane: 0,
            title: String::new(),
            trouble: None,
            focused: false,
            json: beginning.json,
            told: None,
        }
    }

    /// The document that is shown.
    pub fn document(&self) -> &Document {
        &self.document
    }

    fn act(&mut self, action: Action, ctx: &egui::Context) {
        match action {
            Action::Upload => self.document.act(DeskInput::Upload),
            Action::ToggleMode => {
                let mode = if self.document.desk().mode() == Mode::Live { Mode::Draft } else { Mode::Live };
                self.document.act(DeskInput::Mode(mode));
            }
            Action::Seen => self.document.act(DeskInput::Seen),
            Action::Find => {
                self.finding = true;
                ctx.memory_mut(|memory| memory.request_focus(find_id()));
            }
            Action::FindNext => drop(self.view.find_next(ctx, &self.document, false)),
            Action::FindPrevious => drop(self.view.find_next(ctx, &self.document, true)),
            Action::Larger => self.view.font_size = (self.view.font_size + 1.0).min(48.0),
            Action::Smaller => self.view.font_size = (self.view.font_size - 1.0).max(6.0),
            Action::Theme => {
                let dark = ctx.theme() == egui::Theme::Dark;
                ctx.set_theme(if dark { egui::Theme::Light } else { egui::Theme::Dark });
            }
            Action::Files => self.files = !self.files,
            Action::NextPane => {
                self.pane = (self.pane + 1) % 2;
                let id = if self.pane == 0 { self.view.editor_id() } else { self.view.shared_id() };
                ctx.memory_mut(|memory| memory.request_focus(id));
            }
            Action::Keys => self.keys = !self.keys,
        }
    }

    fn shortcuts(&mut self, ctx: &egui::Context) {
        for (shortcut, action, _) in KEYS {
            if ctx.input_mut(|input| input.consume_shortcut(shortcut)) {
                self.act(*action, ctx);
            }
        }
        if self.finding && ctx.input(|input| input.key_pressed(Key::Escape)) {
            self.finding = false;
            self.view.needle.clear();
            ctx.memory_mut(|memory| memory.request_focus(self.view.editor_id()));
        }
    }

    /// Shows another document of the folder. What is not uploaded of this one waits in its file.
    fn change_to(&mut self, path: &str, ctx: &egui::Context) {
        let Some(link) = self.link.clone() else { return };
        let mode = self.document.desk().mode();
        match Document::open(link, Some(path), &self.name, ctx) {
            Ok(mut document) => {
                document.act(DeskInput::Mode(mode));
                self.document = document;
                self.view.reset(ctx);
                self.trouble = None;
                self.focused = false;
            }
            Err(error) => self.trouble = Some(format!("{path} cannot be opened: {error}")),
        }
    }

    fn bar(&mut self, ui: &mut Ui) {
        ui.horizontal_wrapped(|ui| {
            let mode = self.document.desk().mode();
            for (value, name, hint) in [
                (Mode::Draft, "Draft", "What you type is shared when you upload it (Ctrl+L)"),
                (Mode::Live, "Live", "Each key is shared at once (Ctrl+L)"),
            ] {
                if ui.selectable_label(mode == value, name).on_hover_text(hint).clicked() {
                    self.document.act(DeskInput::Mode(value));
                }
            }
            let upload = ui.add_enabled(self.document.desk().can_upload(), egui::Button::new("Upload"));
            if upload.on_hover_text("Ctrl+Enter").clicked() {
                self.act(Action::Upload, &ui.ctx().clone());
            }
            ui.separator();
            for (name, hint, action) in [
                ("Find", "Ctrl+F", Action::Find),
                ("A-", "Smaller letters (Ctrl+-)", Action::Smaller),
                ("A+", "Larger letters (Ctrl++)", Action::Larger),
                ("Dark/light", "F8", Action::Theme),
                ("Files", "F9", Action::Files),
                ("Keys", "F1", Action::Keys),
            ] {
                if ui.button(name).on_hover_text(hint).clicked() {
                    self.act(action, &ui.ctx().clone());
                }
            }
            if !self.document.desk().marks().is_empty() && mode == Mode::Draft {
                let count = self.document.desk().marks().len();
                if ui.button(format!("Seen ({count})")).on_hover_text("Forget the marks (Ctrl+M)").clicked() {
                    self.act(Action::Seen, &ui.ctx().clone());
                }
            }
        });
        if self.finding {
            ui.horizontal(|ui| {
                let label = ui.label("Find:");
                let entry =
                    egui::TextEdit::singleline(&mut self.view.needle).id(find_id()).desired_width(240.0);
                let response = ui.add(entry).labelled_by(label.id);
                let enter = response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
                if enter || ui.button("Next").on_hover_text("F3").clicked() {
                    self.act(Action::FindNext, &ui.ctx().clone());
                }
            });
        }
    }

    /// What is true of the connection and of what was typed, in words.
    fn status(&mut self, ui: &mut Ui) {
        let desk = self.document.desk();
        let visuals = ui.visuals();
        let (good, bad, plain) = (good(visuals), visuals.error_fg_color, visuals.text_color());
        let warn = visuals.warn_fg_color;
        let (connection, color) = match desk.connection() {
            Connection::Connecting => ("Connecting".to_owned(), warn),
            Connection::Open => ("Connected".to_owned(), good),
            Connection::Lost(why) => (format!("No connection ({why})"), bad),
            Connection::Refused(error) => {
                (format!("Refused: {} ({})", error.message, error.code.hint()), bad)
            }
        };
        let is_kept = self.document.trouble().is_none();
        let here = if is_kept { "kept on this machine" } else { "ONLY in this window" };
        let (standing, standing_color) = match desk.standing() {
            Standing::Loading => ("No text yet".to_owned(), plain),
            Standing::Saved => ("Saved".to_owned(), good),
            Standing::Sending => ("Sending".to_owned(), warn),
            Standing::Waiting => (format!("Not saved: waits for the connection, {here}"), bad),
            Standing::Draft => (format!("Draft, not uploaded: {here}"), warn),
        };
        let others: Vec<&str> =
            desk.others().iter().map(|other| other.name.as_str()).filter(|name| !name.is_empty()).collect();
        let notice = desk.notice().map(|error| format!("{} ({})", error.message, error.code.hint()));
        let others = if others.is_empty() {
            "Nobody else is here".to_owned()
        } else {
            format!("Here: {}", others.join(", "))
        };
        let lost = matches!(desk.connection(), Connection::Lost(_));
        ui.horizontal_wrapped(|ui| {
            ui.label(RichText::new(connection).color(color));
            if lost && ui.button("Try now").clicked() {
                self.document.hurry();
            }
            ui.separator();
            ui.label(RichText::new(standing).color(standing_color));
            ui.separator();
            ui.label(others);
            for trouble in
                [notice.as_deref(), self.document.trouble(), self.trouble.as_deref()].into_iter().flatten()
            {
                ui.separator();
                ui.label(RichText::new(trouble).color(bad));
            }
        });
    }

    fn files(&mut self, ui: &mut Ui) {
        ui.strong("Files");
        let Some((documents, more)) = self.document.desk().documents().cloned() else {
            ui.weak("not known");
            return;
        };
        let current = self.document.desk().document().map(str::to_owned);
        let height = ui.text_style_height(&egui::TextStyle::Button) + ui.spacing().button_padding.y * 2.0;
        egui::ScrollArea::vertical().auto_shrink(false).show_rows(ui, height, documents.len(), |ui, rows| {
            for path in documents.get(rows).unwrap_or_default() {
                let is_current = current.as_deref() == Some(path);
                if ui.selectable_label(is_current, path).clicked() && !is_current {
                    self.change_to(path, &ui.ctx().clone());
                }
            }
            if more {
                ui.weak("and more");
            }
        });
    }

    fn key_list(&self, ui: &mut Ui) {
        egui::Grid::new("keys").num_columns(4).spacing([16.0, 2.0]).show(ui, |ui| {
            let own = [
                ("Ctrl+Z", "Undo your own last edit"),
                ("Ctrl+Shift+Z", "Do it again"),
                ("Esc", "Leave the editor; then Tab goes on"),
            ];
            let keys = KEYS.iter().filter(|(_, _, what)| !what.is_empty());
            let keys = keys.map(|(shortcut, _, what)| (ui.ctx().format_shortcut(shortcut), *what));
            let all: Vec<(String, &str)> =
                keys.chain(own.map(|(key, what)| (key.to_owned(), what))).collect();
            for (index, (key, what)) in all.iter().enumerate() {
                ui.monospace(key);
                ui.label(*what);
                if index % 2 == 1 {
                    ui.end_row();
                }
            }
        });
    }

    /// What is shown, for scripts: which text, by its sum (as in `diffsync`), and where what was typed is.
    fn tell(&mut self) {
        let desk = self.document.desk();
        let standing = match desk.standing() {
            Standing::Loading => return,
            Standing::Saved => "saved",
            Standing::Sending => "sending",
            Standing::Waiting => "waiting",
            Standing::Draft => "draft",
        };
        let line = serde_json::json!({
            "event": "shown",
            "document": desk.document(),
            "shared": Sum::of(desk.shared()).to_string(),
            "text": Sum::of(desk.text()).to_string(),
            "standing": standing,
            "connected": *desk.connection() == Connection::Open,
            "kept": self.document.trouble().is_none(),
            "others": desk.others().iter().map(|other| other.name.as_str()).collect::<Vec<_>>(),
        })
        .to_string();
        if self.told.as_ref() != Some(&line) {
            // Whoever wanted to know may have gone.
            let _ = writeln!(std::io::stdout().lock(), "{line}");
            self.told = Some(line);
        }
    }

    fn name_window(&mut self, ctx: &egui::Context) {
        let document = self.document.desk().document().unwrap_or("…");
        let mark = if self.document.desk().standing() == Standing::Saved { "" } else { "• " };
        let title = format!("{mark}{document} - Syncline");
        if title != self.title {
            ctx.send_viewport_cmd(ViewportCommand::Title(title.clone()));
            self.title = title;
        }
    }
}

fn find_id() -> egui::Id {
    egui::Id::unique("find")
}

/// A green that can be read on this background.
fn good(visuals: &egui::Visuals) -> Color32 {
    if visuals.dark_mode { Color32::from_rgb(110, 200, 110) } else { Color32::from_rgb(20, 110, 30) }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        self.document.poll(ctx);
        self.name_window(ctx);
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        let ctx = ui.ctx().clone();
        self.shortcuts(&ctx);
        Panel::top("bar").show(ui, |ui| self.bar(ui));
        Panel::bottom("status").show(ui, |ui| self.status(ui));
        if self.keys {
            Panel::bottom("keys").show(ui, |ui| self.key_list(ui));
        }
        if self.files {
            Panel::left("files").default_size(150.0).show(ui, |ui| self.files(ui));
        }
        egui::CentralPanel::default().show(ui, |ui| {
            ui.columns_const(|[left, right]| {
                self.view.shared(left, &self.document);
                self.view.editor(right, &mut self.document);
            });
        });
        if self.json {
            self.tell();
        }
        if !self.focused && self.document.desk().standing() != Standing::Loading {
            self.focused = true;
            ctx.memory_mut(|memory| memory.request_focus(self.view.editor_id()));
        }
    }
}
