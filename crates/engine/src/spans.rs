//! The walker's list: spans of characters in document order, each with its state at two versions.
//!
//! A two-level list: chunks of at most [`CHUNK`] spans with the sums of their visible lengths, and an index
//! from events to chunks. Finding a place costs a scan of the chunks' sums and of one chunk.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::version::Lv;

/// Ids from here on stand for characters that were there before the walked region began; nobody needs to
/// know who inserted them.
pub const BEFORE: Lv = usize::MAX / 2;
/// How many characters are taken to have been there: more than any text has.
pub const BEFORE_LEN: usize = usize::MAX / 8;
/// No character: the beginning as a left origin, the end as a right one.
pub const NONE: Lv = usize::MAX;

#[cfg(not(test))]
const CHUNK: usize = 32;
/// Tiny in tests, so that chunks split within a few edits.
#[cfg(test)]
const CHUNK: usize = 4;

/// A run of characters inserted one after the other, all in the same state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The event that inserted the first character; the rest follow.
    pub id: Lv,
    /// How many characters.
    pub len: usize,
    /// The character to the left when the first was inserted. (Of the others it is their predecessor.)
    pub left: Lv,
    /// Fugue's right parent of the first: the next character to the right that existed then, if that one's
    /// left origin is `left` too; otherwise [`NONE`], as for the other characters of the span.
    pub right: Lv,
    /// At the walker's version: 0 not inserted, 1 visible, 1 + n deleted n times (concurrently).
    pub state: u32,
    /// Whether it is deleted in the text as it stands (everything walked).
    pub gone: bool,
}

impl Span {
    fn here(&self) -> usize {
        if self.state == 1 { self.len } else { 0 }
    }

    fn now(&self) -> usize {
        if self.gone { 0 } else { self.len }
    }

    /// Splits off what follows the first `at` characters.
    fn split(&mut self, at: usize) -> Span {
        let (id, len) = (self.id + at, self.len - at);
        let tail = Span { id, len, left: id - 1, right: NONE, ..*self };
        self.len = at;
        tail
    }
}

/// A place between characters: before character `offset` of span `span` of the `chunk`-th chunk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Which chunk, in document order.
    pub chunk: usize,
    /// Which span of it.
    pub span: usize,
    /// How many characters into it.
    pub offset: usize,
}

#[derive(Clone, Copy, Debug)]
struct Summary {
    /// Which of `chunks`.
    id: u32,
    /// Characters visible at the walker's version.
    here: usize,
    /// Characters visible in the text as it stands.
    now: usize,
}

/// The list.
#[derive(Clone, Debug)]
pub struct SpanList {
    order: Vec<Summary>,
    chunks: Vec<Vec<Span>>,
    /// Where each of `chunks` is in `order`. Written anew when a chunk splits, which few edits do.
    position: Vec<u32>,
    /// First event of each span -> its chunk.
    index: BTreeMap<Lv, u32>,
    /// Characters visible at the walker's version.
    here: usize,
    /// Characters visible in the text as it stands.
    now: usize,
}

impl SpanList {
    /// A list that holds only the text from before the walked region, if there was any.
    pub fn new(before: bool) -> SpanList {
        let mut list = SpanList {
            order: vec![Summary { id: 0, here: 0, now: 0 }],
            chunks: vec![Vec::new()],
            position: vec![0],
            index: BTreeMap::new(),
            here: 0,
            now: 0,
        };
        if before {
            let span = Span { id: BEFORE, len: BEFORE_LEN, left: NONE, right: NONE, state: 1, gone: false };
            list.insert(Place { chunk: 0, span: 0, offset: 0 }, span);
        }
        list
    }

    /// How many spans there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Total visible at the walker's version, and in the text as it stands.
    pub fn totals(&self) -> (usize, usize) {
        (self.here, self.now)
    }

    /// The spans in document order.
    pub fn iter(&self) -> impl Iterator<Item = &Span> {
        self.order.iter().flat_map(|summary| &self.chunks[summary.id as usize])
    }

    /// The span at a place, if there is one (the offset is not looked at).
    pub fn get(&self, place: Place) -> Option<&Span> {
        self.chunks[self.order.get(place.chunk)?.id as usize].get(place.span)
    }

    /// The place just after the `at`-th visible character (at the walker's version), and how much of the
    /// text as it stands lies before it. `None` when fewer are visible.
    pub fn after_visible(&self, at: usize) -> Option<(Place, usize)> {
        let (mut left, mut now) = (at, 0);
        if at == 0 {
            return Some((Place { chunk: 0, span: 0, offset: 0 }, 0));
        }
        for (chunk, summary) in self.order.iter().enumerate() {
            if summary.here < left {
                left -= summary.here;
                now += summary.now;
                continue;
            }
            for (span, item) in self.chunks[summary.id as usize].iter().enumerate() {
                let here = item.here();
                if here >= left {
                    now += if item.gone { 0 } else { left };
                    return Some((Place { chunk, span, offset: left }, now));
                }
                left -= here;
                now += item.now();
            }
        }
        None
    }

    /// Moves a place that stands at the end of a span to the beginning of the next one, skipping empty
    /// chunks. The result may be past the last span.
    pub fn normalise(&self, mut place: Place) -> Place {
        while let Some(summary) = self.order.get(place.chunk) {
            let chunk = &self.chunks[summary.id as usize];
            match chunk.get(place.span) {
                Some(span) if place.offset < span.len => return place,
                Some(_) => place = Place { span: place.span + 1, offset: 0, ..place },
                None => place = Place { chunk: place.chunk + 1, span: 0, offset: 0 },
            }
        }
        place
    }

    /// The place of the span after this one.
    pub fn next(&self, place: Place) -> Place {
        self.normalise(Place { span: place.span + 1, offset: 0, ..place })
    }

    /// The place of a character (before it). [`NONE`] is past the end.
    pub fn find(&self, id: Lv) -> Place {
        let end = Place { chunk: self.order.len(), span: 0, offset: 0 };
        if id == NONE {
            return end;
        }
        let Some((&start, &chunk_id)) = self.index.range(..=id).next_back() else { return end };
        let chunk = self.position[chunk_id as usize] as usize;
        let Some(span) = self.chunks[chunk_id as usize].iter().position(|span| span.id == start) else {
            return end;
        };
        Place { chunk, span, offset: id - start }
    }

    /// How much of the text as it stands lies before a place.
    pub fn now_before(&self, place: Place) -> usize {
        let chunks: usize = self.order.iter().take(place.chunk).map(|summary| summary.now).sum();
        let Some(summary) = self.order.get(place.chunk) else { return chunks };
        let spans = &self.chunks[summary.id as usize];
        let before: usize = spans.iter().take(place.span).map(Span::now).sum();
        let within = spans.get(place.span).map_or(0, |span| if span.gone { 0 } else { place.offset });
        chunks + before + within
    }

    /// Inserts a visible span at a place, splitting the span there if the place is inside one.
    pub fn insert(&mut self, place: Place, span: Span) {
        let (chunk, at) = if place.chunk >= self.order.len() {
            let last = self.order.len() - 1;
            (last, self.chunks[self.order[last].id as usize].len())
        } else {
            let at = if place.offset > 0 { self.split(place) } else { place.span };
            (place.chunk, at)
        };
        self.here += span.here();
        self.now += span.now();
        let summary = &mut self.order[chunk];
        summary.here += span.here();
        summary.now += span.now();
        let id = summary.id;
        let spans = &mut self.chunks[id as usize];
        if let Some(before) = at.checked_sub(1).map(|at| &mut spans[at])
            && before.id + before.len == span.id
            && span.left.checked_add(1) == Some(span.id)
            && span.right == NONE
            && before.state == span.state
            && before.gone == span.gone
        {
            before.len += span.len;
            return;
        }
        spans.insert(at, span);
        self.index.insert(span.id, id);
        self.balance(chunk);
    }

    /// Splits the span at a place inside it; returns the index of the part after the place.
    fn split(&mut self, place: Place) -> usize {
        let id = self.order[place.chunk].id;
        let spans = &mut self.chunks[id as usize];
        let span = &mut spans[place.span];
        if place.offset == 0 {
            return place.span;
        }
        if place.offset < span.len {
            let tail = span.split(place.offset);
            spans.insert(place.span + 1, tail);
            self.index.insert(tail.id, id);
        }
        place.span + 1
    }

    /// Splits a chunk that has grown too long.
    fn balance(&mut self, chunk: usize) {
        let id = self.order[chunk].id;
        if self.chunks[id as usize].len() <= CHUNK {
            return;
        }
        let half = self.chunks[id as usize].len() / 2;
        let tail = self.chunks[id as usize].split_off(half);
        let new_id = self.chunks.len() as u32;
        let (mut here, mut now) = (0, 0);
        for span in &tail {
            here += span.here();
            now += span.now();
            self.index.insert(span.id, new_id);
        }
        self.chunks.push(tail);
        self.order[chunk].here -= here;
        self.order[chunk].now -= now;
        self.order.insert(chunk + 1, Summary { id: new_id, here, now });
        self.position.push(0);
        for (at, summary) in self.order.iter().enumerate().skip(chunk + 1) {
            self.position[summary.id as usize] = at as u32;
        }
    }

    /// Changes the state of the characters `ids`, span by span, splitting where they begin and end.
    /// `change` gets each span's part and returns its new state and whether it is gone.
    pub fn update(&mut self, ids: Range<Lv>, mut change: impl FnMut(&Span) -> (u32, bool)) {
        let mut next = ids.start;
        while next < ids.end {
            let place = self.find(next);
            if place.chunk >= self.order.len() {
                return;
            }
            let count = self.update_at(place, ids.end - next, &mut change);
            if count == 0 {
                return;
            }
            next += count;
        }
    }

    /// Changes the state of at most `count` characters of the span at a place; returns how many.
    pub fn update_at(
        &mut self,
        place: Place,
        count: usize,
        change: impl FnOnce(&Span) -> (u32, bool),
    ) -> usize {
        let at = self.split(place);
        let head = Place { span: at, offset: 0, ..place };
        let Some(len) = self.get(head).map(|span| span.len.min(count)) else { return 0 };
        self.split(Place { offset: len, ..head });
        let summary = &mut self.order[place.chunk];
        let span = &mut self.chunks[summary.id as usize][at];
        let (here, now) = (span.here(), span.now());
        (span.state, span.gone) = change(span);
        summary.here = summary.here - here + span.here();
        summary.now = summary.now - now + span.now();
        self.here = self.here - here + span.here();
        self.now = self.now - now + span.now();
        self.balance(place.chunk);
        len
    }
}
