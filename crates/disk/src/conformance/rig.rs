//! A folder under test, and the hands of others on it.

use crate::{FakeFolder, Folder, RealFolder, RealOptions, RelPath, Step};
use std::any::Any;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Something somebody else holds; dropping it lets go.
pub type Held = Box<dyn Any + Send>;

/// What a test does inside an operation.
pub type StepHook = Box<dyn Fn(Step, &RelPath) + Send + Sync>;

/// A folder and what others can do to it.
pub trait Rig: Send + Sync {
    fn folder(&self) -> &dyn Folder;
    /// Truncates and writes in place; makes what is missing.
    fn write(&self, path: &RelPath, bytes: &[u8]);
    fn save_by_rename(&self, path: &RelPath, bytes: &[u8]);
    /// Opens for writing, appends, and keeps it open.
    fn write_and_hold(&self, path: &RelPath, bytes: &[u8]) -> Held;
    fn read(&self, path: &RelPath) -> Vec<u8>;
    fn remove(&self, path: &RelPath);
    fn rename(&self, from: &RelPath, to: &RelPath);
    fn link(&self, path: &RelPath, target: &str);
    fn hard_link(&self, path: &RelPath, second: &RelPath);
    fn make_dir(&self, path: &RelPath);
    fn fifo(&self, path: &RelPath);
    fn chmod(&self, path: &RelPath, mode: u32);
    fn peek(&self, path: &RelPath) -> Option<Vec<u8>>;
    fn set_hook(&self, hook: StepHook);
    fn pretend(&self, leases: bool, exchange: bool);
}

/// A real folder in a temporary directory.
pub struct RealRig {
    dir: tempfile::TempDir,
    folder: RealFolder,
}

impl RealRig {
    pub fn new(options: RealOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = RealFolder::open(dir.path(), options).unwrap();
        Self { dir, folder }
    }

    pub fn real(&self) -> &RealFolder {
        &self.folder
    }

    pub fn at(&self, path: &RelPath) -> PathBuf {
        self.dir.path().join(path.as_str())
    }

    pub fn root(&self) -> &std::path::Path {
        self.dir.path()
    }

    fn parents(&self, path: &RelPath) -> PathBuf {
        let at = self.at(path);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        at
    }
}

impl Rig for RealRig {
    fn folder(&self) -> &dyn Folder {
        &self.folder
    }
    fn write(&self, path: &RelPath, bytes: &[u8]) {
        std::fs::write(self.parents(path), bytes).unwrap();
    }
    fn save_by_rename(&self, path: &RelPath, bytes: &[u8]) {
        let at = self.parents(path);
        let beside = at.with_file_name(".goutputstream-000001");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(beside, at).unwrap();
    }
    fn write_and_hold(&self, path: &RelPath, bytes: &[u8]) -> Held {
        let mut file = std::fs::OpenOptions::new().append(true).open(self.at(path)).unwrap();
        file.write_all(bytes).unwrap();
        Box::new(file)
    }
    fn read(&self, path: &RelPath) -> Vec<u8> {
        std::fs::read(self.at(path)).unwrap()
    }
    fn remove(&self, path: &RelPath) {
        std::fs::remove_file(self.at(path)).unwrap();
    }
    fn rename(&self, from: &RelPath, to: &RelPath) {
        std::fs::rename(self.at(from), self.at(to)).unwrap();
    }
    fn link(&self, path: &RelPath, target: &str) {
        std::os::unix::fs::symlink(target, self.parents(path)).unwrap();
    }
    fn hard_link(&self, path: &RelPath, second: &RelPath) {
        std::fs::hard_link(self.at(path), self.at(second)).unwrap();
    }
    fn make_dir(&self, path: &RelPath) {
        std::fs::create_dir_all(self.at(path)).unwrap();
    }
    fn fifo(&self, path: &RelPath) {
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, self.at(path), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }
    fn chmod(&self, path: &RelPath, mode: u32) {
        std::fs::set_permissions(self.at(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    fn peek(&self, path: &RelPath) -> Option<Vec<u8>> {
        std::fs::read(self.at(path)).ok()
    }
    fn set_hook(&self, hook: StepHook) {
        self.folder.set_hook(hook);
    }
    fn pretend(&self, leases: bool, exchange: bool) {
        self.folder.pretend(leases, exchange);
    }
}

/// A folder in memory.
pub struct FakeRig(pub FakeFolder);

impl Default for FakeRig {
    fn default() -> Self {
        Self(FakeFolder::new(Arc::new(AtomicU64::new(1_000_000_000_000))))
    }
}

struct FakeHeld(FakeFolder, crate::WriterId);

impl Drop for FakeHeld {
    fn drop(&mut self) {
        // After a power cut there is nothing to close.
        let _ = self.0.foreign_close(self.1);
    }
}

impl Rig for FakeRig {
    fn folder(&self) -> &dyn Folder {
        &self.0
    }
    fn write(&self, path: &RelPath, bytes: &[u8]) {
        self.0.foreign_write_in_place(path, bytes).unwrap();
    }
    fn save_by_rename(&self, path: &RelPath, bytes: &[u8]) {
        self.0.foreign_save_by_rename(path, bytes).unwrap();
    }
    fn write_and_hold(&self, path: &RelPath, bytes: &[u8]) -> Held {
        let writer = self.0.foreign_open_writer(path).unwrap();
        self.0.foreign_append(writer, bytes).unwrap();
        Box::new(FakeHeld(self.0.clone(), writer))
    }
    fn read(&self, path: &RelPath) -> Vec<u8> {
        self.0.foreign_read(path).unwrap()
    }
    fn remove(&self, path: &RelPath) {
        self.0.foreign_remove(path).unwrap();
    }
    fn rename(&self, from: &RelPath, to: &RelPath) {
        self.0.foreign_rename(from, to).unwrap();
    }
    fn link(&self, path: &RelPath, target: &str) {
        self.0.foreign_link(path, target).unwrap();
    }
    fn hard_link(&self, path: &RelPath, second: &RelPath) {
        self.0.foreign_hard_link(path, second).unwrap();
    }
    fn make_dir(&self, path: &RelPath) {
        self.0.foreign_make_dir(path).unwrap();
    }
    fn fifo(&self, path: &RelPath) {
        self.0.foreign_make_other(path).unwrap();
    }
    fn chmod(&self, path: &RelPath, mode: u32) {
        self.0.foreign_chmod(path, mode).unwrap();
    }
    fn peek(&self, path: &RelPath) -> Option<Vec<u8>> {
        self.0.peek(path)
    }
    fn set_hook(&self, hook: StepHook) {
        self.0.set_hook(hook);
    }
    fn pretend(&self, leases: bool, exchange: bool) {
        self.0.set_leases(leases);
        self.0.set_exchange(exchange);
    }
}
