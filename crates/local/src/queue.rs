//! POSIX message queues (mq_overview(7)): one a user, from which only that user takes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_getattr, mq_open, mq_receive, mq_send, mq_unlink};
use nix::sys::stat::Mode;
use rustix::fs::fstat;

use crate::error::LocalError;
use crate::name::{Group, Name};

/// How many datagrams a queue holds: the most that an unprivileged user may ask for.
const DEPTH: i64 = 10;

/// The sizes of a datagram that are tried, in bytes. All queues of an account share one allowance
/// (`RLIMIT_MSGQUEUE`, 819,200 bytes), which nine queues of the largest use up.
const SIZES: [i64; 4] = [8_192, 4_096, 2_048, 1_024];

/// An open queue.
pub(crate) struct Queue {
    descriptor: MqdT,
    size: usize,
}

/// What came of sending or receiving.
#[derive(Debug)]
pub(crate) enum Passed<T> {
    /// It is done.
    Done(T),
    /// The queue is full (or empty): later.
    Later,
}

impl Queue {
    /// Makes the queue of a user who is registered, in place of one that a killed process left. `smallest`: how
    /// many users there may be, so that all of them get one.
    pub fn create(group: &Group, user: &Name, users: usize) -> Result<Queue, LocalError> {
        let name = group.queue(user);
        let no = |why: String| LocalError::NoCarriage { way: "a message queue", why };
        remove(group, user);
        let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDONLY | MQ_OFlag::O_NONBLOCK;
        let mut last = Errno::EMFILE;
        for size in sizes_for(users) {
            let attributes = MqAttr::new(0, DEPTH, size, 0);
            let mode = Mode::S_IRUSR | Mode::S_IWUSR;
            match mq_open(name.as_str(), flags | MQ_OFlag::O_CLOEXEC, mode, Some(&attributes)) {
                Ok(descriptor) => return Ok(Queue { descriptor, size: size as usize }),
                Err(error @ (Errno::EMFILE | Errno::ENOMEM | Errno::EINVAL)) => last = error,
                Err(Errno::EEXIST | Errno::EACCES) => {
                    return Err(LocalError::Foreign { what: format!("the message queue {name}") });
                }
                Err(error) => return Err(no(error.to_string())),
            }
        }
        Err(no(match last {
            Errno::EMFILE => {
                "this account's message queues use up all they may (ulimit -q raises it)".to_owned()
            }
            error => error.to_string(),
        }))
    }

    /// Opens another user's queue to send to it.
    pub fn open(group: &Group, user: &Name) -> Result<Queue, LocalError> {
        let name = group.queue(user);
        let what = format!("the message queue {name}");
        let flags = MQ_OFlag::O_WRONLY | MQ_OFlag::O_NONBLOCK | MQ_OFlag::O_CLOEXEC;
        let opened = mq_open(name.as_str(), flags, Mode::empty(), None);
        let descriptor = opened.map_err(|error| LocalError::io("opening", &what, error))?;
        let mut queue = Queue { descriptor, size: 0 };
        let stat = fstat(queue.as_fd()).map_err(|error| LocalError::io("looking at", &what, error))?;
        if stat.st_uid != group.uid || stat.st_mode & 0o077 != 0 {
            return Err(LocalError::Foreign { what });
        }
        let attributes =
            mq_getattr(&queue.descriptor).map_err(|error| LocalError::io("asking about", &what, error))?;
        queue.size = usize::try_from(attributes.msgsize()).unwrap_or_default();
        Ok(queue)
    }

    /// The longest datagram it takes, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Puts a datagram in.
    pub fn send(&self, datagram: &[u8]) -> Result<Passed<()>, Errno> {
        loop {
            return match mq_send(&self.descriptor, datagram, 0) {
                Ok(()) => Ok(Passed::Done(())),
                Err(Errno::EAGAIN) => Ok(Passed::Later),
                Err(Errno::EINTR) => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Takes a datagram out; `buffer` must have [`Queue::size`] bytes.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<Passed<usize>, Errno> {
        let mut priority = 0;
        loop {
            return match mq_receive(&self.descriptor, buffer, &mut priority) {
                Ok(count) => Ok(Passed::Done(count.min(buffer.len()))),
                Err(Errno::EAGAIN) => Ok(Passed::Later),
                Err(Errno::EINTR) => continue,
                Err(error) => Err(error),
            };
        }
    }
}

/// What each of so many users can have.
fn sizes_for(users: usize) -> impl Iterator<Item = i64> {
    // The kernel counts 48 bytes and a pointer for each message besides.
    let share = 800_000 / users.max(1) as i64 / DEPTH - 64;
    let fits = SIZES.into_iter().filter(move |size| *size <= share);
    fits.chain(SIZES.last().copied()).take(SIZES.len())
}

/// Removes the queue of a user who is not here any more.
pub(crate) fn remove(group: &Group, user: &Name) {
    // There may be none.
    let _ = mq_unlink(group.queue(user).as_str());
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // On Linux a queue's descriptor is a file descriptor, and `mq_close` is `close`. Nothing uses it after.
        let _ = nix::unistd::close(self.descriptor.as_raw_fd());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_says_so_and_a_stale_one_is_replaced() {
        let group = Group::of_this_account(&format!("test-{}", fastrand::u64(..) >> 20)).unwrap();
        let ann = Name::parse("ann").unwrap();
        let stale = Queue::create(&group, &ann, 5).unwrap();
        drop(stale);
        let queue = Queue::create(&group, &ann, 5).unwrap();
        assert_eq!(queue.size(), 8_192);
        let sender = Queue::open(&group, &ann).unwrap();
        let mut buffer = vec![0; queue.size()];
        assert!(matches!(queue.receive(&mut buffer), Ok(Passed::Later)));
        let mut sent = 0u8;
        while matches!(sender.send(&[sent; 100]), Ok(Passed::Done(()))) {
            sent += 1;
        }
        assert_eq!(sent, DEPTH as u8);
        for expected in 0..sent {
            assert!(matches!(queue.receive(&mut buffer), Ok(Passed::Done(100))));
            assert_eq!(buffer[..100], [expected; 100]);
        }
        remove(&group, &ann);
        assert!(Queue::open(&group, &ann).is_err());
    }

    #[test]
    fn sixteen_users_get_smaller_datagrams() {
        assert_eq!(sizes_for(5).next(), Some(8_192));
        assert_eq!(sizes_for(16).next(), Some(4_096));
        assert_eq!(sizes_for(64).next(), Some(1_024));
    }
}
