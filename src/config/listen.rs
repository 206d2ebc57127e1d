//! How connections are taken: TLS, time-outs, how many, and whose word about the client's address counts.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use super::{ConfigError, humane};

/// Flags of the listener.
#[derive(Debug, Clone, Default, Args)]
pub struct ListenFlags {
    /// Certificate (PEM, with its chain) to serve HTTPS with; read again on SIGHUP
    #[arg(long, env = "TASKWIRE_TLS_CERT", value_name = "FILE", help_heading = "Connections")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate
    #[arg(long, env = "TASKWIRE_TLS_KEY", value_name = "FILE", help_heading = "Connections")]
    pub tls_key: Option<PathBuf>,
    /// What a client may take for TLS' handshake [default: 10s]
    #[arg(long, env = "TASKWIRE_TLS_HANDSHAKE_TIMEOUT", value_name = "DURATION", value_parser = humane::duration, help_heading = "Connections")]
    pub tls_handshake_timeout: Option<Duration>,
    /// Network of proxies that are believed the client's address, as in 10.0.0.0/8; can be repeated or comma separated
    #[arg(
        long = "trusted-proxy",
        env = "TASKWIRE_TRUSTED_PROXY",
        value_name = "CIDR",
        value_delimiter = ',',
        value_parser = network,
        help_heading = "Connections"
    )]
    pub trusted_proxies: Vec<IpNet>,
    /// Header in which the trusted proxies write the client's address; the other one is not read [default: x-forwarded-for]
    #[arg(long, env = "TASKWIRE_PROXY_HEADER", value_name = "HEADER", value_enum, help_heading = "Connections")]
    pub proxy_header: Option<ProxyHeader>,
    /// Connections at the same time, sockets among them; beyond, new ones are closed at once [default: 16000]
    #[arg(
        long = "http-connections",
        env = "TASKWIRE_HTTP_CONNECTIONS",
        value_name = "NUMBER",
        help_heading = "Connections"
    )]
    pub connections: Option<usize>,
    /// What a client may take to send a request's header [default: 10s]
    #[arg(long, env = "TASKWIRE_HEADER_TIMEOUT", value_name = "DURATION", value_parser = humane::duration, help_heading = "Connections")]
    pub header_timeout: Option<Duration>,
    /// Size of a request's line and header together [default: 32KiB]
    #[arg(long, env = "TASKWIRE_HEADER_BYTES", value_name = "SIZE", value_parser = humane::bytes, help_heading = "Connections")]
    pub header_bytes: Option<usize>,
    /// What a client may take to send a request's body [default: 30s]
    #[arg(long, env = "TASKWIRE_BODY_TIMEOUT", value_name = "DURATION", value_parser = humane::duration, help_heading = "Connections")]
    pub body_timeout: Option<Duration>,
    /// After what time without an answer a request is given up, whatever it does [default: 11min]
    #[arg(long, env = "TASKWIRE_HANDLER_TIMEOUT", value_name = "DURATION", value_parser = humane::duration, help_heading = "Connections")]
    pub handler_timeout: Option<Duration>,
    /// How long a client may take nothing of its answer (sockets have their own time) [default: 2min]
    #[arg(long, env = "TASKWIRE_ANSWER_STALL_TIMEOUT", value_name = "DURATION", value_parser = humane::duration, help_heading = "Connections")]
    pub answer_stall_timeout: Option<Duration>,
    /// How long a connection without a request is kept [default: 75s]
    #[arg(long, env = "TASKWIRE_IDLE_TIMEOUT", value_name = "DURATION", value_parser = humane::duration, help_heading = "Connections")]
    pub idle_timeout: Option<Duration>,
}

/// Where a proxy writes whom it speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the certificate, then those that vouch for it.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// How connections are taken.
#[derive(Debug, Clone)]
pub struct ListenConfig {
    /// HTTPS; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// One of the two files is missing in the flags.
    half_tls: bool,
    /// What TLS' handshake may take.
    pub tls_handshake_timeout: Duration,
    /// Who is believed the client's address.
    pub trusted_proxies: Vec<IpNet>,
    /// Where they write it.
    pub proxy_header: ProxyHeader,
    /// Connections at the same time.
    pub connections: usize,
    /// What a request's header may take.
    pub header_timeout: Duration,
    /// Bytes of a request's header.
    pub header_bytes: usize,
    /// What a request's body may take.
    pub body_timeout: Duration,
    /// When a request is given up; longer than anything that a handler ends by itself.
    pub handler_timeout: Duration,
    /// How long nothing of an answer may be taken.
    pub answer_stall_timeout: Duration,
    /// How long a connection without a request is kept; longer than proxies keep theirs (nginx: 60 s), so that they
    /// never send into one that is being closed.
    pub idle_timeout: Duration,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            tls: None,
            half_tls: false,
            tls_handshake_timeout: Duration::from_secs(10),
            trusted_proxies: Vec::new(),
            proxy_header: ProxyHeader::default(),
            connections: 16_000,
            header_timeout: Duration::from_secs(10),
            header_bytes: 32 << 10,
            body_timeout: Duration::from_secs(30),
            handler_timeout: Duration::from_mins(11),
            answer_stall_timeout: Duration::from_mins(2),
            idle_timeout: Duration::from_secs(75),
        }
    }
}

impl ListenConfig {
    pub(super) fn from_flags(flags: ListenFlags) -> Self {
        let default = Self::default();
        let given = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
        let (cert, key) = (given(flags.tls_cert), given(flags.tls_key));
        Self {
            half_tls: cert.is_some() != key.is_some(),
            tls: cert.zip(key).map(|(cert, key)| TlsFiles { cert, key }),
            tls_handshake_timeout: flags.tls_handshake_timeout.unwrap_or(default.tls_handshake_timeout),
            trusted_proxies: flags.trusted_proxies,
            proxy_header: flags.proxy_header.unwrap_or_default(),
            connections: flags.connections.unwrap_or(default.connections),
            header_timeout: flags.header_timeout.unwrap_or(default.header_timeout),
            header_bytes: flags.header_bytes.unwrap_or(default.header_bytes),
            body_timeout: flags.body_timeout.unwrap_or(default.body_timeout),
            handler_timeout: flags.handler_timeout.unwrap_or(default.handler_timeout),
            answer_stall_timeout: flags.answer_stall_timeout.unwrap_or(default.answer_stall_timeout),
            idle_timeout: flags.idle_timeout.unwrap_or(default.idle_timeout),
        }
    }

    /// Whether a listener can work so.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.half_tls {
            return Err(ConfigError::new("--tls-cert, --tls-key", "go together: give both, or none for plain HTTP"));
        }
        if !(1..=1_000_000).contains(&self.connections) {
            return Err(ConfigError::new("--http-connections", "must be 1 to 1000000"));
        }
        if !(4 << 10..=1 << 20).contains(&self.header_bytes) {
            return Err(ConfigError::new("--header-bytes", "must be 4KiB to 1MiB"));
        }
        for (name, time) in [
            ("--tls-handshake-timeout", self.tls_handshake_timeout),
            ("--header-timeout", self.header_timeout),
            ("--body-timeout", self.body_timeout),
            ("--handler-timeout", self.handler_timeout),
            ("--answer-stall-timeout", self.answer_stall_timeout),
            ("--idle-timeout", self.idle_timeout),
        ] {
            if time.is_zero() || time > Duration::from_hours(24) {
                return Err(ConfigError::new(name, "must be more than 0s and at most 24h"));
            }
        }
        Ok(())
    }
}

/// A network, or the one address.
fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical())))
        .map_err(|_| "a network is an address and its prefix's length, as in 10.0.0.0/8 or fd00::/8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut ListenConfig)) -> String {
        let mut config = ListenConfig::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        assert_eq!(ListenConfig::default().validate(), Ok(()));
        let half = ListenFlags { tls_cert: Some("a.pem".into()), ..ListenFlags::default() };
        assert!(ListenConfig::from_flags(half).validate().unwrap_err().to_string().contains("--tls-key"));
        assert!(refused(|config| config.connections = 0).contains("--http-connections"));
        assert!(refused(|config| config.header_bytes = 100).contains("--header-bytes"));
        assert!(refused(|config| config.body_timeout = Duration::ZERO).contains("--body-timeout"));
    }

    #[test]
    fn a_network_may_be_one_address() {
        assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network(" 127.0.0.1 ").unwrap().to_string(), "127.0.0.1/32");
        assert_eq!(network("::1").unwrap().to_string(), "::1/128");
        for wrong in ["", "proxy", "10.0.0.0/33", "10.0.0.0/8/8"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
