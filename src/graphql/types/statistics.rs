//! `TaskStatistics`: what tasks are now, and what finished within a window.

use std::sync::Arc;

use async_graphql::{Enum, Object, SimpleObject};

use super::TaskStatus;
use crate::graphql::scalars::{DateTime, SafeInt};
use crate::service;

/// Into what the window of statistics is cut, in UTC. New values may come.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "service::StatisticsBucket")]
pub(crate) enum StatisticsBucket {
    /// By whole minutes.
    Minute,
    /// By whole hours.
    Hour,
    /// From midnight to midnight.
    Day,
}

/// Statistics as the service has them, for all who ask the same.
pub(crate) struct TaskStatistics(Arc<service::TaskStatistics>);

impl From<Arc<service::TaskStatistics>> for TaskStatistics {
    fn from(statistics: Arc<service::TaskStatistics>) -> Self {
        Self(statistics)
    }
}

/// What tasks are now, and what finished within a window. Up to five seconds old.
#[Object]
impl TaskStatistics {
    /// Where the window begins that was used.
    async fn since(&self) -> DateTime {
        DateTime(self.0.since)
    }

    /// Where it ends: what finished at that very moment is not in it.
    async fn until(&self) -> DateTime {
        DateTime(self.0.until)
    }

    /// How many tasks are kept, whatever the window.
    async fn total(&self) -> SafeInt {
        self.0.total().into()
    }

    /// The same by what they are now: one entry a status, zeros too.
    async fn by_status(&self) -> Vec<TaskStatusCount> {
        let count =
            |(status, count): (entity::TaskStatus, i64)| TaskStatusCount { status: status.into(), count: count.into() };
        self.0.by_status.map(count).into()
    }

    /// How many tasks finished in each bucket of the window, oldest first, empty buckets too; at most 1,500.
    async fn series(&self) -> Vec<TaskStatisticsPoint> {
        self.0.series.iter().map(TaskStatisticsPoint::from).collect()
    }

    /// How long those took, from start to finish, that finished in the window and had started;
    /// null where none had.
    async fn duration_seconds(&self) -> Option<DurationSummary> {
        self.0.durations.map(DurationSummary::from)
    }
}

/// How many tasks have one status.
#[derive(SimpleObject)]
pub(crate) struct TaskStatusCount {
    /// What they are now.
    status: TaskStatus,
    /// How many are that.
    count: SafeInt,
}

/// What finished within one bucket, by what it finished as and still is.
#[derive(SimpleObject)]
pub(crate) struct TaskStatisticsPoint {
    /// When the bucket begins: a whole minute, hour or day. The window may begin, or end, within a bucket.
    start: DateTime,
    /// Tasks that finished as COMPLETED.
    completed: SafeInt,
    /// Tasks that finished as FAILED.
    failed: SafeInt,
    /// Tasks that finished as CANCELLED.
    cancelled: SafeInt,
    /// Tasks that finished as `TIMED_OUT`.
    timed_out: SafeInt,
}

impl From<&service::StatisticsPoint> for TaskStatisticsPoint {
    fn from(point: &service::StatisticsPoint) -> Self {
        Self {
            start: DateTime(point.start),
            completed: point.completed.into(),
            failed: point.failed.into(),
            cancelled: point.cancelled.into(),
            timed_out: point.timed_out.into(),
        }
    }
}

/// How long tasks took, in seconds. The shares are right to a hundredth of themselves.
#[derive(SimpleObject)]
pub(crate) struct DurationSummary {
    /// Half of the tasks took no longer.
    p50: f64,
    /// Nine of ten took no longer.
    p90: f64,
    /// 99 of a hundred took no longer.
    p99: f64,
    /// What the longest took.
    max: f64,
}

impl From<service::Durations> for DurationSummary {
    fn from(durations: service::Durations) -> Self {
        let service::Durations { p50, p90, p99, max } = durations;
        Self { p50, p90, p99, max }
    }
}
