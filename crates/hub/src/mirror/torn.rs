//! A file that was being saved when the power went: empty, cut short, or full of zeros from some place on, for
//! most programs do not sync what they save. What is missing at its end was taken out by nobody.

use syncline_engine::{Edit, diff, diff_cost, line_hunks};

/// So many lines at a torn end are compared with those that stood there; of more, all are new.
const MOST_LINES: usize = 64;

/// What of the bytes found after a power cut can be somebody's text: up to the first byte that is none, and to the
/// last whole line if the text before ended with one.
pub fn whole_part(bytes: &[u8], before_ended_a_line: bool) -> &str {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    if before_ended_a_line && !text.ends_with('\n') {
        return text.rfind('\n').map_or("", |at| &text[..=at]);
    }
    text
}

/// What turns `before` into `found`, of which the end may be missing: what stands after the last line that both
/// share is not taken out, only changed where the new lines resemble it.
pub fn torn_edits(before: &str, found: &str) -> Vec<Edit> {
    let Some((old, new)) = line_hunks(before, found).pop().filter(|(old, _)| old.end == before.len()) else {
        return diff(before, found);
    };
    let (tail, lines) = (&before[old.start..], &found[new.start..]);
    // As many of the old lines as the new ones can stand for.
    let mut ends = vec![0];
    for line in tail.split_inclusive('\n').take(lines.lines().count().min(MOST_LINES)) {
        ends.push(ends.last().map_or(0, |end| end + line.len()));
    }
    let best = ends.into_iter().min_by_key(|end| diff_cost(&tail[..*end], lines).weight());
    diff(&before[..old.start + best.unwrap_or(0)], found)
}

/// The version that a torn text was made from, and the edits that it makes there: of all versions that the file
/// held, oldest first, the one that needs the least of them, the newest of several. `None` when there is none.
pub fn torn_base<'a>(
    versions: impl Iterator<Item = (usize, &'a str)>,
    whole: &str,
) -> Option<(usize, Vec<Edit>)> {
    let edits = versions.map(|(index, text)| {
        // Cut short, it is no edit at all.
        (index, if text.starts_with(whole) { Vec::new() } else { torn_edits(text, whole) })
    });
    let cost = |edits: &[Edit]| {
        edits.iter().map(|edit| edit.range.len() + edit.insert.chars().count()).sum::<usize>()
    };
    edits.min_by_key(|(index, edits)| (cost(edits), usize::MAX - index))
}

/// What edits put in, without what they take out.
pub fn put_in(edits: Vec<Edit>) -> Vec<Edit> {
    let inserts = edits.into_iter().map(|edit| Edit::insert(edit.range.end, edit.insert));
    inserts.filter(|edit| !edit.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_engine::apply_to_str;

    #[test]
    fn what_is_missing_at_the_end_was_taken_out_by_nobody() {
        let before = "one\ntwo\nthree\n";
        for (found, expected) in [
            (&b""[..], before),
            (b"one\ntw", before),
            (b"one\n\0\0\0\0", before),
            (b"one\ntwo\nth\xc3", before),
            (b"zero\none\ntwo", "zero\none\ntwo\nthree\n"),
            (b"zero\none\nthree\n", "zero\none\nthree\n"),
            (b"\0\0\0", before),
            (b"new\n", "new\none\ntwo\nthree\n"),
            (b"one, changed\ntw", "one, changed\ntwo\nthree\n"),
        ] {
            let whole = whole_part(found, true);
            let edits = torn_edits(before, whole);
            assert_eq!(apply_to_str(before, &edits), expected, "{found:?}");
        }
        assert_eq!(whole_part(b"one\ntw", false), "one\ntw");
    }
}
