//! What the feed reads of tasks: those that changed after a position, of one user or of everybody, and the cancellations
//! that wait for their acknowledgement.

use std::sync::LazyLock;

use entity::{task, task_order};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{ConnectionTrait, EntityTrait, FromQueryResult, QueryOrder, QueryResult, QuerySelect, Value};

use super::columns::{HEAD_COLUMNS, TASK_COLUMNS};
use super::feed::{Head, no_row, statement};
use super::{Scope, Store, StoreError};

/// Tasks that changed, each once with its latest state, and the head as it was in the same statement.
#[derive(Clone, Debug)]
pub struct TasksPage {
    /// By position: where each stands now.
    pub tasks: Vec<task::Model>,
    /// The user's head when they were read.
    pub head: Head,
}

/// Where a walk through the open cancellations goes on: after this moment, user and task.
pub type CancellationMark = (DateTimeUtc, String, String);

/// Heads of all users that moved, for those who watch everybody.
#[derive(Clone, Debug)]
pub struct ChangedUsers {
    /// Who, and how far.
    pub users: Vec<(String, i64)>,
    /// What is asked for next time.
    pub xmin: String,
}

static TASKS_CHANGED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {HEAD_COLUMNS}, {tasks} FROM (SELECT) one LEFT JOIN feed_head h ON h.user_id = $1 \
         LEFT JOIN (SELECT t.* FROM task_order o JOIN task t ON t.user_id = o.user_id AND t.task_id = o.task_id \
             WHERE o.user_id = $1 AND o.position > $2 ORDER BY o.position LIMIT $3) t ON true \
         ORDER BY t.position",
        tasks = *TASK_COLUMNS,
    )
});

static TASK_AND_HEAD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {HEAD_COLUMNS}, {tasks} FROM (SELECT) one LEFT JOIN feed_head h ON h.user_id = $1 \
         LEFT JOIN task t ON t.user_id = $1 AND t.task_id = $2",
        tasks = *TASK_COLUMNS,
    )
});

/// Where no position is known, down to the first task that was there at the last snapshot: a user's transactions commit
/// in the order of the positions, so everything below that one was there, too.
static TASKS_SINCE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {tasks} FROM unnest($1::text[], $2::bigint[]) AS q (user_id, position) \
         CROSS JOIN LATERAL (SELECT CASE WHEN q.position >= 0 THEN q.position ELSE coalesce( \
             (SELECT s.position FROM task_order s WHERE s.user_id = q.user_id AND s.xid < (SELECT $3::text::xid8) \
              ORDER BY s.position DESC LIMIT 1), -1) END AS position) b \
         CROSS JOIN LATERAL (SELECT c.* FROM task_order o JOIN task c ON c.user_id = o.user_id AND c.task_id = o.task_id \
             WHERE o.user_id = q.user_id AND o.position > b.position ORDER BY o.position LIMIT $4) t LIMIT $4",
        tasks = *TASK_COLUMNS,
    )
});

const CHANGED_USERS: &str = "SELECT s.xmin, h.user_id, h.position \
     FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin) s \
     LEFT JOIN (SELECT user_id, position FROM feed_head WHERE xid >= (SELECT $1::text::xid8) LIMIT $2) h ON true";

static OPEN_CANCELLATIONS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {tasks} FROM task t \
         WHERE t.cancel_requested_at IS NOT NULL AND t.cancel_acknowledged_at IS NULL \
           AND t.cancel_requested_at > now() - interval '24 hours' AND t.cancel_requested_at >= $1 \
           AND (t.cancel_requested_at, t.user_id, t.task_id) > ($1, $2::text, $3::text) \
           AND ($4::text IS NULL OR t.user_id = $4) \
         ORDER BY t.cancel_requested_at, t.user_id, t.task_id LIMIT $5",
        tasks = *TASK_COLUMNS,
    )
});

fn tasks_from(rows: &[QueryResult]) -> Result<Vec<task::Model>, StoreError> {
    let mut tasks = Vec::with_capacity(rows.len());
    for row in rows {
        if row.try_get::<Option<i64>>("t_", "position")?.is_some() {
            tasks.push(task::Model::from_query_result(row, "t_")?);
        }
    }
    Ok(tasks)
}

impl Store {
    /// A user's tasks that changed after a position, in the order in which they last did. A page that is not full ends at
    /// its head, a full one at its last task (`position`, `updated_at` and `record_id` are the record standing there).
    pub async fn tasks_changed(&self, user: &str, after: i64, limit: u64) -> Result<TasksPage, StoreError> {
        let values = [user.into(), after.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()];
        let rows = self.db.query_all_raw(statement(&TASKS_CHANGED, values)).await?;
        let head = Head::from_row(rows.first().ok_or_else(no_row)?)?;
        let tasks = tasks_from(&rows)?;
        self.learnt(tasks.first().map(|_| user).into_iter());
        Ok(TasksPage { tasks, head })
    }

    /// The tasks of all users that changed last, the latest first.
    pub async fn latest_tasks(&self, limit: u64) -> Result<Vec<task::Model>, StoreError> {
        let order = task_order::Entity::find().order_by_desc(task_order::Column::UpdatedAt);
        let latest = order.order_by_desc(task_order::Column::UserId).order_by_desc(task_order::Column::TaskId);
        let places = latest.limit(limit).all(&self.db).await?;
        let keys: Vec<_> = places.into_iter().map(|place| (place.user_id, place.task_id)).collect();
        self.tasks_by_key(keys).await
    }

    /// One task, if it is there, and the user's head in the same statement.
    pub async fn task_and_head(&self, user: &str, task_id: &str) -> Result<(Option<task::Model>, Head), StoreError> {
        let rows = self.db.query_all_raw(statement(&TASK_AND_HEAD, [user.into(), task_id.into()])).await?;
        let head = Head::from_row(rows.first().ok_or_else(no_row)?)?;
        let task = tasks_from(&rows)?.pop();
        self.learnt(task.as_ref().map(|_| user).into_iter());
        Ok((task, head))
    }

    /// Tasks of many users that changed: after the position known, or where none is, since the snapshot with this xmin.
    /// Never more than `cap`: who gets that many has not seen all.
    pub async fn tasks_since(
        &self,
        users: &[(String, Option<i64>)],
        since_xmin: &str,
        cap: u64,
    ) -> Result<Vec<task::Model>, StoreError> {
        let values = [
            Value::from(users.iter().map(|(user, _)| user.clone()).collect::<Vec<_>>()),
            users.iter().map(|(_, position)| position.unwrap_or(-1)).collect::<Vec<_>>().into(),
            since_xmin.into(),
            i64::try_from(cap).unwrap_or(i64::MAX).into(),
        ];
        let tasks = tasks_from(&self.db.query_all_raw(statement(&TASKS_SINCE, values)).await?)?;
        self.learnt(tasks.iter().map(|task| task.user_id.as_str()));
        Ok(tasks)
    }

    /// Whose heads were written since the snapshot with this xmin, over all users; never more than `cap`. It reads the
    /// whole table: 50 to 70 ms for a million users.
    pub async fn changed_users(&self, since_xmin: &str, cap: u64) -> Result<ChangedUsers, StoreError> {
        let values = [since_xmin.into(), i64::try_from(cap).unwrap_or(i64::MAX).into()];
        let rows = self.db.query_all_raw(statement(CHANGED_USERS, values)).await?;
        let xmin = rows.first().ok_or_else(no_row)?.try_get("", "xmin")?;
        let mut users = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(user) = row.try_get::<Option<String>>("", "user_id")? {
                users.push((user, row.try_get("", "position")?));
            }
        }
        Ok(ChangedUsers { users, xmin })
    }

    /// Tasks cancelled in the last 24 hours and not acknowledged, of one user or of everybody, oldest request first, after
    /// a mark (none: from the first).
    pub async fn open_cancellations(
        &self,
        scope: &Scope,
        after: Option<&CancellationMark>,
        limit: u64,
    ) -> Result<Vec<task::Model>, StoreError> {
        let (at, mark_user, mark_task) =
            after.map_or((DateTimeUtc::UNIX_EPOCH, "", ""), |(at, user, task)| (*at, user.as_str(), task.as_str()));
        let user = match scope {
            Scope::User(user) => Some(user.clone()),
            Scope::Everyone => None,
        };
        let values = [
            at.into(),
            mark_user.into(),
            mark_task.into(),
            user.into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
        ];
        tasks_from(&self.db.query_all_raw(statement(&OPEN_CANCELLATIONS, values)).await?)
    }
}
