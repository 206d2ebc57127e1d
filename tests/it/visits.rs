//! With sixty partitions no hot read or duplicate check visits more than three: counted by PostgreSQL's own statistics.

use std::time::Duration;

use entity::CancellationOutcome;
use sqlx::Executor;
use taskwire::store::{
    CancelTerms, HistoryQuery, Keyset, LaneSettings, Lanes, NewAcknowledgement, NewCancellation, Store,
};
use taskwire::telemetry::Telemetry;
use uuid::Uuid;

use super::support::{POOL, TestDatabase, eventually, pool, record, store_over};

/// Forty weeks behind us, fifteen ahead, and the two open ones.
const DIVIDE: &str = "DO $$
DECLARE
    v_name text;
    v_week timestamptz := taskwire_bound(now(), 'week') - interval '40 weeks';
BEGIN
    SET LOCAL timezone = 'UTC';
    FOR v_name IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'task_record'::regclass LOOP
        EXECUTE format('DROP TABLE %I', v_name);
    END LOOP;
    EXECUTE format('CREATE TABLE task_record_before PARTITION OF task_record FOR VALUES FROM (MINVALUE) TO (%L)', v_week);
    FOR n IN 1..58 LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF task_record FOR VALUES FROM (%L) TO (%L)',
            taskwire_partition_name(v_week), v_week, v_week + interval '1 week');
        v_week := v_week + interval '1 week';
    END LOOP;
    EXECUTE format('CREATE TABLE task_record_after PARTITION OF task_record FOR VALUES FROM (%L) TO (MAXVALUE)', v_week);
END $$";

/// A hundred users with a task of the last forty weeks each week, of ten records within eight days; the last one is now. Their
/// ids leave none that would be new without a look.
const FILL: &str = "
INSERT INTO task_record (user_id, task_id, step, result, timestamp, status, position, recorded_at, record_id)
SELECT 'u' || u, 't' || w, s, '{}', at, 'running', (39 - w) * 10 + s + 1, at, gen_random_uuid()
FROM generate_series(0, 99) u, generate_series(0, 39) w, generate_series(0, 9) s,
     LATERAL (SELECT now() - w * interval '1 week' - (9 - s) * interval '16 hours' AS at) x;
INSERT INTO task (user_id, task_id, position, record_id, status, step, highest_step, step_status, moved_position, moved_at,
                  steps_from_position, steps_from_at, created_at, updated_at)
SELECT user_id, task_id, max(position), gen_random_uuid(), 'running', 9, 9, 'running', max(position),
       max(recorded_at), min(position), min(recorded_at), min(recorded_at), max(recorded_at)
FROM task_record GROUP BY user_id, task_id;
INSERT INTO task_order SELECT user_id, position, task_id, status, updated_at, pg_current_xact_id() FROM task;
INSERT INTO feed_head (user_id, position, recorded_at, record_id, highest_record_id)
SELECT DISTINCT ON (user_id) user_id, position, recorded_at, record_id, 'ffffffff-ffff-7fff-bfff-ffffffffffff'
FROM task_record ORDER BY user_id, position DESC;";

/// Which partitions a piece of work visits, over a pool of its own: a backend hands in its counts when it ends.
async fn visited(database: &TestDatabase, work: impl AsyncFnOnce(Store)) -> Vec<String> {
    let mut session = database.session().await;
    session.execute("SELECT pg_stat_reset()").await.unwrap();
    let own = pool(&database.url, POOL).await;
    work(store_over(&own)).await;
    own.connection.close_by_ref().await.unwrap();
    eventually("the backends end", async || {
        let alive: Vec<i32> = sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
            .fetch_all(&mut session)
            .await
            .unwrap();
        (!alive.into_iter().any(|pid| own.backends.contains(pid.cast_unsigned()))).then_some(())
    })
    .await;
    sqlx::query_scalar(
        "SELECT relname::text FROM pg_stat_user_tables
         WHERE relname ~ '^task_record_(before|after|[0-9]+)$' AND coalesce(seq_scan, 0) + coalesce(idx_scan, 0) > 0 ORDER BY 1",
    )
    .fetch_all(&mut session)
    .await
    .unwrap()
}

#[track_caller]
fn few(visited: &[String], what: &str) {
    assert!((1..=3).contains(&visited.len()), "{what} visits {visited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_statements_visit_three_partitions_at_most() {
    let database = TestDatabase::new().await;
    let mut session = database.session().await;
    for sql in [DIVIDE, FILL, "ANALYZE"] {
        session.execute(sql).await.unwrap();
    }
    let all: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_inherits WHERE inhparent = 'task_record'::regclass")
        .fetch_one(&mut session)
        .await
        .unwrap();
    assert_eq!(all, 60);
    // The measure itself: a read without a bound.
    let unbound = visited(&database, async |store| {
        let pool = store.connection().get_postgres_connection_pool();
        sqlx::query("SELECT count(*) FROM task_record WHERE user_id = 'u1' AND task_id = 't20'")
            .execute(pool)
            .await
            .unwrap();
    })
    .await;
    assert_eq!(unbound.len(), 60);

    for (task_id, backward) in [("t0", false), ("t20", false), ("t20", true), ("t39", false)] {
        let query = HistoryQuery { user_id: "u1".to_owned(), task_id: task_id.to_owned() };
        let page = Keyset { after: None, before: None, limit: 50, backward };
        let seen = visited(&database, async |store| {
            assert_eq!(store.history(&query, &page).await.unwrap().0.rows.len(), 10);
        })
        .await;
        few(&seen, "a history");
        let seen = visited(&database, async |store| {
            let task = store.task("u1", task_id).await.unwrap().unwrap();
            let page = Keyset { after: None, before: None, limit: 50, backward };
            assert_eq!(store.steps(&task, &page).await.unwrap().rows.len(), 10);
        })
        .await;
        few(&seen, "the steps");
    }
    let places: Vec<(String, i64, chrono::DateTime<chrono::Utc>)> = sqlx::query_as(
        "SELECT user_id, position, recorded_at FROM task_record WHERE task_id = 't20' AND user_id < 'u5' AND step < 3",
    )
    .fetch_all(&mut session)
    .await
    .unwrap();
    let seen = visited(&database, async |store| {
        assert_eq!(store.records_at(&places).await.unwrap().len(), places.len());
    })
    .await;
    few(&seen, "records by their places");

    // The duplicate check: one record, many, a repetition, a user of old, and through a lane.
    let one = record("u1", "t0", 10);
    for count in [1, 100] {
        let mut batch: Vec<_> = (0..count).map(|user| record(&format!("u{user}"), "t0", 11)).collect();
        batch.push(one.clone());
        let seen = visited(&database, async |store| drop(store.save_batch(batch.clone()).await.unwrap())).await;
        few(&seen, "an append");
        // Again on one connection until a generic plan would be chosen.
        let seen = visited(&database, async |store| {
            for _ in 0..8 {
                assert!(store.save_batch(batch.clone()).await.unwrap().iter().all(|saved| saved.is_duplicate));
            }
        })
        .await;
        few(&seen, "an append of duplicates");
    }
    let seen = visited(&database, async |store| {
        let lanes = Lanes::start(store, LaneSettings::default(), Telemetry::new());
        for step in 20..30 {
            lanes.save(record("u7", "t0", step)).await.unwrap();
        }
        lanes.close().await;
    })
    .await;
    few(&seen, "a lane");
    let ann = (Uuid::now_v7(), Uuid::now_v7());
    let seen = visited(&database, async |store| {
        let item = NewCancellation { user_id: "u3".to_owned(), task_id: "t0".to_owned(), record_id: ann.0 };
        let terms = CancelTerms { reason: None, requested_by: None, force: false, settle: Duration::ZERO };
        for _ in 0..2 {
            store.cancel(std::slice::from_ref(&item), &terms).await.unwrap();
        }
        let answer = NewAcknowledgement {
            user_id: "u3".to_owned(),
            task_id: "t0".to_owned(),
            record_id: ann.1,
            outcome: CancellationOutcome::Stopped,
            message: None,
            reported_by: None,
        };
        for _ in 0..2 {
            store.acknowledge(&answer).await.unwrap();
        }
    })
    .await;
    few(&seen, "a cancellation");
}
