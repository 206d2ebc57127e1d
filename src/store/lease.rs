//! What one server at a time does to the tables: a lease, the session that holds it, and steps that check it.
//!
//! A holder that was stopped and wakes up does not run beside its successor. [`Lease::step`] asks in the transaction that
//! changes something whether the lease is still its own, and holds it until the commit. What cannot be in a transaction
//! ([`Lease::run_patiently`]) goes over the same session, and whoever takes over ends that session first.

use std::time::Duration;

use sea_orm::prelude::DateTimeUtc;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Postgres, Row as _};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Store, StoreError};

/// A holder that was not heard of for so long has lost it to whoever asks next.
pub const LEASE_TIME: Duration = Duration::from_secs(20);
/// How often a holder is heard of that waits for somebody.
const RENEW: Duration = Duration::from_secs(5);
/// How often somebody asks who waits for it.
const ASK: Duration = Duration::from_millis(250);
/// The one lease that there is: cleaning up and optimising do not go together either.
const NAME: &str = "storage";

const TAKE: &str = "SELECT taskwire_take_lease($1, $2, $3 * interval '1 millisecond'), pg_backend_pid()";
const HOLD: &str = "SELECT taskwire_hold_lease($1, $2)";
const RELEASE: &str = "UPDATE maintenance_lease SET holder = NULL WHERE name = $1 AND term = $2";
/// A prepared transaction has no session: 0.
const BLOCKERS: &str = "SELECT b.pid, a.application_name::text, a.state::text, a.xact_start \
    FROM unnest(pg_blocking_pids($1)) b (pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid ORDER BY a.xact_start";

/// Somebody's session that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// Its process in PostgreSQL.
    pub pid: i32,
    /// What it calls itself.
    pub application: String,
    /// What it does.
    pub state: String,
    /// Since when its transaction is open.
    pub since: Option<DateTimeUtc>,
}

impl std::fmt::Display for Blocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pid, application, state, since } = self;
        write!(f, "session {pid}")?;
        let told: Vec<&str> = [application, state].into_iter().map(String::as_str).filter(|t| !t.is_empty()).collect();
        if !told.is_empty() {
            write!(f, " ({})", told.join(", "))?;
        }
        since.map_or(Ok(()), |since| write!(f, ", whose transaction is open since {}", since.format("%F %T UTC")))
    }
}

/// What became of a statement that waits for others' transactions.
#[derive(Debug)]
pub(super) enum Waited {
    /// It is done.
    Done,
    /// It was given up for these.
    Held(Vec<Blocker>),
}

/// The right to do it, as long as nobody has taken over.
pub struct Lease {
    pub(super) store: Store,
    session: PgConnection,
    pid: i32,
    term: i64,
}

impl Lease {
    /// Takes it, where nobody has it or its holder is no longer heard of.
    pub async fn take(store: &Store, holder: &str) -> Result<Option<Self>, StoreError> {
        let mut session = store.session().await?;
        let milliseconds = i64::try_from(LEASE_TIME.as_millis()).unwrap_or(i64::MAX);
        let row = sqlx::query(TAKE).bind(NAME).bind(holder).bind(milliseconds).fetch_one(&mut session).await?;
        let (term, pid) = (row.try_get::<Option<i64>, _>(0)?, row.try_get(1)?);
        let store = store.clone();
        Ok(term.map(|term| Self { store, session, pid, term }))
    }

    /// The same, and waits for it until then.
    pub async fn wait_for(store: &Store, holder: &str, until: Instant) -> Result<Option<Self>, StoreError> {
        loop {
            let lease = Self::take(store, holder).await?;
            if lease.is_some() || Instant::now() + ASK >= until {
                return Ok(lease);
            }
            sleep(ASK).await;
        }
    }

    /// Gives it back. Whether that arrives does not matter: it runs out by itself.
    pub async fn release(mut self) {
        let release = async {
            sqlx::query(RELEASE).bind(NAME).bind(self.term).execute(&mut self.session).await?;
            self.session.close().await
        };
        // A statement that was given up may still hold the session.
        if !matches!(timeout(RENEW, release).await, Ok(Ok(()))) {
            tracing::debug!("a lease was not given back; it runs out by itself");
        }
    }

    /// Changes something in one transaction with the proof that the lease is still ours, and waits for no lock longer than
    /// `lock_timeout`. Returns the rows of the last statement.
    pub(super) async fn step(
        &mut self,
        lock_timeout: Duration,
        before: Option<String>,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let (term, patience) = (self.term, self.store.settings.command_timeout);
        let session = &mut self.session;
        let step = async {
            let mut transaction = session.begin().await?;
            let wait = format!("SET LOCAL lock_timeout = {}", lock_timeout.as_millis());
            transaction.execute(AssertSqlSafe(wait)).await?;
            sqlx::query(HOLD).bind(NAME).bind(term).execute(&mut *transaction).await?;
            if let Some(before) = before {
                transaction.execute(AssertSqlSafe(before)).await?;
            }
            let rows = query.fetch_all(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(rows)
        };
        timeout(patience, step).await.map_err(|_| StoreError::Timeout)?
    }

    /// Executes what has to wait for others' transactions and cannot be in one itself. It locks no writer out meanwhile.
    /// Where it waits for somebody after `patience`, it is cancelled, and told for whom; so is what is not done by `end`.
    pub(super) async fn run_patiently(
        &mut self,
        sql: String,
        patience: Duration,
        end: Instant,
    ) -> Result<Waited, StoreError> {
        self.step(RENEW, None, sqlx::query("SELECT")).await?;
        let (store, pid, term, tenure) = (self.store.clone(), self.pid, self.term, self.store.tenure());
        let (mut until, mut blockers) = ((Instant::now() + patience).min(end), None);
        let statement = self.session.execute(AssertSqlSafe(sql));
        let mut statement = std::pin::pin!(statement);
        loop {
            let look = Instant::now() + RENEW;
            let look = if blockers.is_none() { look.min(until) } else { look };
            tokio::select! {
                done = &mut statement => return match (done.map_err(StoreError::from), blockers) {
                    (Ok(_), _) => Ok(Waited::Done),
                    (Err(StoreError::Timeout), Some(blockers)) => Ok(Waited::Held(blockers)),
                    (Err(error), _) => Err(error),
                },
                () = sleep_until(look) => {}
            }
            // After a failover there is another backend with this number; and a session whose host is gone says nothing.
            if store.tenure() != tenure || blockers.is_some() && Instant::now() >= until + LEASE_TIME {
                return Err(StoreError::Unavailable("the session that held the lease has gone".to_owned()));
            }
            if blockers.is_none() && Instant::now() >= until {
                let found = store.blockers_of(pid).await?;
                if found.is_empty() && until < end {
                    until = (until + RENEW).min(end);
                    continue;
                }
                blockers = Some(found);
                store.query_all("SELECT pg_cancel_backend($1)", vec![pid.into()]).await?;
            } else {
                store.query_all(HOLD, vec![NAME.into(), term.into()]).await?;
            }
        }
    }
}

impl Store {
    /// A session beside the pool and past any pooler, whose statements may take as long as they need.
    pub(super) async fn session(&self) -> Result<PgConnection, StoreError> {
        let open = async {
            let mut session = match &self.direct {
                Some(hosts) => hosts.located().await?.connect().await?,
                None => self.db.get_postgres_connection_pool().connect_options().connect().await?,
            };
            session.execute("SET search_path = public; SET statement_timeout = 0").await?;
            Ok(session)
        };
        timeout(self.settings.command_timeout, open).await.map_err(|_| StoreError::Timeout)?
    }

    async fn blockers_of(&self, pid: i32) -> Result<Vec<Blocker>, StoreError> {
        let rows = self.query_all(BLOCKERS, vec![pid.into()]).await?;
        let blocker = |row: &sea_orm::QueryResult| {
            Ok::<_, StoreError>(Blocker {
                pid: row.try_get("", "pid")?,
                application: row.try_get::<Option<_>>("", "application_name")?.unwrap_or_default(),
                state: row.try_get::<Option<_>>("", "state")?.unwrap_or_default(),
                since: row.try_get("", "xact_start")?,
            })
        };
        rows.iter().map(blocker).collect()
    }
}
