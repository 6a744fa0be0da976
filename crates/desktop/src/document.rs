//! A desk with its surroundings: the connection, and the file of what is not sent yet.

use std::time::Duration;

use eframe::egui;
use syncline_engine::Edit;
use syncline_net::{LineEvent, LineOrder};
use syncline_protocol::JoinLink;
use syncline_protocol::content::{Greeting, Unit};

use crate::desk::{Connection, Desk, DeskInput, DeskOutput, Mode, Standing};
use crate::kept_file::{KeptFile, state_dir};
use crate::line::Line;

/// How often time passes for a desk that waits for something.
const TICK: Duration = Duration::from_millis(500);

/// What carries messages to the hub and back.
pub trait Carrier {
    /// The next event, if there is one. Does not wait.
    fn take(&mut self) -> Option<LineEvent>;
    /// Gives an order. Does not wait.
    fn order(&mut self, order: LineOrder);
}

/// A document that a window shows.
pub struct Document {
    desk: Desk,
    carrier: Option<Box<dyn Carrier>>,
    kept: Option<KeptFile>,
    /// Why nothing can be kept on this machine.
    trouble: Option<String>,
    now: Duration,
    ticked: Duration,
}

impl Document {
    /// Opens the document that a link leads to, or the one at `path` in its folder, for somebody of this name. What a
    /// window that was killed had not sent is there again. Whenever there is something to draw, `ctx` is asked to.
    ///
    /// # Errors
    /// When no thread can be started or no random number drawn.
    pub fn open(
        link: JoinLink,
        path: Option<&str>,
        name: &str,
        ctx: &egui::Context,
    ) -> std::io::Result<Document> {
        let path = path.or(link.document()).map(str::to_owned);
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).map_err(|error| std::io::Error::other(error.to_string()))?;
        let greeting = Greeting {
            token: Some(link.token().secret()),
            document: path.clone(),
            name: name.to_owned(),
            // Each window chooses, so that no two are alike in it.
            color: None,
            unit: Unit::Scalar,
            nonce: data_encoding::HEXLOWER.encode(&nonce),
        };
        let opened = match state_dir() {
            Some(dir) => KeptFile::open(&dir, &link, path.as_deref()).map_err(|error| error.to_string()),
            None => Err("there is neither XDG_STATE_HOME nor HOME".to_owned()),
        };
        let (kept, layers, trouble) = match opened {
            Ok((kept, layers)) => (Some(kept), layers, None),
            Err(trouble) => (None, None, Some(trouble)),
        };
        let ctx = ctx.clone();
        let line = Line::dial(link, move || ctx.request_repaint())?;
        let desk = Desk::new(greeting, Mode::Draft, layers);
        Ok(Document { kept, trouble, ..Document::with(desk, Box::new(line)) })
    }

    /// A document on another carrier, kept nowhere.
    pub fn with(desk: Desk, carrier: Box<dyn Carrier>) -> Document {
        let (now, ticked) = (Duration::ZERO, Duration::ZERO);
        Document { desk, carrier: Some(carrier), kept: None, trouble: None, now, ticked }
    }

    /// The desk.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Why what is not sent yet would not outlive this window; `None`: it would.
    pub fn trouble(&self) -> Option<&str> {
        if self.kept.as_ref().is_some_and(KeptFile::is_behind) && self.desk.standing() != Standing::Saved {
            return self.trouble.as_deref().or(Some("the disk does not take it"));
        }
        self.trouble.as_deref()
    }

    /// Takes what has come. To be called before each drawing, or more often.
    pub fn poll(&mut self, ctx: &egui::Context) {
        self.now = Duration::from_secs_f64(ctx.input(|input| input.time).max(0.0));
        while let Some(event) = self.carrier.as_mut().and_then(|carrier| carrier.take()) {
            self.act(DeskInput::Line(event));
        }
        let waits = matches!(self.desk.standing(), Standing::Sending | Standing::Waiting);
        let fades = !self.desk.shared_marks().is_empty();
        if waits || fades {
            if self.now.saturating_sub(self.ticked) >= TICK {
                self.ticked = self.now;
                self.act(DeskInput::Tick);
            }
            ctx.request_repaint_after(TICK);
        }
    }

    /// Does what the person wants.
    pub fn act(&mut self, input: DeskInput) {
        for output in self.desk.handle(input, self.now) {
            match (output, &mut self.carrier) {
                (DeskOutput::Send { line, text }, Some(carrier)) => {
                    carrier.order(LineOrder::Send { line, text })
                }
                (DeskOutput::Redial, Some(carrier)) => carrier.order(LineOrder::Redial),
                (DeskOutput::HangUp, _) => self.carrier = None,
                (DeskOutput::Keep(kept), _) => {
                    if let Some(file) = &mut self.kept {
                        file.keep(&kept, || self.desk.kept());
                    }
                }
                (DeskOutput::Send { .. } | DeskOutput::Redial, None) => {}
            }
        }
    }

    /// Dials at once, if there is no connection.
    pub fn hurry(&mut self) {
        if let (Connection::Lost(_), Some(carrier)) = (self.desk.connection(), &mut self.carrier) {
            carrier.order(LineOrder::Hurry);
        }
    }

    pub(crate) fn take_moves(&mut self) -> Vec<Vec<Edit>> {
        self.desk.take_moves()
    }
}
