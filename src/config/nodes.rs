//! Further ways to the database, beside the pool's: direct ones for the listener, standbys to read from.

use std::{fmt, time::Duration};

use clap::Args;

use super::{ConfigError, humane};

/// Flags of the further ways.
#[derive(Clone, Default, Args)]
pub struct NodesFlags {
    /// Direct way to the database for listening and migrating, where --database-url leads through a pooler, as in
    /// <postgres://user:password@host:5432/database>; repeated (in the variable by spaces): one for each node that notifies
    #[arg(
        long = "listen-url",
        env = "TASKWIRE_LISTEN_URL",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ' ',
        help_heading = "Database"
    )]
    pub listen_urls: Vec<String>,
    /// Standbys to read lists and histories from, as in <postgres://user:password@host1,host2/database>
    #[arg(
        long = "read-url",
        env = "TASKWIRE_READ_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Database"
    )]
    pub read_url: Option<String>,
    /// How old what a standby gives may be; one that is further behind is not read from [default: 5s]
    #[arg(long = "read-staleness", env = "TASKWIRE_READ_STALENESS", value_name = "DURATION", value_parser = humane::duration, help_heading = "Database")]
    pub read_staleness: Option<Duration>,
}

/// Without the URLs, which hold passwords.
impl fmt::Debug for NodesFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodesFlags").field("read_staleness", &self.read_staleness).finish_non_exhaustive()
    }
}

/// Further ways to the database.
#[derive(Clone)]
pub struct NodesConfig {
    /// Direct ways for listening and migrating; none: the pool's is one.
    pub listen_urls: Vec<String>,
    /// Standbys to read from.
    pub read_url: Option<String>,
    /// How old what they give may be.
    pub read_staleness: Duration,
}

impl fmt::Debug for NodesConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodesConfig")
            .field("listen_urls", &self.listen_urls.len())
            .field("has_read_url", &self.read_url.is_some())
            .field("read_staleness", &self.read_staleness)
            .finish()
    }
}

impl Default for NodesConfig {
    fn default() -> Self {
        Self { listen_urls: Vec::new(), read_url: None, read_staleness: Duration::from_secs(5) }
    }
}

impl NodesConfig {
    pub(super) fn from_flags(flags: NodesFlags) -> Self {
        let given = |url: &String| !url.trim().is_empty();
        Self {
            listen_urls: flags.listen_urls.into_iter().filter(given).collect(),
            read_url: flags.read_url.filter(given),
            read_staleness: flags.read_staleness.unwrap_or(Self::default().read_staleness),
        }
    }

    /// Whether these are URLs, and the bound is one that can be kept.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let listen = self.listen_urls.iter().map(|url| ("--listen-url", url));
        for (setting, url) in listen.chain(self.read_url.iter().map(|url| ("--read-url", url))) {
            if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
                return Err(ConfigError::new(
                    setting,
                    "is no PostgreSQL URL: write postgres://user:password@host:5432/database",
                ));
            }
        }
        if !(Duration::from_millis(200)..=Duration::from_hours(1)).contains(&self.read_staleness) {
            return Err(ConfigError::new("--read-staleness", "must be 200ms to 1h"));
        }
        Ok(())
    }
}
