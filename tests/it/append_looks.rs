//! The append path's look for records that are there already: when it is made, and by which index.

use futures_util::future::join;
use sqlx::Executor as _;
use taskwire::store::NewRecord;
use uuid::Uuid;

use super::support::{TestDatabase, eventually, pool, record, store_of, store_over};

async fn count(database: &TestDatabase, sql: &'static str) -> i64 {
    let pool = database.database.connection.get_postgres_connection_pool();
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

/// A record under an id, of a task of its own.
fn of(user_id: &str, id: u128) -> NewRecord {
    NewRecord { record_id: Uuid::from_u128(id), ..record(user_id, &format!("t{id}"), 0) }
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
                 VALUES ('one of many records', 'ffffffff-ffff-ffff-ffff-ffffffffffff')",
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

/// An id that is higher than any of its user's is new without a look; every other one is looked for, wherever the highest stood.
#[tokio::test]
async fn only_an_id_that_its_user_may_know_is_looked_for() {
    const LOOKS: &str = "SELECT sum(idx_scan)::bigint FROM pg_stat_user_indexes WHERE indexrelname ~ 'record_id'";
    let database = TestDatabase::new().await;
    let single = pool(&database.url, 1).await;
    let store = store_over(&single);
    let looks = async || {
        let pool = single.connection.get_postgres_connection_pool();
        sqlx::query("SELECT pg_stat_force_next_flush()").execute(pool).await.unwrap();
        count(&database, LOOKS).await
    };
    let save = async |batch: &[NewRecord]| {
        let saved = store.save_batch(batch).await.unwrap();
        saved.iter().map(|saved| saved.is_duplicate).collect::<Vec<_>>()
    };

    let before = looks().await;
    assert_eq!(save(&[of("ann", 5)]).await, [false]);
    assert_eq!(save(&[of("ann", 9), of("ben", 2), of("ann", 7)]).await, [false; 3]);
    assert_eq!(looks().await, before, "all of them were new");
    // The highest was not the last of its batch.
    assert_eq!(save(&[of("ann", 9)]).await, [true]);
    let before = looks().await;
    assert_eq!(save(&[of("ben", 3), of("ann", 10)]).await, [false; 2]);
    assert_eq!(looks().await, before, "both were new");
    assert_eq!(save(&[of("ann", 7), of("ben", 9)]).await, [true, false]);
    assert_eq!(save(&[of("ann", 6), of("ann", 1)]).await, [false; 2]);
    // It stays where it was when lower ones come.
    assert_eq!(save(&[of("ann", 10)]).await, [true]);
    assert_eq!(save(&[of("ann", 1), of("ben", 9), of("ben", 3)]).await, [true; 3]);
    assert!(looks().await > before);
    // New for its user, and twice in its batch.
    assert_eq!(save(&[of("ann", 20), of("ben", 20), of("ann", 20)]).await, [false, false, true]);
}

/// Who waited for a head sees it as the one before left it.
#[tokio::test]
async fn an_id_that_was_written_while_its_head_was_waited_for_is_known() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    store.save_batch(vec![of("ann", 1)]).await.unwrap();
    let mut other = database.session().await;
    other
        .execute(
            "BEGIN;
             SELECT FROM taskwire_append_v1(ARRAY['ann'], ARRAY['t30'], ARRAY['step'], ARRAY[0], ARRAY['running'],
                 ARRAY['{}'::json], NULL, NULL, NULL, NULL, NULL, ARRAY['00000000-0000-0000-0000-00000000001e'::uuid],
                 NULL, NULL, NULL, 0, true, true)",
        )
        .await
        .unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ~ 'taskwire_append_v1'";
    let (saved, ()) = join(store.save_batch(vec![of("ann", 30)]), async {
        eventually("a save waits", async || (count(&database, waits).await == 1).then_some(())).await;
        other.execute("COMMIT").await.unwrap();
    })
    .await;
    assert!(saved.unwrap()[0].is_duplicate);
}
