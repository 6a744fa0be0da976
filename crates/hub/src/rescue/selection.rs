//! Which of all that happened displaced something: pure, over what was read from the journal.

use std::collections::{BTreeMap, BTreeSet};

use syncline_engine::catalogue::{Catalogue, DocId, Entry, Kind, Life};
use syncline_engine::{Conflict, Document, Version};
use syncline_store::{Displaced, Kept};

use super::{How, Rescuable, Source, first_line, id_of, path_of};
use crate::policy;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Of this file, or of all files in this folder. `None`: of everything that is shared.
    pub path: Option<&'a str>,
    /// Not what was displaced before: milliseconds since 1970.
    pub since_ms: u64,
    /// Not what is less than so many characters or bytes.
    pub least: u64,
    /// Only what has an id that begins like this.
    pub id: Option<&'a str>,
    /// So many at most, the newest.
    pub newest: usize,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Wanted { path: None, since_ms: 0, least: 0, id: None, newest: 100 }
    }
}

impl Wanted<'_> {
    /// Whether a file at this path is asked about.
    pub fn covers(&self, path: &str) -> bool {
        self.path.is_none_or(|wanted| {
            path.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    fn fits(&self, it: &Rescuable) -> bool {
        it.time_ms >= self.since_ms
            && it.amount >= self.least
            && self.id.is_none_or(|id| it.id.starts_with(id))
    }
}

/// The newest of what is told, a bounded number.
pub(super) struct Newest<'a> {
    wanted: &'a Wanted<'a>,
    found: Vec<Rescuable>,
    older: u64,
}

impl<'a> Newest<'a> {
    pub fn new(wanted: &'a Wanted<'a>) -> Newest<'a> {
        Newest { wanted, found: Vec::new(), older: 0 }
    }

    pub fn take(&mut self, mut it: Rescuable) {
        if self.wanted.fits(&it) {
            if let (None, Source::Passage { lines, .. }) = (self.wanted.id, &mut it.source) {
                // A list shows the first line only; a large file that was rewritten often has many gigabytes of others.
                *lines = String::new();
            }
            self.found.push(it);
            // Sorted now and then, so that it costs little and holds little.
            if self.found.len() >= self.wanted.newest.saturating_mul(2).max(64) {
                self.trim();
            }
        }
    }

    fn trim(&mut self) {
        self.found.sort_by(|a, b| (a.time_ms, &a.id).cmp(&(b.time_ms, &b.id)));
        let surplus = self.found.len().saturating_sub(self.wanted.newest);
        self.found.drain(..surplus);
        self.older += surplus as u64;
    }

    /// The newest, oldest first, and how many were older.
    pub fn finish(mut self) -> (Vec<Rescuable>, u64) {
        self.trim();
        (self.found, self.older)
    }
}

/// All that is known of one document.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Which.
    pub doc: DocId,
    /// What the catalogue says of it.
    pub entry: &'a Entry,
    /// Its text and history; empty if it never was text.
    pub document: &'a Document,
    /// What is recorded of it, oldest first.
    pub rows: &'a [Displaced],
    /// Every content that is kept.
    pub contents: &'a BTreeMap<[u8; 32], Kept>,
    /// When its text last changed: milliseconds since 1970.
    pub changed_ms: u64,
}

/// What was displaced of one document.
pub fn selected(known: &Known<'_>, visit: &mut dyn FnMut(Rescuable)) {
    let Known { doc, entry, document, rows, contents, changed_ms } = *known;
    passages(known, visit);
    let new = |how, parts: &[&[u8]], source| Rescuable {
        id: id_of(&[&[doc.0.as_slice()], parts].concat()),
        doc: Some(doc),
        path: path_of(entry).to_owned(),
        time_ms: changed_ms,
        how,
        author: String::new(),
        amount: 0,
        first_line: String::new(),
        source,
    };
    let is_text = entry.kind() == Some(&Kind::Text);
    // A text that is gone as a whole: with its file, or because the file is no text any more.
    let dead = match entry.life() {
        Some(Life::Deleted { seen, .. }) => Some(document.known_part(seen)),
        _ => None,
    };
    if document.events() > 0 && (dead.is_some() && is_text || dead.is_none() && !is_text) {
        // What came after it was deleted, unknown to who did that, brought it back: the newest is all there was.
        let version = document.version().clone();
        let text = document.string_at(&version);
        if !text.is_empty() {
            let how = if is_text { How::Deleted } else { How::Replaced };
            let last = rows.iter().rfind(|row| is_text == row.content.is_none());
            visit(Rescuable {
                time_ms: last.map_or(changed_ms, |row| row.time_ms),
                author: last.map(|row| row.author.clone()).unwrap_or_default(),
                amount: text.len() as u64,
                first_line: first_line(&text),
                ..new(how, &[b"text"], Source::Text(version))
            });
        }
    }
    // Contents that gave way, and the one that was deleted.
    let current = entry.content().map(|content| content.hash);
    let shown = |hash: &[u8; 32]| entry.is_alive() && !is_text && current == Some(*hash);
    let mut told = BTreeSet::new();
    let mut content = |hash: [u8; 32], how, row: Option<&Displaced>| {
        let Some(kept) = contents.get(&hash).filter(|_| !shown(&hash)) else { return };
        if told.insert(hash) {
            visit(Rescuable {
                time_ms: row.map_or(kept.time_ms, |row| row.time_ms),
                author: row.map(|row| row.author.clone()).unwrap_or_default(),
                amount: kept.len,
                ..new(how, &[b"content", &hash], Source::Content(hash))
            });
        }
    };
    if dead.is_some() && !is_text {
        let last = rows.iter().rfind(|row| row.content.is_none());
        current.into_iter().for_each(|hash| content(hash, How::Deleted, last));
    }
    for row in rows.iter().rev() {
        // Of a text: what a client came back with, whose session was not known any more.
        let how = if is_text { How::Kept } else { How::Replaced };
        row.content.into_iter().for_each(|hash| content(hash, how.clone(), Some(row)));
    }
    // It is a text now; what it held before that gave way when its history began or went on.
    current.into_iter().for_each(|hash| content(hash, How::Replaced, None));
}

/// What changes took out of the document's text.
fn passages(known: &Known<'_>, visit: &mut dyn FnMut(Rescuable)) {
    let mut conflicts: Option<Vec<Conflict>> = None;
    known.document.displaced(&mut |displaced| {
        let by_policy = *displaced.meta.channel == *policy::CHANNEL;
        let (mut how, mut author) = (How::Overwritten, displaced.meta.author.to_string());
        if by_policy {
            // A policy is nobody; whose it was, and to whom it lost, is asked of the conflicts.
            let all = conflicts.get_or_insert_with(|| known.document.conflicts_since(&Version::root()));
            let of = |conflict: &&Conflict| {
                let lost = &conflict.loser.inserted;
                !lost.is_empty() && (displaced.lines.contains(lost) || lost.contains(&displaced.lines))
            };
            let found = all.iter().find(of);
            author = found.map(|conflict| conflict.loser.author.to_string()).unwrap_or_default();
            how = How::Lost {
                winner: found.map(|conflict| conflict.winner.author.to_string()).unwrap_or_default(),
            };
        }
        let seq = displaced.id.seq.to_be_bytes();
        visit(Rescuable {
            id: id_of(&[&known.doc.0, b"event", displaced.id.agent.as_bytes(), &seq]),
            doc: Some(known.doc),
            path: path_of(known.entry).to_owned(),
            time_ms: displaced.meta.time_ms,
            how,
            author,
            amount: displaced.removed as u64,
            first_line: first_line(&displaced.lines),
            source: Source::Passage { lines: displaced.lines, before: displaced.before },
        });
    });
}

/// Contents that are kept and of which it is not recorded which file held them: texts as they were before they were
/// joined, what was saved in the moment of a write, and what an older journal has.
pub fn orphans<'a>(
    catalogue: &Catalogue,
    rows: impl Iterator<Item = &'a Displaced>,
    contents: &BTreeMap<[u8; 32], Kept>,
    visit: &mut dyn FnMut(Rescuable),
) {
    let mut named: BTreeSet<[u8; 32]> = rows.filter_map(|row| row.content).collect();
    named.extend(catalogue.iter().filter_map(|(_, entry)| Some(entry.content()?.hash)));
    for kept in contents.values().filter(|kept| !named.contains(&kept.hash)) {
        visit(Rescuable {
            id: id_of(&[b"kept", &kept.hash]),
            doc: None,
            path: String::new(),
            time_ms: kept.time_ms,
            how: How::Kept,
            author: String::new(),
            amount: kept.len,
            first_line: String::new(),
            source: Source::Content(kept.hash),
        });
    }
}

#[cfg(test)]
mod tests {
    use syncline_engine::catalogue::{Content, Field};
    use syncline_engine::{AgentId, Edit, Meta};

    use super::super::record_of;
    use super::*;
    use syncline_store::Record;

    const DOC: DocId = DocId([7; 16]);

    /// A document with what was recorded of it, as the folder's task would.
    struct World {
        catalogue: Catalogue,
        document: Document,
        rows: Vec<Displaced>,
        contents: BTreeMap<[u8; 32], Kept>,
        agent: AgentId,
    }

    impl World {
        fn new(kind: Kind) -> World {
            let mut world = World {
                catalogue: Catalogue::new(),
                document: Document::new(),
                rows: Vec::new(),
                contents: BTreeMap::new(),
                agent: AgentId::from_random(1),
            };
            for field in [Field::Path("notes/a.txt".into()), Field::Kind(kind), Field::Life(Life::Alive)] {
                world.write(field, "ann", 0);
            }
            world
        }

        fn write(&mut self, field: Field, author: &str, time_ms: u64) {
            if let Some(Record::Displaced(row)) = record_of(&self.catalogue, DOC, &field, author, time_ms) {
                self.rows.push(row);
            }
            self.catalogue.write(DOC, field, self.agent);
        }

        fn holds(&mut self, number: u8, author: &str, time_ms: u64) {
            let hash = [number; 32];
            self.contents.insert(hash, Kept { hash, len: u64::from(number), time_ms });
            self.write(Field::Content(Content { hash, len: u64::from(number) }), author, time_ms);
        }

        fn edit(&mut self, edit: Edit, author: &str, channel: &str, time_ms: u64) {
            let meta = Meta { author: author.into(), channel: channel.into(), time_ms };
            self.document.edit(&[edit], self.agent, &meta).unwrap();
        }

        fn delete(&mut self, author: &str, time_ms: u64) {
            let seen = self.document.portable(self.document.version());
            self.write(Field::Life(Life::Deleted { seen, hash: None }), author, time_ms);
        }

        fn told(&self) -> Vec<(&'static str, u64, String, u64)> {
            let mut told = Vec::new();
            let known = Known {
                doc: DOC,
                entry: self.catalogue.get(&DOC).unwrap(),
                document: &self.document,
                rows: &self.rows,
                contents: &self.contents,
                changed_ms: 5,
            };
            selected(&known, &mut |it| told.push((it.how.word(), it.time_ms, it.author, it.amount)));
            told.sort_by_key(|it| it.1);
            told
        }
    }

    fn row(how: &'static str, time_ms: u64, author: &str, amount: u64) -> (&'static str, u64, String, u64) {
        (how, time_ms, author.to_owned(), amount)
    }

    #[test]
    fn what_a_save_took_out_and_a_deleted_text_are_told() {
        let mut world = World::new(Kind::Text);
        world.edit(Edit::insert(0, "one\ntwo\n"), "ann", "file", 1);
        assert_eq!(world.told(), [], "nothing is displaced yet");
        world.edit(Edit { range: 0..3, insert: "ONE".into() }, "bob", "file", 2);
        assert_eq!(world.told(), [row("overwritten", 2, "bob", 3)]);
        world.delete("cyd", 9);
        assert_eq!(world.told(), [row("overwritten", 2, "bob", 3), row("deleted", 9, "cyd", 8)]);
        world.write(Field::Life(Life::Alive), "ann", 10);
        assert_eq!(world.told(), [row("overwritten", 2, "bob", 3)], "it is back");
    }

    #[test]
    fn older_contents_are_told_once_and_only_while_they_are_kept() {
        let mut world = World::new(Kind::Opaque);
        world.holds(10, "ann", 1);
        world.holds(20, "bob", 2);
        world.holds(30, "", 3);
        assert_eq!(world.told(), [row("replaced", 2, "bob", 10), row("replaced", 3, "", 20)]);
        world.holds(10, "cyd", 4);
        assert_eq!(world.told(), [row("replaced", 3, "", 20), row("replaced", 4, "cyd", 30)]);
        world.contents.remove(&[20; 32]);
        world.delete("ann", 8);
        assert_eq!(world.told(), [row("replaced", 4, "cyd", 30), row("deleted", 8, "ann", 10)]);
    }

    #[test]
    fn a_text_that_became_other_bytes_and_the_other_way_round() {
        let mut world = World::new(Kind::Text);
        world.edit(Edit::insert(0, "text\n"), "ann", "file", 1);
        world.write(Field::Kind(Kind::Opaque), "ann", 2);
        world.holds(10, "ann", 2);
        assert_eq!(world.told(), [row("replaced", 5, "", 5)]);
        world.write(Field::Kind(Kind::Text), "ann", 3);
        assert_eq!(world.told(), [row("replaced", 2, "", 10)], "the bytes that it held before");
    }

    #[test]
    fn rules_6_the_text_of_a_client_that_came_back_is_told_as_its_own() {
        let mut world = World::new(Kind::Text);
        world.edit(Edit::insert(0, "text\n"), "ann", "file", 1);
        let hash = [9; 32];
        world.contents.insert(hash, Kept { hash, len: 9, time_ms: 3 });
        world.rows.push(Displaced { doc: DOC, time_ms: 3, author: "bob".into(), content: Some(hash) });
        assert_eq!(world.told(), [row("kept", 3, "bob", 9)]);
    }

    #[test]
    fn what_lost_to_a_later_writer_is_told_as_its_makers() {
        let mut world = World::new(Kind::Text);
        world.edit(Edit::insert(0, "begin\nend\n"), "ann", "file", 1);
        let base = world.document.version().clone();
        for (number, author, text) in [(2, "bob", "lost line\n"), (3, "cyd", "later line\n")] {
            let meta = Meta { author: author.into(), channel: "file".into(), time_ms: number };
            let agent = AgentId::from_random(u128::from(number));
            world.document.edit_at(&base, &[Edit::insert(6, text)], agent, &meta).unwrap();
        }
        let (edits, _) = world.document.last_writer_wins(&base);
        let meta = Meta { author: "syncline".into(), channel: policy::CHANNEL.into(), time_ms: 4 };
        world.document.edit(&edits, world.agent, &meta).unwrap();
        assert_eq!(world.told(), [row("lost", 4, "bob", 10)]);
    }

    #[test]
    fn kept_contents_that_no_file_is_known_of_are_told_too() {
        let mut world = World::new(Kind::Opaque);
        world.holds(1, "ann", 1);
        world.holds(2, "ann", 2);
        world.contents.insert([3; 32], Kept { hash: [3; 32], len: 3, time_ms: 9 });
        let mut told = Vec::new();
        orphans(&world.catalogue, world.rows.iter(), &world.contents, &mut |it| told.push(it));
        assert_eq!(told.iter().map(|it| (it.how.word(), it.time_ms)).collect::<Vec<_>>(), [("kept", 9)]);
    }

    #[test]
    fn the_newest_are_kept_and_the_rest_counted() {
        let wanted = Wanted { newest: 3, since_ms: 10, ..Wanted::default() };
        let mut newest = Newest::new(&wanted);
        let of = |number: u64| Rescuable {
            id: id_of(&[&number.to_be_bytes()]),
            doc: None,
            path: String::new(),
            time_ms: number,
            how: How::Kept,
            author: String::new(),
            amount: 1,
            first_line: String::new(),
            source: Source::Text(Version::root()),
        };
        (0..500).rev().for_each(|number| newest.take(of(number)));
        let (found, older) = newest.finish();
        assert_eq!(found.iter().map(|it| it.time_ms).collect::<Vec<_>>(), [497, 498, 499]);
        assert_eq!(older, 487);
        let under = Wanted { path: Some("notes"), ..Wanted::default() };
        let covered = ["notes", "notes/a.txt", "notes.txt", "old/notes"].map(|path| under.covers(path));
        assert_eq!(covered, [true, true, false, false]);
    }
}
