//! The pool of connections, and what we know of the backends behind it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use sea_orm::{ConnectOptions, DatabaseConnection, DbErr, FromQueryResult, Statement};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio_util::sync::CancellationToken;

use crate::config::DatabaseConfig;

use super::abandoned;
use super::error::{StartError, one_line};
use super::hosts::{Hosts, Met};
use super::primary::Primary;

/// How long a session may hold a transaction open without saying anything: its snapshot slows everybody's heads down.
const IDLE_IN_TRANSACTION: &str = "60s";
/// A connection that was not used for this long is tried before somebody gets it.
const TRY_AFTER_IDLE: Duration = Duration::from_secs(15);
/// What a connection to a standby may take: then the primary is read.
const STANDBY_PATIENCE: Duration = Duration::from_secs(1);

/// A database: the pool, and how to get a connection beside it.
#[derive(Debug, Clone)]
pub struct Database {
    /// The pool.
    pub connection: DatabaseConnection,
    /// How the pool's first connection was made. It has no statement time-out.
    pub options: PgConnectOptions,
    /// For direct connections beside the pool, one for each node that notifies: as the feed's listeners need them.
    pub direct: Vec<Hosts>,
    /// The pool's own backends.
    pub backends: Arc<Backends>,
    /// Where the pool leads.
    pub primary: Primary,
    statement_timeout: Duration,
}

impl Database {
    /// Direct connections lead there, not where the pool leads.
    #[must_use]
    pub fn listening_at(self, direct: Vec<Hosts>) -> Self {
        if direct.is_empty() { self } else { Self { direct, ..self } }
    }

    /// Keeps the pool at the primary, until the token ends it.
    pub async fn follow(self, token: CancellationToken) {
        let pool = self.connection.get_postgres_connection_pool();
        self.primary.follow(pool, |options| pooled(options, self.statement_timeout), &self.backends, token).await;
    }

    /// Closes the pool and those that follow it, as soon as what is under way on their connections has ended.
    pub async fn drain(&self) {
        let mut pools = self.primary.followers();
        pools.push(self.connection.get_postgres_connection_pool().clone());
        join_all(pools.iter().map(PgPool::close)).await;
    }

    /// Does so, and ends in PostgreSQL what does not end by itself within `patience`: it would go on with what it was told
    /// after we are gone, and write what nobody was answered.
    pub async fn close(&self, patience: Duration) -> Result<(), sqlx::Error> {
        if tokio::time::timeout(patience, self.drain()).await.is_ok() {
            return Ok(());
        }
        let ours: Vec<(i32, DateTime<Utc>)> =
            self.backends.with(|known| known.iter().map(|(pid, start)| (pid.cast_signed(), *start)).collect());
        let (pids, starts): (Vec<_>, Vec<_>) = ours.into_iter().unzip();
        let end = async {
            let direct = self.direct.first().map_or(&self.options, Hosts::current);
            let mut session = direct.connect().await?;
            let ended = sqlx::query(
                "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a \
                 JOIN unnest($1::int4[], $2::timestamptz[]) o (pid, started) ON a.pid = o.pid AND a.backend_start = o.started",
            );
            ended.bind(pids).bind(starts).execute(&mut session).await?;
            sqlx::Connection::close(session).await
        };
        tokio::time::timeout(patience, end).await.map_err(|_| sqlx::Error::PoolTimedOut)?
    }
}

/// The backends of our own pool, by process and start. A notification carries the process that sent it, so this tells
/// our own from other people's.
#[derive(Debug, Default)]
pub struct Backends(Mutex<HashMap<u32, DateTime<Utc>>>);

#[derive(FromQueryResult)]
struct Backend {
    pid: i32,
    backend_start: Option<DateTime<Utc>>,
}

impl Backends {
    /// Whether the backend is one of our pool's.
    #[must_use]
    pub fn contains(&self, pid: u32) -> bool {
        self.with(|known| known.contains_key(&pid))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.with(|known| known.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets those that have ended. A process number may have been given to somebody else since, so the time of the
    /// start is compared as well.
    pub async fn prune(&self, connection: &DatabaseConnection) -> Result<(), DbErr> {
        // Those that start while the answer is on its way are not in it, and must stay.
        let before: Vec<u32> = self.with(|known| known.keys().copied().collect());
        let statement = Statement::from_string(
            connection.get_database_backend(),
            "SELECT pid, backend_start FROM pg_stat_activity WHERE datname = current_database()",
        );
        let alive: HashMap<u32, Option<DateTime<Utc>>> = Backend::find_by_statement(statement)
            .all(connection)
            .await?
            .into_iter()
            .map(|backend| (backend.pid.cast_unsigned(), backend.backend_start))
            .collect();
        self.with(|known| {
            for pid in before {
                let start = known.get(&pid).copied();
                if alive.get(&pid).copied().flatten() != start {
                    known.remove(&pid);
                }
            }
        });
        Ok(())
    }

    /// They were those of another host.
    pub(super) fn forget(&self) {
        self.with(HashMap::clear);
    }

    fn add(&self, pid: u32, start: DateTime<Utc>) {
        self.with(|known| known.insert(pid, start));
    }

    fn with<T>(&self, f: impl FnOnce(&mut HashMap<u32, DateTime<Utc>>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How to connect to `url`: what every session of ours has, in the pool and beside it.
pub fn connect_options(url: &str, setting: &str) -> Result<PgConnectOptions, StartError> {
    let options = url
        .parse::<PgConnectOptions>()
        .map_err(|error| StartError::BadUrl { setting: setting.to_owned(), cause: one_line(&error.to_string()) })?;
    // sqlx itself sets the time zone to UTC. The path keeps a schema of the role's own name from getting in between.
    Ok(options
        .application_name("taskwire")
        .options([("search_path", "public"), ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION)])
        .disable_statement_logging())
}

/// Host, port and database, without the password: for messages.
#[must_use]
pub fn place(options: &PgConnectOptions) -> String {
    format!(
        "{}:{}/{}",
        options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string()),
        options.get_port(),
        options.get_database().unwrap_or(options.get_username()),
    )
}

/// Pools of the standbys that `url` names, to read from, each with its place. They need not be there.
pub async fn standbys(config: &DatabaseConfig, url: &str) -> Result<Vec<(DatabaseConnection, String)>, StartError> {
    let hosts = Hosts::parse(url, "--read-url")?;
    let mut pools = Vec::new();
    for options in hosts.all() {
        let timeout = config.statement_timeout.unwrap_or(config.command_timeout);
        let mut settings = pool_settings(config, pooled(options.clone(), timeout));
        settings.min_connections(0).acquire_timeout(STANDBY_PATIENCE.min(config.acquire_timeout));
        settings.map_sqlx_postgres_pool_opts(move |pool| {
            let pool = pool.after_release(|connection, _| Box::pin(async { Ok(abandoned::is_free(connection).await) }));
            pool.after_connect(move |connection, _| Box::pin(prepare(connection, timeout)))
        });
        pools.push((sea_orm::Database::connect(settings).await?, place(options)));
    }
    Ok(pools)
}

fn pool_settings(config: &DatabaseConfig, options: PgConnectOptions) -> ConnectOptions {
    let mut settings = ConnectOptions::new("postgres://");
    settings
        .max_connections(config.max_connections)
        .test_before_acquire(false)
        .test_before_acquire_if_idle_for(TRY_AFTER_IDLE)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        // Connecting would wait as long as a full pool does, and keep the reason to itself: we try by hand before.
        .connect_lazy(true)
        .map_sqlx_postgres_opts(move |_| options.clone());
    settings
}

/// What the options of a connection say, too: a pooler ignores them.
async fn prepare(connection: &mut PgConnection, statement_timeout: Duration) -> Result<(), sqlx::Error> {
    let sql = format!(
        "SET search_path = public; SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION}'; \
         SET statement_timeout = {}",
        statement_timeout.as_millis()
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    abandoned::prepare(connection).await;
    Ok(())
}

/// What the pool's sessions have besides.
fn pooled(options: PgConnectOptions, statement_timeout: Duration) -> PgConnectOptions {
    options.options([("statement_timeout", statement_timeout.as_millis().to_string())])
}

/// Connects the pool to `url`, which `setting` named: of several hosts to the primary. Waits for the first connection, not
/// for all.
pub async fn connect(config: &DatabaseConfig, url: &str, setting: &str) -> Result<Database, StartError> {
    let hosts = Hosts::parse(url, setting)?;
    let options = Box::pin(hosts.primary()).await?.clone();
    let backends = Arc::new(Backends::default());
    let primary = Primary::among(hosts.clone());
    let statement_timeout = config.statement_timeout.unwrap_or(config.command_timeout);
    let at_first = pooled(options.clone(), statement_timeout);

    let mut settings = pool_settings(config, at_first);
    settings.min_connections(config.min_connections).acquire_timeout(config.acquire_timeout);
    let (known, met_by) = (Arc::clone(&backends), primary.clone());
    settings.map_sqlx_postgres_pool_opts(move |pool| {
        let (known, met_by, left) = (Arc::clone(&known), met_by.clone(), met_by.clone());
        let pool = pool.after_release(move |connection, life| {
            let has_left = left.has_left(life.age);
            Box::pin(async move { Ok(!has_left && abandoned::is_free(connection).await) })
        });
        pool.after_connect(move |connection, _| {
            let (known, met_by) = (Arc::clone(&known), met_by.clone());
            Box::pin(async move {
                prepare(connection, statement_timeout).await?;
                let met = Met::at(connection).await?;
                met_by.meet(&met)?;
                known.add(met.pid, met.backend_start);
                Ok(())
            })
        })
    });
    reachable(&options, setting).await?;
    let connection = sea_orm::Database::connect(settings).await?;
    connection.ping().await?;
    Ok(Database { connection, options, direct: vec![hosts], backends, primary, statement_timeout })
}

/// Connects once, and tells why it does not work.
pub(super) async fn reachable(options: &PgConnectOptions, setting: &str) -> Result<(), StartError> {
    let unreachable =
        |cause: String| StartError::Unreachable { place: place(options), setting: setting.to_owned(), cause };
    let attempt = tokio::time::timeout(Duration::from_secs(15), options.connect()).await;
    match attempt {
        Ok(Ok(connection)) => {
            // Whether the good-bye arrives does not matter.
            let _ = sqlx::Connection::close(connection).await;
            Ok(())
        }
        Ok(Err(error)) => Err(unreachable(one_line(&error.to_string()))),
        Err(_) => Err(unreachable("no answer within 15 s".into())),
    }
}
