//! `cancelTask`: one task is to stop.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::filter::user;
use crate::graphql::session::Session;
use crate::graphql::types::{CancelTaskOutcome, Task};

/// Which task is to stop, and why.
#[derive(InputObject)]
pub(crate) struct CancelTaskInput {
    /// Whose task: the caller's own if left out; a worker or an admin must name it.
    user_id: Option<ID>,
    /// The worker's own name of the task.
    task_id: ID,
    /// Why, for the worker and for the history: up to 1,000 characters.
    reason: Option<String>,
    /// Cancel even a finished task. Without it a finished task answers `ALREADY_FINISHED`; a COMPLETED one whose totalSteps
    /// is not known may still be going on, and counts as finished here once five minutes have passed without a record.
    #[graphql(default = false)]
    force: bool,
}

/// What became of the request.
#[derive(SimpleObject)]
pub(crate) struct CancelTaskPayload {
    /// Whether the task is cancelled, and by whom first.
    outcome: CancelTaskOutcome,
    /// The task as it is now; null where there is none, or it is not yours.
    task: Option<Task>,
}

/// The mutation's resolver.
#[derive(Default)]
pub(crate) struct CancelMutation;

#[Object]
impl CancelMutation {
    /// Cancels a task: the own ones; workers and admins any. The worker hears of it with its next save.
    async fn cancel_task(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which task is to stop, and why.")] input: CancelTaskInput,
    ) -> Answer<CancelTaskPayload> {
        Some(Box::pin(cancel(context, input)).await)
    }
}

async fn cancel(context: &Context<'_>, input: CancelTaskInput) -> Result<CancelTaskPayload, ApiError> {
    let CancelTaskInput { user_id, task_id, reason, force } = input;
    let session = Session::of(context)?;
    let cancelled = session.service.cancel(&session.viewer, user(user_id), task_id.0, reason, force).await?;
    Ok(CancelTaskPayload { outcome: cancelled.0.into(), task: cancelled.1.map(Task::from) })
}
