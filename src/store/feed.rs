//! What the feed reads of records: heads, and the records after a position.
//!
//! Every read of records carries a bound on `recorded_at`, and no window of it spans more than three weekly partitions:
//! whoever reads further goes from window to window. `feed_tasks` has the reads of tasks.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use chrono::TimeDelta;
use entity::{feed_head, task_record};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, EntityTrait, QueryFilter, QueryResult, Statement, Value};
use uuid::Uuid;

use super::columns::{HEAD_COLUMNS, RECORD_COLUMNS, TASK_COLUMNS};
use super::record::Committed;
use super::rows::Columns;
use super::{Store, StoreError};

/// How long a window of `recorded_at` is: two weeks touch three weekly partitions at the most.
const WINDOW: TimeDelta = TimeDelta::days(14);

/// Where a window begins small, it is four times as long each time.
const FIRST_WINDOW: TimeDelta = TimeDelta::minutes(15);

/// What the results of a page may take as they are stored, compressed: a bound on memory, roughly.
const PAGE_BYTES: u32 = 1 << 20;

/// Where a user's feed stands: the user's last record, or nothing yet (position 0, the epoch, the nil UUID).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Of the last record; 0 before the first.
    pub position: i64,
    /// When it was appended.
    pub recorded_at: DateTimeUtc,
    /// Which record stands there.
    pub record_id: Uuid,
}

impl Head {
    /// Before the first record.
    pub const START: Self = Self { position: 0, recorded_at: DateTimeUtc::UNIX_EPOCH, record_id: Uuid::nil() };

    /// Where the feed stands just after this record.
    #[must_use]
    pub fn of(record: &task_record::Model) -> Self {
        Self { position: record.position, recorded_at: record.recorded_at, record_id: record.record_id }
    }

    /// From columns that begin with `h_`, which are null where the user has no row.
    pub(super) fn from_row(row: &QueryResult) -> Result<Self, DbErr> {
        let Some(position) = row.try_get::<Option<i64>>("h_", "position")? else {
            return Ok(Self::START);
        };
        Ok(Self {
            position,
            recorded_at: row.try_get("h_", "recorded_at")?,
            record_id: row.try_get("h_", "record_id")?,
        })
    }
}

/// Some records after a position, each with its task as it is now, and the head as it was in the same statement.
#[derive(Clone, Debug)]
pub struct FeedPage {
    /// In position order.
    pub entries: Vec<Committed>,
    /// The user's head when they were read.
    pub head: Head,
    /// There are more before that head.
    pub is_cut: bool,
}

/// Which heads moved, and what the next question has to begin with.
#[derive(Clone, Debug)]
pub struct ChangedHeads {
    /// The users whose head was written by a transaction that the last snapshot may not have shown, and those who have none.
    pub heads: Vec<(String, Head)>,
    /// The oldest transaction that was still running (`xid8` as text): what is asked for next time.
    pub xmin: String,
    /// No transaction was under way: whatever comes later writes WAL after this.
    pub is_quiet: bool,
}

/// Positions are dense: a page of so many records ends so many positions later. Without that bound a general plan, which
/// does not know how much one user may have, sorts all of the window.
static FEED_PAGE: LazyLock<String> = LazyLock::new(|| page_sql(" AND position <= $6"));
/// A task's positions are not dense: there the window begins small instead.
static TASK_PAGE: LazyLock<String> = LazyLock::new(|| page_sql(" AND task_id = $6"));

fn page_sql(more: &str) -> String {
    format!(
        "SELECT r.found, {HEAD_COLUMNS}, {records}, {tasks} \
         FROM (SELECT) one LEFT JOIN feed_head h ON h.user_id = $1 \
         LEFT JOIN ({page}) r ON true \
         LEFT JOIN task t ON t.user_id = $1 AND t.task_id = r.task_id \
         ORDER BY r.position",
        records = *RECORD_COLUMNS,
        tasks = *TASK_COLUMNS,
        page = light(&format!(
            "SELECT * FROM task_record WHERE user_id = $1 AND position > $2 \
             AND recorded_at >= $3 AND recorded_at < $4{more} ORDER BY position LIMIT $5"
        )),
    )
}

/// The first of these records, as many as weigh no more than [`PAGE_BYTES`] together, and one at least. `found` tells how
/// many there were.
fn light(records: &str) -> String {
    format!(
        "SELECT * FROM (SELECT w.*, count(*) OVER () AS found, \
             sum(pg_column_size(w.result)) OVER (ORDER BY w.position) - pg_column_size(w.result) AS before \
         FROM ({records}) w) w WHERE w.before < {PAGE_BYTES}"
    )
}

static NEW_RECORDS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT q.user_id AS reader, {HEAD_COLUMNS}, {records}, {tasks} \
         FROM unnest($1::text[], $2::bigint[], $3::timestamptz[]) AS q (user_id, position, recorded_at) \
         LEFT JOIN feed_head h ON h.user_id = q.user_id \
         LEFT JOIN LATERAL ({page}) r ON true \
         LEFT JOIN task t ON t.user_id = r.user_id AND t.task_id = r.task_id \
         ORDER BY q.user_id, r.position",
        records = *RECORD_COLUMNS,
        tasks = *TASK_COLUMNS,
        page = light(
            "SELECT * FROM task_record n WHERE n.user_id = q.user_id AND n.position > q.position \
             AND n.position <= q.position + $4 AND n.recorded_at >= greatest(q.recorded_at, h.recorded_at - interval '336 hours') \
             AND n.recorded_at <= h.recorded_at ORDER BY n.position LIMIT $4"
        ),
    )
});

/// The snapshot beside the heads: taken by the same statement, so nothing falls between them. The cast stands in a SELECT
/// of its own, or it would be done for every row.
const CHANGED_HEADS: &str = "SELECT s.xmin, s.is_quiet, u.user_id, h.position AS h_position, \
        h.recorded_at AS h_recorded_at, h.record_id AS h_record_id \
     FROM (SELECT pg_snapshot_xmin(s)::text AS xmin, pg_snapshot_xmin(s) = pg_snapshot_xmax(s) AS is_quiet \
           FROM pg_current_snapshot() s) s \
     LEFT JOIN (unnest($1::text[]) AS u (user_id) LEFT JOIN feed_head h ON h.user_id = u.user_id) \
     ON h.user_id IS NULL OR h.xid >= (SELECT $2::text::xid8)";

/// The first record of a user in a window.
const FIRST_RECORD: &str = "SELECT position AS h_position, recorded_at AS h_recorded_at, record_id AS h_record_id \
     FROM task_record WHERE user_id = $1 AND recorded_at >= $2 AND recorded_at < $3 ORDER BY position LIMIT 1";

/// Where to look for it: not before the first task, and seldom before the partition that is open below.
const OLDEST_BOUNDS: &str = "SELECT \
     (SELECT (regexp_match(pg_get_expr(c.relpartbound, c.oid), $re$TO \\('([^']+)'\\)$re$))[1]::timestamptz \
      FROM pg_class c WHERE c.oid = to_regclass('task_record_before')) AS floor, \
     (SELECT created_at FROM task WHERE user_id = $1 ORDER BY created_at, task_id LIMIT 1) AS first_task, \
     (SELECT recorded_at FROM feed_head WHERE user_id = $1) AS last_record";

const RECORD_AT: &str = "SELECT position AS h_position, recorded_at AS h_recorded_at, record_id AS h_record_id \
     FROM task_record WHERE user_id = $1 AND position = $2 AND recorded_at = $3";

/// LIMIT keeps the planner from turning this into a join that reads every partition.
const STANDING: &str = "SELECT q.user_id FROM unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::uuid[]) \
         AS q (user_id, position, recorded_at, record_id) \
     CROSS JOIN LATERAL (SELECT FROM task_record r WHERE r.user_id = q.user_id AND r.position = q.position \
                         AND r.recorded_at = q.recorded_at AND r.record_id = q.record_id LIMIT 1) r";

pub(super) fn statement(sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// Asks for the last page of a user's feed, as a subscription does that comes back.
pub(super) fn last_page_statement(user: &str, head: Head, limit: i64) -> Statement {
    let after = (head.position - limit).max(0);
    let (from, until) = (head.recorded_at - WINDOW, head.recorded_at + TimeDelta::microseconds(1));
    statement(&FEED_PAGE, [user.into(), after.into(), from.into(), until.into(), limit.into(), head.position.into()])
}

/// A record and its task from a row; none where the user's row has no record beside it. A record whose task is gone (its
/// user is being erased) is left out: the reader sees the hole and stops.
fn entry_from_row(row: &QueryResult) -> Result<Option<Committed>, sqlx::Error> {
    let mut columns = Columns::of(row)?;
    // What stands before the head says how many there are, or who reads them.
    columns.skip(1);
    columns.head()?;
    let Some(record) = columns.record()? else { return Ok(None) };
    let Some(task) = columns.task()? else { return Ok(None) };
    Ok(Some(Committed { record: Arc::new(record), task: Arc::new(task) }))
}

impl Store {
    /// Where these users' feeds stand; who has no row is left out ([`Head::START`]).
    pub async fn heads(&self, users: &[String]) -> Result<HashMap<String, Head>, StoreError> {
        let rows = feed_head::Entity::find()
            .filter(sea_orm::ColumnTrait::eq_any(&feed_head::Column::UserId, users.iter().cloned()))
            .all(&self.db)
            .await?;
        let head = |row: feed_head::Model| Head {
            position: row.position,
            recorded_at: row.recorded_at,
            record_id: row.record_id,
        };
        Ok(rows.into_iter().map(|row| (row.user_id.clone(), head(row))).collect())
    }

    /// Which of these users' heads were written since the snapshot whose `xmin` this was; "0": all of them.
    pub async fn changed_heads(&self, users: &[String], since_xmin: &str) -> Result<ChangedHeads, StoreError> {
        let values = [Value::from(users.to_vec()), since_xmin.into()];
        let rows = self.db.query_all_raw(statement(CHANGED_HEADS, values)).await?;
        let mut changed = ChangedHeads { heads: Vec::new(), xmin: since_xmin.to_owned(), is_quiet: false };
        for row in &rows {
            changed.xmin = row.try_get("", "xmin")?;
            changed.is_quiet = row.try_get("", "is_quiet")?;
            if let Some(user) = row.try_get::<Option<String>>("", "user_id")? {
                changed.heads.push((user, Head::from_row(row)?));
            }
        }
        Ok(changed)
    }

    /// How far WAL was written. Ask before the snapshot that it is to be compared with, never in the same statement:
    /// there it may be ahead of what the snapshot shows.
    pub async fn wal_position(&self) -> Result<String, StoreError> {
        let sql = "SELECT pg_current_wal_insert_lsn()::text AS lsn";
        let row = self.db.query_one_raw(statement(sql, [])).await?;
        row.ok_or_else(no_row)?.try_get("", "lsn").map_err(StoreError::from)
    }

    /// The records after a position (of one task, if one is named), from window to window, until `limit`, the weight of
    /// a page, or the head.
    ///
    /// `after.recorded_at` is where it begins to look. A page that is not cut reaches its `head`.
    pub async fn feed_page(
        &self,
        user: &str,
        task_id: Option<&str>,
        after: Head,
        limit: u64,
    ) -> Result<FeedPage, StoreError> {
        let mut page = FeedPage { entries: Vec::new(), head: Head::START, is_cut: false };
        let mut from = after.recorded_at;
        let mut last = after.position.saturating_add(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut window = if task_id.is_some() { FIRST_WINDOW } else { WINDOW };
        if after.position == 0 {
            // From the epoch it would be a long way: begin where the user's history does.
            let Some(oldest) = self.oldest_record(user).await? else {
                page.head = self.heads(&[user.to_owned()]).await?.remove(user).unwrap_or(Head::START);
                return Ok(page);
            };
            from = from.max(oldest.recorded_at);
            last = last.saturating_add(oldest.position - 1);
        }
        loop {
            let (before, mut found) = (page.entries.len(), None::<i64>);
            let wanted = limit.saturating_sub(page.entries.len() as u64);
            let until = from + window;
            let values: [Value; 6] = [
                user.into(),
                after.position.into(),
                from.into(),
                until.into(),
                i64::try_from(wanted).unwrap_or(i64::MAX).into(),
                task_id.map_or(last.into(), Value::from),
            ];
            let sql = if task_id.is_some() { &TASK_PAGE } else { &FEED_PAGE };
            for row in &self.db.query_all_raw(statement(sql, values)).await? {
                page.head = Head::from_row(row)?;
                found = row.try_get("", "found")?;
                page.entries.extend(entry_from_row(row)?);
            }
            let taken = i64::try_from(page.entries.len() - before).unwrap_or(i64::MAX);
            page.is_cut = page.entries.len() as u64 >= limit || found.is_some_and(|found| found > taken);
            if page.is_cut || page.head.position <= after.position || page.head.recorded_at < until {
                self.learnt(page.entries.first().map(|_| user).into_iter());
                return Ok(page);
            }
            from = until;
            window = WINDOW.min(window * 4);
        }
    }

    /// What is new of many users at once, in one statement: up to `limit` records each after the position known, of the
    /// last two weeks before the head. A hole before the first of them is the caller's to see.
    pub async fn new_records(
        &self,
        known: &[(String, Head)],
        limit: u32,
    ) -> Result<HashMap<String, FeedPage>, StoreError> {
        let values = [
            Value::from(known.iter().map(|(user, _)| user.clone()).collect::<Vec<_>>()),
            known.iter().map(|(_, head)| head.position).collect::<Vec<_>>().into(),
            known.iter().map(|(_, head)| head.recorded_at).collect::<Vec<_>>().into(),
            i64::from(limit).into(),
        ];
        let mut pages: HashMap<String, FeedPage> = HashMap::with_capacity(known.len());
        for row in &self.db.query_all_raw(statement(&NEW_RECORDS, values)).await? {
            let head = Head::from_row(row)?;
            let page = pages.entry(row.try_get("", "reader")?).or_insert_with(|| FeedPage {
                entries: Vec::new(),
                head,
                is_cut: false,
            });
            page.entries.extend(entry_from_row(row)?);
        }
        self.learnt(pages.iter().filter(|(_, page)| !page.entries.is_empty()).map(|(user, _)| user.as_str()));
        Ok(pages)
    }

    /// The oldest record of a user that is still kept.
    pub async fn oldest_record(&self, user: &str) -> Result<Option<Head>, StoreError> {
        let row = self.db.query_one_raw(statement(OLDEST_BOUNDS, [user.into()])).await?.ok_or_else(no_row)?;
        let floor: DateTimeUtc = row.try_get::<Option<_>>("", "floor")?.unwrap_or(DateTimeUtc::UNIX_EPOCH);
        let (Some(first_task), Some(last)) = (
            row.try_get::<Option<DateTimeUtc>>("", "first_task")?,
            row.try_get::<Option<DateTimeUtc>>("", "last_record")?,
        ) else {
            return Ok(None);
        };
        // The partition that is open below is one, however far it reaches.
        if first_task < floor
            && let Some(found) = self.first_record(user, DateTimeUtc::UNIX_EPOCH, floor).await?
        {
            return Ok(Some(found));
        }
        let mut from = first_task.max(floor);
        let mut window = FIRST_WINDOW;
        while from <= last {
            if let Some(found) = self.first_record(user, from, from + window).await? {
                return Ok(Some(found));
            }
            from += window;
            window = WINDOW.min(window * 4);
        }
        Ok(None)
    }

    async fn first_record(
        &self,
        user: &str,
        from: DateTimeUtc,
        until: DateTimeUtc,
    ) -> Result<Option<Head>, StoreError> {
        let row = self.db.query_one_raw(statement(FIRST_RECORD, [user.into(), from.into(), until.into()])).await?;
        Ok(row.as_ref().map(Head::from_row).transpose()?)
    }

    /// The oldest position of a user that is still kept.
    pub async fn oldest_position(&self, user: &str) -> Result<Option<i64>, StoreError> {
        Ok(self.oldest_record(user).await?.map(|oldest| oldest.position))
    }

    /// The same, soon.
    pub async fn oldest_of(&self, user: &str) -> Result<Option<i64>, StoreError> {
        self.within_time(self.oldest_position(user)).await?
    }

    /// Where a user's feed stands, and the oldest position that is still kept; soon, also where the database is away.
    pub async fn feed_of(&self, user: &str) -> Result<(Head, Option<i64>), StoreError> {
        let read = async {
            // In this order: what is appended in between is beyond both.
            let oldest = self.oldest_position(user).await?;
            let head = self.heads(std::slice::from_ref(&user.to_owned())).await?.remove(user);
            Ok((head.unwrap_or(Head::START), oldest))
        };
        self.within_time(read).await?
    }

    /// The record that stands at this position and moment.
    pub async fn record_at(
        &self,
        user: &str,
        position: i64,
        recorded_at: DateTimeUtc,
    ) -> Result<Option<Head>, StoreError> {
        let row =
            self.db.query_one_raw(statement(RECORD_AT, [user.into(), position.into(), recorded_at.into()])).await?;
        Ok(row.as_ref().map(Head::from_row).transpose()?)
    }

    /// For which of these users the record that was known as the last still stands in its place.
    pub async fn standing(&self, known: &[(String, Head)]) -> Result<HashSet<String>, StoreError> {
        let values = [
            Value::from(known.iter().map(|(user, _)| user.clone()).collect::<Vec<_>>()),
            known.iter().map(|(_, head)| head.position).collect::<Vec<_>>().into(),
            known.iter().map(|(_, head)| head.recorded_at).collect::<Vec<_>>().into(),
            known.iter().map(|(_, head)| head.record_id).collect::<Vec<_>>().into(),
        ];
        let rows = self.db.query_all_raw(statement(STANDING, values)).await?;
        rows.iter().map(|row| row.try_get("", "user_id").map_err(StoreError::from)).collect()
    }
}

pub(super) fn no_row() -> StoreError {
    StoreError::Database(DbErr::RecordNotFound("a statement that always has a row gave none".to_owned()))
}
