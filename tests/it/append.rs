//! The append path and its lanes under many writers: numbers without holes, idempotence, all or nothing, group commit.

use std::collections::{HashMap, HashSet};

use entity::TaskStatus;
use futures_util::future::{join, join_all, try_join_all};
use sqlx::{Executor as _, Row};
use taskwire::store::{HistoryQuery, Keyset, LaneSettings, Lanes, NewRecord, Saved, Store, StoreError, TaskDetails};
use taskwire::telemetry::Telemetry;
use uuid::Uuid;

use super::support::{TestDatabase, eventually, lanes_of, record, record_of, store_of};

/// Every record of a user, by position.
async fn records_of(
    database: &TestDatabase,
    user_id: &str,
) -> Vec<(i64, String, i32, Uuid, chrono::DateTime<chrono::Utc>)> {
    let sql =
        "SELECT position, task_id, step, record_id, recorded_at FROM task_record WHERE user_id = $1 ORDER BY position";
    let pool = database.database.connection.get_postgres_connection_pool();
    sqlx::query_as(sql).bind(user_id).fetch_all(pool).await.unwrap()
}

async fn count(database: &TestDatabase, sql: &'static str) -> i64 {
    let pool = database.database.connection.get_postgres_connection_pool();
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

/// Positions are 1, 2, 3 …, `recorded_at` never falls, the head stands on the last.
async fn assert_dense(database: &TestDatabase, user_id: &str, expected: usize) {
    let records = records_of(database, user_id).await;
    let positions: Vec<i64> = records.iter().map(|record| record.0).collect();
    let expected: Vec<i64> = (1..=i64::try_from(expected).unwrap()).collect();
    assert_eq!(positions, expected, "{user_id}");
    assert!(records.is_sorted_by_key(|record| record.4), "recorded_at falls");
    let pool = database.database.connection.get_postgres_connection_pool();
    let head: (i64, Uuid) = sqlx::query_as("SELECT position, record_id FROM feed_head WHERE user_id = $1")
        .bind(user_id)
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(Some(head), records.last().map(|record| (record.0, record.3)));
}

/// Eight writers, each with tasks of its own, over two servers: lanes, batches, and batches that fail.
async fn write_all(database: &TestDatabase, user_of: impl Fn(usize) -> String) -> HashMap<String, usize> {
    const STEPS: i32 = 25;
    let servers = [lanes_of(database), lanes_of(database)];
    let store = store_of(database);
    let writers = (0..8_usize).map(|writer| {
        let (lanes, store, user_id) = (servers[writer % 2].clone(), store.clone(), user_of(writer));
        tokio::spawn(async move {
            let task_id = format!("task-{writer}");
            for step in 0..STEPS {
                if step % 5 == 4 {
                    // A transaction that fails leaves no hole.
                    let mut bad = record(&user_id, &task_id, step);
                    "no json".clone_into(&mut bad.result);
                    let batch = [record(&user_id, &task_id, step), bad];
                    assert!(matches!(
                        store.save_batch(batch).await,
                        Err(StoreError::Unstorable { index: Some(1), .. })
                    ));
                    let batch = [record(&user_id, &task_id, step), record(&user_id, &format!("other-{writer}"), step)];
                    store.save_batch(batch).await.unwrap();
                } else {
                    let saved = lanes.save(record(&user_id, &task_id, step)).await.unwrap();
                    assert_eq!(saved.task.step, step, "the task as this record left it");
                    assert_eq!(saved.task.position, saved.record.position);
                }
            }
            user_id
        })
    });
    let mut written = HashMap::new();
    for writer in join_all(writers).await {
        *written.entry(writer.unwrap()).or_default() += usize::try_from(STEPS + STEPS / 5).unwrap();
    }
    for lanes in &servers {
        lanes.close().await;
    }
    written
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_writers_number_one_user_without_holes() {
    let database = TestDatabase::new().await;
    let written = write_all(&database, |_| "ann".to_owned()).await;
    assert_dense(&database, "ann", written["ann"]).await;
    let mut steps: HashMap<String, Vec<i32>> = HashMap::new();
    for (_, task_id, step, ..) in records_of(&database, "ann").await {
        steps.entry(task_id).or_default().push(step);
    }
    assert_eq!(steps.len(), 16);
    assert!(steps.values().all(|steps| steps.is_sorted()), "a task's records changed their order: {steps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_writers_number_many_users_without_holes() {
    let database = TestDatabase::new().await;
    for (user_id, records) in write_all(&database, |writer| format!("user-{}", writer / 2)).await {
        assert_dense(&database, &user_id, records).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_a_user_commit_in_the_order_taken() {
    let database = TestDatabase::new().await;
    let lanes = lanes_of(&database);
    // All are waiting at once; a future is polled in the order of the list, so that is the order of being taken.
    let writing = (0..300).map(|step| lanes.save(record(&format!("u{}", step % 3), "t", step)));
    let saved = try_join_all(writing).await.unwrap();
    for (step, saved) in (0..300).zip(&saved) {
        assert_eq!(saved.record.position, i64::from(step / 3 + 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_record_id_from_eight_writers_at_once_is_one_record() {
    let database = TestDatabase::new().await;
    let servers = [lanes_of(&database), lanes_of(&database)];
    let store = store_of(&database);
    for round in 0..20 {
        let same = record("ann", "t", round);
        let writing = (0..8_usize).map(|writer| {
            let (lanes, store, same) = (servers[writer % 2].clone(), store.clone(), same.clone());
            tokio::spawn(async move {
                if writer < 6 {
                    lanes.save(same).await
                } else {
                    store.save_batch([same]).await.map(|mut all| all.remove(0))
                }
            })
        });
        let saved: Vec<Saved> = join_all(writing).await.into_iter().map(|saved| saved.unwrap().unwrap()).collect();
        assert_eq!(saved.iter().filter(|saved| !saved.is_duplicate).count(), 1);
        for one in &saved {
            assert_eq!(one.record, saved[0].record, "all get the first");
        }
    }
    assert_dense(&database, "ann", 20).await;
}

#[tokio::test]
async fn duplicates_within_a_batch_and_for_others() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let first = record("ann", "t", 1);
    let of_bob = NewRecord { user_id: "bob".to_owned(), ..first.clone() };
    let batch = [first.clone(), record("ann", "t", 2), first.clone(), of_bob.clone(), of_bob];
    let saved = store.save_batch(batch).await.unwrap();
    let seen: Vec<_> =
        saved.iter().map(|one| (one.record.user_id.as_str(), one.record.position, one.is_duplicate)).collect();
    assert_eq!(seen, [("ann", 1, false), ("ann", 2, false), ("ann", 1, true), ("bob", 1, false), ("bob", 1, true)]);
    assert_dense(&database, "ann", 2).await;
    assert_dense(&database, "bob", 1).await;

    // A repetition answers with the first record, whatever it says now, and with the task as it is.
    let mut again = record_of("ann", "t", 1, TaskStatus::Failed);
    again.record_id = first.record_id;
    let again = store.save_batch([again]).await.unwrap().remove(0);
    assert_eq!((again.record.status, again.task.step, again.is_duplicate), (TaskStatus::Running, 2, true));
}

#[tokio::test]
async fn a_record_id_of_another_task_or_step_is_a_conflict_and_nothing_is_saved() {
    let database = TestDatabase::new().await;
    let (store, lanes) = (store_of(&database), lanes_of(&database));
    let first = lanes.save(record("ann", "t", 1)).await.unwrap().record.record_id;
    for (task_id, step) in [("t", 2), ("other", 1)] {
        let mut wrong = record("ann", task_id, step);
        wrong.record_id = first;
        // With a repetition within the batch beside it, whose first is not saved either.
        let twice = record("ann", "t", 5);
        let batch = [record("ann", "t", 3), twice.clone(), twice, wrong.clone(), record("bob", "t", 1)];
        let refused = store.save_batch(batch).await;
        assert!(matches!(refused, Err(StoreError::Conflict { index: 3 })), "{refused:?}");
        assert!(matches!(lanes.save(wrong.clone()).await, Err(StoreError::Conflict { .. })));
    }
    // Within one batch, too.
    let one = record("ann", "t", 7);
    let mut two = record("ann", "t", 8);
    two.record_id = one.record_id;
    assert!(matches!(store.save_batch([one, two]).await, Err(StoreError::Conflict { index: 1 })));
    assert_dense(&database, "ann", 1).await;
    assert_eq!(count(&database, "SELECT count(*) FROM task_record").await, 1);
    assert_eq!(count(&database, "SELECT count(*) FROM task").await, 1);
}

#[tokio::test]
async fn conflicts_in_a_lane_fail_alone() {
    let database = TestDatabase::new().await;
    let lanes = lanes_of(&database);
    let first = lanes.save(record("ann", "t", 0)).await.unwrap().record.record_id;
    let twice = record("ann", "t", 50);
    let records: Vec<NewRecord> = (1..60)
        .map(|step| match step {
            10 | 30 => NewRecord { record_id: first, ..record("ann", "t", step) },
            50 | 51 => twice.clone(),
            _ => record("ann", "t", step),
        })
        .collect();
    let saved = join_all(records.into_iter().map(|record| lanes.save(record))).await;
    for (step, saved) in (1..60).zip(&saved) {
        match step {
            10 | 30 => assert!(matches!(saved, Err(StoreError::Conflict { .. })), "{step}: {saved:?}"),
            _ => assert_eq!(saved.as_ref().unwrap().is_duplicate, step == 51, "{step}"),
        }
    }
    assert_dense(&database, "ann", 57).await;
}

#[tokio::test]
async fn a_batch_with_one_bad_record_saves_nothing_and_names_it() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    for bad in [0, 1, 6, 12] {
        for poison in ["no json", r#"{"message": "#, "\0"] {
            let mut records: Vec<NewRecord> = (0..13).map(|step| record(&format!("u{step}"), "t", step)).collect();
            poison.clone_into(&mut records[bad].result);
            match store.save_batch(records.clone()).await {
                Err(StoreError::Unstorable { index, .. }) => assert_eq!(index, Some(bad), "{poison}"),
                other => panic!("{other:?}"),
            }
        }
        let mut records: Vec<NewRecord> = (0..13).map(|step| record(&format!("u{step}"), "t", step)).collect();
        records[bad].details = Some(TaskDetails { name: Some("\0".to_owned()), ..TaskDetails::default() });
        assert!(
            matches!(store.save_batch(records.clone()).await, Err(StoreError::Unstorable { index, .. }) if index == Some(bad))
        );
    }
    assert_eq!(count(&database, "SELECT count(*) FROM task_record").await, 0);
    assert_eq!(count(&database, "SELECT count(*) FROM task").await, 0);
    assert_eq!(count(&database, "SELECT count(*) FROM feed_head").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_unstorable_save_among_many_fails_alone() {
    let database = TestDatabase::new().await;
    let lanes = lanes_of(&database);
    let writing = (0..200).map(|number| {
        let mut one = record(&format!("u{}", number % 20), "t", number);
        if number == 117 {
            one.result = "no json".to_owned();
        }
        lanes.save(one)
    });
    let saved = join_all(writing).await;
    for (number, saved) in saved.iter().enumerate() {
        match saved {
            Err(StoreError::Unstorable { .. }) => assert_eq!(number, 117),
            other => assert!(other.is_ok() && number != 117, "{number}: {other:?}"),
        }
    }
    assert_eq!(count(&database, "SELECT count(*) FROM task_record").await, 199);
    for user in 0..20 {
        assert_dense(&database, &format!("u{user}"), if user == 117 % 20 { 9 } else { 10 }).await;
    }
}

/// A batch of two records of one task.
fn pair(user_id: &str, task_id: &str) -> [NewRecord; 2] {
    [0, 1].map(|step| record(user_id, task_id, step))
}

// One thread: all have come before the first is taken.
#[tokio::test]
async fn batches_that_wait_together_share_a_commit_and_harm_nobody() {
    const BATCHES: usize = 20;
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let batches = (0..BATCHES).map(|batch| store.save_batch(pair(&format!("user-{}", batch % 3), &batch.to_string())));
    let saved = futures_util::future::try_join_all(batches).await.unwrap();
    for (batch, saved) in saved.iter().enumerate() {
        assert_eq!(saved.iter().map(|saved| saved.record.step).collect::<Vec<_>>(), [0, 1]);
        assert!(saved.iter().all(|saved| saved.task.task_id == batch.to_string() && saved.task.step == 1));
    }
    let pool = database.database.connection.get_postgres_connection_pool();
    let commits = "SELECT count(DISTINCT xmin::text) FROM task_record";
    assert_eq!(sqlx::query_scalar::<_, i64>(commits).fetch_one(pool).await.unwrap(), 1);

    let batches = (0..BATCHES).map(|batch| {
        let mut two = pair("ann", &batch.to_string());
        match batch {
            5 => "no json".clone_into(&mut two[1].result),
            // Of another task.
            9 => two[1].record_id = saved[3][0].record.record_id,
            _ => {}
        }
        for record in &mut two {
            record.user_id = format!("user-{}", batch % 3);
        }
        store.save_batch(two)
    });
    for (batch, saved) in futures_util::future::join_all(batches).await.into_iter().enumerate() {
        match batch {
            5 => assert!(matches!(saved, Err(StoreError::Unstorable { index: Some(1), .. })), "{saved:?}"),
            9 => assert!(matches!(saved, Err(StoreError::Conflict { index: 1 })), "{saved:?}"),
            _ => assert!(saved.unwrap().iter().all(|saved| !saved.is_duplicate)),
        }
    }
    let records = "SELECT count(*) FROM task_record";
    let expected = i64::try_from(2 * (2 * BATCHES - 2)).unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(records).fetch_one(pool).await.unwrap(), expected);
}

/// A clock that went ahead for a week and came back leaves an id twice. The others of a batch have their places.
#[tokio::test]
async fn an_id_that_stands_twice_is_a_duplicate_and_nobody_elses() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let twice = record("u", "t", 0);
    store.save_batch(vec![twice.clone()]).await.unwrap();
    let mut session = database.session().await;
    session
        .execute(
            "INSERT INTO task_record (user_id, task_id, step, result, timestamp, status, position, recorded_at, record_id)
             SELECT user_id, task_id, step, result, timestamp, status, 2, now(), record_id FROM task_record;
             UPDATE feed_head SET position = 2, recorded_at = now()",
        )
        .await
        .unwrap();
    let batch = vec![twice, record("v", "t", 0), record("w", "t", 0)];
    let saved = store.save_batch(batch.clone()).await.unwrap();
    assert_eq!(saved.iter().map(|saved| saved.is_duplicate).collect::<Vec<_>>(), [true, false, false]);
    for (saved, sent) in saved.iter().zip(&batch) {
        assert_eq!((&saved.record.user_id, saved.record.record_id), (&sent.user_id, sent.record_id));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_saves_share_their_commits() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let lanes = Lanes::start(store, LaneSettings::default(), Telemetry::new());
    let clients = (0..256).map(|client| {
        let lanes = lanes.clone();
        tokio::spawn(async move {
            for step in 0..4 {
                lanes.save(record(&format!("u{client}"), "t", step)).await.unwrap();
            }
        })
    });
    try_join_all(clients).await.unwrap();
    // Each transaction leaves its number on the rows that it wrote.
    let pool = database.database.connection.get_postgres_connection_pool();
    let row = sqlx::query("SELECT count(*) AS records, count(DISTINCT xmin::text) AS commits FROM task_record")
        .fetch_one(pool)
        .await
        .unwrap();
    let (records, commits): (i64, i64) = (row.get("records"), row.get("commits"));
    assert_eq!(records, 1024);
    assert!(commits * 10 < records, "{commits} commits for {records} records");
}

/// Both lanes are busy until all of them wait: the lanes have a thread of their own, which would look before that.
#[tokio::test]
async fn of_many_users_a_lane_takes_its_share_and_of_few_all() {
    for (users, largest) in [(20, 20), (64, 32)] {
        let database = TestDatabase::new().await;
        let lanes = lanes_of(&database);
        let mut holder = database.session().await;
        holder.execute("BEGIN; LOCK TABLE task_order").await.unwrap();
        for (busy, user) in [(1, "first"), (2, "second")] {
            let (lanes, record) = (lanes.clone(), record(user, "t", 1));
            tokio::spawn(async move { lanes.save(record).await });
            let waiting =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            eventually("a lane to be busy", async || (count(&database, waiting).await == busy).then_some(())).await;
        }
        let saves = (0..users).map(|user| lanes.save(record(&format!("u{user}"), "t", 1)));
        // What is looked at first is polled first: all of them wait by the time the lanes go on.
        let (all, released) = join(try_join_all(saves), holder.execute("COMMIT")).await;
        all.unwrap();
        released.unwrap();
        let sql = "SELECT max(n) FROM (SELECT count(*) AS n FROM task_record GROUP BY xmin::text) commits";
        assert_eq!(count(&database, sql).await, largest);
    }
}

/// What an append waits for once it holds its users is no reason to give up after a turn.
#[tokio::test]
async fn the_wait_for_users_bounds_no_other_wait() {
    let database = TestDatabase::new().await;
    let mut holder = database.session().await;
    holder.execute("BEGIN; LOCK TABLE task_order").await.unwrap();
    let mut session = database.session().await;
    let saving = tokio::spawn(async move {
        let sql = "SELECT taskwire_append_v1(ARRAY['ann'], ARRAY['t'], ARRAY['step'], ARRAY[1], ARRAY['running'], \
                   ARRAY['{}'::json], NULL, NULL, NULL, NULL, NULL, ARRAY[gen_random_uuid()], NULL, NULL, NULL, 10, false, 'each')";
        session.execute(sql).await.map(drop)
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
                   AND clock_timestamp() > query_start + interval '200 milliseconds'";
    eventually("it to wait", async || (count(&database, waiting).await == 1).then_some(())).await;
    holder.execute("COMMIT").await.unwrap();
    saving.await.unwrap().unwrap();
}

#[tokio::test]
async fn lanes_that_close_answer_everything_they_took() {
    let database = TestDatabase::new().await;
    let lanes = lanes_of(&database);
    let writing: Vec<_> = (0..100)
        .map(|step| {
            let lanes = lanes.clone();
            Box::pin(async move { lanes.save(record("ann", "t", step)).await })
        })
        .collect();
    let all = join_all(writing);
    let (saved, ()) = join(all, lanes.close()).await;
    assert!(saved.iter().all(Result::is_ok));
    assert_dense(&database, "ann", 100).await;
    assert!(matches!(lanes.save(record("ann", "t", 1)).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn full_queues_refuse_at_once_and_give_the_room_back() {
    let database = TestDatabase::new().await;
    let settings = LaneSettings { lanes: 1, queue_records: 10, queue_bytes: 1_000_000 };
    let lanes = Lanes::start(store_of(&database), settings, Telemetry::new());
    let saved = join_all((0..30).map(|step| lanes.save(record("ann", "t", step)))).await;
    let refused = saved.iter().filter(|saved| matches!(saved, Err(StoreError::Overloaded { .. }))).count();
    assert_eq!((refused, saved.iter().filter(|saved| saved.is_ok()).count()), (20, 10));
    lanes.save(record("ann", "t", 1)).await.unwrap();
    let mut big = record("ann", "t", 2);
    big.result = serde_json::json!({ "message": "x".repeat(1_000_000) }).to_string();
    assert!(matches!(lanes.save(big).await, Err(StoreError::Overloaded { .. })));
}

#[tokio::test]
async fn a_history_is_read_as_it_was_written() {
    let database = TestDatabase::new().await;
    let store: Store = store_of(&database);
    let written: Vec<NewRecord> = (0..7).map(|step| record("ann", "t", step)).collect();
    let saved = store.save_batch(written.clone()).await.unwrap();
    let query = HistoryQuery { user_id: "ann".to_owned(), task_id: "t".to_owned() };
    let page = Keyset { after: None, before: None, limit: 10, backward: false };
    let (read, _) = store.history(&query, &page).await.unwrap();
    assert_eq!(read.rows, saved.iter().map(|saved| (*saved.record).clone()).collect::<Vec<_>>());
    let ids: HashSet<_> = read.rows.iter().map(|record| record.record_id).collect();
    assert_eq!(ids.len(), 7);
}
