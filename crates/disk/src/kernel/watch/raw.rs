//! Events as the kernel gives them, drained as fast as they come.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{ReadFlags, Reader};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Beyond this many undigested events a rescan is cheaper.
const MOST_RAW: usize = 1 << 18;

/// One event of inotify.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub wd: i32,
    pub flags: ReadFlags,
    pub cookie: u32,
    /// `None` for events of the directory itself. Not UTF-8: lossy, and refused as a path later.
    pub name: Option<String>,
}

#[derive(Default)]
struct Undigested {
    events: VecDeque<Raw>,
    stopped: bool,
}

/// Between the thread that drains and the thread that understands.
#[derive(Default)]
pub(crate) struct RawQueue {
    undigested: Mutex<Undigested>,
    filled: Condvar,
}

impl RawQueue {
    fn lock(&self) -> MutexGuard<'_, Undigested> {
        self.undigested.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.filled.notify_all();
    }

    pub(crate) fn stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Reads the kernel's queue until `stop` becomes readable.
    pub(crate) fn drain(&self, inotify: &OwnedFd, stop: &OwnedFd) {
        let mut buffer = vec![MaybeUninit::uninit(); 1 << 16];
        let mut reader = Reader::new(inotify, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let raw = Raw {
                        wd: event.wd(),
                        flags: event.events(),
                        cookie: event.cookie(),
                        name: event.file_name().map(|name| name.to_string_lossy().into_owned()),
                    };
                    self.add(raw);
                }
                Err(Errno::AGAIN) => {
                    let mut fds = [PollFd::new(inotify, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
                    match poll(&mut fds, None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(_) => return,
                    }
                    if self.stopped() {
                        return;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    pub(crate) fn add(&self, raw: Raw) {
        let mut undigested = self.lock();
        if undigested.events.len() >= MOST_RAW {
            undigested.events.clear();
            undigested.events.push_back(Raw {
                wd: -1,
                flags: ReadFlags::QUEUE_OVERFLOW,
                cookie: 0,
                name: None,
            });
        }
        undigested.events.push_back(raw);
        self.filled.notify_all();
    }

    /// Moves all events to the end of `into`, waiting until `deadline` for one. `false`: stopped.
    pub(crate) fn take(&self, into: &mut VecDeque<Raw>, deadline: Instant) -> bool {
        let mut undigested = self.lock();
        loop {
            if undigested.stopped {
                return false;
            }
            if !undigested.events.is_empty() {
                into.append(&mut undigested.events);
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return true;
            }
            undigested = self.filled.wait_timeout(undigested, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
