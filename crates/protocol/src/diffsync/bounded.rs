//! Lists whose items are counted while they are read. A message is as long as a text may be, and its shortest items take
//! many times their length in memory: what is too much is refused before it is there.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

use super::delta::Steps;
use super::request::Numbered;
use crate::error::{ErrorCode, ProtocolError};
use crate::json::describe;
use crate::limits;

/// What there is too much of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TooMany {
    Edits,
    Steps,
    Packings,
}

impl TooMany {
    const ALL: [TooMany; 3] = [TooMany::Edits, TooMany::Steps, TooMany::Packings];

    const fn text(self) -> (&'static str, usize) {
        match self {
            TooMany::Edits => ("edits", limits::MAX_SYNC_EDITS),
            TooMany::Steps => ("the number of steps of all deltas", limits::MAX_DELTA_STEPS),
            TooMany::Packings => ("compress", limits::MAX_PACKINGS),
        }
    }
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, most) = self.text();
        write!(f, "{what} is longer than {most}")
    }
}

/// The error in a message that could not be read.
pub(super) fn refused(error: &serde_json::Error) -> ProtocolError {
    // serde_json keeps of an error only its text. None of its own begins like one of these.
    let text = error.to_string();
    match TooMany::ALL.into_iter().find(|too_many| text.starts_with(&too_many.to_string())) {
        Some(too_many) => {
            let message = format!("{too_many} (line {}, column {})", error.line(), error.column());
            ProtocolError::new(ErrorCode::TooLarge, message)
        }
        None => describe(error),
    }
}

/// The edits of a server's message. Each was small enough when it was told first, and all that were not acknowledged come
/// again together.
pub(super) fn told_edits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Numbered>, D::Error> {
    deserializer.deserialize_seq(Edits { steps: limits::MAX_TOLD * limits::MAX_DELTA_STEPS })
}

/// The edits of a client's message, which may have none.
pub(super) fn some_edits<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Numbered>>, D::Error> {
    deserializer.deserialize_option(Perhaps(Edits { steps: limits::MAX_DELTA_STEPS }))
}

/// The names of compressions, if there are any.
pub(super) fn some_packings<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    deserializer.deserialize_option(Perhaps(Packings))
}

struct Edits {
    /// So many may all deltas have together.
    steps: usize,
}

impl<'de> Visitor<'de> for Edits {
    type Value = Vec<Numbered>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of edits")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Numbered>, A::Error> {
        let (mut edits, mut left) = (Vec::new(), limits::MAX_SYNC_EDITS);
        let mut steps = self.steps;
        while let Some(edit) = list.next_element_seed(Edit { steps: &mut steps })? {
            left = left.checked_sub(1).ok_or_else(|| A::Error::custom(TooMany::Edits))?;
            edits.push(edit);
        }
        Ok(edits)
    }
}

/// One edit: `[VERSION,DELTA]`.
struct Edit<'a> {
    steps: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for Edit<'_> {
    type Value = Numbered;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Numbered, D::Error> {
        deserializer.deserialize_tuple(2, self)
    }
}

impl<'de> Visitor<'de> for Edit<'_> {
    type Value = Numbered;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version and a delta")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Numbered, A::Error> {
        let version = list.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &"a version"))?;
        let delta = list.next_element_seed(Steps { left: self.steps })?;
        Ok((version, Arc::new(delta.ok_or_else(|| A::Error::invalid_length(1, &"a delta"))?)))
    }
}

struct Packings;

impl<'de> Visitor<'de> for Packings {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let (mut names, mut left) = (Vec::new(), limits::MAX_PACKINGS);
        while let Some(name) = list.next_element::<String>()? {
            left = left.checked_sub(1).ok_or_else(|| A::Error::custom(TooMany::Packings))?;
            names.push(name);
        }
        Ok(names)
    }
}

/// A list, or `null`.
struct Perhaps<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Perhaps<V> {
    type Value = Option<V::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Option<V::Value>, E> {
        Ok(None)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Option<V::Value>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<V::Value>, D::Error> {
        deserializer.deserialize_seq(self.0).map(Some)
    }
}
