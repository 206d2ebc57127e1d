//! Cancelling tasks, one or many, and the worker's answer.

use entity::{CancellationOutcome, task};
use uuid::Uuid;

use super::scope::{attended_user, cancellable_user, readable_scope};
use super::{BoundedCount, CancelOutcome, Service, ServiceError, TaskFilter, TaskOrder, input, limits};
use crate::auth::Viewer;
use crate::store::{CancelTerms, Keyset, NewAcknowledgement, NewCancellation, Scope, TaskKey, UNFINISHED};

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

    /// Cancels the unfinished tasks of a filter, latest update first: those stand in front, however many have ended.
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
        let terms = (!input.dry_run).then_some(&terms);
        let (tasks, has_more) = self.cancel_matching(&scope, &filter, limit, terms).await?;
        let cancelled_count = if input.dry_run { 0 } else { i32::try_from(tasks.len()).unwrap_or(i32::MAX) };
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
        let user_id = attended_user(viewer, "input.userId", user_id)?;
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

    /// Walks through the list to its end, or to the limit, cancelling what matches as it comes, so that a call that
    /// runs out of time has done something; without terms it only looks. Gives what was cancelled, and whether there is
    /// more.
    async fn cancel_matching(
        &self,
        scope: &Scope,
        filter: &TaskFilter,
        limit: u64,
        terms: Option<&CancelTerms>,
    ) -> Result<(Vec<task::Model>, bool), ServiceError> {
        let order = TaskOrder::UpdatedDesc;
        let first = Keyset { after: None, before: None, limit: 1, backward: false };
        let first = self.store.list_tasks(scope, &TaskFilter::default(), order, &first).await?;
        let first = first.page.rows.first().map(|task| TaskKey::of(task, order));
        let mut page = Keyset { after: None, before: None, limit, backward: false };
        let mut tasks = Vec::new();
        loop {
            let found = self.store.list_tasks(scope, filter, order, &page).await?;
            page.limit = page.limit.saturating_sub(u64::try_from(found.page.rows.len()).unwrap_or(u64::MAX));
            match terms {
                Some(terms) => tasks.extend(self.cancel_each(&found.page.rows, terms).await?),
                None => tasks.extend(found.page.rows),
            }
            match found.ended_at {
                // A look at a part of the list: it goes on from here.
                Some(key) => page.after = Some(key),
                // A walk of several looks may have missed what moved to the front meanwhile: it is looked at last.
                None if page.after.is_some() && !found.page.has_more && terms.is_some() => {
                    page = Keyset { after: None, before: first.clone(), ..page };
                }
                None => return Ok((tasks, found.page.has_more)),
            }
        }
    }

    /// Cancels these tasks, and gives those that this call has cancelled.
    async fn cancel_each(&self, tasks: &[task::Model], terms: &CancelTerms) -> Result<Vec<task::Model>, ServiceError> {
        let mut by_us = Vec::new();
        for some in tasks.chunks(TASKS_AT_ONCE) {
            let item = |task: &task::Model| NewCancellation {
                user_id: task.user_id.clone(),
                task_id: task.task_id.clone(),
                record_id: Uuid::now_v7(),
            };
            let items: Vec<NewCancellation> = some.iter().map(item).collect();
            let cancelled = self.store.cancel(&items, terms).await?;
            let ours = cancelled.into_iter().filter(|one| one.outcome == CancelOutcome::Cancelled);
            by_us.extend(ours.filter_map(|one| one.task));
        }
        Ok(by_us)
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
