//! The lanes have a thread and connections of their own, which end with them; and nobody waits there for the next one.

use std::thread;
use std::time::Duration;

use futures_util::poll;
use sqlx::Executor as _;
use taskwire::store::{LaneSettings, Lanes};
use taskwire::telemetry::Telemetry;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::support::{TestDatabase, eventually, lanes_of, record, store_of};

/// Sessions that have appended; the last statement of each is told.
const APPENDERS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%taskwire_append_v1%'";
const RECORDS: &str = "SELECT count(*) FROM task_record";
/// Who waits for the table to be let go.
const WAITING: &str = "SELECT count(*) FROM pg_locks WHERE relation = 'task_record'::regclass AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
const CLOSE_THE_TABLE: &str = "BEGIN; LOCK TABLE task_record IN SHARE MODE";

async fn until(database: &TestDatabase, sql: &'static str, wanted: i64) {
    let mut session = database.session().await;
    eventually(sql, async || {
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut session).await.unwrap();
        (count == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_lane_writes_while_everything_else_is_busy() {
    let database = TestDatabase::new().await;
    let lanes = lanes_of(&database);
    let mut save = Box::pin(lanes.save(record("anna", "t", 0)));
    assert!(poll!(&mut save).is_pending());
    // The thread of everything else does nothing else until the record is there.
    thread::scope(|scope| {
        let look =
            || Builder::new_current_thread().enable_all().build().unwrap().block_on(until(&database, RECORDS, 1));
        scope.spawn(look).join().unwrap();
    });
    assert_eq!(save.await.unwrap().record.position, 1);
}

#[tokio::test]
async fn its_connections_end_with_it() {
    let database = TestDatabase::new().await;
    for is_closed in [true, false] {
        let lanes = lanes_of(&database);
        lanes.save(record("anna", "t", 0)).await.unwrap();
        until(&database, APPENDERS, 1).await;
        if is_closed {
            lanes.close().await;
        }
        drop(lanes);
        until(&database, APPENDERS, 0).await;
    }
}

/// Nobody who is saved waits for what came later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_committed_is_answered_while_the_next_transaction_waits() {
    let database = TestDatabase::new().await;
    let settings = LaneSettings { lanes: 1, ..LaneSettings::default() };
    let lanes = Lanes::start(store_of(&database), settings, Telemetry::new());
    let save = |user: &'static str| {
        let lanes = lanes.clone();
        tokio::spawn(async move { lanes.save(record(user, "t", 0)).await.unwrap() })
    };
    let (mut first, mut second) = (database.session().await, database.session().await);
    first.execute(CLOSE_THE_TABLE).await.unwrap();
    let ann = save("ann");
    until(&database, WAITING, 1).await;
    // Behind her, and before whoever comes next.
    let closing = tokio::spawn(async move {
        second.execute(CLOSE_THE_TABLE).await.unwrap();
        second
    });
    until(&database, WAITING, 2).await;
    let ben = save("ben");
    eventually("both wait", async || (lanes.queued().0 == 2).then_some(())).await;
    first.execute("COMMIT").await.unwrap();
    let mut second = closing.await.unwrap();
    until(&database, WAITING, 1).await;

    let saved = timeout(Duration::from_secs(5), ann).await.expect("ann is answered").unwrap();
    assert_eq!(saved.record.position, 1);
    assert!(!ben.is_finished());
    second.execute("COMMIT").await.unwrap();
    assert_eq!(ben.await.unwrap().record.user_id, "ben");
}
