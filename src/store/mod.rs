//! All SQL, and nothing but SQL: reads by key and by page, and the one append path with its lanes.
//!
//! [`Store`] is one type whose `impl` is split by topic:
//!
//! - [`record`]: what a writer hands in and gets back · `append`, `order`, `state`: the prepared statement and its rows · `audience`: who watches · [`lanes`], `lane_thread`, `queue`, `pending`, `pace`:
//!   group commit · `notifier`: telling other servers of it · `batch`: many records together · `cancel`: cancelling and acknowledging · `reports`: those that are due, and signs of life · `erase`: all of a user · `write`, `retry`,
//!   `turn`: on which connection, what is tried again, and who waits for whom
//! - `tasks`, `history`, `users`, `facets`, `statistics`: reads · `servers`, `storage`, `slow_queries`, `plans`, `measure`: for operators · [`filter`], [`page`]: what a list asks for · `feed`, `feed_tasks`: what
//!   the feed reads
//! - `lookups`: one read for many who ask at the same time · `standby`: reading from standbys what may be a little old
//! - `control`: what every server must do about a user · `outage`: whether the database is away · `partitions`: dividing `task_record` ahead ·
//!   `lease`: what one server at a time may do · `retention`, `upkeep`: the steps of it
//!
//! Reads through `SeaORM`; where a statement needs `unnest` or a row comparison: SQL through its `Statement` into a typed
//! row, which is read by position (`rows`) where there are many. To add a read: a method beside its kin, its bound on `recorded_at` first, then its caller in `src/service`.

mod append;
mod audience;
mod batch;
mod cancel;
mod columns;
mod control;
mod erase;
pub mod error;
mod facets;
mod feed;
mod feed_tasks;
pub mod filter;
mod history;
mod lane_thread;
pub mod lanes;
mod lease;
mod lookups;
mod measure;
mod notifier;
mod order;
mod outage;
mod pace;
pub mod page;
mod partitions;
mod pending;
mod plans;
mod queue;
pub mod record;
mod reports;
mod retention;
mod retry;
mod rows;
mod servers;
mod slow_queries;
mod standby;
mod state;
mod statistics;
mod storage;
mod tasks;
mod turn;
mod upkeep;
mod users;
mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::DatabaseConnection;

pub use crate::db::Hosts;
pub use audience::Audience;
pub use cancel::{AcknowledgeOutcome, CancelOutcome, CancelTerms, Cancelled, NewAcknowledgement, NewCancellation};
pub use control::Disconnections;
pub use erase::ErasedStep;
pub use error::StoreError;
pub use facets::{FACETED, FacetValue, TaskFacets};
pub use feed::{ChangedHeads, FeedPage, Head};
pub use feed_tasks::{CancellationMark, ChangedUsers, TasksPage};
pub use filter::TaskFilter;
pub use history::{HistoryQuery, StepSummary};
pub use lanes::{LaneSettings, Lanes};
pub use lease::{Blocker, LEASE_TIME, Lease};

pub use page::{Keyset, PAGE_RESULT_BYTES, Rows};
pub use partitions::Width;
pub use plans::PlannedQuery;
pub use record::{Committed, Counted, NewRecord, Saved, TaskDetails};
pub use reports::{DUE_REPORTS, DueReport, Overdue, ReportClock};
pub use retention::{Countable, RecordPlace, Removed, TaskPlace, Upkeep};
pub use servers::{HealthState, SLOW_ANSWER, Server, ServerStatus};
pub use slow_queries::{SLOW_QUERY_CHARACTERS, SlowQuery};
pub use statistics::{Durations, TaskCounts, Window};
pub use storage::{GROWTH_DAYS, Partition, Storage};
pub use tasks::{LOOKED_AT, Scope, TaskKey, TaskOrder, TaskRows, UNFINISHED};
pub use upkeep::Relation;
pub use users::UserHead;

use self::history::{History, HistoryPart};
use self::lookups::Lookups;
use crate::db::Primary;
use crate::telemetry::Telemetry;

/// Told of everything that this server has just committed, before the callers are.
pub type OnCommit = Arc<dyn Fn(Vec<Committed>) + Send + Sync>;

/// The database as Taskwire uses it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: DatabaseConnection,
    on_commit: OnCommit,
    audience: Option<Audience>,
    settings: StoreSettings,
    outage: Arc<outage::Outage>,
    seats: Arc<tokio::sync::Semaphore>,
    batches: batch::Batches,
    telemetry: Telemetry,
    primary: Primary,
    direct: Option<Hosts>,
    standbys: Option<Arc<standby::Standbys>>,
    lookups: SharedLookups,
}

/// What is looked up together.
#[derive(Clone)]
struct SharedLookups {
    tasks: Lookups<(String, String), Option<entity::task::Model>>,
    /// Forward and backward.
    histories: [Lookups<HistoryPart, History>; 2],
}

/// Times that the store keeps.
#[derive(Clone, Copy, Debug)]
pub struct StoreSettings {
    /// Of any one call to the database.
    pub command_timeout: Duration,
    /// How long a write waits for a user who is held by somebody's open transaction.
    pub hold_timeout: Duration,
}

/// Takes a call off the count when it is over. One that was given up before that has failed.
pub(crate) struct Calling {
    telemetry: Telemetry,
    since: Instant,
    is_answered: bool,
}

impl Calling {
    /// It was not given up; what it came to is counted where it was asked.
    pub(crate) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.telemetry.database_calls.dec();
        if !self.is_answered {
            self.telemetry.queried(self.since.elapsed(), true);
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { command_timeout: Duration::from_mins(1), hold_timeout: Duration::from_secs(5) }
    }
}

impl Store {
    /// A store over a migrated database; `on_commit` gets each committed record with its task (but see `watched_by`).
    #[must_use]
    pub fn new(db: DatabaseConnection, settings: StoreSettings, on_commit: OnCommit) -> Self {
        Self {
            db,
            on_commit,
            audience: None,
            settings,
            outage: Arc::default(),
            seats: turn::seats(),
            batches: batch::Batches::default(),
            telemetry: Telemetry::new(),
            primary: Primary::default(),
            direct: None,
            standbys: None,
            lookups: SharedLookups {
                tasks: Lookups::of(200),
                // The first 50 records of each page at most: 816 together, where a large page has 500.
                histories: [Lookups::of(16), Lookups::of(16)],
            },
        }
    }

    /// The same, which asks before it writes whether anybody watches; without, it gives everything to `on_commit`.
    #[must_use]
    pub fn watched_by(self, audience: Audience) -> Self {
        Self { audience: Some(audience), ..self }
    }

    /// The same, which knows where its pool leads, and whom it meets there.
    #[must_use]
    pub fn following(self, primary: &Primary) -> Self {
        Self { primary: primary.clone(), ..self }
    }

    /// The same, with a way to the database past any pooler, for sessions of their own.
    #[must_use]
    pub fn directly_at(self, direct: Option<&Hosts>) -> Self {
        Self { direct: direct.cloned(), ..self }
    }

    /// Which run of `PostgreSQL` the pool leads to; another one may have come up without the last of what was committed.
    #[must_use]
    pub fn tenure(&self) -> u64 {
        self.primary.tenure()
    }

    /// The primary may not be where it was.
    pub fn doubt(&self) {
        self.primary.doubt();
    }

    /// Changes whenever the pool is pointed at another host.
    #[must_use]
    pub fn moves(&self) -> tokio::sync::watch::Receiver<u64> {
        self.primary.moves()
    }

    /// The same, which counts there what it asks the database.
    #[must_use]
    pub fn counting(mut self, telemetry: &Telemetry) -> Self {
        let counted = telemetry.clone();
        self.db.set_metric_callback(move |statement| counted.queried(statement.elapsed, statement.failed));
        Self { telemetry: telemetry.clone(), ..self }
    }

    /// A call to the database is under way for as long as what this gives lives.
    pub(crate) fn calling(&self) -> Calling {
        self.telemetry.database_calls.inc();
        Calling { telemetry: self.telemetry.clone(), since: Instant::now(), is_answered: false }
    }

    /// The pool.
    #[must_use]
    pub fn connection(&self) -> &DatabaseConnection {
        &self.db
    }

    /// The database was away: rids the pool and the lanes of connections that did not outlive it.
    pub fn weed(&self) {
        outage::weed(self.db.get_postgres_connection_pool());
        self.primary.followers().iter().for_each(outage::weed);
    }

    /// How many connections beside the pool are in use: those of the lanes.
    #[must_use]
    pub fn busy_beside_the_pool(&self) -> u32 {
        let busy = |pool: &sqlx::PgPool| pool.size().saturating_sub(u32::try_from(pool.num_idle()).unwrap_or(u32::MAX));
        self.primary.followers().iter().map(busy).sum()
    }
}
