//! Who is here: a table in POSIX shared memory (shm_overview(7)), one slot a user.
//!
//! The kernel says who lives: each user holds an open-file-description lock (fcntl(2), `F_OFD_SETLK`) on the byte of
//! the registry that has the slot's number, and the lock goes with the process, however it ends. What the table says
//! is only believed of slots whose lock is held. The protocol of one slot is in `slot`.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::{FallocateFlags, FileType, Mode, OFlags, fallocate, fstat};
use rustix::shm;

use crate::error::LocalError;
use crate::mapping::Mapping;
use crate::name::{Group, Name};
use crate::neighbour::{ABOUT_WORDS, Abilities, Neighbour, introduced};
use crate::slot::{Slot, Stage, State};

/// How many users a registry has room for.
pub const MAX_USERS: usize = 64;

/// "SYLC", and the version of the layout.
const MAGIC: u32 = 0x5359_4C43;
const VERSION: u32 = 1;

/// The words before the first slot: magic, version, the next ticket.
const HEADER: usize = 16;
const TICKET: usize = 2;
/// The words of a slot: stage, doorbell, asleep, what becomes known only after the claim (settled, abilities, the
/// agent), then who it is.
const SLOT: usize = 64;
const STAGE: usize = 0;
const DOORBELL: usize = 1;
const ASLEEP: usize = 2;
pub(crate) const SETTLED: usize = 3;
pub(crate) const ABILITIES: usize = 4;
pub(crate) const AGENT: usize = 5;
const ABOUT: usize = 16;
const WORDS: usize = HEADER + MAX_USERS * SLOT;

/// Whether another user has a name that somebody wants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Rival {
    /// That will be seen in a moment: they have not said who they are, or were killed.
    Perhaps,
    /// They have; the process.
    Here(u32),
}

/// The registry of a group, opened.
pub struct Registry {
    group: Group,
    file: OwnedFd,
    mapping: Mapping,
    /// The slots that were claimed by this opening, a bit each: the kernel says of our own locks that they are free.
    ours: AtomicU64,
}

impl Registry {
    /// Opens the registry of a group, or makes it.
    ///
    /// # Errors
    /// [`LocalError::Foreign`] when the shared memory of that name is another account's or open to others,
    /// [`LocalError::Unknown`] when it is not a registry of this version, [`LocalError::Io`].
    pub fn open(group: Group) -> Result<Registry, LocalError> {
        let name = group.registry();
        let what = format!("the shared memory {name}");
        let flags = shm::OFlags::CREATE | shm::OFlags::RDWR;
        let file = shm::open(name.as_str(), flags, Mode::RUSR | Mode::WUSR).map_err(|error| match error {
            rustix::io::Errno::ACCESS => LocalError::Foreign { what: what.clone() },
            error => LocalError::io("opening", &what, error),
        })?;
        let stat = fstat(&file).map_err(|error| LocalError::io("looking at", &what, error))?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular || stat.st_uid != group.uid || stat.st_mode & 0o077 != 0 {
            return Err(LocalError::Foreign { what });
        }
        let bytes = (WORDS * size_of::<u32>()) as u64;
        // All of it now: memory that cannot be had later would be a SIGBUS. Two who do this at once do the same; it
        // never gets shorter.
        fallocate(&file, FallocateFlags::empty(), 0, bytes)
            .map_err(|error| LocalError::io("making room in", &what, error))?;
        let mapping =
            Mapping::guarded(&file, WORDS).map_err(|error| LocalError::io("mapping", &what, error))?;
        let registry = Registry { group, file, mapping, ours: AtomicU64::new(0) };
        match registry.sign() {
            Ok(()) => Ok(registry),
            Err(found) => Err(LocalError::Unknown { what, found }),
        }
    }

    /// Says in new memory, which is all zero, that it is a registry; an error: what else it is.
    fn sign(&self) -> Result<(), u32> {
        for (at, wanted) in [(0, MAGIC), (1, VERSION)] {
            let found =
                self.mapping.words()[at].compare_exchange(0, wanted, Ordering::AcqRel, Ordering::Acquire);
            if let Err(found) = found
                && found != wanted
            {
                return Err(found);
            }
        }
        Ok(())
    }

    /// Whoever comes next has a greater ticket than everybody who came.
    pub(crate) fn next_ticket(&self) -> u32 {
        self.mapping.words()[TICKET].fetch_add(1, Ordering::AcqRel)
    }

    /// Makes a wiped registry one again, in which that ticket was given.
    pub(crate) fn mark(&self, ticket: u32) {
        // If it was made something else meanwhile, those who come see it.
        let _ = self.sign();
        self.mapping.words()[TICKET].fetch_max(ticket.saturating_add(1), Ordering::AcqRel);
    }

    /// The group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    pub(crate) fn words(&self, slot: usize) -> &[AtomicU32] {
        let from = HEADER + slot.min(MAX_USERS - 1) * SLOT;
        &self.mapping.words()[from..from + SLOT]
    }

    pub(crate) fn slot(&self, slot: usize) -> Slot<'_, AtomicU32> {
        let words = self.words(slot);
        Slot { stage: &words[STAGE], about: &words[ABOUT..ABOUT + ABOUT_WORDS] }
    }

    /// The words by which a user is woken: how often, and whether they sleep.
    pub(crate) fn doorbell(&self, slot: usize) -> (&AtomicU32, &AtomicU32) {
        let words = self.words(slot);
        (&words[DOORBELL], &words[ASLEEP])
    }

    // ---- the kernel's locks ----

    /// Takes the lock of a slot if nobody has it.
    pub(crate) fn lock(&self, slot: usize) -> Result<bool, LocalError> {
        let bit = 1 << slot;
        if self.ours.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
            return Ok(false);
        }
        let locked = self.lock_byte(slot);
        if !matches!(locked, Ok(true)) {
            self.ours.fetch_and(!bit, Ordering::AcqRel);
        }
        locked
    }

    fn lock_byte(&self, slot: usize) -> Result<bool, LocalError> {
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&byte(slot, libc::F_WRLCK))) {
            Ok(_) => Ok(true),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
            Err(error) => Err(LocalError::io("locking a slot of", &self.group.registry(), error)),
        }
    }

    pub(crate) fn unlock(&self, slot: usize) {
        // Fails only for what was never locked.
        let _ = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&byte(slot, libc::F_UNLCK)));
        self.ours.fetch_and(!(1 << slot), Ordering::AcqRel);
    }

    /// Whether a slot was claimed by this opening.
    fn is_ours(&self, slot: usize) -> bool {
        self.ours.load(Ordering::Acquire) & 1 << slot != 0
    }

    /// Whether another holds the lock of a slot.
    fn is_locked(&self, slot: usize) -> bool {
        let mut byte = byte(slot, libc::F_WRLCK);
        let asked = fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut byte));
        // If the kernel does not say, nobody is declared dead.
        asked.is_err() || byte.l_type != libc::F_UNLCK as libc::c_short
    }

    // ---- coming and going ----

    /// Everybody who is here, whoever claimed through this opening of the registry left out.
    pub fn neighbours(&self) -> Vec<Neighbour> {
        (0..MAX_USERS).filter_map(|slot| self.neighbour(slot)).collect()
    }

    /// The user of a slot, if one is here.
    pub fn neighbour(&self, slot: usize) -> Option<Neighbour> {
        if slot >= MAX_USERS {
            return None;
        }
        let (generation, about) = self.slot(slot).read()?;
        let words = self.words(slot);
        let settled = words[SETTLED].load(Ordering::Acquire) != 0;
        let ways = words[ABILITIES].load(Ordering::Acquire);
        let abilities = Abilities { queue: ways & 1 != 0, rings: ways & 2 != 0 };
        let mut agent = [0; 16];
        let bytes =
            words[AGENT..AGENT + 4].iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes());
        agent.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        let (ticket, who) = introduced(&about)?;
        let neighbour = Neighbour { slot, generation, ticket, settled, abilities, agent, who };
        self.is_here(slot, generation).then_some(neighbour)
    }

    /// Whether that user of a slot is still here.
    pub fn is_here(&self, slot: usize, generation: u32) -> bool {
        self.is_active(slot, generation) && self.is_locked(slot)
    }

    /// Whether the slot says so.
    pub(crate) fn is_active(&self, slot: usize, generation: u32) -> bool {
        self.slot(slot).stage() == Stage { state: State::Active, generation }
    }

    /// Whether the user of a slot has that name and a smaller ticket.
    pub(crate) fn rival(&self, slot: usize, name: &Name, ticket: u32) -> Option<Rival> {
        let stage = self.slot(slot).stage();
        let about: Vec<u32> = self.slot(slot).about.iter().map(|word| word.load(Ordering::Acquire)).collect();
        // Whose lock is free was killed: the next sweep removes what they left.
        match (stage.state, self.is_locked(slot), introduced(&about)) {
            (State::Free, ..) => None,
            (State::Claiming, true, _) => Some(Rival::Perhaps),
            (_, true, Some((earlier, who))) if who.name == *name && earlier < ticket => {
                Some(Rival::Here(who.pid))
            }
            (_, false, Some((_, who))) if who.name == *name && !self.is_ours(slot) => Some(Rival::Perhaps),
            _ => None,
        }
    }

    /// Frees the slots of users who were killed, and removes their queues: all queues of an account share one
    /// allowance.
    pub fn sweep(&self) {
        for slot in 0..MAX_USERS {
            let free = self.slot(slot).stage().state == State::Free;
            if !free && !self.is_locked(slot) && matches!(self.lock(slot), Ok(true)) {
                self.clear(slot);
                self.unlock(slot);
            }
        }
    }

    /// Frees a slot whose lock we hold, whoever had it, after their queue was removed.
    pub(crate) fn clear(&self, slot: usize) {
        // With the lock nobody else changes it: read only now.
        let stage = self.slot(slot).stage();
        if stage.state == State::Free {
            return;
        }
        let about: Vec<u32> = self.slot(slot).about.iter().map(|word| word.load(Ordering::Acquire)).collect();
        // Who was only claiming had not said a name, nor made a queue.
        if let Some((_, who)) = introduced(&about).filter(|_| stage.state != State::Claiming) {
            crate::queue::remove(&self.group, &who.name);
        }
        self.slot(slot).pass(stage.generation, stage.state, State::Free);
    }

    /// Sweeps all registries of an account, and removes the queues of those who were killed.
    pub(crate) fn sweep_all(uid: u32) {
        // Where glibc and musl keep POSIX shared memory. What cannot be listed is not swept.
        let directory = rustix::fs::open("/dev/shm", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let Ok(entries) = directory.and_then(rustix::fs::Dir::read_from) else { return };
        let prefix = format!("syncline-{uid}-");
        for entry in entries.flatten() {
            let name = entry.file_name().to_str().ok().and_then(|name| name.strip_prefix(&prefix));
            let Some(group) = name.and_then(|name| Name::parse(name).ok()) else { continue };
            let Ok(registry) = Registry::open(Group { name: group, uid }) else { continue };
            registry.sweep();
        }
    }

    /// Makes all of it zero, as it is after somebody cut it short and made it longer again.
    #[cfg(test)]
    pub fn wipe(&self) {
        self.mapping.words().iter().for_each(|word| word.store(0, Ordering::Release));
    }

    /// Removes the registry's name. For tests: those who have it open keep it.
    #[cfg(test)]
    pub fn unlink(&self) {
        let _ = shm::unlink(self.group.registry().as_str());
    }
}

fn byte(slot: usize, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: slot as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbour::Introduction;
    use std::sync::Arc;

    fn open() -> Arc<Registry> {
        let name = format!("test-{}", fastrand::u64(..) >> 20);
        Arc::new(Registry::open(Group::of_this_account(&name).unwrap()).unwrap())
    }

    fn again(registry: &Registry) -> Arc<Registry> {
        Arc::new(Registry::open(registry.group.clone()).unwrap())
    }

    #[test]
    fn garbage_in_the_registry_is_nobody() {
        let registry = open();
        let other = again(&registry);
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..2_000 {
            for word in &registry.mapping.words()[HEADER..] {
                word.store(if round % 2 == 0 { random.u32(..) } else { random.u32(..8) }, Ordering::Relaxed);
            }
            let _ = other.neighbours();
            other.sweep();
        }
        // It can be used all the same.
        let who = Introduction { name: Name::parse("ann").unwrap(), pid: 42 };
        let seat = other.claim(who, 5).unwrap();
        assert!(registry.is_here(seat.slot(), seat.generation()));
        registry.mapping.words()[0].store(1, Ordering::Relaxed);
        assert!(matches!(Registry::open(registry.group.clone()), Err(LocalError::Unknown { found: 1, .. })));
        registry.unlink();
    }

    #[test]
    fn a_registry_that_somebody_cut_short_is_an_empty_one() {
        let registry = open();
        let who = Introduction { name: Name::parse("ann").unwrap(), pid: 42 };
        let seat = registry.claim(who.clone(), 5).unwrap();
        let other = again(&registry);
        for length in [0, 100, 5_000] {
            rustix::fs::ftruncate(&registry.file, length).unwrap();
            assert_eq!(seat.renew(), length < 5_000);
            let here = other.neighbours();
            assert_eq!(here.iter().map(|here| (here.slot, &here.who)).collect::<Vec<_>>(), [(0, &who)]);
            assert!(Registry::open(registry.group.clone()).is_ok());
        }
        registry.unlink();
    }

    #[test]
    fn memory_that_others_may_read_is_not_used() {
        let registry = open();
        rustix::fs::fchmod(&registry.file, Mode::from_raw_mode(0o644)).unwrap();
        assert!(matches!(Registry::open(registry.group.clone()), Err(LocalError::Foreign { .. })));
        registry.unlink();
    }
}
