//! Looking again and again where there are no events.

use crate::{FileKind, FileStat, Hint, RelPath, What};
use std::collections::BTreeMap;

/// What a polled directory and all below looked like.
pub(crate) type Snapshot = BTreeMap<RelPath, FileStat>;

/// What a watch would have said about the difference of two looks.
pub(crate) fn differences(old: &Snapshot, new: &Snapshot) -> Vec<Hint> {
    let mut hints = Vec::new();
    let is_dir = |stat: &FileStat| stat.kind == FileKind::Directory;
    // Deepest first, as a removal happens.
    for (path, stat) in old.iter().rev() {
        if new.get(path).is_none_or(|now| now.kind != stat.kind) {
            hints.push(Hint::at(path.clone(), What::Removed { dir: is_dir(stat) }));
        }
    }
    for (path, stat) in new {
        match old.get(path).filter(|before| before.kind == stat.kind) {
            None => {
                hints.push(Hint::at(path.clone(), What::Created { dir: is_dir(stat) }));
                if !is_dir(stat) {
                    hints.push(Hint::at(path.clone(), What::ClosedWrite));
                }
            }
            Some(_) if is_dir(stat) => {}
            Some(before) => {
                if before.mode != stat.mode || before.uid != stat.uid || before.gid != stat.gid {
                    hints.push(Hint::at(path.clone(), What::Metadata));
                }
                if !before.same_content(stat) {
                    hints.push(Hint::at(path.clone(), What::Modified));
                    hints.push(Hint::at(path.clone(), What::ClosedWrite));
                }
            }
        }
    }
    hints
}
