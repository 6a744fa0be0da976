//! One document as a person works on it, as a pure state machine: no sockets, no files, no clock, no screen.

use std::time::Duration;

use syncline_engine::Edit;
use syncline_net::LineEvent;
use syncline_protocol::content::{
    Client, ClientEvent, ClientInput, ClientOutput, Greeting, Kept, Layers, Present, shifted,
};
use syncline_protocol::{ErrorCode, ProtocolError};

use crate::editor_text::apply;
use crate::marks::{Mark, Marks};
use crate::undo::Undo;

/// For so long others' changes are marked where there is no draft.
const MARKED: Duration = Duration::from_secs(4);

/// When what is typed is shared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// When it is uploaded.
    Draft,
    /// At once.
    Live,
}

/// How the connection is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Connection {
    /// It is being made.
    Connecting,
    /// The hub is heard.
    Open,
    /// There is none; it is tried again.
    Lost(String),
    /// The hub said no, and will again.
    Refused(ProtocolError),
}

/// Where what was typed is. Nothing is called saved that the hub has not called durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// There is no text yet.
    Loading,
    /// All of it is durable at the hub.
    Saved,
    /// It is on its way.
    Sending,
    /// It waits for a connection.
    Waiting,
    /// There is a draft that was not uploaded.
    Draft,
}

/// Everything that can happen to a desk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeskInput {
    /// Something on the connection.
    Line(LineEvent),
    /// The person edited [`Desk::text`]: a batch against it, in scalars.
    Typed(Vec<Edit>),
    /// The person's cursor, and the other end of the selection.
    Moved {
        /// Where the cursor is; `None`: the editor has not the focus.
        cursor: Option<usize>,
        /// The other end of the selection.
        anchor: Option<usize>,
    },
    /// From now on share what is typed so.
    Mode(Mode),
    /// Share the draft.
    Upload,
    /// Take one's last edit back.
    Undo,
    /// Do it again.
    Redo,
    /// The person has seen what changed.
    Seen,
    /// Which documents are there?
    List,
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeskOutput {
    /// Send this on the `line`-th connection.
    Send {
        /// Which connection it is meant for.
        line: u64,
        /// The text.
        text: String,
    },
    /// Drop the connection and dial again.
    Redial,
    /// Dial no more: the hub will say no again.
    HangUp,
    /// Write this down.
    Keep(Kept),
}

/// One document, and a person at it.
pub struct Desk {
    client: Client,
    connection: Connection,
    line: u64,
    /// The texts once more, in one piece each, as they are drawn.
    text: String,
    shared: String,
    document: Option<String>,
    documents: Option<(Vec<String>, bool)>,
    others: Vec<Present>,
    undo: Undo,
    marks: Marks,
    shared_marks: Marks,
    notice: Option<ProtocolError>,
    moves: Vec<Vec<Edit>>,
}

impl Desk {
    /// A desk that goes on where one that was killed stopped, if there is something left of it.
    pub fn new(greeting: Greeting, mode: Mode, kept: Option<Layers>) -> Desk {
        let kept = kept.unwrap_or_default();
        let document = greeting.document.clone().or_else(|| kept.document.clone());
        let mut client = Client::restored(greeting, kept);
        client.handle(ClientInput::Hold(mode == Mode::Draft), Duration::ZERO);
        let mut desk = Desk {
            client,
            connection: Connection::Connecting,
            line: 0,
            text: String::new(),
            shared: String::new(),
            document,
            documents: None,
            others: Vec::new(),
            undo: Undo::default(),
            marks: Marks::default(),
            shared_marks: Marks::default(),
            notice: None,
            moves: Vec::new(),
        };
        desk.copy_texts();
        desk
    }

    /// The text that the person edits.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text that everybody has, with what this desk has shared.
    pub fn shared(&self) -> &str {
        &self.shared
    }

    /// The document's path, once it is known.
    pub fn document(&self) -> Option<&str> {
        self.document.as_deref()
    }

    /// The documents of the folder, and whether there are more; `None` if they are not known.
    pub fn documents(&self) -> Option<&(Vec<String>, bool)> {
        self.documents.as_ref()
    }

    /// When what is typed is shared.
    pub fn mode(&self) -> Mode {
        if self.client.is_holding() { Mode::Draft } else { Mode::Live }
    }

    /// How the connection is.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What the hub refused last, until something is accepted again.
    pub fn notice(&self) -> Option<&ProtocolError> {
        self.notice.as_ref()
    }

    /// Where what was typed is.
    pub fn standing(&self) -> Standing {
        if !self.client.has_text() {
            Standing::Loading
        } else if self.client.is_waiting() {
            if self.client.is_open() { Standing::Sending } else { Standing::Waiting }
        } else if !self.client.held().is_empty() {
            Standing::Draft
        } else {
            Standing::Saved
        }
    }

    /// Whether there is a draft that can be uploaded now.
    pub fn can_upload(&self) -> bool {
        !self.client.held().is_empty() && !self.client.is_waiting()
    }

    /// Everybody else who is here, with positions in [`Desk::shared`].
    pub fn others(&self) -> &[Present] {
        &self.others
    }

    /// The same, with positions in [`Desk::text`].
    pub fn others_in_text(&self) -> Vec<Present> {
        let mut others = self.others.clone();
        others.iter_mut().for_each(|other| other.shift(self.client.held()));
        others
    }

    /// What others changed in [`Desk::text`], and the person has not seen.
    pub fn marks(&self) -> &[Mark] {
        self.marks.all()
    }

    /// The same in [`Desk::shared`].
    pub fn shared_marks(&self) -> &[Mark] {
        self.shared_marks.all()
    }

    /// What changed [`Desk::text`] since this was asked last and was not typed there: an editor moves its cursor by it.
    pub fn take_moves(&mut self) -> Vec<Vec<Edit>> {
        std::mem::take(&mut self.moves)
    }

    /// All that must be written down of it.
    pub fn kept(&self) -> Kept {
        self.client.kept()
    }

    /// Takes what happened at `now` (any clock that does not go back) and returns what to do, in order.
    pub fn handle(&mut self, input: DeskInput, now: Duration) -> Vec<DeskOutput> {
        let mut out = Vec::new();
        match input {
            DeskInput::Line(event) => self.line(event, now, &mut out),
            // There is nothing to edit before there is a text.
            DeskInput::Typed(_) if !self.client.has_text() => {}
            DeskInput::Typed(edits) => {
                self.undo.typed(&edits, &self.text, now);
                self.edit(edits, now, &mut out);
            }
            DeskInput::Moved { cursor, anchor } => {
                self.act(ClientInput::Moved { cursor, anchor }, now, &mut out);
            }
            DeskInput::Mode(mode) => self.act(ClientInput::Hold(mode == Mode::Draft), now, &mut out),
            DeskInput::Upload => {
                if self.can_upload() {
                    self.marks.clear();
                    self.act(ClientInput::Upload, now, &mut out);
                    self.shared.clone_from(&self.text);
                }
            }
            DeskInput::Undo => {
                if let Some(edits) = self.undo.undo(&self.text) {
                    self.moves.push(edits.clone());
                    self.edit(edits, now, &mut out);
                }
            }
            DeskInput::Redo => {
                if let Some(edits) = self.undo.redo(&self.text) {
                    self.moves.push(edits.clone());
                    self.edit(edits, now, &mut out);
                }
            }
            DeskInput::Seen => {
                self.marks.clear();
                self.shared_marks.clear();
            }
            DeskInput::List => self.act(ClientInput::List, now, &mut out),
            DeskInput::Tick => self.act(ClientInput::Tick, now, &mut out),
        }
        self.shared_marks.forget_before(now.saturating_sub(MARKED));
        if self.client.held().is_empty() {
            // There is no draft that anything could have changed under.
            self.marks.forget_before(now.saturating_sub(MARKED));
        }
        out
    }

    fn line(&mut self, event: LineEvent, now: Duration, out: &mut Vec<DeskOutput>) {
        match event {
            LineEvent::Connected { line } => {
                self.line = line;
                self.act(ClientInput::Connected, now, out);
            }
            LineEvent::Received(text) => self.act(ClientInput::Received(text), now, out),
            LineEvent::Lost { why, .. } => {
                if !matches!(self.connection, Connection::Refused(_)) {
                    self.connection = Connection::Lost(why);
                }
                self.act(ClientInput::Lost, now, out);
            }
        }
    }

    /// The person's edit, however it was made.
    fn edit(&mut self, edits: Vec<Edit>, now: Duration, out: &mut Vec<DeskOutput>) {
        apply(&mut self.text, &edits);
        self.marks.moved(&edits);
        let held = self.client.is_holding() || !self.client.held().is_empty();
        if !held {
            apply(&mut self.shared, &edits);
            self.shared_marks.moved(&edits);
            self.others.iter_mut().for_each(|other| other.shift(&edits));
        }
        self.act(ClientInput::Edited(edits), now, out);
    }

    fn act(&mut self, input: ClientInput, now: Duration, out: &mut Vec<DeskOutput>) {
        for output in self.client.handle(input, now) {
            match output {
                ClientOutput::Send(text) => out.push(DeskOutput::Send { line: self.line, text }),
                ClientOutput::Redial => out.push(DeskOutput::Redial),
                ClientOutput::Keep(kept) => out.push(DeskOutput::Keep(kept)),
                ClientOutput::Event(event) => self.event(event, now, out),
            }
        }
    }

    fn event(&mut self, event: ClientEvent, now: Duration, out: &mut Vec<DeskOutput>) {
        match event {
            ClientEvent::Opened(document) => {
                self.document = Some(document);
                self.connection = Connection::Open;
                if self.text.is_empty() && self.shared.is_empty() {
                    self.copy_texts();
                }
                out.extend(self.handle(DeskInput::List, now));
            }
            ClientEvent::Changed { text, shared } => {
                self.undo.changed(&text);
                self.marks.changed(&text, now);
                self.shared_marks.changed(&shared, now);
                apply(&mut self.text, &text);
                apply(&mut self.shared, &shared);
                self.others = self.client.others();
                self.moves.push(text);
            }
            ClientEvent::Saved => self.notice = None,
            ClientEvent::Others => self.others = self.client.others(),
            ClientEvent::Documents(documents, more) => self.documents = Some((documents, more)),
            ClientEvent::Refused(error) => self.refused(error, out),
        }
    }

    fn refused(&mut self, error: ProtocolError, out: &mut Vec<DeskOutput>) {
        let lasting = matches!(
            error.code,
            ErrorCode::Unauthorized
                | ErrorCode::Expired
                | ErrorCode::Revoked
                | ErrorCode::UnknownDocument
                | ErrorCode::NotText
                | ErrorCode::Unsupported
        );
        if lasting || (error.code == ErrorCode::Forbidden && !self.client.is_open()) {
            self.connection = Connection::Refused(error);
            out.push(DeskOutput::HangUp);
            return;
        }
        // It is all here still: as a draft, if it cannot be shared at all.
        self.shared = self.client.shared().to_one_string();
        self.notice = Some(error);
    }

    fn copy_texts(&mut self) {
        self.text = self.client.text().to_one_string();
        self.shared = self.client.shared().to_one_string();
    }
}

/// Where a cursor of [`Desk::text`] is after these changes.
pub(crate) fn moved(position: usize, moves: &[Vec<Edit>]) -> usize {
    // An own cursor stays before what others insert at it.
    moves.iter().fold(position, |at, edits| {
        let before: Vec<Edit> =
            edits.iter().filter(|edit| edit.range.start < at || !edit.range.is_empty()).cloned().collect();
        shifted(at, &before)
    })
}

#[cfg(test)]
mod tests {
    use syncline_engine::apply_to_str;
    use syncline_protocol::content::{Step, Unit};

    use super::*;

    /// The hub's end, for one client: its text, and the request that is not answered yet.
    struct Hub {
        text: String,
        version: u64,
        asked: Option<(String, Vec<Edit>)>,
    }

    impl Hub {
        fn take(&mut self, out: Vec<DeskOutput>) {
            for output in out {
                let DeskOutput::Send { text, .. } = output else { continue };
                let message: serde_json::Value = serde_json::from_str(&text).unwrap();
                if message["type"] == "edit_request" {
                    assert_eq!(message["base"], format!("v{}", self.version));
                    let steps: Vec<Step> = serde_json::from_value(message["edits"].clone()).unwrap();
                    let edits = syncline_protocol::content::to_edits(steps, Unit::Scalar, "").unwrap();
                    self.asked = Some((message["request_id"].as_str().unwrap().to_owned(), edits));
                }
            }
        }

        /// Somebody else replaces a few characters; the request that waits is answered with that.
        fn change(&mut self, at: usize, delete: usize, insert: &str) -> DeskInput {
            let asked = self.asked.take();
            if let Some((_, edits)) = &asked {
                self.text = apply_to_str(&self.text, edits);
            }
            let length = self.text.chars().count();
            let at = at % (length + 1);
            let step = Step { at, delete: delete.min(length - at), insert: insert.to_owned() };
            let edit = Edit { range: at..at + step.delete, insert: insert.to_owned() };
            self.text = apply_to_str(&self.text, &[edit]);
            self.version += 1;
            let base = if asked.is_some() { "made".to_owned() } else { format!("v{}", self.version - 1) };
            let message = serde_json::json!({
                "type": "edit_update", "base": base, "version": format!("v{}", self.version), "edits": [step],
                "request_id": asked.map(|(id, _)| id)});
            DeskInput::Line(LineEvent::Received(message.to_string()))
        }
    }

    /// What is drawn is what the client has, whatever happens; and in the end everybody has it.
    #[test]
    fn the_texts_that_are_drawn_are_those_of_the_client() {
        for seed in 0..300 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let (name, nonce) = ("ann".to_owned(), "n".to_owned());
            let greeting =
                Greeting { token: None, document: None, name, color: None, unit: Unit::Scalar, nonce };
            let mut desk = Desk::new(greeting, Mode::Draft, None);
            let mut hub = Hub { text: "one two three".to_owned(), version: 1, asked: None };
            let content = serde_json::json!({
                "type": "content_update", "content": hub.text, "version": "v1", "document": "a.txt"});
            let mut now = Duration::ZERO;
            desk.handle(DeskInput::Line(LineEvent::Connected { line: 1 }), now);
            desk.handle(DeskInput::Line(LineEvent::Received(content.to_string())), now);
            for step in 0..60 {
                now += Duration::from_millis(dice.u64(0..1_500));
                let length = desk.text().chars().count();
                let start = dice.usize(0..=length);
                let end = (start + dice.usize(0..3)).min(length);
                let input = match dice.u8(0..10) {
                    0..4 => DeskInput::Typed(vec![Edit { range: start..end, insert: format!("m{step}") }]),
                    4 => DeskInput::Mode(if dice.bool() { Mode::Live } else { Mode::Draft }),
                    5 => DeskInput::Upload,
                    6 => DeskInput::Undo,
                    7 => DeskInput::Redo,
                    _ => hub.change(dice.usize(..), dice.usize(0..3), "T\u{e4}"),
                };
                let out = desk.handle(input, now);
                hub.take(out);
                assert_eq!(desk.text(), desk.client.text().to_one_string(), "seed {seed}, step {step}");
                assert_eq!(desk.shared(), desk.client.shared().to_one_string(), "seed {seed}, step {step}");
            }
            for _ in 0..3 {
                let out = desk.handle(DeskInput::Upload, now);
                hub.take(out);
                let answer = hub.change(0, 0, "");
                let out = desk.handle(answer, now);
                hub.take(out);
            }
            assert_eq!((desk.text(), desk.standing()), (hub.text.as_str(), Standing::Saved), "seed {seed}");
        }
    }
}
