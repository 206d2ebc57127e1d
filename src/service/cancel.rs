//! Cancelling tasks, one or many, and the worker's answer.

use entity::{CancellationOutcome, task};

use super::{BoundedCount, CancelOutcome, Service, ServiceError, TaskFilter};
use crate::auth::Viewer;

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcknowledgeOutcome {
    /// Taken.
    Acknowledged,
    /// Somebody answered before.
    AlreadyAcknowledged,
    /// The task is not cancelled.
    NotRequested,
    /// There is no such task.
    NotFound,
}

/// Which tasks to cancel.
#[derive(Clone, Debug)]
pub struct CancelManyInput {
    /// Whose; left out: all that the viewer may see.
    pub user_id: Option<String>,
    /// Which; at least one criterion.
    pub filter: TaskFilter,
    /// Why.
    pub reason: Option<String>,
    /// At most so many.
    pub limit: i32,
    /// Count and list, change nothing.
    pub dry_run: bool,
}

/// What became of them.
#[derive(Clone, Debug)]
pub struct CancelledMany {
    /// The unfinished tasks that matched when it began.
    pub matched: BoundedCount,
    /// How many were cancelled by this call.
    pub cancelled_count: i32,
    /// These, or with a dry run those that would be.
    pub tasks: Vec<task::Model>,
    /// There are more: call again.
    pub has_more: bool,
}

impl Service {
    /// Cancels one task.
    pub async fn cancel(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        task_id: String,
        reason: Option<String>,
        force: bool,
    ) -> Result<(CancelOutcome, Option<task::Model>), ServiceError> {
        todo!()
    }

    /// Cancels the unfinished tasks of a filter.
    pub async fn cancel_many(&self, viewer: &Viewer, input: CancelManyInput) -> Result<CancelledMany, ServiceError> {
        todo!()
    }

    /// Takes a worker's answer to a cancellation.
    pub async fn acknowledge(
        &self,
        viewer: &Viewer,
        user_id: Option<String>,
        task_id: String,
        outcome: CancellationOutcome,
        message: Option<String>,
    ) -> Result<(AcknowledgeOutcome, Option<task::Model>), ServiceError> {
        todo!()
    }
}
