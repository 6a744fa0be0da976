//! The hubs that are measured: real processes, beside each other on one file system.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::Fallible;

/// How long a hub may take for its first scan or synchronisation.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a hub may take to end by itself.
const LEAVE: Duration = Duration::from_secs(5);

/// A running `syncline`.
pub struct Hub {
    child: Child,
    started: Instant,
    lines: Receiver<(Instant, Value)>,
    log: PathBuf,
}

impl Hub {
    fn start(binary: &Path, arguments: &[&OsStr], log: PathBuf) -> Fallible<Hub> {
        let started = Instant::now();
        let mut command = Command::new(binary);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", binary.display()))?;
        let stdout = child.stdout.take().ok_or("a hub without standard output")?;
        let (sender, lines) = sync_channel(64);
        std::thread::spawn(move || {
            // Read to the end whatever becomes of it: a full pipe would stop the hub.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let now = Instant::now();
                let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
                if value["event"] == "trouble" {
                    eprintln!("bench: a hub reports trouble: {line}");
                }
                if ["join", "synced", "error"].iter().any(|key| value.get(*key).is_some()) {
                    let _ = sender.try_send((now, value));
                }
            }
        });
        Ok(Hub { child, started, lines, log })
    }

    /// Waits for the line that has `key`; gives it, and how long after the start it came.
    fn wait_for(&mut self, key: &str) -> Fallible<(Duration, Value)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((_, value)) if value.get("error").is_some() => {
                    return Err(format!("a hub ended: {}", value["error"]).into());
                }
                Ok((at, value)) if value.get(key).is_some() => return Ok((at - self.started, value)),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("no {key:?} from a hub within {PATIENCE:?}").into());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let said = fs::read_to_string(&self.log).unwrap_or_default();
                    return Err(format!("a hub ended before it said {key:?}: {}", said.trim()).into());
                }
            }
        }
    }

    /// Processor time used so far, in seconds, by all threads, also those that ended. By the process's clock
    /// (clock_getcpuclockid(3)), for that of `/proc/PID/stat` ticks every 10 ms.
    pub fn cpu_seconds(&self) -> Fallible<f64> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        let used = nix::time::clock_getcpuclockid(pid)?.now()?;
        Ok(Duration::from(used).as_secs_f64())
    }

    /// Resident memory now, in megabytes.
    pub fn resident_mb(&self) -> Fallible<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        Ok(resident_kb(&status).ok_or("/proc/PID/status has no VmRSS")? as f64 / 1024.0)
    }

    fn leave(&mut self) {
        let asked = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + LEAVE;
        while asked.is_ok() && Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                _ => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.leave();
    }
}

fn resident_kb(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A served folder, and where its diff-sync clients go.
pub struct Served {
    pub hub: Hub,
    pub diffsync: SocketAddr,
    pub token: String,
    /// Removed after the hub has left.
    _dir: TempDir,
}

impl Served {
    /// Fills a folder and serves it. `place` is on the file system to be measured.
    pub fn start(
        binary: &Path,
        place: &Path,
        fill: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> Fallible<Served> {
        let dir = tempfile::Builder::new().prefix("bench-diffsync-").tempdir_in(place)?;
        let root = dir.path().join("a");
        fs::create_dir(&root)?;
        fill(&root)?;
        let [json, serve, listen, diffsync, any] =
            ["--json", "serve", "--listen", "--diffsync", "127.0.0.1:0"].map(OsStr::new);
        let arguments = [json, serve, root.as_os_str(), listen, any, diffsync, any];
        let mut hub = Hub::start(binary, &arguments, dir.path().join("serve.log"))?;
        let (_, line) = hub.wait_for("diffsync")?;
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        Ok(Served { hub, diffsync: text("diffsync").parse()?, token: text("token"), _dir: dir })
    }
}

/// So many local users in one folder, all in step.
pub struct LocalUsers {
    pub users: Vec<Hub>,
    /// Each one's copy of the document.
    pub copies: Vec<PathBuf>,
    /// Removed after the hubs have left.
    _dir: TempDir,
}

impl LocalUsers {
    /// Starts them one after the other. `place` is on the file system to be measured, `way` is `mq` or `shm`.
    pub fn start(binary: &Path, place: &Path, count: usize, way: &str) -> Fallible<LocalUsers> {
        let dir = tempfile::Builder::new().prefix("bench-local-").tempdir_in(place)?;
        let folder = dir.path().join("docs");
        fs::create_dir(&folder)?;
        let (group, most) = (format!("bench{}.{way}{count}", std::process::id()), count.max(5).to_string());
        let (mut users, mut copies) = (Vec::new(), Vec::new());
        for number in 1..=count {
            let name = format!("user_{number}");
            let words =
                ["--json", "local", &name, "--group", &group, "--transport", way, "--max-users", &most];
            let mut arguments: Vec<&OsStr> = words.into_iter().map(OsStr::new).collect();
            arguments.extend([OsStr::new("--dir"), folder.as_os_str()]);
            let mut user = Hub::start(binary, &arguments, dir.path().join(format!("{name}.log")))?;
            user.wait_for("synced")?;
            users.push(user);
            copies.push(folder.join(format!("{name}_doc.txt")));
        }
        Ok(LocalUsers { users, copies, _dir: dir })
    }
}

/// A served folder A and a joined folder B, in step.
pub struct Pair {
    pub joined: Hub,
    pub served: Hub,
    /// From the start of the serving hub to its first line: it has scanned its folder.
    pub scanned: Duration,
    /// From the start of the joining hub to its `synced` line.
    pub synced: Duration,
    pub a: PathBuf,
    pub b: PathBuf,
    /// Beside both: for what a program prepares before it renames it into a folder.
    pub beside: PathBuf,
    /// Removed after the hubs have left.
    _dir: TempDir,
}

impl Pair {
    /// Fills A, serves it, and joins B. `place` is on the file system to be measured.
    pub fn start(
        binary: &Path,
        place: &Path,
        fill: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> Fallible<Pair> {
        let dir = tempfile::Builder::new().prefix("bench-files-").tempdir_in(place)?;
        let [a, b, beside] = ["a", "b", "beside"].map(|name| dir.path().join(name));
        for each in [&a, &b, &beside] {
            fs::create_dir(each)?;
        }
        fill(&a)?;
        let [json, serve, join] = ["--json", "serve", "join"].map(OsStr::new);
        let serve = [json, serve, a.as_os_str(), OsStr::new("--listen"), OsStr::new("127.0.0.1:0")];
        let mut served = Hub::start(binary, &serve, dir.path().join("serve.log"))?;
        let (scanned, line) = served.wait_for("join")?;
        let link = line["join"].as_str().ok_or("a join link that is no text")?.to_owned();
        let join = [json, join, OsStr::new(&link), b.as_os_str()];
        let mut joined = Hub::start(binary, &join, dir.path().join("join.log"))?;
        let (synced, line) = joined.wait_for("synced")?;
        if line["unwritten"].as_u64().is_some_and(|files| files > 0) {
            return Err(format!("{} files could not be written in B", line["unwritten"]).into());
        }
        Ok(Pair { joined, served, scanned, synced, a, b, beside, _dir: dir })
    }

    /// Processor time used by both hubs so far, in seconds.
    pub fn cpu_seconds(&self) -> Fallible<f64> {
        Ok(self.served.cpu_seconds()? + self.joined.cpu_seconds()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read() {
        assert_eq!(resident_kb("Name:\tx\nVmRSS:\t  1234 kB\n"), Some(1234));
        assert_eq!(resident_kb("Name:\tx\n"), None);
    }
}
