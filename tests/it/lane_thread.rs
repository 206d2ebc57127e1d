//! The lanes have a thread and connections of their own, which end with them.

use std::thread;

use futures_util::poll;
use tokio::runtime::Builder;

use super::support::{TestDatabase, eventually, lanes_of, record};

/// Sessions that have appended; the last statement of each is told.
const APPENDERS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%taskwire_append_v1%'";
const RECORDS: &str = "SELECT count(*) FROM task_record";

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
