//! Reads of a task's records and steps, and of single records. Each carries a bound on `recorded_at`.

use entity::{TaskStatus, task, task_record};
use futures_util::TryStreamExt as _;
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{QueryResult, SqlxPostgresConnector, Statement, StreamTrait as _};
use sqlx::Row as _;
use tokio::time::Instant;

use super::append::Place;
use super::columns::{HEAD_COLUMNS, KNOWN_TASKS_RECORD_COLUMNS, RECORD_COLUMNS};
use super::feed::{Head, statement};
use super::page::{Coming, Keyset, Room, Rows};
use super::rows::Columns;
use super::{Store, StoreError};

/// Whose records, of which task.
#[derive(Clone, Debug)]
pub struct HistoryQuery {
    /// Whose.
    pub user_id: String,
    /// Of which task.
    pub task_id: String,
}

/// A page of one task's records.
pub(super) struct HistoryPart {
    pub(super) query: HistoryQuery,
    pub(super) page: Keyset<i64>,
    pub(super) room: Room,
}

impl HistoryPart {
    fn of(query: &HistoryQuery, page: Keyset<i64>, room: Room) -> Self {
        Self { query: query.clone(), page, room }
    }
}

/// Its records, and the user's head.
pub(super) type History = (Coming<task_record::Model>, Head);

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
    fn from_row(row: &QueryResult, task: &task::Model) -> Result<Self, sqlx::Error> {
        let mut columns = Columns::of(row)?;
        let record = columns.record_of(&task.user_id, &task.task_id)?.ok_or(sqlx::Error::RowNotFound)?;
        // In the order of the statement's columns.
        Ok(Self {
            step: record.step,
            name: columns.read::<Option<String>>()?.unwrap_or_default(),
            status: record.status,
            reported_at: columns.read()?,
            started_at: columns.read()?,
            finished_at: record.status.is_finished().then_some(record.recorded_at),
            record_count: columns.read()?,
            record,
        })
    }
}

impl Store {
    /// A page of a task's records, oldest first, keyed by position, and the user's head in the same statement. A small one, or
    /// the first part of another, is read together with those that others ask for at the same time: what is heavy delays
    /// nobody else.
    pub async fn history(
        &self,
        query: &HistoryQuery,
        page: &Keyset<i64>,
    ) -> Result<(Rows<task_record::Model>, Head), StoreError> {
        let (part, backward) = (HistoryPart::of(query, page.first_part(), Room::PAGE), page.backward);
        let read = move |store: Self, parts| store.histories(parts, backward);
        let (coming, head) = self.lookups.histories[usize::from(backward)].find(self, part, read).await?;
        let (rows, second) = coming.begin(page, position);
        let Some((mut second, room)) = second else { return Ok((rows, head)) };
        // What has come since the head was read comes by the feed: here it would be there twice.
        let behind = head.position + 1;
        second.before = Some(second.before.map_or(behind, |before| before.min(behind)));
        let part = HistoryPart::of(query, second.clone(), room);
        let Some((coming, _)) = self.clone().histories(vec![part], backward).await?.pop() else {
            return Ok((rows, head));
        };
        Ok((coming.end(rows, &second, position), head))
    }

    /// All of them read in the same direction. Each has one row more than its page, if there is one.
    async fn histories(self, parts: Vec<HistoryPart>, backward: bool) -> Result<Vec<History>, StoreError> {
        let statement = history_statement(&parts, backward);
        let place = |row: &QueryResult| Ok(usize::try_from(Columns::of(row)?.read::<i64>()?).unwrap_or(usize::MAX));
        let rooms = parts.iter().map(|part| part.room);
        let pages = self.coming(statement, rooms, place).await?;
        let read = |(part, coming): (&HistoryPart, Coming<QueryResult>)| {
            // Each row of a page has the same one.
            let mut head = None;
            let records = coming.read(|row| {
                let mut columns = Columns::of(row)?;
                columns.skip(1);
                if head.is_none() {
                    head = Some(columns.head()?);
                } else {
                    columns.skip_head();
                }
                columns.record_of(&part.query.user_id, &part.query.task_id)
            })?;
            Ok((records, head.unwrap_or(Head::START)))
        };
        Ok(parts.iter().zip(pages).map(read).collect::<Result<_, sqlx::Error>>()?)
    }

    /// A page of a task's steps, by number.
    pub async fn steps(&self, task: &task::Model, page: &Keyset<i32>) -> Result<Rows<StepSummary>, StoreError> {
        let number = |step: &StepSummary| step.step;
        let (rows, second) = self.part_of_steps(task, &page.first_part(), Room::PAGE).await?.begin(page, number);
        let Some((second, room)) = second else { return Ok(rows) };
        Ok(self.part_of_steps(task, &second, room).await?.end(rows, &second, number))
    }

    async fn part_of_steps(
        &self,
        task: &task::Model,
        part: &Keyset<i32>,
        room: Room,
    ) -> Result<Coming<StepSummary>, StoreError> {
        let pages = self.coming(steps_statement(task, part), std::iter::once(room), |_| Ok(0)).await?;
        let coming = pages.into_iter().next().unwrap_or(Coming::new(room));
        Ok(coming.read(|row| StepSummary::from_row(row, task).map(Some))?)
    }

    /// Reads a page for each of these rooms, row by row, so that what is let go takes none. `page_of` tells which one a row is
    /// of. They are taken apart when the connection is free again.
    async fn coming(
        &self,
        statement: Statement,
        rooms: impl Iterator<Item = Room>,
        page_of: impl Fn(&QueryResult) -> Result<usize, sqlx::Error>,
    ) -> Result<Vec<Coming<QueryResult>>, StoreError> {
        let mut coming: Vec<_> = rooms.map(Coming::new).collect();
        let begun = Instant::now();
        let read = async {
            // Counted here: by itself it would count what the rows take to be read, and no failure.
            let uncounted =
                SqlxPostgresConnector::from_sqlx_postgres_pool(self.db.get_postgres_connection_pool().clone());
            let mut rows = uncounted.stream_raw(statement).await?;
            while let Some(row) = rows.try_next().await? {
                if let Some(page) = coming.get_mut(page_of(&row)?) {
                    let bytes = result_bytes(&row);
                    page.push(row, bytes);
                }
            }
            Ok::<_, StoreError>(())
        };
        let done = self.within_time(read).await?;
        self.telemetry.queried(begun.elapsed(), done.is_err());
        done.map(|()| coming)
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
        let records = found.iter().filter_map(|row| Columns::of(row).and_then(|mut row| row.record()).transpose());
        Ok(records.collect::<Result<_, _>>()?)
    }
}

/// Asks for a page of each task's records, and in the same snapshot for the user's head; `place` is where the page stands
/// among those asked for, from 0. The task's own first and last moment bound the partitions that are visited.
///
/// Each page begins where its cursor stands in the index of tasks, and ends with its last row. So no `task_id =` here: with
/// it, any index that finds few rows by its statistics would do, and all records of a long task were read and sorted for each
/// page as soon as empty partitions were analysed.
pub(super) fn history_statement(parts: &[HistoryPart], backward: bool) -> Statement {
    let (direction, within) = if backward {
        ("DESC", "(task_id, position) < (k.task_id, k.before) AND task_id >= k.task_id AND position > k.after")
    } else {
        ("ASC", "(task_id, position) > (k.task_id, k.after) AND task_id <= k.task_id AND position < k.before")
    };
    let sql = format!(
        "SELECT k.ord - 1 AS place, {HEAD_COLUMNS}, {records}
        FROM unnest((SELECT $1::text[]), (SELECT $2::text[]), (SELECT $3::bigint[]), (SELECT $4::bigint[]), (SELECT $5::bigint[]))
             WITH ORDINALITY k (user_id, task_id, after, before, most, ord)
        LEFT JOIN LATERAL (SELECT * FROM feed_head WHERE user_id = k.user_id LIMIT 1) h ON true
        LEFT JOIN LATERAL (
            SELECT created_at, updated_at FROM task WHERE user_id = k.user_id AND task_id = k.task_id LIMIT 1
        ) t ON true
        LEFT JOIN LATERAL (
            SELECT * FROM task_record
            WHERE user_id = k.user_id AND {within}
              AND recorded_at >= t.created_at AND recorded_at <= t.updated_at
            ORDER BY task_id {direction}, position {direction} LIMIT k.most
        ) r ON true",
        records = *KNOWN_TASKS_RECORD_COLUMNS
    );
    let (mut users, mut tasks) = (Vec::with_capacity(parts.len()), Vec::with_capacity(parts.len()));
    let (mut after, mut before, mut most) = (Vec::new(), Vec::new(), Vec::new());
    for HistoryPart { query, page, .. } in parts {
        users.push(query.user_id.clone());
        tasks.push(query.task_id.clone());
        after.push(page.after.unwrap_or(0));
        before.push(page.before.unwrap_or(i64::MAX));
        most.push(i64::try_from(page.limit).unwrap_or(i64::MAX - 1) + 1);
    }
    statement(&sql, vec![users.into(), tasks.into(), after.into(), before.into(), most.into()])
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
                   (array_agg(step_name ORDER BY position DESC) FILTER (WHERE step_name IS NOT NULL))[1] AS step_name
            FROM task_record
            WHERE user_id = $1 AND task_id = $2 AND kind = 'step' AND position >= $3
              AND recorded_at >= $4 AND recorded_at <= $5 AND step > $6 AND step < $7
            GROUP BY step ORDER BY step {direction} LIMIT $8
        ) s CROSS JOIN LATERAL (
            SELECT * FROM task_record
            WHERE user_id = $1 AND position = s.latest AND recorded_at = s.latest_at LIMIT 1
        ) r",
        records = *KNOWN_TASKS_RECORD_COLUMNS
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

fn position(record: &task_record::Model) -> i64 {
    record.position
}

/// Of a row with the columns of a record.
fn result_bytes(row: &QueryResult) -> usize {
    let value = row.try_as_pg_row().and_then(|row| row.try_get_raw("result").ok());
    value.and_then(|value| value.as_bytes().ok()).map_or(0, <[u8]>::len)
}
