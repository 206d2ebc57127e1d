//! Connections that answer and that no write can use: closed, instead of lent again and again.

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Executor as _, PgPool, Postgres};
use taskwire::db::Database;
use taskwire::store::{CancelTerms, NewCancellation, Store};

use super::support::{TestDatabase, pool, record, store_over};

/// More than a write is tried.
const CONNECTIONS: u32 = 12;

async fn pool_of(database: &TestDatabase) -> (Database, Store) {
    let own = pool(&database.url, CONNECTIONS).await;
    let store = store_over(&own);
    (own, store)
}

/// All that the pool may have.
async fn all(pool: &PgPool) -> Vec<PoolConnection<Postgres>> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(pool.acquire().await.unwrap());
    }
    connections
}

async fn let_go(pool: &PgPool, connections: Vec<PoolConnection<Postgres>>) {
    drop(connections);
    super::support::eventually("all wait in the pool", async || {
        (pool.num_idle() == CONNECTIONS as usize).then_some(())
    })
    .await;
}

/// An old primary has come back as a standby, and is the primary again, or the name has moved, for who connects now.
#[tokio::test]
async fn connections_to_an_old_primary_are_closed() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    let read_only = format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name);
    session.execute(AssertSqlSafe(read_only)).await.unwrap();
    let (own, store) = pool_of(&database).await;
    let pool = own.connection.get_postgres_connection_pool();
    let old = all(pool).await;
    let reset = format!("ALTER DATABASE {} RESET default_transaction_read_only", database.name);
    session.execute(AssertSqlSafe(reset)).await.unwrap();
    let_go(pool, old).await;
    let saved = store.save_batch([record("ann", "t", 1)]).await.unwrap();
    assert!(!saved[0].is_duplicate);
    // None of them is left to fail somebody else.
    for connection in &mut all(pool).await {
        let is_read_only: String =
            sqlx::query_scalar("SHOW default_transaction_read_only").fetch_one(&mut **connection).await.unwrap();
        assert_eq!(is_read_only, "off");
    }
}

/// A pooler, or a migration, has taken away what the connections had prepared.
#[tokio::test]
async fn a_write_whose_statements_are_gone_succeeds_on_a_fresh_connection() {
    let database = TestDatabase::new().await;
    let (own, store) = pool_of(&database).await;
    let pool = own.connection.get_postgres_connection_pool();
    let item = || NewCancellation { user_id: "ann".into(), task_id: "t".into(), record_id: uuid::Uuid::now_v7() };
    let terms = CancelTerms { reason: None, requested_by: None, force: false, settle: std::time::Duration::ZERO };
    for round in 0..2 {
        // Each connection in turn is the only one to be had.
        let (mut cold, mut warm) = (all(pool).await, Vec::new());
        while let Some(one) = cold.pop() {
            drop(one);
            store.save_batch([record("ann", "t", round)]).await.unwrap();
            store.cancel(&[item()], &terms).await.unwrap();
            let mut one = pool.acquire().await.unwrap();
            one.execute("DEALLOCATE ALL").await.unwrap();
            warm.push(one);
        }
        let_go(pool, warm).await;
        if round == 0 {
            store.save_batch([record("ann", "t", 7)]).await.unwrap();
        } else {
            store.cancel(&[item()], &terms).await.unwrap();
        }
    }
}
