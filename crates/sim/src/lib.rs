//! Whole worlds from one seed: replicas in a star, a network that delays and breaks, parties that type
//! against old versions, crashes that lose what was not journalled; and the checker that no edit is lost,
//! doubled, brought back or torn.
//!
//! The engine and both ends of the `replica` protocol are the real ones; hubs, journals, the network and the
//! clock are simulated, in one thread and without real time, so that a seed gives the same world always. Read
//! `plan` (what is to happen), `world` (how it happens), `replica` (a hub), `checker` (what must hold).
//!
//! The second kind of world (`folders`) has whole hubs over disks in memory: editors, uploads, kills, power cuts, full
//! disks, failing journals and lost events. What is not simulated yet: SQLite itself (a journal in memory that passes
//! the same conformance suite stands for it), diff-sync clients, and the local carriage.

mod checker;
mod folders;
mod network;
mod party;
mod plan;
mod replica;
mod trace;
mod world;

pub use checker::{Checker, Fault, FaultKind, View};
#[cfg(feature = "planted")]
pub use folders::run_folders_planted;
pub use folders::{Act, FolderOutcome, FolderPlan, PlannedAct, Style, run_folders, shrink};
pub use party::Wish;
#[cfg(feature = "planted")]
pub use plan::Bug;
pub use plan::{Action, Plan, Planned};
#[cfg(feature = "planted")]
pub use world::run_planted;
pub use world::{Outcome, run};
