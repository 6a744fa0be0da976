//! Blocks of bytes handed from one thread to another, few at a time and in buffers that are used again: what one
//! does with a large file (reading, gathering, hashing) goes on while the other compares or writes it.

use rustix::io::Errno;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// The size of a block, in bytes: little enough to stay in a core's cache.
pub(crate) const BLOCK: usize = 1 << 20;
/// So many wait to be taken.
const WAITING: usize = 2;

/// The end that gives.
pub(crate) struct Giver {
    full: SyncSender<Vec<u8>>,
    used: Receiver<Vec<u8>>,
}

/// The end that takes.
pub(crate) struct Taker {
    full: Receiver<Vec<u8>>,
    used: Sender<Vec<u8>>,
}

/// Runs `beside` in a thread of its own while `here` runs in this one, each with one of two ends (`ends` says who has
/// which); both must end when the other's end is gone.
///
/// # Errors
/// [`Errno::AGAIN`] when the system has no more threads: nothing was run.
pub(crate) fn in_two_threads<End: Send, Other, A: Send, B>(
    ends: fn(Giver, Taker) -> (End, Other),
    beside: impl FnOnce(End) -> A + Send,
    here: impl FnOnce(Other) -> B,
) -> Result<(A, B), Errno> {
    let ((full, waiting), (used, free)) = (sync_channel(WAITING), channel());
    let (end, other) = ends(Giver { full, used: free }, Taker { full: waiting, used });
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("blocks".to_owned());
        let running = thread.spawn_scoped(scope, move || beside(end)).map_err(|_| Errno::AGAIN)?;
        let done = here(other);
        let beside = running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((beside, done))
    })
}

impl Giver {
    /// A buffer to fill: one that was used before, with whatever is in it, if there is one.
    pub fn buffer(&self) -> Vec<u8> {
        self.used.try_recv().unwrap_or_default()
    }

    /// Hands a block over, when there is room. `false`: nobody takes them any more.
    pub fn give(&self, block: Vec<u8>) -> bool {
        self.full.send(block).is_ok()
    }
}

impl Taker {
    /// Takes blocks until there are no more, or until `take` fails.
    ///
    /// # Errors
    /// That of `take`.
    pub fn each<E>(self, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        for block in &self.full {
            take(&block)?;
            // Nobody may want it any more.
            let _ = self.used.send(block);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(give: Giver) -> usize {
        let mut given = 0;
        for number in 0..100 {
            let mut block = give.buffer();
            block.clear();
            block.push(number);
            if !give.give(block) {
                break;
            }
            given += 1;
        }
        given
    }

    #[test]
    fn every_block_comes_once_and_in_order() {
        let mut taken = Vec::new();
        let take = |blocks: Taker| {
            blocks.each(|block| {
                taken.extend_from_slice(block);
                Ok::<(), ()>(())
            })
        };
        let (given, done) = in_two_threads(|give, take| (give, take), numbers, take).unwrap();
        assert_eq!((given, done, taken), (100, Ok(()), (0..100).collect()));
    }

    #[test]
    fn who_gives_ends_when_nobody_takes() {
        let take = |blocks: Taker| blocks.each(|block| if block == [3] { Err(()) } else { Ok(()) });
        let (done, given) = in_two_threads(|give, take| (take, give), take, numbers).unwrap();
        assert_eq!(done, Err(()));
        assert!((3..=4 + WAITING).contains(&given), "{given}");
    }
}
