//! Stat, owner, mode and extended attributes.

use super::by_descriptor;
use crate::{FileKind, FileStat};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, StatxFlags, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

/// The stat of a name, without following a link.
pub(crate) fn stat_of(dir: impl AsFd, name: &str) -> Result<FileStat, Errno> {
    statx(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// The stat of an open file.
pub(crate) fn stat_of_fd(file: impl AsFd) -> Result<FileStat, Errno> {
    statx(file, "", AtFlags::EMPTY_PATH)
}

fn statx(fd: impl AsFd, name: &str, flags: AtFlags) -> Result<FileStat, Errno> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = rustix::fs::statx(fd, name, flags | AtFlags::NO_AUTOMOUNT, wanted)?;
    let ns =
        |time: rustix::fs::StatxTimestamp| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    let known = StatxFlags::from_bits_retain(stat.stx_mask);
    Ok(FileStat {
        kind: match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::Link,
            _ => FileKind::Other,
        },
        len: stat.stx_size,
        mtime_ns: ns(stat.stx_mtime),
        ctime_ns: ns(stat.stx_ctime),
        inode: stat.stx_ino,
        device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        birth_ns: known.contains(StatxFlags::BTIME).then(|| ns(stat.stx_btime)),
        mode: u32::from(stat.stx_mode) & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        links: stat.stx_nlink.into(),
    })
}

/// A descriptor that names an inode without opening it: no event, no permission needed, no link followed.
fn name_only(dir: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Sets the mode of a regular file. `chmod` by name would follow a link that was swapped in.
pub(crate) fn set_mode(dir: &OwnedFd, name: &str, mode: u32) -> Result<(), Errno> {
    let inode = name_only(dir, name)?;
    if stat_of_fd(&inode)?.kind != FileKind::File {
        return Err(Errno::NOENT);
    }
    match rustix::fs::chmod(by_descriptor(&inode), Mode::from_raw_mode(mode)) {
        Err(Errno::NOENT) => {
            // No /proc here.
            let file = super::open_regular(dir, name, OFlags::RDONLY)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))
        }
        answer => answer,
    }
}

/// Gives `to` the owner, group, mode and extended attributes (access control lists are among them) of
/// the file at `name`. What we are not permitted to give is left: the caller sees it in the new stat.
/// Set-id bits are not copied, as the kernel drops them when somebody writes.
pub(crate) fn copy(dir: &OwnedFd, name: &str, to: &File) -> Result<(), Errno> {
    let from = name_only(dir, name)?;
    let old = stat_of_fd(&from)?;
    if old.kind != FileKind::File {
        return Ok(());
    }
    let new = stat_of_fd(to)?;
    if new.uid != old.uid {
        tolerate(rustix::fs::fchown(to, Some(Uid::from_raw(old.uid)), None))?;
    }
    if new.gid != old.gid {
        tolerate(rustix::fs::fchown(to, None, Some(Gid::from_raw(old.gid))))?;
    }
    rustix::fs::fchmod(to, Mode::from_raw_mode(old.mode & 0o1777))?;
    copy_attributes(&from, to)
}

fn tolerate(answer: Result<(), Errno>) -> Result<(), Errno> {
    match answer {
        Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::INVAL | Errno::NODATA) => Ok(()),
        answer => answer,
    }
}

fn copy_attributes(from: &OwnedFd, to: &File) -> Result<(), Errno> {
    let path = by_descriptor(from);
    let wanted = match listed(|buffer| rustix::fs::listxattr(&path, buffer)) {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP | Errno::NOENT | Errno::PERM | Errno::ACCESS) => return Ok(()),
        Err(e) => return Err(e),
    };
    let inherited = listed(|buffer| rustix::fs::flistxattr(to, buffer)).unwrap_or_default();
    for name in wanted.iter().filter(|name| *name != "security.capability") {
        let value = match value_of(|buffer| rustix::fs::getxattr(&path, name.as_str(), buffer)) {
            Ok(value) => value,
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => continue,
            Err(e) => return Err(e),
        };
        tolerate(rustix::fs::fsetxattr(to, name.as_str(), &value, XattrFlags::empty()))?;
    }
    // The directory's default list was given to the temporary: the old file did without one.
    for name in inherited.difference(&wanted).filter(|name| name.starts_with("system.posix_acl")) {
        tolerate(rustix::fs::fremovexattr(to, name.as_str()))?;
    }
    Ok(())
}

fn listed(list: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<BTreeSet<String>, Errno> {
    let names = value_of(list)?;
    Ok(names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect())
}

/// Asks with a buffer that fits almost always, then with the largest that the kernel allows.
fn value_of(get: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    for size in [1024, 1 << 16] {
        let mut buffer = vec![0; size];
        match get(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                return Ok(buffer);
            }
            Err(Errno::RANGE) => {}
            Err(e) => return Err(e),
        }
    }
    Err(Errno::RANGE)
}
