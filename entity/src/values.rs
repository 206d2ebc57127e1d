//! Closed sets of values, stored as lower-case text.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use sea_orm::Iterable as _;
use sea_orm::entity::prelude::*;

/// A text that stands for no value of its set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownValue(String);

impl fmt::Display for UnknownValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is none of the values that may stand here", self.0)
    }
}

impl Error for UnknownValue {}

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

impl FromStr for TaskStatus {
    type Err = UnknownValue;

    /// From what is stored.
    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        Self::iter().find(|value| value.as_str() == text).ok_or_else(|| UnknownValue(text.to_owned()))
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

impl FromStr for RecordKind {
    type Err = UnknownValue;

    /// From what is stored.
    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        Self::iter().find(|value| value.as_str() == text).ok_or_else(|| UnknownValue(text.to_owned()))
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

impl FromStr for CancellationOutcome {
    type Err = UnknownValue;

    /// From what is stored.
    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        Self::iter().find(|value| value.as_str() == text).ok_or_else(|| UnknownValue(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_read_as_written<T: ActiveEnum<Value = String> + FromStr<Err = UnknownValue> + PartialEq + fmt::Debug>() {
        for value in T::iter() {
            assert_eq!(value.to_value().parse(), Ok(value));
        }
        assert!("".parse::<T>().is_err() && "COMPLETED".parse::<T>().is_err());
    }

    #[test]
    fn each_value_is_read_as_it_is_written() {
        is_read_as_written::<TaskStatus>();
        is_read_as_written::<RecordKind>();
        is_read_as_written::<CancellationOutcome>();
    }
}
