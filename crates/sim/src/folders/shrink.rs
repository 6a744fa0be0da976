//! Makes a failing plan short: what can be left out without the failure going away is left out.

use std::collections::BTreeSet;

use super::plan::FolderPlan;
use super::run_folders;
use crate::checker::FaultKind;

/// The shortest plan that is found by leaving out acts, in which one of the same kinds of fault occurs. A plan
/// that does not fail is given back as it is.
pub fn shrink(plan: &FolderPlan) -> FolderPlan {
    let kinds = |plan: &FolderPlan| -> BTreeSet<FaultKind> {
        run_folders(plan, false).faults.iter().map(|fault| fault.kind).collect()
    };
    let wanted = kinds(plan);
    let mut best = plan.clone();
    let mut size = best.acts.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        let mut shorter = false;
        while from < best.acts.len() {
            let mut tried = best.clone();
            tried.acts.drain(from..(from + size).min(best.acts.len()));
            if kinds(&tried).is_disjoint(&wanted) {
                from += size;
            } else {
                best = tried;
                shorter = true;
            }
        }
        size = if size == 1 && shorter { 1 } else { size / 2 };
    }
    best
}
