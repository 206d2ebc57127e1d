//! Which database, and the pool of connections to it.

use std::{
    fmt::{self, Write},
    path::PathBuf,
    time::Duration,
};

use clap::Args;

use super::{ConfigError, Origin, humane, secret};

/// Older variables by the setting that they speak about. Like all variables they weigh more than the settings file.
pub const OLDER: [(&str, &[&str]); 5] = [
    ("database-url", &["DATABASE_URL", "DATABASE_URL_FILE", "DB_HOST", "DB_NAME", "DB_USER"]),
    ("database-url-file", &["DATABASE_URL", "DATABASE_URL_FILE", "DB_HOST", "DB_NAME", "DB_USER"]),
    ("min-connections", &["DB_MIN_SIZE"]),
    ("max-connections", &["DB_MAX_SIZE"]),
    ("command-timeout", &["DB_COMMAND_TIMEOUT"]),
];

/// Flags of the database.
#[derive(Debug, Clone, Default, Args)]
pub struct DatabaseFlags {
    /// PostgreSQL to use, as in <postgres://user:password@host:5432/database>; without it, and without DATABASE_URL
    /// or DB_HOST, DB_PORT, DB_NAME, DB_USER and DB_PASSWORD, the server runs one of its own
    #[arg(
        long = "database-url",
        env = "TASKWIRE_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Database"
    )]
    pub database_url: Option<String>,
    /// File that holds this URL; a line feed at its end is not part of it
    #[arg(
        long = "database-url-file",
        env = "TASKWIRE_DATABASE_URL_FILE",
        value_name = "FILE",
        help_heading = "Database"
    )]
    pub database_url_file: Option<PathBuf>,
    /// File that holds the password of a database whose URL, or DB_HOST, names none
    #[arg(
        long = "database-password-file",
        env = "TASKWIRE_DATABASE_PASSWORD_FILE",
        value_name = "FILE",
        help_heading = "Database"
    )]
    pub database_password_file: Option<PathBuf>,
    /// Run the embedded PostgreSQL, whatever DATABASE_URL and DB_HOST say
    #[arg(long, env = "TASKWIRE_EMBEDDED", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue, help_heading = "Database")]
    pub embedded: bool,
    /// Connections that are kept open [default: 10]
    #[arg(
        long = "min-connections",
        env = "TASKWIRE_MIN_CONNECTIONS",
        value_name = "NUMBER",
        help_heading = "Database"
    )]
    pub min_connections: Option<u32>,
    /// Connections of the pool at the most; each write lane has up to two besides [default: 20]
    #[arg(
        long = "max-connections",
        env = "TASKWIRE_MAX_CONNECTIONS",
        value_name = "NUMBER",
        help_heading = "Database"
    )]
    pub max_connections: Option<u32>,
    /// How long to wait for a free connection [default: 60s]
    #[arg(long = "acquire-timeout", env = "TASKWIRE_ACQUIRE_TIMEOUT", value_name = "DURATION", value_parser = humane::duration, help_heading = "Database")]
    pub acquire_timeout: Option<Duration>,
    /// How long to wait for the answer to a statement [default: 60s]
    #[arg(long = "command-timeout", env = "TASKWIRE_COMMAND_TIMEOUT", value_name = "DURATION", value_parser = humane::duration, help_heading = "Database")]
    pub command_timeout: Option<Duration>,
    /// After what time PostgreSQL itself ends a statement [default: the command time-out]
    #[arg(long = "statement-timeout", env = "TASKWIRE_STATEMENT_TIMEOUT", value_name = "DURATION", value_parser = humane::duration, help_heading = "Database")]
    pub statement_timeout: Option<Duration>,
    /// Where `--database-url` came from; the command line's reader sets it.
    #[arg(skip)]
    pub database_url_origin: Origin,
    /// Where `--embedded` came from.
    #[arg(skip)]
    pub embedded_origin: Origin,
}

/// Which database.
#[derive(Clone)]
pub enum DatabaseSource {
    /// Somebody's PostgreSQL.
    Url {
        /// Where it is; holds the password.
        url: String,
        /// The flag or variable that says so.
        setting: String,
    },
    /// The server's own, in its data directory.
    Embedded,
}

/// Without the URL, which holds a password.
impl fmt::Debug for DatabaseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url { setting, .. } => f.debug_struct("Url").field("setting", setting).finish_non_exhaustive(),
            Self::Embedded => f.write_str("Embedded"),
        }
    }
}

/// Which database, and the pool of connections to it.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// Which database.
    pub url: DatabaseSource,
    /// Connections that are kept open.
    pub min_connections: u32,
    /// Connections at the most.
    pub max_connections: u32,
    /// How long to wait for a free connection.
    pub acquire_timeout: Duration,
    /// How long to wait for the answer to a statement.
    pub command_timeout: Duration,
    /// After what time PostgreSQL itself ends a statement; the command time-out where nothing is said, so that it
    /// does not work on for somebody who has gone.
    pub statement_timeout: Option<Duration>,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: DatabaseSource::Embedded,
            min_connections: 10,
            max_connections: 20,
            acquire_timeout: Duration::from_mins(1),
            command_timeout: Duration::from_mins(1),
            statement_timeout: None,
        }
    }
}

impl DatabaseConfig {
    pub(super) fn from_flags(
        flags: DatabaseFlags,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let default = Self::default();
        let old = OldPool::read(variable)?;
        let max_connections = flags.max_connections.or(old.max);
        let min_connections = flags.min_connections.or(old.min);
        Ok(Self {
            // Who sets one of the two only means it: the other one's default gives way.
            max_connections: max_connections
                .unwrap_or_else(|| default.max_connections.max(min_connections.unwrap_or(0))),
            min_connections: min_connections.unwrap_or_else(|| {
                max_connections.map_or(default.min_connections, |max| max.min(default.min_connections))
            }),
            acquire_timeout: flags.acquire_timeout.unwrap_or(default.acquire_timeout),
            command_timeout: flags.command_timeout.or(old.command_timeout).unwrap_or(default.command_timeout),
            statement_timeout: flags.statement_timeout,
            url: source(flags, variable)?,
        })
    }

    /// Whether the pool can work, and the URL can be read.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if let DatabaseSource::Url { url, setting } = &self.url
            && !(url.starts_with("postgres://") || url.starts_with("postgresql://"))
        {
            return Err(ConfigError::new(
                setting,
                "is no PostgreSQL URL: write postgres://user:password@host:5432/database",
            ));
        }
        if self.max_connections < 5 || self.max_connections > 1000 {
            return Err(ConfigError::new("--max-connections", "must be 5 to 1000"));
        }
        if self.min_connections > self.max_connections {
            return Err(ConfigError::new("--min-connections", "must not be more than --max-connections"));
        }
        for (name, value) in [
            ("--acquire-timeout", Some(self.acquire_timeout)),
            ("--command-timeout", Some(self.command_timeout)),
            ("--statement-timeout", self.statement_timeout),
        ] {
            let usable = Duration::from_millis(100)..=Duration::from_hours(24);
            if value.is_some_and(|value| !usable.contains(&value)) {
                return Err(ConfigError::new(name, "must be 100ms to 1d"));
            }
        }
        Ok(())
    }
}

/// By weight: the command line, `TASKWIRE_…`, DATABASE_URL, `DB_…`, the settings file; without any of them the embedded
/// one. (What the file says has been left out already where a variable says it.)
fn source(flags: DatabaseFlags, variable: &impl Fn(&str) -> Option<String>) -> Result<DatabaseSource, ConfigError> {
    let password = flags.database_password_file.clone().filter(|path| !path.as_os_str().is_empty());
    let source = place(flags, variable)?;
    let (Some(path), DatabaseSource::Url { url, setting }) = (password, &source) else { return Ok(source) };
    let password = secret::read("--database-password-file", &path)?;
    let url = with_password(url, &password).ok_or_else(|| {
        ConfigError::new(
            "--database-password-file",
            format!("{setting} names a password already: leave out one of them"),
        )
    })?;
    Ok(DatabaseSource::Url { url, setting: setting.clone() })
}

fn place(flags: DatabaseFlags, variable: &impl Fn(&str) -> Option<String>) -> Result<DatabaseSource, ConfigError> {
    let given = flags.database_url.filter(|url| !url.trim().is_empty());
    let file = flags.database_url_file.filter(|path| !path.as_os_str().is_empty());
    if given.is_some() && file.is_some() {
        return Err(ConfigError::new(
            "--database-url-file",
            "contradicts --database-url (TASKWIRE_DATABASE_URL): leave out one of them",
        ));
    }
    if let Some(url) = given {
        if flags.embedded && flags.embedded_origin == flags.database_url_origin {
            return Err(ConfigError::new(
                "--embedded",
                "contradicts --database-url (TASKWIRE_DATABASE_URL): leave out one of them",
            ));
        }
        if !flags.embedded || flags.database_url_origin > flags.embedded_origin {
            let setting = match flags.database_url_origin {
                Origin::CommandLine => "--database-url",
                Origin::Environment => "TASKWIRE_DATABASE_URL",
                Origin::File => "database-url of the settings file",
            };
            return Ok(at(&url, setting));
        }
    }
    if flags.embedded {
        return Ok(DatabaseSource::Embedded);
    }
    if let Some(path) = file {
        return Ok(at(&secret::read("--database-url-file", &path)?, "--database-url-file"));
    }
    if let Some(url) = secret_variable("DATABASE_URL", variable)? {
        return Ok(at(&url, "DATABASE_URL"));
    }
    old_database(variable)
}

/// A variable, or what stands in the file that `…_FILE` names.
fn secret_variable(name: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<Option<String>, ConfigError> {
    let by_file = format!("{name}_FILE");
    match (variable(name), variable(&by_file)) {
        (Some(_), Some(_)) => Err(ConfigError::new(by_file, format!("contradicts {name}: leave out one of them"))),
        (None, Some(path)) => secret::read(&by_file, path.as_ref()).map(|secret| Some(secret.to_string())),
        (value, None) => Ok(value),
    }
}

/// The URL with this password, if it has a user and no password.
fn with_password(url: &str, password: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    if after.contains("password=") {
        return None;
    }
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    (!user.contains(':')).then(|| format!("{scheme}://{user}:{}@{hosts}{after}", escape(password)))
}

fn at(url: &str, setting: &str) -> DatabaseSource {
    // Python programs name their driver in the scheme: postgresql+asyncpg://…
    let url = match url.trim().split_once("://") {
        Some((scheme, rest)) if scheme.starts_with("postgresql+") => format!("postgres://{rest}"),
        _ => url.trim().to_owned(),
    };
    DatabaseSource::Url { url, setting: setting.to_owned() }
}

/// The replaced system's variables and defaults. They count where one of them names a place (`DB_HOST`, `DB_NAME`, `DB_USER`):
/// a port or a password alone says nothing.
fn old_database(variable: &impl Fn(&str) -> Option<String>) -> Result<DatabaseSource, ConfigError> {
    let [host, name, user] = ["DB_HOST", "DB_NAME", "DB_USER"].map(variable);
    let Some(setting) = [("DB_HOST", &host), ("DB_NAME", &name), ("DB_USER", &user)]
        .into_iter()
        .find_map(|(setting, value)| value.is_some().then_some(setting))
    else {
        return Ok(DatabaseSource::Embedded);
    };
    let port = match variable("DB_PORT") {
        None => 5432,
        Some(text) => {
            text.trim().parse::<u16>().map_err(|_| ConfigError::new("DB_PORT", "must be a port number, as in 5432"))?
        }
    };
    let password =
        secret_variable("DB_PASSWORD", variable)?.map(|password| format!(":{}", escape(&password))).unwrap_or_default();
    let host = host.unwrap_or_else(|| "localhost".into());
    // An IPv6 address stands in brackets, and a folder with a socket is escaped.
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else if host.starts_with('[') {
        host
    } else {
        escape(&host)
    };
    Ok(DatabaseSource::Url {
        url: format!(
            "postgres://{}{password}@{host}:{port}/{}",
            escape(&user.unwrap_or_else(|| "postgres".into())),
            escape(&name.unwrap_or_else(|| "aiecs".into())),
        ),
        setting: setting.to_owned(),
    })
}

/// The replaced system's settings of its pool. They count whatever the database is.
struct OldPool {
    min: Option<u32>,
    max: Option<u32>,
    command_timeout: Option<Duration>,
}

impl OldPool {
    fn read(variable: &impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let number = |name: &str| {
            variable(name)
                .map(|text| {
                    text.trim()
                        .parse::<u32>()
                        .map_err(|_| ConfigError::new(name, "must be a whole number of connections"))
                })
                .transpose()
        };
        Ok(Self {
            min: number("DB_MIN_SIZE")?,
            max: number("DB_MAX_SIZE")?,
            command_timeout: variable("DB_COMMAND_TIMEOUT")
                .map(|text| {
                    humane::seconds(&text)
                        .map_err(|_| ConfigError::new("DB_COMMAND_TIMEOUT", "must be a number of seconds"))
                })
                .transpose()?,
        })
    }
}

/// Escapes what could end its part of a URL.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}
