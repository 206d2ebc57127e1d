//! What the server tells of itself, beside its log.

use std::net::SocketAddr;

use clap::Args;
use http::Uri;

use super::ConfigError;

/// Flags of metrics and traces.
#[derive(Debug, Clone, Default, Args)]
pub struct TelemetryFlags {
    /// Address and port for /metrics and /health, as in 127.0.0.1:9464, without TLS and for whoever reaches it; without it
    /// /metrics is at the main address, for admins
    #[arg(long, env = "TASKWIRE_METRICS_LISTEN", value_name = "ADDRESS:PORT", help_heading = "Telemetry")]
    pub metrics_listen: Option<SocketAddr>,
    /// OpenTelemetry collector that gets traces (OTLP over HTTP, protobuf), as in <http://127.0.0.1:4318> [default: none]
    #[arg(long, env = "TASKWIRE_OTLP_ENDPOINT", value_name = "URL", help_heading = "Telemetry")]
    pub otlp_endpoint: Option<String>,
    /// Name of this service in traces [default: taskwire]
    #[arg(long, env = "TASKWIRE_OTLP_SERVICE", value_name = "NAME", help_heading = "Telemetry")]
    pub otlp_service: Option<String>,
    /// Share of the traces that begin here, 0 to 1; one that comes with a request goes by what that says [default: 1]
    #[arg(long, env = "TASKWIRE_OTLP_SAMPLE", value_name = "SHARE", help_heading = "Telemetry")]
    pub otlp_sample: Option<f64>,
}

/// What the server tells of itself.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// Where metrics are told to everybody; none: at the main address, to admins.
    pub metrics_listen: Option<SocketAddr>,
    /// The collector that gets traces; none: there are none.
    pub otlp_endpoint: Option<String>,
    /// The service's name in them.
    pub otlp_service: String,
    /// Which share of them is sent.
    pub otlp_sample: f64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { metrics_listen: None, otlp_endpoint: None, otlp_service: "taskwire".to_owned(), otlp_sample: 1.0 }
    }
}

impl TelemetryConfig {
    pub(super) fn from_flags(flags: TelemetryFlags) -> Self {
        let default = Self::default();
        Self {
            metrics_listen: flags.metrics_listen,
            otlp_endpoint: flags.otlp_endpoint.filter(|url| !url.trim().is_empty()),
            otlp_service: flags.otlp_service.unwrap_or(default.otlp_service),
            otlp_sample: flags.otlp_sample.unwrap_or(default.otlp_sample),
        }
    }

    /// Whether it can be told there.
    pub fn validate(&self, listen: SocketAddr) -> Result<(), ConfigError> {
        if self.metrics_listen.is_some_and(|metrics| metrics.port() != 0 && metrics == listen) {
            let problem = "must differ from --listen; leave it out to have both in one place";
            return Err(ConfigError::new("--metrics-listen", problem));
        }
        self.otlp_url().map_err(|problem| ConfigError::new("--otlp-endpoint", problem))?;
        if self.otlp_service.trim().is_empty() {
            return Err(ConfigError::new("--otlp-service", "must not be empty"));
        }
        if !(0.0..=1.0).contains(&self.otlp_sample) {
            return Err(ConfigError::new("--otlp-sample", "must be 0 to 1, as in 0.05 for one trace of twenty"));
        }
        Ok(())
    }

    /// Where the collector takes traces: below its address, unless the URL says it whole.
    pub fn otlp_url(&self) -> Result<Option<String>, String> {
        let Some(endpoint) = &self.otlp_endpoint else { return Ok(None) };
        let uri: Uri = endpoint.trim().parse().map_err(|_| format!("{endpoint:?} is no URL"))?;
        let remedy =
            "give http://HOST:PORT, as in http://127.0.0.1:4318; a collector there can pass traces on by https";
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(format!("a name and a password in it are not used: {remedy}"));
        }
        match (uri.scheme_str(), uri.authority(), uri.path()) {
            (Some("http"), Some(authority), "/") => Ok(Some(format!("http://{authority}/v1/traces"))),
            (Some("http"), Some(_), _) => Ok(Some(uri.to_string())),
            _ => Err(format!("{endpoint:?} cannot be used: {remedy}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_addresses_differ() {
        let of = |metrics: &str| TelemetryConfig { metrics_listen: metrics.parse().ok(), ..TelemetryConfig::default() };
        let main = "127.0.0.1:8000".parse().unwrap();
        assert!(of("127.0.0.1:8000").validate(main).unwrap_err().to_string().contains("--metrics-listen"));
        assert!(of("127.0.0.1:9464").validate(main).is_ok() && of("none").validate(main).is_ok());
    }

    #[test]
    fn a_collector_has_a_plain_url() {
        let of =
            |url: &str| TelemetryConfig { otlp_endpoint: Some(url.into()), ..TelemetryConfig::default() }.otlp_url();
        for (url, wanted) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            (" http://collector:4318/ ", "http://collector:4318/v1/traces"),
            ("http://collector/otlp/v1/traces", "http://collector/otlp/v1/traces"),
        ] {
            assert_eq!(of(url).unwrap().as_deref(), Some(wanted), "{url}");
        }
        for url in
            ["https://collector:4318", "collector:4318", "127.0.0.1:4318", "grpc://collector", "/v1/traces", "a b"]
        {
            assert!(of(url).is_err(), "{url}");
        }
        assert_eq!(TelemetryConfig::default().otlp_url(), Ok(None));
    }

    #[test]
    fn a_share_is_a_share() {
        let of = |otlp_sample| TelemetryConfig { otlp_sample, ..TelemetryConfig::default() };
        let main = "127.0.0.1:8000".parse().unwrap();
        assert!(of(0.0).validate(main).is_ok() && of(1.0).validate(main).is_ok());
        assert!([-0.1, 1.1, f64::NAN].into_iter().all(|share| of(share).validate(main).is_err()));
    }
}
