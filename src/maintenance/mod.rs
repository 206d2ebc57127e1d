//! What a server does by the clock, beside its callers: dividing partitions ahead, removing what is too old, giving a sign
//! of life, noticing reports that are overdue, forgetting ended backends, looking how far the standbys are,
//! measuring how large the tables have become.
//!
//! One duty a file, each a loop that ends with the token. To add a duty: its file, its `spawn` in [`start`]. What admins can
//! ask for as well is apart from the loop: [`cleanup`], [`optimize`], [`erase`].

mod backends;
pub mod cleanup;
pub mod erase;
mod heartbeat;
mod measure;
pub mod optimize;
mod overdue;
mod partitions;
mod retention;
mod standbys;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use heartbeat::Heart;
pub use retention::due_at;

use crate::config::RetentionConfig;
use crate::db::Database;
use crate::store::Store;
use crate::telemetry::Telemetry;

/// Starts all duties but [`watch_reports`]; they end with the token.
pub fn start(
    store: &Store,
    database: &Database,
    retention: &RetentionConfig,
    heart: Heart,
    telemetry: &Telemetry,
    tracker: &TaskTracker,
    token: &CancellationToken,
) {
    tracker.spawn(partitions::run(store.clone(), retention.partition_by, token.clone()));
    let job = retention::Job {
        store: store.clone(),
        retention: retention.clone(),
        holder: heart.server.server_id.clone(),
        telemetry: telemetry.clone(),
    };
    tracker.spawn(job.run(token.clone()));
    tracker.spawn(backends::run(database.clone(), token.clone()));
    tracker.spawn(heartbeat::run(store.clone(), heart, token.clone()));
    tracker.spawn(standbys::run(store.clone(), token.clone()));
    tracker.spawn(measure::run(store.clone(), token.clone()));
}

/// Starts to notice reports that are overdue. It ends with a token of its own: who takes no more reports misses none.
/// `within` is the server's own setting in seconds.
pub fn watch_reports(store: &Store, within: Option<i32>, tracker: &TaskTracker, token: &CancellationToken) {
    tracker.spawn(overdue::run(store.clone(), within, token.clone()));
}
