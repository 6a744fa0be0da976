//! A party that says and hears what changed.

use syncline_engine::{Edit, Heads, Meta, Version, check_batch};
use syncline_protocol::content::{Guest, Marks, News, Present, Step, Unit, converted, to_edits, to_steps};
use syncline_protocol::limits::MAX_DOCUMENT_BYTES;
use syncline_store::Record;

use super::{TextSession, clipped, parse_version, version_name};
use crate::document::missed::{AskMissed, Missed};
use crate::document::{Command, Edited, Request};
use crate::error::HubError;
use crate::presence::Seat;

/// What a session has besides, if its party works by edits.
pub(super) struct ByEdits {
    unit: Unit,
    seat: Seat,
    /// What the party was told of the others, in the text at its shadow.
    told: Vec<Present>,
}

impl ByEdits {
    /// Waits until somebody came, left or moved. Cancel-safe.
    pub async fn changed(&mut self) {
        self.seat.changed().await;
    }
}

impl TextSession {
    /// From now on the party says and hears what changed, and others are told that it is here.
    pub fn welcome(&mut self, guest: Guest, name: &str) {
        if !name.is_empty() {
            self.party.name = name.to_owned();
        }
        let seat = self.hub.0.rooms.enter(self.doc, clipped(name).to_owned(), guest.color);
        self.by_edits = Some(ByEdits { unit: guest.unit, seat, told: Vec::new() });
    }

    /// What the party has missed since it was sent something.
    ///
    /// # Errors
    /// [`HubError::Store`] and others when the document cannot be read.
    pub async fn news(&mut self) -> Result<News, HubError> {
        self.listen()?;
        let since = self.sent.clone().unwrap_or_default();
        self.news_since(since, &[], false).await
    }

    /// Enters edits that the party made at the version `base`, and tells what it has missed since then. Durable on
    /// return; the same `request_id` with the same edits is entered once.
    ///
    /// # Errors
    /// [`HubError::BadBase`], [`HubError::BadPosition`], [`HubError::TooLarge`], [`HubError::StorageFull`] and others;
    /// nothing is entered then.
    pub async fn edit(&mut self, base: &str, steps: Vec<Step>, request_id: &str) -> Result<News, HubError> {
        let bytes: usize = steps.iter().map(|step| step.insert.len()).sum();
        if bytes > MAX_DOCUMENT_BYTES {
            return Err(HubError::TooLarge { bytes, limit: MAX_DOCUMENT_BYTES });
        }
        self.listen()?;
        let key = self.request_key(base, &steps, request_id);
        let (version, text) = self.seen(base).await?;
        let edits = to_edits(steps, self.unit(), &text)
            .map_err(|error| HubError::BadPosition { what: error.message })?;
        // Checked here, too: an edit that changes nothing is entered without being looked at.
        check_batch(&edits, usize::MAX).map_err(|error| HubError::BadPosition { what: error.to_string() })?;
        let meta = Meta {
            author: clipped(&self.party.name).into(),
            channel: self.party.channel.into(),
            time_ms: self.hub.now_ms(),
        };
        let request = Some(Request { key, records: Vec::<Record>::new() });
        let aside = self.sent.as_ref() != Some(&version);
        let own = edits.clone();
        let Edited { version, .. } =
            self.hub.ask(self.doc, |reply| Command::Edit { version, edits, meta, request, reply }).await?;
        self.news_since(version, &own, aside).await
    }

    /// Tells the others where the party's cursor is.
    ///
    /// # Errors
    /// [`HubError::BadBase`], [`HubError::BadPosition`].
    pub async fn mark(&mut self, marks: Marks) -> Result<(), HubError> {
        let Marks { version, cursor, anchor } = marks;
        let (version, text) = self.seen(&version).await?;
        let unit = self.unit();
        let place = |at: Option<usize>| -> Result<Option<usize>, HubError> {
            let Some(at) = at else { return Ok(None) };
            if unit == Unit::Scalar {
                return Ok(Some(at.min(MAX_DOCUMENT_BYTES)));
            }
            let places = converted(&text, unit, Unit::Scalar, &[at]);
            let outside = || HubError::BadPosition { what: "a cursor outside the text".to_owned() };
            places.map(|places| places.first().copied()).ok_or_else(outside)
        };
        let own = Present {
            id: 0,
            name: String::new(),
            color: None,
            cursor: place(cursor)?,
            anchor: place(anchor)?,
        };
        let Some(by_edits) = &mut self.by_edits else { return Ok(()) };
        let room = by_edits.seat.version();
        let since = std::iter::once(version).chain(room.clone()).collect();
        let missed = self.missed(since, false).await?;
        let Missed { version: now, mut changes, .. } = missed;
        let in_room = if room.is_some() { changes.pop().unwrap_or_default() } else { Vec::new() };
        let mut own = own;
        own.shift(&changes.pop().unwrap_or_default());
        if let Some(by_edits) = &self.by_edits {
            by_edits.seat.mark((own.cursor, own.anchor), room.as_ref(), &in_room, &now);
        }
        Ok(())
    }

    fn unit(&self) -> Unit {
        self.by_edits.as_ref().map_or(Unit::Scalar, |by_edits| by_edits.unit)
    }

    /// What names a request for ever: who asked what.
    fn request_key(&self, base: &str, steps: &[Step], request_id: &str) -> Vec<u8> {
        let mut hash = blake3::Hasher::new();
        for part in std::iter::once(base).chain(steps.iter().map(|step| step.insert.as_str())) {
            hash.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        for step in steps {
            hash.update(&(step.at as u64).to_le_bytes()).update(&(step.delete as u64).to_le_bytes());
        }
        format!("{}\0{}\0{request_id}\0edits {}", self.party.name, self.doc, hash.finalize()).into_bytes()
    }

    /// A version that the party names, and its text if positions are to be converted.
    async fn seen(&mut self, name: &str) -> Result<(Version, std::sync::Arc<String>), HubError> {
        let heads: Heads = parse_version(name).ok_or(HubError::BadBase)?;
        if self.unit() != Unit::Scalar {
            let at = self.hub.ask(self.doc, |reply| Command::TextAt { heads, reply }).await?;
            return Ok((at.version, at.text));
        }
        if let (Some(sent), true) = (&self.sent, self.sent_name == name) {
            return Ok((sent.clone(), Default::default()));
        }
        let version = self.hub.ask(self.doc, |reply| Command::Known { heads, reply }).await?;
        Ok((version, Default::default()))
    }

    async fn missed(&self, since: Vec<Version>, with_text: bool) -> Result<Missed, HubError> {
        self.hub.ask(self.doc, |reply| Command::Missed(AskMissed { since, with_text, reply })).await
    }

    /// What changed since a version of the party, which is its shadow, or its shadow with its `own` edits; or, `aside`,
    /// neither. The newest version is its shadow then.
    async fn news_since(&mut self, since: Version, own: &[Edit], aside: bool) -> Result<News, HubError> {
        let unit = self.unit();
        let room = self.by_edits.as_mut().and_then(|by_edits| by_edits.seat.version());
        let asked = std::iter::once(since).chain(room.clone()).collect();
        let Missed { version, heads, base, text, mut changes } =
            self.missed(asked, unit != Unit::Scalar).await?;
        let in_room = if room.is_some() { changes.pop().unwrap_or_default() } else { Vec::new() };
        let edits = changes.pop().unwrap_or_default();
        let mut others = None;
        if let Some(by_edits) = &mut self.by_edits {
            let present = by_edits.seat.others(room.as_ref(), &in_room, &version);
            for told in &mut by_edits.told {
                told.shift(own);
                told.shift(&edits);
            }
            if aside || by_edits.told != present {
                by_edits.told.clone_from(&present);
                others = Some(present);
            }
        }
        if let Some(others) = others.as_mut().filter(|_| unit != Unit::Scalar) {
            let mut now = text.clone().unwrap_or_default();
            now = syncline_engine::apply_to_str(&now, &edits);
            convert(others, &now, unit);
        }
        let edits = to_steps(edits, unit, text.as_deref().unwrap_or_default());
        let edits = edits
            .ok_or_else(|| HubError::BadPosition { what: "the text does not fit its changes".to_owned() })?;
        self.sent = Some(version);
        self.sent_name = version_name(&heads);
        Ok(News { base: version_name(&base), version: self.sent_name.clone(), edits, others })
    }
}

/// Places in scalars, as the party counts.
fn convert(others: &mut [Present], text: &str, unit: Unit) {
    let length = Unit::Scalar.length(text);
    let marks = others.iter_mut().flat_map(|other| [&mut other.cursor, &mut other.anchor]);
    let mut places: Vec<&mut usize> = marks.filter_map(Option::as_mut).collect();
    let asked: Vec<usize> = places.iter().map(|place| (**place).min(length)).collect();
    for (place, found) in
        places.iter_mut().zip(converted(text, Unit::Scalar, unit, &asked).unwrap_or_default())
    {
        **place = found;
    }
}
