//! Batches: in which order they are numbered, and what comes back to whom.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use entity::TaskStatus;
use futures_util::future::try_join_all;
use taskwire::store::{
    Audience, CancelTerms, Committed, Counted, NewCancellation, NewRecord, Store, StoreError, StoreSettings,
};
use taskwire::telemetry::Telemetry;
use uuid::Uuid;

use super::support::{TestDatabase, record, record_of, store_of};

/// Of which user each record is, by position, and its id.
async fn written(database: &TestDatabase) -> Vec<(String, i64, Uuid)> {
    sqlx::query_as("SELECT user_id, position, record_id FROM task_record ORDER BY user_id, position")
        .fetch_all(&mut database.session().await)
        .await
        .unwrap()
}

/// Where each user's head stands: its position, its record, and the highest id.
async fn heads(database: &TestDatabase) -> Vec<(String, i64, Uuid, Uuid)> {
    sqlx::query_as("SELECT user_id, position, record_id, highest_record_id FROM feed_head ORDER BY user_id")
        .fetch_all(&mut database.session().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_batch_is_numbered_as_it_was_given_whatever_is_left_out() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let ids: Vec<Uuid> = (0..8).map(|_| Uuid::now_v7()).collect();
    let of = |user: &str, task: &str, id: usize| NewRecord { record_id: ids[id], ..record(user, task, 0) };
    // Neither by user nor by task nor by id.
    let first = [of("bob", "z", 1), of("ann", "z", 3), of("bob", "a", 0), of("ann", "a", 2), of("ann", "m", 4)];
    store.save_batch(first.clone()).await.unwrap();
    let at = |user: &str, position: i64, id: usize| (user.to_owned(), position, ids[id]);
    let mut stands = vec![at("ann", 1, 3), at("ann", 2, 2), at("ann", 3, 4), at("bob", 1, 1), at("bob", 2, 0)];
    assert_eq!(written(&database).await, stands);
    let head = |user: &str, position: i64, id: usize, highest| (user.to_owned(), position, ids[id], ids[highest]);
    assert_eq!(heads(&database).await, [head("ann", 3, 4, 4), head("bob", 2, 0, 1)]);

    // Two new ones of each among those that are there.
    let [one, two, three, four, five] = first;
    let again = [of("ann", "y", 7), one, of("bob", "y", 6), two, three, of("ann", "b", 5), four, five];
    let saved = store.save_batch(again).await.unwrap();
    let is_duplicate: Vec<bool> = saved.iter().map(|saved| saved.is_duplicate).collect();
    assert_eq!(is_duplicate, [false, true, false, true, true, false, true, true]);
    let positions: Vec<i64> = saved.iter().map(|saved| saved.record.position).collect();
    assert_eq!(positions, [4, 1, 3, 1, 2, 5, 2, 3]);
    stands.extend([at("ann", 4, 7), at("ann", 5, 5), at("bob", 3, 6)]);
    stands.sort();
    assert_eq!(written(&database).await, stands);
    assert_eq!(heads(&database).await, [head("ann", 5, 5, 7), head("bob", 3, 6, 6)]);
}

#[tokio::test]
async fn of_two_records_under_one_id_the_later_one_is_refused() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    for tasks in [["z", "a"], ["a", "z"]] {
        let [one, two] = tasks.map(|task| record("ann", task, 0));
        let two = NewRecord { record_id: one.record_id, ..two };
        let refused = store.save_batch([one, two]).await;
        assert!(matches!(refused, Err(StoreError::Conflict { index: 1 })), "{refused:?}");
    }
    assert_eq!(written(&database).await, []);
}

type Told<T> = Arc<Mutex<Vec<T>>>;

/// A store whose feed says that it watches these users, what it was given, and whom it was told to look at.
fn watched(database: &TestDatabase, users: &[&'static str]) -> (Store, Told<Committed>, Told<String>) {
    let (given, named) = (Told::<Committed>::default(), Told::<String>::default());
    let (on_commit, on_look, users) = (Arc::clone(&given), Arc::clone(&named), users.to_vec());
    let audience = Audience {
        is_watching: Arc::new(move |written: &[&str]| users.iter().any(|user| written.contains(user))),
        look_at: Arc::new(move |users: &[&str]| {
            on_look.lock().unwrap().extend(users.iter().map(|&user| user.to_owned()));
        }),
    };
    let store = Store::new(
        database.database.connection.clone(),
        StoreSettings::default(),
        Arc::new(move |entries| on_commit.lock().unwrap().extend(entries)),
    );
    (store.watched_by(audience), given, named)
}

/// How many are new, how many are known, and of which tasks there is a state.
fn told(counted: &Counted) -> (usize, usize, Vec<(&str, i64)>) {
    let tasks = counted.tasks.iter().map(|task| (task.task_id.as_str(), task.position)).collect();
    (counted.saved, counted.known, tasks)
}

async fn cancel(store: &Store, task: &str) {
    let cancellation =
        NewCancellation { user_id: "ann".to_owned(), task_id: task.to_owned(), record_id: Uuid::now_v7() };
    let terms = CancelTerms { reason: None, requested_by: None, force: false, settle: Duration::ZERO };
    store.cancel(&[cancellation], &terms).await.unwrap();
}

#[tokio::test]
async fn what_nobody_asks_for_does_not_come_back() {
    let database = TestDatabase::new().await;
    let (store, given, named) = watched(&database, &["eve"]);
    let new = [record("ann", "t", 0), record("ann", "t", 1)];
    assert_eq!(told(&store.count_batch(new.clone()).await.unwrap()), (2, 0, vec![]));
    assert!(given.lock().unwrap().is_empty());
    assert_eq!(std::mem::take(&mut *named.lock().unwrap()), ["ann", "ann"]);

    // Whoever is cancelled is told so, by the last report, and nobody else is.
    store.save_batch([record("ann", "u", 0)]).await.unwrap();
    cancel(&store, "t").await;
    cancel(&store, "u").await;
    given.lock().unwrap().clear();
    let ended = record_of("ann", "u", 1, TaskStatus::Failed);
    let late = [record("ann", "t", 2), record("bob", "t", 0), record("ann", "t", 3), ended];
    let counted = store.count_batch(late).await.unwrap();
    // Both records of the task come with it.
    assert_eq!(told(&counted), (4, 0, vec![("t", 7), ("t", 7)]));
    assert!(counted.tasks.iter().all(|task| task.is_cancellation_pending()));
    assert_eq!(given.lock().unwrap().len(), 1);

    // What is known, or stands twice, is found all the same.
    let twice = record("ann", "v", 0);
    let counted = store.count_batch([new[0].clone(), twice.clone(), twice]).await.unwrap();
    assert_eq!((counted.saved, counted.known), (1, 2));
    assert!(counted.tasks.iter().any(|task| task.task_id == "t" && task.is_cancellation_pending()));
    let conflict = NewRecord { record_id: new[0].record_id, ..record("ann", "other", 0) };
    let refused = store.count_batch([record("ann", "w", 0), conflict]).await;
    assert!(matches!(refused, Err(StoreError::Conflict { index: 1 })), "{refused:?}");
    let nothing = "SELECT count(*) FROM task WHERE task_id IN ('w', 'other')";
    assert_eq!(sqlx::query_scalar::<_, i64>(nothing).fetch_one(&mut database.session().await).await.unwrap(), 0);
}

/// Batches that wait together share a transaction, and the last report of a task may be another's.
#[tokio::test]
async fn each_batch_is_told_of_its_cancelled_tasks() {
    let database = TestDatabase::new().await;
    let (store, ..) = watched(&database, &[]);
    store.save_batch([record("ann", "t", 0)]).await.unwrap();
    cancel(&store, "t").await;
    let batches = (1..=6).map(|step| store.count_batch([record("ann", "t", step)]));
    for counted in try_join_all(batches).await.unwrap() {
        assert_eq!(told(&counted), (1, 0, vec![("t", 8)]));
    }
    let commits = "SELECT count(DISTINCT xmin::text) FROM task_record WHERE is_late";
    assert_eq!(sqlx::query_scalar::<_, i64>(commits).fetch_one(&mut database.session().await).await.unwrap(), 1);
}

#[tokio::test]
async fn the_feed_is_given_whom_it_watches() {
    let database = TestDatabase::new().await;
    let (store, given, named) = watched(&database, &["eve"]);
    let counted = store.count_batch([record("ann", "t", 0), record("eve", "t", 0)]).await.unwrap();
    assert_eq!(told(&counted), (2, 0, vec![("t", 1), ("t", 1)]));
    let given: Vec<String> = given.lock().unwrap().iter().map(|entry| entry.record.user_id.clone()).collect();
    assert_eq!(given, ["ann", "eve"]);
    assert!(named.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_batch_is_counted_whoever_reads_it() {
    let database = TestDatabase::new().await;
    let telemetry = Telemetry::new();
    let (store, ..) = watched(&database, &[]);
    let store = store.counting(&telemetry);
    let counted = || (telemetry.saved_records.get(), telemetry.duplicate_records.get());
    let batch = [record("ann", "t", 0), record("ann", "t", 1)];
    store.count_batch(batch.clone()).await.unwrap();
    assert_eq!(counted(), (2, 0));
    let [known, _] = batch;
    store.save_batch([known, record("ann", "t", 2)]).await.unwrap();
    assert_eq!(counted(), (3, 1));
}
