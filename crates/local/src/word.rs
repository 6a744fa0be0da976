//! The one primitive of the shared-memory protocols: a 32-bit word that several processes change.
//!
//! The protocols are written over this trait, so that the very same code runs on the words of a shared mapping
//! and, in its tests, on those of the model checker `loom`, which tries every order in which the accesses of
//! its threads can take effect.

use std::sync::atomic::{AtomicU32, Ordering};

/// A word that is only ever accessed atomically.
pub trait Word {
    /// Reads it.
    fn load(&self, order: Ordering) -> u32;
    /// Writes it.
    fn store(&self, value: u32, order: Ordering);
    /// Writes `new` if it is `old`; gives what it was, as an error if that was something else.
    fn exchange(&self, old: u32, new: u32) -> Result<u32, u32>;
    /// Adds to it, wrapping; gives what it was.
    fn add(&self, value: u32) -> u32;
}

impl Word for AtomicU32 {
    fn load(&self, order: Ordering) -> u32 {
        AtomicU32::load(self, order)
    }
    fn store(&self, value: u32, order: Ordering) {
        AtomicU32::store(self, value, order);
    }
    fn exchange(&self, old: u32, new: u32) -> Result<u32, u32> {
        self.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
    }
    fn add(&self, value: u32) -> u32 {
        self.fetch_add(value, Ordering::AcqRel)
    }
}

#[cfg(test)]
impl Word for loom::sync::atomic::AtomicU32 {
    fn load(&self, order: Ordering) -> u32 {
        loom::sync::atomic::AtomicU32::load(self, order)
    }
    fn store(&self, value: u32, order: Ordering) {
        loom::sync::atomic::AtomicU32::store(self, value, order);
    }
    fn exchange(&self, old: u32, new: u32) -> Result<u32, u32> {
        self.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
    }
    fn add(&self, value: u32) -> u32 {
        self.fetch_add(value, Ordering::AcqRel)
    }
}
