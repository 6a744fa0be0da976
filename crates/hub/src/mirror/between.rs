//! The base of a save where versions that the file held are not remembered one by one any more.

use syncline_engine::{Document, Edit, Version, diff, diff_cost};

use super::base::MUCH_LESS_PERCENT;
use super::candidates::Candidate;
use super::signs::Signs;

/// Of the changes in between, so many are tried at once; then those beside the best of them.
const TRIED: usize = 4;
/// So much text, in bytes, is compared at most: the document's other sessions wait meanwhile.
const MAX_COMPARED: usize = 32 << 20;

/// The version of the document, before or after candidate `index` where others have been left out of the list
/// ([`Candidate::gap`]), from which a save needs less change than from that candidate; with its text.
///
/// What we wrote into a file was, each time, all that the document knew: its first so many events, up to the end of
/// somebody's change. So those of our writes that are not remembered are among these versions, and the nearer the right
/// one, the less the save changes. Which of them anybody read is not known.
pub fn nearest_left_out(
    candidates: &[Candidate],
    index: usize,
    document: &Document,
    text: &str,
) -> Option<(Version, String)> {
    let chosen = candidates.get(index).filter(|chosen| !chosen.part)?;
    let later = candidates.get(index + 1).filter(|later| later.gap);
    let earlier = index.checked_sub(1).and_then(|at| candidates.get(at)).filter(|_| chosen.gap);
    let known = |version: &Version| version.heads().iter().max().map_or(0, |last| last + 1);
    let held_until = known(&chosen.version);
    let (from, to) = (
        earlier.map_or(held_until, |earlier| known(&earlier.version)),
        later.map_or(held_until, |later| known(&later.version)),
    );
    let ends: Vec<usize> = document.changes_in(from + 1..to).collect();
    let held = chosen.text().map_or_else(|| document.string_at(&chosen.version), |text| text.to_string());
    let cost_of_held = diff_cost(&held, text).weight();
    let mut best = None;
    let mut least = cost_of_held;
    let (mut first, mut last) = (0, ends.len());
    let mut compared = held.len();
    while first < last && compared < MAX_COMPARED {
        let step = ((last - first) / (TRIED + 1)).max(1);
        let (mut nearest, mut at) = (None, first);
        for (number, &events) in ends.iter().enumerate().take(last).skip(first).step_by(step) {
            let version = document.version_before(events);
            let tried = document.string_at(&version);
            compared += tried.len();
            let cost = diff_cost(&tried, text).weight();
            if nearest.as_ref().is_none_or(|nearest| cost < *nearest) {
                (nearest, at) = (Some(cost), number);
                if cost < least {
                    least = cost;
                    best = Some((events, version, tried));
                }
            }
        }
        if step == 1 {
            break;
        }
        (first, last) = (at.saturating_sub(step).max(first), (at + step + 1).min(last));
    }
    let (events, version, tried) = best?;
    // As for a candidate of which it is not known whether anybody read it.
    let (older, newer) = if events > held_until { (&held, &tried) } else { (&tried, &held) };
    let shown = match Signs::read(older, newer, text, &diff(newer, text)).verdict() {
        Some(knows) => knows == (events > held_until),
        None => {
            let put_in_only = diff(older, newer).iter().all(|change: &Edit| change.range.is_empty());
            !put_in_only && least.0 * 100 < cost_of_held.0 * MUCH_LESS_PERCENT
        }
    };
    shown.then_some((version, tried))
}

#[cfg(test)]
mod tests {
    use super::super::{Evidence, Maker};
    use super::*;
    use syncline_engine::{AgentId, Meta};

    /// The text to which lines were added one by one, when `shown` of them and all of them were candidates, with a
    /// gap; and what is found for a save when the first of the two was chosen.
    fn found(shown: usize, save: &str) -> Option<String> {
        let (mut document, mut versions) = (Document::new(), Vec::new());
        let agent = AgentId::from_random(1);
        document.edit(&[Edit::insert(0, "one\ntwo\n")], agent, &Meta::default()).unwrap();
        versions.push(document.version().clone());
        for number in 0..40 {
            let at = "one\n".len() + versions.len().saturating_sub(1) * "log 00 from B\n".len();
            let line = Edit::insert(at, format!("log {number:02} from B\n"));
            let meta = Meta { time_ms: number + 1, ..Meta::default() };
            document.edit(&[line], agent, &meta).unwrap();
            versions.push(document.version().clone());
        }
        let candidate = |version: &Version| {
            let text = document.string_at(version);
            Candidate::new(version.clone(), text.as_bytes(), Maker::Us, Evidence::Read)
        };
        let mut all = [candidate(&versions[shown]), candidate(&versions[40])];
        all[1].gap = true;
        nearest_left_out(&all, 0, &document, save).map(|(_, text)| text)
    }

    fn lines(count: usize) -> String {
        (0..count).map(|number| format!("log {number:02} from B\n")).collect()
    }

    #[test]
    fn the_version_that_a_buffer_has_is_found() {
        for held in [1, 2, 17, 25, 39] {
            let buffer = format!("one, mine\n{}two\n", lines(held));
            assert_eq!(found(0, &buffer), Some(format!("one\n{}two\n", lines(held))), "{held}");
        }
        assert_eq!(found(0, "one, mine\ntwo\n"), None);
    }

    #[test]
    fn a_line_alike_is_not_a_change_of_one_that_nobody_is_known_to_have_read() {
        assert_eq!(found(0, "one\nlog 77 from A\ntwo\n"), None);
        assert_eq!(found(0, "one\nlog 00 from A, and more\ntwo\n"), None);
    }
}
