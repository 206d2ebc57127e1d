//! The pool of connections, and what we know of the backends behind it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectOptions, DatabaseConnection, DbErr, FromQueryResult, Statement};
use sqlx::{ConnectOptions as _, Row, postgres::PgConnectOptions};

use crate::config::DatabaseConfig;

use super::abandoned;
use super::error::{StartError, one_line};

/// How long a session may hold a transaction open without saying anything: its snapshot slows everybody's heads down.
const IDLE_IN_TRANSACTION: &str = "60s";
/// A connection that was not used for this long is tried before somebody gets it.
const TRY_AFTER_IDLE: Duration = Duration::from_secs(15);

/// A database: the pool, and how to get a connection beside it.
#[derive(Debug, Clone)]
pub struct Database {
    /// The pool.
    pub connection: DatabaseConnection,
    /// For a direct connection beside the pool, as the feed's listener needs it. It has no statement time-out.
    pub options: PgConnectOptions,
    /// The pool's own backends.
    pub backends: Arc<Backends>,
}

impl Database {
    /// Closes the pool. What does not end by itself within `patience` is ended in PostgreSQL: it would go on with what it
    /// was told after we are gone, and write what nobody was answered.
    pub async fn close(&self, patience: Duration) -> Result<(), sqlx::Error> {
        let pool = self.connection.get_postgres_connection_pool();
        if tokio::time::timeout(patience, pool.close()).await.is_ok() {
            return Ok(());
        }
        let ours: Vec<(i32, DateTime<Utc>)> =
            self.backends.with(|known| known.iter().map(|(pid, start)| (pid.cast_signed(), *start)).collect());
        let (pids, starts): (Vec<_>, Vec<_>) = ours.into_iter().unzip();
        let end = async {
            let mut session = self.options.connect().await?;
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

/// Connects the pool to `url`, which `setting` named. Waits for the first connection, not for all.
pub async fn connect(config: &DatabaseConfig, url: &str, setting: &str) -> Result<Database, StartError> {
    let options = connect_options(url, setting)?;
    let backends = Arc::new(Backends::default());
    let timeout = config.statement_timeout.unwrap_or(config.command_timeout);
    let pooled = options.clone().options([("statement_timeout", timeout.as_millis().to_string())]);

    let mut settings = ConnectOptions::new(url);
    settings
        .min_connections(config.min_connections)
        .max_connections(config.max_connections)
        .acquire_timeout(config.acquire_timeout)
        .test_before_acquire(false)
        .test_before_acquire_if_idle_for(TRY_AFTER_IDLE)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        // Connecting would wait as long as a full pool does, and keep the reason to itself: we try by hand below.
        .connect_lazy(true)
        .map_sqlx_postgres_opts(move |_| pooled.clone());
    let known = Arc::clone(&backends);
    settings.map_sqlx_postgres_pool_opts(move |pool| {
        let known = Arc::clone(&known);
        let pool =
            pool.after_release(|connection, _| Box::pin(async move { Ok(abandoned::is_free(connection).await) }));
        pool.after_connect(move |connection, _| {
            let known = Arc::clone(&known);
            Box::pin(async move {
                abandoned::prepare(connection).await;
                let row = sqlx::query("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
                    .fetch_one(connection)
                    .await?;
                let pid: i32 = row.try_get(0)?;
                known.add(pid.cast_unsigned(), row.try_get(1)?);
                Ok(())
            })
        })
    });
    reachable(&options, setting).await?;
    let connection = sea_orm::Database::connect(settings).await?;
    connection.ping().await?;
    Ok(Database { connection, options, backends })
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
