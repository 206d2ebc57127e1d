//! The feed: who changed, told to everybody who watches, without a loss.
//!
//! The table is the truth; a notification is a hint that says whom to look at, nothing more.
//!
//! - [`cursor`]: where a client stands, as it is handed out and taken back
//! - [`hub`]: who is watched, `watched`, how far each is known, and `ring`, the recent entries that all subscribers share
//! - [`watch`]: one subscription to one user: wait until the head passes the cursor, read the next page
//! - `everyone`: the same for those who watch all users
//! - `listener`: the one connection to a node that hears notifications · `check`: the one task that reads what is new
//! - `tenure`: which run of the database all that is known from
//! - `control`: what an admin has every server do about a user
//! - [`mod@error`]: why a subscription ends
//!
//! To add a kind of subscription: a method of [`Watch`] or [`EveryoneWatch`] that gives the next page, then its stream in
//! `src/service/watch.rs`.

pub mod cursor;
pub mod error;
pub mod hub;
pub mod watch;

mod check;
mod control;
mod everyone;
mod listener;
mod ring;
mod tenure;
mod watched;

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use control::Close;
pub use cursor::{CursorError, FeedCursor, recorded_at};
pub use error::FeedError;
pub use everyone::EveryoneWatch;
pub use hub::Hub;
pub use watch::{Changed, Changes, Page, Watch};

use crate::config::FeedConfig;
use crate::store::Hosts;

/// How the feed goes about it.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// How often it asks for what no notification told; jittered by a tenth.
    pub check_interval: Duration,
    /// How much all rings together may take.
    pub ring_bytes: usize,
    /// How many tasks may wait for one who watches everybody; beyond, the subscription ends.
    pub pending_tasks: usize,
    /// How often the listener's connection is tried.
    pub ping_interval: Duration,
    /// How long it waits for an answer of the database.
    pub io_timeout: Duration,
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self {
            check_interval: Duration::from_millis(1500),
            ring_bytes: 64 << 20,
            pending_tasks: 10_000,
            ping_interval: Duration::from_secs(10),
            io_timeout: Duration::from_secs(5),
        }
    }
}

impl From<&FeedConfig> for FeedSettings {
    fn from(config: &FeedConfig) -> Self {
        Self { check_interval: config.check_interval, ring_bytes: config.ring_bytes, ..Self::default() }
    }
}

/// Starts the listeners and the reader; all end with the token. Each of `nodes` leads straight to a primary that notifies
/// (as a rule there is one), never through a pooler that shares connections between transactions.
pub fn start(hub: &Hub, nodes: Vec<Hosts>, tracker: &TaskTracker, token: &CancellationToken) {
    hub.listens_to(nodes.len());
    for node in nodes {
        tracker.spawn(listener::run(hub.clone(), node, token.clone()));
    }
    tracker.spawn(check::run(hub.clone(), token.clone()));
    let (hub, token) = (hub.clone(), token.clone());
    tracker.spawn(async move {
        // In one place for all subscriptions: thousands of them waiting for one token would stand in each other's way.
        tokio::select! {
            biased;
            () = hub.inner.closed.cancelled() => hub.close(),
            () = token.cancelled() => {}
        }
    });
}
