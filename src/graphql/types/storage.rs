//! What the tables take and how they grow, and what is removed by its age.

use async_graphql::{Context, SimpleObject};
use chrono::{DateTime as Moment, NaiveDate, Utc};

use crate::graphql::errors::ApiError;
use crate::graphql::scalars::{DateTime, SafeInt};
use crate::graphql::session::Session;
use crate::service;

/// What the tables take, and how they grow. Sizes are exact. Counts are what PostgreSQL's statistics say, which are renewed
/// a moment after a change and estimated anew after a crash.
#[derive(SimpleObject)]
pub(crate) struct StorageStatus {
    /// Bytes of all records, with their indexes.
    history_bytes: SafeInt,
    /// Bytes of all tasks' current states and of their lists, with their indexes.
    task_bytes: SafeInt,
    /// How many records are kept, as estimated.
    records: SafeInt,
    /// How many tasks are kept, as estimated.
    tasks: SafeInt,
    /// How many records came on each of the last 30 days in UTC, oldest first, today last; those that are kept. Of a partition
    /// over 8 MB it is estimated by a sample.
    records_per_day: Vec<DailyRecords>,
    /// The partitions of the history, by their time.
    partitions: Vec<Partition>,
}

impl StorageStatus {
    /// Asks the database.
    pub(crate) async fn of(context: &Context<'_>) -> Result<Self, ApiError> {
        let session = Session::of(context)?;
        Ok(session.service.storage(&session.viewer).await?.into())
    }
}

impl From<service::Storage> for StorageStatus {
    fn from(storage: service::Storage) -> Self {
        let day = |(day, records): (Moment<Utc>, i64)| DailyRecords { day: DateTime(day), records: records.into() };
        Self {
            history_bytes: storage.history_bytes.into(),
            task_bytes: storage.task_bytes.into(),
            records: storage.records.into(),
            tasks: storage.tasks.into(),
            records_per_day: storage.records_per_day.into_iter().map(day).collect(),
            partitions: storage.partitions.into_iter().map(Partition::from).collect(),
        }
    }
}

/// How many records came on one day.
#[derive(SimpleObject)]
pub(crate) struct DailyRecords {
    /// Its midnight in UTC.
    day: DateTime,
    /// How many of its records are kept.
    records: SafeInt,
}

/// A part of the history, by the time of its records.
#[derive(SimpleObject)]
pub(crate) struct Partition {
    /// The table in PostgreSQL.
    name: String,
    /// Records from then on; 0001-01-01 for the one that is open below.
    start: DateTime,
    /// Records until before then; the end of 9999 for the one that is open above.
    end: DateTime,
    /// What it takes, with its indexes.
    bytes: SafeInt,
    /// How many records it has, as PostgreSQL's statistics say.
    estimated_records: SafeInt,
}

impl From<service::Partition> for Partition {
    fn from(partition: service::Partition) -> Self {
        Self {
            name: partition.name,
            start: DateTime(partition.start.unwrap_or_else(beginning)),
            end: DateTime(partition.end.unwrap_or_else(end)),
            bytes: partition.bytes.into(),
            estimated_records: partition.estimated_records.into(),
        }
    }
}

/// The first moment that the API can tell.
fn beginning() -> Moment<Utc> {
    midnight(1, 1, 1)
}

/// The last one.
fn end() -> Moment<Utc> {
    midnight(9999, 12, 31) + chrono::TimeDelta::days(1) - chrono::TimeDelta::microseconds(1)
}

fn midnight(year: i32, month: u32, day: u32) -> Moment<Utc> {
    let date = NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default();
    date.and_time(chrono::NaiveTime::MIN).and_utc()
}

/// What is removed by its age, and when.
#[derive(SimpleObject)]
pub(crate) struct RetentionStatus {
    /// For so many days a record is kept at least (`--keep-days`); 0: for ever.
    keep_days: i32,
    /// When older ones are removed, as a cron expression in UTC (`--retention-schedule`); empty where nothing is removed.
    schedule: String,
    /// When a removal last came to its end, by the schedule or by `cleanupOldTasks`; null before the first time.
    last_run_at: Option<DateTime>,
    /// How many records were removed then; those of whole partitions as estimated.
    last_deleted_records: Option<SafeInt>,
    /// When the schedule comes next, or a failed run is tried again; null where nothing is removed.
    next_run_at: Option<DateTime>,
    /// Why the last run by the schedule did not come to its end, for people; null where it did.
    failure: Option<String>,
}

impl RetentionStatus {
    /// Asks the database.
    pub(crate) async fn of(context: &Context<'_>) -> Result<Self, ApiError> {
        let session = Session::of(context)?;
        Ok(session.service.retention(&session.viewer).await?.into())
    }
}

impl From<service::RetentionStatus> for RetentionStatus {
    fn from(status: service::RetentionStatus) -> Self {
        Self {
            keep_days: super::int(status.keep_days.into()),
            schedule: status.schedule,
            last_run_at: status.last_run_at.map(DateTime),
            last_deleted_records: status.last_deleted_records.map(SafeInt::from),
            next_run_at: status.next_run_at.map(DateTime),
            failure: status.failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{ScalarType as _, Value};

    use super::*;

    #[test]
    fn the_open_ends_are_moments_that_the_api_can_tell() {
        assert_eq!(DateTime(beginning()).to_value(), Value::from("0001-01-01T00:00:00.000000Z"));
        assert_eq!(DateTime(end()).to_value(), Value::from("9999-12-31T23:59:59.999999Z"));
    }
}
