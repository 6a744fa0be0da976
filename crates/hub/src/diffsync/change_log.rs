//! What happened to a document, as people ask for it: who changed how much, and when.

use syncline_engine::{Change, Document};
use syncline_protocol::diffsync::HistoryEntry;

/// How many events are looked at first, and at most.
const FIRST: usize = 4 << 10;
const MOST: usize = 1 << 20;

/// The newest changes, oldest first. Neighbouring events of one author, channel and moment are one change.
pub fn change_log(document: &Document, most: usize) -> Vec<HistoryEntry> {
    let events = document.events();
    let mut window = FIRST;
    loop {
        let start = events.saturating_sub(window);
        let entries = entries_of(document, start);
        // The first of a window may be only a part of its change.
        let whole = if start == 0 { entries.len() } else { entries.len().saturating_sub(1) };
        if whole >= most || start == 0 || window >= MOST {
            let skip = entries.len() - whole.min(most);
            return entries.into_iter().skip(skip).collect();
        }
        window *= 4;
    }
}

fn entries_of(document: &Document, start: usize) -> Vec<HistoryEntry> {
    let mut entries: Vec<HistoryEntry> = Vec::new();
    let mut version = start as u64;
    for run in document.events_in(start..document.events()).runs {
        let count = run.count() as u64;
        version += count;
        let (inserted, deleted) = match run.change {
            Change::Insert { .. } => (count, 0),
            Change::Delete { .. } => (0, count),
        };
        let same = |last: &&mut HistoryEntry| {
            last.time_ms == run.meta.time_ms
                && *last.author == *run.meta.author
                && *last.channel == *run.meta.channel
        };
        match entries.last_mut().filter(same) {
            Some(last) => {
                last.inserted += inserted;
                last.deleted += deleted;
                last.version = version;
            }
            None => entries.push(HistoryEntry {
                time_ms: run.meta.time_ms,
                author: run.meta.author.to_string(),
                channel: run.meta.channel.to_string(),
                inserted,
                deleted,
                version,
            }),
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use syncline_engine::{AgentId, Edit, Meta};

    use super::*;

    #[test]
    fn changes_are_counted_and_the_newest_are_given() {
        let mut document = Document::new();
        let agent = AgentId::from_random(1);
        let meta = |author: &str, time_ms| Meta { author: author.into(), channel: "file".into(), time_ms };
        document.edit(&[Edit::insert(0, "hello world")], agent, &meta("ann", 1)).unwrap();
        let both = [Edit::delete(0..1), Edit { range: 6..7, insert: "WW".into() }];
        document.edit(&both, agent, &meta("bob", 2)).unwrap();
        let log = change_log(&document, 10);
        let counts: Vec<_> = log
            .iter()
            .map(|entry| (entry.author.as_str(), entry.inserted, entry.deleted, entry.version))
            .collect();
        assert_eq!(counts, [("ann", 11, 0, 11), ("bob", 2, 2, 15)]);
        assert_eq!(change_log(&document, 1), log[1..]);
        for number in 0..3_000 {
            document.edit(&[Edit::insert(0, "xy")], agent, &meta("cyd", 10 + number)).unwrap();
        }
        let log = change_log(&document, 2_500);
        assert_eq!((log.len(), log[0].time_ms), (2_500, 510));
        assert!(log.iter().all(|entry| entry.inserted == 2));
    }
}
