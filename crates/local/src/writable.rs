//! Waiting, in a task, for a message queue to have room.
#![allow(unsafe_code)]

use std::io;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::queue::Queue;

/// A queue that tells a task when it has room. Call within a tokio runtime.
pub(crate) fn writable(queue: Queue) -> io::Result<AsyncFd<Queue>> {
    // SAFETY: a `Queue` owns its descriptor, always gives the same one, and closes it only when it is dropped, which
    // the `AsyncFd` that owns it from here on does after it has stopped watching.
    let registered = unsafe { AsyncFd::register_with_interest(queue, Interest::WRITABLE) };
    registered.map_err(io::Error::from)
}
