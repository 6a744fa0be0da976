//! The folder's `.synclineignore`: which rules are in force, and when others are.
//!
//! What it names must not be shared because the file is away for a moment: vim renames it before it writes the new
//! one, git removes it and makes it anew, a shell empties it first. What was told to others cannot be taken back.

use std::sync::PoisonError;
use std::time::Duration;
use syncline_disk::{IGNORE_FILE, IgnoreRules, What};
use tokio::time::Instant;

use super::FolderTask;
use crate::event::HubEvent;

/// Rules that became fewer are believed after this: as files that vanish.
const HOLD: Duration = Duration::from_millis(1000);
/// A file that is being written is looked at again after this.
const BUSY_RETRY: Duration = Duration::from_millis(100);

/// Whether something that was seen at the file may have changed it. Not its readers: we are one of them, and would
/// read it for ever.
pub(super) fn may_change(what: &What) -> bool {
    !matches!(what, What::Opened | What::Accessed | What::ClosedNoWrite | What::Modified)
}

/// What to do about rules that were read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Judged {
    /// Nothing is different.
    Same,
    /// They hold from now on.
    Apply,
    /// There are much fewer: look again then.
    Hold(Instant),
}

/// Judges rules by their text; `since`: when they were found to be much fewer.
pub(super) fn judged(in_force: &str, read: &str, since: Option<Instant>, now: Instant) -> Judged {
    if in_force == read {
        return Judged::Same;
    }
    let until = since.unwrap_or(now) + HOLD;
    if read.len() < in_force.len() / 3 && now < until { Judged::Hold(until) } else { Judged::Apply }
}

impl FolderTask {
    /// Reads the rules and sees whether they hold from now on.
    pub(super) async fn look_at_ignore(&mut self) {
        let now = Instant::now();
        let folder = self.hub.0.folder.clone();
        let loaded = self.hub.0.workers.run(move || IgnoreRules::load(folder.as_ref())).await;
        self.ignore_at = None;
        let rules = match loaded {
            Ok(Ok(Some(rules))) => rules,
            Ok(Ok(None)) => {
                self.ignore_at = Some(now + BUSY_RETRY);
                return;
            }
            Ok(Err(error)) => {
                self.hub.tell(HubEvent::Trouble { path: IGNORE_FILE.into(), what: error.to_string() });
                return;
            }
            Err(_) => return,
        };
        let judged = {
            let in_force = self.hub.0.ignore.read().unwrap_or_else(PoisonError::into_inner);
            judged(in_force.text(), rules.text(), self.ignore_fewer, now)
        };
        match judged {
            Judged::Same => self.ignore_fewer = None,
            Judged::Hold(until) => {
                self.ignore_fewer.get_or_insert(now);
                self.ignore_at = Some(until);
            }
            Judged::Apply => {
                self.ignore_fewer = None;
                *self.hub.0.ignore.write().unwrap_or_else(PoisonError::into_inner) = rules;
                self.tell_ignore_problems();
                self.scan_at = Some(now);
            }
        }
    }

    /// A rule that makes no sense ignores nothing, which its writer must learn.
    pub(super) fn tell_ignore_problems(&self) {
        let rules = self.hub.0.ignore.read().unwrap_or_else(PoisonError::into_inner);
        for problem in rules.problems() {
            self.hub.tell(HubEvent::Trouble { path: IGNORE_FILE.into(), what: problem.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn fewer_rules_are_held_and_more_are_not() {
        let now = Instant::now();
        let long = "*.secret\n*.key\n*.log\n";
        for (in_force, read, since, expected) in [
            (long, long, None, Judged::Same),
            (long, "*.secret\n*.key\n", None, Judged::Apply),
            (long, "", None, Judged::Hold(now + HOLD)),
            (long, "x\n", Some(now), Judged::Hold(now + HOLD)),
            ("", long, None, Judged::Apply),
            ("", "", None, Judged::Same),
        ] {
            assert_eq!(judged(in_force, read, since, now), expected, "{in_force:?} {read:?}");
        }
        assert_eq!(judged(long, "", Some(now), now + HOLD), Judged::Apply);
    }
}
