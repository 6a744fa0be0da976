//! What there is: gathered from the folder and the kernel, not judged.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use syncline_disk::{Folder, Probe, RealFolder, RealOptions};

use crate::report::now_ms;
use crate::state_dir::state_path;

/// So many directories are counted; there may be more.
pub const MOST_DIRECTORIES: u64 = 200_000;
/// So many small durable writes are timed.
const WRITES: usize = 24;
/// Counting and timing end then, finished or not.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found. `None`: it could not be found out.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the folder's file system can do; an error if it could not be tried.
    pub probe: Result<Probe, String>,
    /// Directories in the folder, at most [`MOST_DIRECTORIES`].
    pub directories: u64,
    /// The kernel's limit of watched directories, for all programs of this user together.
    pub watches: Option<u64>,
    /// The kernel's limit of programs that watch.
    pub watchers: Option<u64>,
    /// The kernel's limit of events that wait.
    pub queued_events: Option<u64>,
    /// How long each of some small durable writes took, sorted; an error if they failed.
    pub writes: Result<Vec<Duration>, String>,
    /// Bytes that this user can still write there, and of how many.
    pub space: Option<(u64, u64)>,
    /// Files that can still be made there; `None` also where there is no such limit.
    pub inodes: Option<u64>,
    /// How many files a process may have open, now and at most; the second `None`: no limit.
    pub open_files: (u64, Option<u64>),
    /// This machine's time, in milliseconds since 1970.
    pub now_ms: u64,
    /// How far the time of the folder's file system is from that, in milliseconds.
    pub skew_ms: Option<u64>,
    /// The kernel's limits of message queues: how many, how many messages in one, how long a message.
    pub queues: Option<[u64; 3]>,
    /// Bytes that this user's message queues may take together; the inner `None`: no limit.
    pub queue_bytes: Option<u64>,
    /// Shared memory can be made; or why not.
    pub shared_memory: Result<(), String>,
    /// Secrets that others can read.
    pub open_secrets: Vec<String>,
    /// The process id of the hub that runs on the folder.
    pub hub: Option<u64>,
}

impl Facts {
    /// Looks. Leaves nothing behind.
    pub fn gather(root: &Path) -> Facts {
        let state = state_path(root);
        let was_there = state.exists();
        let probe = RealFolder::open(root, RealOptions::default());
        let probe = probe.map(|folder| folder.probe()).map_err(|error| error.to_string());
        let (writes, skew_ms) = time_writes(&state);
        if !was_there {
            // Only if they are empty, and that is what they are unless a hub was started meanwhile.
            let _ = fs::remove_dir(state.join("probe"));
            let _ = fs::remove_dir(&state);
        }
        let space = rustix::fs::statvfs(root).ok();
        let files = getrlimit(Resource::Nofile);
        let queues = ["queues_max", "msg_max", "msgsize_max"];
        let queues = queues.map(|name| number(&format!("/proc/sys/fs/mqueue/{name}")));
        Facts {
            probe,
            directories: count_directories(root),
            watches: number("/proc/sys/fs/inotify/max_user_watches"),
            watchers: number("/proc/sys/fs/inotify/max_user_instances"),
            queued_events: number("/proc/sys/fs/inotify/max_queued_events"),
            writes,
            space: space
                .as_ref()
                .map(|space| (space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize)),
            inodes: space.filter(|space| space.f_files > 0).map(|space| space.f_favail),
            open_files: (files.current.unwrap_or(u64::MAX), files.maximum),
            now_ms: now_ms(),
            skew_ms,
            queues: match queues {
                [Some(count), Some(messages), Some(bytes)] => Some([count, messages, bytes]),
                _ => None,
            },
            queue_bytes: getrlimit(Resource::Msgqueue).current,
            shared_memory: try_shared_memory(),
            open_secrets: open_secrets(&state),
            hub: None,
        }
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The folder's directories, links not followed.
fn count_directories(root: &Path) -> u64 {
    let started = Instant::now();
    let (mut count, mut waiting) = (0, vec![root.to_owned()]);
    while let Some(directory) = waiting.pop() {
        count += 1;
        if count >= MOST_DIRECTORIES || started.elapsed() > PATIENCE {
            break;
        }
        let Ok(entries) = fs::read_dir(directory) else { continue };
        let below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        waiting.extend(below.map(|entry| entry.path()));
    }
    count
}

/// Times small writes with an fsync each; also how far the file system's clock is from ours.
fn time_writes(state: &Path) -> (Result<Vec<Duration>, String>, Option<u64>) {
    let path = state.join(format!("doctor-{}", std::process::id()));
    let written = (|| {
        let mut file = File::create_new(&path)?;
        let (started, mut times) = (Instant::now(), Vec::with_capacity(WRITES));
        while times.len() < WRITES && (times.is_empty() || started.elapsed() < PATIENCE) {
            let begun = Instant::now();
            file.write_all(&[0; 512])?;
            file.sync_data()?;
            times.push(begun.elapsed());
        }
        times.sort();
        let there = file.metadata()?;
        let there = UNIX_EPOCH + Duration::new(there.mtime().max(0) as u64, there.mtime_nsec() as u32);
        let now = SystemTime::now();
        let skew = now.duration_since(there).unwrap_or_else(|error| error.duration());
        std::io::Result::Ok((times, skew.as_millis() as u64))
    })();
    let _ = fs::remove_file(&path);
    match written {
        Ok((times, skew)) => (Ok(times), Some(skew)),
        Err(error) => (Err(error.to_string()), None),
    }
}

fn try_shared_memory() -> Result<(), String> {
    let path = Path::new("/dev/shm").join(format!("syncline-doctor-{}", std::process::id()));
    let made = File::create_new(&path).and_then(|mut file| file.write_all(&[0; 4096]));
    let _ = fs::remove_file(&path);
    made.map_err(|error| error.to_string())
}

/// Secrets in the state directory that somebody else could read, as far as the files' own modes go.
fn open_secrets(state: &Path) -> Vec<String> {
    let names = ["token", "content-capability", "tokens.json", "tls/key.pem"];
    let open = names.iter().filter(|name| {
        let mode = fs::metadata(state.join(name)).map(|found| found.permissions().mode());
        mode.is_ok_and(|mode| mode & 0o077 != 0)
    });
    open.map(|name| format!("{}", state.join(name).display())).collect()
}
