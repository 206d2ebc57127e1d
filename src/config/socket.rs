//! Open connections (WebSocket, server-sent events, multipart): how many, how long, how much memory.

use std::time::Duration;

use clap::Args;

use super::{ConfigError, humane};

/// Flags of open connections.
#[derive(Debug, Clone, Default, Args)]
pub struct SocketFlags {
    /// Connections with live updates in all; keep it below the system's limit of open files [default: 15000]
    #[arg(
        long = "live-connections",
        env = "TASKWIRE_LIVE_CONNECTIONS",
        value_name = "NUMBER",
        help_heading = "Connections"
    )]
    pub connections: Option<usize>,
    /// Connections with live updates of one signed-in user [default: 1000]
    #[arg(
        long = "live-connections-per-user",
        env = "TASKWIRE_LIVE_CONNECTIONS_PER_USER",
        value_name = "NUMBER",
        help_heading = "Connections"
    )]
    pub connections_per_user: Option<usize>,
    /// Connections with live updates from one address, where nobody has signed in [default: 1000]
    #[arg(
        long = "live-connections-per-address",
        env = "TASKWIRE_LIVE_CONNECTIONS_PER_ADDRESS",
        value_name = "NUMBER",
        help_heading = "Connections"
    )]
    pub connections_per_address: Option<usize>,
    /// Operations on one socket at the same time [default: 100]
    #[arg(
        long = "socket-operations",
        env = "TASKWIRE_SOCKET_OPERATIONS",
        value_name = "NUMBER",
        help_heading = "Connections"
    )]
    pub operations: Option<usize>,
    /// Size of a message from a client; what is larger goes by HTTP [default: 512KiB]
    #[arg(long = "socket-message", env = "TASKWIRE_SOCKET_MESSAGE", value_name = "SIZE", value_parser = humane::bytes, help_heading = "Connections")]
    pub message_bytes: Option<usize>,
    /// Within what time a socket must say `connection_init` [default: 10s]
    #[arg(long = "socket-init-time", env = "TASKWIRE_SOCKET_INIT_TIME", value_name = "DURATION", value_parser = humane::duration, help_heading = "Connections")]
    pub init_time: Option<Duration>,
    /// How long a socket may stay without any operation [default: 60s]
    #[arg(long = "socket-idle-time", env = "TASKWIRE_SOCKET_IDLE_TIME", value_name = "DURATION", value_parser = humane::duration, help_heading = "Connections")]
    pub idle_time: Option<Duration>,
    /// How often a socket is pinged; 0s: never [default: 30s]
    #[arg(long = "socket-ping-interval", env = "TASKWIRE_SOCKET_PING_INTERVAL", value_name = "DURATION", value_parser = humane::duration, help_heading = "Connections")]
    pub ping_interval: Option<Duration>,
    /// Within what time a ping must be answered [default: 15s]
    #[arg(long = "socket-pong-time", env = "TASKWIRE_SOCKET_PONG_TIME", value_name = "DURATION", value_parser = humane::duration, help_heading = "Connections")]
    pub pong_time: Option<Duration>,
    /// How often a stream over HTTP without events shows that it is alive [default: 12s]
    #[arg(long = "stream-keep-alive", env = "TASKWIRE_STREAM_KEEP_ALIVE", value_name = "DURATION", value_parser = humane::duration, help_heading = "Connections")]
    pub keep_alive: Option<Duration>,
    /// How long a client may leave unread what it was sent [default: 120s]
    #[arg(long = "slow-reader-time", env = "TASKWIRE_SLOW_READER_TIME", value_name = "DURATION", value_parser = humane::duration, help_heading = "Connections")]
    pub slow_reader_time: Option<Duration>,
    /// Over what time the connections are closed when the server ends, up to 2s [default: 2s]
    #[arg(long = "close-spread", env = "TASKWIRE_CLOSE_SPREAD", value_name = "DURATION", value_parser = humane::duration, help_heading = "Connections")]
    pub close_spread: Option<Duration>,
}

/// Open connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketConfig {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one signed-in user.
    pub connections_per_user: usize,
    /// Connections from one address where nobody has signed in.
    pub connections_per_address: usize,
    /// Operations on one socket at the same time.
    pub operations: usize,
    /// Size of a message from a client.
    pub message_bytes: usize,
    /// Within what time a socket must say `connection_init`.
    pub init_time: Duration,
    /// How long a socket may stay without any operation.
    pub idle_time: Duration,
    /// How often a socket is pinged; zero: never.
    pub ping_interval: Duration,
    /// Within what time a ping must be answered.
    pub pong_time: Duration,
    /// How often a stream over HTTP without events shows that it is alive.
    pub keep_alive: Duration,
    /// How long a client may leave unread what it was sent.
    pub slow_reader_time: Duration,
    /// Over what time the connections are closed when the server ends.
    pub close_spread: Duration,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            connections: 15_000,
            connections_per_user: 1_000,
            connections_per_address: 1_000,
            operations: 100,
            message_bytes: 512 << 10,
            init_time: Duration::from_secs(10),
            idle_time: Duration::from_mins(1),
            ping_interval: Duration::from_secs(30),
            pong_time: Duration::from_secs(15),
            keep_alive: Duration::from_secs(12),
            slow_reader_time: Duration::from_mins(2),
            close_spread: Duration::from_secs(2),
        }
    }
}

impl SocketConfig {
    pub(super) fn from_flags(flags: &SocketFlags) -> Self {
        let default = Self::default();
        Self {
            connections: flags.connections.unwrap_or(default.connections),
            connections_per_user: flags.connections_per_user.unwrap_or(default.connections_per_user),
            connections_per_address: flags.connections_per_address.unwrap_or(default.connections_per_address),
            operations: flags.operations.unwrap_or(default.operations),
            message_bytes: flags.message_bytes.unwrap_or(default.message_bytes),
            init_time: flags.init_time.unwrap_or(default.init_time),
            idle_time: flags.idle_time.unwrap_or(default.idle_time),
            ping_interval: flags.ping_interval.unwrap_or(default.ping_interval),
            pong_time: flags.pong_time.unwrap_or(default.pong_time),
            keep_alive: flags.keep_alive.unwrap_or(default.keep_alive),
            slow_reader_time: flags.slow_reader_time.unwrap_or(default.slow_reader_time),
            close_spread: flags.close_spread.unwrap_or(default.close_spread),
        }
    }

    /// Size of a message from a client that has not been let in: no token is longer, and whoever comes may send one.
    pub const FIRST_MESSAGE_BYTES: usize = 16 << 10;

    /// What the messages of all operations on one socket may take together.
    #[must_use]
    pub fn operation_bytes(&self) -> usize {
        self.message_bytes.saturating_mul(2)
    }

    /// Whether something can be done over such a connection.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("--live-connections", self.connections),
            ("--live-connections-per-user", self.connections_per_user),
            ("--live-connections-per-address", self.connections_per_address),
            ("--socket-operations", self.operations),
        ];
        if let Some((setting, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::new(setting, "must be at least 1"));
        }
        if self.message_bytes < 1 << 10 {
            return Err(ConfigError::new("--socket-message", "must be at least 1KiB"));
        }
        let short = Duration::from_millis(50);
        let at_least_short = [
            ("--socket-init-time", self.init_time),
            ("--socket-idle-time", self.idle_time),
            ("--socket-pong-time", self.pong_time),
            ("--stream-keep-alive", self.keep_alive),
            ("--slow-reader-time", self.slow_reader_time),
        ];
        if let Some((setting, _)) = at_least_short.into_iter().find(|(_, value)| *value < short) {
            return Err(ConfigError::new(setting, "must be at least 50ms"));
        }
        if !self.ping_interval.is_zero() && self.ping_interval < short {
            return Err(ConfigError::new("--socket-ping-interval", "must be at least 50ms, or 0s for no pings"));
        }
        // The end as a whole takes 10 s at the most.
        if self.close_spread > Duration::from_secs(2) {
            return Err(ConfigError::new("--close-spread", "must be up to 2s"));
        }
        Ok(())
    }
}
