//! What can be said on the command line.

mod local;

use clap::{Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use local::{LocalArgs, Way};

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
  syncline local user_1                        edit together on this machine, without a server
  syncline connect 127.0.0.1:7421 a.txt        edit one file of it from a terminal or a script
  syncline token create --name ann             let somebody in, until you revoke it
  syncline status notes/                       what runs there and what it holds
  syncline restore notes/lost.txt              bring a deleted file back
  syncline rescue notes/                       everything that was ever displaced, to have it back";

#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Share a folder, or one file.
    #[command(
        after_help = "Examples:\n  syncline serve\n  syncline serve notes/ --listen 127.0.0.1:7420\n  syncline serve todo.txt --json\n  syncline serve notes/ --diffsync 127.0.0.1:7421   then: syncline connect 127.0.0.1:7421 a.txt\n  syncline serve notes/ --listen 0.0.0.0:7420 --tls  for other machines of the network"
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
        #[command(flatten)]
        secure: Secure,
        /// What becomes of changes that two people made at one place without knowing of each other's.
        #[arg(long, default_value = "merge")]
        on_conflict: OnConflict,
    },
    /// Keep a live copy of a shared folder. A folder that has files already is merged by text; nothing in
    /// it is destroyed.
    #[command(
        after_help = "Example:\n  syncline join 'syncline://127.0.0.1:7420/#k=…' copy/\n\nQuote the link: # begins a comment in a shell. With - it is read from standard input, where other users of this\nmachine do not see it:\n  syncline join - copy/ < link.txt"
    )]
    Join {
        /// The link that `syncline serve` or `syncline token create` printed; `-`: read it from standard input.
        #[arg(allow_hyphen_values = true)]
        link: String,
        /// Where the copy is to be.
        #[arg(default_value = "shared")]
        dir: PathBuf,
        /// What becomes of changes that two people made at one place without knowing of each other's.
        #[arg(long, default_value = "merge")]
        on_conflict: OnConflict,
    },
    /// Edit one document together with others on this machine, without a server. Each has a copy, a file
    /// `NAME_doc.txt`, to edit with any program; every save is merged into all of them.
    #[command(
        after_help = "Examples:\n  syncline local user_1                      in one terminal\n  syncline local user_2                      in another; then edit user_1_doc.txt and user_2_doc.txt\n  syncline local ann --dir notes --folder    all files of a folder, not one document\n  syncline local ann --join 'syncline://…'   and with others elsewhere, at the same time"
    )]
    Local(LocalArgs),
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
        /// Speak TLS with a hub whose certificate has this SHA-256, as `syncline serve --tls` printed it.
        #[arg(long, value_name = "HEX", value_parser = fingerprint)]
        fingerprint: Option<Fingerprint>,
        /// Speak TLS with a hub for whose certificate the system's authorities vouch.
        #[arg(long, conflicts_with = "fingerprint")]
        tls: bool,
        /// What the history calls you. Without it, your user name.
        #[arg(long)]
        name: Option<String>,
    },
    /// Say what runs on a folder and what it holds.
    #[command(after_help = "Examples:\n  syncline status notes/\n  syncline --json status notes/")]
    Status {
        /// The folder.
        #[arg(default_value = ".")]
        path: PathBuf,
        /// Only this user of `syncline local` there.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// Bring a deleted file back.
    #[command(after_help = "Example:\n  syncline restore notes/lost.txt")]
    Restore(Whose),
    /// Decide about many deletions that were held back.
    #[command(
        after_help = "Examples:\n  syncline deletions take-back notes/    write the files again\n  syncline deletions pass-on notes/      they are meant: delete them everywhere"
    )]
    Deletions {
        /// What to do.
        answer: Answer,
        /// The folder.
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Say who changed a file, how much, and when: the newest changes, with the file's version after each.
    #[command(
        after_help = "Examples:\n  syncline log notes/a.txt --newest 20\n  syncline log --user ann                    in a folder of `syncline local`: ann's copy"
    )]
    Log {
        #[command(flatten)]
        whose: Whose,
        /// So many changes at most.
        #[arg(long, value_name = "N", default_value_t = 100)]
        newest: usize,
    },
    /// List where two people changed one place of a file without knowing of each other's change, who won, and what
    /// the other had written; or put that in again.
    #[command(
        after_help = "Examples:\n  syncline conflicts notes/a.txt\n  syncline conflicts user_1_doc.txt --restore 1f3a9c02:17"
    )]
    Conflicts {
        #[command(flatten)]
        whose: Whose,
        /// Puts what was lost in this conflict in again, after the place where it was.
        #[arg(long, value_name = "ID")]
        restore: Option<String>,
    },
    /// List everything that was displaced (overwritten by a save, deleted, lost to a later writer, an older content of a
    /// file that is not text), and give it back. Nothing is ever overwritten by that.
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  syncline rescue notes/                      all of a shared folder, the newest last\n  syncline rescue notes/a.txt --since 2d      of one file, in the last two days\n  syncline rescue notes/ --least 40 --json    no small corrections; for a program\n  syncline rescue show 1f3a9c02b7d4 notes/    the lines that were taken out, on standard output\n  syncline rescue put 1f3a9c02b7d4 notes/     into a new file, a.rescued-1f3a9c02b7d4.txt\n  syncline rescue put 1f3a notes/ --whole --to b.txt   the file as it was before\n\nEach line begins with the id. A deleted file comes back where it was, if nothing is there now;\neverything else comes into a file beside. Also: `syncline restore` for a deleted file,\n`syncline conflicts --restore` for what lost to a later writer, put in again at its place."
    )]
    Rescue(RescueArgs),
    /// Make, list and revoke what lets others in.
    #[command(
        subcommand,
        after_help = "Examples:\n  syncline token create --name ann\n  syncline token list\n  syncline token revoke ann"
    )]
    Token(TokenVerb),
    /// Say how each save of a file was understood.
    #[command(
        after_help = "Examples:\n  syncline why notes/a.txt\n  syncline why user_1_doc.txt                a copy of `syncline local user_1`\n  syncline why                               every copy in this folder"
    )]
    Why(Whose),
    /// Write every text of a folder, with its version and when it last changed, to a SQLite database.
    #[command(
        after_help = "Examples:\n  syncline export documents.db notes\n  sqlite3 documents.db 'SELECT path, version, changed_at FROM documents'\n\nThe table `documents` has: path, text, version, changed_ms, changed_at."
    )]
    Export {
        /// The database to write, outside of the folder. An older export is replaced, any other file is not.
        database: PathBuf,
        #[command(flatten)]
        whose: Whose,
    },
    /// Say what a folder and this machine can do, and what to change.
    #[command(after_help = "Examples:\n  syncline doctor notes\n  syncline doctor --json")]
    Doctor {
        /// The folder.
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Print completions for a shell.
    #[command(
        hide = true,
        after_help = "Example:\n  syncline completions bash > /usr/share/bash-completion/completions/syncline"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder.
    #[command(hide = true, after_help = "Example:\n  syncline man-pages /usr/share/man/man1")]
    ManPages {
        /// The folder; made if it is missing.
        dir: PathBuf,
    },
}

/// A file, and whose.
#[derive(clap::Args, Clone, Debug)]
pub struct Whose {
    /// The file (which may be gone); or a folder in which users of `syncline local` have copies: all of them.
    #[arg(default_value = ".")]
    pub file: PathBuf,
    /// Of the users of `syncline local` in that folder, only this one.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}

/// How a hub protects what is said with it.
#[derive(clap::Args, Debug, Default)]
pub struct Secure {
    /// Speak TLS, with a certificate that Syncline makes itself. Its fingerprint is part of the join link, and
    /// whoever joins checks it.
    #[arg(long)]
    pub tls: bool,
    /// Speak TLS with this certificate (PEM, with those that lead to its authority). Read again when it
    /// changes, and, off a terminal, at SIGHUP.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM); nobody else may be able to read it.
    #[arg(long, value_name = "FILE", requires = "tls_cert", conflicts_with = "tls")]
    pub tls_key: Option<PathBuf>,
    /// The name or address at which others reach this machine; it goes into the link, and requests for it are
    /// answered.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Listen on a network without TLS. Everybody on the way can read along and take the secret of the link.
    #[arg(long, conflicts_with_all = ["tls", "tls_cert"])]
    pub insecure_public: bool,
}

/// What to do with tokens.
#[derive(Subcommand, Debug)]
pub enum TokenVerb {
    /// Make a token, and show it once. A hub that runs on the folder knows it at once.
    #[command(
        after_help = "Examples:\n  syncline token create --name ann                             ann may join the folder\n  syncline token create --role read --expires 7d                look on for a week\n  syncline token create --document todo.txt --name bot --json   one file, for a program\n\nWho may do what: docs/protocols/access.md"
    )]
    Create {
        /// How much it allows. To join the folder takes `write`.
        #[arg(long, default_value = "write")]
        role: TokenRole,
        /// Only this document. Without it: the whole folder.
        #[arg(long, value_name = "PATH")]
        document: Option<PathBuf>,
        /// For how long it lets in: `90s`, `30m`, `12h`, `7d`, `4w`. Without it: until it is revoked.
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        expires: Option<Duration>,
        /// What to call it.
        #[arg(long)]
        name: Option<String>,
        /// The shared folder.
        #[arg(long, default_value = ".")]
        folder: PathBuf,
    },
    /// List the tokens. Their secrets are not kept and cannot be shown again.
    #[command(after_help = "Example:\n  syncline token list --folder notes")]
    List {
        /// The shared folder.
        #[arg(long, default_value = ".")]
        folder: PathBuf,
    },
    /// Take a token back. Who is connected with it is disconnected within seconds.
    #[command(after_help = "Examples:\n  syncline token revoke ann\n  syncline token revoke 1f3a9c02b7d4")]
    Revoke {
        /// Its name, or its id as `syncline token list` shows it.
        #[arg(value_name = "ID|NAME")]
        token: String,
        /// The shared folder.
        #[arg(long, default_value = ".")]
        folder: PathBuf,
    },
}

/// What to list.
#[derive(clap::Args, Debug)]
pub struct RescueArgs {
    /// A shared folder, or a file or folder in one (which may be gone).
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Only what was displaced since so long ago: `90s`, `30m`, `12h`, `7d`, `4w`.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub since: Option<Duration>,
    /// Only what is so much at least: characters that were taken out, or the bytes of a file.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub least: u64,
    /// So many at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = newest)]
    pub newest: usize,
    /// Of the users of `syncline local` in that folder, only this one.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    #[command(subcommand)]
    pub verb: Option<RescueVerb>,
}

/// What to do with something that was displaced.
#[derive(Subcommand, Debug)]
pub enum RescueVerb {
    /// Print it: of a text the whole lines that something was taken out of, as they were.
    #[command(
        after_help = "Examples:\n  syncline rescue show 1f3a9c02b7d4\n  syncline rescue show 1f3a9c02b7d4 notes/ --whole | diff - notes/a.txt"
    )]
    Show {
        /// Its id, or the beginning of it (four digits or more).
        id: String,
        /// The shared folder, or a file or folder in one.
        #[arg(default_value = ".")]
        path: PathBuf,
        /// The whole file as it was before, not only these lines.
        #[arg(long)]
        whole: bool,
    },
    /// Write it into a file that does not exist yet.
    #[command(
        after_help = "Examples:\n  syncline rescue put 1f3a9c02b7d4 notes/\n  syncline rescue put 1f3a9c02b7d4 notes/ --whole --to /tmp/before.txt"
    )]
    Put {
        /// Its id, or the beginning of it (four digits or more).
        id: String,
        /// The shared folder, or a file or folder in one.
        #[arg(default_value = ".")]
        path: PathBuf,
        /// The file. Without it: where the file was, if that was deleted and nothing is there now; else beside it.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        /// The whole file as it was before, not only the lines that something was taken out of.
        #[arg(long)]
        whole: bool,
    },
}

/// How much a token allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum TokenRole {
    /// Look on.
    Read,
    /// Change texts; with the whole folder, join it.
    Write,
    /// Decide for the owner.
    Admin,
}

impl From<TokenRole> for syncline_protocol::access::Role {
    fn from(role: TokenRole) -> Self {
        match role {
            TokenRole::Read => Self::Read,
            TokenRole::Write => Self::Write,
            TokenRole::Admin => Self::Admin,
        }
    }
}

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub [u8; 32]);

fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    let wrong = || "the 64 hexadecimal digits of a SHA-256".to_owned();
    syncline_protocol::parse_fingerprint(text).map(Fingerprint).ok_or_else(wrong)
}

/// What becomes of conflicts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum OnConflict {
    /// Both changes stay.
    Merge,
    /// The later one stays; `syncline conflicts` lists what went, and brings it back.
    LastWriterWins,
}

impl From<OnConflict> for syncline_hub::Policy {
    fn from(answer: OnConflict) -> Self {
        match answer {
            OnConflict::Merge => Self::Merge,
            OnConflict::LastWriterWins => Self::LastWriterWins,
        }
    }
}

/// `2s`, `500ms`, or a number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, Duration::from_millis(1)),
        None => (text.strip_suffix('s').unwrap_or(text), Duration::from_secs(1)),
    };
    match number.parse::<u32>() {
        Ok(number) if (1..=86_400_000).contains(&number) => Ok(unit * number),
        _ => Err("a time such as 2s or 500ms".to_owned()),
    }
}

/// `90s`, `30m`, `12h`, `7d` or `4w`, up to ten years.
fn lifetime(text: &str) -> Result<Duration, String> {
    let wrong = || "a time such as 12h, 7d or 4w, of at most ten years".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 24 * 3_600,
        Some('w') => 7 * 24 * 3_600,
        _ => return Err(wrong()),
    };
    let number = text.get(..text.len() - 1).unwrap_or_default().parse::<u32>().map_err(|_| wrong())?;
    let seconds = u64::from(number) * unit;
    if (1..=10 * 366 * 24 * 3_600).contains(&seconds) {
        Ok(Duration::from_secs(seconds))
    } else {
        Err(wrong())
    }
}

/// How many to list: they are held in memory.
fn newest(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(number) if (1..=100_000).contains(&number) => Ok(number),
        _ => Err("a number from 1 to 100000".to_owned()),
    }
}

/// What to do about deletions that were held back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Answer {
    /// They are meant: pass them on.
    PassOn,
    /// They are not: write the files again.
    TakeBack,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read() {
        let day = Duration::from_secs(24 * 3_600);
        assert_eq!(lifetime("7d"), Ok(7 * day));
        assert_eq!(lifetime("4w"), Ok(28 * day));
        assert_eq!(lifetime("90s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "7", "d", "0d", "-1d", "1.5d", "7ä", "99999999999d", "4000d", "7 d"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_definitions_hold_together() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}
