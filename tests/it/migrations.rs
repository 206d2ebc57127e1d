//! Migrations: there and back again, and several servers at once.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sqlx::{Executor, Row};
use taskwire::db;

use crate::support::{TestDatabase, eventually};

/// The whole schema, a line a fact, without the numbers that PostgreSQL gives by chance.
const SCHEMA: &str = "
    SELECT format('%s %s %s %s %s', c.relkind, c.oid::regclass, c.reloptions, c.relacl, c.relpersistence) || ' '
           || coalesce(pg_get_expr(c.relpartbound, c.oid), '') || coalesce(pg_get_partkeydef(c.oid), '')
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT format('column %s.%s %s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
                  attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid))
    FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = attrelid AND d.adnum = attnum
    WHERE c.relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT pg_get_indexdef(indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT pg_get_viewdef(oid) FROM pg_class WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT format('%s %s', oid::regprocedure, proacl) || CASE prokind WHEN 'a' THEN '' ELSE pg_get_functiondef(oid) END
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT format('aggregate %s %s %s', aggfnoid, aggtransfn, aggtranstype::regtype)
    FROM pg_aggregate a JOIN pg_proc p ON p.oid = a.aggfnoid WHERE p.pronamespace = 'public'::regnamespace";

async fn schema(database: &TestDatabase) -> BTreeSet<String> {
    let rows = database.session().await.fetch_all(SCHEMA).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn up_down_up_gives_an_equal_schema() {
    let database = TestDatabase::empty().await;
    let options = &database.database.options;
    assert!(db::migrate(options, "the test").await.unwrap() > 0);
    let first = schema(&database).await;
    assert!(first.len() > 100, "{first:#?}");
    assert_eq!(db::migrate(options, "the test").await.unwrap(), 0, "a second run took steps");
    assert_eq!(schema(&database).await, first);

    db::down(options, None).await.unwrap();
    let left: Vec<String> =
        schema(&database).await.into_iter().filter(|fact| !fact.contains("taskwire_migration")).collect();
    assert_eq!(left, Vec::<String>::new(), "down left something behind");

    assert!(db::migrate(options, "the test").await.unwrap() > 0);
    let second = schema(&database).await;
    let differences: Vec<_> = first.symmetric_difference(&second).collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

#[tokio::test]
async fn servers_that_start_at_once_migrate_once() {
    let database = TestDatabase::empty().await;
    let mut servers = Vec::new();
    for _ in 0..8 {
        let options = database.database.options.clone();
        servers.push(tokio::spawn(async move { db::migrate(&options, "the test").await }));
    }
    let mut takers = 0;
    for server in servers {
        takers += usize::from(server.await.unwrap().unwrap() > 0);
    }
    assert_eq!(takers, 1);
}

#[tokio::test]
async fn a_migration_waits_for_another_one() {
    let database = TestDatabase::empty().await;
    let mut other = database.session().await;
    let lock = i64::from_be_bytes(*b"taskwire");
    sqlx::query("SELECT pg_advisory_lock($1)").bind(lock).execute(&mut other).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let options = database.database.options.clone();
    let mark = Arc::clone(&done);
    let waiting = tokio::spawn(async move {
        let taken = db::migrate(&options, "the test").await;
        mark.store(true, Ordering::SeqCst);
        taken
    });
    // It is seen to ask for the lock, and not to go on without it.
    eventually("it asks for the lock", async || {
        let asked = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND query LIKE 'SELECT pg_try_advisory_lock%'";
        let asked: i64 = other.fetch_one(asked).await.unwrap().get(0);
        (asked == 1).then_some(())
    })
    .await;
    assert!(!done.load(Ordering::SeqCst));
    assert!(schema(&database).await.is_empty(), "it did not wait");
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(lock).execute(&mut other).await.unwrap();
    assert!(waiting.await.unwrap().unwrap() > 0);
}

#[tokio::test]
async fn the_pool_is_as_configured_and_knows_its_backends() {
    let database = TestDatabase::new().await;
    let pool = database.database.connection.get_postgres_connection_pool();
    let settings = "SELECT pg_backend_pid(), current_setting('application_name'), current_setting('TimeZone'),
                           current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout'),
                           current_setting('search_path')";
    let row = pool.fetch_one(settings).await.unwrap();
    let own = row.get::<i32, _>(0).cast_unsigned();
    let texts: Vec<&str> = (1..6).map(|column| row.get(column)).collect();
    assert_eq!(texts, ["taskwire", "UTC", "1min", "1min", "public"]);

    let backends = &database.database.backends;
    let mut stranger = database.session().await;
    let other = stranger.fetch_one("SELECT pg_backend_pid()").await.unwrap().get::<i32, _>(0).cast_unsigned();
    assert!(backends.contains(own));
    assert!(!backends.contains(other));
    backends.prune(&database.database.connection).await.unwrap();
    assert!(backends.contains(own), "pruned while alive");

    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    stranger.execute(end).await.unwrap();
    let connection = &database.database.connection;
    eventually("the dead backend is forgotten", async || {
        // The first statement on the broken connection fails; the pool then makes another one.
        backends.prune(connection).await.ok()?;
        (!backends.contains(own)).then_some(())
    })
    .await;
    assert!(!backends.is_empty());
}
