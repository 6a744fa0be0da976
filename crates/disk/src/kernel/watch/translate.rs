//! From events to hints: paths for descriptors, halves of renames joined, our own saves told apart.

use super::own::OwnNames;
use super::poll::{Snapshot, differences};
use super::raw::{Raw, RawQueue};
use super::tree::{Place, Tree, Unwatched};
use crate::medium::Purpose;
use crate::queue::HintQueue;
use crate::{FileKind, Hint, PathError, RelPath, What, is_temporary_name};
use rustix::fs::inotify::ReadFlags;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many of our own temporaries are remembered after their exchange.
const MOST_OWN: usize = 4096;
/// Both halves of a rename are queued by one call of the kernel; the second is never far.
const NEAR: usize = 256;
const HALF_WAIT: Duration = Duration::from_millis(20);

/// What is known about one of our temporaries.
struct Own {
    target: RelPath,
    purpose: Purpose,
    exchanged: bool,
}

/// Turns raw events into hints; runs on its own thread.
pub(crate) struct Translator {
    tree: Tree,
    raw: Arc<RawQueue>,
    hints: Arc<HintQueue>,
    names: Arc<OwnNames>,
    poll: Duration,
    events: VecDeque<Raw>,
    polled: BTreeMap<Option<RelPath>, Snapshot>,
    own: HashMap<String, Own>,
    own_order: VecDeque<String>,
    /// Per target: the temporary that is about to be exchanged with it, and what was seen of the target
    /// since. Our own look at the target shows there as one opening and is not to be taken for a reader.
    windows: HashMap<RelPath, (String, Vec<What>)>,
    from_temporary: HashMap<u32, String>,
    moved_from: HashMap<u32, RelPath>,
    gone: bool,
}

impl Translator {
    pub(crate) fn new(
        tree: Tree,
        raw: Arc<RawQueue>,
        hints: Arc<HintQueue>,
        names: Arc<OwnNames>,
        poll: Duration,
    ) -> Self {
        Self {
            tree,
            raw,
            hints,
            names,
            poll,
            events: VecDeque::new(),
            polled: BTreeMap::new(),
            own: HashMap::new(),
            own_order: VecDeque::new(),
            windows: HashMap::new(),
            from_temporary: HashMap::new(),
            moved_from: HashMap::new(),
            gone: false,
        }
    }

    /// Adds all watches there are to add.
    pub(crate) fn begin(&mut self) {
        self.add_tree(None, false);
    }

    pub(crate) fn run(mut self) {
        let mut next_look = Instant::now() + self.poll;
        while !self.gone && self.raw.take(&mut self.events, next_look) {
            while let Some(raw) = self.events.pop_front() {
                self.understand(raw);
                if self.gone {
                    break;
                }
            }
            if Instant::now() >= next_look {
                self.look_again();
                next_look = Instant::now() + self.poll;
            }
            // One wake-up for all that one save is.
            self.hints.tell();
        }
        if self.gone {
            self.hints.add(Hint::everywhere(What::RootGone));
        }
        self.hints.end();
    }

    fn say(&self, path: &RelPath, what: What) {
        self.hints.add(Hint::at(path.clone(), what));
    }

    fn add_tree(&mut self, dir: Option<&RelPath>, announce: bool) {
        let mut pending = vec![dir.cloned()];
        while let Some(dir) = pending.pop() {
            if self.raw.stopped() {
                return;
            }
            // First the watch, then the look: what appears in between is seen by both, never by none.
            match self.tree.add(dir.as_ref()) {
                Ok(()) => {}
                Err(Unwatched::Gone) => continue,
                Err(Unwatched::Poll { limit }) => {
                    if limit {
                        let what = What::LimitReached { hint: super::WATCHES.into() };
                        self.hints.add(Hint { path: dir.clone(), what });
                    }
                    let snapshot: Snapshot = self.tree.walk(dir.as_ref()).into_iter().collect();
                    if announce {
                        differences(&Snapshot::new(), &snapshot).into_iter().for_each(|h| self.hints.add(h));
                    }
                    self.polled.insert(dir, snapshot);
                    continue;
                }
            }
            let Ok((entries, git)) = self.tree.look(dir.as_ref()) else { continue };
            if git {
                self.tree.add_git(dir.as_ref());
            }
            for (path, stat) in entries {
                let is_dir = stat.kind == FileKind::Directory;
                if announce {
                    self.say(&path, What::Created { dir: is_dir });
                    if !is_dir {
                        self.say(&path, What::ClosedWrite);
                    }
                }
                if is_dir {
                    pending.push(Some(path));
                }
            }
            self.hints.tell();
        }
    }

    fn look_again(&mut self) {
        // A removed root whose descriptor we hold gives no event of its own.
        if !self.tree.root_alive() {
            self.gone = true;
            return;
        }
        for dir in self.polled.keys().cloned().collect::<Vec<_>>() {
            if self.tree.add(dir.as_ref()).is_ok() {
                // The limit was raised.
                self.polled.remove(&dir);
                self.add_tree(dir.as_ref(), false);
                self.hints.add(Hint { path: dir, what: What::Rescan });
                continue;
            }
            let now: Snapshot = self.tree.walk(dir.as_ref()).into_iter().collect();
            if let Some(before) = self.polled.insert(dir, now.clone()) {
                differences(&before, &now).into_iter().for_each(|hint| self.hints.add(hint));
            }
        }
    }

    fn understand(&mut self, raw: Raw) {
        if raw.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            return self.start_over();
        }
        if raw.flags.contains(ReadFlags::IGNORED) {
            if self.tree.ended(raw.wd) == Some(Place::Dir(None)) {
                self.gone = true;
            }
            return;
        }
        match self.tree.place(raw.wd).cloned() {
            None => {}
            Some(Place::Git(dir)) => {
                let telling = matches!(raw.name.as_deref(), Some("HEAD" | "index.lock"));
                if telling || raw.flags.contains(ReadFlags::DELETE_SELF) {
                    self.hints.add(Hint { path: dir, what: What::GitActivity });
                }
            }
            Some(Place::Dir(dir)) => match &raw.name {
                None => {
                    let lost = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT;
                    if dir.is_none() && raw.flags.intersects(lost) {
                        self.gone = true;
                    } else if raw.flags.contains(ReadFlags::UNMOUNT) {
                        self.hints.add(Hint { path: dir, what: What::Rescan });
                    }
                }
                Some(name) => match RelPath::beneath(dir.as_ref(), name) {
                    Ok(path) if is_temporary_name(name) => self.of_temporary(&path, &raw),
                    Ok(path) => self.of_path(path, &raw),
                    Err(PathError::Git(_)) => self.of_git(dir, &raw),
                    Err(_) => {}
                },
            },
        }
    }

    /// The kernel dropped events, perhaps those of new directories: find all directories again.
    fn start_over(&mut self) {
        self.names.clear();
        self.own.clear();
        self.own_order.clear();
        self.windows.clear();
        self.from_temporary.clear();
        self.moved_from.clear();
        self.polled.clear();
        let old = self.tree.reset();
        self.add_tree(None, false);
        self.tree.end_unlabelled(old);
        self.hints.add(Hint::everywhere(What::Rescan));
    }

    fn of_git(&mut self, dir: Option<RelPath>, raw: &Raw) {
        let came = raw.flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
        let went = raw.flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM);
        if came && raw.flags.contains(ReadFlags::ISDIR) {
            self.tree.add_git(dir.as_ref());
        }
        if came || went {
            self.hints.add(Hint { path: dir, what: What::GitActivity });
        }
    }

    /// The event of the other half of a rename, if it is in the folder.
    fn other_half(&mut self, cookie: u32) -> Option<Raw> {
        let deadline = Instant::now() + HALF_WAIT;
        loop {
            let to = |raw: &&Raw| raw.cookie == cookie && raw.flags.contains(ReadFlags::MOVED_TO);
            if let Some(found) = self.events.iter().take(NEAR).find(to) {
                return Some(found.clone());
            }
            if self.events.len() >= 16 || Instant::now() >= deadline {
                return None;
            }
            self.hints.tell();
            let before = self.events.len();
            if !self.raw.take(&mut self.events, deadline) || self.events.len() == before {
                return None;
            }
        }
    }

    fn path_of(&self, raw: &Raw) -> Option<RelPath> {
        match self.tree.place(raw.wd)? {
            Place::Dir(dir) => RelPath::beneath(dir.as_ref(), raw.name.as_deref()?).ok(),
            Place::Git(_) => None,
        }
    }

    /// What is known about a temporary, asked from the saves when it is first seen.
    fn known(&mut self, name: &str) -> Option<&mut Own> {
        if !self.own.contains_key(name)
            && let Some((target, purpose)) = self.names.claim(name)
        {
            self.own.insert(name.to_owned(), Own { target, purpose, exchanged: false });
            self.own_order.push_back(name.to_owned());
            if self.own_order.len() > MOST_OWN
                && let Some(oldest) = self.own_order.pop_front()
            {
                self.own.remove(&oldest);
            }
        }
        self.own.get_mut(name)
    }

    fn of_temporary(&mut self, path: &RelPath, raw: &Raw) {
        let name = path.file_name();
        if raw.flags.contains(ReadFlags::CLOSE_WRITE) {
            // Written and synced; our next act is to open the target and exchange.
            if let Some(own) = self.known(name)
                && own.purpose == Purpose::Save
                && !own.exchanged
            {
                let target = own.target.clone();
                self.windows.insert(target, (name.to_owned(), Vec::new()));
            }
        } else if raw.flags.contains(ReadFlags::MOVED_FROM) {
            if self.other_half(raw.cookie).is_some() {
                self.from_temporary.insert(raw.cookie, name.to_owned());
            } else {
                // To `.syncline/displaced`.
                self.own.remove(name);
            }
        } else if raw.flags.contains(ReadFlags::MOVED_TO) {
            let Some(from) = self.moved_from.remove(&raw.cookie) else { return };
            if !self.known(name).is_some_and(|own| own.exchanged) {
                self.say(&from, What::Removed { dir: raw.flags.contains(ReadFlags::ISDIR) });
            }
        } else if raw.flags.contains(ReadFlags::DELETE)
            && let Some(own) = self.own.remove(name)
        {
            self.close_window(&own.target, &[What::Opened, What::ClosedNoWrite]);
        }
    }

    /// Ends the time in which an opening of the target may be our own. If what was seen is more than
    /// ours, all of it is told: rather one reader too many than one too few.
    fn close_window(&mut self, target: &RelPath, ours: &[What]) {
        if let Some((_, held)) = self.windows.remove(target)
            && !ours.starts_with(&held)
        {
            held.into_iter().for_each(|what| self.say(target, what));
        }
    }

    fn of_path(&mut self, path: RelPath, raw: &Raw) {
        let flags = raw.flags;
        let dir = flags.contains(ReadFlags::ISDIR);
        if flags.contains(ReadFlags::MOVED_FROM) {
            return self.of_moved_from(path, raw.cookie, dir);
        }
        if flags.contains(ReadFlags::MOVED_TO) {
            return self.of_moved_to(path, raw.cookie, dir);
        }
        let what = if flags.contains(ReadFlags::CREATE) {
            What::Created { dir }
        } else if flags.contains(ReadFlags::DELETE) {
            What::Removed { dir }
        } else if flags.contains(ReadFlags::ATTRIB) {
            What::Metadata
        } else if dir {
            return;
        } else if flags.contains(ReadFlags::OPEN) {
            What::Opened
        } else if flags.contains(ReadFlags::ACCESS) {
            What::Accessed
        } else if flags.contains(ReadFlags::MODIFY) {
            What::Modified
        } else if flags.contains(ReadFlags::CLOSE_WRITE) {
            What::ClosedWrite
        } else if flags.contains(ReadFlags::CLOSE_NOWRITE) {
            What::ClosedNoWrite
        } else {
            return;
        };
        if matches!(what, What::Opened | What::ClosedNoWrite) {
            if let Some((_, held)) = self.windows.get_mut(&path) {
                return held.push(what);
            }
        } else {
            self.close_window(&path, &[]);
        }
        let made = what == What::Created { dir: true };
        let removed = what == What::Removed { dir: true };
        self.say(&path, what);
        if made {
            self.add_tree(Some(&path), true);
        } else if removed {
            self.polled.retain(|polled, _| polled.as_ref() != Some(&path));
        }
    }

    fn of_moved_from(&mut self, path: RelPath, cookie: u32, dir: bool) {
        let to = self.other_half(cookie);
        let to_temporary = to.as_ref().and_then(|raw| raw.name.as_deref()).is_some_and(is_temporary_name);
        if to_temporary {
            // The old version leaves by our exchange, or by our removal: told by the other half.
            self.moved_from.insert(cookie, path);
            return;
        }
        self.close_window(&path, &[]);
        self.say(&path, What::MovedFrom { cookie, dir });
        match to.as_ref().and_then(|raw| self.path_of(raw)) {
            Some(_) => {
                self.moved_from.insert(cookie, path);
            }
            None if dir => {
                self.tree.left(&path);
                self.polled.retain(|p, _| !p.as_ref().is_some_and(|p| *p == path || p.is_below(&path)));
            }
            None => {}
        }
    }

    fn of_moved_to(&mut self, path: RelPath, cookie: u32, dir: bool) {
        if let Some(temporary) = self.from_temporary.remove(&cookie) {
            let removal = match self.known(&temporary) {
                Some(own) if own.purpose == Purpose::Remove => true,
                Some(own) => {
                    own.exchanged = true;
                    false
                }
                None => false,
            };
            self.close_window(&path, &[What::Opened]);
            if removal {
                // A removal that found something else and put it back.
                self.say(&path, What::Created { dir });
                self.say(&path, What::ClosedWrite);
            } else {
                self.say(&path, What::Exchanged { temporary });
            }
            return;
        }
        self.close_window(&path, &[]);
        let from = self.moved_from.remove(&cookie);
        self.say(&path, What::MovedTo { cookie, dir });
        if !dir {
            return;
        }
        match from {
            Some(from) => {
                self.tree.moved(&from, &path);
                self.repoll(&from, &path);
                if !self.tree.is_watched(Some(&path)) && !self.polled.contains_key(&Some(path.clone())) {
                    self.add_tree(Some(&path), true);
                }
            }
            None => self.add_tree(Some(&path), true),
        }
    }

    /// Polled directories below a renamed one are polled under their new names.
    fn repoll(&mut self, from: &RelPath, to: &RelPath) {
        let moved: Vec<RelPath> =
            self.polled.keys().flatten().filter(|p| *p == from || p.is_below(from)).cloned().collect();
        for path in moved {
            self.polled.remove(&Some(path.clone()));
            let suffix = path.as_str().get(from.as_str().len()..).unwrap_or("");
            if let Ok(path) = RelPath::parse(&format!("{to}{suffix}")) {
                let snapshot = self.tree.walk(Some(&path)).into_iter().collect();
                self.polled.insert(Some(path), snapshot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::beneath::Beneath;
    use rustix::fs::inotify;

    #[test]
    fn files_6_after_an_overflow_every_directory_is_watched_and_a_rescan_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let beneath = Arc::new(Beneath::open(dir.path().to_owned(), crate::STATE_DIR.into()).unwrap());
        let fd = Arc::new(inotify::init(inotify::CreateFlags::NONBLOCK).unwrap());
        let tree = Tree::new(beneath, fd, &crate::RealOptions::default(), true);
        let (raw, hints) = (Arc::new(RawQueue::default()), Arc::new(HintQueue::default()));
        let mut translator =
            Translator::new(tree, raw, hints.clone(), Arc::default(), Duration::from_secs(1));
        std::fs::create_dir(dir.path().join("old")).unwrap();
        translator.begin();
        // Nobody drains here: the event of the new directory counts as lost.
        std::fs::create_dir_all(dir.path().join("new/below")).unwrap();
        std::fs::remove_dir(dir.path().join("old")).unwrap();
        let overflow = Raw { wd: -1, flags: ReadFlags::QUEUE_OVERFLOW, cookie: 0, name: None };
        translator.understand(overflow);
        for (path, watched) in [("new", true), ("new/below", true), ("old", false)] {
            assert_eq!(translator.tree.is_watched(RelPath::parse(path).ok().as_ref()), watched, "{path}");
        }
        assert_eq!(hints.take(Duration::ZERO).unwrap(), [Hint::everywhere(What::Rescan)]);
    }
}
