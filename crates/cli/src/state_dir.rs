//! `.syncline` in a shared folder: the journal, the lock, and the secrets.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use syncline_disk::{Folder, RealFolder, RealOptions, RelPath, STATE_DIR};
use syncline_hub::{Founding, Hub, LARGE_TEXT, Options, Policy};
use syncline_protocol::Token;
use syncline_store::{FolderLock, Log, Opener, SqliteLog};

use crate::failure::Failure;
use crate::report;

/// The journal's name in a state directory.
pub const JOURNAL: &str = "journal.db";
/// The lock's name in a state directory.
const LOCK: &str = "lock";

/// The state of one shared folder, or of one user's document in a folder, locked for this process.
pub struct StateDir {
    root: PathBuf,
    path: PathBuf,
    _locks: Vec<FolderLock>,
}

/// Where a folder's state is.
pub fn state_path(root: &Path) -> PathBuf {
    root.join(STATE_DIR)
}

/// Where the states of local users' documents are, below the folder.
pub const STATE_OF_USERS: &str = ".syncline/local";

/// Where the state of a local user's document is, below the folder.
pub fn user_state(user: &str) -> PathBuf {
    Path::new(STATE_OF_USERS).join(user)
}

/// Where the state of a local user's document in a folder is.
pub fn user_state_path(root: &Path, user: &str) -> PathBuf {
    root.join(user_state(user))
}

impl StateDir {
    /// Makes the state of a folder if it is missing, and locks it.
    pub fn open(root: &Path) -> Result<StateDir, Failure> {
        let path = state_path(root);
        make(&path)?;
        let lock = FolderLock::acquire(&path.join(LOCK))?;
        Ok(StateDir { root: root.to_owned(), path, _locks: vec![lock] })
    }

    /// The same for a local user's document: several users may have one each in one folder, but no hub may have all of
    /// it at the same time. Two hubs would take each other's writes of one file for saves.
    pub fn open_for_user(root: &Path, user: &str) -> Result<StateDir, Failure> {
        let path = user_state_path(root, user);
        make(&path)?;
        let shared = FolderLock::share(&state_path(root).join(LOCK))?;
        let own = FolderLock::acquire(&path.join(LOCK))?;
        Ok(StateDir { root: root.to_owned(), path, _locks: vec![own, shared] })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A secret that is kept in a file of its own which only this user can read; drawn the first time.
    pub fn secret(&self, name: &str) -> Result<Token, Failure> {
        let path = self.path.join(name);
        let fail = |what: String| {
            Failure::other(format!("{}: {what}", path.display()), "remove it to draw a new one")
        };
        if let Some(token) = read_secret(&path)? {
            return Ok(token);
        }
        let mut bits = [0; 32];
        getrandom::fill(&mut bits).map_err(|error| fail(error.to_string()))?;
        let token = Token::from_random(bits);
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| {
            writeln!(file, "{}", token.secret())?;
            file.sync_all()
        });
        written.map_err(|error| fail(error.to_string()))?;
        Ok(token)
    }

    /// Opens the hub on the folder.
    pub async fn open_hub(
        &self,
        only: Option<RelPath>,
        joined: bool,
        policy: Policy,
    ) -> Result<Hub, Failure> {
        let folder = Arc::new(open_folder(&self.root, RealOptions::default())?);
        self.open_hub_on(folder, Opened { only, joined, policy, ..Opened::default() }).await
    }

    /// Opens a hub with this state on some folder.
    pub async fn open_hub_on(&self, folder: Arc<dyn Folder>, opened: Opened) -> Result<Hub, Failure> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| Failure::other(error.to_string(), ""))?;
        let name = self
            .root
            .file_name()
            .map_or_else(|| "shared".to_owned(), |name| name.to_string_lossy().into_owned());
        let options = Options {
            folder,
            log: opener_at(&self.path),
            only: opened.only,
            name,
            joined: opened.joined,
            founding: opened.founding,
            policy: opened.policy,
            large_text: LARGE_TEXT,
            seed: u64::from_le_bytes(seed),
            clock: Arc::new(report::now_ms),
            author: opened.author.unwrap_or_else(machine_name),
        };
        Ok(Hub::open(options).await?)
    }
}

fn make(path: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(path);
    made.map_err(|error| Failure::other(format!("{}: {error}", path.display()), "is the folder writable?"))
}

/// What is particular about a hub.
#[derive(Default)]
pub struct Opened {
    /// Share only this file.
    pub only: Option<RelPath>,
    /// It has a peer whose history comes first.
    pub joined: bool,
    /// What a new journal begins with.
    pub founding: Option<Founding>,
    /// What is done about conflicts.
    pub policy: Policy,
    /// Whose saves they are, if not this machine's user's.
    pub author: Option<String>,
}

/// Opens a folder.
pub fn open_folder(root: &Path, options: RealOptions) -> Result<RealFolder, Failure> {
    RealFolder::open(root, options).map_err(|error| Failure::other(error.to_string(), ""))
}

/// The secret that a file holds, if there is such a file; it must be readable by its owner only.
pub fn read_secret(path: &Path) -> Result<Option<Token>, Failure> {
    let fail =
        |what: String| Failure::other(format!("{}: {what}", path.display()), "remove it to draw a new one");
    let Ok(text) = fs::read_to_string(path) else { return Ok(None) };
    let mode = fs::metadata(path).map_err(|error| fail(error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        let hint = format!("chmod 600 {}", path.display());
        return Err(Failure::usage(format!("{} can be read by others", path.display()), hint));
    }
    Token::parse(text.trim()).map(Some).map_err(|error| fail(error.to_string()))
}

/// Opens the journal in a state directory, each time it is asked.
pub fn opener_at(state: &Path) -> Opener {
    let path = state.join(JOURNAL);
    Box::new(move || Ok(Box::new(SqliteLog::open(&path)?) as Box<dyn Log>))
}

/// Who is named as the author of saves: the user, on this machine.
fn machine_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    match std::env::var("USER") {
        Ok(user) if !user.is_empty() => format!("{user}@{host}"),
        _ => host,
    }
}

/// The folder that a path is about, and the file in it if the path is one; made if there is none: `todo.txt` is a
/// file, `notes` a folder.
pub fn root_made(path: &Path) -> Result<(PathBuf, Option<RelPath>), Failure> {
    if !path.exists() {
        let made = if path.extension().is_some() {
            path.parent()
                .filter(|parent| !parent.as_os_str().is_empty())
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| fs::write(path, ""))
        } else {
            fs::create_dir_all(path)
        };
        made.map_err(|error| {
            Failure::usage(format!("{}: {error}", path.display()), "name a folder or a file")
        })?;
    }
    root_of(path)
}

/// The folder that a path is about, and the file in it if the path is one.
pub fn root_of(path: &Path) -> Result<(PathBuf, Option<RelPath>), Failure> {
    let fail =
        |what: String| Failure::usage(format!("{}: {what}", path.display()), "name a folder or a file");
    let path = path.canonicalize().map_err(|error| fail(error.to_string()))?;
    if path.is_dir() {
        return Ok((path, None));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(fail("not a folder and not a file".to_owned()));
    };
    let name = RelPath::parse(&name.to_string_lossy()).map_err(|error| fail(error.to_string()))?;
    Ok((parent.to_owned(), Some(name)))
}
