//! A piece of memory shared with other processes, seen as words that are only accessed atomically.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::truncation::Guard;

/// A shared mapping. Others may change any word at any time to anything: nothing read from it is trusted.
///
/// A file that shrinks under its mapping makes an access a `SIGBUS`. Memory that is passed between two processes
/// is sealed against that; what cannot be sealed is guarded (see `truncation`).
pub(crate) struct Mapping {
    start: NonNull<AtomicU32>,
    words: usize,
    /// Dropped before the file.
    guard: Option<Guard>,
    _file: Option<OwnedFd>,
}

impl Mapping {
    /// Maps the first `words` words of an open file, which must be at least that long and sealed to stay so.
    pub fn new(file: impl AsFd, words: usize) -> io::Result<Mapping> {
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at a place that the kernel chooses overlaps nothing of ours. It is read and
        // written through `AtomicU32` only, for which every bit pattern is a value.
        let start = unsafe {
            mmap(std::ptr::null_mut(), words * size_of::<u32>(), flags, MapFlags::SHARED, file, 0)?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Mapping { start, words, guard: None, _file: None })
    }

    /// The same of a file that anybody may cut short: it is made as long again, and holds zeros then.
    pub fn guarded(file: impl AsFd, words: usize) -> io::Result<Mapping> {
        let own = file.as_fd().try_clone_to_owned()?;
        let mut mapping = Mapping::new(file, words)?;
        let start = mapping.start.as_ptr() as usize;
        mapping.guard = Some(Guard::new(start, words * size_of::<u32>(), own.as_raw_fd())?);
        mapping._file = Some(own);
        Ok(mapping)
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
        // What is mapped here next is not the file's.
        self.guard = None;
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

    #[test]
    fn a_file_cut_short_under_its_mapping_holds_zeros() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(16_384).unwrap();
        let guarded = Mapping::guarded(&file, 4_096).unwrap();
        for round in 1..20 {
            guarded.words()[4_000].store(round, Ordering::Relaxed);
            assert_eq!(guarded.words()[4_000].load(Ordering::Relaxed), round);
            file.set_len(0).unwrap();
            assert_eq!(guarded.words()[4_000].load(Ordering::Relaxed), 0);
            assert_eq!(file.metadata().unwrap().len(), 16_384);
        }
    }

    #[test]
    fn where_a_file_cannot_be_mended_memory_of_our_own_takes_its_place() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8_192).unwrap();
        let mut guarded = Mapping::guarded(&file, 2_048).unwrap();
        // A file that may not be written any more.
        let other = std::fs::File::open("/dev/null").unwrap();
        guarded.guard = None;
        let start = guarded.start.as_ptr() as usize;
        guarded.guard = Some(Guard::new(start, 8_192, other.as_raw_fd()).unwrap());
        file.set_len(0).unwrap();
        guarded.words()[2_000].store(5, Ordering::Relaxed);
        assert_eq!(guarded.words()[2_000].load(Ordering::Relaxed), 5);
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
