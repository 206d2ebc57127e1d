//! What a server does by the clock, beside its callers: dividing partitions ahead, giving a sign of life, noticing reports
//! that are overdue, forgetting ended backends, giving memory back, looking how far the standbys are.
//!
//! One duty a file, each a loop that ends with the token; `erase` is done when it is asked for. To add a duty: its file, its `spawn` in [`start`].

mod backends;
pub mod erase;
mod heartbeat;
mod memory;
mod overdue;
mod partitions;
mod standbys;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use heartbeat::Heart;

use crate::db::Database;
use crate::store::Store;

/// Starts all duties but [`watch_reports`]; they end with the token.
pub fn start(store: &Store, database: &Database, heart: Heart, tracker: &TaskTracker, token: &CancellationToken) {
    tracker.spawn(partitions::run(store.clone(), token.clone()));
    tracker.spawn(backends::run(database.clone(), token.clone()));
    tracker.spawn(heartbeat::run(store.clone(), heart, token.clone()));
    tracker.spawn(standbys::run(store.clone(), token.clone()));
    tracker.spawn(memory::run(token.clone()));
}

/// Starts to notice reports that are overdue. It ends with a token of its own: who takes no more reports misses none.
/// `within` is the server's own setting in seconds.
pub fn watch_reports(store: &Store, within: Option<i32>, tracker: &TaskTracker, token: &CancellationToken) {
    tracker.spawn(overdue::run(store.clone(), within, token.clone()));
}
