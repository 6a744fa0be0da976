//! Where commands come from and where answers go: a terminal with line editing, or a pipe.

use std::io::{BufRead, ErrorKind, IsTerminal, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::report::json_line;

/// What is shown before each command.
const PROMPT: &str = "> ";

/// Commands that were read and wait: the reader waits for the answer to each, so there is at most one.
const WAITING: usize = 1;

/// A command as it was typed, or the end.
pub enum Typed {
    /// A line.
    Line(String),
    /// What came is no text, or cannot be read: nothing more is read.
    Wrong(String),
    /// Nothing more comes.
    End,
}

/// The side that reads commands and prints answers.
pub struct Terminal {
    answered: SyncSender<()>,
    printer: Option<Box<dyn ExternalPrinter + Send>>,
    json: bool,
    interactive: bool,
}

impl Terminal {
    /// Begins to read; gives also what is typed. With `json`, answers are JSON and nothing else is said.
    ///
    /// # Errors
    /// If the terminal cannot be used.
    pub fn open(json: bool) -> Result<(Terminal, mpsc::Receiver<Typed>), Failure> {
        let interactive = !json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let (lines, typed) = mpsc::channel(WAITING);
        let (answered, answers) = sync_channel(WAITING);
        let mut printer: Option<Box<dyn ExternalPrinter + Send>> = None;
        let fail = |error: &dyn std::fmt::Display| Failure::other(format!("the terminal: {error}"), "");
        let reader: Box<dyn FnOnce() + Send> = if interactive {
            let mut editor = DefaultEditor::new().map_err(|error| fail(&error))?;
            printer = Some(Box::new(editor.create_external_printer().map_err(|error| fail(&error))?));
            Box::new(move || edit_lines(editor, &lines, &answers))
        } else {
            Box::new(move || read_lines(&lines, &answers))
        };
        // Not joined at the end: it may be waiting for a line that never comes.
        let started = std::thread::Builder::new().name("terminal".to_owned()).spawn(reader);
        started.map_err(|error| fail(&error))?;
        Ok((Terminal { answered, printer, json, interactive }, typed))
    }

    /// Whether a person sits there.
    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Whether answers are JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// The command was carried out: the next one may be read.
    pub fn done(&mut self) {
        let _ = self.answered.try_send(());
    }

    /// Prints above the line that is being typed, if one is. A reader that has gone ends the talk, not the work.
    pub fn print(&mut self, text: &str) {
        match &mut self.printer {
            Some(printer) => drop(printer.print(format!("{text}\n"))),
            None => self.print_raw(&format!("{text}\n")),
        }
    }

    /// Prints exactly this.
    pub fn print_raw(&mut self, text: &str) {
        match &mut self.printer {
            Some(printer) => drop(printer.print(text.to_owned())),
            None => {
                let mut out = std::io::stdout().lock();
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
        }
    }

    /// Prints a line of JSON.
    pub fn print_json(&mut self, value: &Value) {
        json_line(value);
    }

    /// Says what happened besides: to a person here, to a script on standard error, to a program as this event.
    pub fn note(&mut self, text: &str, event: &Value) {
        if self.json {
            self.print_json(event);
        } else if self.interactive {
            self.print(text);
        } else {
            eprintln!("{text}");
        }
    }
}

fn edit_lines(mut editor: DefaultEditor, lines: &mpsc::Sender<Typed>, answers: &Receiver<()>) {
    loop {
        let typed = match editor.readline(PROMPT) {
            Ok(line) => {
                let _ = editor.add_history_entry(&line);
                Typed::Line(line)
            }
            // Ctrl-C while a line is being typed gives that line up, as in a shell.
            Err(ReadlineError::Interrupted) => continue,
            Err(_) => Typed::End,
        };
        let last = !matches!(typed, Typed::Line(_));
        if lines.blocking_send(typed).is_err() || last || answers.recv().is_err() {
            return;
        }
    }
}

fn read_lines(lines: &mpsc::Sender<Typed>, answers: &Receiver<()>) {
    let mut input = std::io::stdin().lock();
    loop {
        let mut line = String::new();
        let typed = match input.read_line(&mut line) {
            Ok(0) => Typed::End,
            Ok(_) => Typed::Line(line),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Typed::Wrong("a command that is not UTF-8".to_owned())
            }
            Err(error) => Typed::Wrong(format!("the commands cannot be read: {error}")),
        };
        let last = !matches!(typed, Typed::Line(_));
        if lines.blocking_send(typed).is_err() || last || answers.recv().is_err() {
            return;
        }
    }
}
