//! The connection's thread. The window hands orders over and takes events, and waits for neither.

use syncline_net::{LineEvent, LineOrder, keep_line};
use syncline_protocol::JoinLink;
use tokio::sync::mpsc;

use crate::document::Carrier;

/// How many messages may wait in each direction. What does not fit waits with whoever made it.
const WAITING: usize = 64;

/// A connection that is dialed again whenever it breaks, on a thread of its own. Dropping it ends it.
pub struct Line {
    orders: mpsc::Sender<LineOrder>,
    events: mpsc::Receiver<LineEvent>,
    /// Orders that did not fit: a request, a cursor, a list at most for each connection.
    waiting: std::collections::VecDeque<LineOrder>,
}

impl Line {
    /// Dials. `wake` is called, on the other thread, when there is an event to take.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn dial(link: JoinLink, wake: impl Fn() + Send + 'static) -> std::io::Result<Line> {
        let (orders, taken) = mpsc::channel(WAITING);
        let (told, mut inner) = mpsc::channel(1);
        let (events_in, events) = mpsc::channel(WAITING);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("line".into()).spawn(move || {
            runtime.block_on(async move {
                let passing = async move {
                    while let Some(event) = inner.recv().await {
                        if events_in.send(event).await.is_err() {
                            return;
                        }
                        wake();
                    }
                };
                let line = tokio::spawn(keep_line(link, taken, told));
                passing.await;
                line.abort();
            });
        })?;
        Ok(Line { orders, events, waiting: std::collections::VecDeque::new() })
    }
}

impl Carrier for Line {
    fn take(&mut self) -> Option<LineEvent> {
        self.pass_on();
        self.events.try_recv().ok()
    }

    fn order(&mut self, order: LineOrder) {
        self.waiting.push_back(order);
        self.pass_on();
    }
}

impl Line {
    fn pass_on(&mut self) {
        while let Some(order) = self.waiting.pop_front() {
            match self.orders.try_send(order) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(order)) => return self.waiting.push_front(order),
                Err(mpsc::error::TrySendError::Closed(_)) => self.waiting.clear(),
            }
        }
    }
}
