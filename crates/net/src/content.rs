//! One `content` connection: a [`Session`] on one side, the hub's [`TextSession`] on the other.

use std::collections::VecDeque;
use std::time::Duration;

use syncline_hub::{Hub, HubError, Party, TextSession};
use syncline_protocol::content::{Input, Output, Session};
use syncline_protocol::{ErrorCode, ProtocolError, limits};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use syncline_protocol::access::{Refusal, Verb};

use crate::access::Presented;
use crate::admission::Place;
use crate::pass::Pass;
use crate::socket::{Broken, Incoming, Outgoing, Received, Stranger, Writer};
use syncline_hub::refusal;

struct Driver<'a> {
    hub: Hub,
    pass: &'a Pass<'a>,
    session: Session,
    text: Option<TextSession>,
    started: Instant,
    outbox: VecDeque<String>,
    /// What the hub is to do, one after the other.
    todo: VecDeque<Output>,
    closing: Option<Option<ProtocolError>>,
}

/// Runs a connection to its end. What happens seldom is in a box of its own, as in [`crate::diffsync::run`].
pub(crate) async fn run(
    stranger: Stranger,
    session: Session,
    hub: Hub,
    pass: &Pass<'_>,
    place: &mut Place,
    shutdown: watch::Receiver<bool>,
) {
    let mut driver = Driver {
        hub,
        pass,
        session,
        text: None,
        started: Instant::now(),
        outbox: VecDeque::new(),
        todo: VecDeque::new(),
        closing: None,
    };
    let Some(stranger) = Box::pin(driver.greet(stranger, shutdown.clone())).await else { return };
    place.let_in();
    if let Ok((incoming, writer)) = Box::pin(stranger.let_in(limits::MAX_CONTENT_MESSAGE)).await {
        driver.talk(incoming, writer, shutdown).await;
    }
}

impl Driver<'_> {
    /// Until the client is let in; nothing is asked of the hub before that.
    async fn greet(
        &mut self,
        mut stranger: Stranger,
        mut shutdown: watch::Receiver<bool>,
    ) -> Option<Stranger> {
        let mut tick = interval(Duration::from_secs(1));
        self.handle(Input::Opened);
        loop {
            while let Some(text) = self.outbox.pop_front() {
                stranger.send(Outgoing::Text(text)).await.ok()?;
            }
            if let Some(error) = self.closing.take() {
                let _ = stranger.send(Outgoing::Close(error)).await;
                return None;
            }
            if self.session.is_let_in() {
                return Some(stranger);
            }
            let input = tokio::select! {
                message = stranger.next() => read(message)?,
                _ = tick.tick() => Input::Tick,
                () = crate::stopped(&mut shutdown) => Input::Stop,
            };
            self.handle(input);
        }
    }

    async fn talk(
        &mut self,
        mut incoming: Incoming,
        mut writer: Writer,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut queued, mut told) = (0u64, 0u64);
        let ended = self.pass.ended();
        tokio::pin!(ended);
        loop {
            // One after the other, and meanwhile nothing is read: a client that is faster than the journal
            // waits in its own buffer. What was said before still leaves: the writer is a task.
            while let Some(output) = self.todo.pop_front() {
                if let Some(input) = Box::pin(self.perform(output)).await {
                    self.handle(input);
                }
            }
            if self.outbox.is_empty()
                && let Some(error) = self.closing.take()
            {
                return Box::pin(writer.close(error)).await;
            }
            if self.outbox.is_empty() && told < queued && *writer.written.borrow() == queued {
                told = queued;
                self.handle(Input::Sent);
                continue;
            }
            let queue = writer.queue.clone();
            let mut written = writer.written.clone();
            // A client that does not take its answers is not read from: they are bounded by what it sends.
            let may_read = !self.session.is_busy() && self.outbox.is_empty() && self.closing.is_none();
            let wants_changes = self.session.wants_changes() && self.closing.is_none();
            tokio::select! {
                _ = writer.ended() => return,
                permit = queue.reserve(), if !self.outbox.is_empty() => {
                    if let (Ok(permit), Some(text)) = (permit, self.outbox.pop_front()) {
                        permit.send(Outgoing::Text(text));
                        queued += 1;
                    }
                }
                _ = written.wait_for(|count| *count == queued), if self.outbox.is_empty() && told < queued => {}
                message = incoming.next(), if may_read => match read(message) {
                    Some(input) => self.handle(input),
                    None => return,
                },
                () = changed(&mut self.text), if wants_changes => self.handle(Input::Changed),
                _ = tick.tick() => self.handle(Input::Tick),
                refusal = &mut ended, if self.closing.is_none() => self.expel(refusal),
                () = crate::stopped(&mut shutdown), if self.closing.is_none() => self.handle(Input::Stop),
            }
        }
    }

    fn handle(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in self.session.handle(input, self.started.elapsed()) {
                match output {
                    Output::Send(text) => self.outbox.push_back(text),
                    Output::Close(error) => self.closing = Some(error),
                    Output::CheckToken(token) => {
                        let shown = self.pass.show(Presented::Token(&token));
                        inputs.push_back(Input::TokenChecked(shown.map_err(ProtocolError::from)));
                    }
                    ask => self.todo.push_back(ask),
                }
            }
        }
    }

    /// The right to be here has ended: of what was not sent yet, only that is said.
    fn expel(&mut self, refusal: Refusal) {
        self.todo.clear();
        self.outbox.clear();
        self.handle(Input::Expelled(refusal.into()));
    }

    async fn perform(&mut self, output: Output) -> Option<Input> {
        let gone = || ProtocolError::new(ErrorCode::Internal, "no document is open");
        match output {
            Output::OpenDocument { document, name, guest } => {
                let opened = self.open(document, &name).await;
                if let (Some(guest), Some(text)) = (guest, &mut self.text) {
                    text.welcome(guest, &name);
                }
                Some(Input::DocumentOpened(opened))
            }
            Output::Welcome { name, guest } => {
                self.text.as_mut()?.welcome(guest, &name);
                None
            }
            Output::AskNews => Some(Input::News(match &mut self.text {
                Some(text) => text.news().await.map_err(|error| refusal(&error)),
                None => Err(gone()),
            })),
            Output::Edit { base, edits, request_id } => Some(Input::Edited(match &mut self.text {
                Some(text) => match self.pass.may(Verb::Edit, Some(text.document())) {
                    Ok(()) => text.edit(&base, edits, &request_id).await.map_err(|error| misplaced(&error)),
                    Err(refused) => Err(refused.into()),
                },
                None => Err(gone()),
            })),
            Output::Mark(marks) => Some(Input::Marked(match &mut self.text {
                Some(text) => match self.pass.may(Verb::Read, Some(text.document())) {
                    Ok(()) => text.mark(marks).await.map_err(|error| misplaced(&error)),
                    Err(refused) => Err(refused.into()),
                },
                None => Err(gone()),
            })),
            Output::List => {
                let may = self.pass.may(Verb::List, None);
                Some(Input::Listed(may.map(|()| self.hub.text_paths()).map_err(ProtocolError::from)))
            }
            Output::AskCurrent => Some(Input::Current(match &mut self.text {
                Some(text) => match text.current().await {
                    Ok(now) => Ok((now.text, now.version)),
                    Err(error) => Err(refusal(&error)),
                },
                None => Err(gone()),
            })),
            Output::Upload { content, base, request_id } => Some(Input::Uploaded(match &mut self.text {
                Some(text) => match self.pass.may(Verb::Edit, Some(text.document())) {
                    Ok(()) => match text.upload(content, base, request_id).await {
                        Ok(uploaded) => Ok((uploaded.version, uploaded.merged)),
                        Err(error) => Err(refusal(&error)),
                    },
                    Err(refused) => Err(refused.into()),
                },
                None => Err(gone()),
            })),
            Output::Send(_) | Output::Close(_) | Output::CheckToken(_) => None,
        }
    }

    /// Opens the document that is asked for, or the one that is meant. Whoever may not read it is not told
    /// whether there is one.
    async fn open(&mut self, document: Option<String>, name: &str) -> Result<String, ProtocolError> {
        let document = self.pass.document(document)?;
        let name = if name.is_empty() { "content client" } else { name }.to_owned();
        let party = Party { name, channel: "content" };
        let text = self.hub.open_text(document.as_deref(), party).await.map_err(|error| refusal(&error))?;
        let path = text.document().to_owned();
        // Without a name the hub has chosen.
        self.pass.may(Verb::Read, Some(&path))?;
        self.text = Some(text);
        Ok(path)
    }
}

async fn changed(text: &mut Option<TextSession>) {
    match text {
        Some(text) => text.changed().await,
        None => std::future::pending().await,
    }
}

/// Positions that do not fit are the client's fault, not that of its history: it has none.
fn misplaced(error: &HubError) -> ProtocolError {
    match error {
        HubError::BadPosition { what } => ProtocolError::new(ErrorCode::BadMessage, what.clone()),
        other => refusal(other),
    }
}

/// `None`: the connection is gone.
fn read(message: Result<Received, Broken>) -> Option<Input> {
    match message {
        Ok(Received::Text(text)) => Some(Input::Received(text)),
        Ok(Received::Binary(_)) => {
            let what = "a binary message; this address speaks JSON as text messages";
            Some(Input::Garbled(ProtocolError::new(ErrorCode::BadMessage, what)))
        }
        Err(Broken::Rule(error)) => Some(Input::Garbled(error)),
        Err(Broken::Gone(_)) => None,
    }
}
