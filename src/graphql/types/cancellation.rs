//! `Cancellation`: a request to cancel, and what became of it.

use async_graphql::{ID, SimpleObject};
use entity::task;

use super::CancellationOutcome;
use crate::graphql::scalars::DateTime;

/// A request to cancel a task, and what became of it.
#[derive(SimpleObject)]
pub(crate) struct Cancellation {
    /// When the request was recorded, by the database's clock.
    requested_at: DateTime,
    /// The user or admin who asked; null where an old client's SQL did it.
    requested_by: Option<ID>,
    /// Why, as the one who asked put it.
    reason: Option<String>,
    /// When a worker was first told, with the answer to a save of this task.
    delivered_at: Option<DateTime>,
    /// When a worker answered, or its reports made an answer needless.
    acknowledged_at: Option<DateTime>,
    /// What the worker did; null while the request waits for its answer.
    outcome: Option<CancellationOutcome>,
    /// What the worker added to its answer.
    message: Option<String>,
}

impl Cancellation {
    /// None for a task that nobody has cancelled.
    pub(crate) fn of(task: &task::Model) -> Option<Self> {
        Some(Self {
            requested_at: task.cancel_requested_at?.into(),
            requested_by: task.cancel_requested_by.clone().map(ID),
            reason: task.cancel_reason.clone(),
            delivered_at: task.cancel_delivered_at.map(DateTime),
            acknowledged_at: task.cancel_acknowledged_at.map(DateTime),
            outcome: task.cancel_outcome.map(CancellationOutcome::from),
            message: task.cancel_message.clone(),
        })
    }
}
