//! Cancelling tasks, one or many, and the worker's answer.

use entity::{CancellationOutcome, task};
use uuid::Uuid;

use super::scope::{acknowledged_user, cancellable_user, readable_scope};
use super::{BoundedCount, CancelOutcome, Service, ServiceError, TaskFilter, TaskOrder, input, limits};
use crate::auth::Viewer;
use crate::store::{CancelTerms, Keyset, NewAcknowledgement, NewCancellation, Scope, UNFINISHED};

pub use crate::store::AcknowledgeOutcome;

/// Tasks that one transaction cancels: small, so that no writer waits long for the heads it holds.
const TASKS_AT_ONCE: usize = 200;

/// Which tasks to cancel.
#[derive(Clone, Debug)]
pub struct CancelManyInput {
    /// Whose; left out: all that the viewer may see.
    pub user_id: Option<String>,
    /// Which; at least one criterion.
    pub filter: TaskFilter,
    /// Why.
    pub reason: Option<String>,
    /// At most so many.
    pub limit: i32,
    /// Count and list, change nothing.
    pub dry_run: bool,
}

/// What became of them.
#[derive(Clone, Debug)]
pub struct CancelledMany {
    /// The unfinished tasks that matched when it began.
    pub matched: BoundedCount,
    /// How many were cancelled by this call.
    pub cancelled_count: i32,
    /// These, or with a dry run those that would be.
    pub tasks: Vec<task::Model>,
    /// There are more: call again.
    pub has_more: bool,
}

impl Service {
    /// Cancels one task by the rules; a finished one only with `force`.
    pub async fn cancel(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        task_id: String,
        reason: Option<String>,
        force: bool,
    ) -> Result<(CancelOutcome, Option<task::Model>), ServiceError> {
        input::id("input.taskId", &task_id)?;
        let terms = self.terms(viewer, reason, force)?;
        let Some(user_id) = cancellable_user(viewer, user_id)? else { return Ok((CancelOutcome::NotFound, None)) };
        let item = NewCancellation { user_id, task_id, record_id: Uuid::now_v7() };
        let cancelled = self.store.cancel(std::slice::from_ref(&item), &terms).await?;
        Ok(cancelled.into_iter().next().map_or((CancelOutcome::NotFound, None), |one| (one.outcome, one.task)))
    }

    /// Cancels the unfinished tasks of a filter, oldest update first.
    pub async fn cancel_many(&self, viewer: &Viewer, input: CancelManyInput) -> Result<CancelledMany, ServiceError> {
        if input.filter.is_empty() {
            return Err(ServiceError::bad_input("input.filter", "Give at least one criterion in input.filter."));
        }
        input::filter("input.filter", &input.filter)?;
        input::between("input.limit", input.limit.into(), 1, limits::CANCEL_TASKS.into())?;
        let terms = self.terms(viewer, input.reason, false)?;
        let scope = readable_scope(viewer, input.user_id).map_err(|error| error.at("input.userId"))?;
        let nothing = BoundedCount { value: 0, is_exact: true };
        let Some(scope) = scope else {
            return Ok(CancelledMany { matched: nothing, cancelled_count: 0, tasks: Vec::new(), has_more: false });
        };
        let filter = unfinished(input.filter);
        let limit = u64::try_from(input.limit).unwrap_or(1);
        let count_limit = u64::try_from(limits::COUNT).unwrap_or(limit);
        let (count, is_exact) = self.store.count_tasks(&scope, &filter, count_limit).await?;
        let matched = BoundedCount { value: i64::try_from(count).unwrap_or(i64::MAX), is_exact };
        let (found, has_more) = self.matching(&scope, &filter, limit).await?;
        if input.dry_run {
            return Ok(CancelledMany { matched, cancelled_count: 0, tasks: found, has_more });
        }
        let mut tasks = Vec::new();
        for some in found.chunks(TASKS_AT_ONCE) {
            let item = |task: &task::Model| NewCancellation {
                user_id: task.user_id.clone(),
                task_id: task.task_id.clone(),
                record_id: Uuid::now_v7(),
            };
            let items: Vec<NewCancellation> = some.iter().map(item).collect();
            let cancelled = self.store.cancel(&items, &terms).await?;
            let by_us = cancelled.into_iter().filter(|one| one.outcome == CancelOutcome::Cancelled);
            tasks.extend(by_us.filter_map(|one| one.task));
        }
        let cancelled_count = i32::try_from(tasks.len()).unwrap_or(i32::MAX);
        Ok(CancelledMany { matched, cancelled_count, tasks, has_more })
    }

    /// Takes a worker's answer to a cancellation; the first one counts.
    pub async fn acknowledge(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        task_id: String,
        outcome: CancellationOutcome,
        message: Option<String>,
    ) -> Result<(AcknowledgeOutcome, Option<task::Model>), ServiceError> {
        let user_id = acknowledged_user(viewer, "input.userId", user_id)?;
        input::id("input.taskId", &task_id)?;
        input::characters("input.message", message.as_deref().unwrap_or_default(), limits::REASON_CHARACTERS)?;
        let record_id = Uuid::now_v7();
        let reported_by = viewer.user_id.clone();
        let answer = NewAcknowledgement { user_id, task_id, record_id, outcome, message, reported_by };
        Ok(self.store.acknowledge(&answer).await?)
    }

    fn terms(&self, viewer: &Viewer, reason: Option<String>, force: bool) -> Result<CancelTerms, ServiceError> {
        input::characters("input.reason", reason.as_deref().unwrap_or_default(), limits::REASON_CHARACTERS)?;
        Ok(CancelTerms { reason, requested_by: viewer.user_id.clone(), force, settle: self.settle })
    }

    /// The first tasks of a filter, page by page, and whether there are more.
    async fn matching(
        &self,
        scope: &Scope,
        filter: &TaskFilter,
        limit: u64,
    ) -> Result<(Vec<task::Model>, bool), ServiceError> {
        let page = Keyset { after: None, before: None, limit, backward: false };
        let found = self.store.list_tasks(scope, filter, TaskOrder::UpdatedAsc, &page).await?;
        Ok((found.page.rows, found.page.has_more))
    }
}

/// The filter's tasks that are not finished.
fn unfinished(mut filter: TaskFilter) -> TaskFilter {
    if filter.statuses.is_empty() {
        filter.statuses = UNFINISHED.to_vec();
    } else {
        filter.statuses.retain(|status| UNFINISHED.contains(status));
    }
    if filter.statuses.is_empty() {
        // Only finished ones were asked for: the two criteria exclude each other, and so does this.
        filter.statuses = UNFINISHED.to_vec();
        filter.is_finished = Some(true);
    }
    filter
}
