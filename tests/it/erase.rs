//! Erasing a user: all that is kept goes, whoever writes meanwhile; and who writes afterwards begins anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use entity::TaskStatus;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};
use taskwire::auth::Viewer;
use taskwire::service::Erased;
use taskwire::store::{CancelOutcome, CancelTerms, Head, NewCancellation, NewRecord, StoreSettings};
use uuid::Uuid;

use super::api_server::{ApiServer, SAVE, report};
use super::feed::insert;
use super::support::write::store_with;
use super::support::{TestDatabase, eventually, lanes_of, record, record_of, service_of, store_of};

const ERASE: &str =
    "mutation($input: EraseUserInput!) { eraseUser(input: $input) { deletedRecords deletedTasks hasMore } }";
const TIME: Duration = Duration::from_mins(1);

/// How many rows name this user, in whatever table of ours.
async fn rows_of(session: &mut PgConnection, user: &str) -> i64 {
    let tables = "SELECT c.table_name::text FROM information_schema.columns c JOIN information_schema.tables t \
         USING (table_schema, table_name) WHERE table_schema = 'public' AND column_name = 'user_id' \
         AND table_type = 'BASE TABLE'";
    let tables = session.fetch_all(tables).await.unwrap();
    assert!(tables.len() >= 7, "{}", tables.len());
    let mut rows = 0;
    for table in tables {
        let sql = format!("SELECT count(*) FROM \"{}\" WHERE user_id = $1", table.get::<String, _>(0));
        rows += sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql)).bind(user).fetch_one(&mut *session).await.unwrap();
    }
    rows
}

/// So many records of so many tasks.
async fn fill(database: &TestDatabase, user: &str, records: usize, tasks: usize) {
    let store = store_of(database);
    let all: Vec<NewRecord> = (0..records)
        .map(|number| record(user, &format!("t{}", number % tasks), i32::try_from(number / tasks).unwrap()))
        .collect();
    for some in all.chunks(1_000) {
        store.save_batch(some.to_vec()).await.unwrap();
    }
}

async fn erase(database: &TestDatabase, user: &str) -> Erased {
    service_of(database).erase_user(&Viewer::admin(), user.to_owned(), user, TIME).await.unwrap()
}

/// A step of erasing Anna, under way; whether it was the last.
async fn one_step(database: &TestDatabase) -> tokio::task::JoinHandle<bool> {
    let mut eraser = database.session().await;
    let sql = "SELECT is_done FROM taskwire_erase_v1('anna', 100, 60000, true)";
    tokio::spawn(async move { eraser.fetch_one(sql).await.unwrap().get(0) })
}

/// Waits until so many sessions wait for a lock.
async fn waiting(session: &mut PgConnection, count: i64) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("they wait for the lock", async || {
        let waiting: i64 = session.fetch_one(sql).await.unwrap().get(0);
        (waiting == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_and_nothing_of_anybody_else() {
    let server = ApiServer::start().await;
    let user = "anna's \"%_\\";
    fill(&server.database, user, 3_500, 1_700).await;
    fill(&server.database, "ben", 20, 3).await;
    let mut session = server.database.session().await;
    let disconnect = "mutation($id: ID!) { disconnectUser(input: { userId: $id }) { closedConnections } }";
    server.data(disconnect, json!({ "id": user })).await;
    let (bens, all) = (rows_of(&mut session, "ben").await, rows_of(&mut session, user).await);
    assert!(bens > 20 && all > 3_500 + 2 * 1_700 + 2, "{bens} {all}");
    let input = json!({ "input": { "userId": user, "confirm": user } });
    let erased = server.data(ERASE, input.clone()).await["eraseUser"].take();
    assert_eq!(erased, json!({ "deletedRecords": 3_500, "deletedTasks": 1_700, "hasMore": false }));
    assert_eq!((rows_of(&mut session, user).await, rows_of(&mut session, "ben").await), (0, bens));
    let nothing = json!({ "deletedRecords": 0, "deletedTasks": 0, "hasMore": false });
    assert_eq!(server.data(ERASE, input).await["eraseUser"], nothing);
    assert_eq!(rows_of(&mut session, user).await, 0, "erasing nobody leaves a trace");
    // A record id that was used before is a new one, and the first position is 1.
    let saved = server.save(user, "t0", 0, "RUNNING", json!({ "recordId": Uuid::now_v7() })).await;
    assert_eq!((&saved["record"]["position"], &saved["isDuplicate"]), (&json!(1), &json!(false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_values_are_refused() {
    let server = ApiServer::start().await;
    server.save("anna", "t", 1, "RUNNING", json!({})).await;
    let long = "x".repeat(256);
    for (user, confirm, field) in [
        ("anna", "Anna", "input.confirm"),
        ("anna", "", "input.confirm"),
        ("anna", "anna ", "input.confirm"),
        ("", "", "input.userId"),
        ("an\0na", "an\0na", "input.userId"),
        (&long, &long, "input.userId"),
    ] {
        let error = server.error(ERASE, json!({ "input": { "userId": user, "confirm": confirm } })).await;
        assert_eq!(
            (&error["extensions"]["code"], &error["extensions"]["field"]),
            (&json!("BAD_USER_INPUT"), &json!(field))
        );
    }
    let error = server.error(ERASE, json!({ "input": { "userId": "anna" } })).await;
    assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT");
    assert!(rows_of(&mut server.database.session().await, "anna").await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_time_runs_out_the_next_call_goes_on() {
    let database = TestDatabase::new().await;
    fill(&database, "anna", 2_500, 10).await;
    let service = service_of(&database);
    let mut calls = Vec::new();
    loop {
        let erased = service.erase_user(&Viewer::admin(), "anna".into(), "anna", Duration::ZERO).await.unwrap();
        calls.push((erased.records, erased.tasks, erased.has_more));
        if !erased.has_more {
            break;
        }
        let feed = store_of(&database).feed_of("anna").await.unwrap();
        let gone = i64::try_from(calls.len()).unwrap() * 1_000;
        assert_eq!((feed.0.position, feed.1), (2_500, Some(gone + 1)), "the oldest first, without a hole");
    }
    assert_eq!(calls, [(1_000, 0, true), (1_000, 0, true), (500, 10, false)]);
    assert_eq!(rows_of(&mut database.session().await, "anna").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_saved_meanwhile_goes_too_and_no_save_fails() {
    let server = Arc::new(ApiServer::start().await);
    fill(&server.database, "anna", 6_000, 300).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers: Vec<tokio::task::JoinHandle<u64>> = Vec::new();
    for worker in 0..4 {
        let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
        workers.push(tokio::spawn(async move {
            let (mut saved, mut stranger) = (0, server.database.session().await);
            while !stop.load(Ordering::SeqCst) {
                let task = format!("w{worker}-{}", saved % 7);
                match worker {
                    0 => insert(&mut stranger, "anna", &task).await,
                    1 => {
                        store_of(&server.database)
                            .save_batch(vec![record("anna", &task, 1), record("anna", &task, 2)])
                            .await
                            .unwrap();
                    }
                    _ => drop(
                        server.data(SAVE, json!({ "input": report("anna", &task, 1, "RUNNING", json!({})) })).await,
                    ),
                }
                saved += 1;
            }
            saved
        }));
    }
    for _ in 0..5 {
        let erased = erase(&server.database, "anna").await;
        assert!(!erased.has_more);
    }
    stop.store(true, Ordering::SeqCst);
    for worker in workers {
        assert!(worker.await.unwrap() > 0);
    }
    // What was saved after the last time stands in a feed of its own, without a hole.
    let store = store_of(&server.database);
    let page = store.feed_page("anna", None, Head::START, 10_000).await.unwrap();
    let positions: Vec<i64> = page.entries.iter().map(|entry| entry.record.position).collect();
    assert_eq!(positions, (1..=page.head.position).collect::<Vec<_>>());
    let erased = erase(&server.database, "anna").await;
    assert_eq!(erased.records, page.head.position);
    assert_eq!(rows_of(&mut server.database.session().await, "anna").await, 0);
}

/// Without a head there is nothing to lock: who is saved in the middle of it is not touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_first_saved_meanwhile_is_left_whole() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let (mut holder, mut watcher) = (database.session().await, database.session().await);
    holder.execute("INSERT INTO user_control (user_id, disconnected_at) VALUES ('anna', now())").await.unwrap();
    holder.execute("BEGIN; SELECT FROM user_control WHERE user_id = 'anna' FOR UPDATE").await.unwrap();
    let erasing = one_step(&database).await;
    waiting(&mut watcher, 1).await;
    store.save_batch(vec![record("anna", "t", 1)]).await.unwrap();
    holder.execute("COMMIT").await.unwrap();
    assert!(erasing.await.unwrap());
    store.save_batch(vec![record("anna", "t", 2)]).await.unwrap();
    let page = store.feed_page("anna", None, Head::START, 100).await.unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.record.position).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waited_for_the_lock_meanwhile_begins_a_new_feed() {
    let database = TestDatabase::new().await;
    let (store, lanes) = (store_of(&database), lanes_of(&database));
    store.save_batch(vec![record("anna", "old", 1)]).await.unwrap();
    let (mut holder, mut watcher) = (database.session().await, database.session().await);
    holder.execute("BEGIN; SELECT FROM feed_head WHERE user_id = 'anna' FOR UPDATE").await.unwrap();
    // In the order of the queue: the erasing, then those who write.
    let erasing = one_step(&database).await;
    waiting(&mut watcher, 1).await;
    let mut stranger = database.session().await;
    let inserting = tokio::spawn(async move { insert(&mut stranger, "anna", "stranger").await });
    waiting(&mut watcher, 2).await;
    let batch_store = store.clone();
    let batch = tokio::spawn(async move { batch_store.save_batch(vec![record("anna", "batch", 1)]).await });
    let single = tokio::spawn(async move { lanes.save(record_of("anna", "single", 1, TaskStatus::Running)).await });
    waiting(&mut watcher, 3).await;
    holder.execute("COMMIT").await.unwrap();
    assert!(erasing.await.unwrap());
    inserting.await.unwrap();
    let saved = [batch.await.unwrap().unwrap().remove(0), single.await.unwrap().unwrap()];
    let page = store.feed_page("anna", None, Head::START, 100).await.unwrap();
    let feed: Vec<_> = page.entries.iter().map(|entry| &entry.record).collect();
    assert!(feed.iter().map(|record| record.position).eq(1..=i64::try_from(feed.len()).unwrap()));
    assert!(feed.iter().any(|record| record.task_id == "stranger"));
    assert!(feed.iter().all(|record| record.task_id != "old"));
    // A server asks again and again: in the moment in which the lock is free it may be quicker than who stands in the queue.
    // What it saved then was the user's before the erasing, and has gone with it.
    for saved in saved {
        let is_there = feed.iter().any(|record| record.record_id == saved.record.record_id);
        assert!(is_there || saved.record.recorded_at < feed[0].recorded_at, "{:?} is lost", saved.record.task_id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cancels_or_gives_a_sign_of_life_meanwhile_brings_nobody_back() {
    let database = TestDatabase::new().await;
    let patient = StoreSettings { hold_timeout: Duration::from_secs(20), ..StoreSettings::default() };
    let store = store_with(&database, patient);
    let details = taskwire::store::TaskDetails { report_within_seconds: Some(60), ..Default::default() };
    store.save_batch(vec![NewRecord { details: Some(details), ..record("anna", "t", 1) }]).await.unwrap();
    let (mut holder, mut watcher) = (database.session().await, database.session().await);
    holder.execute("BEGIN; SELECT FROM feed_head WHERE user_id = 'anna' FOR UPDATE").await.unwrap();
    let erasing = one_step(&database).await;
    waiting(&mut watcher, 1).await;
    let mut canceller = database.session().await;
    let cancelling = tokio::spawn(async move {
        let sql = "SELECT outcome FROM taskwire_cancel_v1('{anna}', '{t}', ARRAY[gen_random_uuid()], NULL, NULL, false, \
             '5 minutes', 60000, true)";
        canceller.fetch_one(sql).await.unwrap().get::<String, _>(0)
    });
    waiting(&mut watcher, 2).await;
    let mut alive = database.session().await;
    let living = tokio::spawn(async move {
        alive.fetch_all("SELECT taskwire_report_alive_v1('anna', 't', NULL, 60000)").await.unwrap()
    });
    waiting(&mut watcher, 3).await;
    holder.execute("COMMIT").await.unwrap();
    erasing.await.unwrap();
    assert_eq!(cancelling.await.unwrap(), "NOT_FOUND");
    assert!(living.await.unwrap().is_empty());
    assert_eq!(rows_of(&mut watcher, "anna").await, 0);
    let item = NewCancellation { user_id: "anna".into(), task_id: "t".into(), record_id: Uuid::now_v7() };
    let terms = CancelTerms { reason: None, requested_by: None, force: true, settle: Duration::ZERO };
    assert_eq!(store.cancel(&[item], &terms).await.unwrap()[0].outcome, CancelOutcome::NotFound);
    assert_eq!(rows_of(&mut watcher, "anna").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_held_for_long_is_a_timeout_and_nothing_has_gone() {
    let server = ApiServer::configured(|config| config.write.hold_timeout = Duration::from_millis(300)).await;
    server.save("anna", "t", 1, "RUNNING", json!({})).await;
    let mut session = server.database.session().await;
    let before = rows_of(&mut session, "anna").await;
    let mut holder = server.database.session().await;
    holder.execute("BEGIN; SELECT FROM feed_head WHERE user_id = 'anna' FOR UPDATE").await.unwrap();
    let input = json!({ "input": { "userId": "anna", "confirm": "anna" } });
    let error = server.error(ERASE, input.clone()).await;
    assert_eq!((&error["extensions"]["code"], &error["extensions"]["retryable"]), (&json!("TIMEOUT"), &json!(true)));
    assert_eq!(rows_of(&mut session, "anna").await, before);
    holder.execute("ROLLBACK").await.unwrap();
    let erased: Value = server.data(ERASE, input).await["eraseUser"].take();
    assert_eq!(erased, json!({ "deletedRecords": 1, "deletedTasks": 1, "hasMore": false }));
}
