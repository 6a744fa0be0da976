//! Shared folders: real hubs over disks in memory, joined by simulated cables, with editors of every habit, kills,
//! power cuts, full disks and lost events. Everything runs on one thread in virtual time, so that a seed gives the
//! same world always.

mod cable;
mod editor;
mod ledger;
mod machine;
mod plan;
mod shrink;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use plan::{Act, FolderPlan, Planned as PlannedAct, Style};
pub use shrink::shrink;
use world::World;

use crate::checker::{Fault, FaultKind};

/// What came of a world of folders.
pub struct FolderOutcome {
    /// The hash of all that happened.
    pub trace: String,
    /// All that happened, if it was to be remembered.
    pub log: Vec<String>,
    /// What is wrong: nothing, if all is well.
    pub faults: Vec<Fault>,
    /// What was done and what went wrong on purpose, counted.
    pub counts: BTreeMap<&'static str, u64>,
    /// How long it took in virtual time, in seconds.
    pub seconds: f64,
}

/// Runs a world of folders whose hubs have a bug.
#[cfg(feature = "planted")]
pub fn run_folders_planted(plan: &FolderPlan, bug: syncline_disk::planted::Planted) -> FolderOutcome {
    syncline_disk::planted::plant(Some(bug));
    let outcome = run_folders(plan, false);
    syncline_disk::planted::plant(None);
    outcome
}

/// Runs a world of folders to its end. `remember`: with the lines of all that happened.
pub fn run_folders(plan: &FolderPlan, remember: bool) -> FolderOutcome {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()
    {
        Ok(runtime) => runtime,
        Err(error) => return nothing(format!("no runtime: {error}")),
    };
    runtime.block_on(async {
        let world = Arc::new(World::new(plan.clone(), remember));
        let views = world.run().await;
        for view in &views {
            world.note(format_args!("{}: {:?}", view.place, view.files));
        }
        let faults = world.ledger.judge(&views);
        let seconds = world.now().as_secs_f64();
        let (trace, log, counts) = world.ledger.close();
        FolderOutcome { trace, log, faults, counts, seconds }
    })
}

fn nothing(what: String) -> FolderOutcome {
    let faults = vec![Fault { kind: FaultKind::Restless, what }];
    FolderOutcome { trace: String::new(), log: Vec::new(), faults, counts: BTreeMap::new(), seconds: 0.0 }
}
