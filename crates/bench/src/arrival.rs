//! When a file holds the bytes that are waited for.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use crate::Fallible;

/// If no event comes for so long, the file is looked at all the same.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// What changes when another content stands at a path: inode, length, time of the change.
type Stamp = Option<(u64, u64, i64, i64)>;

/// A file that is waited for. It is read only when its inode, length or time differ from those last seen:
/// reading more often would be evidence, to the hub, of a reader.
pub struct Arrival {
    events: File,
    path: PathBuf,
    seen: Stamp,
}

impl Arrival {
    /// Watches a file's directory.
    pub fn watch(path: &Path) -> Fallible<Arrival> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let directory = path.parent().ok_or("a file without a directory")?;
        inotify::add_watch(&events, directory, WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE)?;
        Ok(Arrival { events: File::from(events), path: path.to_owned(), seen: stamp(path) })
    }

    /// Waits until the file holds `bytes`; gives the moment at which they were noticed.
    pub fn wait_for(&mut self, bytes: &[u8], patience: Duration) -> Fallible<Instant> {
        let deadline = Instant::now() + patience;
        loop {
            // First: what happens after the look is an event again.
            self.drain()?;
            let now = Instant::now();
            let found = stamp(&self.path);
            if found != self.seen {
                self.seen = found;
                if fs::read(&self.path).is_ok_and(|held| held == bytes) {
                    return Ok(now);
                }
            }
            if now > deadline {
                let what = format!("{} did not get what was saved within {patience:?}", self.path.display());
                return Err(what.into());
            }
            let mut waiting = [PollFd::new(&self.events, PollFlags::IN)];
            match poll(&mut waiting, Some(&LOOK)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn drain(&mut self) -> Fallible<()> {
        let mut buffer = [0; 4096];
        loop {
            match self.events.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}
