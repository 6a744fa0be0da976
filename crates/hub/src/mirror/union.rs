//! Joining two texts that share no history: common lines once, both sides of what differs (docs/decisions/0008).

use syncline_engine::{Edit, line_hunks};

/// The edits that bring everything of `theirs` into `ours` and take nothing out: sorted insertions of whole
/// lines, in scalars of `ours`. Equal texts give none.
pub fn union_edits(ours: &str, theirs: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    let (mut bytes, mut scalars) = (0, 0);
    for (before, after) in line_hunks(ours, theirs) {
        if after.is_empty() {
            continue;
        }
        scalars += ours[bytes..before.end].chars().count();
        bytes = before.end;
        let mut insert = theirs[after].to_owned();
        // The last line of a text may lack its line end; it must not run into the other side's.
        if bytes > 0 && !ours[..bytes].ends_with('\n') {
            insert.insert(0, '\n');
        } else if bytes < ours.len() && !insert.ends_with('\n') {
            insert.push('\n');
        }
        edits.push(Edit::insert(scalars, insert));
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_engine::apply_to_str;

    #[test]
    fn common_lines_once_and_both_sides_of_what_differs() {
        let cases = [
            ("a\nb\nc\n", "a\nb\nc\n", "a\nb\nc\n"),
            ("a\nb\nc\n", "a\nx\nc\n", "a\nb\nx\nc\n"),
            ("", "a\n", "a\n"),
            ("a\n", "", "a\n"),
            ("a", "b", "a\nb"),
            ("a\nlast", "a\nother", "a\nlast\nother"),
            ("ä\nö\n", "ä\nü\nö\n", "ä\nü\nö\n"),
            ("b\n", "a\nb", "b\na\nb"),
        ];
        for (ours, theirs, expected) in cases {
            let union = apply_to_str(ours, &union_edits(ours, theirs));
            assert_eq!(union, expected, "{ours:?} + {theirs:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_of_either_side_is_missing(ours in "([a-d]{1,2}\n){0,8}[a-d]{0,2}", theirs in "([a-d]{1,2}\n){0,8}[a-d]{0,2}") {
            let union = apply_to_str(&ours, &union_edits(&ours, &theirs));
            let has = |line: &str| union.lines().any(|other| other == line);
            proptest::prop_assert!(ours.lines().chain(theirs.lines()).all(has), "{union:?}");
            let again = apply_to_str(&union, &union_edits(&union, &theirs));
            proptest::prop_assert!(again == union || !theirs.ends_with('\n') , "a second union adds nothing");
        }
    }
}
