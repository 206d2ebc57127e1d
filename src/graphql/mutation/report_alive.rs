//! `reportAlive`: a worker that has nothing to report says that it is still there.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use entity::task;

use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::filter::user;
use crate::graphql::scalars::DateTime;
use crate::graphql::session::Session;

/// Which task is still being worked on.
#[derive(InputObject)]
pub(crate) struct ReportAliveInput {
    /// Whose task; a worker or an admin must name it.
    user_id: Option<ID>,
    /// The worker's own name of the task.
    task_id: ID,
}

/// What the worker is told.
#[derive(SimpleObject)]
pub(crate) struct ReportAlivePayload {
    /// True while a cancellation waits for its acknowledgement, as in a save: stop, then acknowledge.
    cancellation_requested: bool,
    /// When the next report or sign of life is due now; null where none is.
    report_due_at: Option<DateTime>,
}

impl From<task::Model> for ReportAlivePayload {
    fn from(task: task::Model) -> Self {
        Self { cancellation_requested: task.is_cancellation_pending(), report_due_at: task.report_due_at.map(DateTime) }
    }
}

/// The mutation's resolver.
#[derive(Default)]
pub(crate) struct ReportAliveMutation;

#[Object]
impl ReportAliveMutation {
    /// A sign of life of a task: it moves the time at which the next report is due, tells of a cancellation, and writes no
    /// record. Null where there is no such task. Workers and admins may.
    async fn report_alive(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Which task is still being worked on.")] input: ReportAliveInput,
    ) -> Answer<ReportAlivePayload> {
        Box::pin(report(context, input)).await.transpose()
    }
}

async fn report(context: &Context<'_>, input: ReportAliveInput) -> Result<Option<ReportAlivePayload>, ApiError> {
    let session = Session::of(context)?;
    let task = session.service.report_alive(&session.viewer, user(input.user_id), input.task_id.0).await?;
    Ok(task.map(Into::into))
}
