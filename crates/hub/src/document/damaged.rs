//! A document whose rows in the journal cannot be read: they are set aside, and it is filled again from the peers.

use std::time::Duration;
use syncline_store::Record;
use tokio::time::Instant;

use super::{Command, DocumentTask};
use crate::error::HubError;
use crate::event::HubEvent;

/// So long a peer may take to bring the history again; then the file's text is all there is.
const REFILLED_WITHIN: Duration = Duration::from_secs(30);

impl DocumentTask {
    /// Sets aside what the journal has of the document, which is empty then. Links see that and ask for all of it.
    pub(super) async fn set_aside(&mut self, what: String) -> Result<(), HubError> {
        let record = Record::SetAside { doc: self.id, what: what.clone() };
        self.hub.commit(vec![record]).await?;
        self.set_aside_at = Some(Instant::now());
        // What was known of the file was known in versions that are gone: it is read again.
        self.file.forget();
        self.hub.publish_nothing(self.id);
        self.tell_damage(format!(
            "what the journal has of it is damaged ({what}): set aside; it is asked of the other machines, and its file is kept"
        ));
        Ok(())
    }

    /// The document is sound, and what was known of its file is not: the file is taken for one that was there before.
    pub(super) async fn forget_file_state(&mut self, what: &str) -> Result<(), HubError> {
        self.hub.commit(vec![Record::NoFile(self.id), Record::NoIntent(self.id)]).await?;
        self.file.forget();
        self.tell_damage(format!(
            "what the journal knew of its file is damaged ({what}): the file is read anew"
        ));
        Ok(())
    }

    fn tell_damage(&self, what: String) {
        let path = self.hub.catalogue().get(&self.id).and_then(|entry| entry.path().cloned());
        self.hub.tell(HubEvent::Trouble { path: path.unwrap_or_else(|| self.id.to_string()), what });
    }

    /// Whether the document is empty because its history was set aside and has not come again. Until then no text goes
    /// out, and the file is neither written nor entered: what is in it may be in that history.
    pub(crate) fn lacks_history(&self) -> bool {
        self.set_aside_at.is_some_and(|at| at.elapsed() < REFILLED_WITHIN)
            && self.hub.had_peer()
            && self.document().is_some_and(|document| document.events() == 0)
    }
}

impl Command {
    /// Whether it is answered from the text, or changes it.
    pub(super) fn is_about_the_text(&self) -> bool {
        matches!(
            self,
            Command::Text { .. }
                | Command::TextAt { .. }
                | Command::Judge { .. }
                | Command::Missed(_)
                | Command::Edit { .. }
                | Command::Reinstate { .. }
                | Command::Diff(_)
        )
    }
}
