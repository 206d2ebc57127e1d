//! `saveTaskHistoryBatch`: many reports at once, all or none.

use async_graphql::{Context, InputObject, Object, SimpleObject};

use super::save::SaveTaskHistoryInput;
use crate::graphql::errors::{Answer, ApiError};
use crate::graphql::session::Session;
use crate::graphql::types::{Task, TaskRecord};
use crate::service::error::Unsettled;
use crate::service::{SaveInput, SavedBatch};

/// Reports that belong together.
#[derive(InputObject)]
pub(crate) struct SaveTaskHistoryBatchInput {
    /// 1 to 10,000 reports, saved together or not at all.
    records: Vec<SaveTaskHistoryInput>,
}

/// What became of the reports.
#[derive(SimpleObject)]
pub(crate) struct SaveTaskHistoryBatchPayload {
    /// How many records are new.
    saved_count: i32,
    /// How many recordIds were there before, and changed nothing; those of a batch that the server itself repeated,
    /// because the answer to its first attempt was lost, are among them.
    duplicate_count: i32,
    /// The records in the order of the input.
    records: Vec<TaskRecord>,
    /// The tasks among them whose cancellation waits for its acknowledgement: stop these, then acknowledge.
    cancelled_tasks: Vec<Task>,
}

impl From<SavedBatch> for SaveTaskHistoryBatchPayload {
    fn from(saved: SavedBatch) -> Self {
        Self {
            saved_count: saved.saved_count,
            duplicate_count: saved.duplicate_count,
            records: saved.records.into_iter().map(TaskRecord::from).collect(),
            cancelled_tasks: saved.cancelled_tasks.into_iter().map(Task::from).collect(),
        }
    }
}

/// The mutation's resolver.
#[derive(Default)]
pub(crate) struct SaveBatchMutation;

#[Object]
impl SaveBatchMutation {
    /// Reports many steps at once, of one task or of many. Who may save one may save many. An error whose outcome is
    /// unknown names the records' ids, in the order of the input, in `extensions.recordIds`: with these the batch can be
    /// repeated safely.
    async fn save_task_history_batch(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The reports, in the order in which they are to count.")] input: SaveTaskHistoryBatchInput,
    ) -> Answer<SaveTaskHistoryBatchPayload> {
        let with_records = context.look_ahead().field("records").exists();
        Some(Box::pin(save_batch(context, input.records.into_iter().map(Into::into).collect(), with_records)).await)
    }
}

async fn save_batch(
    context: &Context<'_>,
    mut inputs: Vec<SaveInput>,
    with_records: bool,
) -> Result<SaveTaskHistoryBatchPayload, ApiError> {
    let session = Session::of(context)?;
    // Known out here, too: whether a batch that is on its way when the time is over gets there is not known.
    let record_ids = inputs.iter_mut().map(|input| *input.record_id.get_or_insert_with(uuid::Uuid::now_v7)).collect();
    let saved = Box::pin(session.in_time(session.service.save_batch(&session.viewer, inputs, with_records))).await;
    Ok(saved.map_err(|error| error.with(Unsettled::Batch(record_ids)))?.into())
}
