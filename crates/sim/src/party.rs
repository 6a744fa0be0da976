//! Somebody who edits at a replica, seeing sometimes the newest version and sometimes an old one.
//!
//! Whatever a party inserts is a marker, unique in the world; parties insert between markers and delete
//! whole ones, so that at the end a text must consist of whole markers, each once.

use syncline_engine::catalogue::DocId;
use syncline_engine::{Edit, Heads};

/// How many old versions somebody remembers.
const MEMORY: usize = 32;

/// What somebody wants to do; the numbers are reduced to what there is when it happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wish {
    /// In which document.
    pub document: usize,
    /// 0: having seen the newest version; otherwise one of the remembered ones.
    pub stale: usize,
    /// Before which marker, or from which on.
    pub place: usize,
    /// How many markers are deleted.
    pub deletes: usize,
    /// Whether a marker is inserted.
    pub inserts: bool,
}

impl Wish {
    /// Any wish.
    pub fn draw(rng: &mut fastrand::Rng) -> Wish {
        let (deletes, inserts) = match rng.u8(0..10) {
            0..=5 => (0, true),
            6 | 7 => (rng.usize(1..=2), false),
            _ => (rng.usize(1..=3), true),
        };
        let stale = if rng.u8(0..5) < 3 { 0 } else { rng.usize(1..=MEMORY) };
        // Many of the edits want the same place.
        let place = if rng.bool() { rng.usize(0..3) } else { rng.usize(0..100) };
        Wish { document: rng.usize(0..4), stale, place, deletes, inserts }
    }
}

/// Somebody at a replica.
#[derive(Default)]
pub struct Party {
    versions: Vec<(DocId, Heads)>,
}

impl Party {
    /// Somebody saw this version.
    pub fn remember(&mut self, doc: DocId, heads: Heads) {
        if self.versions.len() == MEMORY {
            self.versions.remove(0);
        }
        self.versions.push((doc, heads));
    }

    /// The version that an edit is made at.
    pub fn version(&mut self, doc: DocId, newest: Heads, stale: usize) -> Heads {
        self.remember(doc, newest.clone());
        let of_doc: Vec<&Heads> =
            self.versions.iter().filter(|(other, _)| *other == doc).map(|(_, heads)| heads).collect();
        match of_doc.get(stale % of_doc.len().max(1)) {
            Some(heads) if stale > 0 => (*heads).clone(),
            _ => newest,
        }
    }
}

/// The marker with this number: of differing lengths, and not only ASCII.
pub fn marker(number: u64) -> String {
    let filling = "\u{e9}x\u{1f600}yz".chars().cycle().take((number % 7) as usize);
    format!("<{number}{}>", filling.collect::<String>())
}

/// A marker in a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The whole of it.
    pub marker: String,
    /// Where it begins, in scalars.
    pub at: usize,
    /// How long it is, in scalars.
    pub len: usize,
}

/// The markers that a text consists of, or what in it is no whole marker.
pub fn markers(text: &str) -> Result<Vec<Found>, String> {
    let mut found: Vec<Found> = Vec::new();
    let mut open: Option<Found> = None;
    for (at, character) in text.chars().enumerate() {
        match (&mut open, character) {
            (None, '<') => open = Some(Found { marker: "<".to_owned(), at, len: 1 }),
            (Some(marker), character) if character != '<' => {
                marker.marker.push(character);
                marker.len += 1;
                if character == '>' {
                    found.extend(open.take());
                }
            }
            (_, character) => return Err(format!("{character:?} at {at}")),
        }
    }
    match open {
        Some(marker) => Err(format!("{:?} at the end", marker.marker)),
        None => Ok(found),
    }
}

/// The edit that fulfils a wish in a text, and the markers it deletes; `None` if there is nothing to do.
pub fn edit(text: &str, wish: Wish, marker: &str) -> Option<(Edit, Vec<String>)> {
    let found = markers(text).ok()?;
    let end = found.last().map_or(0, |last| last.at + last.len);
    let index = wish.place % (found.len() + 1);
    let from = found.get(index).map_or(end, |first| first.at);
    let deleted = &found[index..(index + wish.deletes).min(found.len())];
    let to = deleted.last().map_or(from, |last| last.at + last.len);
    let insert = if wish.inserts { marker.to_owned() } else { String::new() };
    let edit = Edit { range: from..to, insert };
    let deleted = deleted.iter().map(|each| each.marker.clone()).collect();
    (!edit.is_empty()).then_some((edit, deleted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_as_its_markers() {
        let text: String = (5..9).map(marker).collect();
        let found = markers(&text).unwrap();
        assert_eq!(found.len(), 4);
        assert_eq!(found[2].marker, marker(7));
        assert_eq!(found[1].at, marker(5).chars().count());
        assert!(markers("<1><2").is_err() && markers("<1>x<2>").is_err() && markers("<1<2>3>").is_err());
        assert!(markers("").unwrap().is_empty());
    }

    #[test]
    fn wishes_become_edits_between_markers() {
        let wish = Wish { document: 0, stale: 0, place: 1, deletes: 5, inserts: true };
        let (made, deleted) = edit("<1><2><3>", wish, "<4>").unwrap();
        assert_eq!(made, Edit { range: 3..9, insert: "<4>".into() });
        assert_eq!(deleted, ["<2>", "<3>"]);
        assert_eq!(edit("", Wish { inserts: false, ..wish }, "<4>"), None);
        let (made, _) = edit("<1>", Wish { deletes: 0, ..wish }, "<4>").unwrap();
        assert_eq!(made, Edit::insert(3, "<4>"));
    }
}
