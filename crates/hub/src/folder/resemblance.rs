//! Which new file is a missing document's, renamed and saved while no hub ran: the one that holds most of its lines, as
//! git tells renames (gitdiffcore(7), "rename detection").

use std::collections::HashMap;

/// Of a hundred lines so many must be common.
const ENOUGH: usize = 50;
/// So many texts of each kind are compared; of more, none: each is compared with each.
pub(super) const MOST_TEXTS: usize = 64;
/// Longer texts are not compared, in bytes.
pub(super) const LONGEST: usize = 1 << 20;

/// How many of a hundred lines two texts have in common, by the longer one.
fn resemblance(one: &str, other: &str) -> usize {
    let mut lines: HashMap<&str, usize> = HashMap::new();
    one.lines().for_each(|line| *lines.entry(line).or_default() += 1);
    let longer = one.lines().count().max(other.lines().count());
    let mut common = 0usize;
    for line in other.lines() {
        if let Some(left) = lines.get_mut(line).filter(|left| **left > 0) {
            (*left, common) = (*left - 1, common + 1);
        }
    }
    (common * 100).checked_div(longer).unwrap_or(0)
}

/// Whether one text is so much like the other that it may be a later version of it.
pub(crate) fn resembles(one: &str, other: &str) -> bool {
    one.len().max(other.len()) <= LONGEST && resemblance(one, other) >= ENOUGH
}

/// Pairs of an old and a new text (their places in the lists) that belong together: each is the other's best, and no
/// other is as good.
pub(super) fn pairs(old: &[String], new: &[String]) -> Vec<(usize, usize)> {
    let scores: Vec<Vec<usize>> =
        old.iter().map(|one| new.iter().map(|other| resemblance(one, other)).collect()).collect();
    let best = |scores: &mut dyn Iterator<Item = (usize, usize)>| {
        let mut best: Option<(usize, usize)> = None;
        let mut alone = true;
        for (at, score) in scores {
            match best {
                Some((_, most)) if score < most => {}
                Some((_, most)) if score == most => alone = false,
                _ => (best, alone) = (Some((at, score)), true),
            }
        }
        best.filter(|(_, score)| alone && *score >= ENOUGH).map(|(at, _)| at)
    };
    let of_old = |from: usize| best(&mut scores[from].iter().copied().enumerate());
    let of_new = |to: usize| best(&mut scores.iter().map(|row| row[to]).enumerate());
    (0..old.len())
        .filter_map(|from| Some((from, of_old(from)?)))
        .filter(|(from, to)| of_new(*to) == Some(*from))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_17_who_belongs_to_whom() {
        let text = |lines: &str| lines.split(' ').map(|line| format!("{line}\n")).collect::<String>();
        for (old, new, expected) in [
            (vec!["a b c d"], vec!["a b x c d"], vec![(0, 0)]),
            (vec!["a b c d"], vec!["a b x y"], vec![(0, 0)]),
            (vec!["a b c d"], vec!["a x y z"], vec![]),
            // Two that are as good: nobody knows.
            (vec!["a b c d"], vec!["a b c x", "a b c y"], vec![]),
            (vec!["a b c d", "a b c e"], vec!["a b c f"], vec![]),
            (vec!["a b c d", "p q r s"], vec!["p q s", "a b c d e"], vec![(0, 1), (1, 0)]),
            // The better one.
            (vec!["a b c d"], vec!["a b", "a b c"], vec![(0, 1)]),
            (vec![""], vec!["a"], vec![]),
            (vec![], vec!["a"], vec![]),
            (vec!["a"], vec![], vec![]),
            // A line counts as often as it is there.
            (vec!["a a a a"], vec!["a b c d"], vec![]),
        ] {
            let [old, new] = [old, new].map(|all| all.into_iter().map(text).collect::<Vec<_>>());
            assert_eq!(pairs(&old, &new), expected, "{old:?} {new:?}");
        }
    }
}
