//! The steps of retention, each small: a partition taken off and dropped, some records of the partition that the cut-off
//! divides, some tasks whose last record has gone. And what is known of the last run.
//!
//! `maintenance::cleanup` puts the steps into an order in which what is kept of a user is always the positions from some
//! number up to the head.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::prelude::DateTimeUtc;
use sqlx::{AssertSqlSafe, Row as _};
use tokio::time::Instant;

use super::feed::no_row;
use super::lease::{Blocker, Lease, Waited};
use super::{Partition, Store, StoreError};

/// What an exclusive lock on the history may be waited for: writers wait behind it.
const INSTANT: Duration = Duration::from_millis(50);
/// What a lock may be waited for that no writer feels. Autovacuum gives way after a second (`deadlock_timeout`).
const SHORT: Duration = Duration::from_secs(3);
/// Stands on a partition as its comment from before it is taken off until it is dropped.
const LEAVING: &str = "taskwire: removed by retention";

/// Where a walk over records by user and position stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordPlace {
    user: String,
    position: i64,
}

/// Where a walk over tasks by their last update stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPlace {
    at: DateTimeUtc,
    user: String,
    task: String,
}

impl Default for TaskPlace {
    fn default() -> Self {
        Self { at: DateTime::UNIX_EPOCH, user: String::new(), task: String::new() }
    }
}

/// What a step of a walk came to.
#[derive(Debug)]
pub struct Removed<P> {
    /// How many have gone.
    pub count: i64,
    /// How many stay because somebody holds them, for now.
    pub held: i64,
    /// Where to go on; none at the end.
    pub next: Option<P>,
}

/// What a cleanup would remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Countable {
    /// Records of the partition that the cut-off divides.
    pub records: i64,
    /// Tasks.
    pub tasks: i64,
}

/// What is known of the scheduled removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// The last time of the schedule that was seen to.
    pub scheduled_for: DateTimeUtc,
    /// When something was last removed, or would have been had it been old enough.
    pub last_run_at: Option<DateTimeUtc>,
    /// How many records that were.
    pub last_deleted_records: Option<i64>,
    /// Why the last try came to nothing.
    pub failure: Option<String>,
    /// When the next one comes, after a failure.
    pub retry_at: Option<DateTimeUtc>,
}

const UPKEEP: &str = "SELECT scheduled_for, last_run_at, last_deleted_records, failure, retry_at FROM storage_upkeep";
const RAN: &str = "UPDATE storage_upkeep SET last_run_at = now(), last_deleted_records = $1, failure = NULL, failures = 0, \
    retry_at = NULL, scheduled_for = coalesce($2, scheduled_for)";
/// 5 s, 10 s, 20 s … an hour.
const FAILED: &str = "UPDATE storage_upkeep SET failure = $1, failures = failures + 1, \
    retry_at = now() + least(interval '5 seconds' * 2 ^ least(failures, 20), interval '1 hour')";
const LEFT_BEHIND: &str = "SELECT c.relname::text AS name, c.oid::regclass::text AS quoted FROM pg_class c \
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND obj_description(c.oid, 'pg_class') = $1 \
      AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)";
const STILL_ATTACHED: &str = "SELECT c.oid::regclass::text AS quoted FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
    WHERE i.inhparent = 'task_record'::regclass AND NOT i.inhdetachpending AND obj_description(c.oid, 'pg_class') = $1";
const RECORDS: &str =
    "SELECT removed, last_user, last_position, held_users FROM taskwire_remove_records($1, $2, $3, $4, $5)";
const TASKS: &str =
    "SELECT removed, seen, held, last_at, last_user, last_task FROM taskwire_remove_tasks($1, $2, $3, $4, $5, $6)";
/// Those whose last record has gone by then, kept ones left out.
const COUNT_TASKS: &str =
    "SELECT count(*) AS found FROM task_order WHERE updated_at < $1 AND (finished_at IS NOT NULL OR NOT $2)";

impl Lease {
    /// Takes a partition off and drops it; or tells for whom it waited longer than `patience`. Then no statement sees it any
    /// more, and the next time ends it.
    pub async fn remove_partition(
        &mut self,
        partition: &Partition,
        patience: Duration,
        end: Instant,
    ) -> Result<Result<(), Vec<Blocker>>, StoreError> {
        let quoted = &partition.quoted;
        // Before it is taken off: after a fall in between, it must be told from what somebody keeps aside.
        let mark = format!("COMMENT ON TABLE {quoted} IS '{LEAVING}'");
        self.step(SHORT, Some(mark), sqlx::query("SELECT")).await?;
        let how = if partition.is_leaving { "FINALIZE" } else { "CONCURRENTLY" };
        let detach = format!("ALTER TABLE task_record DETACH PARTITION {quoted} {how}");
        if let Waited::Held(blockers) = self.run_patiently(detach, patience, end).await? {
            return Ok(Err(blockers));
        }
        self.drop_partition(quoted).await?;
        self.store.telemetry.retention.dropped_partitions.inc();
        self.store.telemetry.retention.records.inc_by(u64::try_from(partition.estimated_records).unwrap_or(0));
        Ok(Ok(()))
    }

    /// Takes the mark from what a try left marked and still attached: whoever takes that off by hand means to keep it.
    pub async fn unmark(&mut self) -> Result<(), StoreError> {
        for row in self.store.query_all(STILL_ATTACHED, vec![LEAVING.into()]).await? {
            let unmark = format!("COMMENT ON TABLE {} IS NULL", row.try_get::<String>("", "quoted")?);
            self.step(SHORT, Some(unmark), sqlx::query("SELECT")).await?;
        }
        Ok(())
    }

    /// Drops what was taken off by somebody who then fell.
    pub async fn drop_left_behind(&mut self) -> Result<(), StoreError> {
        for row in self.store.query_all(LEFT_BEHIND, vec![LEAVING.into()]).await? {
            tracing::info!(partition = row.try_get::<String>("", "name")?, "dropping what was left behind");
            self.drop_partition(&row.try_get::<String>("", "quoted")?).await?;
        }
        Ok(())
    }

    async fn drop_partition(&mut self, quoted: &str) -> Result<(), StoreError> {
        self.step(SHORT, Some(format!("DROP TABLE {quoted}")), sqlx::query("SELECT")).await.map(drop)
    }

    /// Lets the partition that is open below reach up to the oldest one again. [`StoreError::Timeout`]: somebody holds the
    /// history; try again.
    pub async fn close_below(&mut self) -> Result<(), StoreError> {
        self.step(INSTANT, None, sqlx::query("SELECT taskwire_close_below()")).await.map(drop)
    }

    /// Removes some records of a partition from before the cut-off, and none that somebody has locked.
    pub async fn remove_records(
        &mut self,
        partition: &str,
        cutoff: DateTimeUtc,
        place: &RecordPlace,
        limit: i32,
    ) -> Result<Removed<RecordPlace>, StoreError> {
        let query =
            sqlx::query(RECORDS).bind(partition).bind(cutoff).bind(&place.user).bind(place.position).bind(limit);
        let rows = self.step(INSTANT, None, query).await?;
        let row = rows.first().ok_or_else(no_row)?;
        let next = row.try_get::<Option<String>, _>(1)?.map(|user| Ok::<_, StoreError>((user, row.try_get(2)?)));
        let count = row.try_get(0)?;
        self.store.telemetry.retention.records.inc_by(u64::try_from(count).unwrap_or(0));
        let next = next.transpose()?.map(|(user, position)| RecordPlace { user, position });
        Ok(Removed { count, held: row.try_get(3)?, next })
    }

    /// Removes some tasks that were last heard of before then and whose last record has gone, and none whose user is being
    /// written.
    pub async fn remove_tasks(
        &mut self,
        before: DateTimeUtc,
        keep_unfinished: bool,
        place: &TaskPlace,
        limit: i32,
    ) -> Result<Removed<TaskPlace>, StoreError> {
        let query = sqlx::query(TASKS).bind(before).bind(keep_unfinished);
        let query = query.bind(place.at).bind(&place.user).bind(&place.task).bind(limit);
        let rows = self.step(INSTANT, None, query).await?;
        let row = rows.first().ok_or_else(no_row)?;
        let next = if row.try_get::<i64, _>(1)? < i64::from(limit) {
            None
        } else {
            Some(TaskPlace { at: row.try_get(3)?, user: row.try_get(4)?, task: row.try_get(5)? })
        };
        let count = row.try_get(0)?;
        self.store.telemetry.retention.tasks.inc_by(u64::try_from(count).unwrap_or(0));
        Ok(Removed { count, held: row.try_get(2)?, next })
    }

    /// Writes down that a run has come to its end. `scheduled_for`: the time of the schedule that it was for.
    pub async fn ran(&mut self, deleted: i64, scheduled_for: Option<DateTimeUtc>) -> Result<(), StoreError> {
        self.step(SHORT, None, sqlx::query(RAN).bind(deleted).bind(scheduled_for)).await.map(drop)
    }
}

impl Store {
    /// The moment so many days ago. By the database's clock or ours, whichever is behind: one that jumps ahead must not
    /// remove what was saved yesterday.
    pub async fn cutoff(&self, days: u32) -> Result<DateTimeUtc, StoreError> {
        let rows = self.query_all("SELECT now() AS now", Vec::new()).await?;
        let theirs: DateTimeUtc = rows.first().ok_or_else(no_row)?.try_get("", "now")?;
        let now = theirs.min(Utc::now());
        Ok(now.checked_sub_signed(TimeDelta::days(days.into())).unwrap_or(DateTime::UNIX_EPOCH))
    }

    /// What is known of the scheduled removal.
    pub async fn upkeep(&self) -> Result<Upkeep, StoreError> {
        let rows = self.query_all(UPKEEP, Vec::new()).await?;
        let row = rows.first().ok_or_else(no_row)?;
        Ok(Upkeep {
            scheduled_for: row.try_get("", "scheduled_for")?,
            last_run_at: row.try_get("", "last_run_at")?,
            last_deleted_records: row.try_get("", "last_deleted_records")?,
            failure: row.try_get("", "failure")?,
            retry_at: row.try_get("", "retry_at")?,
        })
    }

    /// Writes down why a try came to nothing; the next one comes after a growing pause.
    pub async fn retention_failed(&self, failure: &str) -> Result<(), StoreError> {
        self.query_all(FAILED, vec![failure.into()]).await.map(drop)
    }

    /// Whether a partition has a record.
    pub async fn has_records(&self, partition: &Partition) -> Result<bool, StoreError> {
        let sql = format!("SELECT EXISTS (SELECT FROM ONLY {}) AS has_some", partition.quoted);
        let rows = self.query_all(&sql, Vec::new()).await?;
        Ok(rows.first().ok_or_else(no_row)?.try_get("", "has_some")?)
    }

    /// Counts what would go, in a session that cannot write and gives up after `patience`.
    pub async fn countable(
        &self,
        inside: Option<&Partition>,
        cutoff: DateTimeUtc,
        keep_unfinished: bool,
        patience: Duration,
    ) -> Result<Countable, StoreError> {
        let mut session = self.session().await?;
        let mut read = sqlx::Connection::begin_with(&mut session, "BEGIN READ ONLY").await?;
        let guard = format!("SET LOCAL statement_timeout = {}", patience.as_millis().max(1));
        sqlx::raw_sql(AssertSqlSafe(guard)).execute(&mut *read).await?;
        let mut counted = Countable::default();
        if let Some(partition) = inside {
            let sql = format!("SELECT count(*) FROM ONLY {} WHERE recorded_at < $1", partition.quoted);
            let row = sqlx::query(AssertSqlSafe(sql)).bind(cutoff).fetch_one(&mut *read).await?;
            counted.records = row.try_get(0)?;
        }
        let row = sqlx::query(COUNT_TASKS).bind(cutoff).bind(keep_unfinished).fetch_one(&mut *read).await?;
        counted.tasks = row.try_get(0)?;
        read.rollback().await?;
        let _ = sqlx::Connection::close(session).await;
        Ok(counted)
    }
}
