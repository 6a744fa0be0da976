//! What this file system can do: tried inside `.syncline`, never guessed where it can be tried.

use super::beneath::Beneath;
use super::{by_descriptor, stat_of};
use crate::Probe;
use rustix::fs::inotify;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, XattrFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;

pub(crate) fn probe(beneath: &Beneath) -> Probe {
    let kind = rustix::fs::fstatfs(beneath.root()).map_or(0, |fs| fs.f_type as u64 & 0xffff_ffff);
    let (file_system, local) = named(kind);
    let tried = beneath.state_dir("probe", true).and_then(|dir| try_all(&dir));
    let tried = tried.unwrap_or(Tried {
        exchange: false,
        leases: false,
        case_sensitive: true,
        normalisation_sensitive: true,
        xattrs: false,
        events: true,
    });
    Probe {
        exchange: tried.exchange,
        leases: tried.leases,
        case_sensitive: tried.case_sensitive,
        normalisation_sensitive: tried.normalisation_sensitive,
        xattrs: tried.xattrs,
        // On a network mount our own changes give events and those of others do not: only the type tells.
        events: tried.events && local,
        file_system,
        boot: std::fs::read("/proc/sys/kernel/random/boot_id").ok(),
    }
}

struct Tried {
    exchange: bool,
    leases: bool,
    case_sensitive: bool,
    normalisation_sensitive: bool,
    xattrs: bool,
    events: bool,
}

const NAMES: [&str; 3] = ["lower", "other", "caf\u{e9}"];

fn try_all(dir: &OwnedFd) -> Result<Tried, Errno> {
    let clear = || {
        for name in NAMES {
            let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
        }
    };
    clear();
    let events = watch(dir);
    let create = |name| -> Result<File, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600))?))
    };
    let tried = (|| {
        let xattr = {
            let file = create(NAMES[0])?;
            rustix::fs::fsetxattr(&file, "user.syncline", b"1", XattrFlags::empty()).is_ok()
        };
        drop(create(NAMES[1])?);
        drop(create(NAMES[2])?);
        let reader = File::from(rustix::fs::openat(
            dir,
            NAMES[0],
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?);
        Ok(Tried {
            exchange: rustix::fs::renameat_with(dir, NAMES[0], dir, NAMES[1], RenameFlags::EXCHANGE).is_ok(),
            leases: syncline_lease::read_lease(&reader).is_ok_and(|lease| lease.is_some()),
            case_sensitive: stat_of(dir, "LOWER") == Err(Errno::NOENT),
            normalisation_sensitive: stat_of(dir, "cafe\u{301}") == Err(Errno::NOENT),
            xattrs: xattr,
            events: events.as_ref().is_none_or(saw_something),
        })
    })();
    clear();
    tried
}

/// A watch of one directory; `None` when the limits are reached, which says nothing about the mount.
fn watch(dir: &OwnedFd) -> Option<OwnedFd> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
    inotify::add_watch(&fd, by_descriptor(dir), inotify::WatchFlags::CREATE).ok()?;
    Some(fd)
}

fn saw_something(fd: &OwnedFd) -> bool {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    inotify::Reader::new(fd, &mut buffer).next().is_ok()
}

/// The name of a file system by its magic number, and whether all its changes pass through this kernel.
fn named(kind: u64) -> (String, bool) {
    let (name, local) = match kind {
        0xef53 => ("ext4", true),
        0x0102_1994 => ("tmpfs", true),
        0x5846_5342 => ("xfs", true),
        0x9123_683e => ("btrfs", true),
        0x2fc1_2fc1 => ("zfs", true),
        0xf2f5_2010 => ("f2fs", true),
        0xca45_1a4e => ("bcachefs", true),
        0x794c_7630 => ("overlayfs", true),
        0x4d44 => ("vfat", true),
        0x2011_bab0 => ("exfat", true),
        0x7366_746e => ("ntfs3", true),
        0x8584_58f6 => ("ramfs", true),
        0x6969 => ("nfs", false),
        0x6573_5546 => ("fuse", false),
        0x0102_1997 => ("9p", false),
        0xff53_4d42 => ("cifs", false),
        0xfe53_4d42 => ("smb2", false),
        0x517b => ("smb", false),
        0x00c3_6400 => ("ceph", false),
        0x5346_414f => ("afs", false),
        0x786f_4256 => ("vboxsf", false),
        0xbacb_acbc => ("vmhgfs", false),
        0x0bd0_0bd0 => ("lustre", false),
        0x6a65_6a63 => ("virtiofs", false),
        other => return (format!("{other:#x}"), true),
    };
    (name.to_owned(), local)
}
