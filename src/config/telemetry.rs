//! What the server tells of itself, beside its log.

use std::net::SocketAddr;

use clap::Args;

use super::ConfigError;

/// Flags of metrics and traces.
#[derive(Debug, Clone, Default, Args)]
pub struct TelemetryFlags {
    /// Address and port for /metrics and /health, without TLS and for whoever reaches it; without it /metrics is at the main
    /// address, for admins
    #[arg(long, env = "TASKWIRE_METRICS_LISTEN", value_name = "ADDRESS:PORT", help_heading = "Telemetry")]
    pub metrics_listen: Option<SocketAddr>,
}

/// What the server tells of itself.
#[derive(Debug, Clone, Default)]
pub struct TelemetryConfig {
    /// Where metrics are told to everybody; none: at the main address, to admins.
    pub metrics_listen: Option<SocketAddr>,
}

impl TelemetryConfig {
    pub(super) fn from_flags(flags: TelemetryFlags) -> Self {
        Self { metrics_listen: flags.metrics_listen }
    }

    /// Whether it can be told there.
    pub fn validate(&self, listen: SocketAddr) -> Result<(), ConfigError> {
        let taken = self.metrics_listen.filter(|metrics| metrics.port() != 0 && *metrics == listen);
        match taken {
            Some(_) => Err(ConfigError::new(
                "--metrics-listen",
                "must differ from --listen; leave it out to have both in one place",
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_addresses_differ() {
        let of = |metrics: &str| TelemetryConfig { metrics_listen: metrics.parse().ok() };
        let main = "127.0.0.1:8000".parse().unwrap();
        assert!(of("127.0.0.1:8000").validate(main).unwrap_err().to_string().contains("--metrics-listen"));
        assert!(of("127.0.0.1:9464").validate(main).is_ok() && of("none").validate(main).is_ok());
    }
}
