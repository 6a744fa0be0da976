//! How long the window takes for a key: `cargo run --release -p syncline-desktop --example typing_latency [KILOBYTES]`.
//!
//! Measured is what the program does for one frame (layout and drawing lists), without the graphics card's part.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use syncline_desktop::app::{App, Beginning};
use syncline_desktop::{Carrier, Desk, Document, Mode};
use syncline_net::{LineEvent, LineOrder};
use syncline_protocol::content::{Greeting, Unit};

/// A line on which one text comes, and nothing is answered.
struct OneText(Vec<LineEvent>);

impl Carrier for OneText {
    fn take(&mut self) -> Option<LineEvent> {
        self.0.pop()
    }

    fn order(&mut self, _: LineOrder) {}
}

fn main() {
    let kilobytes: usize = std::env::args().nth(1).and_then(|size| size.parse().ok()).unwrap_or(1_024);
    let text = "a line of a text of some length, as people write them\n".repeat(kilobytes * 1_024 / 54);
    let content = serde_json::json!({
        "type": "content_update", "content": text, "version": "v1", "document": "a.txt"})
    .to_string();
    let nonce = "measured".to_owned();
    let greeting =
        Greeting { token: None, document: None, name: String::new(), color: None, unit: Unit::Scalar, nonce };
    let line = OneText(vec![LineEvent::Received(content), LineEvent::Connected { line: 1 }]);
    let document = Document::with(Desk::new(greeting, Mode::Live, None), Box::new(line));
    let beginning = Beginning { name: String::new(), mode: Mode::Live, font_size: 14.0, json: false };
    let app = App::with(document, beginning);
    let mut window = Harness::builder().with_size([1100.0, 700.0]).build_eframe(|_| app);
    window.run_steps(8);
    let mut taken: Vec<f64> = (0..300)
        .map(|_| {
            window.get_by_label("Editor").type_text("x");
            let started = Instant::now();
            window.step();
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    taken.sort_by(f64::total_cmp);
    println!(
        "{kilobytes} KiB: p50 {:.1} ms, p99 {:.1} ms for a key, of {}",
        taken[150],
        taken[297],
        taken.len()
    );
}
