//! The closed sets of the schema. Those that are stored mirror `entity`'s values, variant by variant: a new one there does
//! not compile before it stands here, with its description.

use async_graphql::Enum;

use crate::{auth, service};

/// The six statuses of a task and of a step. Closed: there will be no seventh.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "entity::TaskStatus")]
pub(crate) enum TaskStatus {
    /// It waits to be started.
    Pending,
    /// Somebody works on it.
    Running,
    /// It is done, with success.
    Completed,
    /// It ended with an error.
    Failed,
    /// It was cancelled, and stays so whatever is reported later.
    Cancelled,
    /// It gave no report in time, or said itself that its time ran out.
    TimedOut,
}

/// Why a record was written. New values may come: treat an unknown one as something else.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "entity::RecordKind")]
pub(crate) enum TaskRecordKind {
    /// A worker reported a step.
    Step,
    /// Somebody asked for the task to be cancelled.
    CancellationRequested,
    /// A worker answered the cancellation.
    CancellationAcknowledged,
    /// A report that was due did not come.
    ReportOverdue,
}

/// What the worker did with a cancellation. A late report that ends the work for certain counts as the answer: CANCELLED
/// as STOPPED, anything else as `FINISHED_FIRST`. New values may come.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "entity::CancellationOutcome")]
pub(crate) enum CancellationOutcome {
    /// It stopped the work.
    Stopped,
    /// The work had ended before the worker heard of it.
    FinishedFirst,
    /// This work cannot be stopped, it goes on.
    CannotStop,
}

/// By what a list of tasks is ordered. New values may come.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "service::TaskOrder")]
pub(crate) enum TaskOrder {
    /// Last changed first, the order of the feed read backwards.
    UpdatedDesc,
    /// Last changed last, the order of the feed.
    UpdatedAsc,
    /// Newest task first, by its first record.
    CreatedDesc,
    /// Oldest task first, by its first record.
    CreatedAsc,
}

/// What a caller may do. Closed: there will be no fourth.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "auth::Role")]
pub(crate) enum Role {
    /// Sees and cancels the own tasks.
    User,
    /// Reports, sees and cancels for everyone.
    Worker,
    /// All that, and maintenance.
    Admin,
}

/// What became of a request to cancel one task. New values may come.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "service::CancelOutcome")]
pub(crate) enum CancelTaskOutcome {
    /// It is cancelled by this very request.
    Cancelled,
    /// It had been cancelled before, nothing changed.
    AlreadyCancelled,
    /// It had finished before, and the request was not forced.
    AlreadyFinished,
    /// There is no such task, or it is not yours.
    NotFound,
}

/// What became of an acknowledgement. New values may come.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "service::AcknowledgeOutcome")]
pub(crate) enum AcknowledgeCancellationOutcome {
    /// It counts, the task shows it from now on.
    Acknowledged,
    /// Another one came first, nothing changed.
    AlreadyAcknowledged,
    /// Nobody had cancelled the task, nothing changed.
    NotRequested,
    /// There is no such task.
    NotFound,
}
