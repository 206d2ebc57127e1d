//! Reports that are due: the clock by which due times count, the tasks whose report has not come, and signs of life.

use std::sync::LazyLock;
use std::time::Duration;

use entity::task;
use sea_orm::QueryResult;
use sea_orm::prelude::DateTimeUtc;
use uuid::Uuid;

use super::append::Wait;
use super::cancel::{place, read_task};
use super::columns::{TASK_COLUMNS, task_columns};
use super::feed::no_row;
use super::retry::Attempts;
use super::turn::Turn;
use super::{Store, StoreError};

/// The tasks whose report is due up to a moment, after a task of that list, the longest due first: from their partial index.
pub const DUE_REPORTS: &str = "SELECT user_id, task_id, report_due_at FROM task \
    WHERE report_due_at IS NOT NULL AND report_due_at <= $1 AND (report_due_at, user_id, task_id) > ($2, $3, $4) \
    ORDER BY report_due_at, user_id, task_id LIMIT $5";

const CLOCK: &str = "SELECT asked_at, has_due, is_gap FROM taskwire_report_clock_v1($1, make_interval(secs => $2))";

static OVERDUE: LazyLock<String> = LazyLock::new(|| {
    format!(
        r#"SELECT o.ord, o.is_held, o."position" AS at_position, o.recorded_at AS at, {}
        FROM taskwire_overdue_v1($1, $2, $3, $4, $5, $6) o"#,
        task_columns("(o.left_as)")
    )
});
static ALIVE: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM taskwire_report_alive_v1($1, $2, $3, $4) t", *TASK_COLUMNS));

/// What the clock of due times says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportClock {
    /// Now, by the database.
    pub asked_at: DateTimeUtc,
    /// Some task awaits a report.
    pub has_due: bool,
    /// A time has just ended in which no server could take reports, and it was this call that noticed.
    pub is_gap: bool,
}

/// A task that awaits a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueReport {
    /// Whose task.
    pub user_id: String,
    /// Which task.
    pub task_id: String,
    /// When its report is due, as it was read.
    pub due_at: DateTimeUtc,
}

/// What became of tasks whose report was due.
#[derive(Clone, Debug, Default)]
pub struct Overdue {
    /// How many of them timed out by this call.
    pub recorded: usize,
    /// Those of users who are held by somebody's open transaction: passed over.
    pub held: Vec<DueReport>,
}

impl Store {
    /// Says that this server is there to take reports. `seen_at` is when it last did so, in its own memory; `here_for`, for
    /// how long it has certainly been there: if there was a gap, it ended then.
    pub async fn report_clock(
        &self,
        seen_at: Option<DateTimeUtc>,
        here_for: Duration,
    ) -> Result<ReportClock, StoreError> {
        let rows = self.query_all(CLOCK, vec![seen_at.into(), here_for.as_secs_f64().into()]).await?;
        let row = rows.first().ok_or_else(no_row)?;
        Ok(ReportClock {
            asked_at: row.try_get("", "asked_at")?,
            has_due: row.try_get("", "has_due")?,
            is_gap: row.try_get("", "is_gap")?,
        })
    }

    /// The tasks whose report is due until then, the longest due first, after one of them.
    pub async fn due_reports(
        &self,
        until: DateTimeUtc,
        after: Option<&DueReport>,
        limit: u32,
    ) -> Result<Vec<DueReport>, StoreError> {
        let (at, user_id, task_id) =
            after.map_or((DateTimeUtc::UNIX_EPOCH, "", ""), |due| (due.due_at, &due.user_id, &due.task_id));
        let values = vec![until.into(), at.into(), user_id.into(), task_id.into(), i64::from(limit).into()];
        let due = |row: &QueryResult| {
            Ok::<_, StoreError>(DueReport {
                user_id: row.try_get("", "user_id")?,
                task_id: row.try_get("", "task_id")?,
                due_at: row.try_get("", "report_due_at")?,
            })
        };
        self.query_all(DUE_REPORTS, values).await?.iter().map(due).collect()
    }

    /// Looks at these tasks under their users' locks: a due time that began anew moves, one that is past becomes
    /// `REPORT_OVERDUE`. Without `patience` it passes over users who are held; with it, it waits so long and then fails with
    /// [`StoreError::Timeout`]. `within` is the server's own setting in seconds.
    pub async fn record_overdue(
        &self,
        due: &[DueReport],
        within: Option<i32>,
        patience: Option<Duration>,
    ) -> Result<Overdue, StoreError> {
        let wait = patience.map_or(Wait::Skip, Wait::AtMost);
        let mut attempts = Attempts::new();
        let rows = loop {
            match self.record_overdue_once(due, within, wait, attempts.notify).await {
                Err(error) => attempts.after(self, error).await?,
                Ok(rows) => break rows,
            }
        };
        let (mut overdue, mut places, mut tasks) = (Overdue::default(), Vec::new(), Vec::new());
        for row in &rows {
            if row.try_get("", "is_held")? {
                let ord: i32 = row.try_get("", "ord")?;
                overdue.held.extend(due.get(usize::try_from(ord - 1).unwrap_or(usize::MAX)).cloned());
            } else if let Some(task) = read_task(row)? {
                overdue.recorded += 1;
                places.extend(place(row, Some(&task))?);
                tasks.push(task);
            }
        }
        self.tell_of(&places, tasks.iter()).await;
        Ok(overdue)
    }

    async fn record_overdue_once(
        &self,
        due: &[DueReport],
        within: Option<i32>,
        wait: Wait,
        notify: bool,
    ) -> Result<Vec<QueryResult>, StoreError> {
        let query = sqlx::query(OVERDUE.as_str())
            .bind(due.iter().map(|due| due.user_id.clone()).collect::<Vec<_>>())
            .bind(due.iter().map(|due| due.task_id.clone()).collect::<Vec<_>>())
            .bind(due.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
            .bind(within)
            .bind(wait.millis())
            .bind(notify);
        let rows = self.write(query).await?;
        Ok(rows.into_iter().map(QueryResult::from).collect())
    }

    /// A sign of life: the task's next report is due anew from now on. Gives the task as it then is; none where there is
    /// none. `within` is the server's own setting in seconds.
    pub async fn report_alive(
        &self,
        user_id: &str,
        task_id: &str,
        within: Option<i32>,
    ) -> Result<Option<task::Model>, StoreError> {
        let (mut attempts, mut turn) = (Attempts::new(), Turn::new(self));
        loop {
            let query = sqlx::query(ALIVE.as_str())
                .bind(user_id.to_owned())
                .bind(task_id.to_owned())
                .bind(within)
                .bind(turn.wait().millis());
            match self.write(query).await {
                Err(StoreError::Timeout) if turn.next(self).await => {}
                Err(error) => attempts.after(self, error).await?,
                Ok(mut rows) => {
                    let row = rows.pop().map(QueryResult::from);
                    return row.as_ref().map_or(Ok(None), read_task);
                }
            }
        }
    }
}
