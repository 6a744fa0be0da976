//! From one client to another over TCP, through a real hub: the edit is in the journal before the other hears.

use std::path::Path;
use std::time::{Duration, Instant};

use syncline_engine::catalogue::DocId;
use syncline_engine::{AgentId, Document, Edit, Meta};
use syncline_protocol::diffsync::ClientInput;
use syncline_store::{Log, Record, SqliteLog};

use super::Connected;
use crate::Fallible;
use crate::files::Text;
use crate::hubs::Served;
use crate::percentiles::Summary;

/// From the beginning of one change to the next.
const PACE: Duration = Duration::from_millis(20);

/// What was measured.
pub struct Measured {
    pub summary: Summary,
    /// A commit of the same records, alone.
    pub commit: Summary,
}

/// Types into one client and waits until another one shows it, so many times.
pub fn measure(binary: &Path, place: &Path, rounds: usize) -> Fallible<Measured> {
    let served = Served::start(binary, place, |root| {
        std::fs::write(root.join("shared.txt"), Text::of(10 << 10).as_bytes())
    })?;
    let mut one = Connected::dial(served.diffsync, 1, &served.token)?;
    let mut other = Connected::dial(served.diffsync, 2, &served.token)?;
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let (at, mark) = (round * 31 % 10_000, format!("<{round}>"));
        let begun = Instant::now();
        one.input(ClientInput::Edited(vec![Edit::insert(at, mark.as_str())]))?;
        // What is shown is looked at, not only that something came.
        let length = one.client.text().chars();
        while other.client.text().chars() != length || other.client.text().slice(at..at + mark.len()) != mark
        {
            other.step()?;
        }
        times.push(begun.elapsed());
        while !one.client.is_saved() {
            one.step()?;
        }
        std::thread::sleep(PACE.saturating_sub(begun.elapsed()));
    }
    drop(served);
    Ok(Measured { summary: Summary::of(&times), commit: Summary::of(&commits(place, rounds)?) })
}

/// The floor: the edit's events and the session's state, committed by nobody else.
fn commits(place: &Path, rounds: usize) -> Fallible<Vec<Duration>> {
    let dir = tempfile::Builder::new().prefix("bench-floor-").tempdir_in(place)?;
    let mut log = SqliteLog::open(&dir.path().join("journal.db"))?;
    let (doc, agent) = (DocId([7; 16]), AgentId::from_random(7));
    let mut document = Document::new();
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let applied = document.edit(&[Edit::insert(0, format!("<{round}>"))], agent, &Meta::default())?;
        let batch = document.events_in(applied.events).encode();
        let heads = document.portable(document.version());
        let session = Record::DiffSession { session: [1; 16], doc, identity: [2; 32], state: vec![0; 100] };
        let begun = Instant::now();
        log.commit(&[Record::Events { doc, batch, heads }, session])?;
        times.push(begun.elapsed());
    }
    Ok(times)
}
