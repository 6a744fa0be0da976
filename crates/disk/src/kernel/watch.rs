//! Watching a real folder: inotify on every directory, polling where that is not possible.
//!
//! Two threads: one drains the kernel's queue and does nothing else, so that it does not overflow
//! while the other adds watches for a tree that was just copied in.

mod own;
mod poll;
mod raw;
mod translate;
mod tree;

use super::RealOptions;
use super::beneath::Beneath;
use crate::queue::HintQueue;
use crate::{DiskError, Hint, Watch};
pub(crate) use own::OwnNames;
use raw::{Interest, RawQueue};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use translate::Translator;

const INSTANCES: &str = "sudo sysctl fs.inotify.max_user_instances=1024";
const WATCHES: &str = "sudo sysctl fs.inotify.max_user_watches=1048576";

/// A running watch of a real folder.
struct RealWatch {
    hints: Arc<HintQueue>,
    raw: Arc<RawQueue>,
    stop: Arc<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
}

pub(crate) fn start(
    beneath: Arc<Beneath>,
    options: &RealOptions,
    events: bool,
) -> Result<(impl Watch + 'static, Arc<OwnNames>), DiskError> {
    let failed = |doing| move |e: Errno| DiskError::Io { doing, path: "the folder".into(), source: e.into() };
    let fd = match inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK) {
        Ok(fd) => Arc::new(fd),
        Err(Errno::MFILE | Errno::NFILE) => return Err(DiskError::WatchLimit { hint: INSTANCES.into() }),
        Err(e) => return Err(failed("starting to watch")(e)),
    };
    let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(failed("starting to watch"))?);
    let hints = Arc::new(HintQueue::default());
    let raw = Arc::new(RawQueue::default());
    let names = Arc::new(OwnNames::default());
    let tree = tree::Tree::new(beneath, fd.clone(), options, events);
    let mut translator = Translator::new(tree, raw.clone(), hints.clone(), names.clone(), options.poll);
    // Draining begins before the first watch is added: a large tree in use could overflow the queue.
    let drainer = {
        let (raw, stop) = (raw.clone(), stop.clone());
        let interest = Interest::new(options.only.as_ref().map(|only| only.as_str().to_owned()));
        spawn("syncline-drain", move || raw.drain(&fd, &stop, &interest))
            .map_err(failed("starting a thread"))?
    };
    translator.begin();
    let mut watch = RealWatch { hints, raw, stop, threads: vec![drainer] };
    let thread = spawn("syncline-watch", move || translator.run()).map_err(failed("starting a thread"))?;
    watch.threads.push(thread);
    Ok((watch, names))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Errno> {
    std::thread::Builder::new().name(name.into()).spawn(work).map_err(super::errno)
}

impl Watch for RealWatch {
    fn next(&mut self, timeout: Duration) -> Result<Vec<Hint>, DiskError> {
        self.hints.take(timeout)
    }
}

impl Drop for RealWatch {
    fn drop(&mut self) {
        self.raw.stop();
        // The drainer sleeps in poll(); a full eventfd means that it was woken already.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
