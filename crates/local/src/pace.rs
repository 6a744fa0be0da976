//! When changes made here are broadcast: after so many operations, or so long after the last broadcast.

use std::time::Duration;

/// How changes are gathered. A pure state machine.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    batch: u32,
    flush: Option<Duration>,
    operations: u32,
    /// Since when something waits.
    since: Option<Duration>,
    /// The last broadcast.
    last: Option<Duration>,
}

impl Pace {
    /// `batch`: after so many operations. `flush`: nothing waits longer than this; `None`: it waits until there are
    /// as many.
    pub fn new(batch: u32, flush: Option<Duration>) -> Pace {
        Pace { batch: batch.max(1), flush, operations: 0, since: None, last: None }
    }

    /// Something changed here, by so many operations.
    pub fn changed(&mut self, operations: u32, now: Duration) {
        self.operations = self.operations.saturating_add(operations);
        self.since.get_or_insert(now);
    }

    /// What changed last was so many operations. `true`: it was broadcast before they were counted.
    pub fn counted(&mut self, operations: u32) -> bool {
        if self.since.is_some() {
            self.operations = self.operations.saturating_add(operations);
        }
        self.since.is_none()
    }

    /// When to broadcast; `None`: there is nothing, or not enough.
    pub fn due(&self) -> Option<Duration> {
        let since = self.since?;
        if self.operations >= self.batch {
            return Some(since);
        }
        // After a quiet time the first change goes at once; those that follow closely go together.
        let pause = self.flush?;
        Some(self.last.map_or(since, |last| (last + pause).max(since)))
    }

    /// It was broadcast; gives how many operations.
    pub fn released(&mut self, now: Duration) -> u32 {
        (self.since, self.last) = (None, Some(now));
        std::mem::take(&mut self.operations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_change_goes_at_once_and_those_that_follow_together() {
        let mut pace = Pace::new(5, Some(ms(3)));
        assert_eq!(pace.due(), None);
        pace.changed(1, ms(10));
        assert_eq!(pace.due(), Some(ms(10)));
        assert_eq!(pace.released(ms(10)), 1);
        pace.changed(1, ms(11));
        pace.changed(1, ms(12));
        assert_eq!(pace.due(), Some(ms(13)));
        pace.changed(3, ms(12));
        assert_eq!(pace.due(), Some(ms(11)), "five operations do not wait");
        assert_eq!(pace.released(ms(12)), 5);
        pace.changed(1, ms(40));
        assert_eq!(pace.due(), Some(ms(40)));
    }

    #[test]
    fn what_was_broadcast_is_counted_and_not_broadcast_again() {
        let mut pace = Pace::new(5, Some(ms(3)));
        pace.changed(0, ms(1));
        assert_eq!(pace.released(ms(1)), 0);
        assert!(pace.counted(2));
        assert_eq!(pace.due(), None);
        let mut strict = Pace::new(5, None);
        strict.changed(0, ms(1));
        assert!(!strict.counted(4));
        assert_eq!(strict.due(), None);
        assert!(!strict.counted(1));
        assert_eq!(strict.due(), Some(ms(1)));
    }

    #[test]
    fn the_strict_rule_waits_for_five() {
        let mut pace = Pace::new(5, None);
        for count in 1..=5 {
            assert_eq!(pace.due(), None, "{count}");
            pace.changed(1, ms(count));
        }
        assert_eq!(pace.due(), Some(ms(1)));
        assert_eq!(pace.released(ms(9)), 5);
        pace.changed(4, ms(10));
        assert_eq!(pace.due(), None);
    }
}
