//! Somebody's open transaction makes a cleanup wait and try again; it blocks nobody, and it leaves no hole.

use taskwire::maintenance::cleanup::{clean, count as would_remove};
use taskwire::store::Store;

use super::*;
use crate::support::{TestDatabase, eventually, record, store_of};

async fn pid(session: &mut PgConnection) -> i64 {
    count(session, "SELECT pg_backend_pid()::bigint").await
}

/// Saves one record after the other until the cleanup is done; what the slowest took.
async fn save_meanwhile<T>(store: &Store, work: impl Future<Output = T>) -> (T, Duration) {
    let mut work = std::pin::pin!(work);
    let (mut slowest, mut saved) = (Duration::ZERO, 0);
    loop {
        let save = async {
            let begin = Instant::now();
            store.save_batch([record("writer", "t", saved % 1000)]).await.unwrap();
            begin.elapsed()
        };
        tokio::select! {
            biased;
            done = &mut work => {
                assert!(saved > 20, "no saves beside it: {saved}");
                return (done, slowest);
            }
            took = save => slowest = slowest.max(took),
        }
        saved += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_somebody_reads_is_given_up_reported_and_finished_the_next_time() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let mut session = database.session().await;
    nine_weeks(&mut session).await;
    let mut psql = database.session().await;
    let reader = pid(&mut psql).await;
    psql.execute("BEGIN; SELECT count(*) FROM task_record").await.unwrap();
    let before = Utc::now();
    let cleanup = older_than(30, 3);
    let (done, slowest) = Box::pin(save_meanwhile(&store, clean(&store, "test", &cleanup))).await;
    let done = done.unwrap();
    assert!(done.has_more && done.partitions.is_empty(), "{done:?}");
    let held = done.held.unwrap();
    assert!(held.contains(&format!("session {reader} (")) && held.contains("idle in transaction"), "{held}");
    // Nothing went behind the one that is held: there would be a hole.
    assert_eq!(count(&mut session, "SELECT count(*) FROM task WHERE user_id <> 'writer'").await, 90);
    assert_no_holes(&mut session).await;
    assert!(slowest < Duration::from_millis(250), "a save waited {slowest:?}");
    assert!(Utc::now() - before < TimeDelta::seconds(20));
    // Its records cannot be seen any more, which is told.
    let leaving = store.partitions().await.unwrap().into_iter().filter(|partition| partition.is_leaving).count();
    assert_eq!(leaving, 1);
    let told = would_remove(&store, &older_than(30, 10)).await.unwrap();
    // A time that nobody is there for changes nothing about that.
    let again = clean(&store, "test", &older_than(30, 2)).await.unwrap();
    assert!(again.has_more && again.partitions.is_empty(), "{again:?}");
    psql.execute("COMMIT").await.unwrap();
    let done = clean(&store, "test", &older_than(30, 30)).await.unwrap();
    assert!(!done.has_more && done.partitions == told.partitions, "{done:?} {told:?}");
    assert_no_holes(&mut session).await;
    assert_whole(&mut session).await;
    assert_no_gap(&mut session).await;
    assert!(oldest(&mut session).await.unwrap() >= Utc::now() - TimeDelta::days(30));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_record_is_waited_for_and_nothing_behind_it_goes() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let mut session = database.session().await;
    Past { name: "u", users: 3, tasks: 30, records: 5, from: 63.0, to: 1.0 }.make(&mut session).await;
    let mut psql = database.session().await;
    let lock = "BEGIN; SELECT 1 FROM task_record WHERE user_id = 'u2' AND position = 10 FOR UPDATE";
    psql.execute(lock).await.unwrap();
    let cleanup = older_than(30, 2);
    let (done, slowest) = Box::pin(save_meanwhile(&store, clean(&store, "test", &cleanup))).await;
    let done = done.unwrap();
    assert!(done.has_more, "{done:?}");
    assert!(slowest < Duration::from_millis(250), "a save waited {slowest:?}");
    assert_eq!(assert_no_holes(&mut session).await, 4);
    let first = "SELECT min(position) FROM task_record WHERE user_id = ";
    assert_eq!(count(&mut session, &format!("{first}'u2'")).await, 10);
    assert!(count(&mut session, &format!("{first}'u1'")).await > 70, "nobody else has to wait");
    let store_ = store.clone();
    let going_on = tokio::spawn(async move { clean(&store_, "test", &older_than(30, 60)).await });
    eventually("it is at it again", async || {
        let held = "SELECT count(*) FROM maintenance_lease WHERE holder IS NOT NULL";
        (count(&mut session, held).await == 1).then_some(())
    })
    .await;
    psql.execute("COMMIT").await.unwrap();
    let done = going_on.await.unwrap().unwrap();
    assert!(!done.has_more && done.records > 60, "{done:?}");
    assert_eq!(assert_no_holes(&mut session).await, 4);
    assert_whole(&mut session).await;
    assert!(oldest(&mut session).await.unwrap() >= Utc::now() - TimeDelta::days(31));
}

/// A task is changed under its user's lock alone: who is being written loses none, and the writer is not disturbed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_whose_user_is_being_written_stays_until_that_is_over() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let mut session = database.session().await;
    nine_weeks(&mut session).await;
    let mut psql = database.session().await;
    psql.execute("BEGIN").await.unwrap();
    psql.execute("INSERT INTO task_history (user_id, task_id, step, result, timestamp, status) VALUES ('u1', 't0', 7, '{}', now(), 'running')")
        .await
        .unwrap();
    // The writer's transaction holds the history too: partitions wait, so only the tasks are looked at here.
    let mut lease = taskwire::store::Lease::take(&store, "test").await.unwrap().unwrap();
    session.execute("DELETE FROM task_record WHERE recorded_at < now() - interval '30 days'").await.unwrap();
    let cutoff = Utc::now() - TimeDelta::days(30);
    let removed = lease.remove_tasks(cutoff, true, &taskwire::store::TaskPlace::default(), 1_000).await.unwrap();
    assert!(removed.count > 20 && removed.held > 10, "{removed:?}");
    assert!(
        count(
            &mut session,
            "SELECT count(*) FROM task WHERE user_id = 'u1' AND updated_at < now() - interval '30 days'"
        )
        .await
            > 10
    );
    psql.execute("COMMIT").await.unwrap();
    let removed = lease.remove_tasks(cutoff, true, &taskwire::store::TaskPlace::default(), 1_000).await.unwrap();
    assert!(removed.count > 10 && removed.held == 0, "{removed:?}");
    // That one has been heard of again.
    assert_eq!(count(&mut session, "SELECT count(*) FROM task WHERE user_id = 'u1' AND task_id = 't0'").await, 1);
    assert_whole(&mut session).await;
    lease.release().await;
}
