//! What a running hub reads again when it changes on the disk: the tokens, and the certificate.

use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use syncline_net::{Certificate, Grants};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::failure::Failure;
use crate::protection::Files;
use crate::report;
use crate::token_file::TokenFile;

/// How often it is looked. A revocation is to be acted upon within five seconds.
const LOOK: Duration = Duration::from_millis(500);

/// What tells that a file is another one, or has other contents. Files that are replaced whole, as ours are,
/// get another inode; an editor's at least another time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp(Option<(u64, u64, i64, i64)>);

impl Stamp {
    /// A file's, now.
    pub fn of(path: &Path) -> Stamp {
        let metadata = std::fs::metadata(path).ok();
        Stamp(metadata.map(|found| (found.ino(), found.size(), found.mtime(), found.mtime_nsec())))
    }
}

/// Asks for a look at once, and waits until it was taken.
#[derive(Clone)]
pub struct Nudge(mpsc::Sender<oneshot::Sender<()>>);

impl Nudge {
    /// Returns when what is on the disk holds.
    pub async fn look(&self) {
        let (done, looked) = oneshot::channel();
        if self.0.send(done).await.is_ok() {
            // If it ended meanwhile there is nothing left to hold.
            let _ = looked.await;
        }
    }
}

/// The tokens of a state directory, now and whenever they change. While they cannot be read, none lets in.
///
/// # Errors
/// If they cannot be read at the start: the owner should know before anybody is refused.
pub fn tokens(state: &Path, json: bool) -> Result<(watch::Receiver<Arc<Grants>>, Nudge), Failure> {
    let file = TokenFile::of(state);
    let mut last = Stamp::of(file.path());
    let (sender, receiver) = watch::channel(Arc::new(Grants::new(file.read()?)));
    let (nudge, mut nudges) = mpsc::channel::<oneshot::Sender<()>>(1);
    tokio::spawn(async move {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = looks.tick() => None,
                Some(asked) = nudges.recv() => Some(asked),
                () = sender.closed() => return,
            };
            let now = Stamp::of(file.path());
            if now != last {
                last = now;
                let grants = file.read().unwrap_or_else(|failure| {
                    report::trouble(failure.what(), json);
                    Vec::new()
                });
                sender.send_replace(Arc::new(Grants::new(grants)));
            }
            if let Some(asked) = asked {
                // Who asked may be gone.
                let _ = asked.send(());
            }
        }
    });
    Ok((receiver, Nudge(nudge)))
}

/// A certificate, now and whenever its files change (looked for as for tokens, and at SIGHUP). While they cannot be
/// used, the one before is.
///
/// # Errors
/// If they cannot be used at the start.
pub fn certificate(files: Files, json: bool) -> Result<watch::Receiver<Arc<Certificate>>, Failure> {
    let stamps = |files: &Files| [Stamp::of(&files.certificate), Stamp::of(&files.key)];
    let mut last = stamps(&files);
    let (sender, receiver) = watch::channel(Arc::new(files.read()?));
    let mut hangups = hangups()?;
    tokio::spawn(async move {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = looks.tick() => false,
                () = hung_up(&mut hangups) => true,
                () = sender.closed() => return,
            };
            let now = stamps(&files);
            if now == last && !asked {
                continue;
            }
            last = now;
            match files.read() {
                Ok(certificate) => drop(sender.send_replace(Arc::new(certificate))),
                // Two files are written one after the other: a moment later they fit again.
                Err(failure) => report::trouble(&format!("{}; the one before is used", failure.what()), json),
            }
        }
    });
    Ok(receiver)
}

/// SIGHUP, where it means "read again". On a terminal it means that the terminal is gone, and ends the program.
fn hangups() -> Result<Option<Signal>, Failure> {
    if std::io::stdout().is_terminal() {
        return Ok(None);
    }
    signal(SignalKind::hangup()).map(Some).map_err(|error| Failure::other(error.to_string(), ""))
}

async fn hung_up(hangups: &mut Option<Signal>) {
    let came = match hangups {
        Some(hangups) => hangups.recv().await,
        None => None,
    };
    if came.is_none() {
        std::future::pending().await
    }
}
