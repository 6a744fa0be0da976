//! `syncline local`: a hub that finds its peers on this machine.

mod screen;
mod teller;
mod view;

use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use syncline_disk::{Folder, OneFile, RealOptions, RelPath};
use syncline_engine::catalogue::DocId;
use syncline_hub::{Founding, Hub};
use syncline_local::{Counters, Group, Introduction, Name, Neighbourhood, Options, Registry, Transport};
use syncline_net::keep_joined;
use syncline_protocol::JoinLink;
use tokio::sync::{mpsc, watch};

use crate::args::{LocalArgs, Way};
use crate::control;
use crate::failure::Failure;
use crate::local::teller::Teller;
use crate::state_dir::{Opened, StateDir, open_folder, root_made, user_state};

/// What a document begins with if nobody has one.
const INITIAL: &str = "Hello.\nThis document is shared by everybody who runs `syncline local` here.\nEdit it with any program: every save is merged into everybody's copy.\n";
/// What the document is called for all who share it; each has it as a file with a name of their own.
pub const SHARED: &str = "document.txt";

/// What the name of a user's copy ends with.
pub const COPY: &str = "_doc.txt";

/// Runs until interrupted.
pub async fn run(args: LocalArgs, json: bool) -> Result<(), Failure> {
    let link = args.join.as_deref().map(JoinLink::parse).transpose();
    let link = link.map_err(|error| Failure::usage(error.to_string(), ""))?;
    let name = Name::parse(&args.name)?;
    // One document and a folder are two things: who shares the one does not meet who shares the other.
    let kind = if args.folder { "folder" } else { "doc" };
    Name::parse(&args.group)?;
    let group = Group::of_this_account(&format!("{}.{kind}", &args.group))?;
    let registry = Arc::new(Registry::open(group)?);
    let users = usize::from(args.max_users);
    let who = Introduction { name: name.clone(), pid: std::process::id() };
    let seat = registry.claim(who, users)?;
    let transport = match args.transport {
        None => Transport::Automatic,
        Some(Way::Mq) => Transport::Queues,
        Some(Way::Shm) => Transport::SharedMemory,
    };
    let neighbourhood = Neighbourhood::open(seat, transport, users, &name)?;
    let shared = Shared::open(&args, &name).await?;
    let hub = shared.hub.clone();
    let seat = neighbourhood.seat();
    let facts = json!({"role": "local", "user": name.as_str(), "group": &args.group});
    control::listen(shared.state.path(), hub.clone(), move || facts.clone(), None);
    let (stop, stopped) = watch::channel(false);
    let counters = Arc::new(Counters::default());
    let (events, told) = mpsc::channel(256);
    let parts = (hub.clone(), seat, counters.clone());
    let teller = Teller::begin(&args, json, shared.file.clone(), parts, neighbourhood.missing())?;
    let options = Options {
        folder: group_id(&args.group, kind),
        batch: args.batch,
        flush: args.flush_ms.0,
        bridged: link.is_some(),
    };
    let hub_events = hub.events();
    let taking_part =
        tokio::spawn(neighbourhood.run(hub.clone(), options, counters, events, stopped.clone()));
    let (joined, mut join_events) = mpsc::channel(64);
    if let Some(link) = link {
        tokio::spawn(keep_joined(hub.clone(), link, joined, stopped));
    }
    let draining = async move { while join_events.recv().await.is_some() {} };
    tokio::spawn(draining);
    let done = teller.tell_until_interrupted(hub_events, told).await;
    stop.send_replace(true);
    let _ = taking_part.await;
    hub.close();
    done
}

/// The id of what a group shares: the same for everybody who names it.
fn group_id(group: &str, kind: &str) -> [u8; 16] {
    let mut id = [0; 16];
    let name = format!("syncline {kind} {group}");
    for (at, byte) in name.bytes().enumerate() {
        id[at % 16] ^= byte.rotate_left((at / 16) as u32);
    }
    id
}

/// What is shared, opened.
struct Shared {
    state: StateDir,
    hub: Hub,
    /// The user's copy; `None`: a whole folder.
    file: Option<PathBuf>,
}

impl Shared {
    async fn open(args: &LocalArgs, name: &Name) -> Result<Shared, Failure> {
        let fail = |what: String| Failure::usage(format!("{}: {what}", args.dir.display()), "name a folder");
        std::fs::create_dir_all(&args.dir).map_err(|error| fail(error.to_string()))?;
        let (root, only) = root_made(&args.dir)?;
        if only.is_some() {
            return Err(fail("it is a file".to_owned()));
        }
        let mut options = RealOptions::default();
        if let Some(poll) = args.poll {
            (options.watches, options.poll) = (Some(0), poll);
        }
        let (author, policy) = (Some(name.to_string()), args.on_conflict.into());
        if args.folder {
            let folder = open_folder(&root, options)?;
            let state = StateDir::open(&root)?;
            let opened = Opened { joined: true, policy, author, ..Opened::default() };
            let hub = state.open_hub_on(Arc::new(folder), opened).await?;
            return Ok(Shared { state, hub, file: None });
        }
        let state = StateDir::open_for_user(&root, name.as_str())?;
        options.state = user_state(name.as_str());
        let bad = |error: syncline_disk::PathError| Failure::other(error.to_string(), "");
        let here = RelPath::parse(SHARED).map_err(bad)?;
        let there = RelPath::parse(&file_name(name.as_str())).map_err(bad)?;
        // The others' saves in this directory are none of our business.
        options.only = Some(there.clone());
        let folder = open_folder(&root, options)?;
        let file = root.join(there.as_str());
        let founding = Founding { doc: document_id(), path: here.clone(), text: first_text(&file) };
        let folder: Arc<dyn Folder> = Arc::new(OneFile::new(folder, there, here.clone()));
        let opened = Opened { only: Some(here), joined: true, founding: Some(founding), policy, author };
        let hub = state.open_hub_on(folder, opened).await?;
        Ok(Shared { state, hub, file: Some(file) })
    }
}

/// The name of a user's copy.
fn file_name(user: &str) -> String {
    format!("{user}{COPY}")
}

/// The document that every group begins with.
fn document_id() -> DocId {
    DocId(*b"local document 1")
}

/// What the document begins with; `None` if the user has a file with a text of its own.
fn first_text(file: &Path) -> Option<String> {
    match std::fs::read(file) {
        Ok(bytes) if bytes != INITIAL.as_bytes() => None,
        _ => Some(INITIAL.to_owned()),
    }
}
