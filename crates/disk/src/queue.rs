//! The queue between what sees changes and who wants to know: bounded, in order, coalesced.

use crate::{DiskError, Hint, RelPath, What};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// More hints than this are not worth keeping: one rescan says it all.
pub(crate) const MOST_PENDING: usize = 65_536;

#[derive(Default)]
struct Pending {
    hints: Vec<Hint>,
    /// The newest hint of each path, to leave out its equal neighbour.
    newest: HashMap<Option<RelPath>, What>,
    ended: bool,
}

/// Hints on their way to one [`crate::Watch`].
#[derive(Default)]
pub(crate) struct HintQueue {
    pending: Mutex<Pending>,
    filled: Condvar,
}

impl HintQueue {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a hint and wakes whoever waits for one.
    #[cfg(any(test, feature = "conformance"))]
    pub(crate) fn push(&self, hint: Hint) {
        self.add(hint);
        self.tell();
    }

    /// Wakes whoever waits, if there is something to wake them for.
    pub(crate) fn tell(&self) {
        if !self.lock().hints.is_empty() {
            self.filled.notify_all();
        }
    }

    /// Adds a hint of which [`HintQueue::tell`] will tell, together with its neighbours.
    pub(crate) fn add(&self, hint: Hint) {
        let mut pending = self.lock();
        if pending.newest.get(&hint.path) == Some(&hint.what) {
            return;
        }
        if pending.hints.len() >= MOST_PENDING {
            pending.newest.clear();
            pending.hints.retain(|hint| matches!(hint.what, What::LimitReached { .. } | What::RootGone));
            pending.hints.truncate(MOST_PENDING / 2);
            pending.hints.push(Hint::everywhere(What::Rescan));
        }
        pending.newest.insert(hint.path.clone(), hint.what.clone());
        pending.hints.push(hint);
    }

    /// The last hint is pushed: once it is taken, the watch has ended.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.filled.notify_all();
    }

    /// Waits for hints and takes all there are.
    pub(crate) fn take(&self, timeout: Duration) -> Result<Vec<Hint>, DiskError> {
        let deadline = Instant::now() + timeout;
        let mut pending = self.lock();
        loop {
            if !pending.hints.is_empty() {
                pending.newest.clear();
                return Ok(std::mem::take(&mut pending.hints));
            }
            if pending.ended {
                return Err(DiskError::RootGone { root: "watched".into(), source: Errno::NOENT.into() });
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return Ok(Vec::new());
            };
            pending = self.filled.wait_timeout(pending, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    #[test]
    fn equal_neighbours_of_one_path_are_one_hint() {
        let queue = HintQueue::default();
        for name in ["a", "b", "a", "b"] {
            queue.push(Hint::at(path(name), What::Modified));
        }
        queue.push(Hint::at(path("a"), What::ClosedWrite));
        queue.push(Hint::at(path("a"), What::Modified));
        let seen: Vec<_> = queue
            .take(Duration::ZERO)
            .unwrap()
            .into_iter()
            .map(|h| (h.path.unwrap().to_string(), h.what))
            .collect();
        assert_eq!(
            seen,
            [
                ("a".into(), What::Modified),
                ("b".into(), What::Modified),
                ("a".into(), What::ClosedWrite),
                ("a".into(), What::Modified)
            ]
        );
    }

    #[test]
    fn too_many_hints_become_one_rescan_and_a_reached_limit_is_kept() {
        let queue = HintQueue::default();
        queue.push(Hint::at(path("d"), What::LimitReached { hint: "h".into() }));
        for n in 0..MOST_PENDING {
            queue.push(Hint::at(path(&n.to_string()), What::Modified));
        }
        let hints = queue.take(Duration::ZERO).unwrap();
        assert_eq!(hints.len(), 3);
        assert!(matches!(hints[0].what, What::LimitReached { .. }));
        assert_eq!(hints[1], Hint::everywhere(What::Rescan));
    }

    #[test]
    fn a_waiting_taker_wakes_and_an_ended_queue_says_so() {
        let queue = std::sync::Arc::new(HintQueue::default());
        let pusher = queue.clone();
        let thread = std::thread::spawn(move || pusher.push(Hint::everywhere(What::RootGone)));
        assert_eq!(queue.take(Duration::from_secs(20)).unwrap().len(), 1);
        thread.join().unwrap();
        queue.end();
        assert!(matches!(queue.take(Duration::from_secs(20)), Err(DiskError::RootGone { .. })));
    }
}
