//! Counts of tasks, by status and by when they finished. `task_order` has all that they need, and is a quarter of `task`;
//! only what a task is called stands there alone.

use entity::TaskStatus;
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{
    AccessMode, ActiveEnum, ConnectionTrait, DbErr, IsolationLevel, QueryResult, TransactionTrait, TryGetable as _,
    Value,
};

use super::feed::{no_row, statement};
use super::{Scope, Store, StoreError};

/// A span of time, cut into equal parts that begin at whole minutes, hours or days in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// From then on.
    pub since: DateTimeUtc,
    /// Until before then.
    pub until: DateTimeUtc,
    /// How long a part is.
    pub bucket_seconds: u32,
}

/// What the tasks of a scope are now, and which of them finished within a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskCounts {
    /// How many tasks have which status, whatever the window; one that none has is missing.
    pub by_status: Vec<(TaskStatus, i64)>,
    /// How many finished in the bucket that begins then, by what they finished as; in no order.
    pub finished: Vec<(DateTimeUtc, TaskStatus, i64)>,
    /// How long those took that finished in the window and had started; none where there is none.
    pub durations: Option<Durations>,
}

/// How long tasks took from start to finish, in seconds. The shares are those of real tasks, to a hundredth of themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Durations {
    /// Half of them took as long or less.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 99 of a hundred.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// Durations that lie within a hundredth of each other, together: sorting a million of them takes longer than all else.
struct Cell {
    count: i64,
    longest: f64,
}

impl Durations {
    /// From all cells, the shortest durations first.
    fn of(cells: &[Cell]) -> Option<Self> {
        let all: i64 = cells.iter().map(|cell| cell.count).sum();
        let max = cells.last()?.longest;
        let share = |percent: i64| {
            let (mut before, wanted) = (0, (all * percent + 99) / 100);
            let cell = cells.iter().find(|cell| {
                before += cell.count;
                before >= wanted
            });
            cell.map_or(max, |cell| cell.longest)
        };
        Some(Self { p50: share(50), p90: share(90), p99: share(99), max })
    }
}

impl Store {
    /// What time the database has.
    pub async fn now(&self) -> Result<DateTimeUtc, StoreError> {
        let rows = self.query_all("SELECT clock_timestamp() AS now", Vec::new()).await?;
        Ok(rows.first().ok_or_else(no_row)?.try_get("", "now")?)
    }

    /// Counts the tasks of a scope, all or those with this name, in one snapshot.
    pub async fn count_by_status(
        &self,
        scope: &Scope,
        name: Option<&str>,
        window: &Window,
    ) -> Result<TaskCounts, StoreError> {
        let [counts, durations] = statements(scope, name, window);
        let read = async {
            let snapshot =
                self.db.begin_with_config(Some(IsolationLevel::RepeatableRead), Some(AccessMode::ReadOnly)).await?;
            let counted = snapshot.query_all_raw(statement(&counts.0, counts.1)).await?;
            let lasted = snapshot.query_all_raw(statement(&durations.0, durations.1)).await?;
            snapshot.commit().await?;
            Ok::<_, DbErr>((counted, lasted))
        };
        let (counted, lasted) = self.within_time(read).await??;
        let mut all = TaskCounts::default();
        for row in &counted {
            all.add(row)?;
        }
        let cell =
            |row: &QueryResult| Ok(Cell { count: row.try_get("", "count")?, longest: row.try_get("", "longest")? });
        let cells: Vec<Cell> = lasted.iter().map(cell).collect::<Result<_, DbErr>>()?;
        Ok(TaskCounts { durations: Durations::of(&cells), ..all })
    }
}

impl TaskCounts {
    fn add(&mut self, row: &QueryResult) -> Result<(), StoreError> {
        let status = TaskStatus::try_from_value(&String::try_get(row, "", "status").map_err(DbErr::from)?)?;
        let count: i64 = row.try_get("", "count")?;
        match self.by_status.iter_mut().find(|(known, _)| *known == status) {
            Some((_, sum)) => *sum += count,
            None => self.by_status.push((status, count)),
        }
        if let Some(start) = row.try_get("", "start")? {
            self.finished.push((start, status, count));
        }
        Ok(())
    }
}

/// The two questions: how many by status and bucket (no bucket: not within the window), and how long they took.
pub(super) fn statements(scope: &Scope, name: Option<&str>, window: &Window) -> [(String, Vec<Value>); 2] {
    let mut values: Vec<Value> = vec![window.since.into(), window.until.into()];
    let mut only = Vec::new();
    if let Scope::User(user_id) = scope {
        values.push(user_id.as_str().into());
        only.push(format!("user_id = ${}", values.len()));
    }
    if let Some(name) = name {
        values.push(name.into());
        only.push(format!("name = ${}", values.len()));
    }
    let only = if only.is_empty() { "true".to_owned() } else { only.join(" AND ") };
    let table = if name.is_some() { "task" } else { "task_order" };
    let within = "finished_at >= $1 AND finished_at < $2";
    let counts = format!(
        "SELECT status, CASE WHEN {within} THEN date_bin('{} seconds', finished_at, 'epoch') END AS start, \
         count(*) AS count FROM {table} WHERE {only} GROUP BY 1, 2",
        window.bucket_seconds
    );
    // A cell is a hundredth long. What took no time at all has no logarithm.
    let durations = format!(
        "SELECT floor(ln(greatest(seconds, 0.0000001)) / ln(1.01::double precision)) AS cell, count(*) AS count, \
                max(seconds) AS longest \
         FROM (SELECT date_part('epoch', finished_at - started_at) AS seconds FROM {table} \
               WHERE {only} AND {within} AND started_at IS NOT NULL) t GROUP BY 1 ORDER BY 1"
    );
    [(counts, values.clone()), (durations, values)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_the_duration_that_so_many_do_not_exceed() {
        let cells = |all: &[(i64, f64)]| {
            Durations::of(
                &all.iter().map(|(count, longest)| Cell { count: *count, longest: *longest }).collect::<Vec<_>>(),
            )
        };
        assert_eq!(cells(&[]), None);
        let durations = |p50, p90, p99, max| Some(Durations { p50, p90, p99, max });
        assert_eq!(cells(&[(1, 2.0)]), durations(2.0, 2.0, 2.0, 2.0));
        assert_eq!(cells(&[(1, 1.0), (1, 2.0)]), durations(1.0, 2.0, 2.0, 2.0));
        assert_eq!(cells(&[(50, 1.0), (40, 2.0), (9, 3.0), (1, 4.0)]), durations(1.0, 2.0, 3.0, 4.0));
        assert_eq!(cells(&[(51, 1.0), (40, 2.0), (9, 3.0)]), durations(1.0, 2.0, 3.0, 3.0));
    }
}
