//! One rewrite made twice: two programs that did not know of each other replaced the same characters by the
//! same text (two formatters after one pull). Merging keeps both copies; one is enough.

use smallvec::SmallVec;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::document::Document;
use crate::edit::Edit;
use crate::meta::Meta;
use crate::operation::Kind;
use crate::version::{Lv, Version};
use crate::walker::Walker;

/// What was put in, and the deletion right before it in its place, if there was one.
struct Piece<'a> {
    deletes: Option<Range<Lv>>,
    inserts: Range<Lv>,
    text: &'a str,
}

/// The events of one maker at one time.
#[derive(Default)]
struct Save<'a> {
    deletes: Vec<Range<Lv>>,
    pieces: Vec<Piece<'a>>,
}

impl Document {
    /// The edits, at the newest version, that remove one copy of each text which both the events `new` and
    /// events of `before` that they did not know put in the place of exactly the same characters. `before` is
    /// the version that the document had when the new events came. Only events whose meta is `eligible`
    /// count. Pure insertions never do, with one exception: where two saves as a whole took out the same
    /// characters (and some) and put in the same texts at the same places, the blanks among them do too
    /// (docs/decisions/0010). The copy with the smaller event id stays; nothing is removed unless all of both is
    /// still there and the copy that goes stands alone.
    ///
    /// Costs a look at the new events; if they are such, one at those they did not know; and if both have a
    /// text in common, a walk over both.
    pub fn repeated_rewrites(
        &self,
        before: &Version,
        new: Range<Lv>,
        eligible: impl Fn(&Meta) -> bool,
    ) -> Vec<Edit> {
        let theirs = self.saves_in(std::iter::once(new.clone()), &eligible);
        if theirs.is_empty() {
            return Vec::new();
        }
        let version = self.heads_of_range(new);
        let unknown_to_them = self.graph.difference(before, &version).only_a;
        let ours = self.saves_in(unknown_to_them.into_iter(), &eligible);
        let texts: HashSet<&str> =
            ours.iter().flat_map(|save| &save.pieces).map(|piece| piece.text).collect();
        if !theirs.iter().flat_map(|save| &save.pieces).any(|piece| texts.contains(piece.text)) {
            return Vec::new();
        }
        let (base, between) = self.graph.dominating(before, &version);
        let mut walker = Walker::new(base);
        for range in between {
            // Their positions were checked when they came.
            let walked = walker.walk(&self.graph, &self.operations, range, None, &mut |_| {});
            debug_assert!(walked.is_ok(), "an event that was accepted has no place");
        }
        let pieces = || theirs.iter().chain(&ours).flat_map(|save| &save.pieces);
        let places = Places::of(&walker, pieces().map(|piece| piece.inserts.clone()));
        let mut wholes: HashMap<(Targets, Vec<&str>), &Save<'_>> = HashMap::new();
        let mut rewrites: HashMap<(Targets, &str), &Piece<'_>> = HashMap::new();
        for save in &ours {
            wholes.entry((targets(&walker, &save.deletes), save.texts())).or_insert(save);
            for piece in &save.pieces {
                if let Some(deletes) = &piece.deletes {
                    rewrites.entry((targets(&walker, [deletes]), piece.text)).or_insert(piece);
                }
            }
        }
        let mut edits = Vec::new();
        for one in &theirs {
            let whole = wholes.get(&(targets(&walker, &one.deletes), one.texts()));
            let pairs: Vec<(&Piece<'_>, &Piece<'_>)> = match whole {
                Some(other) if places.same_save(one, other) => one.pieces.iter().zip(&other.pieces).collect(),
                _ => {
                    let other = |piece: &Piece<'_>| {
                        let deletes = piece.deletes.as_ref()?;
                        rewrites.get(&(targets(&walker, [deletes]), piece.text)).copied()
                    };
                    one.pieces.iter().filter_map(|piece| Some((piece, other(piece)?))).collect()
                }
            };
            for (one, other) in pairs {
                let id = |piece: &Piece<'_>| self.graph.id_of(piece.inserts.start);
                let (stays, goes) = if id(one) < id(other) { (one, other) } else { (other, one) };
                if let (Some(_), Some(copy)) = (places.whole(stays), places.alone(goes)) {
                    edits.push(Edit::delete(copy));
                }
            }
        }
        edits.sort_by_key(|edit| edit.range.start);
        edits.dedup();
        edits
    }

    /// The version of everything that some events, whose numbers follow one another, stand for.
    fn heads_of_range(&self, new: Range<Lv>) -> Version {
        let (mut ends, mut next) = (SmallVec::new(), new.start);
        while next < new.end {
            let chain = self.graph.run_from(next, new.end);
            // What another run goes on from is no head.
            let parents = self.graph.parents_of(chain.start);
            ends.retain(|end| !parents.heads().contains(end));
            ends.push(chain.end - 1);
            next = chain.end;
        }
        self.graph.simplify(ends)
    }

    /// The saves among some events, as far as they put something in.
    fn saves_in(
        &self,
        ranges: impl Iterator<Item = Range<Lv>>,
        eligible: impl Fn(&Meta) -> bool,
    ) -> Vec<Save<'_>> {
        let mut saves: Vec<Save<'_>> = Vec::new();
        for range in ranges {
            let mut next = range.start;
            // A save is one chain of events with one meta.
            let mut before: Option<&Meta> = None;
            while next < range.end {
                let chain = self.graph.run_from(next, range.end);
                let (part, meta) = self.metas.run_from(chain.start, chain.end);
                next = part.end;
                let goes_on =
                    before == Some(meta) && self.graph.parents_of(part.start).heads() == [part.start - 1];
                before = Some(meta);
                if !eligible(meta) {
                    continue;
                }
                if !goes_on {
                    saves.push(Save::default());
                }
                let Some(save) = saves.last_mut() else { continue };
                let mut deleted: Option<(Range<Lv>, usize)> = None;
                for operation in self.operations.iter(part) {
                    match operation.kind {
                        Kind::Delete { at, backward } => {
                            let forward = !backward || operation.range.len() == 1;
                            deleted = forward.then_some((operation.range.clone(), at));
                            save.deletes.push(operation.range);
                        }
                        Kind::Insert { at } => {
                            let in_place = deleted.take().filter(|(_, from)| *from == at);
                            let deletes = in_place.map(|(deletes, _)| deletes);
                            save.pieces.push(Piece {
                                deletes,
                                inserts: operation.range,
                                text: operation.text,
                            });
                        }
                    }
                }
            }
        }
        saves.retain(|save| !save.deletes.is_empty() && !save.pieces.is_empty());
        saves
    }
}

impl<'a> Save<'a> {
    fn texts(&self) -> Vec<&'a str> {
        self.pieces.iter().map(|piece| piece.text).collect()
    }
}

/// Characters: ascending, disjoint.
type Targets = Vec<Range<Lv>>;

/// The characters that some events deleted.
fn targets<'a>(walker: &Walker, deletes: impl IntoIterator<Item = &'a Range<Lv>>) -> Targets {
    let mut out: Targets = deletes.into_iter().flat_map(|range| walker.deleted_by(range.clone())).collect();
    out.sort_by_key(|range| range.start);
    out.dedup_by(|next, last| {
        let meets = last.end == next.start;
        if meets {
            last.end = next.end;
        }
        meets
    });
    out
}

/// Where in the text as it stands the characters are that some events inserted, by the first event of each
/// insertion: sorted ranges.
struct Places(HashMap<Lv, Vec<Range<usize>>>);

impl Places {
    /// Looks all of them up in one pass.
    fn of(walker: &Walker, inserts: impl Iterator<Item = Range<Lv>>) -> Places {
        let mut wanted: Vec<Range<Lv>> = inserts.collect();
        wanted.sort_by_key(|range| range.start);
        let mut places: HashMap<Lv, Vec<Range<usize>>> = HashMap::new();
        for (events, at) in walker.standing() {
            let first = wanted.partition_point(|range| range.end <= events.start);
            for range in wanted[first..].iter().take_while(|range| range.start < events.end) {
                let from = at + (range.start.max(events.start) - events.start);
                let to = at + (range.end.min(events.end) - events.start);
                let known = places.entry(range.start).or_default();
                match known.last_mut() {
                    Some(last) if last.end == from => last.end = to,
                    _ => known.push(from..to),
                }
            }
        }
        Places(places)
    }

    /// From its first character to its last, if all of a piece is still there.
    fn whole(&self, piece: &Piece<'_>) -> Option<Range<usize>> {
        let places = self.0.get(&piece.inserts.start)?;
        let all = places.iter().map(Range::len).sum::<usize>() == piece.inserts.len();
        all.then_some(places.first()?.start..places.last()?.end)
    }

    /// The same, if nothing was put between.
    fn alone(&self, piece: &Piece<'_>) -> Option<Range<usize>> {
        self.whole(piece).filter(|place| place.len() == piece.inserts.len())
    }

    /// Whether two saves that took out the same and put in the same did so at the same places (then nothing
    /// lies between the copies), and only put in blanks where they took out nothing.
    fn same_save(&self, one: &Save<'_>, other: &Save<'_>) -> bool {
        one.pieces.iter().zip(&other.pieces).all(|(one, other)| {
            let blank = |piece: &Piece<'_>| piece.deletes.is_some() || piece.text.trim().is_empty();
            let beside =
                |(one, other): (Range<usize>, Range<usize>)| one.end == other.start || other.end == one.start;
            blank(one) && blank(other) && self.whole(one).zip(self.whole(other)).is_some_and(beside)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AgentId;

    fn meta(channel: &str) -> Meta {
        Meta { author: "somebody".into(), channel: channel.into(), time_ms: 1 }
    }

    /// Two replicas of `text`; each makes its edits; the first merges the second's, then both resolve.
    fn resolved(text: &str, a: &[Edit], b: &[Edit], channel: &str) -> (String, String) {
        let [ann, bob] = [b"ann", b"bob"].map(|name| AgentId::new(name).unwrap());
        let mut one = Document::new();
        one.edit(&[Edit::insert(0, text)], AgentId::new(b"start").unwrap(), &meta("file")).unwrap();
        let mut two = one.clone();
        one.edit(a, ann, &meta(channel)).unwrap();
        two.edit(b, bob, &meta(channel)).unwrap();
        let (of_one, of_two) = (one.events_since(&Version::root()), two.events_since(&Version::root()));
        for (document, batch, agent) in [(&mut one, &of_two, ann), (&mut two, &of_one, bob)] {
            let before = document.version().clone();
            let events = document.merge(batch).unwrap().events;
            let edits = document.repeated_rewrites(&before, events, |meta| &*meta.channel == "file");
            document.edit(&edits, agent, &meta("policy")).unwrap();
        }
        let (of_one, of_two) = (one.events_since(&Version::root()), two.events_since(&Version::root()));
        one.merge(&of_two).unwrap();
        two.merge(&of_one).unwrap();
        (one.text().to_string(), two.text().to_string())
    }

    fn replace(range: Range<usize>, text: &str) -> Edit {
        Edit { range, insert: text.into() }
    }

    #[test]
    fn rule_14_identical_rewrites_apply_once() {
        let formatted = [replace(0..3, "a = b"), replace(4..7, "c = d")];
        let once = "a = b\nc = d\n".to_owned();
        assert_eq!(resolved("a=b\nc=d\n", &formatted, &formatted, "file"), (once.clone(), once));
        // One of them changed something else besides, before the place.
        let more = [replace(0..3, "a == b"), replace(4..7, "c = d")];
        let (one, two) = resolved("a=b\nc=d\n", &formatted, &more, "file");
        assert_eq!(one, two);
        assert_eq!(one.matches("c = d").count(), 1);
        assert!(one.contains("a = b") && one.contains("a == b"), "{one}");
    }

    #[test]
    fn rule_14_two_saves_that_are_alike_apply_once_as_a_whole() {
        // Blanks put in, and a tab taken out: the insertions alone would have been doubled.
        let formatted = [replace(0..1, "    "), Edit::insert(2, " "), Edit::insert(3, " ")];
        let once = "    a = b\n".to_owned();
        assert_eq!(resolved("\ta=b\n", &formatted, &formatted, "file"), (once.clone(), once));
        let elsewhere = [replace(0..1, "    "), Edit::insert(3, " "), Edit::insert(4, " ")];
        let (one, two) = resolved("\ta=b\n", &formatted, &elsewhere, "file");
        assert_eq!(one, two);
        assert_eq!(one, "    a =  b \n", "insertions at other places are others");
        // Words are what two people wrote.
        let counted = [replace(0..1, "2"), Edit::insert(2, "a visit\n")];
        let (one, two) = resolved("1\n", &counted, &counted, "file");
        assert_eq!((one.as_str(), two.as_str()), ("2\na visit\na visit\n", "2\na visit\na visit\n"));
    }

    #[test]
    fn rule_14_only_saves_and_never_pure_inserts() {
        let formatted = [replace(0..3, "a = b")];
        let twice = resolved("a=b\n", &formatted, &formatted, "content").0;
        assert_eq!(twice, "a = ba = b\n", "two people who typed the same are two people");
        let inserted = [Edit::insert(0, "x\n")];
        assert_eq!(resolved("a\n", &inserted, &inserted, "file").0, "x\nx\na\n");
        // Other characters taken out: not the same rewrite.
        let (one, two) = resolved("abc\n", &[replace(0..1, "z")], &[replace(0..2, "z")], "file");
        assert_eq!((one.as_str(), two.as_str()), ("zzc\n", "zzc\n"));
    }

    #[test]
    fn a_copy_that_was_changed_since_is_left_alone() {
        let mut document = Document::new();
        let [ann, bob] = [b"ann", b"bob"].map(|name| AgentId::new(name).unwrap());
        let start = document.edit(&[Edit::insert(0, "a=b")], ann, &meta("file")).unwrap().version;
        let first = document.edit_at(&start, &[replace(0..3, "a = b")], ann, &meta("file")).unwrap();
        document.edit_at(&first.version, &[Edit::delete(0..5)], ann, &meta("file")).unwrap();
        let before = document.version().clone();
        let second = document.edit_at(&start, &[replace(0..3, "a = b")], bob, &meta("file")).unwrap();
        assert_eq!(document.repeated_rewrites(&before, second.events, |_| true), []);
        assert_eq!(document.text().to_string(), "a = b");
        // Or has something in it.
        let mut document = Document::new();
        let start = document.edit(&[Edit::insert(0, "a=b")], ann, &meta("file")).unwrap().version;
        let first = document.edit_at(&start, &[replace(0..3, "a = b")], bob, &meta("file")).unwrap();
        document.edit_at(&first.version, &[Edit::insert(3, "=")], bob, &meta("file")).unwrap();
        let before = document.version().clone();
        let second = document.edit_at(&start, &[replace(0..3, "a = b")], ann, &meta("file")).unwrap();
        assert_eq!(document.repeated_rewrites(&before, second.events, |_| true), []);
    }
}
