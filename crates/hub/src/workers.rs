//! Where calls that block run, and how long they take where time is simulated.

use std::sync::Arc;
use std::time::Duration;
use syncline_disk::{Hint, Watch};
use tokio::sync::mpsc;

use crate::error::HubError;

/// Draws how long something takes.
pub type Delay = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Who carries out calls to the folder and the journal.
#[derive(Clone)]
pub enum Workers {
    /// Threads of the runtime's, one of their own for the watch, one for the journal.
    Threads,
    /// The caller itself, at once, between two pauses that are drawn: for a simulation on one thread, whose clock
    /// stands still while something happens. Others act in the pauses, as they would while a thread works.
    Simulated(Delay),
}

impl Workers {
    /// Carries out a call.
    ///
    /// # Errors
    /// [`HubError::Closed`] when the runtime ends, or the call panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HubError> {
        match self {
            Workers::Threads => tokio::task::spawn_blocking(call).await.map_err(|_| HubError::Closed),
            Workers::Simulated(delay) => {
                tokio::time::sleep(delay()).await;
                let done = call();
                tokio::time::sleep(delay()).await;
                Ok(done)
            }
        }
    }

    /// The pause before and after a commit; none where threads take their own time.
    pub(crate) async fn pause(&self) {
        if let Workers::Simulated(delay) = self {
            tokio::time::sleep(delay()).await;
        }
    }

    /// Drains a watch, so that the kernel's queue does not overflow while the hub works, until `wanted` says no
    /// or the watch ends.
    pub(crate) fn drain(
        &self,
        mut watch: Box<dyn Watch>,
        wanted: impl Fn() -> bool + Send + 'static,
    ) -> mpsc::Receiver<Vec<Hint>> {
        let (hints, received) = mpsc::channel(256);
        match self {
            Workers::Threads => {
                let run = move || {
                    while wanted() {
                        match watch.next(Duration::from_millis(500)) {
                            Ok(batch) if batch.is_empty() => {
                                if hints.is_closed() {
                                    return;
                                }
                            }
                            // The watch itself coalesces while this waits for room.
                            Ok(batch) => {
                                if hints.blocking_send(batch).is_err() {
                                    return;
                                }
                            }
                            Err(_) => return,
                        }
                    }
                };
                // Without the thread the rescan still finds everything.
                drop(std::thread::Builder::new().name("watch".to_owned()).spawn(run));
            }
            Workers::Simulated(delay) => {
                let delay = delay.clone();
                tokio::spawn(async move {
                    while wanted() {
                        match watch.next(Duration::ZERO) {
                            Ok(batch) if batch.is_empty() => {}
                            Ok(batch) => {
                                if hints.send(batch).await.is_err() {
                                    return;
                                }
                            }
                            Err(_) => return,
                        }
                        tokio::time::sleep(delay()).await;
                    }
                });
            }
        }
        received
    }
}
