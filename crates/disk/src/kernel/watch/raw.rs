//! Events as the kernel gives them, drained as fast as they come.

use crate::is_temporary_name;
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

/// Which events are worth waking anybody for.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    /// The only file that matters, directly below the root; `None`: all of them.
    only: Option<String>,
}

impl Interest {
    pub(crate) fn new(only: Option<String>) -> Self {
        Self { only }
    }

    fn takes(&self, raw: &Raw) -> bool {
        let Some(name) = raw.name.as_deref() else { return true };
        let renamed = ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO;
        if is_temporary_name(name) {
            // Nothing else that happens to a temporary says anything.
            return raw.flags.intersects(renamed | ReadFlags::CLOSE_WRITE | ReadFlags::DELETE);
        }
        // The other half of a rename may be the file's.
        self.only
            .as_deref()
            .is_none_or(|only| name == only || name == ".git" || raw.flags.intersects(renamed))
    }
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
    pub(crate) fn drain(&self, inotify: &OwnedFd, stop: &OwnedFd, interest: &Interest) {
        let mut buffer = vec![MaybeUninit::uninit(); 1 << 16];
        let mut reader = Reader::new(inotify, &mut buffer);
        let mut batch = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let raw = Raw {
                        wd: event.wd(),
                        flags: event.events(),
                        cookie: event.cookie(),
                        name: event.file_name().map(|name| name.to_string_lossy().into_owned()),
                    };
                    if interest.takes(&raw) {
                        batch.push(raw);
                    }
                    // What one call gave goes together: a save is several events, and nobody should wake for each.
                    if reader.is_buffer_empty() {
                        self.add(&mut batch);
                    }
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

    /// Adds events, and wakes whoever waits for them.
    pub(crate) fn add(&self, batch: &mut Vec<Raw>) {
        if batch.is_empty() {
            return;
        }
        let mut undigested = self.lock();
        if undigested.events.len() + batch.len() > MOST_RAW {
            undigested.events.clear();
            batch.clear();
            batch.push(Raw { wd: -1, flags: ReadFlags::QUEUE_OVERFLOW, cookie: 0, name: None });
        }
        undigested.events.extend(batch.drain(..));
        drop(undigested);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temporary_name;

    fn raw(name: &str, flags: ReadFlags) -> Raw {
        Raw { wd: 1, flags, cookie: 0, name: Some(name.to_owned()) }
    }

    #[test]
    fn what_says_nothing_wakes_nobody() {
        let temporary = temporary_name(7);
        let (all, one) = (Interest::default(), Interest::new(Some("ann.txt".to_owned())));
        for (name, flags, by_all, by_one) in [
            ("ann.txt", ReadFlags::OPEN, true, true),
            ("bob.txt", ReadFlags::CLOSE_WRITE, true, false),
            // The half of a rename that has another name.
            ("bob.txt", ReadFlags::MOVED_FROM, true, true),
            (".git", ReadFlags::CREATE | ReadFlags::ISDIR, true, true),
            (&temporary, ReadFlags::MODIFY, false, false),
            (&temporary, ReadFlags::OPEN, false, false),
            (&temporary, ReadFlags::CLOSE_WRITE, true, true),
            (&temporary, ReadFlags::MOVED_TO, true, true),
            (&temporary, ReadFlags::DELETE, true, true),
        ] {
            assert_eq!(all.takes(&raw(name, flags)), by_all, "{name} {flags:?}");
            assert_eq!(one.takes(&raw(name, flags)), by_one, "{name} {flags:?}, of one file");
        }
        // The directory itself, and the queue.
        assert!(one.takes(&Raw { name: None, ..raw("", ReadFlags::QUEUE_OVERFLOW) }));
    }

    #[test]
    fn too_many_events_become_an_overflow() {
        let queue = RawQueue::default();
        queue.add(&mut vec![raw("a", ReadFlags::OPEN); MOST_RAW]);
        queue.add(&mut vec![raw("a", ReadFlags::OPEN)]);
        let mut events = VecDeque::new();
        assert!(queue.take(&mut events, Instant::now()));
        assert_eq!(events.len(), 1);
        assert!(events[0].flags.contains(ReadFlags::QUEUE_OVERFLOW));
    }
}
