//! Somebody's open transaction holds a user: only that user waits. And answers that are lost on the way.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{join_all, try_join_all};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use taskwire::store::{LaneSettings, Lanes, NewRecord, StoreError, StoreSettings};
use taskwire::telemetry::Telemetry;
use tokio::time::timeout;

use super::support::proxy::Proxy;
use super::support::write::store_with;
use super::support::{POOL, TestDatabase, eventually, lanes_of, pool, record, store_of, store_over};

/// Much longer than a hundred saves take, also on a busy machine, and short enough for a test.
const HOLD: Duration = Duration::from_millis(2500);
/// What a thing may take that waits for nobody: less than anybody is held.
const PACE: Duration = Duration::from_secs(2);

fn impatient_lanes(database: &TestDatabase) -> Lanes {
    let settings = StoreSettings { hold_timeout: HOLD, ..StoreSettings::default() };
    Lanes::start(store_with(database, settings), LaneSettings::default(), Telemetry::new())
}

async fn insert(session: &mut PgConnection, user_id: &str) {
    let sql = "INSERT INTO task_history (user_id, task_id, step, result, timestamp, status) \
               VALUES ($1, 't', 0, '{}', now(), 'running')";
    sqlx::query(sql).bind(user_id).execute(session).await.unwrap();
}

async fn positions(database: &TestDatabase, user_id: &str) -> Vec<(i64, uuid::Uuid)> {
    let pool = database.database.connection.get_postgres_connection_pool();
    sqlx::query_as("SELECT position, record_id FROM task_record WHERE user_id = $1 ORDER BY position")
        .bind(user_id)
        .fetch_all(pool)
        .await
        .unwrap()
}

/// Saves for ten other users, ten each, one after the other: how long all took.
async fn pace_of_others(lanes: &Lanes) -> Duration {
    let start = Instant::now();
    let others = (0..10).map(|user| async move {
        for step in 0..10 {
            lanes.save(record(&format!("other-{user}"), "t", step)).await.unwrap();
        }
    });
    join_all(others).await;
    start.elapsed()
}

/// The saves of others keep the pace that they had when nobody was held; a busy machine may take a little longer.
async fn others_keep_their_pace(lanes: &Lanes, free: Duration) {
    let pace = pace_of_others(lanes).await;
    let most = (free * 3).max(Duration::from_millis(250));
    assert!(pace < most && pace < PACE, "others took {pace:?} instead of {free:?}");
}

/// More than one transaction takes wait for a user who is let go only after the end has begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_that_close_write_all_of_a_user_who_was_held() {
    let database = TestDatabase::new().await;
    let lanes = lanes_of(&database);
    lanes.save(record("ann", "t", 0)).await.unwrap();
    let mut psql = database.session().await;
    psql.execute("BEGIN; SELECT FROM feed_head FOR UPDATE").await.unwrap();
    let saves: Vec<_> = (1..=600)
        .map(|step| {
            let lanes = lanes.clone();
            tokio::spawn(async move { lanes.save(record("ann", "t", step)).await })
        })
        .collect();
    eventually("all wait", async || (lanes.queued().0 == 600).then_some(())).await;
    let closing = tokio::spawn({
        let lanes = lanes.clone();
        async move { lanes.close().await }
    });
    eventually("nothing more is taken", async || lanes.save(record("ben", "t", 0)).await.err()).await;
    psql.execute("COMMIT").await.unwrap();
    timeout(Duration::from_secs(20), closing).await.expect("the lanes never end").unwrap();
    for saved in join_all(saves).await {
        saved.unwrap().unwrap();
    }
    assert_eq!(positions(&database, "ann").await.len(), 601);
}

async fn a_held_user_waits_alone(is_new: bool) {
    let database = TestDatabase::new().await;
    let lanes = impatient_lanes(&database);
    // The first time connections are made.
    pace_of_others(&lanes).await;
    let free = pace_of_others(&lanes).await;
    if !is_new {
        lanes.save(record("ann", "t", 0)).await.unwrap();
    }
    let before = positions(&database, "ann").await.len();
    let mut psql = database.session().await;
    psql.execute("BEGIN").await.unwrap();
    insert(&mut psql, "ann").await;

    // Two saves: both wait, and keep their order.
    let (first, second) = (record("ann", "t", 1), record("ann", "t", 2));
    let start = Instant::now();
    let anns = {
        let (lanes, records) = (lanes.clone(), [first.clone(), second.clone()]);
        tokio::spawn(async move {
            let saves = join_all(records.map(|record| lanes.save(record))).await;
            (saves, start.elapsed())
        })
    };
    others_keep_their_pace(&lanes, free).await;
    let (refused, waited) = anns.await.unwrap();
    assert!(refused.iter().all(|save| matches!(save, Err(StoreError::Timeout))), "{refused:?}");
    assert!(waited >= HOLD && waited < HOLD + PACE, "TIMEOUT after {waited:?}");

    // Repeated, it waits again, lands when the session ends, and is there once.
    let again = {
        let (lanes, records) = (lanes.clone(), [first.clone(), second.clone(), first.clone()]);
        tokio::spawn(async move { try_join_all(records.map(|record| lanes.save(record))).await })
    };
    others_keep_their_pace(&lanes, free).await;
    psql.execute("COMMIT").await.unwrap();
    let saved = again.await.unwrap().unwrap();
    assert_eq!(saved.iter().map(|saved| saved.is_duplicate).collect::<Vec<_>>(), [false, false, true]);
    let all = positions(&database, "ann").await;
    assert_eq!(all.len(), before + 3);
    assert_eq!(all[before + 1].1, first.record_id);
    assert_eq!(all[before + 2].1, second.record_id);
    // Free again: at once.
    let start = Instant::now();
    lanes.save(record("ann", "t", 3)).await.unwrap();
    assert!(start.elapsed() < PACE);
    lanes.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_held_by_an_open_session_delays_nobody_else() {
    a_held_user_waits_alone(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_user_held_by_an_open_session_delays_nobody_else() {
    a_held_user_waits_alone(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_that_are_closed_while_they_write_end_in_any_order() {
    let database = TestDatabase::new().await;
    let mut psql = database.session().await;
    let mut watcher = database.session().await;
    for step in 0..10 {
        let lanes = Lanes::start(store_of(&database), LaneSettings::default(), Telemetry::new());
        psql.execute("BEGIN; LOCK TABLE task_record IN EXCLUSIVE MODE").await.unwrap();
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation'";
        let mut saves = Vec::new();
        for user in ["ann", "bob"] {
            let save = {
                let lanes = lanes.clone();
                async move { lanes.save(record(user, "t", step)).await }
            };
            saves.push(tokio::spawn(save));
            eventually("a lane of its own writes it", async || {
                let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut watcher).await.unwrap();
                (waiting == i64::try_from(saves.len()).unwrap()).then_some(())
            })
            .await;
        }
        let mut closing = Box::pin(lanes.close());
        assert!(closing.as_mut().now_or_never().is_none());
        psql.execute("COMMIT").await.unwrap();
        for saved in join_all(saves).await {
            saved.unwrap().unwrap();
        }
        timeout(Duration::from_secs(5), closing).await.expect("all lanes end");
    }
}

#[tokio::test]
async fn a_batch_and_a_cancellation_of_a_held_user_time_out_and_write_nothing() {
    let database = TestDatabase::new().await;
    let settings = StoreSettings { hold_timeout: Duration::from_millis(100), ..StoreSettings::default() };
    let store = store_with(&database, settings);
    store.save_batch([record("ann", "t", 0), record("bob", "t", 0)]).await.unwrap();
    let mut psql = database.session().await;
    psql.execute("BEGIN").await.unwrap();
    insert(&mut psql, "ann").await;
    let batch = [record("bob", "t", 1), record("ann", "t", 1)];
    assert!(matches!(store.save_batch(batch.clone()).await, Err(StoreError::Timeout)));
    assert_eq!(positions(&database, "bob").await.len(), 1);
    let item = taskwire::store::NewCancellation {
        user_id: "ann".to_owned(),
        task_id: "t".to_owned(),
        record_id: uuid::Uuid::now_v7(),
    };
    let terms =
        taskwire::store::CancelTerms { reason: None, requested_by: None, force: false, settle: Duration::from_mins(5) };
    assert!(matches!(store.cancel(std::slice::from_ref(&item), &terms).await, Err(StoreError::Timeout)));
    psql.execute("ROLLBACK").await.unwrap();
    store.save_batch(batch.clone()).await.unwrap();
    store.cancel(&[item], &terms).await.unwrap();
    assert_eq!(positions(&database, "ann").await.len(), 3);
}

/// What the class that we replace does when it connects.
pub(super) const OLD_CONNECT: &str = "
    CREATE TABLE IF NOT EXISTS task_history (
        id SERIAL PRIMARY KEY,
        user_id TEXT NOT NULL,
        task_id TEXT NOT NULL,
        step INTEGER NOT NULL,
        result JSONB NOT NULL,
        timestamp TIMESTAMP NOT NULL,
        status TEXT NOT NULL DEFAULT 'pending'
    );
    CREATE INDEX IF NOT EXISTS idx_task_history_user_id ON task_history (user_id);
    CREATE INDEX IF NOT EXISTS idx_task_history_task_id ON task_history (task_id);
    CREATE INDEX IF NOT EXISTS idx_task_history_status ON task_history (status);
    CREATE INDEX IF NOT EXISTS idx_task_history_timestamp ON task_history (timestamp);";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_class_connecting_beside_an_open_session_delays_nobody() {
    for is_new in [false, true] {
        the_old_class_connects(is_new).await;
    }
}

async fn the_old_class_connects(is_new: bool) {
    let database = TestDatabase::new().await;
    let lanes = lanes_of(&database);
    if !is_new {
        lanes.save(record("ann", "t", 0)).await.unwrap();
    }
    pace_of_others(&lanes).await;
    let free = pace_of_others(&lanes).await;
    let mut psql = database.session().await;
    psql.execute("BEGIN").await.unwrap();
    insert(&mut psql, "ann").await;
    let mut old = database.session().await;
    old.execute("SET ROLE task_history_writer").await.unwrap();
    let start = Instant::now();
    let refused = old.execute(OLD_CONNECT).await;
    assert!(start.elapsed() < PACE, "it waited {:?}", start.elapsed());
    assert!(refused.is_err(), "built something");
    // Each statement by itself, as a later version may send them.
    for statement in OLD_CONNECT.split(';').filter(|statement| !statement.trim().is_empty()) {
        let start = Instant::now();
        let _ = old.execute(sqlx::AssertSqlSafe(statement.to_owned())).await;
        assert!(start.elapsed() < PACE, "{statement} waited");
    }
    others_keep_their_pace(&lanes, free).await;
    let pool = database.database.connection.get_postgres_connection_pool();
    let built: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_class WHERE relname LIKE 'idx_task_history%'")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(built, 0);
    psql.execute("COMMIT").await.unwrap();
    insert(&mut old, "bob").await;
}

/// Calls the append path by hand, as a backend of a server does whose client is gone.
async fn append_by_hand(session: &mut PgConnection, record: &NewRecord) {
    let sql = "SELECT count(*) FROM taskwire_append_v1(ARRAY[$1], ARRAY[$2], ARRAY['step'], ARRAY[$3], ARRAY[$4], \
               ARRAY[$5::text::json], NULL, NULL, NULL, NULL, NULL, ARRAY[$6], NULL, NULL, NULL, 0, true, 'each')";
    let written: i64 = sqlx::query_scalar(sql)
        .bind(record.user_id.clone())
        .bind(record.task_id.clone())
        .bind(record.step)
        .bind(record.status.as_str())
        .bind(record.result.as_str())
        .bind(record.record_id)
        .fetch_one(session)
        .await
        .unwrap();
    assert_eq!(written, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_held_by_one_server_and_repeated_through_another_is_one_record() {
    for is_known in [true, false] {
        for commits in [true, false] {
            let database = TestDatabase::new().await;
            let (lanes, store) = (lanes_of(&database), store_of(&database));
            if is_known {
                lanes.save(record("ann", "t", 0)).await.unwrap();
            }
            let before = positions(&database, "ann").await.len();
            let mut gone = database.session().await;
            gone.execute("BEGIN").await.unwrap();
            let one = record("ann", "t", 1);
            append_by_hand(&mut gone, &one).await;
            // Through a lane, and as a batch, which waits in the database.
            let single = {
                let (lanes, one) = (lanes.clone(), one.clone());
                tokio::spawn(async move { lanes.save(one).await })
            };
            let batch = {
                let (store, one) = (store.clone(), one.clone());
                tokio::spawn(async move { store.save_batch([one]).await.map(|mut saved| saved.remove(0)) })
            };
            let pool = database.database.connection.get_postgres_connection_pool();
            eventually("the batch waits", async || {
                let waiting: i64 = sqlx::query_scalar(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
                )
                .fetch_one(pool)
                .await
                .unwrap();
                (waiting > 0).then_some(())
            })
            .await;
            gone.execute(if commits { "COMMIT" } else { "ROLLBACK" }).await.unwrap();
            let saved = [single.await.unwrap().unwrap(), batch.await.unwrap().unwrap()];
            let duplicates = saved.iter().filter(|saved| saved.is_duplicate).count();
            assert_eq!(duplicates, if commits { 2 } else { 1 });
            assert!(saved.iter().all(|saved| saved.record.record_id == one.record_id));
            assert_eq!(positions(&database, "ann").await.len(), before + 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_after_the_commit_is_asked_for_again() {
    let database = TestDatabase::new().await;
    let options = database.connect_options();
    let proxy = Proxy::start(&options).await;
    let url =
        format!("postgres://{}@127.0.0.1:{}/{}?sslmode=disable", options.get_username(), proxy.port, database.name);
    let store = store_over(&pool(&url, POOL).await);
    let lanes = Lanes::start(store.clone(), LaneSettings::default(), Telemetry::new());
    lanes.save(record("ann", "t", 0)).await.unwrap();

    proxy.lose(2);
    let one = record("ann", "t", 1);
    let saved = lanes.save(one.clone()).await.unwrap();
    assert_eq!((saved.record.record_id, saved.record.position, saved.is_duplicate), (one.record_id, 2, true));
    assert_eq!(proxy.lost(), 2);

    proxy.lose(1);
    let batch: Vec<NewRecord> = (2..6).map(|step| record("ann", "t", step)).collect();
    let saved = store.save_batch(batch.clone()).await.unwrap();
    assert_eq!(proxy.lost(), 3);
    assert_eq!(saved.iter().map(|saved| saved.record.position).collect::<Vec<_>>(), [3, 4, 5, 6]);
    let all: Vec<_> = positions(&database, "ann").await.into_iter().map(|(position, _)| position).collect();
    assert_eq!(all, [1, 2, 3, 4, 5, 6]);

    // The first attempt comes to the database after the second one: it has to look, too, although nobody had its id yet.
    let late = proxy.hold_back();
    let saved = lanes.save(record("ann", "t", 6)).await.unwrap();
    assert_eq!((saved.record.position, saved.is_duplicate), (7, false));
    late.deliver().await;
    assert_eq!(positions(&database, "ann").await.len(), 7);
    let late = proxy.hold_back();
    store.save_batch([7, 8].map(|step| record("ann", "t", step))).await.unwrap();
    late.deliver().await;
    assert_eq!(positions(&database, "ann").await.len(), 9);
    // The session beside it was never cut.
    database.connect_options().connect().await.unwrap().close().await.unwrap();
}

/// A user is released while a batch with a bad record is being halved: what was held in the first half goes first all
/// the same.
#[tokio::test]
async fn a_user_released_in_the_midst_of_halving_keeps_its_order() {
    let database = TestDatabase::new().await;
    let plain = store_of(&database);
    plain.save_batch([record("held", "t", 0)]).await.unwrap();
    // A session on a thread of its own, which commits when it is told to and says when it has.
    let (release, released) = (std::sync::mpsc::channel::<()>(), std::sync::mpsc::channel::<()>());
    let options = database.connect_options();
    let (is_held, holds) = tokio::sync::oneshot::channel();
    let psql = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut psql = options.connect().await.unwrap();
            psql.execute("BEGIN").await.unwrap();
            insert(&mut psql, "held").await;
            is_held.send(()).unwrap();
            release.1.recv().unwrap();
            psql.execute("COMMIT").await.unwrap();
            released.0.send(()).unwrap();
        });
    });
    holds.await.unwrap();
    let released = std::sync::Mutex::new(Some((release.0, released.1)));
    let on_commit = move |_: Vec<taskwire::store::Committed>| {
        if let Some((release, released)) = released.lock().unwrap().take() {
            release.send(()).unwrap();
            released.recv().unwrap();
        }
    };
    let store = taskwire::store::Store::new(
        database.database.connection.clone(),
        StoreSettings::default(),
        std::sync::Arc::new(on_commit),
    );
    let lanes = Lanes::start(store, LaneSettings { lanes: 1, ..LaneSettings::default() }, Telemetry::new());
    // One thread: all four wait before the lane takes any. Halved, they are (free, held 1) and (bad, held 2).
    let mut bad = record("bad", "t", 0);
    "no json".clone_into(&mut bad.result);
    let records = [record("free", "t", 0), record("held", "t", 1), bad, record("held", "t", 2)];
    let outcome = join_all(records.map(|record| lanes.save(record))).await;
    psql.join().unwrap();
    let places: Vec<Option<i64>> =
        outcome.iter().map(|saved| saved.as_ref().ok().map(|saved| saved.record.position)).collect();
    assert_eq!(places, [Some(1), Some(3), None, Some(4)]);
}

/// Two tries of a lane, and then the side.
#[tokio::test]
async fn a_save_that_is_tried_again_counts_once_among_those_that_waited_for_a_lane() {
    let database = TestDatabase::new().await;
    let telemetry = Telemetry::new();
    let lanes = Lanes::start(store_of(&database), LaneSettings::default(), telemetry.clone());
    lanes.save(record("ann", "t", 0)).await.unwrap();
    let mut psql = database.session().await;
    psql.execute("BEGIN; SELECT FROM feed_head FOR UPDATE").await.unwrap();
    let told = |line: &str| telemetry.text().lines().any(|told| told == line);
    let saving = tokio::spawn(async move { lanes.save(record("ann", "t", 1)).await });
    eventually("two tries", async || told("taskwire_commits_total 3").then_some(())).await;
    psql.execute("COMMIT").await.unwrap();
    saving.await.unwrap().unwrap();
    assert!(told("taskwire_commit_wait_seconds_count 2"), "{}", telemetry.text());
}

/// More batches and cancellations of a held user than the pool has connections: they must not take all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_batches_of_a_held_user_leave_connections_for_others() {
    let database = TestDatabase::new().await;
    let settings = StoreSettings { hold_timeout: HOLD, ..StoreSettings::default() };
    let store = store_with(&database, settings);
    let lanes = Lanes::start(store.clone(), LaneSettings::default(), Telemetry::new());
    let mut psql = database.session().await;
    psql.execute("BEGIN").await.unwrap();
    insert(&mut psql, "ann").await;
    let held: Vec<_> = (0..60)
        .map(|step| {
            let store = store.clone();
            tokio::spawn(async move { store.save_batch([record("ann", "t", step)]).await })
        })
        .collect();
    let pool = database.database.connection.get_postgres_connection_pool();
    // A session of its own: within a transaction, pg_stat_activity shows the same for ever.
    let mut looker = database.session().await;
    eventually("batches wait", async || {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waiting: i64 = sqlx::query_scalar(sql).fetch_one(&mut looker).await.unwrap();
        (waiting > 1).then_some(())
    })
    .await;
    let pace = pace_of_others(&lanes).await;
    let start = Instant::now();
    store.save_batch([record("bob", "t", 0)]).await.unwrap();
    assert!(pace < PACE && start.elapsed() < PACE, "others took {pace:?} and {:?}", start.elapsed());
    assert!(pool.size() <= 20);
    let start = Instant::now();
    psql.execute("COMMIT").await.unwrap();
    let mut saved = 0;
    for batch in held {
        match batch.await.unwrap() {
            Ok(_) => saved += 1,
            Err(StoreError::Timeout) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(start.elapsed() < HOLD + PACE);
    assert_eq!(positions(&database, "ann").await.len(), 1 + saved);
}
