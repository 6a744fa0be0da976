//! A delta: what turns one text into another, covering the whole of the first.
//!
//! `=k` keeps the next k characters, `-k` deletes them, `+text` inserts. The unit is the Unicode scalar value,
//! so that no delta can split a character. All `=` and `-` together must be as long as the text, so that a
//! delta made against another text is noticed.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use syncline_engine::Edit;

use super::bounded::TooMany;
use crate::limits;

/// One step of a delta.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Keep(usize),
    Delete(usize),
    Insert(String),
}

/// What turns a text of a known length into another text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delta {
    steps: Vec<Step>,
}

/// The delta was made against a text of another length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the delta covers {covered} characters, the text has {length}")]
pub struct LengthError {
    /// What `=` and `-` add up to.
    pub covered: usize,
    /// What the text has.
    pub length: usize,
}

impl Delta {
    /// The delta that does what a batch of edits does to a text of `length` scalars. The batch must fit.
    pub fn of(edits: &[Edit], length: usize) -> Delta {
        let mut steps = Vec::with_capacity(edits.len() * 2 + 1);
        let mut at = 0;
        for edit in edits {
            if edit.range.start > at {
                steps.push(Step::Keep(edit.range.start - at));
            }
            if !edit.range.is_empty() {
                steps.push(Step::Delete(edit.range.len()));
            }
            if !edit.insert.is_empty() {
                steps.push(Step::Insert(edit.insert.clone()));
            }
            at = edit.range.end.max(at);
        }
        if length > at {
            steps.push(Step::Keep(length - at));
        }
        Delta { steps }
    }

    /// The edits that it stands for, for a text of `length` scalars.
    ///
    /// # Errors
    /// [`LengthError`] when it was made for a text of another length.
    pub fn edits(&self, length: usize) -> Result<Vec<Edit>, LengthError> {
        let mut edits: Vec<Edit> = Vec::new();
        let mut at = 0usize;
        // Whether the last edit ends here, so that the next step continues it.
        let mut open = false;
        for step in &self.steps {
            match step {
                Step::Keep(count) => {
                    at = at.saturating_add(*count);
                    open = false;
                    continue;
                }
                Step::Delete(count) => {
                    let end = at.saturating_add(*count);
                    match edits.last_mut().filter(|_| open) {
                        Some(edit) => edit.range.end = end,
                        None => edits.push(Edit::delete(at..end)),
                    }
                    at = end;
                }
                Step::Insert(text) => match edits.last_mut().filter(|_| open) {
                    Some(edit) => edit.insert.push_str(text),
                    None => edits.push(Edit::insert(at, text.as_str())),
                },
            }
            open = true;
        }
        if at == length { Ok(edits) } else { Err(LengthError { covered: at, length }) }
    }

    /// How many steps it has.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// The bytes of text that it inserts.
    pub fn inserted_bytes(&self) -> usize {
        let inserted = self.steps.iter().map(|step| match step {
            Step::Insert(text) => text.len(),
            Step::Keep(_) | Step::Delete(_) => 0,
        });
        inserted.sum()
    }

    /// As it is sent: a JSON list.
    pub fn to_json(&self) -> String {
        // A list of strings can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`Delta::to_json`] wrote.
    ///
    /// # Errors
    /// If it is no delta.
    pub fn from_json(json: &str) -> Result<Delta, crate::ProtocolError> {
        serde_json::from_str(json).map_err(|error| crate::json::describe(&error))
    }

    /// Reads one step as it is written.
    fn push(&mut self, text: &str) -> Result<(), &'static str> {
        let mut chars = text.chars();
        let sign = chars.next();
        let rest = chars.as_str();
        // A number of digits only: `parse` would also take a sign.
        let count = || match rest.bytes().all(|byte| byte.is_ascii_digit()) {
            true => rest.parse().map_err(|_| "a count in a delta is no number that can be"),
            false => Err("a count in a delta is not made of digits"),
        };
        self.steps.push(match sign {
            Some('=') => Step::Keep(count()?),
            Some('-') => Step::Delete(count()?),
            Some('+') => Step::Insert(rest.to_owned()),
            _ => return Err("a step of a delta begins with =, - or +"),
        });
        Ok(())
    }
}

/// `["=3","-2","+text","=10"]`.
impl Serialize for Delta {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.steps.len()))?;
        for step in &self.steps {
            match step {
                Step::Keep(count) => list.serialize_element(&format_args!("={count}"))?,
                Step::Delete(count) => list.serialize_element(&format_args!("-{count}"))?,
                Step::Insert(text) => list.serialize_element(&format_args!("+{text}"))?,
            }
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Delta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Delta, D::Error> {
        let mut left = limits::MAX_DELTA_STEPS;
        Steps { left: &mut left }.deserialize(deserializer)
    }
}

/// Reads a delta of at most so many steps, and counts them off: in memory a step is many times as long as in a message,
/// so that what is too much must not be read first.
pub(crate) struct Steps<'a> {
    pub left: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for Steps<'_> {
    type Value = Delta;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Delta, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Steps<'_> {
    type Value = Delta;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of steps, each =COUNT, -COUNT or +TEXT")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Delta, A::Error> {
        let mut delta = Delta::default();
        while let Some(step) = list.next_element::<std::borrow::Cow<'de, str>>()? {
            *self.left = self.left.checked_sub(1).ok_or_else(|| A::Error::custom(TooMany::Steps))?;
            delta.push(&step).map_err(A::Error::custom)?;
        }
        Ok(delta)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use syncline_engine::{apply_to_str, diff};

    use super::*;

    #[test]
    fn it_is_written_as_documented() {
        let edits = [Edit { range: 3..5, insert: "text".into() }, Edit::insert(9, "é\n\"")];
        let delta = Delta::of(&edits, 10);
        assert_eq!(serde_json::to_string(&delta).unwrap(), r#"["=3","-2","+text","=4","+é\n\"","=1"]"#);
        assert_eq!(delta.inserted_bytes(), 8);
        assert_eq!(Delta::of(&[], 0), Delta::default());
    }

    #[test]
    fn what_is_no_delta_is_refused() {
        for bad in [
            r#""=1""#,
            r#"["1"]"#,
            r#"[""]"#,
            r#"["=-1"]"#,
            r#"["=+1"]"#,
            r#"["-1.5"]"#,
            r#"["=1e3"]"#,
            r#"["="]"#,
            r#"["=18446744073709551616"]"#,
            r#"[7]"#,
            r#"["=1",null]"#,
            r#"["+\ud800"]"#,
            r#"[["=1"]]"#,
        ] {
            assert!(serde_json::from_str::<Delta>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_that_do_not_add_up_are_noticed() {
        let read = |text: &str| serde_json::from_str::<Delta>(text).unwrap();
        assert_eq!(read(r#"["=3"]"#).edits(4), Err(LengthError { covered: 3, length: 4 }));
        assert_eq!(read(r#"["=3","-2"]"#).edits(4), Err(LengthError { covered: 5, length: 4 }));
        let huge = read(r#"["=18446744073709551615","-18446744073709551615"]"#);
        assert!(huge.edits(4).is_err(), "a sum that overflows is no length");
        assert_eq!(read("[]").edits(0), Ok(vec![]));
        // Steps that another program might write: empty ones, and an insertion between two deletions.
        let odd = read(r#"["=0","-1","+x","-1","+y","+","=2"]"#).edits(4).unwrap();
        assert_eq!(apply_to_str("abcd", &odd), "xycd");
    }

    proptest! {
        #[test]
        fn it_does_what_the_edits_do(old in "[ab\né🌍]{0,30}", new in "[ab\né🌍]{0,30}") {
            let delta = Delta::of(&diff(&old, &new), old.chars().count());
            let json = serde_json::to_string(&delta).unwrap();
            let read: Delta = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&read, &delta);
            prop_assert_eq!(apply_to_str(&old, &read.edits(old.chars().count()).unwrap()), new);
        }

        #[test]
        fn any_steps_are_a_delta_or_an_error(steps in proptest::collection::vec(".{0,6}", 0..6), length in 0usize..9) {
            let json = serde_json::to_string(&steps).unwrap();
            if let Ok(delta) = serde_json::from_str::<Delta>(&json) {
                let _ = delta.edits(length);
            }
        }
    }
}
