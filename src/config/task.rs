//! What is assumed of tasks.

use std::time::Duration;

use clap::Args;

use super::{ConfigError, humane};

/// Flags of tasks.
#[derive(Debug, Clone, Default, Args)]
pub struct TaskFlags {
    /// How long a completed task of unknown length may still go on, and be cancelled [default: 5min]
    #[arg(long, env = "TASKWIRE_SETTLE", value_name = "DURATION", value_parser = humane::duration, help_heading = "Tasks")]
    pub settle: Option<Duration>,
}

/// What is assumed of tasks.
#[derive(Debug, Clone)]
pub struct TaskConfig {
    /// How long after its last record a COMPLETED task without `totalSteps` may still be between two steps:
    /// until then it can be cancelled.
    pub settle: Duration,
}

impl Default for TaskConfig {
    fn default() -> Self {
        Self { settle: Duration::from_mins(5) }
    }
}

impl TaskConfig {
    pub(super) fn from_flags(flags: &TaskFlags) -> Self {
        Self { settle: flags.settle.unwrap_or(Self::default().settle) }
    }

    /// Whether PostgreSQL can count that far.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.settle > Duration::from_hours(366 * 24) {
            return Err(ConfigError::new("--settle", "must be at most a year"));
        }
        Ok(())
    }
}
