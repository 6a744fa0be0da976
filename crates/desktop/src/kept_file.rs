//! What a window writes down, so that text which was not sent yet outlives it: one file for each link and document.
//!
//! Lines are appended and flushed to the disk by a thread; the window never waits. A file that has grown is begun anew with
//! the state as it is, beside the old one and then in its place.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use data_encoding::HEXLOWER;
use syncline_protocol::JoinLink;
use syncline_protocol::content::{Kept, Layers};
use syncline_protocol::limits::MAX_DOCUMENT_BYTES;

/// How many windows may have one document open, each with a file of its own.
const WINDOWS: usize = 16;
/// How many lines may wait for the disk. Beyond that the whole state is written once instead.
const WAITING: usize = 1_024;
/// A file that has grown beyond this, and beyond four times what it began with, is begun anew.
const LONG: usize = 256 << 10;
/// The longest file that is read.
const LONGEST: u64 = 8 * MAX_DOCUMENT_BYTES as u64;

/// A file of what is not sent yet. Held by one window at a time; dropped, it is let go.
pub struct KeptFile {
    /// Taken when it is dropped.
    lines: Option<SyncSender<Order>>,
    writer: Option<JoinHandle<()>>,
    /// A line was left out: everything is written with the next.
    behind: bool,
    /// Bytes since the last whole state, and of it.
    grown: usize,
    whole: usize,
}

enum Order {
    Append(String),
    Anew(String),
}

/// Where a window keeps what belongs to a link: `XDG_STATE_HOME/syncline/desktop`, by default in `~/.local/state`.
pub fn state_dir() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = from("XDG_STATE_HOME").or_else(|| Some(from("HOME")?.join(".local/state")))?;
    Some(state.join("syncline/desktop"))
}

impl KeptFile {
    /// Opens the file of a link and document in this directory, and says what is in it. Each of up to 16 windows has one
    /// of its own; one in which something unsent was left is taken first.
    ///
    /// # Errors
    /// With the path, when no file can be made or locked there.
    pub fn open(
        dir: &Path,
        link: &JoinLink,
        document: Option<&str>,
    ) -> io::Result<(KeptFile, Option<Layers>)> {
        make_private_dir(dir)?;
        // The token is part of what is hashed: another link to the same place may be another folder.
        let mut hash = blake3::Hasher::new();
        hash.update(link.token().secret().as_bytes()).update(link.place().as_bytes());
        hash.update(document.unwrap_or_default().as_bytes());
        let name = HEXLOWER.encode(&hash.finalize().as_bytes()[..16]);
        let mut chosen: Option<(File, PathBuf, Option<Layers>)> = None;
        for number in 0..WINDOWS {
            let path = dir.join(format!("{name}.{number}"));
            if chosen.is_some() && !path.exists() {
                continue;
            }
            let in_path =
                |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            let mut file = open_private(&path).map_err(in_path)?;
            if file.try_lock().is_err() {
                continue;
            }
            let layers = read(&mut file).map_err(in_path)?;
            let unsent = layers.as_ref().is_some_and(|layers| !layers.is_sent());
            if unsent || chosen.is_none() {
                chosen = Some((file, path, layers));
            }
            if unsent {
                break;
            }
        }
        let Some((file, path, layers)) = chosen else {
            return Err(io::Error::other(format!(
                "{}: {WINDOWS} windows have this document open",
                dir.display()
            )));
        };
        let (lines, orders) = sync_channel(WAITING);
        let writer =
            std::thread::Builder::new().name("kept".into()).spawn(move || write(file, path, &orders))?;
        let kept = KeptFile { lines: Some(lines), writer: Some(writer), behind: true, grown: 0, whole: 0 };
        Ok((kept, layers))
    }

    /// Writes a line down; `whole` gives the state with it.
    pub fn keep(&mut self, kept: &Kept, whole: impl FnOnce() -> Kept) {
        let line = kept.to_line();
        let long = self.grown > LONG && self.grown > 4 * self.whole;
        let is_whole = matches!(kept, Kept::Whole { .. });
        let anew = self.behind || long || is_whole;
        let line = if anew && !is_whole { whole().to_line() } else { line };
        self.grown = if anew { 0 } else { self.grown + line.len() };
        if anew {
            self.whole = line.len();
        }
        let order = if anew { Order::Anew(line) } else { Order::Append(line) };
        let sent = self.lines.as_ref().map(|lines| lines.try_send(order));
        self.behind = !matches!(sent, Some(Ok(())));
    }

    /// Whether what was given last is not on its way to the disk.
    pub fn is_behind(&self) -> bool {
        self.behind
    }
}

impl Drop for KeptFile {
    /// Waits until the last line is on the disk: a window that is closed in good order loses nothing by it.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            // A writer that failed has nothing to say any more.
            let _ = writer.join();
        }
    }
}

/// What is in a file; `None`: nothing that can be used.
fn read(file: &mut File) -> io::Result<Option<Layers>> {
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(Kept::replay(text.lines()).filter(|layers| layers.version.is_some()))
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", dir.display())))
}

fn open_private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

/// Writes what comes, all that has come with one flush. Ends when the window does.
fn write(mut file: File, path: PathBuf, orders: &Receiver<Order>) {
    while let Ok(order) = orders.recv() {
        let mut next = Some(order);
        let mut done = Ok(());
        while let Some(order) = next.take() {
            let (line, anew) = match order {
                Order::Append(line) => (line, false),
                Order::Anew(line) => (line, true),
            };
            if anew {
                done = begin_anew(&mut file, &path, &line);
            } else if done.is_ok() {
                done = file.write_all(format!("{line}\n").as_bytes());
            }
            next = orders.try_recv().ok();
        }
        if done.and_then(|()| file.sync_data()).is_err() {
            // The disk is full or gone. The window sees by the closed channel that nothing is written any more.
            return;
        }
    }
}

/// Beside it first, so that at no moment there is less than there was.
fn begin_anew(file: &mut File, path: &Path, line: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let _ = std::fs::remove_file(&beside);
    let mut new = open_private(&beside)?;
    new.lock()?;
    new.write_all(format!("{line}\n").as_bytes())?;
    new.sync_data()?;
    std::fs::rename(&beside, path)?;
    *file = new;
    Ok(())
}

#[cfg(test)]
mod tests {
    use syncline_protocol::Token;
    use syncline_protocol::content::Step;

    use super::*;

    fn link() -> JoinLink {
        JoinLink::new("127.0.0.1", 7000, Token::from_random([1; 32])).unwrap()
    }

    fn typed(text: &str) -> Kept {
        Kept::Typed { edits: vec![Step { at: 0, delete: 0, insert: text.into() }], held: true }
    }

    #[test]
    fn what_was_typed_is_there_after_the_window_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (mut kept, before) = KeptFile::open(dir.path(), &link(), None).unwrap();
        assert!(before.is_none());
        let mut layers = Layers { version: Some("v1".into()), base: "one".into(), ..Layers::default() };
        for index in 0..2_000 {
            let line = typed(&format!("{index} "));
            layers.apply(&line);
            kept.keep(&line, || Kept::whole(&layers));
        }
        // Whatever did not fit while the disk was busy comes with the next.
        while kept.is_behind() {
            kept.keep(&Kept::Released, || Kept::whole(&layers));
        }
        drop(kept);
        let (_kept, restored) = KeptFile::open(dir.path(), &link(), None).unwrap();
        let restored = restored.unwrap();
        assert_eq!(restored.base.to_one_string(), "one");
        let text = [restored.held, restored.queued].concat();
        assert!(text[0].insert.starts_with("1999 1998 ") && text[0].insert.ends_with(" 1 0 "));
    }

    #[test]
    fn a_second_window_has_a_file_of_its_own_and_what_it_left_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (first, _) = KeptFile::open(dir.path(), &link(), None).unwrap();
        let (mut second, before) = KeptFile::open(dir.path(), &link(), None).unwrap();
        assert!(before.is_none());
        let mut layers = Layers { version: Some("v1".into()), ..Layers::default() };
        let line = typed("left behind");
        layers.apply(&line);
        second.keep(&line, || Kept::whole(&layers));
        drop((first, second));
        let (_again, found) = KeptFile::open(dir.path(), &link(), None).unwrap();
        assert_eq!(found.unwrap().held[0].insert, "left behind");
        let (_other, other) = KeptFile::open(dir.path(), &link(), Some("b.txt")).unwrap();
        assert!(other.is_none());
    }
}
