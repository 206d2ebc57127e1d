//! Streams over HTTP: server-sent events and multipart.

use std::time::Duration;

use clap::Args;

use super::{ConfigError, humane};

/// Flags of streams over HTTP.
#[derive(Debug, Clone, Default, Args)]
pub struct StreamFlags {
    /// How often a stream over HTTP without events shows that it is alive [default: 12s]
    #[arg(long = "stream-keep-alive", env = "TASKWIRE_STREAM_KEEP_ALIVE", value_name = "DURATION", value_parser = humane::duration, help_heading = "Live updates")]
    pub keep_alive: Option<Duration>,
    /// How long the client of a stream over HTTP may leave it unread [default: 2min]
    #[arg(long = "stream-slow-reader-time", env = "TASKWIRE_STREAM_SLOW_READER_TIME", value_name = "DURATION", value_parser = humane::duration, help_heading = "Live updates")]
    pub slow_reader: Option<Duration>,
}

/// Streams over HTTP.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// How often a stream without events shows that it is alive.
    pub keep_alive: Duration,
    /// How long a client may leave its stream unread before it is broken off.
    pub slow_reader: Duration,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self { keep_alive: Duration::from_secs(12), slow_reader: Duration::from_mins(2) }
    }
}

impl StreamConfig {
    pub(super) fn from_flags(flags: &StreamFlags) -> Self {
        let default = Self::default();
        Self {
            keep_alive: flags.keep_alive.unwrap_or(default.keep_alive),
            slow_reader: flags.slow_reader.unwrap_or(default.slow_reader),
        }
    }

    /// Whether neither is so short that it harms, nor so long that it is never seen.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let usable = Duration::from_millis(100)..=Duration::from_hours(1);
        for (setting, value) in
            [("--stream-keep-alive", self.keep_alive), ("--stream-slow-reader-time", self.slow_reader)]
        {
            if !usable.contains(&value) {
                return Err(ConfigError::new(setting, "must be 100ms to 1h"));
            }
        }
        Ok(())
    }
}
