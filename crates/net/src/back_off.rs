//! How long to wait before dialing again.

use std::time::Duration;

use syncline_protocol::limits;

/// Doubling pauses from 0.2 s to 60 s, each jittered by half, so that ten thousand clients of a hub that
/// restarts do not all come back in the same instant.
#[derive(Clone, Debug)]
pub struct BackOff {
    next: Duration,
}

impl BackOff {
    /// Starts with the shortest pause.
    pub fn new() -> BackOff {
        BackOff { next: limits::MIN_BACK_OFF }
    }

    /// The next pause: between half and the whole of the step, by `jitter` from 0 to 1.
    pub fn pause(&mut self, jitter: f64) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(limits::MAX_BACK_OFF);
        step.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
    }

    /// The connection was healthy: start again with the shortest pause.
    pub fn reset(&mut self) {
        self.next = limits::MIN_BACK_OFF;
    }
}

impl Default for BackOff {
    fn default() -> Self {
        BackOff::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_start_again() {
        let mut back_off = BackOff::new();
        let pauses: Vec<Duration> = (0..12).map(|_| back_off.pause(1.0)).collect();
        assert_eq!(pauses[0], Duration::from_millis(200));
        assert_eq!(pauses[1], Duration::from_millis(400));
        assert_eq!(pauses[11], limits::MAX_BACK_OFF);
        assert!(back_off.pause(0.0) >= limits::MAX_BACK_OFF / 2);
        back_off.reset();
        assert!(back_off.pause(0.3) < Duration::from_millis(200));
    }
}
