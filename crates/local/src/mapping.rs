//! A piece of memory shared with other processes, seen as words that are only accessed atomically.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A shared mapping. Others may change any word at any time to anything: nothing read from it is trusted.
///
/// A file that shrinks under its mapping makes an access a `SIGBUS`. Memory that is passed between two processes
/// is sealed against that; the registry cannot be sealed, but only processes of the same account can reach it,
/// and these could end this process anyway.
pub(crate) struct Mapping {
    start: NonNull<AtomicU32>,
    words: usize,
}

impl Mapping {
    /// Maps the first `words` words of an open file, which must be at least that long.
    pub fn new(file: impl AsFd, words: usize) -> io::Result<Mapping> {
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at a place that the kernel chooses overlaps nothing of ours. It is read and
        // written through `AtomicU32` only, for which every bit pattern is a value.
        let start = unsafe {
            mmap(std::ptr::null_mut(), words * size_of::<u32>(), flags, MapFlags::SHARED, file, 0)?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Mapping { start, words })
    }

    /// The words.
    pub fn words(&self) -> &[AtomicU32] {
        // SAFETY: the mapping is `words` words long, aligned to a page, and lives until `self` is dropped, which
        // the borrow outlasts not. Other processes change it only as memory, which atomics allow for.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and no borrow of it is left.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.words * size_of::<u32>()) };
        debug_assert!(unmapped.is_ok(), "what was mapped can be unmapped");
    }
}

// SAFETY: the mapping is owned and not tied to a thread; it is only accessed by atomic operations.
unsafe impl Send for Mapping {}
// SAFETY: as above; sharing it between threads is no different from sharing it between processes.
unsafe impl Sync for Mapping {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn two_mappings_of_one_file_share_their_words() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(64).unwrap();
        let [one, other] = [(); 2].map(|()| Mapping::new(&file, 16).unwrap());
        one.words()[3].store(7, Ordering::Relaxed);
        assert_eq!(other.words()[3].load(Ordering::Relaxed), 7);
        assert_eq!(other.words().len(), 16);
    }
}
