//! Contents that the journal keeps beside the texts (of files that are not text, of files that were joined): by a quota.

use std::collections::BTreeSet;
use syncline_store::{Kept, Record};

use super::FolderTask;
use crate::error::HubError;

/// So many bytes of old contents are kept, the newest first: what a file held before it was saved over or deleted, and
/// texts as they were before they were joined. What a file holds now is kept besides.
pub const KEPT_BYTES: u64 = 1 << 30;

/// Which contents go: of those that no file holds now, all beyond the quota. `all` is the newest first.
fn surplus(all: &[Kept], current: &BTreeSet<[u8; 32]>, quota: u64) -> Vec<[u8; 32]> {
    let mut used = 0u64;
    let old = all.iter().filter(|kept| !current.contains(&kept.hash));
    let gone = old.filter(|kept| {
        used = used.saturating_add(kept.len);
        used > quota
    });
    gone.map(|kept| kept.hash).collect()
}

impl FolderTask {
    /// Lets go of the old contents that are beyond the quota.
    pub(super) async fn keep_to_quota(&self) -> Result<(), HubError> {
        let all = self.hub.read_journal(|reader| Ok(reader.contents()?)).await?;
        if all.iter().map(|kept| kept.len).sum::<u64>() <= KEPT_BYTES {
            return Ok(());
        }
        let current = {
            let catalogue = self.hub.catalogue();
            let alive = catalogue.iter().filter(|(_, entry)| entry.is_alive());
            alive.filter_map(|(_, entry)| Some(entry.content()?.hash)).collect()
        };
        self.hub
            .commit(surplus(&all, &current, KEPT_BYTES).into_iter().map(Record::NoContent).collect())
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_12_the_newest_old_contents_are_kept_and_all_that_files_hold() {
        let kept = |number: u8, len| Kept { hash: [number; 32], len, time_ms: 0 };
        let all = [kept(1, 40), kept(2, 50), kept(3, 20), kept(4, 5), kept(5, 1_000)];
        let current = |numbers: &[u8]| numbers.iter().map(|number| [*number; 32]).collect::<BTreeSet<_>>();
        for (held, quota, expected) in [
            (current(&[]), 2_000, vec![]),
            (current(&[5]), 115, vec![]),
            (current(&[5]), 100, vec![3, 4]),
            (current(&[1, 5]), 70, vec![4]),
            (current(&[1, 2, 3, 4, 5]), 0, vec![]),
            (current(&[]), 0, vec![1, 2, 3, 4, 5]),
        ] {
            let gone: Vec<u8> = surplus(&all, &held, quota).iter().map(|hash| hash[0]).collect();
            assert_eq!(gone, expected, "{held:?} {quota}");
        }
    }
}
