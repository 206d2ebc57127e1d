//! Dividing `task_record` by weeks, also where nobody did so for long, and beside open transactions.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::{Executor, PgConnection};
use taskwire::store::{HistoryQuery, Keyset, StoreError};

use super::support::{TestDatabase, record, store_of};

/// Name, lower and upper bound of each partition, in order.
type Bounds = Vec<(String, Option<DateTime<Utc>>, Option<DateTime<Utc>>)>;

async fn bounds(session: &mut PgConnection) -> Bounds {
    session.execute("SET timezone = 'UTC'").await.unwrap();
    let sql = "SELECT c.relname::text,
            (regexp_match(b, $re$FROM \\('([^']+)'\\)$re$))[1]::timestamptz AS lower,
            (regexp_match(b, $re$TO \\('([^']+)'\\)$re$))[1]::timestamptz AS upper
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid, pg_get_expr(c.relpartbound, c.oid) b
        WHERE i.inhparent = 'task_record'::regclass ORDER BY lower NULLS FIRST";
    sqlx::query_as(sql).fetch_all(session).await.unwrap()
}

/// Open at both ends, without a gap, each named by its Monday and with every index.
async fn assert_whole(session: &mut PgConnection) -> Bounds {
    let all = bounds(session).await;
    assert_eq!(all.first().map(|(name, lower, _)| (name.as_str(), *lower)), Some(("task_record_before", None)));
    assert_eq!(all.last().map(|(name, _, upper)| (name.as_str(), *upper)), Some(("task_record_after", None)));
    for pair in all.windows(2) {
        assert_eq!(pair[0].2, pair[1].1, "{all:?}");
    }
    for (name, lower, _) in &all[1..all.len() - 1] {
        assert_eq!(*name, lower.unwrap().format("task_record_%Y%m%d").to_string());
    }
    let parent: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_index WHERE indrelid = 'task_record'::regclass AND indisvalid")
            .fetch_one(&mut *session)
            .await
            .unwrap();
    assert_eq!(parent, 3);
    let indexes: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_index x JOIN pg_inherits i ON i.inhrelid = x.indrelid
         WHERE i.inhparent = 'task_record'::regclass AND x.indisvalid",
    )
    .fetch_one(&mut *session)
    .await
    .unwrap();
    assert_eq!(indexes, 3 * i64::try_from(all.len()).unwrap());
    all
}

/// Weeks of 168 hours, whatever the session's zone: its own are an hour longer or shorter where summer time begins or ends,
/// which is another week in the first hour of a Monday.
async fn divide(session: &mut PgConnection, weeks_from_now: i32, ahead: i32) -> i32 {
    sqlx::query_scalar("SELECT taskwire_divide_partitions(now() + $1 * interval '168 hours', $2)")
        .bind(weeks_from_now)
        .bind(ahead)
        .fetch_one(session)
        .await
        .unwrap()
}

#[tokio::test]
async fn weeks_are_divided_ahead_and_again_changes_nothing() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    let first = assert_whole(&mut session).await;
    assert_eq!(first.len(), 2 + 5, "before, this week and four more, after");
    assert_eq!(divide(&mut session, 0, 4).await, 0);
    assert_eq!(divide(&mut session, 10, 4).await, 10);
    let all = assert_whole(&mut session).await;
    assert_eq!(all.len(), 17);
    assert_eq!(store_of(&database).divide_partitions(4).await.unwrap(), 0);
    for (_, lower, upper) in &all[1..all.len() - 1] {
        assert_eq!(upper.unwrap() - lower.unwrap(), chrono::TimeDelta::weeks(1));
    }
    // Summer time or a session's zone moves no bound.
    session.execute("SET timezone = 'America/New_York'").await.unwrap();
    assert_eq!(divide(&mut session, 40, 4).await, 30);
    assert_whole(&mut session).await;
}

#[tokio::test]
async fn an_open_partition_with_records_becomes_a_closed_one() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let mut session = database.session().await;
    store.save_batch([record("ann", "t", 0)]).await.unwrap();
    // Nobody divided for twenty weeks: the record of then lies in the open one.
    session
        .execute(
            "INSERT INTO task_record (user_id, task_id, step, result, timestamp, status, position, recorded_at, record_id)
             VALUES ('ann', 't', 1, '{}', now(), 'running', 2, now() + interval '20 weeks', gen_random_uuid());
             UPDATE task SET position = 2, updated_at = now() + interval '20 weeks';
             UPDATE task_order SET position = 2, updated_at = now() + interval '20 weeks'",
        )
        .await
        .unwrap();
    let before = bounds(&mut session).await.len();
    assert_eq!(divide(&mut session, 20, 4).await, 5, "the span until then, and four weeks");
    let all = assert_whole(&mut session).await;
    assert_eq!(all.len(), before + 5);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM task_record_after").fetch_one(&mut session).await.unwrap();
    assert_eq!(left, 0);
    let query = HistoryQuery { user_id: "ann".to_owned(), task_id: "t".to_owned() };
    let page = Keyset { after: None, before: None, limit: 10, backward: false };
    assert_eq!(store.history(&query, &page).await.unwrap().0.rows.len(), 2);
    let constraints: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_constraint WHERE conname = 'task_record_span'")
        .fetch_one(&mut session)
        .await
        .unwrap();
    assert_eq!(constraints, 0);
    assert_eq!(divide(&mut session, 20, 4).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dividing_gives_way_to_an_open_transaction_and_writers_go_on() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let mut psql = database.session().await;
    psql.execute("BEGIN").await.unwrap();
    psql.execute(
        "INSERT INTO task_history (user_id, task_id, step, result, timestamp, status)
         VALUES ('ann', 't', 0, '{}', now(), 'running')",
    )
    .await
    .unwrap();
    let start = Instant::now();
    assert!(matches!(store.divide_partitions(30).await, Err(StoreError::Timeout)));
    assert!(start.elapsed() < Duration::from_secs(2), "it waited {:?}", start.elapsed());
    store.save_batch([record("bob", "t", 0)]).await.unwrap();
    psql.execute("COMMIT").await.unwrap();
    assert_eq!(store.divide_partitions(30).await.unwrap(), 26);
    store.save_batch([record("bob", "t", 1)]).await.unwrap();
    assert_whole(&mut psql).await;
}

/// Writers that write all the while neither fail nor wait long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dividing_beside_writers_fails_none_of_them() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (store, is_over) = (store.clone(), std::sync::Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut saved = 0;
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    store.save_batch([record(&format!("u{writer}"), "t", saved)]).await.unwrap();
                    saved += 1;
                }
                saved
            })
        })
        .collect();
    for ahead in 5..25 {
        while matches!(store.divide_partitions(ahead).await, Err(StoreError::Timeout)) {}
    }
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.unwrap() > 0);
    }
    assert_whole(&mut database.session().await).await;
}
