//! The hub's end of a `content` connection, as a pure state machine.
//!
//! At most one text is on its way to the client at any time: what changes meanwhile is sent as one newest
//! text when the client has taken that one. One upload is with the hub at a time; [`Session::is_busy`] tells
//! the shell not to read on, so a client that sends faster than its uploads are journalled waits.

use std::time::Duration;

use super::edits::{EditRequest, News, Step};
use super::message::{
    Hello, Request, Update, documents_json, edits_json, pong_json, presence_json, refused_json, result_json,
    update_json,
};
use super::presence::Marks;
use super::unit::Unit;
use crate::error::{ErrorCode, ProtocolError};
use crate::limits;

/// Everything that can happen to a session.
#[derive(Clone, Debug)]
pub enum Input {
    /// The connection stands.
    Opened,
    /// A text message came.
    Received(String),
    /// Something came that is no text, or the channel broke its rules.
    Garbled(ProtocolError),
    /// The right to be here has ended.
    Expelled(ProtocolError),
    /// Whether the token of [`Output::CheckToken`] lets in.
    TokenChecked(Result<(), ProtocolError>),
    /// The document asked for, by its path; or why not.
    DocumentOpened(Result<String, ProtocolError>),
    /// The document has a durable version that this client was not sent, or somebody's cursor moved.
    Changed,
    /// The text asked for; or why not.
    Current(Result<(String, String), ProtocolError>),
    /// What became of the upload.
    Uploaded(Result<(String, bool), ProtocolError>),
    /// What changed since the client was sent something; or why that cannot be said.
    News(Result<News, ProtocolError>),
    /// What became of the edits, and what the client has missed since it made them.
    Edited(Result<News, ProtocolError>),
    /// What became of the cursor's place.
    Marked(Result<(), ProtocolError>),
    /// The paths of all texts, in order.
    Listed(Result<Vec<String>, ProtocolError>),
    /// Everything that was sent is with the operating system.
    Sent,
    /// Time has passed. Should come about once a second.
    Tick,
    /// The hub goes away.
    Stop,
}

/// What is to be done. Texts are sent in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send this text.
    Send(String),
    /// Close after what was sent before. `None`: in good order.
    Close(Option<ProtocolError>),
    /// Does this token let in?
    CheckToken(String),
    /// Open this document, or the only one, for a party of this name.
    OpenDocument {
        /// Its path.
        document: Option<String>,
        /// A readable name; may be empty.
        name: String,
        /// For a client of the mode `edits`.
        guest: Option<Guest>,
    },
    /// From now on the client is one of the mode `edits`.
    Welcome {
        /// A readable name; may be empty.
        name: String,
        /// How it is seen, and counts.
        guest: Guest,
    },
    /// What has changed since the client was sent something, and who else is here?
    AskNews,
    /// Merge and journal these edits, then answer with what the client has missed.
    Edit {
        /// The version they were made at.
        base: String,
        /// The edits, in the client's unit.
        edits: Vec<Step>,
        /// The client's name for the request.
        request_id: String,
    },
    /// Tell the others where this client's cursor is.
    Mark(Marks),
    /// Which documents are there?
    List,
    /// What is the text now, and its version?
    AskCurrent,
    /// Merge and journal this, then answer.
    Upload {
        /// The whole text.
        content: String,
        /// The version it was made from.
        base: Option<String>,
        /// The client's name for the request.
        request_id: Option<String>,
    },
}

/// A client of the mode `edits`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guest {
    /// What it counts positions in.
    pub unit: Unit,
    /// In what colour others see it.
    pub color: Option<String>,
}

enum Phase {
    /// Waiting for the hello, until then; `None` before the connection stands.
    Greeting {
        until: Option<Duration>,
    },
    /// The token is being checked.
    Checking(Hello),
    /// The document is being opened.
    Opening,
    Open,
    Closed,
}

/// The hub's end of a connection.
pub struct Session {
    phase: Phase,
    /// The address carried a capability (and perhaps the document): no hello is needed.
    admitted: Option<Option<String>>,
    /// The path of the open document.
    document: String,
    /// A text is on its way to the client, or being made.
    sending: bool,
    /// There is a newer one.
    stale: bool,
    /// The upload with the hub; its name, if the client gave one.
    uploading: Option<Option<String>>,
    /// What was uploaded last without a name: a repeat of it is no edit.
    previous: Option<[u8; 32]>,
    /// The client says and hears what changed, not whole texts.
    by_edits: bool,
    /// The name of the edit that is with the hub.
    editing: Option<String>,
}

impl Session {
    /// A session that waits for a `hello` with a token.
    pub fn new() -> Session {
        Session {
            phase: Phase::Greeting { until: None },
            admitted: None,
            document: String::new(),
            sending: false,
            stale: false,
            uploading: None,
            previous: None,
            by_edits: false,
            editing: None,
        }
    }

    /// A session whose address lets it in, to this document or to the only one.
    pub fn admitted(document: Option<String>) -> Session {
        Session { admitted: Some(document), ..Session::new() }
    }

    /// Whether the client has been let in.
    pub fn is_let_in(&self) -> bool {
        self.admitted.is_some() || matches!(self.phase, Phase::Opening | Phase::Open)
    }

    /// Whether the shell should not read from the client now: it would only have to keep what it reads.
    pub fn is_busy(&self) -> bool {
        self.uploading.is_some()
            || self.editing.is_some()
            || matches!(self.phase, Phase::Checking(_) | Phase::Opening)
    }

    /// Whether a change of the document would be sent now. The shell waits for changes only then.
    pub fn wants_changes(&self) -> bool {
        matches!(self.phase, Phase::Open) && !self.sending
    }

    /// Takes what happened at `now` (any clock that does not go back) and returns what to do, in order.
    pub fn handle(&mut self, input: Input, now: Duration) -> Vec<Output> {
        let mut out = Vec::new();
        if matches!(self.phase, Phase::Closed) {
            return out;
        }
        if let Err(error) = self.step(input, now, &mut out) {
            self.phase = Phase::Closed;
            out.push(Output::Send(error.to_json()));
            out.push(Output::Close(Some(error)));
        }
        out
    }

    fn step(&mut self, input: Input, now: Duration, out: &mut Vec<Output>) -> Result<(), ProtocolError> {
        match input {
            Input::Opened => match self.admitted.clone() {
                Some(document) => self.open(Hello { document, ..Hello::default() }, out),
                None => self.phase = Phase::Greeting { until: Some(now + limits::HELLO_TIMEOUT) },
            },
            Input::Received(text) => return self.received(&text, out),
            Input::Garbled(error) | Input::Expelled(error) => return Err(error),
            Input::TokenChecked(checked) => {
                checked?;
                if let Phase::Checking(hello) = &mut self.phase {
                    let hello = std::mem::take(hello);
                    self.open(hello, out);
                }
            }
            Input::DocumentOpened(document) => {
                self.document = document?;
                self.phase = Phase::Open;
                self.sending = true;
                out.push(Output::AskCurrent);
            }
            Input::Changed => self.changed(out),
            Input::Current(current) => {
                let (text, version) = current?;
                out.push(Output::Send(update_json(&text, &version, &self.document)));
            }
            Input::News(news) => self.news(news?, out),
            Input::Edited(edited) => self.edited(edited, out),
            Input::Marked(Ok(())) => {}
            Input::Marked(Err(error)) | Input::Listed(Err(error)) => out.push(Output::Send(error.to_json())),
            Input::Listed(Ok(paths)) => out.push(Output::Send(documents_json(&paths))),
            Input::Uploaded(result) => self.uploaded(result, out),
            Input::Sent => {
                self.sending = false;
                if std::mem::take(&mut self.stale) {
                    self.changed(out);
                }
            }
            Input::Tick => {
                if let Phase::Greeting { until: Some(until) } = self.phase
                    && now >= until
                {
                    return Err(ProtocolError::new(ErrorCode::Timeout, "no hello came in time"));
                }
            }
            Input::Stop => {
                return Err(ProtocolError::new(ErrorCode::Closing, "the hub goes away"));
            }
        }
        Ok(())
    }

    fn open(&mut self, hello: Hello, out: &mut Vec<Output>) {
        self.phase = Phase::Opening;
        let Hello { document, name, color, edits, .. } = hello;
        let guest = edits.map(|unit| Guest { unit, color });
        self.by_edits = guest.is_some();
        out.push(Output::OpenDocument { document, name: name.unwrap_or_default(), guest });
    }

    /// Asks for what is to be sent next.
    fn ask(&self) -> Output {
        if self.by_edits { Output::AskNews } else { Output::AskCurrent }
    }

    fn changed(&mut self, out: &mut Vec<Output>) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        if self.sending {
            self.stale = true;
        } else {
            self.sending = true;
            out.push(self.ask());
        }
    }

    fn news(&mut self, news: News, out: &mut Vec<Output>) {
        let before = out.len();
        if news.base != news.version {
            out.push(Output::Send(edits_json(&news, None)));
        }
        if let Some(others) = &news.others {
            out.push(Output::Send(presence_json(&news.version, others)));
        }
        if out.len() == before {
            // Nothing is on its way, so that nobody will say that it has left.
            self.sending = false;
            if std::mem::take(&mut self.stale) {
                self.changed(out);
            }
        }
    }

    fn edited(&mut self, edited: Result<News, ProtocolError>, out: &mut Vec<Output>) {
        let request_id = self.editing.take().unwrap_or_default();
        match edited {
            Ok(news) => {
                out.push(Output::Send(edits_json(&news, Some(&request_id))));
                if let Some(others) = &news.others {
                    out.push(Output::Send(presence_json(&news.version, others)));
                }
            }
            Err(error) => out.push(Output::Send(refused_json(&error, &request_id))),
        }
    }

    fn received(&mut self, text: &str, out: &mut Vec<Output>) -> Result<(), ProtocolError> {
        if !self.is_let_in() && text.len() > limits::MAX_BEFORE_HELLO {
            return Err(ProtocolError::new(ErrorCode::TooLarge, "too much before the hello"));
        }
        let request = match Request::parse(text) {
            Ok(request) => request,
            // A client that is let in gets its error and may go on; nothing of the message was done.
            Err(error) if matches!(self.phase, Phase::Open) => {
                out.push(Output::Send(error.to_json()));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        match (&self.phase, request) {
            (_, Request::Ping) if self.is_let_in() => out.push(Output::Send(pong_json())),
            (Phase::Greeting { .. }, Request::Hello(hello)) => {
                let Some(token) = hello.token.clone() else {
                    return Err(ProtocolError::new(ErrorCode::Unauthorized, "the hello carries no token"));
                };
                out.push(Output::CheckToken(token));
                self.phase = Phase::Checking(hello);
            }
            (Phase::Open, Request::Update(update)) => self.upload(update, out),
            (Phase::Open, Request::Edit(request)) => self.edit(request, out),
            (Phase::Open, Request::Presence(marks)) if self.by_edits => out.push(Output::Mark(marks)),
            (Phase::Open, Request::Presence(_)) => out.push(Output::Send(needs_edits().to_json())),
            (Phase::Open, Request::List) => out.push(Output::List),
            (Phase::Open, Request::Hello(Hello { name, color, edits: Some(unit), .. }))
                if self.admitted.is_some() && !self.by_edits =>
            {
                self.by_edits = true;
                out.push(Output::Welcome { name: name.unwrap_or_default(), guest: Guest { unit, color } });
                // Who is here is news already.
                self.changed(out);
            }
            // A client whose address let it in may greet all the same; its document is settled.
            (Phase::Open, Request::Hello(_)) if self.admitted.is_some() => {}
            (Phase::Open, _) => {
                let error = ProtocolError::new(ErrorCode::BadMessage, "a second hello");
                out.push(Output::Send(error.to_json()));
            }
            _ => {
                // An edit before the hello is refused, never kept for later.
                return Err(ProtocolError::new(
                    ErrorCode::Unauthorized,
                    "the first message must be the hello",
                ));
            }
        }
        Ok(())
    }

    fn upload(&mut self, update: Update, out: &mut Vec<Output>) {
        let refuse = |out: &mut Vec<Output>, code, message: &str| {
            out.push(Output::Send(ProtocolError::new(code, message).to_json()));
        };
        if update.document.as_ref().is_some_and(|document| *document != self.document) {
            return refuse(out, ErrorCode::UnknownDocument, "this connection is for another document");
        }
        if self.uploading.is_some() {
            return refuse(out, ErrorCode::TooMany, "the upload before this one is not journalled yet");
        }
        if update.request_id.is_none() {
            let digest = digest(&update);
            if self.previous == Some(digest) {
                // Without a request_id, a repeat of the upload before is no edit.
                return;
            }
            self.previous = Some(digest);
        } else {
            self.previous = None;
        }
        self.uploading = Some(update.request_id.clone());
        let Update { content, base, request_id, .. } = update;
        out.push(Output::Upload { content, base, request_id });
    }

    fn edit(&mut self, request: EditRequest, out: &mut Vec<Output>) {
        let EditRequest { base, edits, document, request_id } = request;
        let refused = if !self.by_edits {
            Some(needs_edits())
        } else if document.is_some_and(|document| document != self.document) {
            Some(ProtocolError::new(ErrorCode::UnknownDocument, "this connection is for another document"))
        } else if self.editing.is_some() {
            Some(ProtocolError::new(ErrorCode::TooMany, "the request before this one is not journalled yet"))
        } else {
            None
        };
        match refused {
            Some(error) => out.push(Output::Send(refused_json(&error, &request_id))),
            None => {
                self.editing = Some(request_id.clone());
                out.push(Output::Edit { base, edits, request_id });
            }
        }
    }

    fn uploaded(&mut self, result: Result<(String, bool), ProtocolError>, out: &mut Vec<Output>) {
        let request_id = self.uploading.take().flatten();
        match (result, request_id) {
            (Ok((version, merged)), Some(request_id)) => {
                out.push(Output::Send(result_json(&version, merged, &request_id)));
            }
            // The simplest client understands nothing but `content_update`.
            (Ok(_), None) => {}
            (Err(error), _) => {
                // It was not entered: the same text once more is no repeat.
                self.previous = None;
                out.push(Output::Send(error.to_json()));
            }
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Session::new()
    }
}

fn needs_edits() -> ProtocolError {
    ProtocolError::new(ErrorCode::Unsupported, "this takes a hello with \"mode\":\"edits\"")
}

/// The same text made from another stated base is another edit.
fn digest(update: &Update) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(update.content.len() as u64).to_le_bytes());
    hasher.update(update.content.as_bytes());
    if let Some(base) = &update.base {
        hasher.update(b"\0base\0");
        hasher.update(base.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn open() -> Session {
        let mut session = Session::admitted(None);
        assert_eq!(
            session.handle(Input::Opened, NOW),
            [Output::OpenDocument { document: None, name: String::new(), guest: None }]
        );
        assert_eq!(session.handle(Input::DocumentOpened(Ok("a.txt".into())), NOW), [Output::AskCurrent]);
        let out = session.handle(Input::Current(Ok(("text".into(), "v1".into()))), NOW);
        assert_eq!(out, [Output::Send(update_json("text", "v1", "a.txt"))]);
        assert!(session.handle(Input::Sent, NOW).is_empty());
        session
    }

    fn sent_code(out: &[Output]) -> String {
        let Some(Output::Send(text)) = out.first() else { panic!("no error was sent: {out:?}") };
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        value["code"].as_str().unwrap_or_default().to_owned()
    }

    fn upload(content: &str, extra: &str) -> Input {
        let content = serde_json::to_string(content).unwrap();
        Input::Received(format!(r#"{{"type":"update_request","content":{content}{extra}}}"#))
    }

    fn edit(base: &str, id: &str, extra: &str) -> Input {
        let edits = r#"[{"at":0,"insert":"x"}]"#;
        let (kind, names) = (r#""type":"edit_request""#, format!(r#""base":"{base}","request_id":"{id}""#));
        Input::Received(format!(r#"{{{kind},{names},"edits":{edits}{extra}}}"#))
    }

    fn news(base: &str, version: &str) -> News {
        News { base: base.into(), version: version.into(), edits: Vec::new(), others: None }
    }

    /// A client of the mode `edits`, which has the text at `v1`.
    fn open_by_edits() -> Session {
        let mut session = open();
        let hello = r#"{"type":"hello","mode":"edits","name":"ann"}"#;
        let out = session.handle(Input::Received(hello.into()), NOW);
        assert!(matches!(out.as_slice(), [Output::Welcome { .. }, Output::AskNews]), "{out:?}");
        assert!(session.handle(Input::News(Ok(news("v1", "v1"))), NOW).is_empty());
        session
    }

    #[test]
    fn a_client_of_edits_hears_what_changed_and_gets_its_answers_by_name() {
        let mut session = open_by_edits();
        assert_eq!(session.handle(Input::Changed, NOW), [Output::AskNews]);
        let out = session.handle(Input::News(Ok(news("v1", "v2"))), NOW);
        assert_eq!(out, [Output::Send(edits_json(&news("v1", "v2"), None))]);
        // While that is on its way, a change waits and an edit does not.
        assert!(session.handle(Input::Changed, NOW).is_empty());
        let out = session.handle(edit("v1", "r1", ""), NOW);
        assert!(matches!(out.as_slice(), [Output::Edit { base, .. }] if base == "v1"), "{out:?}");
        assert!(session.is_busy());
        assert_eq!(sent_code(&session.handle(edit("v1", "r2", ""), NOW)), "too_many");
        let out = session.handle(Input::Edited(Ok(news("v1+", "v3"))), NOW);
        assert_eq!(out, [Output::Send(edits_json(&news("v1+", "v3"), Some("r1")))]);
        assert_eq!(session.handle(Input::Sent, NOW), [Output::AskNews]);
        // There was nothing more: the next change is asked for at once.
        assert!(session.handle(Input::News(Ok(news("v3", "v3"))), NOW).is_empty());
        assert_eq!(session.handle(Input::Changed, NOW), [Output::AskNews]);
    }

    #[test]
    fn an_edit_that_is_refused_is_refused_by_name() {
        let mut session = open_by_edits();
        session.handle(edit("v0", "r1", ""), NOW);
        let error = ProtocolError::new(ErrorCode::BadBase, "no");
        let out = session.handle(Input::Edited(Err(error)), NOW);
        assert_eq!(sent_code(&out), "bad_base");
        assert!(matches!(out.as_slice(), [Output::Send(text)] if text.contains(r#""request_id":"r1""#)));
        let out = session.handle(edit("v1", "r2", r#","document":"b.txt""#), NOW);
        assert_eq!(sent_code(&out), "unknown_document");
        assert!(!session.is_busy());
    }

    #[test]
    fn cursors_and_lists_are_passed_on() {
        let mut session = open_by_edits();
        let presence = Input::Received(r#"{"type":"presence","version":"v1","cursor":3}"#.into());
        assert!(matches!(session.handle(presence, NOW).as_slice(), [Output::Mark(_)]));
        assert_eq!(session.handle(Input::Received(r#"{"type":"list"}"#.into()), NOW), [Output::List]);
        let out = session.handle(Input::Listed(Ok(vec!["a".into()])), NOW);
        assert_eq!(out, [Output::Send(documents_json(&["a".into()]))]);
        session.handle(Input::Changed, NOW);
        let who = News { others: Some(Vec::new()), ..news("v1", "v1") };
        assert_eq!(session.handle(Input::News(Ok(who)), NOW), [Output::Send(presence_json("v1", &[]))]);
    }

    #[test]
    fn nothing_is_done_before_the_token_is_right() {
        for text in [r#"{"type":"update_request","content":"x"}"#, r#"{"type":"ping"}"#, "x", "{}"] {
            let mut session = Session::new();
            session.handle(Input::Opened, NOW);
            let out = session.handle(Input::Received(text.into()), NOW);
            assert!(matches!(out.as_slice(), [Output::Send(_), Output::Close(Some(_))]), "{text}: {out:?}");
            let hello = Input::Received(r#"{"type":"hello","token":"t"}"#.into());
            assert!(session.handle(hello, NOW).is_empty(), "an edit before the hello is never applied later");
        }
        let mut session = Session::new();
        session.handle(Input::Opened, NOW);
        let hello = r#"{"type":"hello","token":"t","document":"d","name":"n"}"#;
        assert_eq!(session.handle(Input::Received(hello.into()), NOW), [Output::CheckToken("t".into())]);
        assert!(session.is_busy() && !session.is_let_in());
        let out = session.handle(Input::TokenChecked(Ok(())), NOW);
        assert_eq!(out, [Output::OpenDocument { document: Some("d".into()), name: "n".into(), guest: None }]);
    }

    #[test]
    fn a_wrong_token_and_silence_close() {
        let mut session = Session::new();
        session.handle(Input::Opened, NOW);
        session.handle(Input::Received(r#"{"type":"hello","token":"t"}"#.into()), NOW);
        let wrong = ProtocolError::new(ErrorCode::Unauthorized, "no");
        let out = session.handle(Input::TokenChecked(Err(wrong.clone())), NOW);
        assert_eq!(out, [Output::Send(wrong.to_json()), Output::Close(Some(wrong))]);

        let mut session = Session::new();
        session.handle(Input::Opened, NOW);
        assert!(session.handle(Input::Tick, NOW + Duration::from_secs(4)).is_empty());
        let out = session.handle(Input::Tick, NOW + limits::HELLO_TIMEOUT);
        assert_eq!(sent_code(&out), "timeout");
    }

    #[test]
    fn a_slow_client_gets_one_newest_text() {
        let mut session = open();
        assert_eq!(session.handle(Input::Changed, NOW), [Output::AskCurrent]);
        assert!(session.handle(Input::Changed, NOW).is_empty());
        let out = session.handle(Input::Current(Ok(("2".into(), "v2".into()))), NOW);
        assert_eq!(out.len(), 1);
        for _ in 0..1_000 {
            assert!(session.handle(Input::Changed, NOW).is_empty());
        }
        assert_eq!(session.handle(Input::Sent, NOW), [Output::AskCurrent]);
        session.handle(Input::Current(Ok(("3".into(), "v3".into()))), NOW);
        assert!(session.handle(Input::Sent, NOW).is_empty());
    }

    #[test]
    fn a_repeated_upload_without_a_name_is_no_edit() {
        let mut session = open();
        assert!(matches!(session.handle(upload("new", ""), NOW).as_slice(), [Output::Upload { .. }]));
        assert!(session.is_busy());
        assert!(session.handle(Input::Uploaded(Ok(("v2".into(), false))), NOW).is_empty());
        assert!(session.handle(upload("new", ""), NOW).is_empty());
        assert!(
            !session.handle(upload("new", r#","base":"v2""#), NOW).is_empty(),
            "a stated base is an edit"
        );
        session.handle(Input::Uploaded(Ok(("v3".into(), true))), NOW);
        let named = session.handle(upload("new", r#","request_id":"r1""#), NOW);
        assert!(matches!(named.as_slice(), [Output::Upload { request_id: Some(_), .. }]));
        let out = session.handle(Input::Uploaded(Ok(("v4".into(), true))), NOW);
        assert_eq!(out, [Output::Send(result_json("v4", true, "r1"))]);
    }

    #[test]
    fn an_upload_that_failed_may_be_sent_again() {
        let mut session = open();
        session.handle(upload("new", ""), NOW);
        let full = ProtocolError::new(ErrorCode::StorageFull, "full");
        assert_eq!(sent_code(&session.handle(Input::Uploaded(Err(full)), NOW)), "storage_full");
        assert!(matches!(session.handle(upload("new", ""), NOW).as_slice(), [Output::Upload { .. }]));
    }

    #[test]
    fn a_bad_message_is_one_error_and_the_session_goes_on() {
        let mut session = open();
        let cases = [
            (Input::Received("{".into()), "bad_message"),
            (Input::Received(r#"{"type":"hello","mode":"both"}"#.into()), "unsupported"),
            (Input::Received(r#"{"type":"presence","version":"v","cursor":1}"#.into()), "unsupported"),
            (edit("v1", "r", ""), "unsupported"),
            (upload("x", r#","document":"other.txt""#), "unknown_document"),
        ];
        for (input, code) in cases {
            let out = session.handle(input, NOW);
            assert_eq!((out.len(), sent_code(&out).as_str()), (1, code));
        }
        assert!(matches!(session.handle(upload("x", ""), NOW).as_slice(), [Output::Upload { .. }]));
    }
}
