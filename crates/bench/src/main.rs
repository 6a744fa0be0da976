//! Benchmarks of Syncline: `cargo xtask bench NAME`. They report; they do not pass or fail.

mod arrival;
mod diffsync;
mod files;
mod floor;
mod hubs;
mod local;
mod machine;
mod percentiles;
mod table;

use std::error::Error;
use std::process::ExitCode;

/// What a benchmark's steps return: whatever went wrong, it ends the run with one line.
type Fallible<T> = Result<T, Box<dyn Error>>;

const HELP: &str = "\
Benchmarks of Syncline, run in release mode.

    cargo xtask bench files [--rounds N] [--quick]
        Two real hubs on this machine: from a save to the bytes in the other folder, the first
        synchronisation, idle costs, and a very large file.
        --rounds N  saves of the small file, each way (200)
        --quick     few rounds and small folders, to see that it works; no figures to compare

    cargo xtask bench diffsync [--quick]
        Differential synchronisation: steps in process for texts from 18 B to 1 MB, from client to client over
        TCP, and 1,000 clients on one document.

    cargo xtask bench local [--quick]
        Users of one machine: from a save to another user's file by message queues and by shared memory, a
        message through a ring to a sleeping reader, events through a ring, memory and processor time of a user.

    cargo xtask bench engine [--quick] [--only-ours] [--trace NAME]
        Our engine and others on real editing traces. A program of its own (`peers`), outside the workspace.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["diffsync", rest @ ..] => diffsync::run(rest),
        ["local", rest @ ..] => local::run(rest),
        ["files", rest @ ..] => files::run(rest),
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
