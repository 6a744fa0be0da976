//! The command `syncline-desktop`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use eframe::egui;
use syncline_desktop::Mode;
use syncline_desktop::app::{App, Beginning};
use syncline_protocol::JoinLink;

/// A window on a shared text: what it says now, and an editor.
#[derive(Parser)]
#[command(name = "syncline-desktop", version, after_help = EXAMPLES)]
struct Arguments {
    /// The link that `syncline serve` or `syncline token create` printed, in quotes; `-`: read from standard input
    link: String,
    /// Which file of the folder to show first (default: the one in the link, or the first)
    file: Option<String>,
    /// How others see you (default: your user name)
    #[arg(long)]
    name: Option<String>,
    /// When what you type is shared
    #[arg(long, value_enum, default_value = "draft")]
    mode: Sharing,
    /// The size of the letters, in points
    #[arg(long, default_value = "14")]
    font_size: f32,
    /// Print a line of JSON whenever something else is shown, for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sharing {
    /// When you upload it
    Draft,
    /// At once
    Live,
}

const EXAMPLES: &str = "\
Examples:
  syncline-desktop 'syncline://127.0.0.1:7420/#k=9YJr7WQg…'
  syncline-desktop 'syncline://127.0.0.1:7420/#k=9YJr7WQg…' todo.txt --mode live --name ann
  syncline-desktop - < link        # where others of this machine do not see the link

What was typed and not sent is kept in $XDG_STATE_HOME/syncline/desktop and is there again the next time.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("syncline-desktop: {what}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    let mut link = arguments.link;
    if link == "-" {
        link = String::new();
        std::io::stdin().read_line(&mut link).map_err(|error| format!("no link: {error}"))?;
    }
    let mut link = JoinLink::parse(&link).map_err(|error| error.to_string())?;
    if let Some(file) = arguments.file {
        link = link.to_document(&file).map_err(|error| error.to_string())?;
    }
    let name = arguments.name.or_else(|| std::env::var("USER").ok()).unwrap_or_default();
    let mode = match arguments.mode {
        Sharing::Draft => Mode::Draft,
        Sharing::Live => Mode::Live,
    };
    let beginning = Beginning { name, mode, font_size: arguments.font_size, json: arguments.json };
    let viewport =
        egui::ViewportBuilder::default().with_inner_size([1100.0, 700.0]).with_app_id("syncline-desktop");
    let options = eframe::NativeOptions { viewport, ..eframe::NativeOptions::default() };
    let open = move |creation: &eframe::CreationContext<'_>| {
        App::open(link, beginning, &creation.egui_ctx)
            .map(|app| Box::new(app) as Box<dyn eframe::App>)
            .map_err(Into::into)
    };
    eframe::run_native("Syncline", options, Box::new(open)).map_err(|error| format!("no window: {error}"))
}
