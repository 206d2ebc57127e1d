//! Waiting for users who are held by somebody's open transaction, where a write waits in the database: batches,
//! cancellations, acknowledgements. Whoever waits there has a connection of the pool meanwhile, so only a few do so at
//! a time, by turns: a held user must not take the connections of all others.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Store;
use super::append::Wait;

/// How many wait in the database at once: few beside the pool's connections.
const SEATS: usize = 3;
/// The first attempt, without a seat: collisions with other writers are over by then.
const SHORT: Duration = Duration::from_millis(50);
/// How long one keeps a seat while others wait for it.
pub(super) const TURN: Duration = Duration::from_millis(250);

/// The seats of one store.
pub(super) fn seats() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(SEATS))
}

/// One write's turns.
pub(super) struct Turn {
    until: Instant,
    seat: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// The first one.
    pub(super) fn new(store: &Store) -> Self {
        Self { until: Instant::now() + store.settings.hold_timeout, seat: None }
    }

    /// How long the attempt of this turn may wait.
    pub(super) fn wait(&self) -> Wait {
        let most = if self.seat.is_some() { TURN } else { SHORT };
        Wait::AtMost(most.min(self.until - Instant::now()))
    }

    /// After an attempt that waited in vain: true when the next turn has come, false when it is too late for one.
    pub(super) async fn next(&mut self, store: &Store) -> bool {
        self.seat = None;
        if Instant::now() >= self.until {
            return false;
        }
        let seat = timeout_at(self.until, Arc::clone(&store.seats).acquire_owned()).await;
        self.seat = seat.ok().and_then(Result::ok);
        self.seat.is_some()
    }
}
