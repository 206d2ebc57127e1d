//! A write on a connection of the pool, and the end of connections that no write can use: of an old primary that came back
//! as a standby, and with plans or prepared statements that a migration or a pooler took away. They answer a ping as any
//! other does, and the pool would lend them for as long as they live.

use sqlx::PgPool;
use sqlx::postgres::{PgArguments, PgRow, Postgres};

use super::{Store, StoreError, error};

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

impl Store {
    /// Runs a write and gives its rows. The connection on which it fails for the connection's sake is closed, and so is
    /// every other one that waits in the pool: it is as old.
    pub(super) async fn write(&self, query: Query<'_>) -> Result<Vec<PgRow>, StoreError> {
        let pool = self.db.get_postgres_connection_pool();
        let call = async {
            let mut connection = pool.acquire().await?;
            let done = query.fetch_all(&mut *connection).await;
            if done.as_ref().is_err_and(error::is_of_the_connection) {
                connection.close_on_drop();
                close_idle(pool);
            }
            done
        };
        let rows = self.within_time(call).await??;
        self.outage.is_over();
        Ok(rows)
    }
}

fn close_idle(pool: &PgPool) {
    for mut connection in std::iter::from_fn(|| pool.try_acquire()) {
        connection.close_on_drop();
    }
}
