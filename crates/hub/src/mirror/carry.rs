//! Edits of one text, carried over to another that holds it and more (docs/decisions/0008).

use syncline_engine::Edit;

/// Carries edits of one text over to another, of which `to` is the difference from the first: insertions go
/// to the corresponding place, deletions take only characters that the other text has too.
pub fn carry_over(edits: &[Edit], to: &[Edit]) -> Vec<Edit> {
    let mut out = Vec::new();
    for edit in edits {
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
            let before = out.iter().rposition(|other| other.range.start < place).map_or(0, |index| index + 1);
            out.insert(before, Edit::insert(place, edit.insert.clone()));
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
}
