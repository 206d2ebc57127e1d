//! Settings, one section a file. A section is what the rest of the program reads, with its defaults and `validate()`;
//! beside it stand its flags, which clap reads from the command line, from `TASKWIRE_…` variables and, as their defaults,
//! from the settings file ([`File`]).
//!
//! To add a setting: a field in the section and in its flags, a line in the section's `from_flags`, and where a wrong
//! value can be told from a right one, a line in `validate`. Its key in the file is its option's long name; tests ask for
//! its lines in `taskwire.example.toml` and README.md.

mod auth;
mod data_dir;
mod database;
mod documents;
mod feed;
mod file;
mod graphql;
mod http;
mod humane;
mod listen;
mod nodes;
mod retention;
mod secret;
mod socket;
mod task;
mod telemetry;
mod write;

use clap::Args;

pub use auth::{AuthConfig, AuthFlags, KeyConfig};
pub use data_dir::{DataDirConfig, DataDirFlags};
pub use database::{DatabaseConfig, DatabaseFlags, DatabaseSource, OLDER};
pub use documents::{DocumentsConfig, DocumentsFlags};
pub use feed::{FeedConfig, FeedFlags};
pub use file::{File, nearest, settings, takes};
pub use graphql::{GraphqlConfig, GraphqlFlags, Switch};
pub use http::{HttpConfig, HttpFlags};
pub(crate) use humane::duration;
pub use listen::{ListenConfig, ListenFlags, ProxyHeader, TlsFiles};
pub use nodes::{NodesConfig, NodesFlags};
pub use retention::{MOST_DAYS, PartitionBy, RetentionConfig, RetentionFlags, Schedule};
pub use socket::{SocketConfig, SocketFlags};
pub use task::{TaskConfig, TaskFlags};
pub use telemetry::{TelemetryConfig, TelemetryFlags};
pub use write::{CONNECTIONS_A_LANE, WriteConfig, WriteFlags};

/// A setting that cannot be used. Its text is one line that names the setting and what it may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct ConfigError {
    /// The flag or variable.
    pub setting: String,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

impl ConfigError {
    fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { setting: setting.into(), problem: problem.into() }
    }
}

/// Where a flag's value came from, by rising weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Origin {
    /// The settings file.
    File,
    /// A `TASKWIRE_…` variable.
    #[default]
    Environment,
    /// The command line.
    CommandLine,
}

/// Everything that can be said on the command line or in a `TASKWIRE_…` variable.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// The database, and the pool of connections to it.
    #[command(flatten)]
    pub database: DatabaseFlags,
    /// Further ways to the database.
    #[command(flatten)]
    pub nodes: NodesFlags,
    /// The data directory.
    #[command(flatten)]
    pub data_dir: DataDirFlags,
    /// HTTP.
    #[command(flatten)]
    pub http: HttpFlags,
    /// Open connections.
    #[command(flatten)]
    pub socket: SocketFlags,
    /// Connections.
    #[command(flatten)]
    pub listen: ListenFlags,
    /// Who may call.
    #[command(flatten)]
    pub auth: AuthFlags,
    /// Operations.
    #[command(flatten)]
    pub graphql: GraphqlFlags,
    /// Documents that the server knows.
    #[command(flatten)]
    pub documents: DocumentsFlags,
    /// Live updates.
    #[command(flatten)]
    pub feed: FeedFlags,
    /// The write queues.
    #[command(flatten)]
    pub write: WriteFlags,
    /// Tasks.
    #[command(flatten)]
    pub task: TaskFlags,
    /// What is removed by its age.
    #[command(flatten)]
    pub retention: RetentionFlags,
    /// What the server tells of itself.
    #[command(flatten)]
    pub telemetry: TelemetryFlags,
}

/// All settings of a server.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The database, and the pool of connections to it.
    pub database: DatabaseConfig,
    /// Further ways to the database.
    pub nodes: NodesConfig,
    /// The data directory, which holds the embedded cluster.
    pub data_dir: DataDirConfig,
    /// Where it listens, and to whom it answers.
    pub http: HttpConfig,
    /// Open connections.
    pub socket: SocketConfig,
    /// How connections are taken.
    pub listen: ListenConfig,
    /// Who may call.
    pub auth: AuthConfig,
    /// What one operation may ask for.
    pub graphql: GraphqlConfig,
    /// Documents that the server knows.
    pub documents: DocumentsConfig,
    /// Live updates.
    pub feed: FeedConfig,
    /// The write queues.
    pub write: WriteConfig,
    /// Tasks.
    pub task: TaskConfig,
    /// What is removed by its age.
    pub retention: RetentionConfig,
    /// What the server tells of itself.
    pub telemetry: TelemetryConfig,
}

impl Config {
    /// Makes the settings out of the flags, then `DATABASE_URL`, then the `DB_…` variables of the system that Taskwire
    /// replaces, then the defaults. `variable` looks up an environment variable; an empty one counts as not set.
    pub fn load(flags: Flags, variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let config = Self::gather(flags, variable)?;
        config.validate()?;
        Ok(config)
    }

    /// Connections to PostgreSQL at the most: the pool's and the write lanes'. The listener has one more.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.database.max_connections.saturating_add(self.write.connections())
    }

    /// The same without asking whether the settings are usable.
    pub fn gather(flags: Flags, variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        Ok(Self {
            database: DatabaseConfig::from_flags(flags.database, &variable)?,
            nodes: NodesConfig::from_flags(flags.nodes),
            data_dir: DataDirConfig::from_flags(flags.data_dir),
            http: HttpConfig::from_flags(flags.http),
            socket: SocketConfig::from_flags(&flags.socket),
            listen: ListenConfig::from_flags(flags.listen)?,
            auth: AuthConfig::from_flags(flags.auth)?,
            graphql: GraphqlConfig::from_flags(&flags.graphql),
            documents: DocumentsConfig::from_flags(&flags.documents)?,
            feed: FeedConfig::from_flags(&flags.feed),
            write: WriteConfig::from_flags(&flags.write),
            task: TaskConfig::from_flags(&flags.task),
            retention: RetentionConfig::from_flags(&flags.retention)?,
            telemetry: TelemetryConfig::from_flags(flags.telemetry),
        })
    }

    /// Whether each section is usable, and whether they go together: the first problem.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// The first problem of each section.
    #[must_use]
    pub fn problems(&self) -> Vec<ConfigError> {
        let checks = [
            self.database.validate(),
            self.nodes.validate(),
            self.http.validate(),
            self.socket.validate(),
            self.listen.validate(),
            self.auth.validate(),
            self.auth.validate_reach(self.http.listen.ip()),
            self.graphql.validate(),
            self.documents.validate(),
            self.feed.validate(),
            self.write.validate(),
            self.task.validate(),
            self.retention.validate(),
            self.telemetry.validate(self.http.listen),
            self.validate_together(),
        ];
        checks.into_iter().filter_map(Result::err).collect()
    }

    fn validate_together(&self) -> Result<(), ConfigError> {
        // Who is given up from outside is told less than whose operation ends by itself: not even a save's recordId.
        if self.listen.handler_timeout <= self.graphql.operation_timeout.max(self.graphql.maintenance_time) {
            return Err(ConfigError::new(
                "--handler-timeout",
                "must be more than --operation-timeout and --maintenance-time: set these lower, or it higher",
            ));
        }
        let is_embedded = matches!(self.database.url, DatabaseSource::Embedded);
        if is_embedded && (self.nodes.read_url.is_some() || !self.nodes.listen_urls.is_empty()) {
            let setting = if self.nodes.read_url.is_some() { "--read-url" } else { "--listen-url" };
            return Err(ConfigError::new(
                setting,
                "leads to another database than the embedded one: give --database-url",
            ));
        }
        if self.http.user_body_limit > self.http.body_limit {
            return Err(ConfigError::new("--user-body-limit", "must be at most --body-limit, that of workers"));
        }
        Ok(())
    }
}
