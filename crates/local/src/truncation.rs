//! When somebody cuts a file short that is mapped here.
//!
//! Whoever may write a file may truncate it, and an access beyond its end is then a `SIGBUS` (mmap(2)), which ends a
//! process. Memory passed between two processes is sealed against it; the registry has a name, so that others find it,
//! and what has a name cannot be sealed. So there is a handler: it makes the file as long again as it was, the
//! access is tried again and finds zeros, which in a registry mean that nobody is there. Who is there says so again at
//! their next look ([`crate::seat::Seat::renew`]). A file that cannot be mended is replaced, here only, by
//! memory of our own: then nobody new is met, and nothing else happens.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

/// How many files are guarded at one time; a process has one registry, and looks into others one at a time.
const MOST: usize = 64;
/// So often a file is made longer again.
const MENDED: u32 = 10_000;

/// A mapping that is guarded. Signal handlers may not lock, so these are words.
struct Entry {
    /// Where it begins; 0: unused, 1: being written.
    start: AtomicUsize,
    bytes: AtomicUsize,
    file: AtomicI32,
    mended: AtomicU32,
}

static ENTRIES: [Entry; MOST] = [const {
    Entry {
        start: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        file: AtomicI32::new(-1),
        mended: AtomicU32::new(0),
    }
}; MOST];
static INSTALLED: Once = Once::new();
static FORMER: OnceLock<libc::sigaction> = OnceLock::new();

/// A mapping is guarded until this is dropped.
pub(crate) struct Guard(&'static Entry);

impl Guard {
    /// Guards `bytes` bytes mapped at `start` of a file, which must stay open as long as the guard lives.
    pub fn new(start: usize, bytes: usize, file: RawFd) -> io::Result<Guard> {
        INSTALLED.call_once(install);
        let free =
            |entry: &&Entry| entry.start.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_ok();
        let entry = ENTRIES.iter().find(free).ok_or(io::ErrorKind::QuotaExceeded)?;
        entry.bytes.store(bytes, Ordering::Relaxed);
        entry.file.store(file, Ordering::Relaxed);
        entry.mended.store(0, Ordering::Relaxed);
        entry.start.store(start, Ordering::Release);
        Ok(Guard(entry))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.start.store(0, Ordering::Release);
    }
}

fn install() {
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_sigbus;
    // SAFETY: `sigaction` is a C structure for which all zeros are a value; both pointers are to such structures that
    // live during the calls. The handler has the signature that SA_SIGINFO asks for and does only what a handler
    // may (see there). The former handler is kept before ours can run.
    unsafe {
        let mut former: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut former) != 0 {
            return;
        }
        if FORMER.set(former).is_err() {
            return;
        }
        let mut ours: libc::sigaction = std::mem::zeroed();
        ours.sa_sigaction = handler as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigaction(libc::SIGBUS, &raw const ours, std::ptr::null_mut());
    }
}

/// Makes a guarded file as long as it was. For any other address the former handler is put back: the access is
/// tried again, and is that one's.
extern "C" fn on_sigbus(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel hands a handler with SA_SIGINFO a valid structure, whose address is set for SIGBUS. Only atomic
    // words are read, and only system calls made that allocate and lock nothing. The memory that is mapped
    // over is a guarded mapping, which is only accessed by atomic operations, for which zeros are values. `errno` is the
    // interrupted code's and is put back.
    unsafe {
        let errno = *libc::__errno_location();
        let address = (*info).si_addr() as usize;
        let hit = ENTRIES.iter().find(|entry| {
            let start = entry.start.load(Ordering::Acquire);
            start > 1 && address >= start && address - start < entry.bytes.load(Ordering::Relaxed)
        });
        let mended = match hit {
            None => false,
            Some(entry) => {
                let bytes = entry.bytes.load(Ordering::Relaxed);
                let again = entry.mended.fetch_add(1, Ordering::Relaxed) < MENDED
                    && libc::ftruncate(entry.file.load(Ordering::Relaxed), bytes as libc::off_t) == 0;
                again || {
                    let start = entry.start.load(Ordering::Relaxed) as *mut c_void;
                    let (read_write, flags) = (
                        libc::PROT_READ | libc::PROT_WRITE,
                        libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                    );
                    libc::mmap(start, bytes, read_write, flags, -1, 0) != libc::MAP_FAILED
                }
            }
        };
        if !mended && let Some(former) = FORMER.get() {
            libc::sigaction(libc::SIGBUS, former, std::ptr::null_mut());
        }
        *libc::__errno_location() = errno;
    }
}
