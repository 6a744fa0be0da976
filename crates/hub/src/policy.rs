//! What is done about conflicts: changes that two users made at one place without knowing of each other's.

use syncline_engine::{Conflict, Contender, Document, Edit, EventBatch, Meta, Version};

use crate::error::HubError;
use crate::hub::Hub;

/// A hub's policy. What a conflict is, and who wins it, is the engine's (`Document::conflicts_since`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Both stay.
    #[default]
    Merge,
    /// What the older change put in is taken out again, by an ordinary edit; it stays in the history.
    LastWriterWins,
}

/// How far ahead of this hub's clock a change may claim to have been made, in milliseconds.
const AHEAD_MS: u64 = 2_000;

/// The channel of what a policy does: no conflict with it, and none of it is anybody's.
pub(crate) const CHANNEL: &str = "policy";

/// Enters what the policy says about everything since `judged`. Gives the conflicts that it decided.
pub(crate) fn apply(hub: &Hub, document: &mut Document, judged: &Version) -> Vec<Conflict> {
    if hub.0.policy == Policy::Merge {
        return Vec::new();
    }
    let (edits, conflicts) = document.last_writer_wins(judged);
    if !edits.is_empty() {
        let meta = Meta { author: "syncline".into(), channel: CHANNEL.into(), time_ms: hub.now_ms() };
        let done = document.edit(&edits, hub.agent(), &meta);
        debug_assert!(done.is_ok(), "what loses is in the text");
    }
    conflicts
}

/// Nobody wins by a clock that is ahead: a change is at most a little newer than when it was first heard of.
pub(crate) fn clamp_times(batch: &mut EventBatch, now_ms: u64) {
    let latest = now_ms.saturating_add(AHEAD_MS);
    for run in &mut batch.runs {
        run.meta.time_ms = run.meta.time_ms.min(latest);
    }
}

/// What a change in a conflict is called, to ask for it again: the beginning of its agent, and its number.
pub fn conflict_id(contender: &Contender) -> String {
    let agent: String =
        contender.id.agent.as_bytes().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{agent}:{}", contender.id.seq)
}

/// Puts what was lost in a conflict in again, where it was, as a change of its own. Gives how many characters.
pub(crate) fn reinstate(hub: &Hub, document: &mut Document, id: &str) -> Result<usize, HubError> {
    let conflicts = document.conflicts_since(&Version::root());
    let lost = conflicts.into_iter().map(|conflict| conflict.loser);
    let lost = lost.filter(|loser| loser.standing == 0 && !loser.inserted.is_empty());
    let found = lost.into_iter().find(|loser| conflict_id(loser) == id);
    let found = found.ok_or_else(|| HubError::UnknownDocument { name: format!("conflict {id}") })?;
    let count = found.inserted.chars().count();
    let meta = Meta { author: hub.0.author.clone(), channel: "restore".into(), time_ms: hub.now_ms() };
    let done = document.edit(&[Edit::insert(found.at, found.inserted)], hub.agent(), &meta);
    done.map(|_| count).map_err(|error| HubError::BadPosition { what: error.to_string() })
}
