//! One at a time, and who was overtaken does nothing more. (A server that is really stopped: `tests/chaos/retention.rs`.)

use taskwire::maintenance::cleanup::clean;
use taskwire::store::{Lease, RecordPlace, StoreError};

use super::*;
use crate::support::{TestDatabase, store_of};

async fn age(session: &mut PgConnection) {
    session.execute("UPDATE maintenance_lease SET renewed_at = renewed_at - interval '1 minute'").await.unwrap();
}

#[tokio::test]
async fn there_is_one_holder_and_its_successor_ends_its_session() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let mut session = database.session().await;
    Past { name: "u", users: 2, tasks: 10, records: 5, from: 60.0, to: 1.0 }.make(&mut session).await;
    let cutoff = Utc::now() - TimeDelta::days(30);
    let mut first = Lease::take(&store, "first").await.unwrap().unwrap();
    assert!(Lease::take(&store, "second").await.unwrap().is_none());
    let removed = first.remove_records("task_record_before", cutoff, &RecordPlace::default(), 3).await.unwrap();
    assert_eq!(removed.count, 3);
    age(&mut session).await;
    // A step says that it lives.
    first.remove_records("task_record_before", cutoff, &RecordPlace::default(), 3).await.unwrap();
    assert!(Lease::take(&store, "second").await.unwrap().is_none());
    age(&mut session).await;
    let second = Lease::take(&store, "second").await.unwrap().unwrap();
    let kept = count(&mut session, "SELECT count(*) FROM task_record").await;
    let partitions = store.partitions().await.unwrap();
    let old = partitions.iter().find(|partition| partition.name == "task_record_before").unwrap();
    assert!(
        first.remove_partition(old, Duration::from_secs(1), Instant::now() + Duration::from_mins(1)).await.is_err()
    );
    let late = first.remove_records("task_record_before", cutoff, &RecordPlace::default(), 3).await;
    assert!(matches!(late, Err(StoreError::Unavailable(_) | StoreError::LeaseLost)), "{late:?}");
    assert_eq!(count(&mut session, "SELECT count(*) FROM task_record").await, kept);
    // Its good-bye does not take the lease from its successor.
    first.release().await;
    assert!(Lease::take(&store, "third").await.unwrap().is_none());
    second.release().await;
    Lease::take(&store, "third").await.unwrap().unwrap().release().await;
}

/// The proof is in the step itself, too: with a session that lives on, the term decides.
#[tokio::test]
async fn a_step_of_an_earlier_term_changes_nothing() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let mut session = database.session().await;
    Past { name: "u", users: 2, tasks: 10, records: 5, from: 60.0, to: 1.0 }.make(&mut session).await;
    let mut first = Lease::take(&store, "first").await.unwrap().unwrap();
    session.execute("UPDATE maintenance_lease SET term = term + 1, holder = 'second'").await.unwrap();
    let cutoff = Utc::now() - TimeDelta::days(30);
    let late = first.remove_records("task_record_before", cutoff, &RecordPlace::default(), 3).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
    let late = first.remove_tasks(cutoff, false, &taskwire::store::TaskPlace::default(), 100).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
    let partitions = store.partitions().await.unwrap();
    let late =
        first.remove_partition(&partitions[0], Duration::from_secs(1), Instant::now() + Duration::from_mins(1)).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
    assert_eq!(count(&mut session, "SELECT count(*) FROM task_record").await, 100);
    assert_no_gap(&mut session).await;
}

/// A clock that was put back must not leave the lease with somebody for a year.
#[tokio::test]
async fn a_time_far_ahead_counts_for_nothing() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let mut session = database.session().await;
    session
        .execute("UPDATE maintenance_lease SET holder = 'gone', renewed_at = now() + interval '1 year'")
        .await
        .unwrap();
    Lease::take(&store, "next").await.unwrap().unwrap().release().await;
}

#[tokio::test]
async fn while_another_one_is_at_it_a_cleanup_waits_until_its_time_is_over() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let mut session = database.session().await;
    Past { name: "u", users: 2, tasks: 10, records: 5, from: 60.0, to: 1.0 }.make(&mut session).await;
    let other = Lease::take(&store, "other").await.unwrap().unwrap();
    let done = clean(&store, "test", &older_than(30, 1)).await.unwrap();
    assert!(done.has_more && done.records == 0, "{done:?}");
    let waiting = async { clean(&store, "test", &older_than(30, 30)).await.unwrap() };
    let (done, ()) = tokio::join!(waiting, other.release());
    assert!(!done.has_more && done.records > 40, "{done:?}");
}

/// What a server took off before it fell goes with the next run; what somebody keeps aside stays.
#[tokio::test]
async fn what_was_left_behind_is_dropped_and_what_was_kept_aside_is_not() {
    let database = TestDatabase::new().await;
    let store = store_of(&database);
    let mut session = database.session().await;
    weeks_back(&mut session, 10).await;
    let names: Vec<String> = store.partitions().await.unwrap().into_iter().map(|partition| partition.name).collect();
    for (name, comment) in [(&names[1], "taskwire: removed by retention"), (&names[2], "the archive of 2026")] {
        let sql = format!("ALTER TABLE task_record DETACH PARTITION {name}; COMMENT ON TABLE {name} IS '{comment}'");
        session.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    // One that is to be kept longer than it was, after a try that failed: whoever takes it off by hand keeps it.
    let later = names.iter().rev().nth(2).unwrap();
    let sql = format!("COMMENT ON TABLE {later} IS 'taskwire: removed by retention'");
    session.execute(AssertSqlSafe(sql)).await.unwrap();
    let done = clean(&store, "test", &older_than(30, 30)).await.unwrap();
    assert!(!done.has_more && !done.partitions.contains(&names[2]), "{done:?}");
    let marked =
        format!("SELECT count(*) FROM pg_class WHERE relname = '{later}' AND obj_description(oid) IS NOT NULL");
    assert_eq!(count(&mut session, &marked).await, 0, "{later} would be dropped once it is taken off");
    let there = |name: &str| format!("SELECT count(*) FROM pg_class WHERE relname = '{name}'");
    assert_eq!(count(&mut session, &there(&names[1])).await, 0);
    assert_eq!(count(&mut session, &there(&names[2])).await, 1);
    assert_no_gap(&mut session).await;
}
