//! The queues of single saves, which are written in groups.

use std::time::Duration;

use clap::Args;

use super::{ConfigError, humane};

/// Flags of the write queues.
#[derive(Debug, Clone, Default, Args)]
pub struct WriteFlags {
    /// Writers that work at the same time, each with a connection of its own [default: 2]
    #[arg(long = "write-lanes", env = "TASKWIRE_WRITE_LANES", value_name = "NUMBER", help_heading = "Writing")]
    pub lanes: Option<usize>,
    /// Memory for saves that wait, and as much for batches; beyond it they are refused as OVERLOADED [default: 64MiB]
    #[arg(long = "write-queue-bytes", env = "TASKWIRE_WRITE_QUEUE_BYTES", value_name = "SIZE", value_parser = humane::bytes, help_heading = "Writing")]
    pub queue_bytes: Option<usize>,
    /// How many saves may wait; beyond it they are refused as OVERLOADED [default: 20000]
    #[arg(
        long = "write-queue-records",
        env = "TASKWIRE_WRITE_QUEUE_RECORDS",
        value_name = "NUMBER",
        help_heading = "Writing"
    )]
    pub queue_records: Option<usize>,
    /// How long a save waits for a user whom somebody's open transaction holds [default: 5s]
    #[arg(long = "write-hold-timeout", env = "TASKWIRE_WRITE_HOLD_TIMEOUT", value_name = "DURATION", value_parser = humane::duration, help_heading = "Writing")]
    pub hold_timeout: Option<Duration>,
}

/// Connections that a lane has at the most: the one by which it writes, and one that is lost and ends, slowly perhaps.
pub const CONNECTIONS_A_LANE: u32 = 2;

/// The queues of single saves.
#[derive(Debug, Clone)]
pub struct WriteConfig {
    /// Writers that work at the same time; a user's saves are written by one of them at a time.
    pub lanes: usize,
    /// What all waiting saves may hold together; and beside them, all batches that are being saved.
    pub queue_bytes: usize,
    /// How many saves may wait.
    pub queue_records: usize,
    /// How long a save waits for a user whom somebody's open transaction holds, before it is a TIMEOUT.
    pub hold_timeout: Duration,
}

impl Default for WriteConfig {
    fn default() -> Self {
        Self { lanes: 2, queue_bytes: 64 << 20, queue_records: 20_000, hold_timeout: Duration::from_secs(5) }
    }
}

impl WriteConfig {
    pub(super) fn from_flags(flags: &WriteFlags) -> Self {
        let default = Self::default();
        Self {
            lanes: flags.lanes.unwrap_or(default.lanes),
            queue_bytes: flags.queue_bytes.unwrap_or(default.queue_bytes),
            queue_records: flags.queue_records.unwrap_or(default.queue_records),
            hold_timeout: flags.hold_timeout.unwrap_or(default.hold_timeout),
        }
    }

    /// Connections that the lanes have at the most.
    #[must_use]
    pub fn connections(&self) -> u32 {
        u32::try_from(self.lanes).unwrap_or(u32::MAX).saturating_mul(CONNECTIONS_A_LANE)
    }

    /// Whether the queues can work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=64).contains(&self.lanes) {
            return Err(ConfigError::new("--write-lanes", "must be 1 to 64"));
        }
        if self.queue_bytes < 1 << 20 {
            return Err(ConfigError::new("--write-queue-bytes", "must be at least 1MiB"));
        }
        if self.queue_records == 0 {
            return Err(ConfigError::new("--write-queue-records", "must be at least 1"));
        }
        if self.hold_timeout.is_zero() || self.hold_timeout > Duration::from_mins(10) {
            return Err(ConfigError::new("--write-hold-timeout", "must be more than 0s and at most 10min"));
        }
        Ok(())
    }
}
