//! Where a client can go on, and where it is told that it cannot.

use taskwire::feed::FeedCursor;
use taskwire::service::error::ErrorKind;
use taskwire::store::Head;
use uuid::Uuid;

use super::*;
use crate::support::TestDatabase;

const RECORDS: i64 = 12;

/// Twelve records of three tasks, in commits of one to three.
async fn small_history(server: &Server, user: &str) {
    for commit in [&["a"][..], &["b", "a"], &["c", "c", "b"], &["a"], &["b", "c"], &["a", "b", "c"]] {
        server.save(user, commit).await;
    }
}

async fn resumes_at_every_position(server: &Server, from: i64) {
    for position in from..=RECORDS {
        let after = server.cursor("u", position).await;
        let mut events = server.events("u", Some(after)).await;
        let left = usize::try_from(RECORDS - position).unwrap();
        assert_eq!(
            positions(&mut events, left).await,
            (position + 1..=RECORDS).collect::<Vec<_>>(),
            "after {position}"
        );
    }
}

#[tokio::test]
async fn at_every_position_on_the_same_server_and_on_one_with_an_empty_ring() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    let mut live = server.events("u", None).await;
    small_history(&server, "u").await;
    assert_eq!(positions(&mut live, 12).await, (1..=RECORDS).collect::<Vec<_>>());
    resumes_at_every_position(&server, 0).await;

    let other = Server::start(&database.url, NO_CHECK).await;
    resumes_at_every_position(&other, 0).await;

    // Each task's own records, from every position, and then live.
    for task in ["a", "b", "c"] {
        for position in 0..=RECORDS {
            let after = other.cursor("u", position).await;
            let all = other.store.feed_page("u", None, Head::START, 100).await.unwrap().entries;
            let wanted: Vec<i64> = all
                .iter()
                .filter(|entry| entry.record.task_id == task && entry.record.position > position)
                .map(|entry| entry.record.position)
                .collect();
            let mut events = other.try_events("u", Some(task), Some(after), false).await.unwrap();
            assert_eq!(positions(&mut events, wanted.len()).await, wanted, "{task} after {position}");
        }
    }
}

#[tokio::test]
async fn replay_ends_where_live_begins_and_each_cursor_resumes_after_its_own_record() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    small_history(&server, "u").await;
    let mut events = server.try_events("u", None, None, true).await.unwrap();
    let mut cursors = Vec::new();
    for position in 1..=RECORDS {
        let event = next(&mut events).await.unwrap();
        assert_eq!((event.record().position, event.is_replay()), (position, true));
        cursors.push(event.feed_cursor());
    }
    server.save("u", &["a"]).await;
    let event = next(&mut events).await.unwrap();
    assert_eq!((event.record().position, event.is_replay()), (13, false));
    for (index, cursor) in cursors.into_iter().enumerate() {
        let mut events = server.events("u", Some(cursor)).await;
        assert_eq!(positions(&mut events, 1).await, [i64::try_from(index).unwrap() + 2]);
    }
}

#[tokio::test]
async fn after_the_oldest_partition_was_dropped() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    small_history(&server, "u").await;
    let mut session = database.session().await;
    // As if the first five had been written weeks ago; then retention comes.
    run(
        &mut session,
        "UPDATE task_record SET recorded_at = recorded_at - interval '3 weeks' WHERE position <= 5; \
                       UPDATE task SET created_at = created_at - interval '3 weeks'",
    )
    .await;
    resumes_at_every_position(&server, 0).await;
    let mut gone = Vec::new();
    for position in 0..=5 {
        gone.push(server.cursor("u", position).await);
    }
    run(&mut session, "TRUNCATE task_record_before").await;

    let expired = ErrorKind::CursorExpired { oldest_position: Some(6) };
    for (position, cursor) in gone.into_iter().enumerate() {
        let error = match server.try_events("u", None, Some(cursor.clone()), false).await {
            Ok(mut events) => ends_with(&mut events, "CURSOR_EXPIRED").await,
            Err(error) => error,
        };
        assert_eq!(error.kind(), &expired, "after {position}");
        let error = match server.try_events("u", Some("a"), Some(cursor), false).await {
            Ok(mut events) => ends_with(&mut events, "CURSOR_EXPIRED").await,
            Err(error) => error,
        };
        assert_eq!(error.kind(), &expired, "one task after {position}");
    }
    resumes_at_every_position(&server, 6).await;
    let mut events = server.try_events("u", None, None, true).await.unwrap();
    assert_eq!(positions(&mut events, 7).await, (6..=RECORDS).collect::<Vec<_>>());
    assert_eq!(server.store.oldest_position("u").await.unwrap(), Some(6));
}

#[tokio::test]
async fn a_cursor_that_stands_on_nothing_is_refused() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    small_history(&server, "u").await;
    small_history(&server, "v").await;
    let elsewhere = TestDatabase::new().await;
    let stranger = Server::start(&elsewhere.url, NO_CHECK).await;
    small_history(&stranger, "u").await;

    let head = server.store.heads(&["u".to_owned()]).await.unwrap()["u"];
    let bad = [
        ("of another database", stranger.cursor("u", 6).await),
        (
            "of a record that is not there",
            FeedCursor::new("u", &Head { record_id: Uuid::new_v4(), ..head }).to_string(),
        ),
        ("above the head", FeedCursor::new("u", &Head { position: 99, ..head }).to_string()),
        ("at the end of numbers", FeedCursor::new("u", &Head { position: i64::MAX, ..head }).to_string()),
        ("of another user", server.cursor("v", 6).await),
        ("of another user's beginning", FeedCursor::new("v", &Head::START).to_string()),
    ];
    for (what, cursor) in bad {
        let Err(error) = server.try_events("u", None, Some(cursor.clone()), false).await else {
            panic!("events: {what}");
        };
        assert_eq!(error.kind(), &ErrorKind::CursorExpired { oldest_position: Some(1) }, "{what}");
        let Err(error) = server.try_changes(Some("u"), None, Some(cursor)).await else { panic!("changes: {what}") };
        assert_eq!(error.code(), "CURSOR_EXPIRED", "{what}");
    }
    for garbage in ["", "x", "eyJhIjoxfQ", &"A".repeat(55), &"A".repeat(100_000)] {
        let Err(error) = server.try_events("u", None, Some(garbage.to_owned()), false).await else {
            panic!("{garbage}");
        };
        assert_eq!((error.code(), error.field()), ("BAD_USER_INPUT", Some("after")));
    }
    // And a good one of a user without records, which becomes no worse by the first.
    let nothing = FeedCursor::new("new", &Head::START).to_string();
    let mut events = server.events("new", Some(nothing.clone())).await;
    server.save("new", &["a"]).await;
    assert_eq!(positions(&mut events, 1).await, [1]);
    assert_eq!(positions(&mut server.events("new", Some(nothing)).await, 1).await, [1]);
}

#[tokio::test]
async fn heavy_results_come_in_lighter_pages() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    let mut random = fastrand::Rng::with_seed(2);
    for position in 1..=RECORDS {
        let noise: String = (0..200_000).map(|_| random.alphanumeric()).collect();
        let result = format!(r#"{{"step":"s","result":"{noise}","message":"","status":"running"}}"#);
        let task = if position % 3 == 0 { "a" } else { "b" };
        server.store.save_batch([NewRecord { result, ..record("u", task) }]).await.unwrap();
    }
    let page = server.store.feed_page("u", None, Head::START, 200).await.unwrap();
    assert!(page.is_cut && page.entries.len() < 10, "{}", page.entries.len());
    let mut events = server.try_events("u", None, None, true).await.unwrap();
    assert_eq!(positions(&mut events, 12).await, (1..=RECORDS).collect::<Vec<_>>());
    let mut events = server.try_events("u", Some("b"), None, true).await.unwrap();
    assert_eq!(positions(&mut events, 8).await, [1, 2, 4, 5, 7, 8, 10, 11]);
    // By the listener's read, too.
    let mut events = server.events("u", None).await;
    let sql = "INSERT INTO task_history (user_id, task_id, step, result, status) \
               SELECT user_id, task_id, step, result, status FROM task_history WHERE user_id = 'u' ORDER BY id";
    run(&mut database.session().await, sql).await;
    assert_eq!(positions(&mut events, 12).await, (RECORDS + 1..=2 * RECORDS).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_gap_is_never_passed_over() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    small_history(&server, "u").await;
    let mut session = database.session().await;
    let cursors = [server.cursor("u", 1).await, server.cursor("u", 6).await, server.cursor("u", 8).await];
    run(&mut session, "DELETE FROM task_record WHERE position = 7").await;
    let [first, before, behind] = cursors;
    for cursor in [first, before] {
        ends_with(&mut server.events("u", Some(cursor)).await, "CURSOR_EXPIRED").await;
    }
    assert_eq!(positions(&mut server.events("u", Some(behind)).await, 4).await, [9, 10, 11, 12]);

    // The last record, lost under a head that counts it.
    let last = server.cursor("u", 11).await;
    run(&mut session, "DELETE FROM task_record WHERE position = 12").await;
    ends_with(&mut server.events("u", Some(last)).await, "CURSOR_EXPIRED").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn subscribers_that_come_while_writers_run_miss_nothing_and_get_nothing_twice() {
    const EACH: i64 = 40;
    const ALL: i64 = 8 * EACH;
    let database = TestDatabase::new().await;
    let server = Arc::new(Server::start(&database.url, NO_CHECK).await);
    let other = Arc::new(Server::start(&database.url, NO_CHECK).await);
    let mut readers = tokio::task::JoinSet::new();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let mut session = database.session().await;
        let server = Arc::clone(if writer % 2 == 0 { &server } else { &other });
        writers.spawn(async move {
            for _ in 0..EACH {
                let task = format!("t{writer}");
                if writer < 4 {
                    server.save("u", &[&task]).await;
                } else {
                    insert(&mut session, "u", &task).await;
                }
            }
        });
    }
    // They come at any position, to both servers; each with the cursor that a list would have given it.
    for turn in 0..24_u8 {
        let server = Arc::clone(if turn % 2 == 0 { &server } else { &other });
        let head = server.store.heads(&["u".to_owned()]).await.unwrap().remove("u").unwrap_or(Head::START);
        let after = (turn % 3 > 0).then(|| FeedCursor::new("u", &head).to_string());
        let mut events = server.events("u", after.clone()).await;
        readers.spawn(async move {
            let mut last = head.position;
            let mut is_first = after.is_none();
            while last < ALL {
                let event = next(&mut events).await.unwrap();
                assert!(
                    event.record().position == last + 1 || is_first && event.record().position > last,
                    "{} after {last}",
                    event.record().position,
                );
                assert!(event.task().position >= event.record().position);
                is_first = false;
                last = event.record().position;
            }
        });
        tokio::task::yield_now().await;
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    while let Some(reader) = timeout(PATIENCE, readers.join_next()).await.expect("the readers in time") {
        reader.unwrap();
    }
}
