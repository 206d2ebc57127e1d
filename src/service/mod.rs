//! The verbs, and the only place that decides who may. Every verb takes the viewer first.
//!
//! - `tasks`, `history`, `feed`, `users`, `facets`, `statistics`: reads (`recent`: shared answers)
//! - `system`, `health`, `metrics`: for operators · `maintenance`: cleaning up, optimising · `save`, `alive`, `cancel`, `erase`: writes
//! - [`watch`]: streams · `control`: closing a user's sockets
//! - [`rate`]: how often a viewer may ask · [`limits`]: every limit, in one table · `input`: checks of what came in
//! - [`room`]: bytes that many share · [`error`]: what a caller is told
//!
//! To add a verb: a method in its room, the viewer's right first (`scope`), then the input's limits, then the store.

mod alive;
mod cancel;
mod control;
mod erase;
pub mod error;
mod facets;
mod feed;
mod health;
mod history;
mod input;
pub mod limits;
mod maintenance;
mod metrics;
pub mod page;
pub mod rate;
mod recent;
pub mod room;
mod save;
mod scope;
mod statistics;
mod step_result;
mod system;
mod tasks;
mod users;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

pub use cancel::{AcknowledgeOutcome, CancelManyInput, CancelledMany};
pub use erase::Erased;
pub use error::ServiceError;
pub use feed::{FeedPosition, feed_cursor_of};
pub use health::{Health, NotReady};
pub use history::{RecordKey, TaskStep};
pub use limits::Limits;
pub use maintenance::{CleanedUp, RetentionStatus};
pub use page::{BoundedCount, CursorOf, Edge, Page, PageArgs};
pub use save::{SaveInput, SavedBatch, StepResult};
pub use statistics::{StatisticsBucket, StatisticsPoint, StatisticsQuery, TaskStatistics};
pub use step_result::{StoredStepResult, Unreadable};
pub use system::{DatabaseStatus, FeedStatus, NamedQuery, PoolStatus, System, this_server};
pub use tasks::TaskQuery;

pub use crate::feed::recorded_at;
pub use crate::maintenance::optimize::Optimized;
pub use crate::store::{
    CancelOutcome, Durations, FacetValue, HealthState, Partition, Saved, Server, ServerStatus, SlowQuery, Storage,
    TaskDetails, TaskFacets, TaskFilter, TaskOrder, UserHead,
};
pub use crate::telemetry::LatencySummary;

use recent::Recent;
use room::Room;

use crate::config::RetentionConfig;
use crate::feed::Hub;
use crate::store::{LaneSettings, Lanes, Store};
use crate::telemetry::Telemetry;

/// Everything a caller can do. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub(crate) store: Store,
    pub(crate) lanes: Lanes,
    pub(crate) hub: Hub,
    limits: Arc<Limits>,
    /// How long a COMPLETED task whose `totalSteps` is not known may still be between two steps.
    settle: Duration,
    /// In seconds, how long after each report the next one is due where no worker has said anything of it.
    report_within: Option<i32>,
    /// Whether users save reports of their own tasks.
    users_may_save: bool,
    /// What batches may hold together, beside the lanes.
    batches: Room,
    /// Statistics that were asked for of late.
    statistics: Recent<statistics::Question, Arc<TaskStatistics>>,
    /// This server.
    server: Arc<Server>,
    /// What is removed by its age.
    retention: Arc<RetentionConfig>,
}

impl Service {
    /// What is counted.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        self.hub.telemetry()
    }

    /// The service of this server over a store, its lanes for single saves, and the feed's hub.
    #[must_use]
    pub fn new(server: Arc<Server>, store: Store, lanes: Lanes, hub: Hub, settle: Duration) -> Self {
        Self {
            store,
            lanes,
            hub,
            limits: Arc::new(Limits::default()),
            settle,
            report_within: None,
            users_may_save: false,
            batches: Room::new(LaneSettings::default().queue_bytes),
            statistics: Recent::new(statistics::KEPT_FOR),
            server,
            retention: Arc::default(),
        }
    }

    /// The same, where this is removed by its age.
    #[must_use]
    pub fn with_retention(self, retention: &RetentionConfig) -> Self {
        Self { retention: Arc::new(retention.clone()), ..self }
    }

    /// The same, where users save reports of their own tasks, or do not.
    #[must_use]
    pub fn users_may_save(self, users_may_save: bool) -> Self {
        Self { users_may_save, ..self }
    }

    /// The same, where a task's next report is due so many seconds after each unless its worker says otherwise.
    #[must_use]
    pub fn with_report_within(self, report_within: Option<i32>) -> Self {
        Self { report_within, ..self }
    }

    /// The same, where the batches that are being saved hold so many bytes together at the most.
    #[must_use]
    pub fn with_batch_bytes(self, bytes: usize) -> Self {
        Self { batches: Room::new(bytes), ..self }
    }

    /// The same, with these limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits: Arc::new(limits), ..self }
    }

    /// What a client may ask for at once.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}
