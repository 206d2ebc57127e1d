//! Cancelling and acknowledging: decided under the head's lock, in SQL.

use entity::{CancellationOutcome, task};
use uuid::Uuid;

/// A task to be cancelled.
#[derive(Clone, Debug)]
pub struct NewCancellation {
    /// Whose task.
    pub user_id: String,
    /// Which task.
    pub task_id: String,
    /// Of the record to come: a repeated call answers the same and adds nothing.
    pub record_id: Uuid,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// Cancelled by this call.
    Cancelled,
    /// Cancelled before.
    AlreadyCancelled,
    /// Ended before.
    AlreadyFinished,
    /// There is no such task.
    NotFound,
}

/// What became of a cancellation, and the task as it then was.
#[derive(Clone, Debug)]
pub struct Cancelled {
    /// What became of it.
    pub outcome: CancelOutcome,
    /// None where there is none.
    pub task: Option<task::Model>,
}

/// A worker's answer to a cancellation.
#[derive(Clone, Debug)]
pub struct NewAcknowledgement {
    /// Whose task.
    pub user_id: String,
    /// Which task.
    pub task_id: String,
    /// Of the record to come.
    pub record_id: Uuid,
    /// What the worker did.
    pub outcome: CancellationOutcome,
    /// What it adds.
    pub message: Option<String>,
    /// Who answers.
    pub reported_by: Option<String>,
}
