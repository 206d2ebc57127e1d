//! `saveTaskHistory`: a worker reports a step.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::filter::user;
use crate::graphql::scalars::{DateTime, Json, Uuid};
use crate::graphql::session::Session;
use crate::graphql::types::{Task, TaskRecord, TaskStatus};
use crate::service::error::Unsettled;
use crate::service::{SaveInput, Saved, StepResult, TaskDetails};

/// What a worker reports of a step.
#[derive(InputObject)]
pub(crate) struct TaskStepResultInput {
    /// What people call the step; up to 255 characters.
    step_name: String,
    /// Where the step stands.
    status: TaskStatus,
    /// Whether the step is done. If left out: whether the status is COMPLETED.
    completed: Option<bool>,
    /// How far this step is, 0 to 1.
    progress: Option<f64>,
    /// What to tell people, up to 16 KiB.
    message: Option<String>,
    /// The worker's own value, up to 256 KiB and 64 levels deep.
    result: Option<Json>,
    /// The worker's code for what went wrong, up to 64 characters.
    error_code: Option<String>,
    /// What went wrong, in words, up to 16 KiB.
    error_message: Option<String>,
}

/// Facts about the task itself. What is left out stays as it was, and the empty value clears it.
#[derive(InputObject)]
pub(crate) struct TaskDetailsInput {
    /// What people call the task; up to 255 characters.
    name: Option<String>,
    /// Labels to find it by: up to 32 of 1 to 64 characters.
    tags: Option<Vec<String>>,
    /// How many steps there will be, 1 to 1,000,000.
    total_steps: Option<i32>,
    /// The task starts again, as a retry does: its steps count from this record on.
    #[graphql(default = false)]
    restart: bool,
    /// Seconds until the next report is due, counted from each report of an unfinished task: 1 to 31,536,000. Without a
    /// report or a sign of life by then the server records `TIMED_OUT`. 0 turns it off.
    report_within_seconds: Option<i32>,
}

/// One report of one step.
#[derive(InputObject)]
pub(crate) struct SaveTaskHistoryInput {
    /// Whose task: the caller's own if left out; a worker or an admin must name it.
    user_id: Option<ID>,
    /// The worker's own name of the task; the first report of it makes the task.
    task_id: ID,
    /// Which step, 0 to 1,000,000.
    step: i32,
    /// What is reported of the step.
    step_result: TaskStepResultInput,
    /// What is to be known of the task itself.
    task: Option<TaskDetailsInput>,
    /// Makes the save idempotent: the same recordId of the same user within 7 days, while the record is kept, changes
    /// nothing and answers with the first record; for another task or step it is `BAD_USER_INPUT`. Without one the server
    /// gives one, and an error whose outcome is unknown names it in `extensions.recordId`.
    record_id: Option<Uuid>,
    /// When it happened by the reporter's clock, at most 5 minutes ahead; now, if left out.
    timestamp: Option<DateTime>,
}

impl From<TaskStepResultInput> for StepResult {
    fn from(input: TaskStepResultInput) -> Self {
        Self {
            step_name: input.step_name,
            status: input.status.into(),
            completed: input.completed,
            progress: input.progress,
            message: input.message,
            result: input.result.map(Json::into_value),
            error_code: input.error_code,
            error_message: input.error_message,
        }
    }
}

impl From<TaskDetailsInput> for TaskDetails {
    fn from(input: TaskDetailsInput) -> Self {
        Self {
            name: input.name,
            tags: input.tags,
            total_steps: input.total_steps,
            restart: input.restart,
            report_within_seconds: input.report_within_seconds,
            report_within_default: None,
        }
    }
}

impl From<SaveTaskHistoryInput> for SaveInput {
    fn from(input: SaveTaskHistoryInput) -> Self {
        Self {
            user_id: user(input.user_id),
            task_id: input.task_id.0,
            step: input.step,
            step_result: input.step_result.into(),
            task: input.task.map(Into::into),
            record_id: input.record_id.map(|id| id.0),
            timestamp: input.timestamp.map(|moment| moment.0),
        }
    }
}

/// What became of a report.
#[derive(SimpleObject)]
pub(crate) struct SaveTaskHistoryPayload {
    /// The record as it stands; of a duplicate, the first one.
    record: TaskRecord,
    /// The task as this very record left it; where isDuplicate is true, as it is now.
    task: Task,
    /// Whether the recordId was there before: then nothing was changed. Also true where the server repeated this very
    /// save, because the answer to its first attempt was lost.
    is_duplicate: bool,
    /// True while a cancellation waits for its acknowledgement: stop, then acknowledge.
    cancellation_requested: bool,
}

impl From<Saved> for SaveTaskHistoryPayload {
    fn from(saved: Saved) -> Self {
        Self {
            cancellation_requested: saved.task.is_cancellation_pending(),
            record: Arc::unwrap_or_clone(saved.record).into(),
            task: Arc::unwrap_or_clone(saved.task).into(),
            is_duplicate: saved.is_duplicate,
        }
    }
}

/// The mutation's resolver.
#[derive(Default)]
pub(crate) struct SaveMutation;

#[Object]
impl SaveMutation {
    /// Reports a step. Workers and admins may; users for themselves where the operator allows it.
    async fn save_task_history(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The report, for one step of one task.")] input: SaveTaskHistoryInput,
    ) -> Answer<SaveTaskHistoryPayload> {
        Some(Box::pin(save(context, input.into())).await)
    }
}

async fn save(context: &Context<'_>, mut input: SaveInput) -> Result<SaveTaskHistoryPayload, ApiError> {
    let session = Session::of(context)?;
    // Known out here, too: a save that is on its way when the time is over goes on, and can be asked about.
    let record_id = *input.record_id.get_or_insert_with(uuid::Uuid::now_v7);
    let saved = session.in_time(session.service.save(&session.viewer, input)).await;
    Ok(saved.map_err(|error| error.with(Unsettled::One(record_id)))?.into())
}
