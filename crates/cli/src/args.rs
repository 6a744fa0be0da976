//! What can be said on the command line.

use clap::{Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Keeps text files live: people and programs share a folder of ordinary files, and every save merges,
/// character by character. Nothing anyone wrote is lost.
#[derive(Parser, Debug)]
#[command(name = "syncline", version, after_help = EXAMPLES)]
pub struct Args {
    /// Print JSON lines for programs instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub verb: Verb,
}

const EXAMPLES: &str = "Examples:
  syncline serve notes/                        share a folder; prints the link to join it
  syncline join 'syncline://HOST:PORT/#k=…' ~/notes    keep a live copy of it
  syncline status notes/                       what runs there and what it holds
  syncline restore notes/lost.txt              bring a deleted file back";

#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Share a folder, or one file.
    #[command(
        after_help = "Examples:\n  syncline serve\n  syncline serve notes/ --listen 127.0.0.1:7420\n  syncline serve todo.txt --json\n  syncline serve notes/ --diffsync 127.0.0.1:7421   then: syncline connect 127.0.0.1:7421 a.txt"
    )]
    Serve {
        /// The folder or file.
        #[arg(default_value = ".")]
        path: PathBuf,
        /// Where to listen. Without it: 127.0.0.1:7420, or any free port if that is taken.
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
        /// Also serve diff-sync clients, one JSON message a line (docs/protocols/diffsync.md).
        #[arg(long, value_name = "ADDR")]
        diffsync: Option<SocketAddr>,
    },
    /// Keep a live copy of a shared folder. A folder that has files already is merged by text; nothing in
    /// it is destroyed.
    #[command(
        after_help = "Example:\n  syncline join 'syncline://127.0.0.1:7420/#k=…' copy/\n\nQuote the link: # begins a comment in a shell."
    )]
    Join {
        /// The link that `syncline serve` printed.
        link: String,
        /// Where the copy is to be.
        #[arg(default_value = "shared")]
        dir: PathBuf,
    },
    /// Say what runs on a folder and what it holds.
    Status {
        /// The folder.
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Bring a deleted file back.
    Restore {
        /// The file, where it was.
        file: PathBuf,
    },
    /// Decide about many deletions that were held back.
    Deletions {
        /// What to do.
        answer: Answer,
        /// The folder.
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Say how each save of a file was understood.
    Why {
        /// The file.
        file: PathBuf,
    },
}

/// What to do about deletions that were held back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Answer {
    /// They are meant: pass them on.
    PassOn,
    /// They are not: write the files again.
    TakeBack,
}
