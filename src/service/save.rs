//! Saving reports: checked here, numbered and summed up by the append path.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::{TaskStatus, task, task_record};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::error::Unsettled;
use super::{Saved, Service, ServiceError, TaskDetails, input, limits};
use crate::auth::Viewer;
use crate::store::{Counted, NewRecord, StoreError};

/// When somebody is to try again for whose batch there was no room.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A report, as it came in.
#[derive(Clone, Debug)]
pub struct SaveInput {
    /// Whose task; left out: the caller's own.
    pub user_id: Option<String>,
    /// Which task.
    pub task_id: String,
    /// Which step.
    pub step: i32,
    /// What is reported.
    pub step_result: StepResult,
    /// Facts about the task itself.
    pub task: Option<TaskDetails>,
    /// Makes the save idempotent.
    pub record_id: Option<Uuid>,
    /// When it happened, by the reporter's clock.
    pub timestamp: Option<DateTime<Utc>>,
}

/// What is reported of a step.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// What people call the step.
    pub step_name: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// Left out: whether the status is COMPLETED.
    pub completed: Option<bool>,
    /// How far it is, 0 to 1.
    pub progress: Option<f64>,
    /// In words.
    pub message: Option<String>,
    /// The worker's own value.
    pub result: Option<Value>,
    /// The worker's code for the error.
    pub error_code: Option<String>,
    /// The error in words.
    pub error_message: Option<String>,
}

/// What became of a batch.
#[derive(Clone, Debug)]
pub struct SavedBatch {
    /// Records that are new.
    pub saved_count: i32,
    /// Records that were there before.
    pub duplicate_count: i32,
    /// In the order of the input; only where they were asked for.
    pub records: Vec<task_record::Model>,
    /// The tasks among them whose cancellation waits for its acknowledgement.
    pub cancelled_tasks: Vec<task::Model>,
}

/// The step result as it is stored, and as the replaced system stored it.
#[derive(Serialize)]
struct Stored<'a> {
    step: &'a str,
    result: &'a Value,
    completed: bool,
    message: &'a str,
    status: &'a str,
    error_code: Option<&'a str>,
    error_message: Option<&'a str>,
}

impl Service {
    /// Saves one report. When it returns, the record is committed.
    pub async fn save(&self, viewer: &Viewer, input: SaveInput) -> Result<Saved, ServiceError> {
        let record = self.check(viewer, format_args!("input"), input)?;
        let record_id = record.record_id;
        self.lanes.save(record).await.map_err(|error| match error {
            StoreError::Conflict { .. } => conflict("input.recordId"),
            StoreError::Unstorable { message, .. } => {
                tracing::warn!(%record_id, error = message, "a record was refused by the database");
                ServiceError::bad_input("input", "The database cannot store this record.")
            }
            other => ServiceError::from(other).with(Unsettled::One(record_id)),
        })
    }

    /// Saves reports together or not at all. When it returns, all are committed.
    pub async fn save_batch(
        &self,
        viewer: &Viewer,
        inputs: Vec<SaveInput>,
        with_records: bool,
    ) -> Result<SavedBatch, ServiceError> {
        if !self.may_save(viewer) {
            return Err(ServiceError::forbidden());
        }
        if inputs.is_empty() {
            return Err(ServiceError::bad_input("input.records", "input.records must have at least 1 record."));
        }
        input::entries("input.records", inputs.len(), most(self.limits.batch_records))?;
        let records = inputs
            .into_iter()
            .enumerate()
            .map(|(index, input)| self.check(viewer, format_args!("input.records[{index}]"), input))
            .collect::<Result<Vec<_>, _>>()?;
        // One that is larger than all of the room has it alone.
        let bytes = records.iter().map(NewRecord::bytes).sum::<usize>().min(self.batches.bytes());
        let _room = self.batches.take(bytes).ok_or_else(|| ServiceError::overloaded(RETRY_AFTER))?;
        let records: Arc<[NewRecord]> = records.into();
        let saved = if with_records {
            self.store.save_batch(Arc::clone(&records)).await.map(SavedBatch::of)
        } else {
            self.store.count_batch(Arc::clone(&records)).await.map(SavedBatch::counted)
        };
        saved.map_err(|error| match error {
            StoreError::Conflict { index } => conflict(&format!("input.records[{index}].recordId")),
            other => {
                let record_ids = records.iter().map(|record| record.record_id).collect();
                ServiceError::from(other).with(Unsettled::Batch(record_ids))
            }
        })
    }

    /// Checks a report against the limits and makes a record of it.
    fn check(&self, viewer: &Viewer, field: fmt::Arguments<'_>, input: SaveInput) -> Result<NewRecord, ServiceError> {
        let user_id = self.savable_user(viewer, format_args!("{field}.userId"), input.user_id)?;
        input::id(format_args!("{field}.taskId"), &input.task_id)?;
        input::between(format_args!("{field}.step"), input.step.into(), 0, limits::STEP.into())?;
        if let Some(details) = &input.task {
            input::details(format_args!("{field}.task"), details)?;
        }
        if let Some(timestamp) = input.timestamp {
            input::timestamp(format_args!("{field}.timestamp"), timestamp, Utc::now())?;
        }
        let result =
            store_result(format_args!("{field}.stepResult"), &input.step_result, most(self.limits.result_bytes))?;
        Ok(NewRecord {
            user_id,
            task_id: input.task_id,
            step: input.step,
            status: input.step_result.status,
            result,
            step_name: input.step_result.step_name,
            message: input.step_result.message.unwrap_or_default(),
            error_code: input.step_result.error_code.unwrap_or_default(),
            progress: input.step_result.progress,
            timestamp: input.timestamp,
            record_id: input.record_id.unwrap_or_else(Uuid::now_v7),
            reported_by: viewer.user_id.clone(),
            details: self.details(input.task),
        })
    }

    /// What the append needs to know of the task itself: nothing, for the most part.
    fn details(&self, given: Option<TaskDetails>) -> Option<TaskDetails> {
        let details = given.filter(|details| *details != TaskDetails::default());
        if self.report_within.is_none() {
            return details;
        }
        Some(TaskDetails { report_within_default: self.report_within, ..details.unwrap_or_default() })
    }
}

impl SavedBatch {
    fn of(saved: Vec<Saved>) -> Self {
        let known = saved.iter().filter(|saved| saved.is_duplicate).count();
        let tasks = saved.iter().map(|saved| Arc::clone(&saved.task)).collect();
        let counted = Self::counted(Counted { saved: saved.len() - known, known, tasks });
        Self { records: saved.into_iter().map(|saved| Arc::unwrap_or_clone(saved.record)).collect(), ..counted }
    }

    fn counted(Counted { saved, known, tasks }: Counted) -> Self {
        let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        // The last state of each task counts.
        let mut latest: Vec<&task::Model> = Vec::new();
        let mut at = std::collections::HashMap::new();
        for task in &tasks {
            let index = *at.entry((&task.user_id, &task.task_id)).or_insert(latest.len());
            match latest.get_mut(index) {
                Some(known) if known.position <= task.position => *known = task,
                Some(_) => {}
                None => latest.push(task),
            }
        }
        Self {
            saved_count: count(saved),
            duplicate_count: count(known),
            records: Vec::new(),
            cancelled_tasks: latest.into_iter().filter(|task| task.is_cancellation_pending()).cloned().collect(),
        }
    }
}

fn conflict(field: &str) -> ServiceError {
    ServiceError::bad_input(
        field,
        format!("{field} stands for another task or step of this user. Give every record an id of its own."),
    )
}

/// A limit as clients are told it, for lengths.
fn most(limit: i32) -> usize {
    usize::try_from(limit).unwrap_or_default()
}

fn store_result(field: fmt::Arguments<'_>, result: &StepResult, most_bytes: usize) -> Result<String, ServiceError> {
    input::characters(format_args!("{field}.stepName"), &result.step_name, limits::NAME_CHARACTERS)?;
    if let Some(progress) = result.progress {
        input::fraction(format_args!("{field}.progress"), progress)?;
    }
    let message = result.message.as_deref().unwrap_or_default();
    input::bytes(format_args!("{field}.message"), message, limits::MESSAGE_BYTES)?;
    let error_code = result.error_code.as_deref().filter(|code| !code.is_empty());
    input::characters(
        format_args!("{field}.errorCode"),
        error_code.unwrap_or_default(),
        limits::ERROR_CODE_CHARACTERS,
    )?;
    let error_message = result.error_message.as_deref().filter(|message| !message.is_empty());
    input::bytes(format_args!("{field}.errorMessage"), error_message.unwrap_or_default(), limits::MESSAGE_BYTES)?;
    let value = result.result.as_ref().unwrap_or(&Value::Null);
    input::result(format_args!("{field}.result"), value, most_bytes)?;
    let stored = Stored {
        step: &result.step_name,
        result: value,
        completed: result.completed.unwrap_or(result.status == TaskStatus::Completed),
        message,
        status: result.status.as_str(),
        error_code,
        error_message,
    };
    serde_json::to_string(&stored).map_err(|error| ServiceError::internal(&error))
}
