//! A task's state as the append gives it back: what of it the record does not say itself. To add a column of the task: a
//! line in each of the two lists; the status rules' tests compare what comes back with the row.

use entity::task::{Column, Model};
use sea_orm::IdenStatic;
use sea_orm::prelude::DateTimeUtc;

use super::record::NewRecord;
use super::rows::Columns;

/// All but what the record itself says: user, task, position, record and time.
const COLUMNS: [Column; 26] = [
    Column::MovedPosition,
    Column::MovedAt,
    Column::StepsFromPosition,
    Column::StepsFromAt,
    Column::CreatedAt,
    Column::Step,
    Column::CompletedCount,
    Column::Status,
    Column::StepStatus,
    Column::Message,
    Column::Tags,
    Column::StartedAt,
    Column::FinishedAt,
    Column::StepProgress,
    Column::TotalSteps,
    Column::Name,
    Column::ErrorCode,
    Column::CancelRequestedAt,
    Column::CancelRequestedBy,
    Column::CancelReason,
    Column::CancelDeliveredAt,
    Column::CancelAcknowledgedAt,
    Column::CancelOutcome,
    Column::CancelMessage,
    Column::ReportWithinSeconds,
    Column::ReportDueAt,
];

/// The columns of a composite value, for a statement's list.
pub(super) fn state_columns(from: &str) -> String {
    COLUMNS.iter().map(|column| format!(r#"{from}."{}""#, column.as_str())).collect::<Vec<_>>().join(", ")
}

/// The state that the next columns are; none where the row has none.
pub(super) fn read_state(
    columns: &mut Columns<'_>,
    record: &NewRecord,
    (position, recorded_at): (i64, DateTimeUtc),
) -> Result<Option<Model>, sqlx::Error> {
    let Some(moved_position) = columns.read()? else { return Ok(None) };
    // As many as `COLUMNS` has, in its order: Rust evaluates the fields as they are written.
    Ok(Some(Model {
        moved_position,
        moved_at: columns.read()?,
        steps_from_position: columns.read()?,
        steps_from_at: columns.read()?,
        created_at: columns.read()?,
        step: columns.read()?,
        completed_count: columns.read()?,
        status: columns.one_of()?,
        step_status: columns.one_of()?,
        message: columns.read()?,
        tags: columns.read()?,
        started_at: columns.read()?,
        finished_at: columns.read()?,
        step_progress: columns.read()?,
        total_steps: columns.read()?,
        name: columns.read()?,
        error_code: columns.read()?,
        cancel_requested_at: columns.read()?,
        cancel_requested_by: columns.read()?,
        cancel_reason: columns.read()?,
        cancel_delivered_at: columns.read()?,
        cancel_acknowledged_at: columns.read()?,
        cancel_outcome: columns.outcome()?,
        cancel_message: columns.read()?,
        report_within_seconds: columns.read()?,
        report_due_at: columns.read()?,
        user_id: record.user_id.clone(),
        task_id: record.task_id.clone(),
        position,
        record_id: record.record_id,
        updated_at: recorded_at,
    }))
}
