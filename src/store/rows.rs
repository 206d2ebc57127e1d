//! Rows read column by column, in the order in which the statement names them: there are more of records and tasks than of
//! anything else, and to find thirty columns by their names, or to be told of each that is null, takes longer than to read
//! them.
//!
//! To add a column of an entity: a line in its reader here, where it stands in the entity; `columns` names it by itself. For
//! what an append gives back, see `state`.

use std::error::Error;
use std::str::FromStr;

use entity::{CancellationOutcome, UnknownValue, task, task_record};
use sea_orm::QueryResult;
use sqlx::postgres::{PgRow, Postgres};
use sqlx::{Decode, Row as _, Type};

use super::feed::Head;

/// Columns of a head.
const HEAD_WIDTH: usize = 3;

/// What is left of a row.
pub(super) struct Columns<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> Columns<'r> {
    /// From the first column on.
    pub(super) fn new(row: &'r PgRow) -> Self {
        Self { row, next: 0 }
    }

    /// Of a row that `SeaORM` has read.
    pub(super) fn of(row: &'r QueryResult) -> Result<Self, sqlx::Error> {
        row.try_as_pg_row().map(Self::new).ok_or_else(|| sqlx::Error::Decode("a row of another database".into()))
    }

    /// Passes over so many.
    pub(super) fn skip(&mut self, columns: usize) {
        self.next += columns;
    }

    /// The next column.
    pub(super) fn read<T: Decode<'r, Postgres> + Type<Postgres>>(&mut self) -> Result<T, sqlx::Error> {
        let value = self.row.try_get(self.next);
        self.next += 1;
        value
    }

    /// The next column, of a closed set of values.
    pub(super) fn one_of<T: FromStr<Err = UnknownValue>>(&mut self) -> Result<T, sqlx::Error> {
        self.read::<&str>()?.parse().map_err(unknown)
    }

    /// Passes over a head's.
    pub(super) fn skip_head(&mut self) {
        self.skip(HEAD_WIDTH);
    }

    /// The next columns, which are a head's.
    pub(super) fn head(&mut self) -> Result<Head, sqlx::Error> {
        let Some(position) = self.read()? else {
            self.skip(HEAD_WIDTH - 1);
            return Ok(Head::START);
        };
        Ok(Head { position, recorded_at: self.read()?, record_id: self.read()? })
    }

    /// The next column, which is JSON, as its text in one line: server-sent events and exports are read by lines. A line
    /// break in JSON is white space; none of our writers makes one, but plain SQL could.
    fn json(&mut self) -> Result<String, sqlx::Error> {
        let value = self.row.try_get_raw(self.next)?;
        self.next += 1;
        let text = value.as_str().map_err(sqlx::Error::Decode)?;
        let has_lines = text.as_bytes().contains(&b'\n') || text.as_bytes().contains(&b'\r');
        Ok(if has_lines { text.replace(['\n', '\r'], " ") } else { text.to_owned() })
    }

    /// The next columns, which are a record's; none, and nothing behind it can be read, where there is no record.
    pub(super) fn record(&mut self) -> Result<Option<task_record::Model>, sqlx::Error> {
        let Some(user_id) = self.read::<Option<&str>>()? else { return Ok(None) };
        let task_id = self.read()?;
        self.record_of(user_id, task_id)
    }

    /// The next columns, which are those of a record of this task but for user and task; none as above.
    pub(super) fn record_of(
        &mut self,
        user_id: &str,
        task_id: &str,
    ) -> Result<Option<task_record::Model>, sqlx::Error> {
        let Some(position) = self.read()? else { return Ok(None) };
        // Rust evaluates the fields as they are written.
        Ok(Some(task_record::Model {
            user_id: user_id.to_owned(),
            position,
            recorded_at: self.read()?,
            task_id: task_id.to_owned(),
            step: self.read()?,
            result: self.json()?,
            timestamp: self.read()?,
            status: self.one_of()?,
            kind: self.one_of()?,
            record_id: self.read()?,
            is_late: self.read()?,
            reported_by: self.read()?,
            progress: self.read()?,
        }))
    }

    /// The next columns, which are a task's; none, and nothing behind it can be read, where there is no task.
    pub(super) fn task(&mut self) -> Result<Option<task::Model>, sqlx::Error> {
        let Some(user_id) = self.read()? else { return Ok(None) };
        Ok(Some(task::Model {
            user_id,
            task_id: self.read()?,
            position: self.read()?,
            record_id: self.read()?,
            name: self.read()?,
            tags: self.read()?,
            status: self.one_of()?,
            step: self.read()?,
            step_status: self.one_of()?,
            step_progress: self.read()?,
            total_steps: self.read()?,
            completed_count: self.read()?,
            message: self.read()?,
            error_code: self.read()?,
            moved_position: self.read()?,
            moved_at: self.read()?,
            steps_from_position: self.read()?,
            steps_from_at: self.read()?,
            created_at: self.read()?,
            started_at: self.read()?,
            updated_at: self.read()?,
            finished_at: self.read()?,
            cancel_requested_at: self.read()?,
            cancel_requested_by: self.read()?,
            cancel_reason: self.read()?,
            cancel_delivered_at: self.read()?,
            cancel_acknowledged_at: self.read()?,
            cancel_outcome: self.outcome()?,
            cancel_message: self.read()?,
            report_within_seconds: self.read()?,
            report_due_at: self.read()?,
        }))
    }

    /// The next column, of what a worker has answered to a cancellation.
    pub(super) fn outcome(&mut self) -> Result<Option<CancellationOutcome>, sqlx::Error> {
        self.read::<Option<&str>>()?.map(|text| text.parse().map_err(unknown)).transpose()
    }
}

fn unknown(value: UnknownValue) -> sqlx::Error {
    sqlx::Error::Decode(Box::<dyn Error + Send + Sync>::from(value))
}
