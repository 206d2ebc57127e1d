//! Live updates.

use std::time::Duration;

use clap::Args;

use super::{ConfigError, humane};

/// Flags of the feed.
#[derive(Debug, Clone, Default, Args)]
pub struct FeedFlags {
    /// How often to look for changes that no notification told of [default: 1500ms]
    #[arg(long = "feed-check-interval", env = "TASKWIRE_FEED_CHECK_INTERVAL", value_name = "DURATION", value_parser = humane::duration, help_heading = "Live updates")]
    pub check_interval: Option<Duration>,
    /// Memory for the latest records of all watched users together [default: 64MiB]
    #[arg(long = "feed-ring", env = "TASKWIRE_FEED_RING", value_name = "SIZE", value_parser = humane::bytes, help_heading = "Live updates")]
    pub ring_bytes: Option<usize>,
}

/// Live updates.
#[derive(Debug, Clone)]
pub struct FeedConfig {
    /// How often the listener looks for changes that no notification told of.
    pub check_interval: Duration,
    /// What the rings of all watched users may hold together.
    pub ring_bytes: usize,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self { check_interval: Duration::from_millis(1500), ring_bytes: 64 << 20 }
    }
}

impl FeedConfig {
    pub(super) fn from_flags(flags: &FeedFlags) -> Self {
        let default = Self::default();
        Self {
            check_interval: flags.check_interval.unwrap_or(default.check_interval),
            ring_bytes: flags.ring_bytes.unwrap_or(default.ring_bytes),
        }
    }

    /// Whether the check neither spins nor sleeps for good.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let usable = Duration::from_millis(50)..=Duration::from_mins(10);
        if !usable.contains(&self.check_interval) {
            return Err(ConfigError::new("--feed-check-interval", "must be 50ms to 10min"));
        }
        Ok(())
    }
}
