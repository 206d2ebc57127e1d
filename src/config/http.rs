//! Where the server listens, and to whom it answers.

use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;

use super::{ConfigError, humane};

/// Flags of HTTP.
#[derive(Debug, Clone, Default, Args)]
pub struct HttpFlags {
    /// Address and port to listen on [default: 127.0.0.1:8000]
    #[arg(long, env = "TASKWIRE_LISTEN", value_name = "ADDRESS:PORT", help_heading = "HTTP")]
    pub listen: Option<SocketAddr>,
    /// Host name by which browsers reach this server, besides localhost, as in tasks.example.com; can be repeated or comma separated
    #[arg(
        long = "public-host",
        env = "TASKWIRE_PUBLIC_HOST",
        value_name = "HOST",
        value_delimiter = ',',
        help_heading = "HTTP"
    )]
    pub public_hosts: Vec<String>,
    /// Origin of web pages that may use this server, as in <https://app.example.com>; can be repeated or comma separated
    #[arg(
        long = "allow-origin",
        env = "TASKWIRE_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ',',
        help_heading = "HTTP"
    )]
    pub allow_origins: Vec<String>,
    /// How large the body of a user's request may be [default: 1MiB]
    #[arg(long = "user-body-limit", env = "TASKWIRE_USER_BODY_LIMIT", value_name = "SIZE", value_parser = humane::bytes, help_heading = "HTTP")]
    pub user_body_limit: Option<usize>,
    /// How large the body of a worker's or an admin's request may be [default: 16MiB]
    #[arg(long = "body-limit", env = "TASKWIRE_BODY_LIMIT", value_name = "SIZE", value_parser = humane::bytes, help_heading = "HTTP")]
    pub body_limit: Option<usize>,
}

/// Where the server listens, and to whom it answers.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Hosts that a request may name, besides localhost, 127.0.0.1 and `[::1]`; lower case.
    pub public_hosts: Vec<String>,
    /// Origins of web pages that may use this server, besides its own; lower case, without a slash at the end.
    pub allow_origins: Vec<String>,
    /// Bytes of the body of a user's request.
    pub user_body_limit: usize,
    /// Bytes of the body of a worker's or an admin's request.
    pub body_limit: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            public_hosts: Vec::new(),
            allow_origins: Vec::new(),
            user_body_limit: 1 << 20,
            body_limit: 16 << 20,
        }
    }
}

impl HttpConfig {
    pub(super) fn from_flags(flags: HttpFlags) -> Self {
        let default = Self::default();
        Self {
            listen: flags.listen.unwrap_or(default.listen),
            public_hosts: tidy(flags.public_hosts),
            allow_origins: tidy(flags.allow_origins),
            user_body_limit: flags.user_body_limit.unwrap_or(default.user_body_limit),
            body_limit: flags.body_limit.unwrap_or(default.body_limit),
        }
    }

    /// Whether hosts and origins look like such.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for host in &self.public_hosts {
            if host.contains('/') || host.contains(char::is_whitespace) {
                return Err(ConfigError::new(
                    "--public-host",
                    format!("{host:?} is no host name: give the name alone, as in tasks.example.com"),
                ));
            }
        }
        for origin in &self.allow_origins {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '*', ' '])) {
                return Err(ConfigError::new(
                    "--allow-origin",
                    format!("{origin:?} is no origin: give scheme and host, as in https://app.example.com"),
                ));
            }
        }
        for (setting, limit) in [("--user-body-limit", self.user_body_limit), ("--body-limit", self.body_limit)] {
            if !(1 << 10..=1 << 30).contains(&limit) {
                return Err(ConfigError::new(setting, "must be 1KiB to 1GiB"));
            }
        }
        Ok(())
    }
}

fn tidy(names: Vec<String>) -> Vec<String> {
    names
        .iter()
        .map(|name| name.trim().trim_end_matches('/').to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect()
}
