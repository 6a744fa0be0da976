//! Another program's window with a shared text in it:
//! `cargo run -p syncline-desktop --example embed -- 'syncline://…'`
#![allow(clippy::print_stderr)]

use eframe::egui;
use syncline_desktop::{Document, DocumentView};
use syncline_protocol::JoinLink;

struct Embedding {
    document: Document,
    view: DocumentView,
}

impl eframe::App for Embedding {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.document.poll(ui.ctx());
        egui::CentralPanel::default().show(ui, |ui| {
            ui.label("A window of your own, and a shared text in it:");
            self.view.editor(ui, &mut self.document);
        });
    }
}

fn main() -> eframe::Result {
    let link = std::env::args().nth(1).and_then(|link| JoinLink::parse(&link).ok());
    let Some(link) = link else {
        eprintln!("give the link that `syncline serve` printed");
        return Ok(());
    };
    eframe::run_native(
        "Embedding",
        eframe::NativeOptions::default(),
        Box::new(move |creation| {
            let document = Document::open(link, None, "embedded", &creation.egui_ctx)?;
            Ok(Box::new(Embedding { document, view: DocumentView::new("text") }))
        }),
    )
}
