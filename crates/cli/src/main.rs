//! The `syncline` command.

mod args;
mod conflicts;
mod connect;
mod control;
mod doctor;
mod export;
mod failure;
mod history;
mod join;
mod local;
mod log;
mod pages;
mod progress;
mod protection;
mod reload;
mod report;
mod rescue;
mod serve;
mod state_dir;
mod status;
mod token;
mod token_file;

use clap::Parser;
use std::process::ExitCode;
use syncline_protocol::Trust;

use crate::args::{Args, Verb};
use crate::failure::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    let json = args.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::other(format!("cannot start: {error}"), "").show(json),
    };
    let done = runtime.block_on(run(args));
    // Blocking calls to the folder may still run (a slow disk): what was acknowledged is in the journal.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.show(json),
    }
}

async fn run(args: Args) -> Result<(), Failure> {
    let json = args.json;
    match args.verb {
        Verb::Serve { path, listen, diffsync, secure, on_conflict } => {
            serve::run(&path, [listen, diffsync], &secure, on_conflict.into(), json).await
        }
        Verb::Join { link, dir, on_conflict } => join::run(&link, &dir, on_conflict.into(), json).await,
        Verb::Local(args) => local::run(args, json).await,
        Verb::Connect { place, doc, token_file, fingerprint, tls, name } => {
            let trust = match (fingerprint, tls) {
                (Some(fingerprint), _) => Trust::Fingerprint(fingerprint.0),
                (None, true) => Trust::Authorities,
                (None, false) => Trust::Plain,
            };
            connect::run((&place, trust), doc, token_file.as_deref(), name, json).await
        }
        Verb::Status { path, user } => status::run(&path, user.as_deref(), json).await,
        Verb::Restore(whose) => control::restore(&whose, json).await,
        Verb::Deletions { answer, path } => control::deletions(answer, &path, json).await,
        Verb::Log { whose, newest } => log::run(&whose, newest, json),
        Verb::Conflicts { whose, restore } => conflicts::run(&whose, restore.as_deref(), json).await,
        Verb::Rescue(args) => rescue::run(args, json),
        Verb::Token(verb) => token::run(verb, json).await,
        Verb::Export { database, whose } => export::run(&database, &whose, json),
        Verb::Why(whose) => status::why(&whose, json),
        Verb::Doctor { path } => doctor::run(&path, json).await,
        Verb::Completions { shell } => pages::completions(shell),
        Verb::ManPages { dir } => pages::man_pages(&dir),
    }
}
