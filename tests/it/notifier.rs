//! What the lanes tell other servers: after the commit, so that nobody's save waits for it, and everybody in the end.
//!
//! Here `taskwire_notify` waits for a lock that the test holds, so that the order of things is the test's.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::try_join_all;
use sqlx::postgres::PgListener;
use sqlx::{Executor as _, PgConnection};
use taskwire::store::{LaneSettings, Lanes, StoreError, StoreSettings};
use taskwire::telemetry::Telemetry;
use tokio::time::timeout;

use super::support::write::store_with;
use super::support::{TestDatabase, eventually, lanes_of, record};

const PATIENCE: Duration = Duration::from_secs(20);
/// As it is, but for the lock.
const HELD_UP: &str = "CREATE OR REPLACE FUNCTION taskwire_notify(p_users text[]) RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(7);
    SELECT pg_notify('taskwire_feed', to_json(p_users)::text)
$$";

struct Bench {
    database: TestDatabase,
    holder: PgConnection,
    listener: PgListener,
    lanes: Lanes,
}

impl Bench {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let mut holder = database.session().await;
        holder.execute(HELD_UP).await.unwrap();
        holder.execute("SELECT pg_advisory_lock(7)").await.unwrap();
        let mut listener = PgListener::connect(&database.url).await.unwrap();
        listener.listen("taskwire_feed").await.unwrap();
        let lanes = lanes_of(&database);
        Self { database, holder, listener, lanes }
    }

    /// Returns when all are acknowledged.
    async fn save(&self, users: std::ops::Range<usize>) {
        let saves = users.map(|user| self.lanes.save(record(&format!("u{user}"), "t", 0)));
        timeout(PATIENCE, try_join_all(saves)).await.expect("no save waits for a notification").unwrap();
    }

    /// The process that waits for the lock.
    async fn waiting(&self) -> i32 {
        let pool = self.database.database.connection.get_postgres_connection_pool();
        eventually("somebody is about to be told", async || {
            sqlx::query_scalar(
                "SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid
                 WHERE a.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted",
            )
            .fetch_optional(pool)
            .await
            .unwrap()
        })
        .await
    }

    async fn let_go(&mut self) {
        self.holder.execute("SELECT pg_advisory_unlock(7)").await.unwrap();
    }

    async fn told(&mut self) -> BTreeSet<String> {
        let told = timeout(PATIENCE, self.listener.recv()).await.expect("nobody is told").unwrap();
        serde_json::from_str(told.payload()).unwrap()
    }
}

fn names(users: std::ops::Range<usize>) -> BTreeSet<String> {
    users.map(|user| format!("u{user}")).collect()
}

#[tokio::test]
async fn saves_are_acknowledged_before_others_are_notified_and_these_all_at_once() {
    let mut bench = Bench::new().await;
    bench.save(0..1).await;
    bench.waiting().await;
    // Many commits, while one notification is under way.
    for user in 1..30 {
        bench.save(user..user + 1).await;
    }
    bench.let_go().await;
    assert_eq!(bench.told().await, names(0..1));
    assert_eq!(bench.told().await, names(1..30));
}

#[tokio::test]
async fn lanes_that_close_tell_everybody_first() {
    let mut bench = Bench::new().await;
    bench.save(0..1).await;
    bench.waiting().await;
    bench.save(1..3).await;
    let lanes = bench.lanes.clone();
    let mut closing = tokio::spawn(async move { lanes.close().await });
    assert!(timeout(Duration::from_millis(300), &mut closing).await.is_err(), "closed, and two were not told of");
    bench.let_go().await;
    timeout(PATIENCE, closing).await.unwrap().unwrap();
    assert_eq!([bench.told().await, bench.told().await], [names(0..1), names(1..3)]);
}

#[tokio::test]
async fn what_a_lost_connection_was_to_tell_the_next_one_does() {
    let mut bench = Bench::new().await;
    bench.save(0..1).await;
    let lost = bench.waiting().await;
    sqlx::query("SELECT pg_terminate_backend($1)").bind(lost).execute(&mut bench.holder).await.unwrap();
    eventually("another one is about to tell", async || (bench.waiting().await != lost).then_some(())).await;
    bench.let_go().await;
    assert_eq!(bench.told().await, names(0..1));
}

/// What is given up may commit all the same.
#[tokio::test]
async fn a_save_that_nobody_waits_for_any_more_is_told_of() {
    let database = TestDatabase::new().await;
    let mut listener = PgListener::connect(&database.url).await.unwrap();
    listener.listen("taskwire_feed").await.unwrap();
    let settings = StoreSettings { command_timeout: Duration::from_millis(500), ..StoreSettings::default() };
    let lanes = Lanes::start(store_with(&database, settings), LaneSettings::default(), Telemetry::new());
    let mut holder = database.session().await;
    holder.execute("BEGIN; LOCK TABLE task_record").await.unwrap();
    assert!(matches!(lanes.save(record("u", "t", 0)).await, Err(StoreError::Timeout)));
    let told = timeout(PATIENCE, listener.recv()).await.expect("nobody is told").unwrap();
    assert_eq!(told.payload(), r#"["u"]"#);
}
