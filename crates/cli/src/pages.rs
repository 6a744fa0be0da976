//! Completions and manual pages, made from the definitions of the command line.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap::builder::Resettable;

use crate::args::Args;
use crate::failure::Failure;

/// Prints completions for a shell.
///
/// # Errors
/// If nobody takes them.
pub fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "syncline", &mut script);
    let written = io::stdout().lock().write_all(&script);
    written.map_err(|error| Failure::other(error.to_string(), ""))
}

/// Writes `syncline.1`, and a page for each subcommand that is shown (`syncline-token-create.1`).
///
/// # Errors
/// If the folder cannot be written to.
pub fn man_pages(dir: &Path) -> Result<(), Failure> {
    let written = fs::create_dir_all(dir).and_then(|()| {
        for (name, page) in pages()? {
            fs::write(dir.join(name), page)?;
        }
        io::Result::Ok(())
    });
    written.map_err(|error| Failure::other(format!("{}: {error}", dir.display()), "name a folder"))
}

/// All pages, by their files' names.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = Args::command();
    command.build();
    let mut pages = Vec::new();
    let mut waiting = vec![command];
    while let Some(command) = waiting.pop() {
        waiting.extend(command.get_subcommands().filter(|below| is_shown(below)).cloned());
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let version = concat!("syncline ", env!("CARGO_PKG_VERSION"));
        let man = clap_mangen::Man::new(command.after_help(Resettable::Reset));
        let man = man.source(version).manual("Syncline");
        let mut page = Vec::new();
        man.render(&mut page)?;
        page.extend_from_slice(as_written(&examples).as_bytes());
        pages.push((man.get_filename(), page));
    }
    Ok(pages)
}

/// Examples as a section whose lines stay as they are: filled like prose they cannot be copied.
fn as_written(examples: &str) -> String {
    if examples.is_empty() {
        return String::new();
    }
    let mut section = ".SH EXAMPLES\n.nf\n".to_owned();
    for line in examples.lines().filter(|line| !matches!(*line, "Example:" | "Examples:")) {
        // What would be a command to the formatter at the beginning of a line, or anywhere.
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        section.push_str("\\&");
        section.push_str(&line);
        section.push('\n');
    }
    section.push_str(".fi\n");
    section
}

/// `help` is no page of its own.
fn is_shown(command: &clap::Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_shown_has_a_page() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["syncline.1", "syncline-serve.1", "syncline-token.1", "syncline-token-create.1"] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("completions") || name.contains("help")), "{names:?}");
        let serve = pages.iter().find(|(name, _)| name == "syncline-serve.1").unwrap();
        let text = String::from_utf8_lossy(&serve.1);
        assert!(text.contains(".SH") && text.contains("listen"), "{text}");
        assert!(text.contains(".SH EXAMPLES\n.nf\n\\&  syncline serve\n"), "{text}");
        assert!(!text.contains(".SH EXTRA"), "{text}");
    }

    #[test]
    fn examples_are_kept_as_they_are_written() {
        assert_eq!(as_written(""), "");
        let page = as_written("Example:\n  a --b '\\n'\n.x");
        assert_eq!(page, ".SH EXAMPLES\n.nf\n\\&  a \\-\\-b '\\en'\n\\&.x\n.fi\n");
    }

    #[test]
    fn every_shell_has_completions_of_every_flag() {
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "syncline", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["serve", "token", "insecure-public", "diffsync"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
