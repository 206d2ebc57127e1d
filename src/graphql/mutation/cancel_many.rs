//! `cancelTasks`: all unfinished tasks of a filter are to stop.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::filter::{TaskFilterInput, user};
use crate::graphql::session::Session;
use crate::graphql::types::{BoundedCount, Task};
use crate::service::{CancelManyInput, CancelledMany};

/// Which tasks are to stop, and why.
#[derive(InputObject)]
pub(crate) struct CancelTasksInput {
    /// Whose tasks: all that the caller may see if left out.
    user_id: Option<ID>,
    /// Which tasks; at least one criterion must be given.
    filter: TaskFilterInput,
    /// Why, for the workers and for the history: up to 1,000 characters.
    reason: Option<String>,
    /// At most so many are cancelled by this call.
    #[graphql(default = 1000)]
    limit: i32,
    /// Count and list them, change nothing.
    #[graphql(default = false)]
    dry_run: bool,
}

impl From<CancelTasksInput> for CancelManyInput {
    fn from(input: CancelTasksInput) -> Self {
        Self {
            user_id: user(input.user_id),
            filter: input.filter.into(),
            reason: input.reason,
            limit: input.limit,
            dry_run: input.dry_run,
        }
    }
}

/// What became of the tasks.
#[derive(SimpleObject)]
pub(crate) struct CancelTasksPayload {
    /// The unfinished tasks that matched when it began.
    matched: BoundedCount,
    /// How many were cancelled by this very call.
    cancelled_count: i32,
    /// These tasks as they are now; with dryRun, those that would be cancelled.
    tasks: Vec<Task>,
    /// Whether there are more: call again.
    has_more: bool,
}

impl From<CancelledMany> for CancelTasksPayload {
    fn from(cancelled: CancelledMany) -> Self {
        Self {
            matched: cancelled.matched.into(),
            cancelled_count: cancelled.cancelled_count,
            tasks: cancelled.tasks.into_iter().map(Task::from).collect(),
            has_more: cancelled.has_more,
        }
    }
}

/// The mutation's resolver.
#[derive(Default)]
pub(crate) struct CancelManyMutation;

#[Object]
impl CancelManyMutation {
    /// Cancels the unfinished tasks of a filter: the own ones; workers and admins any.
    async fn cancel_tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which tasks are to stop, and why.")] input: CancelTasksInput,
    ) -> Answer<CancelTasksPayload> {
        Some(Box::pin(cancel_many(context, input.into())).await)
    }
}

async fn cancel_many(context: &Context<'_>, input: CancelManyInput) -> Result<CancelTasksPayload, ApiError> {
    let session = Session::of(context)?;
    Ok(session.service.cancel_many(&session.viewer, input).await?.into())
}
