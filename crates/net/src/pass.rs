//! What one connection may do: whose secret it has shown, asked anew for everything it wants.

use std::pin::Pin;
use std::time::Duration;

use syncline_protocol::access::{Ask, Channel, Refusal, Verb};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::access::{Access, Key, Presented};

/// How long a connection whose right has ended may take to hear of it. Then it is dropped, whatever it does.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// One connection's pass. At first it is nobody's.
pub(crate) struct Pass<'a> {
    access: &'a Access,
    channel: Channel,
    key: watch::Sender<Option<Key>>,
}

impl<'a> Pass<'a> {
    pub fn new(access: &'a Access, channel: Channel) -> Pass<'a> {
        Pass { access, channel, key: watch::channel(None).0 }
    }

    /// Somebody shows a secret; if it lets in here, the pass is theirs.
    pub fn show(&self, presented: Presented<'_>) -> Result<(), Refusal> {
        let key = self.access.key_of(presented);
        let ask = Ask { channel: self.channel, verb: Verb::Connect, document: None };
        self.access.decide(key, ask)?;
        self.key.send_replace(key);
        Ok(())
    }

    /// Whether its holder may do this, now.
    pub fn may(&self, verb: Verb, document: Option<&str>) -> Result<(), Refusal> {
        self.access.decide(*self.key.borrow(), Ask { channel: self.channel, verb, document })
    }

    /// Which document is meant if `asked` is; and that it may be read.
    pub fn document(&self, asked: Option<String>) -> Result<Option<String>, Refusal> {
        let document = asked.or_else(|| self.access.own_document(*self.key.borrow()));
        self.may(Verb::Read, document.as_deref())?;
        Ok(document)
    }

    /// What is kept for this connection's holder is kept for this.
    pub fn identity(&self) -> [u8; 32] {
        self.key.borrow().map_or([0; 32], |key| self.access.identity(key))
    }

    /// Waits until the right to be here has ended, and why. Never for who was not let in: that has its own
    /// time limit. Cancel-safe.
    pub async fn ended(&self) -> Refusal {
        let mut shown = self.key.subscribe();
        let key = match shown.wait_for(Option::is_some).await {
            Ok(key) => *key,
            Err(_) => None,
        };
        match key {
            Some(key) => self.access.ended(key, self.channel).await,
            None => std::future::pending().await,
        }
    }

    /// Runs a connection until it ends, or until it has not gone in good order after its right has ended: a
    /// client that takes nothing cannot stay by that.
    ///
    /// The connection is in a box: moved from one future into another, it would take its room in each of them.
    pub async fn guard(&self, mut connection: Pin<Box<impl Future<Output = ()>>>) {
        tokio::select! {
            () = &mut connection => {}
            () = async {
                self.ended().await;
                sleep(LAST_WORDS).await;
            } => {}
        }
    }
}
