//! The hub's end of a `content` connection, as a pure state machine.
//!
//! At most one text is on its way to the client at any time: what changes meanwhile is sent as one newest
//! text when the client has taken that one. One upload is with the hub at a time; [`Session::is_busy`] tells
//! the shell not to read on, so a client that sends faster than its uploads are journalled waits.

use std::time::Duration;

use super::message::{Hello, Request, Update, pong_json, result_json, update_json};
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
    /// The document has a durable version that this client was not sent.
    Changed,
    /// The text asked for; or why not.
    Current(Result<(String, String), ProtocolError>),
    /// What became of the upload.
    Uploaded(Result<(String, bool), ProtocolError>),
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
    },
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
        self.uploading.is_some() || matches!(self.phase, Phase::Checking(_) | Phase::Opening)
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
                Some(document) => self.open(document, String::new(), out),
                None => self.phase = Phase::Greeting { until: Some(now + limits::HELLO_TIMEOUT) },
            },
            Input::Received(text) => return self.received(&text, out),
            Input::Garbled(error) | Input::Expelled(error) => return Err(error),
            Input::TokenChecked(checked) => {
                checked?;
                if let Phase::Checking(hello) = &mut self.phase {
                    let hello = std::mem::take(hello);
                    self.open(hello.document, hello.name.unwrap_or_default(), out);
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

    fn open(&mut self, document: Option<String>, name: String, out: &mut Vec<Output>) {
        self.phase = Phase::Opening;
        out.push(Output::OpenDocument { document, name });
    }

    fn changed(&mut self, out: &mut Vec<Output>) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        if self.sending {
            self.stale = true;
        } else {
            self.sending = true;
            out.push(Output::AskCurrent);
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
            [Output::OpenDocument { document: None, name: String::new() }]
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
        assert_eq!(out, [Output::OpenDocument { document: Some("d".into()), name: "n".into() }]);
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
            (Input::Received(r#"{"type":"hello","mode":"edits"}"#.into()), "unsupported"),
            (upload("x", r#","document":"other.txt""#), "unknown_document"),
        ];
        for (input, code) in cases {
            let out = session.handle(input, NOW);
            assert_eq!((out.len(), sent_code(&out).as_str()), (1, code));
        }
        assert!(matches!(session.handle(upload("x", ""), NOW).as_slice(), [Output::Upload { .. }]));
    }
}
