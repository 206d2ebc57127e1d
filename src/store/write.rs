//! A write on a connection of the pool, and the end of connections that no write can use: of an old primary that came back
//! as a standby, and with plans or prepared statements that a migration or a pooler took away. They answer a ping as any
//! other does, and the pool would lend them for as long as they live.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow, Postgres};

use super::{Store, StoreError, error};

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// For so long a busy writer keeps one connection: the pool ends those that have become old.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// For so long a writer that has nothing to do keeps its connection.
const KEPT_AT_REST: Duration = Duration::from_secs(1);

/// A connection of the pool that a writer keeps from one write to the next while it is busy. The pool lends them in turn,
/// and each `PostgreSQL` process would have to get warm for itself: with twenty of them, a tenth fewer saves.
#[derive(Default)]
pub(super) struct Kept(Option<Lent>);

/// A connection, since when it is kept, and in which tenure it was lent.
struct Lent {
    connection: PoolConnection<Postgres>,
    since: Instant,
    tenure: u64,
}

impl Kept {
    /// Waits for something to do; the connection is given back where that takes long.
    pub(super) async fn rest(&mut self, arrival: impl Future<Output = ()>) {
        let mut arrival = std::pin::pin!(arrival);
        if tokio::time::timeout(KEPT_AT_REST, &mut arrival).await.is_err() {
            self.0 = None;
            arrival.await;
        }
    }

    fn take(&mut self, tenure: u64) -> Option<Lent> {
        self.0.take().filter(|lent| lent.tenure == tenure && lent.since.elapsed() < KEPT_FOR)
    }
}

impl Store {
    /// Runs a write and gives its rows.
    pub(super) async fn write(&self, query: Query<'_>) -> Result<Vec<PgRow>, StoreError> {
        self.write_on(&mut Kept::default(), query).await
    }

    /// Runs a write on the connection that is kept, or on one that is kept from then on. The connection on which it fails
    /// for the connection's sake is closed, and so is every other one that waits in the pool: it is as old.
    pub(super) async fn write_on(&self, kept: &mut Kept, query: Query<'_>) -> Result<Vec<PgRow>, StoreError> {
        let pool = self.db.get_postgres_connection_pool();
        let call = async {
            let tenure = self.tenure();
            let mut lent = match kept.take(tenure) {
                Some(kept) => kept,
                // Boxed: it is seldom needed, and large enough to make the copies of all futures around it felt.
                None => Lent { connection: Box::pin(self.lend()).await?, since: Instant::now(), tenure },
            };
            let begun = Instant::now();
            let done = query.fetch_all(&mut *lent.connection).await;
            self.telemetry.queried(begun.elapsed(), done.is_err());
            if done.as_ref().is_err_and(error::is_of_the_connection) {
                lent.connection.close_on_drop();
                close_idle(pool);
            } else if done.is_ok() {
                kept.0 = Some(lent);
            }
            done
        };
        let rows = self.within_time(call).await??;
        self.outage.is_over();
        Ok(rows)
    }

    /// A connection of the pool. Its pauses grow while nobody answers: who waits when another host becomes the primary asks
    /// anew.
    async fn lend(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let mut moves = self.moves();
        loop {
            tokio::select! {
                lent = self.db.get_postgres_connection_pool().acquire() => return lent,
                // Never an error: we hold the other end.
                _ = moves.changed() => {}
            }
        }
    }
}

fn close_idle(pool: &PgPool) {
    for mut connection in std::iter::from_fn(|| pool.try_acquire()) {
        connection.close_on_drop();
    }
}
