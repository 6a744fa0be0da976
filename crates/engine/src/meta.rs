//! Who made an event, when, and by which channel: what blame, `why` and undo-by-author are made of.

use std::ops::Range;
use std::sync::Arc;

use crate::version::Lv;

/// The longest author and the longest channel that are read, in bytes.
pub const MAX_NAME: usize = 256;

/// Where an edit came from.
#[derive(Clone, PartialEq, Eq, Debug, Default, PartialOrd, Ord)]
pub struct Meta {
    /// The person or program, as it named itself; may be empty. At most 256 bytes are kept.
    pub author: Arc<str>,
    /// The channel: `file`, `content`, `diffsync`, `local`, …
    pub channel: Arc<str>,
    /// When, in milliseconds since 1970 by the clock of the hub that first recorded it. Nothing is ordered
    /// by it but the last-writer-wins policy.
    pub time_ms: u64,
}

/// The metas of all events, run-length encoded.
#[derive(Clone, Default, Debug)]
pub struct Metas {
    runs: Vec<(Lv, Meta)>,
}

impl Metas {
    /// The events from `start` on have this meta.
    pub fn push(&mut self, start: Lv, meta: &Meta) {
        if self.runs.last().is_none_or(|(_, last)| last != meta) {
            let mut meta = meta.clone();
            if let Some((_, last)) = self.runs.last() {
                // Share the names: most runs differ only in their time.
                if last.author == meta.author {
                    meta.author = last.author.clone();
                }
                if last.channel == meta.channel {
                    meta.channel = last.channel.clone();
                }
            }
            self.runs.push((start, meta));
        }
    }

    /// Where in the range another meta begins.
    pub fn starts_in(&self, range: Range<Lv>) -> impl Iterator<Item = Lv> + '_ {
        let from = self.runs.partition_point(|(start, _)| *start < range.start);
        let starts = self.runs.get(from..).unwrap_or_default().iter().map(|(start, _)| *start);
        starts.take_while(move |start| *start < range.end)
    }

    /// Forgets every event from `len` on.
    pub fn truncate(&mut self, len: Lv) {
        let keep = self.runs.partition_point(|(start, _)| *start < len);
        self.runs.truncate(keep);
    }

    /// The meta of an event and the rest of `range` that shares it.
    pub fn run_from(&self, lv: Lv, end: Lv) -> (Range<Lv>, &Meta) {
        let next = self.runs.partition_point(|(start, _)| *start <= lv);
        let stop = self.runs.get(next).map_or(end, |(start, _)| *start).min(end);
        (lv..stop, &self.runs[next.saturating_sub(1)].1)
    }
}
