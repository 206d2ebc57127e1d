//! Statistics of tasks: what they are now, and what finished within a window.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use entity::TaskStatus;

use super::scope::readable_scope;
use super::{Service, ServiceError, input, limits};
use crate::auth::Viewer;
use crate::store::{Durations, Scope, Store, TaskCounts, Window};

/// How old an answer may be that somebody else has asked for.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(limits::STATISTICS_KEPT_SECONDS);
/// The window where none is named.
const DAY: TimeDelta = TimeDelta::days(1);

/// How long a part of a series is. All begin at whole ones in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StatisticsBucket {
    /// 60 s.
    Minute,
    /// 60 minutes.
    #[default]
    Hour,
    /// 24 hours.
    Day,
}

impl StatisticsBucket {
    fn seconds(self) -> u32 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}

/// What statistics are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StatisticsQuery {
    /// Whose; left out: all that the viewer may see.
    pub user_id: Option<String>,
    /// Only tasks with this name.
    pub name: Option<String>,
    /// From then on; left out: from 24 hours before `until`.
    pub since: Option<DateTime<Utc>>,
    /// Until before then; left out: now.
    pub until: Option<DateTime<Utc>>,
    /// Into what the window is cut.
    pub bucket: StatisticsBucket,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskStatistics {
    /// The window that was used.
    pub since: DateTime<Utc>,
    /// Its end, which is not in it.
    pub until: DateTime<Utc>,
    /// How many tasks have which status now, whatever the window.
    pub by_status: [(TaskStatus, i64); 6],
    /// Oldest first, without a gap.
    pub series: Vec<StatisticsPoint>,
    /// How long those took that finished in the window.
    pub durations: Option<Durations>,
}

/// How many tasks finished within one bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatisticsPoint {
    /// When the bucket begins. The window may begin, and end, within one.
    pub start: DateTime<Utc>,
    /// As COMPLETED.
    pub completed: i64,
    /// As FAILED.
    pub failed: i64,
    /// As CANCELLED.
    pub cancelled: i64,
    /// As `TIMED_OUT`.
    pub timed_out: i64,
}

/// A question that is the same for all who may ask it.
pub(super) type Question = (Scope, StatisticsQuery);

impl Service {
    /// Counts the tasks that the viewer may see; of those that are not the viewer's to see there are none. Who asks the same
    /// within five seconds gets the same answer.
    pub async fn task_statistics(
        &self,
        viewer: &Viewer,
        query: StatisticsQuery,
    ) -> Result<Arc<TaskStatistics>, ServiceError> {
        let scope = readable_scope(viewer, query.user_id.clone())?;
        let name = query.name.clone().filter(|name| !name.is_empty());
        if let Some(name) = &name {
            input::characters("name", name, limits::NAME_CHARACTERS)?;
        }
        let Some(scope) = scope else {
            return Ok(Arc::new(TaskStatistics::of(&window(&query, Utc::now())?, &TaskCounts::default())));
        };
        // What can be refused by itself is refused before it waits for anybody.
        if let Some(until) = query.until {
            window(&query, until)?;
        }
        let find_out = async || {
            let now = if let Some(until) = query.until { until } else { self.store.now().await? };
            let window = window(&query, now)?;
            let (of, name, within) = (&scope, name.as_deref(), &window);
            let read = |store: Store| async move { store.count_by_status(of, name, within).await };
            let counts = self.store.near(scope.user_id(), read, |_| true).await?;
            Ok(Arc::new(TaskStatistics::of(&window, &counts)))
        };
        let is_long = scope == Scope::Everyone;
        self.statistics.answer((scope.clone(), query.clone()), is_long, find_out).await
    }
}

/// The window that is meant, within its limits.
fn window(query: &StatisticsQuery, now: DateTime<Utc>) -> Result<Window, ServiceError> {
    let until = query.until.unwrap_or(now);
    let since = query.since.unwrap_or(until - DAY);
    if since.year() < 1 {
        let field = if query.since.is_some() { "since" } else { "until" };
        return Err(ServiceError::bad_input(field, "The window must begin in the year 1 or later."));
    }
    if since >= until {
        let message = "since must be before until, which is now if left out.";
        return Err(ServiceError::bad_input("since", message));
    }
    let window = Window { since, until, bucket_seconds: query.bucket.seconds() };
    let (count, most) = (buckets(&window), limits::STATISTICS_POINTS);
    if count > most {
        let message =
            format!("The window has {count} buckets, at most {most} are told. Take larger ones, or a shorter window.");
        return Err(ServiceError::beyond_limit("bucket", message, most, count));
    }
    Ok(window)
}

/// The number of the bucket that this moment falls into.
fn bucket_of(window: &Window, at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(window.bucket_seconds.into())
}

fn buckets(window: &Window) -> i64 {
    let last = window.until - TimeDelta::microseconds(1);
    bucket_of(window, last) - bucket_of(window, window.since) + 1
}

impl TaskStatistics {
    fn of(window: &Window, counts: &TaskCounts) -> Self {
        let by_status = TaskStatus::ALL.map(|status| {
            let count = counts.by_status.iter().find(|(known, _)| *known == status).map_or(0, |(_, count)| *count);
            (status, count)
        });
        let mut series: HashMap<i64, StatisticsPoint> = HashMap::new();
        for (start, status, count) in &counts.finished {
            let point = series.entry(bucket_of(window, *start)).or_default();
            match status {
                TaskStatus::Completed => point.completed += count,
                TaskStatus::Failed => point.failed += count,
                TaskStatus::Cancelled => point.cancelled += count,
                TaskStatus::TimedOut => point.timed_out += count,
                // They have not finished.
                TaskStatus::Pending | TaskStatus::Running => {}
            }
        }
        let first = bucket_of(window, window.since);
        let series = (first..first + buckets(window)).map(|number| {
            let start = DateTime::from_timestamp(number * i64::from(window.bucket_seconds), 0).unwrap_or(window.since);
            StatisticsPoint { start, ..series.remove(&number).unwrap_or_default() }
        });
        let series = series.collect();
        Self { since: window.since, until: window.until, by_status, series, durations: counts.durations }
    }

    /// How many tasks there are.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.by_status.iter().map(|(_, count)| count).sum()
    }
}
