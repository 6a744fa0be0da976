//! Which places of a text others changed while somebody had it in front of them.

use std::ops::Range;
use std::time::Duration;

use syncline_engine::Edit;
use syncline_protocol::content::shifted;

/// How many places are marked at most.
const MOST: usize = 500;

/// A place that somebody else changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// What they put there, in scalars of the text as it is now. Empty: they took something out.
    pub range: Range<usize>,
    /// When it came.
    pub since: Duration,
}

/// The marked places of one text.
#[derive(Default, Debug)]
pub struct Marks(Vec<Mark>);

impl Marks {
    /// The places.
    pub fn all(&self) -> &[Mark] {
        &self.0
    }

    /// Somebody else changed the text.
    pub fn changed(&mut self, edits: &[Edit], now: Duration) {
        self.moved(edits);
        let mut shift = 0isize;
        for edit in edits {
            let start = edit.range.start.saturating_add_signed(shift);
            let inserted = edit.insert.chars().count();
            self.0.push(Mark { range: start..start + inserted, since: now });
            shift += inserted as isize - edit.range.len() as isize;
        }
        self.join();
        let surplus = self.0.len().saturating_sub(MOST);
        self.0.drain(..surplus);
    }

    /// What was typed key by key is one place.
    fn join(&mut self) {
        self.0.sort_by_key(|mark| (mark.range.start, mark.range.end));
        self.0.dedup_by(|next, mark| {
            let touches = next.range.start <= mark.range.end;
            if touches {
                mark.range.end = mark.range.end.max(next.range.end);
                mark.since = mark.since.max(next.since);
            }
            touches
        });
    }

    /// The text changed in another way.
    pub fn moved(&mut self, edits: &[Edit]) {
        for mark in &mut self.0 {
            let (start, end) = (shifted(mark.range.start, edits), shifted(mark.range.end, edits));
            mark.range = start..end.max(start);
        }
    }

    /// Forgets those that came before.
    pub fn forget_before(&mut self, moment: Duration) {
        self.0.retain(|mark| mark.since >= moment);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stay_where_the_change_is() {
        let now = Duration::from_secs(1);
        let mut marks = Marks::default();
        marks.changed(&[Edit::insert(2, "xy"), Edit::delete(4..6)], now);
        marks.moved(&[Edit::insert(0, "abc")]);
        let ranges: Vec<Range<usize>> = marks.all().iter().map(|mark| mark.range.clone()).collect();
        assert_eq!(ranges, [5..7, 9..9]);
        marks.changed(&[Edit::insert(7, "z")], now);
        assert_eq!(marks.all().iter().map(|mark| mark.range.clone()).collect::<Vec<_>>(), [5..8, 10..10]);
        marks.forget_before(now + now);
        assert!(marks.all().is_empty());
    }
}
