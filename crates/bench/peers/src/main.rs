//! Ours and other text-merging engines on the same traces, in one run: `cargo xtask bench engine`.
//!
//! A package of its own, outside the workspace: whoever builds or checks Syncline need not compile its peers.

#[cfg(feature = "peers")]
mod automerge_doc;
#[cfg(feature = "peers")]
mod cola;
#[cfg(feature = "peers")]
mod diamond;
mod engine;
#[cfg(feature = "peers")]
mod loro_doc;
mod ours;
#[path = "../../src/percentiles.rs"]
#[allow(dead_code)] // the other benchmarks use the rest
mod percentiles;
mod report;
mod strain;
mod trace;
mod trial;
#[cfg(feature = "peers")]
mod yrs_doc;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use peak_alloc::PeakAlloc;

use crate::report::Report;
use crate::trial::Patience;

/// Counts the heap for every engine alike (and slows allocations by some nanoseconds for every engine alike).
#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

type Fallible<T> = Result<T, Box<dyn Error>>;

const HELP: &str = "\
cargo xtask bench engine [--quick] [--only-ours] [--trace NAME]

Local edits, received edits, loading, sizes and edits at older versions: ours and yrs, loro, automerge,
diamond-types and cola. The last line is JSON: for each figure the fastest (smallest) peer's median divided by
ours, on the trace where we are worst. Above 1 we win.
    --quick       less patience with slow peers, fewer runs
    --only-ours   no peers, no JSON line
    --trace NAME  only traces whose name contains this
With automerge-paper among them, also what only ours is asked for: parties behind one another, large texts.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Fallible<()> {
    let (mut only, mut peers) = (String::new(), cfg!(feature = "peers"));
    let mut patience =
        Patience { one: Duration::from_secs(8), all: Duration::from_secs(3), stale_steps: 10_000 };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => {
                patience = Patience {
                    one: Duration::from_secs(1),
                    all: Duration::from_millis(700),
                    stale_steps: 10_000,
                }
            }
            "--only-ours" => peers = false,
            "--trace" => only = arguments.next().ok_or("--trace needs a name")?.clone(),
            other => return Err(format!("unknown option {other}\n{HELP}").into()),
        }
    }
    println!("{}", report::machine());
    let mut report = Report::default();
    let traces = trace::all(&only)?;
    for trace in &traces {
        eprintln!("{} ...", trace.name);
        report.take::<ours::Ours>(trace, patience)?;
        report.take_rope(trace, patience)?;
        #[cfg(feature = "peers")]
        if peers {
            report.take::<diamond::Diamond>(trace, patience)?;
            report.take::<cola::Cola>(trace, patience)?;
            report.take::<loro_doc::Loro>(trace, patience)?;
            report.take::<yrs_doc::Yrs>(trace, patience)?;
            report.take::<automerge_doc::Automerge>(trace, patience)?;
        }
    }
    print!("{report}");
    if let Some(paper) = traces.iter().find(|trace| trace.name == "automerge-paper") {
        strain::run(paper)?;
    }
    if peers {
        println!("{}", report.json());
    }
    Ok(())
}
