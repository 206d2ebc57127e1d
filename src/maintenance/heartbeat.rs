//! The server's sign of life, by which the others know of it: every ten seconds, at once where it does better or worse than
//! before, and taken back at the end.

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::store::{HealthState, SLOW_ANSWER, Server, Store};

/// Six of them within the minute after which a server counts as gone.
const EVERY: Duration = Duration::from_secs(10);
/// How often it looks whether that has changed.
const LOOK: Duration = Duration::from_millis(500);
/// What the good-bye may take: less than `app` gives all that runs by itself.
const GOOD_BYE: Duration = Duration::from_millis(300);

/// Who gives it, and what is told of it each time: how it does, and its open connections with live updates.
#[derive(Clone)]
pub struct Heart {
    /// Which server.
    pub server: Arc<Server>,
    /// Asked each time.
    pub told: Arc<dyn Fn() -> (HealthState, i32) + Send + Sync>,
}

impl Heart {
    /// Waits until the next one is due, after one that told this.
    async fn next(&self, state: HealthState) {
        let due = Instant::now() + EVERY;
        while Instant::now() < due && (self.told)().0 == state {
            sleep(LOOK).await;
        }
    }
}

pub(super) async fn run(store: Store, heart: Heart, token: CancellationToken) {
    // How the database did at the last one: that can only be told with the next.
    let mut database = HealthState::Healthy;
    loop {
        let (state, connections) = (heart.told)();
        let begun = Instant::now();
        let mut beat = pin!(store.beat(&heart.server, state.max(database), connections));
        match token.run_until_cancelled(beat.as_mut()).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%error, "no sign of life; the next one comes soon"),
            // Given up, it could still come, and after the good-bye.
            None => return leave(&store, &heart, beat.map(drop)).await,
        }
        database = if begun.elapsed() < SLOW_ANSWER { HealthState::Healthy } else { HealthState::Degraded };
        if token.run_until_cancelled(heart.next(state)).await.is_none() {
            return leave(&store, &heart, ready(())).await;
        }
    }
}

/// Takes the sign of life back, once that is over which is under way.
async fn leave(store: &Store, heart: &Heart, under_way: impl Future<Output = ()>) {
    let leave = async {
        under_way.await;
        store.leave(&heart.server).await
    };
    if !matches!(timeout(GOOD_BYE, leave).await, Ok(Ok(()))) {
        tracing::debug!("no good-bye; the others forget this server within a minute");
    }
}
