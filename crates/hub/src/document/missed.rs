//! What somebody who saw a version has missed.

use syncline_engine::{Document, Edit, EditError, Heads, Version};

use super::{DocumentTask, Reply};
use crate::error::HubError;

/// From so many spans on the engine's walker is let go: it is built again from near the newest version.
const MOST_SPANS: usize = 4096;

/// A question about versions of a document.
pub(crate) struct AskMissed {
    /// What was seen. Answered by what changed since, of each.
    pub since: Vec<Version>,
    /// The text at the first of them is wanted as well.
    pub with_text: bool,
    pub reply: Reply<Missed>,
}

/// What was missed. All of it is of one moment, and durable.
pub(crate) struct Missed {
    /// The newest version.
    pub version: Version,
    /// The same, for elsewhere.
    pub heads: Heads,
    /// The first of the versions that were asked about, for elsewhere.
    pub base: Heads,
    /// The text at that version, if it was asked for.
    pub text: Option<String>,
    /// Of each of them, what changed since.
    pub changes: Vec<Vec<Edit>>,
}

impl DocumentTask {
    /// Answers, after everything that was taken up before was committed, or was not.
    pub(super) fn tell_missed(&mut self, asks: Vec<AskMissed>, committed: &Result<(), HubError>) {
        for ask in asks {
            let missed = match (committed, self.loaded.as_mut()) {
                (Err(error), _) => Err(error.clone()),
                (Ok(()), None) => Err(HubError::Closed),
                // Not one of its versions: what the journal had of it was set aside meanwhile.
                (Ok(()), Some(loaded)) => missed(&ask, &mut loaded.document).map_err(|_| HubError::BadBase),
            };
            // Whoever asked may have gone.
            drop(ask.reply.send(missed));
        }
    }
}

fn missed(ask: &AskMissed, document: &mut Document) -> Result<Missed, EditError> {
    let changes =
        ask.since.iter().map(|version| document.changes_since(version)).collect::<Result<_, _>>()?;
    if document.walker_spans() > MOST_SPANS {
        document.release();
    }
    let first = ask.since.first();
    Ok(Missed {
        version: document.version().clone(),
        heads: document.portable(document.version()),
        base: first.map(|version| document.portable(version)).unwrap_or_default(),
        text: first.filter(|_| ask.with_text).map(|version| document.string_at(version)),
        changes,
    })
}
