//! A ring of bytes in shared memory, from one process to one other: frames of up to [`MAX_FRAME`] bytes, in order,
//! without a system call and without a lock.
//!
//! A single-producer single-consumer ring (Lamport, "Proving the Correctness of Multiprocess Programs", 1977): each
//! side owns one counter and reads the other's. Each side keeps its own counter for itself too and never
//! believes what the shared memory says of it; what the other side's counter and a frame's length say is checked
//! before it is used.

use std::sync::atomic::Ordering;

use crate::word::Word;

/// The words before the frames: how much was put in, taken out, and whether the writer waits for room; a cache
/// line each.
const HEAD: usize = 0;
const TAIL: usize = 16;
const WAITING: usize = 32;
const START: usize = 48;

/// How many words of frames a ring has: 256 KiB.
pub(crate) const CAPACITY: usize = 1 << 16;
/// The words of a whole ring.
pub(crate) const RING_WORDS: usize = START + CAPACITY;
/// The longest frame, in bytes.
pub(crate) const MAX_FRAME: usize = 32 << 10;

/// The other side broke the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the ring does not hold what a ring holds")]
pub(crate) struct Corrupt;

/// The writing side's state.
#[derive(Default)]
pub(crate) struct Writer {
    head: u32,
}

/// The reading side's state.
#[derive(Default)]
pub(crate) struct Reader {
    tail: u32,
}

/// How many words a frame of so many bytes takes, with its length.
fn words_for(bytes: usize) -> usize {
    1 + bytes.div_ceil(4)
}

fn used(head: u32, tail: u32, capacity: usize) -> Result<usize, Corrupt> {
    let used = head.wrapping_sub(tail) as usize;
    if used <= capacity { Ok(used) } else { Err(Corrupt) }
}

impl Writer {
    /// Puts a frame in. `false`: there is no room; the reader tells when there is (see [`Reader::taken`]).
    pub fn put<W: Word>(&mut self, ring: &[W], frame: &[u8]) -> Result<bool, Corrupt> {
        let frames = &ring[START..];
        let capacity = frames.len();
        let need = words_for(frame.len());
        if need > capacity {
            return Err(Corrupt);
        }
        let free = |tail| used(self.head, tail, capacity).map(|used| capacity - used);
        if free(ring[TAIL].load(Ordering::Acquire))? < need {
            let _ = ring[WAITING].exchange(0, 1);
            // Once more, now that the reader would see that we wait.
            if free(ring[TAIL].add(0))? < need {
                return Ok(false);
            }
            let _ = ring[WAITING].exchange(1, 0);
        }
        let at = |offset: u32| self.head.wrapping_add(offset) as usize % capacity;
        frames[at(0)].store(frame.len() as u32, Ordering::Relaxed);
        for (offset, four) in (1..).zip(frame.chunks(4)) {
            let mut word = [0; 4];
            word.iter_mut().zip(four).for_each(|(to, from)| *to = *from);
            frames[at(offset)].store(u32::from_le_bytes(word), Ordering::Relaxed);
        }
        self.head = self.head.wrapping_add(need as u32);
        ring[HEAD].store(self.head, Ordering::Release);
        Ok(true)
    }
}

impl Reader {
    /// The next frame, if there is one.
    pub fn take<W: Word>(&mut self, ring: &[W], frame: &mut Vec<u8>) -> Result<bool, Corrupt> {
        let frames = &ring[START..];
        let capacity = frames.len();
        let there = used(ring[HEAD].load(Ordering::Acquire), self.tail, capacity)?;
        if there == 0 {
            return Ok(false);
        }
        let at = |offset: u32| self.tail.wrapping_add(offset) as usize % capacity;
        let length = frames[at(0)].load(Ordering::Relaxed) as usize;
        if length > MAX_FRAME || words_for(length) > there {
            return Err(Corrupt);
        }
        frame.clear();
        for offset in 1..words_for(length) as u32 {
            frame.extend(frames[at(offset)].load(Ordering::Relaxed).to_le_bytes());
        }
        frame.truncate(length);
        self.tail = self.tail.wrapping_add(words_for(length) as u32);
        Ok(true)
    }

    /// Gives back the room of what was taken. `true`: the writer waits for room and must be told.
    pub fn taken<W: Word>(&self, ring: &[W]) -> bool {
        let before = ring[TAIL].load(Ordering::Relaxed);
        if before == self.tail {
            return false;
        }
        // A read-modify-write, as the writer's second look is: one of the two sees the other.
        let _ = ring[TAIL].exchange(before, self.tail);
        ring[WAITING].exchange(1, 0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    fn ring(capacity: usize) -> Vec<AtomicU32> {
        (0..START + capacity).map(|_| AtomicU32::new(0)).collect()
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let words = ring(64);
        let (mut writer, mut reader) = (Writer { head: u32::MAX - 70 }, Reader { tail: u32::MAX - 70 });
        words[HEAD].store(writer.head, Ordering::Relaxed);
        words[TAIL].store(reader.tail, Ordering::Relaxed);
        let mut random = fastrand::Rng::with_seed(1);
        let mut inside = std::collections::VecDeque::new();
        let mut out = Vec::new();
        for _ in 0..if cfg!(miri) { 200 } else { 10_000 } {
            if random.bool() {
                let frame: Vec<u8> = (0..random.usize(..100)).map(|_| random.u8(..)).collect();
                let fits = writer.put(&words, &frame).unwrap();
                let held: usize = inside.iter().map(|frame: &Vec<u8>| words_for(frame.len())).sum();
                assert_eq!(fits, held + words_for(frame.len()) <= 64);
                if fits {
                    inside.push_back(frame);
                }
            } else {
                let came = reader.take(&words, &mut out).unwrap();
                assert_eq!(came.then_some(&out), inside.front());
                inside.pop_front();
                reader.taken(&words);
            }
        }
    }

    #[test]
    fn hostile_words_are_refused() {
        let mut random = fastrand::Rng::with_seed(2);
        let words = ring(64);
        for _ in 0..if cfg!(miri) { 50 } else { 20_000 } {
            for word in &words {
                word.store(if random.bool() { random.u32(..80) } else { random.u32(..) }, Ordering::Relaxed);
            }
            let start = words[TAIL].load(Ordering::Relaxed);
            let (mut reader, mut out) = (Reader { tail: start }, Vec::new());
            while reader.take(&words, &mut out) == Ok(true) {
                assert!(out.len() <= 64 * 4);
            }
            reader.taken(&words);
            let _ = Writer { head: random.u32(..100) }.put(&words, &[1; 50]);
        }
    }

    mod model {
        use super::super::*;
        use loom::sync::Arc;
        use loom::sync::atomic::AtomicU32;

        #[test]
        fn model_frames_cross_and_a_waiting_writer_is_told() {
            loom::model(|| {
                // Room for one frame of one byte and a little: the second must wait for the first to go.
                let words: Arc<Vec<AtomicU32>> =
                    Arc::new((0..START + 3).map(|_| AtomicU32::new(0)).collect());
                let other = words.clone();
                let writes = loom::thread::spawn(move || {
                    let mut writer = Writer::default();
                    assert_eq!(writer.put(&other, &[1]), Ok(true));
                    writer.put(&other, &[2]).unwrap()
                });
                let (mut reader, mut frame) = (Reader::default(), Vec::new());
                let (mut got, mut told) = (Vec::new(), false);
                for _ in 0..2 {
                    if reader.take(&words, &mut frame).unwrap() {
                        got.extend(frame.iter().copied());
                        told |= reader.taken(&words);
                    }
                }
                let second = writes.join().unwrap();
                while reader.take(&words, &mut frame).unwrap() {
                    got.extend(frame.iter().copied());
                    told |= reader.taken(&words);
                }
                assert_eq!(got, if second { vec![1, 2] } else { vec![1] });
                assert!(second || told, "the writer waits for room, and nobody tells it");
            });
        }
    }
}
