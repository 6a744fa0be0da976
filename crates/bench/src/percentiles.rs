//! What is said about a set of measured times.

use std::time::Duration;

/// Nearest-rank percentiles of a set of times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// How many times were measured.
    pub count: usize,
    pub p50: Duration,
    pub p95: Duration,
    pub max: Duration,
}

impl Summary {
    /// Zero everywhere if nothing was measured.
    pub fn of(times: &[Duration]) -> Summary {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let rank = |percent: usize| {
            let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(at).copied().unwrap_or_default()
        };
        Summary { count: sorted.len(), p50: rank(50), p95: rank(95), max: rank(100) }
    }
}

/// Milliseconds, with fractions.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_sorted_times() {
        let times: Vec<Duration> = (1..=20).rev().map(Duration::from_millis).collect();
        let summary = Summary::of(&times);
        assert_eq!(summary.count, 20);
        assert_eq!(summary.p50, Duration::from_millis(10));
        assert_eq!(summary.p95, Duration::from_millis(19));
        assert_eq!(summary.max, Duration::from_millis(20));
        assert_eq!(Summary::of(&[]).max, Duration::ZERO);
        assert_eq!(Summary::of(&times[..1]).p50, Duration::from_millis(20));
    }
}
