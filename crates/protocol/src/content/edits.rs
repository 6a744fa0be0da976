//! Edits as they are written on the channel.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use syncline_engine::Edit;

use super::presence::Present;
use super::unit::{Unit, converted};
use crate::error::ProtocolError;
use crate::json::bad;
use crate::limits;

/// One edit: at this position so much is taken out, and this is put in. All positions of a message are in the text
/// that it was made against, in the client's unit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Where.
    pub at: usize,
    /// How much is taken out.
    #[serde(default)]
    pub delete: usize,
    /// What is put in.
    #[serde(default)]
    pub insert: String,
}

/// What a client changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EditRequest {
    /// The version whose text the client had.
    pub base: String,
    /// What changed in it.
    pub edits: Vec<Step>,
    /// Which document, if the client wants that checked.
    pub document: Option<String>,
    /// A name for this request, by which it is answered; a repeat gets the same answer.
    pub request_id: String,
}

/// What a client has missed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct News {
    /// The version that the client has: what it was sent last, or what it made its request at and the request.
    pub base: String,
    /// The version it has with the edits.
    pub version: String,
    /// What changed between them.
    pub edits: Vec<Step>,
    /// Everybody else who is here, at that version; `None`: as it was.
    pub others: Option<Vec<Present>>,
}

/// At most [`limits::MAX_EDITS`] of them; no memory is taken for more.
pub(super) struct Steps(pub Vec<Step>);

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Steps, D::Error> {
        deserializer.deserialize_seq(StepsVisitor).map(Steps)
    }
}

struct StepsVisitor;

impl<'de> Visitor<'de> for StepsVisitor {
    type Value = Vec<Step>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} edits", limits::MAX_EDITS)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<Step>, A::Error> {
        let mut steps = Vec::new();
        while let Some(step) = sequence.next_element()? {
            if steps.len() == limits::MAX_EDITS {
                return Err(A::Error::invalid_length(steps.len() + 1, &self));
            }
            steps.push(step);
        }
        Ok(steps)
    }
}

/// The edits that these steps mean. `text` is what they were made against; it is not looked at for scalars.
///
/// # Errors
/// `bad_message` for a position that is none. Whether edits are in order and within the text is the engine's to say.
pub fn to_edits(steps: Vec<Step>, unit: Unit, text: &str) -> Result<Vec<Edit>, ProtocolError> {
    let ends = |step: &Step| step.at.checked_add(step.delete).map(|end| [step.at, end]);
    let positions: Option<Vec<[usize; 2]>> = steps.iter().map(ends).collect();
    let mut positions = positions.ok_or_else(outside)?;
    if unit != Unit::Scalar {
        let found = converted(text, unit, Unit::Scalar, positions.as_flattened()).ok_or_else(outside)?;
        positions = found.as_chunks().0.to_vec();
    }
    let edits = steps.into_iter().zip(positions);
    Ok(edits.map(|(step, [start, end])| Edit { range: start..end, insert: step.insert }).collect())
}

/// The other way round. `text` is what the edits were made against; it is not looked at for scalars. `None` if they do
/// not fit it.
pub fn to_steps(edits: Vec<Edit>, unit: Unit, text: &str) -> Option<Vec<Step>> {
    let mut positions: Vec<[usize; 2]> =
        edits.iter().map(|edit| [edit.range.start, edit.range.end]).collect();
    if unit != Unit::Scalar {
        positions = converted(text, Unit::Scalar, unit, positions.as_flattened())?.as_chunks().0.to_vec();
    }
    let edits = edits.into_iter().zip(positions);
    let step = |(edit, [start, end]): (Edit, [usize; 2])| Step {
        at: start,
        delete: end - start,
        insert: edit.insert,
    };
    Some(edits.map(step).collect())
}

fn outside() -> ProtocolError {
    bad("an edit lies beyond the end of the text, or inside a character")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_mean_edits_in_every_unit() {
        let text = "\u{1f600}b\u{e4}d";
        let edits = vec![Edit::insert(1, "x"), Edit::delete(2..3)];
        for (unit, positions) in [
            (Unit::Scalar, [(1, 0), (2, 1)]),
            (Unit::Utf16, [(2, 0), (3, 1)]),
            (Unit::Utf8, [(4, 0), (5, 2)]),
        ] {
            let steps = to_steps(edits.clone(), unit, text).unwrap();
            assert_eq!(steps.iter().map(|step| (step.at, step.delete)).collect::<Vec<_>>(), positions);
            assert_eq!(to_edits(steps, unit, text), Ok(edits.clone()));
        }
    }

    #[test]
    fn positions_that_are_none_are_refused() {
        let step = |at, delete| vec![Step { at, delete, insert: String::new() }];
        for steps in [step(1, 0), step(0, 1), step(5, 0), step(usize::MAX, 1)] {
            assert!(to_edits(steps, Unit::Utf16, "\u{1f600}").is_err());
        }
        assert!(to_edits(step(usize::MAX, 1), Unit::Scalar, "").is_err());
    }
}
