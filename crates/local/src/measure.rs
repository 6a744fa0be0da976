//! A ring with its doorbell, between two threads that share the memory two processes would share.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use crate::doorbell::{Doorbell, Spin};
use crate::ring::{RING_WORDS, Reader, Writer};
use crate::word::Word;

/// The words of a ring and of its reader's doorbell.
pub struct Shared {
    ring: Vec<AtomicU32>,
    bell: [AtomicU32; 2],
}

impl Default for Shared {
    fn default() -> Shared {
        Shared { ring: (0..RING_WORDS).map(|_| AtomicU32::new(0)).collect(), bell: Default::default() }
    }
}

impl Shared {
    fn bell(&self) -> Doorbell<'_, AtomicU32> {
        Doorbell { count: &self.bell[0], asleep: &self.bell[1] }
    }

    /// Whether the reader has gone to sleep.
    pub fn is_asleep(&self) -> bool {
        Word::load(&self.bell[1], std::sync::atomic::Ordering::Acquire) == 1
    }
}

/// The writing end.
#[derive(Default)]
pub struct Sender(Writer);

impl Sender {
    /// Puts a frame in and rings; waits, spinning, for room. `false`: the ring is broken.
    pub fn send(&mut self, shared: &Shared, frame: &[u8]) -> bool {
        loop {
            match self.0.put(&shared.ring, frame) {
                Ok(true) => {
                    shared.bell().ring();
                    return true;
                }
                Ok(false) => std::thread::yield_now(),
                Err(_) => return false,
            }
        }
    }
}

/// The reading end.
pub struct Receiver {
    reader: Reader,
    spin: Spin,
}

impl Receiver {
    /// A reader that sleeps at once (`spins`: only after it has looked for a while) when nothing comes.
    pub fn new(spins: bool) -> Receiver {
        Receiver { reader: Reader::default(), spin: if spins { Spin::new() } else { Spin::none() } }
    }

    /// Waits for the next frame.
    pub fn receive(&mut self, shared: &Shared, frame: &mut Vec<u8>) -> bool {
        loop {
            let seen = shared.bell().seen();
            match self.reader.take(&shared.ring, frame) {
                Ok(true) => return true,
                Ok(false) => {
                    self.reader.taken(&shared.ring);
                    shared.bell().wait(seen, Duration::from_secs(5), &mut self.spin);
                }
                Err(_) => return false,
            }
        }
    }
}
