//! All SQL, and nothing but SQL: reads by key and by page, and the one append path with its lanes.
//!
//! [`Store`] is one type whose `impl` is split by topic:
//!
//! - [`record`]: what a writer hands in and gets back · `append`: the prepared statement · [`lanes`]: group commit
//! - `cancel`: cancelling and acknowledging · `retry`: what is tried again, and how often
//! - `tasks`, `history`: reads · [`filter`], [`page`]: what a list asks for · `feed`, `feed_tasks`: what the feed reads
//! - `partitions`: dividing `task_record` ahead
//!
//! Reads through `SeaORM`; where a statement needs `unnest` or a row comparison: SQL through its `Statement` into a typed
//! row. To add a read: a method beside its kin, its bound on `recorded_at` first, then its caller in `src/service`.

mod append;
mod cancel;
pub mod error;
mod feed;
mod feed_tasks;
pub mod filter;
mod history;
pub mod lanes;
pub mod page;
mod partitions;
pub mod record;
mod retry;
mod tasks;

use std::sync::Arc;

use sea_orm::DatabaseConnection;

pub use cancel::{CancelOutcome, Cancelled, NewAcknowledgement, NewCancellation};
pub use error::StoreError;
pub use feed::{ChangedHeads, FeedPage, Head};
pub use feed_tasks::{CancellationMark, ChangedUsers, TasksPage};
pub use filter::TaskFilter;
pub use history::StepSummary;
pub use lanes::Lanes;

pub use record::{Committed, NewRecord, Saved, TaskDetails};
pub use tasks::{TaskKey, TaskOrder};

/// Told of everything that this server has just committed, before the callers are.
pub type OnCommit = Arc<dyn Fn(Vec<Committed>) + Send + Sync>;

/// The database as Taskwire uses it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: DatabaseConnection,
    on_commit: OnCommit,
}

impl Store {
    /// A store over a migrated database; `on_commit` gets each committed record with its task.
    #[must_use]
    pub fn new(db: DatabaseConnection, on_commit: OnCommit) -> Self {
        Self { db, on_commit }
    }

    /// The pool.
    #[must_use]
    pub fn connection(&self) -> &DatabaseConnection {
        &self.db
    }
}
