//! What a client writes down, so that what was typed and not sent yet outlives the program.
//!
//! The file is a list: first the whole state ([`Kept::Whole`]), then what happened to it. Replaying it from the beginning
//! gives the state; a last entry that was not written whole is left out.

use serde::{Deserialize, Serialize};
use syncline_engine::{Edit, Text, check_batch};

use super::client::{Flight, scalar_edits, step_of, unsent};
use super::edits::Step;
use crate::rebase::{composed, rebase, theirs_after};

/// What a client has of its document, one upon the other.
#[derive(Clone, Default, Debug)]
pub struct Layers {
    /// The path of the document, once it is known.
    pub document: Option<String>,
    /// The version of the base; `None`: there is no text yet.
    pub version: Option<String>,
    /// The text that the hub sent, with all that it sent since.
    pub base: Text,
    /// The request that is under way, in the base.
    pub flight: Option<Flight>,
    /// What is to be sent, in the text with the flight.
    pub queued: Vec<Edit>,
    /// What is not to be sent yet, in the text with both.
    pub held: Vec<Edit>,
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// Everything.
    Whole {
        /// The path of the document.
        document: Option<String>,
        /// The version of the base.
        version: Option<String>,
        /// The base.
        base: String,
        /// The request that is under way.
        flight: Option<Flight>,
        /// What is to be sent.
        queued: Vec<Step>,
        /// What is not.
        held: Vec<Step>,
    },
    /// Somebody typed.
    Typed {
        /// What, in the text they saw.
        edits: Vec<Step>,
        /// It is not to be sent yet.
        held: bool,
    },
    /// What was held is to be sent.
    Released,
    /// What was queued is under way.
    Sent {
        /// By this name.
        request_id: String,
    },
    /// Others' changes, below all that was typed here.
    Below {
        /// The version of the base with them.
        version: String,
        /// What they are: in the base, or with the flight in it if that was answered.
        edits: Vec<Step>,
        /// The flight is part of the base now.
        answered: bool,
    },
    /// What was under way is to be sent anew, by another name.
    Unsent,
    /// What was to be sent is held.
    HeldBack,
}

impl Kept {
    /// The entry that stands for all before it.
    pub fn whole(layers: &Layers) -> Kept {
        Kept::Whole {
            document: layers.document.clone(),
            version: layers.version.clone(),
            base: layers.base.to_one_string(),
            flight: layers.flight.clone(),
            queued: layers.queued.iter().map(step_of).collect(),
            held: layers.held.iter().map(step_of).collect(),
        }
    }

    /// As one line of a file, without its end.
    pub fn to_line(&self) -> String {
        crate::json::json(self)
    }

    /// What the lines of a file lead to. `None` if it does not begin as one.
    pub fn replay<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<Layers> {
        let mut layers = None;
        for line in lines {
            // The program may have been killed while it wrote the last one.
            let Ok(kept) = serde_json::from_str::<Kept>(line) else { break };
            match (&kept, &mut layers) {
                (Kept::Whole { .. }, layers) => layers.get_or_insert_with(Layers::default).apply(&kept),
                (_, Some(layers)) => layers.apply(&kept),
                (_, None) => return None,
            }
        }
        layers
    }
}

impl Layers {
    /// Whether nothing would be lost without them.
    pub fn is_sent(&self) -> bool {
        self.flight.is_none() && self.queued.is_empty() && self.held.is_empty()
    }

    /// Does what an entry says. What does not fit (a damaged file) changes nothing.
    pub fn apply(&mut self, kept: &Kept) {
        match kept {
            Kept::Whole { document, version, base, flight, queued, held } => {
                *self = Layers {
                    document: document.clone(),
                    version: version.clone(),
                    base: Text::from(base.as_str()),
                    flight: flight.clone(),
                    queued: scalar_edits(queued),
                    held: scalar_edits(held),
                };
            }
            Kept::Typed { edits, held } => {
                let layer = if *held { &mut self.held } else { &mut self.queued };
                *layer = composed(layer, &scalar_edits(edits));
            }
            Kept::Released => {
                let held = std::mem::take(&mut self.held);
                self.queued = composed(&self.queued, &held);
            }
            Kept::Sent { request_id } => {
                let edits = std::mem::take(&mut self.queued).iter().map(step_of).collect();
                self.flight = Some(Flight { request_id: request_id.clone(), edits });
            }
            Kept::Below { version, edits, answered } => {
                let theirs = scalar_edits(edits);
                if *answered && let Some(flight) = self.flight.take() {
                    self.base.apply(&scalar_edits(&flight.edits));
                }
                if check_batch(&theirs, self.base.len()).is_err() {
                    return;
                }
                self.base.apply(&theirs);
                self.version = Some(version.clone());
                let queued = rebase(&self.queued, &theirs);
                let in_shared = theirs_after(&self.queued, &theirs, &queued);
                self.held = rebase(&self.held, &in_shared);
                self.queued = queued;
            }
            Kept::Unsent => {
                self.queued = unsent(self.flight.as_ref(), &self.queued);
                self.flight = None;
            }
            Kept::HeldBack => {
                let queued = std::mem::take(&mut self.queued);
                self.held = composed(&queued, &self.held);
            }
        }
    }
}
