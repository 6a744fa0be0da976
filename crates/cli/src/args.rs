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
  syncline connect 127.0.0.1:7421 a.txt        edit one file of it from a terminal or a script
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
    /// Edit one document from a terminal or a script, by differential synchronisation. Others' changes come in
    /// while you type; what you type without a connection is sent when it is back.
    #[command(
        after_help = "Examples:\n  syncline connect 127.0.0.1:7421 a.txt                  in the shared folder\n  syncline connect 127.0.0.1:7421 a.txt --token-file notes/.syncline/token\n  printf 'insert $ a line\\nshow\\n' | syncline connect 127.0.0.1:7421 a.txt\n\nThe hub: syncline serve notes/ --diffsync 127.0.0.1:7421\nCommands: edit, insert, delete, replace, show, stats, history, help, quit."
    )]
    Connect {
        /// Where the hub listens for diff-sync clients.
        #[arg(value_name = "HOST:PORT")]
        place: String,
        /// The document's path in the shared folder. Without it, the only one.
        doc: Option<String>,
        /// The file that holds the token. Without it: SYNCLINE_TOKEN, or the shared folder that this is called in.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// What the history calls you. Without it, your user name.
        #[arg(long)]
        name: Option<String>,
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
    /// Say who changed a file, how much, and when: the newest changes, with the file's version after each.
    #[command(after_help = "Example:\n  syncline log notes/a.txt --newest 20")]
    Log {
        /// The file.
        file: PathBuf,
        /// So many changes at most.
        #[arg(long, value_name = "N", default_value_t = 100)]
        newest: usize,
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
