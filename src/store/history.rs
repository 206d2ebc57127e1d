//! Reads of a task's records and steps, and of single records. Each carries a bound on `recorded_at`.

use entity::{TaskStatus, task, task_record};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{ConnectionTrait, FromQueryResult, QueryResult, Statement};

use super::append::Place;
use super::columns::{HEAD_COLUMNS, RECORD_COLUMNS};
use super::feed::{Head, statement};
use super::page::{Keyset, Rows};
use super::{Store, StoreError};

/// Whose records, of which task.
#[derive(Clone, Debug)]
pub struct HistoryQuery {
    /// Whose.
    pub user_id: String,
    /// Of which task.
    pub task_id: String,
}

/// One numbered step, put together from its records.
#[derive(Clone, Debug)]
pub struct StepSummary {
    /// Its number.
    pub step: i32,
    /// The latest name that a record gave; empty where none did.
    pub name: String,
    /// Of its latest record.
    pub status: TaskStatus,
    /// Its first record: it waits from here.
    pub reported_at: DateTimeUtc,
    /// Its first RUNNING record: it runs from here.
    pub started_at: Option<DateTimeUtc>,
    /// Its latest record, where that ends the step.
    pub finished_at: Option<DateTimeUtc>,
    /// How many records it has.
    pub record_count: i64,
    /// The latest.
    pub record: task_record::Model,
}

impl StepSummary {
    fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        let record = task_record::Model::from_query_result(row, "r_")?;
        Ok(Self {
            step: record.step,
            name: row.try_get::<Option<String>>("", "step_name")?.unwrap_or_default(),
            status: record.status,
            reported_at: row.try_get("", "reported_at")?,
            started_at: row.try_get("", "started_at")?,
            finished_at: record.status.is_finished().then_some(record.recorded_at),
            record_count: row.try_get("", "record_count")?,
            record,
        })
    }
}

impl Store {
    /// A page of a task's records, oldest first, keyed by position, and the user's head in the same statement. The task's
    /// own first and last moment bound the partitions that are visited.
    pub async fn history(
        &self,
        query: &HistoryQuery,
        page: &Keyset<i64>,
    ) -> Result<(Rows<task_record::Model>, Head), StoreError> {
        let found = self.within_time(self.connection().query_all_raw(history_statement(query, page))).await??;
        let head = found.first().map_or(Ok(Head::START), Head::from_row)?;
        let mut rows = Vec::with_capacity(found.len());
        for row in &found {
            if row.try_get::<Option<String>>("r_", "user_id")?.is_some() {
                rows.push(task_record::Model::from_query_result(row, "r_")?);
            }
        }
        rows.sort_by_key(|record| record.position);
        Ok((cut(rows, page), head))
    }

    /// A page of a task's steps, by number.
    pub async fn steps(&self, task: &task::Model, page: &Keyset<i32>) -> Result<Rows<StepSummary>, StoreError> {
        let found = self.within_time(self.connection().query_all_raw(steps_statement(task, page))).await??;
        let mut rows = found.iter().map(StepSummary::from_row).collect::<Result<Vec<_>, _>>()?;
        rows.sort_by_key(|step| step.step);
        Ok(cut(rows, page))
    }

    /// One step of a task.
    pub async fn step(&self, task: &task::Model, step: i32) -> Result<Option<StepSummary>, StoreError> {
        let page = Keyset { after: Some(step - 1), before: Some(step + 1), limit: 1, backward: false };
        Ok(self.steps(task, &page).await?.rows.pop())
    }

    /// Records by their places; what is not there is missing.
    pub async fn records_at(&self, places: &[Place]) -> Result<Vec<task_record::Model>, StoreError> {
        let mut users = Vec::with_capacity(places.len());
        let (mut positions, mut times) = (Vec::with_capacity(places.len()), Vec::with_capacity(places.len()));
        for (user_id, position, recorded_at) in places {
            users.push(user_id.clone());
            positions.push(*position);
            times.push(*recorded_at);
        }
        // LATERAL with a LIMIT keeps it a look-up of each key in its own partition.
        let sql = format!(
            "SELECT {records}
            FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::bigint[], $3::timestamptz[]) k (user_id, position, at)) k
            CROSS JOIN LATERAL (
                SELECT * FROM task_record
                WHERE user_id = k.user_id AND position = k.position AND recorded_at = k.at LIMIT 1
            ) r",
            records = *RECORD_COLUMNS
        );
        let found = self.query_all(&sql, vec![users.into(), positions.into(), times.into()]).await?;
        Ok(found.iter().map(|row| task_record::Model::from_query_result(row, "r_")).collect::<Result<_, _>>()?)
    }
}

/// Asks for a page of a task's records, and in the same snapshot for the user's head.
pub(super) fn history_statement(query: &HistoryQuery, page: &Keyset<i64>) -> Statement {
    let direction = if page.backward { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT {HEAD_COLUMNS}, page.*
        FROM (SELECT) AS one LEFT JOIN feed_head h ON h.user_id = $1 LEFT JOIN (
            SELECT {records} FROM task_record r
            WHERE r.user_id = $1 AND r.task_id = $2 AND r.position > $3 AND r.position < $4
              AND r.recorded_at >= (SELECT created_at FROM task WHERE user_id = $1 AND task_id = $2)
              AND r.recorded_at <= (SELECT updated_at FROM task WHERE user_id = $1 AND task_id = $2)
            ORDER BY r.position {direction} LIMIT $5
        ) page ON true",
        records = *RECORD_COLUMNS
    );
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX - 1);
    let values = vec![
        query.user_id.clone().into(),
        query.task_id.clone().into(),
        page.after.unwrap_or(0).into(),
        page.before.unwrap_or(i64::MAX).into(),
        (limit + 1).into(),
    ];
    statement(&sql, values)
}

/// Asks for a page of a task's steps.
pub(super) fn steps_statement(task: &task::Model, page: &Keyset<i32>) -> Statement {
    let direction = if page.backward { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT {records}, s.step_name, s.reported_at, s.started_at, s.record_count
        FROM (
            SELECT step, count(*) AS record_count, min(recorded_at) AS reported_at, max(position) AS latest,
                   min(recorded_at) FILTER (WHERE status = 'running') AS started_at,
                   max(recorded_at) AS latest_at,
                   (array_agg(result ->> 'step' ORDER BY position DESC) FILTER (WHERE result ->> 'step' <> ''))[1]
                       AS step_name
            FROM task_record
            WHERE user_id = $1 AND task_id = $2 AND kind = 'step' AND position >= $3
              AND recorded_at >= $4 AND recorded_at <= $5 AND step > $6 AND step < $7
            GROUP BY step ORDER BY step {direction} LIMIT $8
        ) s CROSS JOIN LATERAL (
            SELECT * FROM task_record
            WHERE user_id = $1 AND position = s.latest AND recorded_at = s.latest_at LIMIT 1
        ) r",
        records = *RECORD_COLUMNS
    );
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX - 1);
    let values = vec![
        task.user_id.clone().into(),
        task.task_id.clone().into(),
        task.steps_from_position.into(),
        task.steps_from_at.into(),
        task.updated_at.into(),
        page.after.unwrap_or(-1).into(),
        page.before.unwrap_or(i32::MAX).into(),
        (limit + 1).into(),
    ];
    statement(&sql, values)
}

/// The page itself, without the row that tells of more. The rows are in order; read backward, the extra one is the first.
pub(super) fn cut<T, K>(mut rows: Vec<T>, page: &Keyset<K>) -> Rows<T> {
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > limit;
    if has_more {
        if page.backward { drop(rows.drain(..rows.len() - limit)) } else { rows.truncate(limit) }
    }
    Rows { rows, has_more }
}
