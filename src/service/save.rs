//! Saving reports.

use chrono::{DateTime, Utc};
use entity::{TaskStatus, task, task_record};
use serde_json::Value;
use uuid::Uuid;

use super::{Saved, Service, ServiceError, TaskDetails};
use crate::auth::Viewer;

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
    /// In the order of the input.
    pub records: Vec<task_record::Model>,
    /// The tasks among them whose cancellation waits for its acknowledgement.
    pub cancelled_tasks: Vec<task::Model>,
}

impl Service {
    /// Saves one report.
    pub async fn save(&self, viewer: &Viewer, input: SaveInput) -> Result<Saved, ServiceError> {
        todo!()
    }

    /// Saves reports together or not at all.
    pub async fn save_batch(&self, viewer: &Viewer, inputs: Vec<SaveInput>) -> Result<SavedBatch, ServiceError> {
        todo!()
    }
}
