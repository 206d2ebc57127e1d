//! `acknowledgeCancellation`: a worker answers a cancellation.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::filter::user;
use crate::graphql::session::Session;
use crate::graphql::types::{AcknowledgeCancellationOutcome, CancellationOutcome, Task};

/// A worker's answer to a cancellation.
#[derive(InputObject)]
pub(crate) struct AcknowledgeCancellationInput {
    /// Whose task; a worker or an admin must name it.
    user_id: Option<ID>,
    /// The worker's own name of the task.
    task_id: ID,
    /// What the worker did with the cancellation.
    outcome: CancellationOutcome,
    /// What the worker adds to it, up to 1,000 characters.
    message: Option<String>,
}

/// What became of the answer. The first one counts; a later one changes nothing.
#[derive(SimpleObject)]
pub(crate) struct AcknowledgeCancellationPayload {
    /// Whether the answer counts.
    outcome: AcknowledgeCancellationOutcome,
    /// The task as it is now; null where there is none.
    task: Option<Task>,
}

/// The mutation's resolver.
#[derive(Default)]
pub(crate) struct AcknowledgeMutation;

#[Object]
impl AcknowledgeMutation {
    /// Answers a cancellation. Workers and admins may.
    async fn acknowledge_cancellation(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which task, and what the worker did.")] input: AcknowledgeCancellationInput,
    ) -> Answer<AcknowledgeCancellationPayload> {
        Some(Box::pin(acknowledge(context, input)).await)
    }
}

async fn acknowledge(
    context: &Context<'_>,
    input: AcknowledgeCancellationInput,
) -> Result<AcknowledgeCancellationPayload, ApiError> {
    let AcknowledgeCancellationInput { user_id, task_id, outcome, message } = input;
    let session = Session::of(context)?;
    let (viewer, user_id) = (&session.viewer, user(user_id));
    let (outcome, task) = session.service.acknowledge(viewer, user_id, task_id.0, outcome.into(), message).await?;
    Ok(AcknowledgeCancellationPayload { outcome: outcome.into(), task: task.map(Task::from) })
}
