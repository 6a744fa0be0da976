//! The operations of a file system, in memory, with the faults a test asks for.

use super::disk::{Node, ROOT};
use super::{Memory, MemoryDir, MemoryFile, MemoryLease, State};
use crate::medium::{Medium, Purpose, Step};
use crate::{
    DiskError, FileKind, FileStat, GitState, Probe, RelPath, STATE_DIR, Watch, What, is_temporary_name,
};
use rustix::io::Errno;

impl State {
    pub(super) fn child(&self, dir: u64, name: &str) -> Result<u64, Errno> {
        self.disk.lookup(dir, name).ok_or(Errno::NOENT)
    }

    pub(super) fn node(&self, inode: u64) -> Result<&Node, Errno> {
        self.disk.nodes.get(&inode).ok_or(Errno::STALE)
    }

    pub(super) fn node_mut(&mut self, inode: u64) -> Result<&mut Node, Errno> {
        self.disk.nodes.get_mut(&inode).ok_or(Errno::STALE)
    }

    pub(super) fn resolve(&self, dir: Option<&RelPath>) -> Result<u64, Errno> {
        let mut at = ROOT;
        for part in dir.iter().flat_map(|dir| dir.parts()) {
            at = self.child(at, part)?;
            match self.node(at)?.stat.kind {
                FileKind::Directory => {}
                FileKind::Link => return Err(Errno::LOOP),
                _ => return Err(Errno::NOTDIR),
            }
        }
        Ok(at)
    }

    /// Says what happened to an open file, if its name still is what it was opened by: a displaced file
    /// is out of every watch's sight.
    pub(super) fn say_of(&mut self, path: &RelPath, inode: u64, what: What) {
        let at = self.resolve(path.parent().as_ref()).and_then(|dir| self.child(dir, path.file_name()));
        if at == Ok(inode) {
            self.hints.say(path, what);
        }
    }

    pub(super) fn change_bytes(
        &mut self,
        inode: u64,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Errno> {
        let now = self.disk.now();
        let full = self.knobs.full;
        let node = self.node_mut(inode)?;
        let mut bytes = node.bytes.clone();
        change(&mut bytes);
        if full && bytes.len() > node.bytes.len() {
            return Err(Errno::NOSPC);
        }
        node.bytes = bytes;
        node.stat.len = node.bytes.len() as u64;
        (node.stat.mtime_ns, node.stat.ctime_ns) = (now, now);
        Ok(())
    }
}

pub(super) fn write_into(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

impl Memory {
    fn path_in(dir: &MemoryDir, name: &str) -> Option<RelPath> {
        if dir.hidden { None } else { RelPath::beneath(dir.path.as_ref(), name).ok() }
    }

    fn open(&self, dir: &MemoryDir, name: &str, write: bool, append: bool) -> Result<MemoryFile, Errno> {
        let mut state = self.enter_dir(dir)?;
        let inode = state.child(dir.inode, name)?;
        let node = state.node(inode)?;
        match node.stat.kind {
            FileKind::File => {}
            FileKind::Link => return Err(Errno::LOOP),
            _ => return Err(Errno::NXIO),
        }
        let wanted = if write { 0o200 } else { 0o400 };
        if node.stat.mode & wanted == 0 {
            return Err(Errno::ACCESS);
        }
        let path = Self::path_in(dir, name);
        let silent = path.as_ref().is_none_or(|path| state.windows.contains_key(path));
        let node = state.node_mut(inode)?;
        node.opens += 1;
        if write {
            node.writers += 1;
            node.write_opens += 1;
        }
        let path = if silent { None } else { path };
        if let Some(path) = &path {
            state.hints.say(path, What::Opened);
        }
        Ok(MemoryFile { inode, path, write, append, epoch: state.epoch, shared: self.shared.clone() })
    }

    fn enter_file(&self, file: &MemoryFile) -> Result<std::sync::MutexGuard<'_, State>, Errno> {
        let state = self.enter()?;
        if file.epoch == state.epoch { Ok(state) } else { Err(Errno::STALE) }
    }

    fn enter_dir(&self, dir: &MemoryDir) -> Result<std::sync::MutexGuard<'_, State>, Errno> {
        let state = self.enter()?;
        if dir.epoch == state.epoch { Ok(state) } else { Err(Errno::STALE) }
    }

    fn fsync(state: &mut State) -> Result<(), Errno> {
        if state.knobs.failing_fsyncs > 0 {
            state.knobs.failing_fsyncs -= 1;
            return Err(Errno::IO);
        }
        Ok(())
    }

    /// What a watch says about a rename of ours or of the file session's.
    fn say_moved(state: &mut State, from: Option<RelPath>, to: Option<RelPath>, dir: bool) {
        let temporary =
            |path: &Option<RelPath>| path.as_ref().filter(|p| is_temporary_name(p.file_name())).cloned();
        match (temporary(&from), temporary(&to)) {
            (Some(tmp), None) => {
                let Some(to) = to else { return };
                state.windows.remove(&to);
                if state.removals.remove(tmp.file_name()) {
                    state.hints.say(&to, What::Created { dir });
                    state.hints.say(&to, What::ClosedWrite);
                } else {
                    state.hints.say(&to, What::Exchanged { temporary: tmp.file_name().to_owned() });
                }
            }
            (None, Some(_)) => {
                if let Some(from) = from {
                    state.hints.say(&from, What::Removed { dir });
                }
            }
            (Some(_), Some(_)) => {}
            (None, None) => {
                state.cookie += 1;
                let cookie = state.cookie;
                if let Some(from) = from {
                    state.hints.say(&from, What::MovedFrom { cookie, dir });
                }
                if let Some(to) = to {
                    state.hints.say(&to, What::MovedTo { cookie, dir });
                }
            }
        }
    }

    fn moved(
        &self,
        from: &MemoryDir,
        name: &str,
        to: &MemoryDir,
        new: &str,
        replace: bool,
    ) -> Result<(), Errno> {
        let mut state = self.enter_dir(from)?;
        let inode = state.child(from.inode, name)?;
        if !replace && state.child(to.inode, new).is_ok() {
            return Err(Errno::EXIST);
        }
        let dir = state.node(inode)?.stat.kind == FileKind::Directory;
        state.disk.rename(vec![(from.inode, name.to_owned(), None), (to.inode, new.to_owned(), Some(inode))]);
        Self::say_moved(&mut state, Self::path_in(from, name), Self::path_in(to, new), dir);
        Ok(())
    }
}

impl Medium for Memory {
    type Dir = MemoryDir;
    type File = MemoryFile;
    type Lease<'f> = MemoryLease;

    fn open_dir(&self, dir: Option<&RelPath>) -> Result<MemoryDir, Errno> {
        let state = self.enter()?;
        let inode = state.resolve(dir)?;
        Ok(MemoryDir { inode, path: dir.cloned(), hidden: false, epoch: state.epoch })
    }

    fn state_path(&self, name: &str) -> String {
        format!("{STATE_DIR}/{name}")
    }

    fn state_dir(&self, name: &str, create: bool) -> Result<MemoryDir, Errno> {
        let mut state = self.enter()?;
        let mut at = ROOT;
        for name in [STATE_DIR, name] {
            at = match state.disk.lookup(at, name) {
                Some(inode) => inode,
                None if create => {
                    let inode = state.disk.new_node(FileKind::Directory, 0o700, Vec::new());
                    state.disk.rename(vec![(at, name.to_owned(), Some(inode))]);
                    state.disk.sync_dir(at);
                    inode
                }
                None => return Err(Errno::NOENT),
            };
        }
        Ok(MemoryDir { inode: at, path: None, hidden: true, epoch: state.epoch })
    }

    fn make_dir(&self, dir: &MemoryDir, name: &str) -> Result<(), Errno> {
        let mut state = self.enter_dir(dir)?;
        if state.child(dir.inode, name).is_ok() {
            return Err(Errno::EXIST);
        }
        if state.knobs.full {
            return Err(Errno::NOSPC);
        }
        let inode = state.disk.new_node(FileKind::Directory, 0o755, Vec::new());
        state.disk.rename(vec![(dir.inode, name.to_owned(), Some(inode))]);
        if let Some(path) = Self::path_in(dir, name) {
            state.hints.say(&path, What::Created { dir: true });
        }
        Ok(())
    }

    fn remove_dir(&self, dir: &MemoryDir, name: &str) -> Result<(), Errno> {
        let mut state = self.enter_dir(dir)?;
        let inode = state.child(dir.inode, name)?;
        if state.node(inode)?.stat.kind != FileKind::Directory {
            return Err(Errno::NOTDIR);
        }
        if !state.disk.names_in(inode).is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        state.disk.rename(vec![(dir.inode, name.to_owned(), None)]);
        if let Some(path) = Self::path_in(dir, name) {
            state.hints.say(&path, What::Removed { dir: true });
        }
        Ok(())
    }

    fn names(&self, dir: &MemoryDir) -> Result<Vec<Vec<u8>>, Errno> {
        let state = self.enter_dir(dir)?;
        Ok(state.disk.names_in(dir.inode).into_iter().map(|(name, _)| name.into_bytes()).collect())
    }

    fn stat(&self, dir: &MemoryDir, name: &str) -> Result<FileStat, Errno> {
        let state = self.enter_dir(dir)?;
        Ok(state.node(state.child(dir.inode, name)?)?.stat)
    }

    fn open_read(&self, dir: &MemoryDir, name: &str) -> Result<MemoryFile, Errno> {
        self.open(dir, name, false, false)
    }

    fn open_write(&self, dir: &MemoryDir, name: &str, append: bool) -> Result<MemoryFile, Errno> {
        self.open(dir, name, true, append)
    }

    fn create(&self, dir: &MemoryDir, name: &str, mode: u32) -> Result<MemoryFile, Errno> {
        let mut state = self.enter_dir(dir)?;
        if state.child(dir.inode, name).is_ok() {
            return Err(Errno::EXIST);
        }
        if state.knobs.read_only {
            return Err(Errno::ROFS);
        }
        let inode = state.disk.new_node(FileKind::File, mode, Vec::new());
        state.disk.rename(vec![(dir.inode, name.to_owned(), Some(inode))]);
        let node = state.node_mut(inode)?;
        (node.opens, node.writers) = (1, 1);
        Ok(MemoryFile {
            inode,
            path: None,
            write: true,
            append: false,
            epoch: state.epoch,
            shared: self.shared.clone(),
        })
    }

    fn stat_file(&self, file: &MemoryFile) -> Result<FileStat, Errno> {
        Ok(self.enter_file(file)?.node(file.inode)?.stat)
    }

    fn read_file(&self, file: &MemoryFile, limit: u64) -> Result<Vec<u8>, Errno> {
        let mut state = self.enter_file(file)?;
        let bytes = state.node(file.inode)?.bytes.clone();
        if bytes.len() as u64 > limit {
            return Err(Errno::FBIG);
        }
        if let Some(path) = &file.path {
            state.say_of(path, file.inode, What::Accessed);
        }
        Ok(bytes)
    }

    fn read_at(&self, file: &MemoryFile, offset: u64, room: &mut [u8]) -> Result<usize, Errno> {
        let bytes = self.read_file(file, u64::MAX)?;
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        // Few at a time, so that tests see more than one part.
        let count = rest.len().min(room.len()).min(1 << 10);
        room.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Ok(count)
    }

    fn write_at(&self, file: &MemoryFile, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let mut state = self.enter_file(file)?;
        let offset = usize::try_from(offset).map_err(|_| Errno::FBIG)?;
        state.change_bytes(file.inode, |old| {
            let at = if file.append { old.len() } else { offset };
            write_into(old, at, bytes);
        })?;
        if let Some(path) = &file.path {
            state.say_of(path, file.inode, What::Modified);
        }
        Ok(())
    }

    fn set_len(&self, file: &MemoryFile, len: u64) -> Result<(), Errno> {
        let mut state = self.enter_file(file)?;
        let len = usize::try_from(len).map_err(|_| Errno::FBIG)?;
        state.change_bytes(file.inode, |bytes| bytes.resize(len, 0))?;
        if let Some(path) = &file.path {
            state.say_of(path, file.inode, What::Modified);
        }
        Ok(())
    }

    fn reserve(&self, file: &MemoryFile, len: u64) -> Result<(), Errno> {
        let state = self.enter_file(file)?;
        let grows = len > state.node(file.inode)?.stat.len;
        if state.knobs.full && grows { Err(Errno::NOSPC) } else { Ok(()) }
    }

    fn sync_file(&self, file: &MemoryFile) -> Result<(), Errno> {
        let mut state = self.enter_file(file)?;
        Self::fsync(&mut state)?;
        let node = state.node_mut(file.inode)?;
        node.durable.clone_from(&node.bytes);
        Ok(())
    }

    fn sync_dir(&self, dir: &MemoryDir) -> Result<(), Errno> {
        let mut state = self.enter_dir(dir)?;
        Self::fsync(&mut state)?;
        state.disk.sync_dir(dir.inode);
        Ok(())
    }

    fn sync_all(&self) -> Result<(), Errno> {
        let mut state = self.enter()?;
        Self::fsync(&mut state)?;
        state.disk.sync_all();
        Ok(())
    }

    fn lease<'f>(&'f self, file: &'f MemoryFile) -> Result<Option<MemoryLease>, Errno> {
        let state = self.enter_file(file)?;
        if state.knobs.no_leases {
            return Err(Errno::INVAL);
        }
        let node = state.node(file.inode)?;
        let lease = MemoryLease { inode: file.inode, write_opens: node.write_opens };
        Ok((node.writers == 0).then_some(lease))
    }

    fn broken(&self, lease: &MemoryLease) -> bool {
        match self.enter() {
            Ok(state) => !state.node(lease.inode).is_ok_and(|node| node.write_opens == lease.write_opens),
            Err(_) => true,
        }
    }

    fn exchange(&self, dir: &MemoryDir, one: &str, other: &str) -> Result<(), Errno> {
        let mut state = self.enter_dir(dir)?;
        if state.knobs.no_exchange {
            return Err(Errno::INVAL);
        }
        let (first, second) = (state.child(dir.inode, one)?, state.child(dir.inode, other)?);
        state.disk.rename(vec![
            (dir.inode, one.to_owned(), Some(second)),
            (dir.inode, other.to_owned(), Some(first)),
        ]);
        Self::say_moved(&mut state, Self::path_in(dir, one), Self::path_in(dir, other), false);
        Ok(())
    }

    fn rename_new(&self, from: &MemoryDir, name: &str, to: &MemoryDir, new: &str) -> Result<(), Errno> {
        self.moved(from, name, to, new, false)
    }

    fn rename_over(&self, from: &MemoryDir, name: &str, to: &MemoryDir, new: &str) -> Result<(), Errno> {
        self.moved(from, name, to, new, true)
    }

    fn link(&self, from: &MemoryDir, name: &str, to: &MemoryDir, new: &str) -> Result<(), Errno> {
        let mut state = self.enter_dir(from)?;
        let inode = state.child(from.inode, name)?;
        if state.child(to.inode, new).is_ok() {
            return Err(Errno::EXIST);
        }
        state.disk.rename(vec![(to.inode, new.to_owned(), Some(inode))]);
        Ok(())
    }

    fn unlink(&self, dir: &MemoryDir, name: &str) -> Result<(), Errno> {
        let mut state = self.enter_dir(dir)?;
        let inode = state.child(dir.inode, name)?;
        if state.node(inode)?.stat.kind == FileKind::Directory {
            return Err(Errno::ISDIR);
        }
        state.disk.rename(vec![(dir.inode, name.to_owned(), None)]);
        state.removals.remove(name);
        state.windows.retain(|_, temporary| temporary != name);
        if let Some(path) = Self::path_in(dir, name) {
            state.hints.say(&path, What::Removed { dir: false });
        }
        Ok(())
    }

    fn symlink(&self, target: &str, dir: &MemoryDir, name: &str) -> Result<(), Errno> {
        let mut state = self.enter_dir(dir)?;
        if state.child(dir.inode, name).is_ok() {
            return Err(Errno::EXIST);
        }
        let inode = state.disk.new_node(FileKind::Link, 0o777, target.as_bytes().to_vec());
        state.disk.rename(vec![(dir.inode, name.to_owned(), Some(inode))]);
        Ok(())
    }

    fn read_link(&self, dir: &MemoryDir, name: &str) -> Result<String, Errno> {
        let state = self.enter_dir(dir)?;
        let node = state.node(state.child(dir.inode, name)?)?;
        match node.stat.kind {
            FileKind::Link => Ok(String::from_utf8_lossy(&node.bytes).into_owned()),
            _ => Err(Errno::INVAL),
        }
    }

    fn copy_metadata(&self, dir: &MemoryDir, name: &str, to: &MemoryFile) -> Result<(), Errno> {
        let mut state = self.enter_dir(dir)?;
        let Ok(old) = state.child(dir.inode, name).and_then(|inode| state.node(inode).map(|node| node.stat))
        else {
            return Ok(());
        };
        let node = state.node_mut(to.inode)?;
        (node.stat.mode, node.stat.uid, node.stat.gid) = (old.mode & 0o1777, old.uid, old.gid);
        Ok(())
    }

    fn set_file_mode(&self, file: &MemoryFile, mode: u32) -> Result<(), Errno> {
        self.enter_file(file)?.node_mut(file.inode)?.stat.mode = mode;
        Ok(())
    }

    fn set_mode(&self, dir: &MemoryDir, name: &str, mode: u32) -> Result<(), Errno> {
        let mut state = self.enter_dir(dir)?;
        let inode = state.child(dir.inode, name)?;
        let now = state.disk.now();
        let node = state.node_mut(inode)?;
        (node.stat.mode, node.stat.ctime_ns) = (mode, now);
        if let Some(path) = Self::path_in(dir, name) {
            state.hints.say(&path, What::Metadata);
        }
        Ok(())
    }

    fn may_write(&self, dir: &MemoryDir, name: &str) -> Result<(), Errno> {
        let state = self.enter_dir(dir)?;
        if state.knobs.read_only {
            return Err(Errno::ROFS);
        }
        match state.child(dir.inode, name).and_then(|inode| state.node(inode)) {
            Ok(node) if node.stat.mode & 0o200 == 0 => Err(Errno::ACCESS),
            _ => Ok(()),
        }
    }

    fn git_state(&self, dir: &MemoryDir) -> Result<GitState, Errno> {
        let disk = self.enter_dir(dir)?;
        let Ok(git) = disk.child(dir.inode, ".git") else { return Ok(GitState::Absent) };
        Ok(if disk.child(git, "index.lock").is_ok() { GitState::AtWork } else { GitState::Quiet })
    }

    fn root_alive(&self) -> Result<(), DiskError> {
        let gone = |e: Errno| DiskError::RootGone { root: "in memory".into(), source: e.into() };
        let state = self.enter().map_err(gone)?;
        if state.knobs.root_gone { Err(gone(Errno::NOENT)) } else { Ok(()) }
    }

    fn now_ns(&self) -> i128 {
        self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner).disk.clock_ns()
    }

    fn watch(&self) -> Result<Box<dyn Watch>, DiskError> {
        self.root_alive()?;
        Ok(self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner).hints.watch())
    }

    fn probe(&self) -> Probe {
        let state = self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Probe {
            exchange: !state.knobs.no_exchange,
            leases: !state.knobs.no_leases,
            case_sensitive: !state.disk.folds,
            normalisation_sensitive: !state.disk.folds,
            xattrs: false,
            events: true,
            file_system: "memory".into(),
            boot: Some(state.epoch.to_be_bytes().to_vec()),
        }
    }

    fn announce(&self, temporary: &str, path: &RelPath, purpose: Purpose) {
        let mut state = self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match purpose {
            Purpose::Save => {
                state.windows.insert(path.clone(), temporary.to_owned());
            }
            Purpose::Remove => {
                state.removals.insert(temporary.to_owned());
            }
        }
    }

    fn step(&self, step: Step, path: &RelPath) {
        let hook = self.hook.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook(step, path);
        }
    }
}
