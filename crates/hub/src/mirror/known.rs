//! What a save made from an older version has all the same of what others changed since.
//!
//! Whoever read half of a file, or took out one of two edits that came together, saves a text that has some of what
//! others changed and lacks the rest. What it lacks was not taken out (rule 2), so an older version is its base. What
//! it has must not be put in a second time.

use syncline_engine::Edit;

/// A line or word with fewer letters and digits may well be put in by two who do not know of each other.
const DISTINCTIVE: usize = 6;

/// The edits of a save without those that `theirs`, made from the same text, are too: the same replacement of the
/// same place, or the same distinctive lines put in there. Both are sorted and disjoint, and so is what is returned.
pub fn without_known(own: Vec<Edit>, theirs: &[Edit]) -> Vec<Edit> {
    let mut at = 0;
    let mut left = Vec::with_capacity(own.len());
    for mut edit in own {
        while theirs.get(at).is_some_and(|their| their.range.start < edit.range.start) {
            at += 1;
        }
        let range = edit.range.clone();
        let there = theirs[at..].iter().take_while(|their| their.range.start == range.start);
        for their in there.filter(|their| their.range == range) {
            if *their == edit && (!range.is_empty() || is_distinctive(&edit.insert)) {
                edit = Edit::insert(range.start, "");
                break;
            }
            if range.is_empty() {
                edit.insert = without_lines(&edit.insert, &their.insert);
            }
        }
        if !edit.is_empty() {
            left.push(edit);
        }
    }
    left
}

/// The lines of a text without those distinctive ones that another has too, each as often as it is there.
fn without_lines(text: &str, other: &str) -> String {
    let mut known: Vec<&str> = other.split_inclusive('\n').filter(|line| is_distinctive(line)).collect();
    let is_new = |line: &&str| match known.iter().position(|known| known == line) {
        Some(found) => {
            known.swap_remove(found);
            false
        }
        None => true,
    };
    text.split_inclusive('\n').filter(is_new).collect()
}

fn is_distinctive(text: &str) -> bool {
    text.chars().filter(|c| c.is_alphanumeric()).take(DISTINCTIVE).count() == DISTINCTIVE
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_engine::diff;

    #[test]
    fn what_others_put_in_is_not_put_in_again() {
        let base = "one\ntwo\nthree\n";
        for (newest, save, expected) in [
            // Of two lines of others the save has one.
            (
                "one\nby another\ntwo\nthree\nlast of all\n",
                "one\nmine\nby another\ntwo\nthree\n",
                "one\nmine\ntwo\nthree\n",
            ),
            // A word at the end of a line.
            ("one by another\ntwo\nthree!\n", "one by another\ntwo\n3\n", "one\ntwo\n3\n"),
            // The same replacement.
            ("one\n2\nthree!\n", "one\n2\nthree\nfour\n", "one\ntwo\nthree\nfour\n"),
            // What two may well have put in, each on their own.
            ("one\n}\ntwo\nthree!\n", "one\n}\ntwo\nthree\n", "one\n}\ntwo\nthree\n"),
            // Elsewhere, twice, or more than theirs.
            (
                "one\nby another\ntwo\nthree\n",
                "one\ntwo\nby another\nthree\n",
                "one\ntwo\nby another\nthree\n",
            ),
            (
                "one\nby another\ntwo\nthree\n",
                "one\nby another\nby another\ntwo\nthree\n",
                "one\nby another\ntwo\nthree\n",
            ),
        ] {
            let left = without_known(diff(base, save), &diff(base, newest));
            assert_eq!(syncline_engine::apply_to_str(base, &left), expected, "{save:?}");
        }
    }
}
