//! How a sleeping user is woken: a futex (futex(2)) in the registry.
//!
//! Whoever has put something into a ring adds to the bell's count, and calls the kernel only if the bell's owner
//! sleeps. Both sides use read-modify-write operations in opposite order (ringer: count, asleep; sleeper: asleep,
//! count), so one of the two always sees the other's; the kernel compares the count once more before it puts
//! anybody to sleep. So no ring is slept through.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::futex;

use crate::word::Word;

/// The longest spin before sleeping, in looks at the count.
const MAX_SPIN: u32 = 4_000;

/// The two words of a bell.
#[derive(Clone, Copy)]
pub(crate) struct Doorbell<'a, W> {
    pub count: &'a W,
    pub asleep: &'a W,
}

impl<W: Word> Doorbell<'_, W> {
    /// Rings; `true`: its owner sleeps, and must be woken by the kernel.
    fn strike(&self) -> bool {
        self.count.add(1);
        self.asleep.exchange(1, 0).is_ok()
    }

    /// What the count is now: to be read before looking whether there is something to do.
    pub fn seen(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    /// Says that the owner is about to sleep; `false`: it was rung since, so it must not.
    fn lie_down(&self, seen: u32) -> bool {
        let _ = self.asleep.exchange(0, 1);
        self.count.add(0) == seen
    }

    fn get_up(&self) {
        let _ = self.asleep.exchange(1, 0);
    }
}

impl Doorbell<'_, AtomicU32> {
    /// Wakes the owner if it sleeps.
    pub fn ring(&self) {
        if self.strike() {
            // Fails only for an address that is no memory.
            let _ = futex::wake(self.count, futex::Flags::empty(), 1);
        }
    }

    /// Waits until the bell was rung since its count was `seen`, or for `patience`.
    pub fn wait(&self, seen: u32, patience: Duration, spin: &mut Spin) {
        if spin.spin(|| self.seen() != seen) {
            return;
        }
        if self.lie_down(seen) {
            let until = futex::Timespec {
                tv_sec: patience.as_secs() as i64,
                tv_nsec: i64::from(patience.subsec_nanos()),
            };
            // Rung meanwhile (the kernel compares again), a signal, or the time: all the same here.
            let _ = futex::wait(self.count, futex::Flags::empty(), seen, Some(&until));
        }
        self.get_up();
    }
}

/// How long to look before sleeping: longer while that pays, shorter while it does not. On a machine with one
/// core it never does.
pub(crate) struct Spin {
    looks: u32,
    most: u32,
}

impl Spin {
    pub fn new() -> Spin {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Spin { looks: 64, most: if cores > 1 { MAX_SPIN } else { 0 } }
    }

    /// Never spins.
    #[cfg(any(test, feature = "measure"))]
    pub fn none() -> Spin {
        Spin { looks: 0, most: 0 }
    }

    fn spin(&mut self, mut holds: impl FnMut() -> bool) -> bool {
        for _ in 0..self.looks.min(self.most) {
            if holds() {
                self.looks = (self.looks * 2).min(self.most);
                return true;
            }
            std::hint::spin_loop();
        }
        // Rarely tried, it still finds out when things get busy.
        self.looks = (self.looks / 2).max(16);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU32 as Modelled;

    #[test]
    fn model_no_ring_is_slept_through() {
        loom::model(|| {
            let words = Arc::new([Modelled::new(0), Modelled::new(0), Modelled::new(0)]);
            let other = words.clone();
            let ringer = loom::thread::spawn(move || {
                let [count, asleep, work] = &*other;
                work.store(1, Ordering::Release);
                Doorbell { count, asleep }.strike()
            });
            let [count, asleep, work] = &*words;
            let bell = Doorbell { count, asleep };
            let seen = bell.seen();
            let mut sleeps = false;
            if Word::load(work, Ordering::Acquire) == 0 {
                sleeps = bell.lie_down(seen);
            }
            let woken = ringer.join().unwrap();
            assert!(!sleeps || woken, "it sleeps, and nobody wakes it");
        });
    }

    #[test]
    fn a_sleeper_is_woken() {
        let words = std::sync::Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let other = words.clone();
        let sleeper = std::thread::spawn(move || {
            let bell = Doorbell { count: &other[0], asleep: &other[1] };
            let mut spin = Spin::none();
            for round in 0..1_000 {
                while bell.seen() == round {
                    bell.wait(round, Duration::from_secs(20), &mut spin);
                }
            }
        });
        let bell = Doorbell { count: &words[0], asleep: &words[1] };
        while !sleeper.is_finished() {
            bell.ring();
        }
        sleeper.join().unwrap();
    }
}
