//! What a hub that was killed left in the folder: temporaries, and displaced files whose removal a power cut took
//! back. Those that hold nothing but what the journal knows are removed; any other may be somebody's racing save,
//! and its content is kept before it goes (docs/decisions/0004).

use std::collections::BTreeSet;
use syncline_disk::{ContentHash, DisplacedId, RelPath, Settled};

use super::FolderTask;

/// What is still to be cleared away.
#[derive(Default)]
pub(super) struct Leftovers {
    temporaries: Vec<(RelPath, ContentHash)>,
    displaced: Vec<DisplacedId>,
}

impl Leftovers {
    pub fn is_empty(&self) -> bool {
        self.temporaries.is_empty() && self.displaced.is_empty()
    }
}

impl FolderTask {
    /// Lists what there is, once: what comes later is our own.
    pub(super) async fn list_leftovers(&mut self) {
        if self.leftovers.is_none() {
            let listed = self.hub.on_disk(|folder| {
                folder.clear_ahead(None)?;
                Ok(Leftovers { temporaries: folder.temporaries()?, displaced: folder.displaced()? })
            });
            // If that fails the next scan lists them.
            self.leftovers = listed.await.ok();
        }
    }

    /// Clears away what no document knows, as far as that is possible now. Documents find out themselves what
    /// came of saves that were `under_way` (their temporaries' names), and of files that they know to be
    /// `displaced`.
    pub(super) async fn tidy(&mut self, under_way: &BTreeSet<String>, displaced: &BTreeSet<DisplacedId>) {
        let Some(Leftovers { temporaries, displaced: left }) = self.leftovers.take() else { return };
        let mut still = Leftovers::default();
        for (path, hash) in temporaries.into_iter().filter(|(path, _)| !under_way.contains(path.file_name()))
        {
            let read = path.clone();
            let Ok(bytes) = self.hub.on_disk(move |folder| folder.read_temporary(&read)).await else {
                continue;
            };
            // Durable before it goes: it may be the only copy.
            if self.hub.keep_content(bytes.into()).await.is_err() {
                still.temporaries.push((path, hash));
                continue;
            }
            let _ = self.hub.on_disk(move |folder| folder.remove_temporary(&path, hash)).await;
        }
        for id in left.into_iter().filter(|id| !displaced.contains(id)) {
            let asked = id.clone();
            match self.hub.on_disk(move |folder| folder.settle(&asked)).await {
                Ok(Settled::Quiet { bytes, .. }) => {
                    if self.hub.keep_content(bytes.into()).await.is_ok() {
                        let _ = self.hub.on_disk(move |folder| folder.forget(&id)).await;
                    } else {
                        still.displaced.push(id);
                    }
                }
                Ok(Settled::Missing | Settled::TooLarge { .. }) => {}
                // Somebody has it open, or it cannot be read or kept now.
                _ => still.displaced.push(id),
            }
        }
        self.leftovers = Some(still);
    }
}
