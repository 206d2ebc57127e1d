//! Closed sets of values, stored as lower-case text.

use sea_orm::entity::prelude::*;

/// The six statuses of a task and of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum TaskStatus {
    /// Waits.
    Pending,
    /// Runs.
    Running,
    /// Done.
    Completed,
    /// Ended with an error.
    Failed,
    /// Cancelled; stays so whatever is reported later.
    Cancelled,
    /// Gave no report in time, or said itself that its time ran out.
    TimedOut,
}

impl TaskStatus {
    /// Every status, in the order of a task's life.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Completed, Self::Failed, Self::Cancelled, Self::TimedOut];

    /// COMPLETED, FAILED, CANCELLED and `TIMED_OUT` end a task, until a retry moves it on.
    #[must_use]
    pub fn is_finished(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }
}

/// Why a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum RecordKind {
    /// A worker's report.
    Step,
    /// Somebody cancelled the task.
    CancellationRequested,
    /// A worker answered the cancellation.
    CancellationAcknowledged,
    /// A due report did not come.
    ReportOverdue,
}

impl RecordKind {
    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::CancellationRequested => "cancellation_requested",
            Self::CancellationAcknowledged => "cancellation_acknowledged",
            Self::ReportOverdue => "report_overdue",
        }
    }
}

/// What the worker did with a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum CancellationOutcome {
    /// It stopped the work.
    Stopped,
    /// The work had ended before.
    FinishedFirst,
    /// The work cannot be stopped.
    CannotStop,
}

impl CancellationOutcome {
    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::FinishedFirst => "finished_first",
            Self::CannotStop => "cannot_stop",
        }
    }
}
