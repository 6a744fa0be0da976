//! The base of a save where versions that the file held are not remembered one by one any more.

use syncline_engine::{Document, Version, diff_cost};

use super::candidates::Candidate;

/// Of the versions in between, so many are tried at once; then those beside the best of them.
const TRIED: usize = 4;
/// So much text, in bytes, is compared at most.
const MAX_COMPARED: usize = 256 << 20;

/// The version of the document, before or after candidate `index` where others have been left out of the list
/// ([`Candidate::gap`]), from which a save needs less change than from that candidate; with its text.
///
/// What a file showed was, each time, all that the document knew: its first so many events. So what is not
/// remembered is among those, and the nearer the right one, the less the save changes.
pub fn nearest_left_out(
    candidates: &[Candidate],
    index: usize,
    document: &Document,
    text: &str,
) -> Option<(Version, String)> {
    let chosen = candidates.get(index)?;
    let later = candidates.get(index + 1).filter(|later| later.gap);
    let earlier = index.checked_sub(1).and_then(|at| candidates.get(at)).filter(|_| chosen.gap);
    let known = |version: &Version| version.heads().iter().max().map_or(0, |last| last + 1);
    let (mut from, mut to) =
        (known(&earlier.unwrap_or(chosen).version), known(&later.unwrap_or(chosen).version));
    if from >= to {
        return None;
    }
    if chosen.part {
        return None;
    }
    let mut best = (diff_cost(&document.string_at(&chosen.version), text).weight(), None);
    let mut compared = 0;
    while to - from > 1 && compared < MAX_COMPARED {
        let step = ((to - from) / (TRIED + 1)).max(1);
        let (mut least, mut at) = (None, from);
        for events in (from + step..to).step_by(step) {
            let version = document.version_before(events);
            let tried = document.string_at(&version);
            compared += tried.len();
            let cost = diff_cost(&tried, text).weight();
            if least.as_ref().is_none_or(|least| cost < *least) {
                (least, at) = (Some(cost), events);
                if cost < best.0 {
                    best = (cost, Some((version, tried)));
                }
            }
        }
        if step == 1 {
            break;
        }
        (from, to) = (at.saturating_sub(step).max(from), (at + step).min(to));
    }
    best.1
}
