//! What a list of tasks asks for: as SQL for the lists, and against one row for the subscriptions. The two say the same;
//! a test holds them together. To add a criterion: a field, a line in [`TaskFilter::condition`], one in
//! [`TaskFilter::matches`].

use entity::{TaskStatus, task};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::sea_query::{DynIden, Expr, ExprTrait};
use sea_orm::{ColumnTrait, Condition};

/// All that is given must hold. An empty list is the same as none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskFilter {
    /// Any of these.
    pub statuses: Vec<TaskStatus>,
    /// COMPLETED, FAILED, CANCELLED or `TIMED_OUT`; or not.
    pub is_finished: Option<bool>,
    /// Any of these, exactly.
    pub names: Vec<String>,
    /// Any of these, exactly.
    pub task_ids: Vec<String>,
    /// What the task's id begins with.
    pub task_id_prefix: Option<String>,
    /// All of these.
    pub tags: Vec<String>,
    /// Any of these, exactly.
    pub error_codes: Vec<String>,
    /// Created then or later.
    pub created_from: Option<DateTimeUtc>,
    /// Created before.
    pub created_before: Option<DateTimeUtc>,
    /// Updated then or later.
    pub updated_from: Option<DateTimeUtc>,
    /// Updated before.
    pub updated_before: Option<DateTimeUtc>,
    /// Finished then or later.
    pub finished_from: Option<DateTimeUtc>,
    /// Finished before.
    pub finished_before: Option<DateTimeUtc>,
    /// Cancelled, and not acknowledged yet; or not so.
    pub cancellation_pending: Option<bool>,
}

impl TaskFilter {
    /// Whether it lets everything through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The statuses that it lets through, from `statuses` and `is_finished` together; none: all six.
    pub(super) fn effective_statuses(&self) -> Option<Vec<TaskStatus>> {
        if self.statuses.is_empty() && self.is_finished.is_none() {
            return None;
        }
        let asked = TaskStatus::ALL.into_iter().filter(|status| {
            (self.statuses.is_empty() || self.statuses.contains(status))
                && self.is_finished.is_none_or(|finished| status.is_finished() == finished)
        });
        Some(asked.collect())
    }

    /// Everything but the statuses, which the list turns into ranges of its index. `walked` is the table that a list walks:
    /// it knows a task's tags, too.
    pub(super) fn condition(&self, walked: &DynIden) -> Condition {
        // Only here: it gives every Vec a `contains` of its own.
        use sea_orm::sea_query::extension::postgres::PgExpr;

        let mut all = Condition::all();
        if !self.names.is_empty() {
            all = all.add(task::Column::Name.eq_any(self.names.iter().cloned()));
        }
        if !self.task_ids.is_empty() {
            all = all.add(task::Column::TaskId.eq_any(self.task_ids.iter().cloned()));
        }
        if let Some(prefix) = &self.task_id_prefix {
            // Not LIKE: nothing in a prefix is a wildcard, and "C" collation makes it a range.
            all = all.add(Expr::cust_with_expr("starts_with(\"task\".\"task_id\", $1)", prefix.clone()));
        }
        if !self.tags.is_empty() {
            all = all.add(Expr::col((walked.clone(), task::Column::Tags)).contains(self.tags.clone()));
        }
        if !self.error_codes.is_empty() {
            all = all.add(task::Column::ErrorCode.eq_any(self.error_codes.iter().cloned()));
        }
        all.add_option(self.created_from.map(|at| task::Column::CreatedAt.gte(at)))
            .add_option(self.created_before.map(|at| task::Column::CreatedAt.lt(at)))
            .add_option(self.updated_from.map(|at| task::Column::UpdatedAt.gte(at)))
            .add_option(self.updated_before.map(|at| task::Column::UpdatedAt.lt(at)))
            .add_option(self.finished_from.map(|at| task::Column::FinishedAt.gte(at)))
            .add_option(self.finished_before.map(|at| task::Column::FinishedAt.lt(at)))
            .add_option(self.cancellation_pending.map(|pending| {
                let open =
                    task::Column::CancelRequestedAt.is_not_null().and(task::Column::CancelAcknowledgedAt.is_null());
                if pending { open } else { open.not() }
            }))
    }

    /// Whether this state of a task is in the filter.
    #[must_use]
    pub fn matches(&self, task: &task::Model) -> bool {
        let within = |at: Option<DateTimeUtc>, from: Option<DateTimeUtc>, before: Option<DateTimeUtc>| {
            (from.is_none() && before.is_none())
                || at.is_some_and(|at| from.is_none_or(|from| at >= from) && before.is_none_or(|before| at < before))
        };
        let any_of = |wanted: &[String], value: Option<&String>| {
            wanted.is_empty() || value.is_some_and(|value| wanted.contains(value))
        };
        self.effective_statuses().is_none_or(|statuses| statuses.contains(&task.status))
            && any_of(&self.names, task.name.as_ref())
            && any_of(&self.task_ids, Some(&task.task_id))
            && self.task_id_prefix.as_ref().is_none_or(|prefix| task.task_id.starts_with(prefix.as_str()))
            && self.tags.iter().all(|tag| task.tags.contains(tag))
            && any_of(&self.error_codes, task.error_code.as_ref())
            && within(Some(task.created_at), self.created_from, self.created_before)
            && within(Some(task.updated_at), self.updated_from, self.updated_before)
            && within(task.finished_at, self.finished_from, self.finished_before)
            && self.cancellation_pending.is_none_or(|pending| task.is_cancellation_pending() == pending)
    }
}
