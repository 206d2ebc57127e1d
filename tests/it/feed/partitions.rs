//! With 60 partitions no read of the feed visits more than three in one statement.

use sea_orm::ConnectionTrait;

use super::*;
use crate::support::TestDatabase;

/// How many partitions' indexes have been scanned since the last call, by the one connection of the pool.
async fn visited(server: &Server, session: &mut PgConnection) -> i64 {
    server.database.connection.execute_unprepared("SELECT pg_stat_force_next_flush()").await.unwrap();
    // It reports when it is idle again, which the next answer proves.
    server.database.connection.execute_unprepared("SELECT 1").await.unwrap();
    let sql = "SELECT count(*) FILTER (WHERE scans > 0) FROM (SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0) AS scans \
               FROM pg_stat_user_tables WHERE relname ~ '^task_record_') s";
    let seen = sqlx::query_scalar(sql).fetch_one(&mut *session).await.unwrap();
    // What this session has not reported yet must not come later.
    run(session, "SELECT pg_stat_force_next_flush()").await;
    run(session, "SELECT pg_stat_reset()").await;
    seen
}

#[tokio::test]
async fn reads_of_the_feed_visit_three_at_the_most() {
    let database = TestDatabase::new().await;
    let server = Server::start_with(&database.url, NO_CHECK, 1).await;
    let mut session = database.session().await;
    run(&mut session, "SELECT taskwire_divide_partitions(now(), 60)").await;
    for _ in 0..20 {
        server.save("u", &["a", "b"]).await;
    }
    // Two records a week, for twenty weeks.
    run(
        &mut session,
        "UPDATE task_record SET recorded_at = recorded_at + ((position - 1) / 2) * interval '1 week'; \
        UPDATE feed_head h SET recorded_at = r.recorded_at FROM task_record r WHERE r.position = h.position; \
        ANALYZE",
    )
    .await;
    let partitions: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_inherits WHERE inhparent = 'task_record'::regclass")
            .fetch_one(&mut session)
            .await
            .unwrap();
    assert!(partitions >= 60, "{partitions}");
    let place = async |position: i64| {
        let all = server.store.feed_page("u", None, Head::START, 100).await.unwrap().entries;
        Head::of(&all[usize::try_from(position - 1).unwrap()].record)
    };
    let (ninth, near) = (place(9).await, place(38).await);
    let store = &server.store;
    let _ = visited(&server, &mut session).await;
    // Again and again: PostgreSQL plans a statement anew five times before it may keep a general plan.
    for turn in 0..8 {
        assert_eq!(store.feed_page("u", None, ninth, 3).await.unwrap().entries.len(), 3);
        let seen = visited(&server, &mut session).await;
        assert!((1..=3).contains(&seen), "feed page, turn {turn}: {seen}");

        assert_eq!(store.feed_page("u", Some("b"), ninth, 1).await.unwrap().entries.len(), 1);
        let seen = visited(&server, &mut session).await;
        assert!((1..=3).contains(&seen), "page of a task, turn {turn}: {seen}");

        assert_eq!(store.record_at("u", 9, ninth.recorded_at).await.unwrap(), Some(ninth));
        let seen = visited(&server, &mut session).await;
        assert_eq!(seen, 1, "record lookup, turn {turn}");

        let known = [("u".to_owned(), near)];
        assert_eq!(store.new_records(&known, 64).await.unwrap()["u"].entries.len(), 2);
        let seen = visited(&server, &mut session).await;
        assert!((1..=3).contains(&seen), "new records, turn {turn}: {seen}");

        let long_ago = [("u".to_owned(), ninth)];
        assert!(!store.new_records(&long_ago, 64).await.unwrap()["u"].entries.is_empty());
        let seen = visited(&server, &mut session).await;
        assert!((1..=3).contains(&seen), "new records after long, turn {turn}: {seen}");

        assert!(store.standing(&known).await.unwrap().contains("u"));
        let seen = visited(&server, &mut session).await;
        assert_eq!(seen, 1, "standing, turn {turn}");

        assert_eq!(store.oldest_position("u").await.unwrap(), Some(1));
        let seen = visited(&server, &mut session).await;
        assert!((1..=3).contains(&seen), "oldest, turn {turn}: {seen}");
    }
    // A walk through all of them finds every record.
    let mut events = server.try_events("u", None, None, true).await.unwrap();
    assert_eq!(positions(&mut events, 40).await, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn dividing_ahead_waits_for_nobody_long() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    let mut session = database.session().await;
    run(&mut session, "BEGIN; SELECT count(*) FROM task_record").await;
    let error = server.store.divide_partitions(9).await.unwrap_err();
    assert!(matches!(error, taskwire::store::StoreError::Timeout), "{error}");
    run(&mut session, "COMMIT").await;
    assert_eq!(server.store.divide_partitions(9).await.unwrap(), 5);
    assert_eq!(server.store.divide_partitions(9).await.unwrap(), 0);
}
