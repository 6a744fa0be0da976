//! The floor: what the commits and the save on the path cost alone, on the same disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use syncline_disk::{
    ContentHash, Expect, Folder, RealFolder, RealOptions, RelPath, STATE_DIR, Save, Saved, temporary_name,
};
use syncline_engine::catalogue::DocId;
use syncline_engine::{AgentId, Document, Edit, Meta};
use syncline_store::{Log, Record, SqliteLog};

use crate::Fallible;
use crate::files::Text;

/// Rounds that are not counted: the first commit creates, the first save probes.
const WARM_UP: usize = 3;

/// What was measured, per round.
#[derive(Default)]
pub struct Floor {
    /// The events in the journals of both sides, and the intent in the second.
    pub commits: Vec<Duration>,
    /// The exchange-save.
    pub save: Vec<Duration>,
    /// Both.
    pub whole: Vec<Duration>,
}

/// Times the commits and the save of a file of `len` bytes that a save in A takes to get to B.
pub fn commits_and_save(place: &Path, len: usize, rounds: usize) -> Fallible<Floor> {
    let dir = tempfile::Builder::new().prefix("bench-floor-").tempdir_in(place)?;
    let (one, other) = (dir.path().join("a"), dir.path().join("b"));
    for root in [&one, &other] {
        fs::create_dir_all(root.join(STATE_DIR))?;
    }
    let mut served = SqliteLog::open(&one.join(STATE_DIR).join("journal.db"))?;
    let mut joined = SqliteLog::open(&other.join(STATE_DIR).join("journal.db"))?;
    let folder = RealFolder::open(&other, RealOptions::default())?;
    let path = RelPath::parse("file.txt")?;
    let doc = DocId([7; 16]);
    let agent = AgentId::from_random(7);
    let mut document = Document::new();
    let mut text = Text::of(len);
    fs::write(other.join("file.txt"), text.as_bytes())?;
    let mut floor = Floor::default();
    for round in 0..rounds + WARM_UP {
        let applied = document.edit(&[Edit::insert(0, "a word ")], agent, &Meta::default())?;
        let batch = document.events_in(applied.events).encode();
        let heads = document.portable(document.version());
        let events = Record::Events { doc, batch, heads };
        let state = Record::File { doc, state: vec![0; 64] };
        let decision = Record::Decision { doc, time_ms: 0, what: "the newest version was seen".to_owned() };
        let intent = Record::Intent { doc, intent: vec![0; 160] };
        let expect = Expect::File(ContentHash::of(text.as_bytes()));
        text.change(round);
        let save = Save {
            path: path.clone(),
            bytes: text.as_bytes().to_vec().into(),
            seen: None,
            expect,
            mode: None,
            temporary: temporary_name(round as u64),
            sync: syncline_disk::Sync::Full,
            ahead: false,
        };
        let begun = Instant::now();
        served.commit(&[events.clone(), state, decision])?;
        joined.commit(&[events])?;
        joined.commit(&[intent])?;
        let committed = Instant::now();
        let saved = folder.save(&save)?;
        let done = Instant::now();
        let displaced = match saved {
            Saved::Done { displaced, .. } => displaced,
            other => return Err(format!("the save that is the floor was not done: {other:?}").into()),
        };
        if let Some(id) = displaced {
            folder.forget(&id)?;
        }
        if round >= WARM_UP {
            floor.commits.push(committed - begun);
            floor.save.push(done - committed);
            floor.whole.push(done - begun);
        }
    }
    Ok(floor)
}

/// What it costs to read a file that somebody has just saved, and to save its bytes over another one, durably.
pub struct ReadAndWrite {
    from: PathBuf,
    to: PathBuf,
    fresh: PathBuf,
    /// What was measured, per round.
    pub times: Vec<Duration>,
}

impl ReadAndWrite {
    /// Two files in a directory.
    pub fn prepare(dir: &Path, bytes: &[u8]) -> Fallible<ReadAndWrite> {
        let [from, to, fresh] = ["floor.from", "floor.to", "floor.fresh"].map(|name| dir.join(name));
        fs::write(&to, bytes)?;
        Ok(ReadAndWrite { from, to, fresh, times: Vec::new() })
    }

    /// One round: the file is saved by rename (not counted), read, and its bytes are saved by rename.
    pub fn measure(&mut self, bytes: &[u8]) -> Fallible<()> {
        fs::write(&self.fresh, bytes)?;
        fs::rename(&self.fresh, &self.from)?;
        let begun = Instant::now();
        let bytes = fs::read(&self.from)?;
        let mut file = File::create(&self.fresh)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&self.fresh, &self.to)?;
        self.times.push(begun.elapsed());
        Ok(())
    }
}
