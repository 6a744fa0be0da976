//! The protocol of one slot of the registry: who may have it, and what others see of it.
//!
//! A slot's first word holds its state and its *generation*, which counts how often the slot was claimed: two
//! users of one slot can never be taken for each other. States go round:
//!
//! ```text
//! free -> claiming -> active -> draining -> free
//!             ^______________________________|   (generation + 1)
//! ```
//!
//! Who claims a slot first takes the kernel's lock on it (an open-file-description lock, which vanishes with its
//! owner even at `kill -9`). Only with the lock may the state be changed, and only by compare-and-swap. A slot whose
//! state is not free and whose lock nobody holds is what a killed process left: whoever gets its lock may claim
//! it. What describes the user is written while the slot is `claiming`; that it is `active` is published after.

use std::sync::atomic::Ordering;

use crate::word::Word;

/// What a slot is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// By nobody.
    Free,
    /// Its user writes who they are.
    Claiming,
    /// A user is here.
    Active,
    /// Its user is leaving.
    Draining,
}

/// How many bits of the word the state takes.
const STATE_BITS: u32 = 2;

/// State and generation, as the word holds them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage {
    /// The state.
    pub state: State,
    /// How often the slot was claimed (modulo 2^30).
    pub generation: u32,
}

impl Stage {
    /// Any word is some stage: the registry's contents are not trusted.
    pub fn of_word(word: u32) -> Stage {
        let state = match word & 3 {
            0 => State::Free,
            1 => State::Claiming,
            2 => State::Active,
            _ => State::Draining,
        };
        Stage { state, generation: word >> STATE_BITS }
    }

    /// The stage as a word.
    pub fn word(self) -> u32 {
        let state = match self.state {
            State::Free => 0,
            State::Claiming => 1,
            State::Active => 2,
            State::Draining => 3,
        };
        self.generation << STATE_BITS | state
    }

    /// The next user's first stage.
    fn claimed(self) -> Stage {
        let generation = self.generation.wrapping_add(1) & (u32::MAX >> STATE_BITS);
        Stage { state: State::Claiming, generation }
    }
}

/// One slot: its stage, and the words that describe its user.
#[derive(Clone, Copy)]
pub struct Slot<'a, W> {
    /// State and generation.
    pub stage: &'a W,
    /// Who it is.
    pub about: &'a [W],
}

impl<W: Word> Slot<'_, W> {
    /// The stage now.
    pub fn stage(&self) -> Stage {
        Stage::of_word(self.stage.load(Ordering::Acquire))
    }

    /// Begins to use the slot, whose kernel lock the caller holds. Gives the generation; `None` if somebody who
    /// does not hold the lock changed the stage meanwhile.
    pub fn claim(&self) -> Option<u32> {
        let before = self.stage();
        let claimed = before.claimed();
        self.stage.exchange(before.word(), claimed.word()).ok().map(|_| claimed.generation)
    }

    /// Has the slot again that is ours already, whatever somebody made of its stage: whoever holds the lock may.
    pub fn reclaim(&self, generation: u32) {
        let claiming = Stage { state: State::Claiming, generation };
        self.stage.store(claiming.word(), Ordering::Release);
    }

    /// Writes who the user is, and then says that they are here.
    pub fn publish(&self, generation: u32, about: impl IntoIterator<Item = u32>) -> bool {
        for (word, value) in self.about.iter().zip(about) {
            // Release: whoever reads one of these sees that the stage is not what it was.
            word.store(value, Ordering::Release);
        }
        self.pass(generation, State::Claiming, State::Active)
    }

    /// Goes on from one state to the next. `false` if the slot is not in that state of that generation.
    pub fn pass(&self, generation: u32, from: State, to: State) -> bool {
        let word = |state| Stage { state, generation }.word();
        self.stage.exchange(word(from), word(to)).is_ok()
    }

    /// The words about the user who is here, and their generation. `None`: nobody is, or they changed meanwhile.
    pub fn read(&self) -> Option<(u32, Vec<u32>)> {
        let before = self.stage();
        if before.state != State::Active {
            return None;
        }
        // Acquire: none of these may be read after the stage is read again.
        let about = self.about.iter().map(|word| word.load(Ordering::Acquire)).collect();
        (self.stage() == before).then_some((before.generation, about))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU32;
    use loom::thread;

    #[test]
    fn every_word_is_a_stage() {
        for word in [0, 1, 2, 3, 4, 7, u32::MAX, u32::MAX - 1, 1 << 31] {
            assert_eq!(Stage::of_word(word).word(), word);
        }
        let last = Stage { state: State::Draining, generation: u32::MAX >> 2 };
        assert_eq!(last.claimed().generation, 0);
    }

    /// A slot and the kernel's lock on it.
    struct Shared {
        stage: AtomicU32,
        about: Vec<AtomicU32>,
        lock: AtomicU32,
    }

    impl Shared {
        fn slot(&self) -> Slot<'_, AtomicU32> {
            Slot { stage: &self.stage, about: &self.about }
        }

        fn new() -> Arc<Shared> {
            let about = (0..2).map(|_| AtomicU32::new(0)).collect();
            Arc::new(Shared { stage: AtomicU32::new(0), about, lock: AtomicU32::new(0) })
        }

        /// Tries to become the slot's user who is called `name`; leaves in good order, or is killed.
        fn user(&self, name: u32, dies: bool) -> Option<u32> {
            if self.lock.exchange(0, name).is_err() {
                return None;
            }
            let generation = self.slot().claim().expect("only who holds the lock changes the stage");
            assert!(self.slot().publish(generation, [name, name]));
            if !dies {
                assert!(self.slot().pass(generation, State::Active, State::Draining));
                assert!(self.slot().pass(generation, State::Draining, State::Free));
            }
            // The kernel lets go of the lock, whichever way the user ended.
            self.lock.store(0, Ordering::Release);
            Some(generation)
        }
    }

    #[test]
    fn model_no_two_users_have_one_generation_and_a_killed_ones_slot_is_had_again() {
        loom::model(|| {
            let shared = Shared::new();
            let other = shared.clone();
            let one = thread::spawn(move || other.user(1, true));
            let mine = shared.user(2, false);
            let theirs = one.join().unwrap();
            if let (Some(mine), Some(theirs)) = (mine, theirs) {
                assert_ne!(mine, theirs);
            }
            // Whatever happened before, the slot can be had now.
            assert!(shared.user(3, false).is_some());
        });
    }

    #[test]
    fn model_who_reads_a_user_reads_one_user() {
        loom::model(|| {
            let shared = Shared::new();
            let other = shared.clone();
            let users = thread::spawn(move || {
                other.user(1, false);
                other.user(2, true);
            });
            if let Some((_, about)) = shared.slot().read() {
                assert!(about == [1, 1] || about == [2, 2], "half of one and half of another: {about:?}");
            }
            users.join().unwrap();
            assert_eq!(shared.slot().read().map(|(_, about)| about), Some(vec![2, 2]));
        });
    }
}
