//! What is assumed of tasks.

use std::time::Duration;

use clap::Args;

use super::{ConfigError, humane};

/// The longest that a report may be due after the one before.
const LONGEST_WITHIN: Duration = Duration::from_hours(365 * 24);

/// Flags of tasks.
#[derive(Debug, Clone, Default, Args)]
pub struct TaskFlags {
    /// How long a completed task of unknown length may still go on, and be cancelled [default: 5min]
    #[arg(long, env = "TASKWIRE_SETTLE", value_name = "DURATION", value_parser = humane::duration, help_heading = "Tasks")]
    pub settle: Option<Duration>,
    /// A task that gives no report or sign of life for so long has timed out, unless its worker says otherwise; 0s: none has [default: 0s]
    #[arg(long = "report-within", env = "TASKWIRE_REPORT_WITHIN", value_name = "DURATION", value_parser = humane::duration, help_heading = "Tasks")]
    pub report_within: Option<Duration>,
}

/// What is assumed of tasks.
#[derive(Debug, Clone)]
pub struct TaskConfig {
    /// How long after its last record a COMPLETED task without `totalSteps` may still be between two steps:
    /// until then it can be cancelled.
    pub settle: Duration,
    /// How long after each report the next one is due, where a task's worker has said nothing of it; none: it is not.
    pub report_within: Option<Duration>,
}

impl Default for TaskConfig {
    fn default() -> Self {
        Self { settle: Duration::from_mins(5), report_within: None }
    }
}

impl TaskConfig {
    pub(super) fn from_flags(flags: &TaskFlags) -> Self {
        let default = Self::default();
        Self {
            settle: flags.settle.unwrap_or(default.settle),
            report_within: flags.report_within.filter(|within| !within.is_zero()),
        }
    }

    /// The same in seconds.
    #[must_use]
    pub fn report_within_seconds(&self) -> Option<i32> {
        self.report_within.map(|within| i32::try_from(within.as_secs()).unwrap_or(i32::MAX))
    }

    /// Whether PostgreSQL can count that far.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let is_whole = |within: Duration| within.subsec_nanos() == 0 && within <= LONGEST_WITHIN;
        if !self.report_within.is_none_or(is_whole) {
            return Err(ConfigError::new("--report-within", "must be whole seconds, up to 365d"));
        }
        if self.settle > Duration::from_hours(366 * 24) {
            return Err(ConfigError::new("--settle", "must be at most a year"));
        }
        Ok(())
    }
}
