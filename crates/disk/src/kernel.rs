//! The medium that is the kernel: a real directory, reached only through descriptors below its root.

mod beneath;
mod metadata;
#[cfg(test)]
mod mounts;
mod probe;
#[cfg(test)]
mod tests;
mod watch;

use crate::medium::{Medium, Purpose, Step};
use crate::on_medium::OnMedium;
use crate::{DiskError, FileStat, GitState, Probe, RelPath, STATE_DIR, Watch};
use rustix::fs::{Advice, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError, Weak};
use syncline_lease::{ReadLease, read_lease};

pub(crate) use metadata::stat_of;

/// A folder on a real file system.
pub type RealFolder = OnMedium<Kernel>;

/// How a [`RealFolder`] behaves where there is a choice.
#[derive(Debug, Clone)]
pub struct RealOptions {
    /// Displaced and racing files longer than this (bytes) are never loaded. 64 MiB unless told.
    pub limit: u64,
    /// At most this many directories are watched, the others polled; `None`: as many as the kernel allows.
    pub watches: Option<usize>,
    /// How often what cannot be watched is looked at. 2 s unless told.
    pub poll: std::time::Duration,
    /// The directory, a path from the root, where what is not the users' lies: displaced files, and those that are written ahead. Of several
    /// hubs on one directory each has its own: at its start a hub takes what it finds there for what was left of it.
    /// [`STATE_DIR`] unless told.
    pub state: PathBuf,
    /// The only file of the directory that is watched: what happens to others, and below, wakes nobody.
    pub only: Option<RelPath>,
}

impl Default for RealOptions {
    fn default() -> Self {
        let poll = std::time::Duration::from_secs(2);
        Self { limit: 64 << 20, watches: None, poll, state: STATE_DIR.into(), only: None }
    }
}

impl RealFolder {
    /// Opens the folder at `root`, which must be a directory (a link to one is followed here, once).
    ///
    /// # Errors
    /// [`DiskError::RootGone`] when it cannot be opened.
    pub fn open(root: &Path, options: RealOptions) -> Result<Self, DiskError> {
        let limit = options.limit;
        Ok(OnMedium::on(Kernel::open(root, options)?, limit))
    }
}

#[cfg(any(test, feature = "conformance"))]
impl RealFolder {
    /// Lets a test act inside an operation.
    pub fn set_hook(&self, hook: impl Fn(Step, &RelPath) + Send + std::marker::Sync + 'static) {
        *self.medium.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::sync::Arc::new(hook));
    }

    /// Behaves as on a file system without leases, or without exchange.
    pub fn pretend(&self, leases: bool, exchange: bool) {
        use std::sync::atomic::Ordering;
        self.medium.no_leases.store(!leases, Ordering::SeqCst);
        self.medium.no_exchange.store(!exchange, Ordering::SeqCst);
    }

    /// Behaves as on a kernel without `openat2`.
    pub fn pretend_old_kernel(&self) {
        self.medium.beneath.forget_openat2();
    }
}

#[cfg(any(test, feature = "conformance"))]
type Hook = std::sync::Arc<dyn Fn(Step, &RelPath) + Send + std::marker::Sync>;

/// The kernel, seen from one root.
pub struct Kernel {
    beneath: std::sync::Arc<beneath::Beneath>,
    options: RealOptions,
    probed: OnceLock<Probe>,
    watches: Mutex<Vec<Weak<watch::OwnNames>>>,
    #[cfg(any(test, feature = "conformance"))]
    hook: Mutex<Option<Hook>>,
    #[cfg(any(test, feature = "conformance"))]
    no_leases: std::sync::atomic::AtomicBool,
    #[cfg(any(test, feature = "conformance"))]
    no_exchange: std::sync::atomic::AtomicBool,
}

impl Kernel {
    fn open(root: &Path, options: RealOptions) -> Result<Self, DiskError> {
        let root: PathBuf = root.to_owned();
        Ok(Self {
            beneath: std::sync::Arc::new(beneath::Beneath::open(root, options.state.clone())?),
            options,
            probed: OnceLock::new(),
            watches: Mutex::new(Vec::new()),
            #[cfg(any(test, feature = "conformance"))]
            hook: Mutex::new(None),
            #[cfg(any(test, feature = "conformance"))]
            no_leases: false.into(),
            #[cfg(any(test, feature = "conformance"))]
            no_exchange: false.into(),
        })
    }

    #[cfg(any(test, feature = "conformance"))]
    fn pretends_no_leases(&self) -> bool {
        self.no_leases.load(std::sync::atomic::Ordering::SeqCst)
    }
    #[cfg(not(any(test, feature = "conformance")))]
    fn pretends_no_leases(&self) -> bool {
        false
    }
    #[cfg(any(test, feature = "conformance"))]
    fn pretends_no_exchange(&self) -> bool {
        self.no_exchange.load(std::sync::atomic::Ordering::SeqCst)
    }
    #[cfg(not(any(test, feature = "conformance")))]
    fn pretends_no_exchange(&self) -> bool {
        false
    }
}

/// A write is carried out in parts of so many bytes. Larger ones let the kernel take larger pages for its cache, for
/// which it goes to memory that the machine has given back to its host: 50 MB are in the cache after 25 ms, not 120
/// (2 cores, virtual, ext4, Linux 6.18, after 2 s of rest).
const WRITE_PART: usize = 64 << 10;
/// From this length on, in bytes, what is written is sent on to the disk at once.
const EARLY: u64 = 512 << 10;
/// Flags of every opening of a file: never a link, never blocking on a FIFO or a lease, never a controlling
/// terminal.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

fn open_regular(dir: &OwnedFd, name: &str, flags: OFlags) -> Result<File, Errno> {
    // A device must not even be opened; one swapped in between is opened without blocking and given up.
    let is_file = |stat: &FileStat| stat.kind == crate::FileKind::File;
    let stat = stat_of(dir, name)?;
    match stat.kind {
        crate::FileKind::File => {}
        crate::FileKind::Link => return Err(Errno::LOOP),
        _ => return Err(Errno::NXIO),
    }
    let file = File::from(rustix::fs::openat(dir, name, flags | FILE, Mode::empty())?);
    match metadata::stat_of_fd(&file) {
        Ok(stat) if is_file(&stat) => Ok(file),
        Ok(_) => Err(Errno::NXIO),
        Err(e) => Err(e),
    }
}

pub(crate) fn errno(e: std::io::Error) -> Errno {
    match Errno::from_io_error(&e) {
        Some(errno) => errno,
        // "failed to write whole buffer": the system took nothing and gave no reason.
        None => Errno::IO,
    }
}

impl Medium for Kernel {
    type Dir = OwnedFd;
    type File = File;
    type Lease<'f> = ReadLease<'f>;

    fn open_dir(&self, dir: Option<&RelPath>) -> Result<OwnedFd, Errno> {
        self.beneath.open_dir(dir, OFlags::RDONLY)
    }

    fn state_dir(&self, name: &str, create: bool) -> Result<OwnedFd, Errno> {
        self.beneath.state_dir(name, create)
    }

    fn state_path(&self, name: &str) -> String {
        self.beneath.state_path(name)
    }

    fn make_dir(&self, dir: &OwnedFd, name: &str) -> Result<(), Errno> {
        rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o777))
    }

    fn remove_dir(&self, dir: &OwnedFd, name: &str) -> Result<(), Errno> {
        rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
    }

    fn names(&self, dir: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
        beneath::names(dir)
    }

    fn stat(&self, dir: &OwnedFd, name: &str) -> Result<FileStat, Errno> {
        stat_of(dir, name)
    }

    fn open_read(&self, dir: &OwnedFd, name: &str) -> Result<File, Errno> {
        open_regular(dir, name, OFlags::RDONLY)
    }

    fn open_write(&self, dir: &OwnedFd, name: &str, append: bool) -> Result<File, Errno> {
        open_regular(dir, name, if append { OFlags::RDWR | OFlags::APPEND } else { OFlags::RDWR })
    }

    fn create(&self, dir: &OwnedFd, name: &str, mode: u32) -> Result<File, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | FILE;
        Ok(File::from(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(mode))?))
    }

    fn stat_file(&self, file: &File) -> Result<FileStat, Errno> {
        metadata::stat_of_fd(file)
    }

    fn read_file(&self, file: &File, limit: u64) -> Result<Vec<u8>, Errno> {
        use std::io::Seek;
        let mut reader = file;
        reader.rewind().map_err(errno)?;
        // The length is what the file says, and somebody may lie or write: never reserve beyond the limit.
        let len = metadata::stat_of_fd(file)?.len;
        if len > limit {
            return Err(Errno::FBIG);
        }
        let mut bytes = Vec::new();
        bytes.try_reserve(usize::try_from(len).map_err(|_| Errno::FBIG)?).map_err(|_| Errno::NOMEM)?;
        reader.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(errno)?;
        if bytes.len() as u64 > limit { Err(Errno::FBIG) } else { Ok(bytes) }
    }

    fn read_at(&self, file: &File, offset: u64, room: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *room, offset))
    }

    fn write_at(&self, file: &File, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let appends = rustix::fs::fcntl_getfl(file)?.contains(OFlags::APPEND);
        if appends {
            let mut writer = file;
            return writer.write_all(bytes).map_err(errno);
        }
        let mut at = offset;
        for part in bytes.chunks(WRITE_PART) {
            file.write_all_at(part, at).map_err(errno)?;
            at += part.len() as u64;
        }
        if let Some(len) = NonZeroU64::new(bytes.len() as u64).filter(|len| len.get() >= EARLY) {
            // What is written begins its way to the disk now: DONTNEED starts the writing of dirty pages and lets go only
            // of clean ones (posix_fadvise(2)), so that the sync at the end has little left to wait for: 50 MB are durable
            // after 22 to 28 ms, not 34 to 42 (2 cores, ext4, warm page cache).
            let _ = rustix::fs::fadvise(file, offset, Some(len), Advice::DontNeed);
        }
        Ok(())
    }

    fn set_len(&self, file: &File, len: u64) -> Result<(), Errno> {
        rustix::fs::ftruncate(file, len)
    }

    fn reserve(&self, file: &File, len: u64) -> Result<(), Errno> {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, len) {
            Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(e),
            // Not every file system can be asked; the write itself will tell.
            _ => Ok(()),
        }
    }

    fn sync_file(&self, file: &File) -> Result<(), Errno> {
        rustix::fs::fsync(file)
    }

    fn sync_dir(&self, dir: &OwnedFd) -> Result<(), Errno> {
        match rustix::fs::fsync(dir) {
            // Some network file systems have no fsync of directories: their renames are synchronous.
            Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            answer => answer,
        }
    }

    fn sync_all(&self) -> Result<(), Errno> {
        rustix::fs::syncfs(self.beneath.root())
    }

    fn lease<'f>(&'f self, file: &'f File) -> Result<Option<ReadLease<'f>>, Errno> {
        if self.pretends_no_leases() {
            return Err(Errno::INVAL);
        }
        read_lease(file).map_err(errno)
    }

    fn broken(&self, lease: &ReadLease<'_>) -> bool {
        lease.broken().unwrap_or(true)
    }

    fn exchange(&self, dir: &OwnedFd, one: &str, other: &str) -> Result<(), Errno> {
        if self.pretends_no_exchange() {
            return Err(Errno::INVAL);
        }
        rustix::fs::renameat_with(dir, one, dir, other, RenameFlags::EXCHANGE)
    }

    fn rename_new(&self, from: &OwnedFd, name: &str, to: &OwnedFd, new: &str) -> Result<(), Errno> {
        match rustix::fs::renameat_with(from, name, to, new, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => {}
            answer => return answer,
        }
        // No such flag here: a second name never replaces either.
        match rustix::fs::linkat(from, name, to, new, AtFlags::empty()) {
            Ok(()) => rustix::fs::unlinkat(from, name, AtFlags::empty()),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK) => match stat_of(to, new) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => rustix::fs::renameat(from, name, to, new),
                Err(e) => Err(e),
            },
            Err(e) => Err(e),
        }
    }

    fn rename_over(&self, from: &OwnedFd, name: &str, to: &OwnedFd, new: &str) -> Result<(), Errno> {
        rustix::fs::renameat(from, name, to, new)
    }

    fn link(&self, from: &OwnedFd, name: &str, to: &OwnedFd, new: &str) -> Result<(), Errno> {
        rustix::fs::linkat(from, name, to, new, AtFlags::empty())
    }

    fn unlink(&self, dir: &OwnedFd, name: &str) -> Result<(), Errno> {
        rustix::fs::unlinkat(dir, name, AtFlags::empty())
    }

    fn symlink(&self, target: &str, dir: &OwnedFd, name: &str) -> Result<(), Errno> {
        rustix::fs::symlinkat(target, dir, name)
    }

    fn read_link(&self, dir: &OwnedFd, name: &str) -> Result<String, Errno> {
        let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
        // Carried on as another text it would lead elsewhere.
        target.into_string().map_err(|_| Errno::ILSEQ)
    }

    fn copy_metadata(&self, dir: &OwnedFd, name: &str, to: &File) -> Result<(), Errno> {
        metadata::copy(dir, name, to)
    }

    fn set_file_mode(&self, file: &File, mode: u32) -> Result<(), Errno> {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
    }

    fn set_mode(&self, dir: &OwnedFd, name: &str, mode: u32) -> Result<(), Errno> {
        metadata::set_mode(dir, name, mode)
    }

    fn may_write(&self, dir: &OwnedFd, name: &str) -> Result<(), Errno> {
        let flags = AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW;
        match rustix::fs::accessat(dir, name, rustix::fs::Access::WRITE_OK, flags) {
            // An old kernel cannot be asked in this way; the owner's bit is the better half of the answer.
            Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
                let stat = stat_of(dir, name)?;
                let unrestricted = rustix::process::geteuid().is_root();
                if stat.mode & 0o222 == 0 && !unrestricted { Err(Errno::ACCESS) } else { Ok(()) }
            }
            // It vanished, or is being executed: the exchange decides.
            Err(Errno::NOENT | Errno::TXTBSY) => Ok(()),
            answer => answer,
        }
    }

    fn git_state(&self, dir: &OwnedFd) -> Result<GitState, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let git = match rustix::fs::openat(dir, ".git", flags, Mode::empty()) {
            Ok(git) => git,
            Err(Errno::NOENT) => return Ok(GitState::Absent),
            // A file or a link: a work tree or submodule, whose index is elsewhere.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(GitState::Quiet),
            Err(e) => return Err(e),
        };
        match stat_of(&git, "index.lock") {
            Ok(_) => Ok(GitState::AtWork),
            Err(Errno::NOENT) => Ok(GitState::Quiet),
            Err(e) => Err(e),
        }
    }

    fn root_alive(&self) -> Result<(), DiskError> {
        self.beneath.alive()
    }

    fn now_ns(&self) -> i128 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
    }

    fn watch(&self) -> Result<Box<dyn Watch>, DiskError> {
        let events = self.probe().events;
        let (watch, names) = watch::start(self.beneath.clone(), &self.options, events)?;
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|names| names.strong_count() > 0);
        watches.push(std::sync::Arc::downgrade(&names));
        Ok(Box::new(watch))
    }

    fn probe(&self) -> Probe {
        self.probed.get_or_init(|| probe::probe(&self.beneath)).clone()
    }

    fn announce(&self, temporary: &str, path: &RelPath, purpose: Purpose) {
        for names in self.watches.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(names) = names.upgrade() {
                names.announce(temporary, path, purpose);
            }
        }
    }

    fn step(&self, step: Step, path: &RelPath) {
        #[cfg(any(test, feature = "conformance"))]
        {
            // Cloned out: the hook may call back into the folder.
            let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(hook) = hook {
                hook(step, path);
            }
        }
        #[cfg(not(any(test, feature = "conformance")))]
        let _ = (step, path);
    }
}

/// A descriptor's path under `/proc`, by which calls that know only paths reach it without a walk.
pub(crate) fn by_descriptor(fd: impl AsFd) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}
