//! What a server does by the clock, beside its callers: dividing partitions ahead, giving a sign of life, forgetting ended
//! backends, giving memory back, looking how far the standbys are.
//!
//! One duty a file, each a loop that ends with the token. To add a duty: its file, its `spawn` in [`start`].

mod backends;
mod heartbeat;
mod memory;
mod partitions;
mod standbys;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use heartbeat::Heart;

use crate::db::Database;
use crate::store::Store;

/// Starts all duties; they end with the token.
pub fn start(store: &Store, database: &Database, heart: Heart, tracker: &TaskTracker, token: &CancellationToken) {
    tracker.spawn(partitions::run(store.clone(), token.clone()));
    tracker.spawn(backends::run(database.clone(), token.clone()));
    tracker.spawn(heartbeat::run(store.clone(), heart, token.clone()));
    tracker.spawn(standbys::run(store.clone(), token.clone()));
    tracker.spawn(memory::run(token.clone()));
}
