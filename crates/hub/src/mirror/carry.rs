//! Edits of one text, carried over to another that holds it and more (docs/decisions/0008).

use syncline_engine::Edit;

/// Carries edits of one text over to another, of which `to` is the difference from the first: insertions go
/// to the corresponding place, deletions take only characters that the other text has too.
pub fn carry_over(edits: &[Edit], to: &[Edit]) -> Vec<Edit> {
    let mut out = Vec::new();
    for edit in edits {
        let first = out.len();
        // The parts of the edit's range that lie between the changes of `to`.
        let mut shift = 0isize;
        let mut at = edit.range.start;
        let mut place = None;
        for change in to {
            if change.range.start >= edit.range.end.max(edit.range.start + 1) {
                break;
            }
            if at < change.range.start {
                let end = edit.range.end.min(change.range.start);
                place.get_or_insert((at as isize + shift) as usize);
                if end > at {
                    out.push(Edit::delete((at as isize + shift) as usize..(end as isize + shift) as usize));
                }
            }
            shift += change.insert.chars().count() as isize - change.range.len() as isize;
            at = at.max(change.range.end);
        }
        let here = (at as isize + shift) as usize;
        if at < edit.range.end {
            out.push(Edit::delete(here..(edit.range.end as isize + shift) as usize));
        }
        if !edit.insert.is_empty() {
            let place = place.unwrap_or(here);
            // Before what this edit takes out from there on, and behind all that came before it.
            let behind = out[first..].iter().take_while(|other: &&Edit| other.range.start < place).count();
            out.insert(first + behind, Edit::insert(place, edit.insert.clone()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_engine::{apply_to_str, check_batch, diff};

    #[test]
    fn later_changes_reach_the_union() {
        let (then, union) = ("a\nb\nc\n", "x\na\nb\ny\nc\n");
        for (now, expected) in [
            ("a\nB\nc\n", "x\na\nB\ny\nc\n"),
            ("a\nc\n", "x\na\ny\nc\n"),
            ("new\na\nb\nc\nend\n", "x\nnew\na\nb\ny\nc\nend\n"),
            ("a\nb\nc\n", union),
        ] {
            let edits = carry_over(&diff(then, now), &diff(then, union));
            assert!(check_batch(&edits, union.chars().count()).is_ok(), "{edits:?}");
            assert_eq!(apply_to_str(union, &edits), expected, "{now:?}");
        }
    }

    /// Whether the characters of one text are in the other, in their order.
    fn is_within(part: &str, whole: &str) -> bool {
        let mut whole = whole.chars();
        part.chars().all(|wanted| whole.any(|c| c == wanted))
    }

    proptest::proptest! {
        #[test]
        fn what_is_put_in_stays_in_order_and_nothing_of_the_other_text_goes(
            shown in "[a-c\n]{0,12}",
            saved in "[A-C\n]{0,3}[a-c\n]{0,6}[A-C\n]{0,3}[a-c\n]{0,6}[A-C]{0,2}",
            whole in "[x-z\n]{0,4}[a-c\n]{0,6}[x-z\n]{0,4}[a-c\n]{0,6}[x-z]{0,3}",
        ) {
            let (edits, to) = (diff(&shown, &saved), diff(&shown, &whole));
            let carried = carry_over(&edits, &to);
            proptest::prop_assert!(check_batch(&carried, whole.chars().count()).is_ok(), "{carried:?}");
            let merged = apply_to_str(&whole, &carried);
            let put_in: String = edits.iter().map(|edit| edit.insert.as_str()).collect();
            let theirs: String = to.iter().map(|edit| edit.insert.as_str()).collect();
            proptest::prop_assert!(is_within(&put_in, &merged), "{put_in:?} in {merged:?}");
            proptest::prop_assert!(is_within(&theirs, &merged), "{theirs:?} in {merged:?}");
        }
    }
}
