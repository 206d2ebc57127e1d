//! The append path's look for records that are there already: when it is made, and by which index.

use futures_util::future::join;
use sqlx::{Executor as _, PgConnection};
use taskwire::store::NewRecord;
use uuid::Uuid;

use super::support::{TestDatabase, eventually, pool, record, store_of, store_over};

async fn count(database: &TestDatabase, sql: &'static str) -> i64 {
    let pool = database.database.connection.get_postgres_connection_pool();
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

/// An id of version 7, by its place among them.
fn rising(place: u128) -> Uuid {
    Uuid::from_u128(0x7000_8000_0000_0000_0000 | place)
}

/// A look for duplicates that took the index of the user's records would go through all of them for each new one. It looked
/// as good as any to the planner while the table was young, or each user had one record when it was last analysed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_never_goes_through_the_records_of_its_user() {
    const READ: &str = "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname ~ '^task_record'";
    for one_each in [false, true] {
        let database = TestDatabase::new().await;
        let mut session = database.session().await;
        if one_each {
            session
                .execute(
                    "INSERT INTO task_record (user_id, task_id, step, result, timestamp, status, position, recorded_at, record_id)
                     SELECT 'a user with a long name ' || u, 't', 0, '{}', now(), 'running', 1, now(), gen_random_uuid()
                     FROM generate_series(1, 20000) u;
                     ANALYZE task_record",
                )
                .await
                .unwrap();
        }
        // No id of the server's is higher, so each is looked for.
        session
            .execute(
                "INSERT INTO feed_head (user_id, highest_record_id)
                 VALUES ('one of many records', 'ffffffff-ffff-7fff-bfff-ffffffffffff')",
            )
            .await
            .unwrap();
        let single = pool(&database.url, 1).await;
        let store = store_over(&single);
        let before = count(&database, READ).await;
        for step in 0..500 {
            let batch: Vec<_> = (0..10).map(|task| record("one of many records", &format!("{task}"), step)).collect();
            store.save_batch(batch).await.unwrap();
        }
        let sql = "SELECT pg_stat_force_next_flush()";
        sqlx::query(sql).execute(single.connection.get_postgres_connection_pool()).await.unwrap();
        assert_eq!(count(&database, READ).await - before, 0, "records read by saves of new ones, one each: {one_each}");
        // The measure itself: one that is there already is read by the look, by the one that tells which, and for the answer.
        let known = record("one of many records", "again", 0);
        for _ in 0..2 {
            store.save_batch(vec![known.clone()]).await.unwrap();
        }
        sqlx::query(sql).execute(single.connection.get_postgres_connection_pool()).await.unwrap();
        assert_eq!(count(&database, READ).await - before, 3);
    }
}

/// Appends records of these users under these ids, each of a task of its own; which were there already. As a lane does, which
/// waits for nobody, and as a batch.
async fn append(session: &mut PgConnection, wait_ms: i32, records: &[(&str, Uuid)]) -> Vec<bool> {
    let (users, ids): (Vec<&str>, Vec<Uuid>) = records.iter().copied().unzip();
    sqlx::query_scalar(
        "SELECT is_duplicate FROM taskwire_append_v1($1::text[], $2::uuid[]::text[], array_fill('step'::text, ARRAY[$3]),
             array_fill(0, ARRAY[$3]), array_fill('running'::text, ARRAY[$3]), array_fill('{}'::json, ARRAY[$3]), NULL, NULL,
             NULL, NULL, NULL, $2, NULL, NULL, NULL, $4, false, 'each') ORDER BY ord",
    )
    .bind(users)
    .bind(&ids)
    .bind(i32::try_from(ids.len()).unwrap())
    .bind(wait_ms)
    .fetch_all(session)
    .await
    .unwrap()
}

/// How many looks for a record there have been.
async fn looks(session: &mut PgConnection) -> i64 {
    session.execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    let sql = "SELECT sum(idx_scan)::bigint FROM pg_stat_user_indexes WHERE indexrelname ~ 'record_id'";
    sqlx::query_scalar(sql).fetch_one(session).await.unwrap()
}

/// Heads that are not where their user's records end, or do not know the highest of their ids.
const APART: &str = "
    SELECT count(*) FROM feed_head h CROSS JOIN LATERAL (
        SELECT max(r.position) AS position, count(DISTINCT r.position) AS count,
               max(r.record_id::text) FILTER (WHERE substr(r.record_id::text, 15, 1) = '7')::uuid AS highest
        FROM task_record r WHERE r.user_id = h.user_id
    ) r WHERE (h.position, h.position, h.highest_record_id) IS DISTINCT FROM (r.position, r.count, r.highest)";

/// An id of version 7 that is higher than any of its user's is new without a look; every other one is looked for, wherever
/// the highest stood.
#[tokio::test]
async fn only_an_id_that_its_user_may_know_is_looked_for() {
    for wait_ms in [0, 1000] {
        let database = TestDatabase::new().await;
        let (mut one, mut other) = (database.session().await, database.session().await);
        let session = &mut one;
        let (ann, ben) = (|id| ("ann", rising(id)), |id| ("ben", rising(id)));
        let before = looks(session).await;
        assert_eq!(append(session, wait_ms, &[ann(5)]).await, [false]);
        assert_eq!(append(session, wait_ms, &[ann(9), ben(2), ann(7)]).await, [false; 3]);
        assert_eq!(looks(session).await, before, "all of them were new");
        // The highest was not the last of its batch.
        assert_eq!(append(session, wait_ms, &[ann(9)]).await, [true]);
        let before = looks(session).await;
        assert_eq!(append(session, wait_ms, &[ben(3), ann(10)]).await, [false; 2]);
        assert_eq!(looks(session).await, before, "both were new");
        assert_eq!(append(session, wait_ms, &[ann(7), ben(9)]).await, [true, false]);
        assert_eq!(append(session, wait_ms, &[ann(6), ann(1)]).await, [false; 2]);
        // It stays where it was when lower ones come.
        assert_eq!(append(session, wait_ms, &[ann(10)]).await, [true]);
        assert_eq!(append(session, wait_ms, &[ann(1), ben(9), ben(3)]).await, [true; 3]);
        // The last of its user's is left out.
        assert_eq!(append(session, wait_ms, &[ben(11), ann(12), ben(9)]).await, [false, false, true]);
        // New for its user, and twice in its batch.
        assert_eq!(append(session, wait_ms, &[ann(20), ben(20), ann(20)]).await, [false, false, true]);
        // A random one is looked for, and stands in nobody's way.
        let random = Uuid::new_v4();
        let before = looks(session).await;
        assert_eq!(append(session, wait_ms, &[("ann", random)]).await, [false]);
        assert_eq!(append(session, wait_ms, &[ben(30), ("ann", random)]).await, [false, true]);
        let after = looks(session).await;
        assert!(after > before);
        assert_eq!(append(session, wait_ms, &[ann(31), ben(31)]).await, [false; 2]);
        assert_eq!(looks(session).await, after);
        // Whoever is held is left out, and says nothing of the others.
        if wait_ms == 0 {
            other.execute("BEGIN; SELECT FROM feed_head WHERE user_id = 'ann' FOR UPDATE").await.unwrap();
            assert_eq!(append(session, wait_ms, &[ann(31), ben(32)]).await, [false]);
            assert_eq!(append(session, wait_ms, &[ann(31), ben(32)]).await, [true]);
            // Nor does who is held beside one that is known and one that is new, which is numbered alone.
            assert_eq!(
                append(session, wait_ms, &[ann(33), ben(32), ben(33), ann(34), ben(34)]).await,
                [true, false, false]
            );
        }
        assert_eq!(count(&database, APART).await, 0);
    }
}

/// Who waited for a head sees it as the one before left it.
#[tokio::test]
async fn an_id_that_was_written_while_its_head_was_waited_for_is_known() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let repeated = NewRecord { record_id: rising(30), ..record("ann", &rising(30).to_string(), 0) };
    store.save_batch(vec![NewRecord { record_id: rising(1), ..record("ann", "t", 0) }]).await.unwrap();
    let mut other = database.session().await;
    other.execute("BEGIN").await.unwrap();
    assert_eq!(append(&mut other, 0, &[("ann", rising(30))]).await, [false]);
    let waits = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ~ 'taskwire_append_v1'";
    let (saved, ()) = join(store.save_batch(vec![repeated]), async {
        eventually("a save waits", async || (count(&database, waits).await == 1).then_some(())).await;
        other.execute("COMMIT").await.unwrap();
    })
    .await;
    assert!(saved.unwrap()[0].is_duplicate);
}
