//! Opening directories below the root, whatever links are swapped meanwhile.

use crate::{DiskError, FileStat, RelPath};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The root's descriptor, and where it was found.
pub(crate) struct Beneath {
    root: OwnedFd,
    path: PathBuf,
    /// See [`super::RealOptions::state`].
    state: PathBuf,
    stat: FileStat,
    has_openat2: AtomicBool,
}

impl Beneath {
    pub(crate) fn open(path: PathBuf, state: PathBuf) -> Result<Self, DiskError> {
        let gone = |e: Errno| DiskError::RootGone { root: path.display().to_string(), source: e.into() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&path, flags, Mode::empty()).map_err(gone)?;
        let stat = super::metadata::stat_of_fd(&root).map_err(gone)?;
        Ok(Self { root, path, state, stat, has_openat2: AtomicBool::new(true) })
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    #[cfg(any(test, feature = "conformance"))]
    pub(crate) fn forget_openat2(&self) {
        self.has_openat2.store(false, Ordering::SeqCst);
    }

    /// Whether the root is still what its path leads to: a removed, moved or unmounted root must not
    /// look like a folder from which everything was deleted.
    pub(crate) fn alive(&self) -> Result<(), DiskError> {
        let gone =
            |e: Errno| Err(DiskError::RootGone { root: self.path.display().to_string(), source: e.into() });
        match rustix::fs::statx(
            rustix::fs::CWD,
            &self.path,
            rustix::fs::AtFlags::NO_AUTOMOUNT,
            rustix::fs::StatxFlags::INO,
        ) {
            Ok(now) => {
                let device = rustix::fs::makedev(now.stx_dev_major, now.stx_dev_minor);
                if now.stx_ino == self.stat.inode && device == self.stat.device {
                    Ok(())
                } else {
                    gone(Errno::STALE)
                }
            }
            Err(e) => gone(e),
        }
    }

    /// Opens a directory. `ELOOP` or `ENOTDIR` if any part is a link or no directory.
    pub(crate) fn open_dir(&self, dir: Option<&RelPath>, access: OFlags) -> Result<OwnedFd, Errno> {
        let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Some(dir) = dir else {
            return rustix::fs::openat(&self.root, ".", flags, Mode::empty());
        };
        if self.has_openat2.load(Ordering::Relaxed) {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(&self.root, dir.as_str(), flags, Mode::empty(), resolve) {
                // EPERM: some container runtimes refuse system calls they do not know in this way.
                Err(Errno::NOSYS | Errno::PERM) => self.has_openat2.store(false, Ordering::Relaxed),
                answer => return answer,
            }
        }
        self.open_by_parts(dir.parts(), flags)
    }

    /// One part at a time: a link in place of any part is refused by the kernel at that part.
    fn open_by_parts<'p>(
        &self,
        parts: impl Iterator<Item = &'p str>,
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        let walk = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut parts = parts.peekable();
        let mut current: Option<OwnedFd> = None;
        while let Some(part) = parts.next() {
            let how = if parts.peek().is_some() { walk } else { flags };
            let from = current.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            current = Some(rustix::fs::openat(from, part, how, Mode::empty())?);
        }
        current.ok_or(Errno::NOENT)
    }

    /// Where a directory of our own is, from the root, for what people are told.
    pub(crate) fn state_path(&self, name: &str) -> String {
        self.state.join(name).display().to_string()
    }

    /// Opens a directory inside that of our own state, making both if asked.
    pub(crate) fn state_dir(&self, name: &str, create: bool) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |from: BorrowedFd<'_>, name: &Path| {
            match rustix::fs::openat(from, name, flags, Mode::empty()) {
                Err(Errno::NOENT) if create => {}
                answer => return answer,
            }
            match rustix::fs::mkdirat(from, name, Mode::from_raw_mode(0o700)) {
                Ok(()) => rustix::fs::fsync(from)?,
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e),
            }
            rustix::fs::openat(from, name, flags, Mode::empty())
        };
        let mut current: Option<OwnedFd> = None;
        for part in self.state.iter().chain([OsStr::new(name)]) {
            let from = current.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            current = Some(open(from, Path::new(part))?);
        }
        current.ok_or(Errno::NOENT)
    }
}

/// All names in a directory but `.` and `..`.
pub(crate) fn names(dir: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}
