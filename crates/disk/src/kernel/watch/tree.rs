//! Which directory each watch descriptor means, now.

use crate::kernel::beneath::{Beneath, names};
use crate::kernel::{RealOptions, by_descriptor, stat_of};
use crate::{FileKind, FileStat, RelPath, is_temporary_name};
use rustix::fs::OFlags;
use rustix::fs::inotify::{self, WatchFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What a watch descriptor is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// A directory of the folder; `None` is the root.
    Dir(Option<RelPath>),
    /// The `.git` of that directory.
    Git(Option<RelPath>),
}

impl Place {
    fn dir(&self) -> Option<&RelPath> {
        match self {
            Place::Dir(dir) | Place::Git(dir) => dir.as_ref(),
        }
    }
}

/// Why a directory has no watch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unwatched {
    /// The limit of watches, or no events on this mount: poll it.
    Poll { limit: bool },
    /// It is gone, or may not be read.
    Gone,
}

/// The watched directories.
pub(crate) struct Tree {
    beneath: Arc<Beneath>,
    inotify: Arc<OwnedFd>,
    most: usize,
    events: bool,
    /// Nothing else is of interest.
    only: Option<RelPath>,
    places: HashMap<i32, Place>,
    descriptors: HashMap<Place, i32>,
}

impl Tree {
    pub(crate) fn new(
        beneath: Arc<Beneath>,
        inotify: Arc<OwnedFd>,
        options: &RealOptions,
        events: bool,
    ) -> Self {
        let most = options.watches.unwrap_or(usize::MAX);
        let only = options.only.clone();
        Self { beneath, inotify, most, events, only, places: HashMap::new(), descriptors: HashMap::new() }
    }

    pub(crate) fn root_alive(&self) -> bool {
        self.beneath.alive().is_ok()
    }

    /// Starts to watch one directory (not what is below).
    pub(crate) fn add(&mut self, dir: Option<&RelPath>) -> Result<(), Unwatched> {
        if !self.events {
            return Err(Unwatched::Poll { limit: false });
        }
        if dir.is_some() && self.only.is_some() {
            return Err(Unwatched::Gone);
        }
        let place = Place::Dir(dir.cloned());
        if self.places.len() >= self.most && !self.descriptors.contains_key(&place) {
            return Err(Unwatched::Poll { limit: true });
        }
        let fd = self.beneath.open_dir(dir, OFlags::PATH).map_err(|_| Unwatched::Gone)?;
        let flags = WatchFlags::OPEN
            | WatchFlags::ACCESS
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        match inotify::add_watch(&*self.inotify, by_descriptor(&fd), flags) {
            Ok(wd) => {
                self.label(wd, place);
                Ok(())
            }
            Err(Errno::NOSPC | Errno::NOMEM) => Err(Unwatched::Poll { limit: true }),
            // No /proc, or not readable: looking at it may still work.
            Err(_) => Err(Unwatched::Poll { limit: false }),
        }
    }

    /// Watches the `.git` of a directory, if it is a directory, for nothing but activity.
    pub(crate) fn add_git(&mut self, dir: Option<&RelPath>) {
        if !self.events || self.places.len() >= self.most {
            return;
        }
        let Ok(fd) = self.beneath.open_dir(dir, OFlags::PATH) else { return };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(git) = rustix::fs::openat(&fd, ".git", flags, rustix::fs::Mode::empty()) else { return };
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::MODIFY
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR;
        if let Ok(wd) = inotify::add_watch(&*self.inotify, by_descriptor(&git), flags) {
            self.label(wd, Place::Git(dir.cloned()));
        }
    }

    fn label(&mut self, wd: i32, place: Place) {
        // A directory that was moved keeps its descriptor; the name it had may belong to another now.
        if let Some(old) = self.places.insert(wd, place.clone())
            && self.descriptors.get(&old) == Some(&wd)
        {
            self.descriptors.remove(&old);
        }
        self.descriptors.insert(place, wd);
    }

    pub(crate) fn place(&self, wd: i32) -> Option<&Place> {
        self.places.get(&wd)
    }

    pub(crate) fn is_watched(&self, dir: Option<&RelPath>) -> bool {
        self.descriptors.contains_key(&Place::Dir(dir.cloned()))
    }

    /// The kernel has ended this watch.
    pub(crate) fn ended(&mut self, wd: i32) -> Option<Place> {
        let place = self.places.remove(&wd)?;
        if self.descriptors.get(&place) == Some(&wd) {
            self.descriptors.remove(&place);
        }
        Some(place)
    }

    fn below(&self, dir: &RelPath) -> Vec<(i32, Place)> {
        let inside = |place: &Place| place.dir().is_some_and(|d| d == dir || d.is_below(dir));
        self.places.iter().filter(|(_, p)| inside(p)).map(|(wd, p)| (*wd, p.clone())).collect()
    }

    /// A directory was renamed inside the folder: its watches go with it.
    pub(crate) fn moved(&mut self, from: &RelPath, to: &RelPath) {
        for (wd, place) in self.below(from) {
            let suffix = place.dir().and_then(|dir| dir.as_str().get(from.as_str().len()..)).unwrap_or("");
            let Ok(path) = RelPath::parse(&format!("{to}{suffix}")) else { continue };
            self.label(
                wd,
                match place {
                    Place::Dir(_) => Place::Dir(Some(path)),
                    Place::Git(_) => Place::Git(Some(path)),
                },
            );
        }
    }

    /// A directory left the folder: nothing of it concerns us any more.
    pub(crate) fn left(&mut self, dir: &RelPath) {
        for (wd, _) in self.below(dir) {
            self.ended(wd);
            let _ = inotify::remove_watch(&*self.inotify, wd);
        }
    }

    /// Forgets all labels, to be found again by a walk; gives the descriptors there were.
    pub(crate) fn reset(&mut self) -> Vec<i32> {
        self.descriptors.clear();
        self.places.drain().map(|(wd, _)| wd).collect()
    }

    /// Ends those of `old` that the walk did not find again.
    pub(crate) fn end_unlabelled(&mut self, old: Vec<i32>) {
        for wd in old.into_iter().filter(|wd| !self.places.contains_key(wd)) {
            let _ = inotify::remove_watch(&*self.inotify, wd);
        }
    }

    /// What is of interest in a directory, our temporaries left out, and whether there is a `.git`.
    pub(crate) fn look(&self, dir: Option<&RelPath>) -> Result<(Vec<(RelPath, FileStat)>, bool), Errno> {
        let fd = self.beneath.open_dir(dir, OFlags::RDONLY)?;
        let mut entries = Vec::new();
        let mut git = false;
        for name in names(&fd)? {
            let Ok(name) = String::from_utf8(name) else { continue };
            if name == ".git" {
                git = true;
                continue;
            }
            let Ok(path) = RelPath::beneath(dir, &name) else { continue };
            if is_temporary_name(&name) || self.only.as_ref().is_some_and(|only| *only != path) {
                continue;
            }
            if let Ok(stat) = stat_of(&fd, &name) {
                entries.push((path, stat));
            }
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok((entries, git))
    }

    /// Everything below a directory; parts that vanish meanwhile are left out.
    pub(crate) fn walk(&self, dir: Option<&RelPath>) -> Vec<(RelPath, FileStat)> {
        let mut found = Vec::new();
        let mut pending = vec![dir.cloned()];
        while let Some(dir) = pending.pop() {
            let Ok((entries, _)) = self.look(dir.as_ref()) else { continue };
            for (path, stat) in entries {
                if stat.kind == FileKind::Directory {
                    pending.push(Some(path.clone()));
                }
                found.push((path, stat));
            }
        }
        found
    }
}
