//! `Task`: the current state of one unit of work.

use async_graphql::{Context, ID, Object};
use entity::task;

use super::{Cancellation, TaskRecordConnection, TaskStatus, TaskStepConnection};
use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::node::Key;
use crate::graphql::scalars::{DateTime, Json, SafeInt};
use crate::graphql::session::Session;
use crate::service::watch::MovingRecord;
use crate::service::{PageArgs, StoredStepResult};

/// A task, with what of it needs a further read left for when it is asked for.
pub(crate) struct Task {
    task: task::Model,
    /// The record that last moved it, where it came along.
    moved_by: Option<MovingRecord>,
}

impl From<task::Model> for Task {
    fn from(task: task::Model) -> Self {
        Self::moved(task, None)
    }
}

impl Task {
    /// A task as a change left it, with the record that moved it if it is at hand.
    pub(crate) fn moved(task: task::Model, moved_by: Option<MovingRecord>) -> Self {
        Self { task, moved_by }
    }

    /// The task as it is stored.
    pub(super) fn model(&self) -> &task::Model {
        &self.task
    }

    /// For `taskStatus`, which is this field without the task.
    pub(crate) fn current_status(&self) -> TaskStatus {
        self.task.status.into()
    }

    /// What the record says that last moved the task; none where retention has removed it.
    async fn moved_by(&self, context: &Context<'_>) -> Result<Option<StoredStepResult>, ApiError> {
        if let Some(moved_by) = &self.moved_by {
            return Ok(Some(StoredStepResult::parse(&moved_by.record().result)));
        }
        let record = Box::pin(Session::of(context)?.moved_by(&self.task)).await?;
        Ok(record.map(|record| StoredStepResult::parse(&record.result)))
    }
}

/// One unit of background work of one user. It is known by (userId, taskId) and made of numbered steps.
#[Object]
impl Task {
    /// Global and opaque: for `node` and for caches. It is never what an argument `taskId` asks for.
    pub(crate) async fn id(&self) -> ID {
        Key::from(&self.task).encode()
    }

    /// Whose task it is.
    async fn user_id(&self) -> ID {
        ID(self.task.user_id.clone())
    }

    /// The worker's own name of the task, unique within the user.
    async fn task_id(&self) -> ID {
        ID(self.task.task_id.clone())
    }

    /// What people call it, where a worker has said so.
    async fn name(&self) -> Option<&str> {
        self.task.name.as_deref()
    }

    /// Labels to find it by, as the worker gave them.
    async fn tags(&self) -> &[String] {
        &self.task.tags
    }

    /// The status of the highest step recorded. CANCELLED once the task is cancelled, whatever is reported later. With
    /// totalSteps known it is COMPLETED only when that many distinct steps have completed; until then RUNNING, or FAILED
    /// or `TIMED_OUT` where a step's latest record says so.
    async fn status(&self) -> TaskStatus {
        self.current_status()
    }

    /// Whether the status is COMPLETED, FAILED, CANCELLED or `TIMED_OUT`. A retry can move a finished task on.
    async fn is_finished(&self) -> bool {
        self.task.status.is_finished()
    }

    /// The position of the record that last changed anything of this task. Of two states of one task the one with the
    /// higher position is the newer: a cache keeps that one.
    async fn position(&self) -> SafeInt {
        self.task.position.into()
    }

    /// The highest step number that a worker has reported.
    async fn step(&self) -> i32 {
        self.task.step
    }

    /// How many steps there will be, where a worker has said so.
    async fn total_steps(&self) -> Option<i32> {
        self.task.total_steps
    }

    /// The completed distinct steps, and the fraction of the running one, over totalSteps: 0 to 1. Null while totalSteps
    /// is not known.
    async fn progress(&self) -> Option<f64> {
        self.task.progress()
    }

    /// From the record that last moved the task; empty where that gave none.
    async fn message(&self) -> &str {
        &self.task.message
    }

    /// From the record that last moved the task: the worker's own value.
    async fn result(&self, context: &Context<'_>) -> Answer<Json> {
        let moved = self.moved_by(context).await;
        let result = moved.and_then(|moved| moved.map_or(Ok(None), |moved| moved.result).map_err(ApiError::unreadable));
        result.map(|value| value.map(Json::Stored)).transpose()
    }

    /// From the record that last moved the task: the worker's code for what went wrong.
    async fn error_code(&self) -> Option<&str> {
        self.task.error_code.as_deref()
    }

    /// From the record that last moved the task: what went wrong, in words.
    async fn error_message(&self, context: &Context<'_>) -> Answer<String> {
        let moved = self.moved_by(context).await;
        moved.map(|moved| moved.and_then(|moved| moved.error_message)).transpose()
    }

    /// When its first record was appended, by the database's clock.
    async fn created_at(&self) -> DateTime {
        self.task.created_at.into()
    }

    /// When the first record that is not PENDING was appended.
    async fn started_at(&self) -> Option<DateTime> {
        self.task.started_at.map(DateTime)
    }

    /// When its latest record was appended, by the database's clock. It never goes back, so `UPDATED_DESC` is the order of
    /// the feed.
    async fn updated_at(&self) -> DateTime {
        self.task.updated_at.into()
    }

    /// When the record was appended that finished it; null while it goes on.
    async fn finished_at(&self) -> Option<DateTime> {
        self.task.finished_at.map(DateTime)
    }

    /// The request to cancel it, where there was one.
    async fn cancellation(&self) -> Option<Cancellation> {
        Cancellation::of(&self.task)
    }

    /// When the next report is due; without one by then, or a sign of life, the server records `TIMED_OUT`. Null where none
    /// is. A sign of life moves only this, and no position.
    async fn report_due_at(&self) -> Option<DateTime> {
        self.task.report_due_at.map(DateTime)
    }

    /// Its steps by number: what a timeline draws. Pages end early as those of history do.
    async fn steps(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "At most so many, from the beginning: 0 to 500, 50 if left out.")] first: Option<i32>,
        #[graphql(desc = "Only what stands behind this cursor.")] after: Option<String>,
        #[graphql(desc = "At most so many, from the end: 0 to 500.")] last: Option<i32>,
        #[graphql(desc = "Only what stands before this cursor.")] before: Option<String>,
    ) -> Answer<TaskStepConnection> {
        let page = PageArgs { first, after, last, before };
        Some(Box::pin(TaskStepConnection::of(context, &self.task, page)).await)
    }

    /// Every record of the task, oldest first. The results of a page come to no more than 4 MiB, or it has one alone: it may hold
    /// fewer records than asked, while hasNextPage (backward: hasPreviousPage) is true; go on from endCursor (startCursor).
    async fn history(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "At most so many, from the beginning: 0 to 500, 50 if left out.")] first: Option<i32>,
        #[graphql(desc = "Only what stands behind this cursor.")] after: Option<String>,
        #[graphql(desc = "At most so many, from the end: 0 to 500.")] last: Option<i32>,
        #[graphql(desc = "Only what stands before this cursor.")] before: Option<String>,
    ) -> Answer<TaskRecordConnection> {
        let page = PageArgs { first, after, last, before };
        Some(Box::pin(TaskRecordConnection::of_task(context, &self.task, page)).await)
    }
}
