//! What people and other programs do to a folder in memory.

use super::calls::write_into;
use super::disk::ROOT;
use super::{FakeFolder, State};
use crate::{FileKind, FileStat, RelPath, What};
use rustix::io::Errno;

/// A writer of another program: a file held open for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriterId(u64);

impl State {
    fn place(&self, path: &RelPath) -> Result<(u64, Option<u64>), Errno> {
        let dir = self.resolve(path.parent().as_ref())?;
        Ok((dir, self.disk.lookup(dir, path.file_name())))
    }

    fn make(&mut self, path: &RelPath, kind: FileKind, mode: u32, bytes: Vec<u8>) -> Result<u64, Errno> {
        let mut at = ROOT;
        let mut made = Vec::new();
        if let Some(parent) = path.parent() {
            for part in parent.parts() {
                made.push(part.to_owned());
                at = match self.disk.lookup(at, part) {
                    Some(inode) => inode,
                    None => {
                        let inode = self.disk.new_node(FileKind::Directory, 0o755, Vec::new());
                        self.disk.rename(vec![(at, part.to_owned(), Some(inode))]);
                        if let Ok(dir) = RelPath::parse(&made.join("/")) {
                            self.hints.say(&dir, What::Created { dir: true });
                        }
                        inode
                    }
                };
            }
        }
        let inode = self.disk.new_node(kind, mode, bytes);
        self.disk.rename(vec![(at, path.file_name().to_owned(), Some(inode))]);
        self.hints.say(path, What::Created { dir: kind == FileKind::Directory });
        Ok(inode)
    }

    fn open_writer(&mut self, path: &RelPath) -> Result<WriterId, Errno> {
        let inode = match self.place(path) {
            Ok((_, Some(inode))) => inode,
            Ok((_, None)) | Err(Errno::NOENT) => self.make(path, FileKind::File, 0o644, Vec::new())?,
            Err(e) => return Err(e),
        };
        let node = self.node_mut(inode)?;
        if node.stat.kind != FileKind::File {
            return Err(Errno::INVAL);
        }
        node.writers += 1;
        node.opens += 1;
        node.write_opens += 1;
        self.hints.say(path, What::Opened);
        self.next_writer += 1;
        self.writers.insert(self.next_writer, (inode, path.clone()));
        Ok(WriterId(self.next_writer))
    }

    /// The inode a writer has open, and the path to tell of it: a writer of a displaced file writes
    /// where nobody watches.
    fn writer(&self, id: WriterId) -> Result<(u64, Option<RelPath>), Errno> {
        let (inode, path) = self.writers.get(&id.0).cloned().ok_or(Errno::BADF)?;
        let here = self.place(&path).is_ok_and(|(_, found)| found == Some(inode));
        Ok((inode, here.then_some(path)))
    }

    fn write(&mut self, id: WriterId, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), Errno> {
        let (inode, path) = self.writer(id)?;
        self.change_bytes(inode, change)?;
        if let Some(path) = path {
            self.hints.say(&path, What::Modified);
        }
        Ok(())
    }

    fn close(&mut self, id: WriterId) -> Result<(), Errno> {
        let (inode, path) = self.writer(id)?;
        self.writers.remove(&id.0);
        let node = self.node_mut(inode)?;
        node.writers = node.writers.saturating_sub(1);
        node.opens = node.opens.saturating_sub(1);
        if let Some(path) = path {
            self.hints.say(&path, What::ClosedWrite);
        }
        Ok(())
    }

    fn shift(&mut self, from: &RelPath, to: &RelPath) -> Result<(), Errno> {
        let (from_dir, inode) = self.place(from)?;
        let inode = inode.ok_or(Errno::NOENT)?;
        let (to_dir, _) = self.place(to)?;
        let dir = self.node(inode)?.stat.kind == FileKind::Directory;
        self.disk.rename(vec![
            (from_dir, from.file_name().to_owned(), None),
            (to_dir, to.file_name().to_owned(), Some(inode)),
        ]);
        self.cookie += 1;
        let cookie = self.cookie;
        self.hints.say(from, What::MovedFrom { cookie, dir });
        self.hints.say(to, What::MovedTo { cookie, dir });
        Ok(())
    }
}

/// Acts of others. Each answers as the system call would: an error when there is no such file.
impl FakeFolder {
    /// `printf … > file`: truncated and written in place, made if absent (with its directories).
    pub fn foreign_write_in_place(&self, path: &RelPath, bytes: &[u8]) -> Result<(), Errno> {
        let mut state = self.state();
        let id = state.open_writer(path)?;
        state.write(id, |old| *old = bytes.to_vec())?;
        state.close(id)
    }

    /// A save by a temporary file and a rename, as most editors do. A new inode.
    pub fn foreign_save_by_rename(&self, path: &RelPath, bytes: &[u8]) -> Result<(), Errno> {
        let mut state = self.state();
        state.next_writer += 1;
        let name = format!(".goutputstream-{:06}", state.next_writer);
        let beside = RelPath::beneath(path.parent().as_ref(), &name).map_err(|_| Errno::INVAL)?;
        let id = state.open_writer(&beside)?;
        state.write(id, |old| *old = bytes.to_vec())?;
        state.close(id)?;
        state.shift(&beside, path)
    }

    /// The first half of a truncating save: the file is open and empty. Then `foreign_write` and `foreign_close`.
    pub fn foreign_truncate_then_write(&self, path: &RelPath) -> Result<WriterId, Errno> {
        let mut state = self.state();
        let id = state.open_writer(path)?;
        state.write(id, Vec::clear)?;
        Ok(id)
    }

    /// Opens a file for writing and keeps it open; made if absent.
    pub fn foreign_open_writer(&self, path: &RelPath) -> Result<WriterId, Errno> {
        self.state().open_writer(path)
    }

    /// Writes at an offset (bytes), wherever the file's name has gone meanwhile.
    pub fn foreign_write(&self, writer: WriterId, offset: usize, bytes: &[u8]) -> Result<(), Errno> {
        self.state().write(writer, |old| write_into(old, offset, bytes))
    }

    /// Appends.
    pub fn foreign_append(&self, writer: WriterId, bytes: &[u8]) -> Result<(), Errno> {
        self.state().write(writer, |old| old.extend_from_slice(bytes))
    }

    /// Closes.
    pub fn foreign_close(&self, writer: WriterId) -> Result<(), Errno> {
        self.state().close(writer)
    }

    /// Reads as a program does, with the hints of it.
    pub fn foreign_read(&self, path: &RelPath) -> Result<Vec<u8>, Errno> {
        let mut state = self.state();
        let (_, inode) = state.place(path)?;
        let bytes = state.node(inode.ok_or(Errno::NOENT)?)?.bytes.clone();
        for what in [What::Opened, What::Accessed, What::ClosedNoWrite] {
            state.hints.say(path, what);
        }
        Ok(bytes)
    }

    /// Removes a file or a link.
    pub fn foreign_remove(&self, path: &RelPath) -> Result<(), Errno> {
        let mut state = self.state();
        let (dir, inode) = state.place(path)?;
        inode.ok_or(Errno::NOENT)?;
        state.disk.rename(vec![(dir, path.file_name().to_owned(), None)]);
        state.hints.say(path, What::Removed { dir: false });
        Ok(())
    }

    /// Renames, replacing.
    pub fn foreign_rename(&self, from: &RelPath, to: &RelPath) -> Result<(), Errno> {
        self.state().shift(from, to)
    }

    /// Makes a symbolic link.
    pub fn foreign_link(&self, path: &RelPath, target: &str) -> Result<(), Errno> {
        self.state().make(path, FileKind::Link, 0o777, target.as_bytes().to_vec()).map(drop)
    }

    /// Gives a file a second name.
    pub fn foreign_hard_link(&self, path: &RelPath, second: &RelPath) -> Result<(), Errno> {
        let mut state = self.state();
        let inode = state.place(path)?.1.ok_or(Errno::NOENT)?;
        let (dir, _) = state.place(second)?;
        state.disk.rename(vec![(dir, second.file_name().to_owned(), Some(inode))]);
        state.hints.say(second, What::Created { dir: false });
        Ok(())
    }

    /// Makes a directory and its parents.
    pub fn foreign_make_dir(&self, path: &RelPath) -> Result<(), Errno> {
        self.state().make(path, FileKind::Directory, 0o755, Vec::new()).map(drop)
    }

    /// Makes a FIFO (a socket, a device: what is never opened).
    pub fn foreign_make_other(&self, path: &RelPath) -> Result<(), Errno> {
        self.state().make(path, FileKind::Other, 0o644, Vec::new()).map(drop)
    }

    /// Sets the permission bits.
    pub fn foreign_chmod(&self, path: &RelPath, mode: u32) -> Result<(), Errno> {
        let mut state = self.state();
        let inode = state.place(path)?.1.ok_or(Errno::NOENT)?;
        let now = state.disk.now();
        let node = state.node_mut(inode)?;
        (node.stat.mode, node.stat.ctime_ns) = (mode, now);
        state.hints.say(path, What::Metadata);
        Ok(())
    }

    /// The bytes at a path without any trace of a reader; `None` if there is no file.
    pub fn peek(&self, path: &RelPath) -> Option<Vec<u8>> {
        let state = self.state();
        let inode = state.place(path).ok()?.1?;
        state.node(inode).ok().filter(|node| node.stat.kind == FileKind::File).map(|node| node.bytes.clone())
    }

    /// The stat at a path without any trace.
    pub fn peek_stat(&self, path: &RelPath) -> Option<FileStat> {
        let state = self.state();
        let inode = state.place(path).ok()?.1?;
        state.node(inode).ok().map(|node| node.stat)
    }

    /// Every regular file (not in `.syncline`, and no temporaries) with its bytes, sorted, without any trace.
    pub fn peek_all(&self) -> Vec<(RelPath, Vec<u8>)> {
        let state = self.state();
        let mut found = Vec::new();
        let mut pending = vec![(None::<RelPath>, ROOT)];
        while let Some((dir, inode)) = pending.pop() {
            for (name, child) in state.disk.names_in(inode) {
                let Ok(path) = RelPath::beneath(dir.as_ref(), &name) else { continue };
                match state.node(child) {
                    Ok(node) if node.stat.kind == FileKind::Directory => pending.push((Some(path), child)),
                    Ok(node)
                        if node.stat.kind == FileKind::File
                            && !crate::is_temporary_name(path.file_name()) =>
                    {
                        found.push((path, node.bytes.clone()));
                    }
                    _ => {}
                }
            }
        }
        found.sort();
        found
    }
}
