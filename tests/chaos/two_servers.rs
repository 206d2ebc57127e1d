//! Two servers over one database: what one writes, or plain SQL, the subscribers of the other hear at once; and a cursor of
//! one is good on the other.

use std::time::Duration;

use serde_json::json;
use sqlx::{Connection as _, Executor as _};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    check,
    client::{Client, Record, Report},
    eventually, load,
    load::{Ids, Load},
    server::Server,
    socket::{Event, Socket, Subscriber},
};

/// The word.
const SOON: Duration = Duration::from_millis(500);
/// Long enough that nothing in a test is found by the check.
const NO_CHECK: [&str; 2] = ["--feed-check-interval", "60s"];

fn report(user: &str, number: usize) -> Report {
    Report {
        user_id: user.to_owned(),
        task_id: format!("task-{}", number % 3),
        step: i64::try_from(number / 3).unwrap(),
        message: number.to_string(),
        record_id: Some(Uuid::new_v4()),
    }
}

/// A subscription that is known to be live: it has told of a record that was saved after it began.
async fn live(server: &Server, user: &str) -> Socket {
    let client = Client::new(server.address());
    let first = client.save(&report(user, 0)).await.unwrap();
    let mut socket = Socket::open(server.address(), user, None).await.unwrap();
    assert_eq!(socket.event_within(Duration::from_secs(10)).await.record, first);
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_write_arrives_at_once() {
    let host = Server::start(&NO_CHECK).await;
    let other = Server::start_beside(&host, &NO_CHECK).await;
    let mut near = live(&host, "a").await;
    let mut far = Socket::open(other.address(), "a", None).await.unwrap();
    far.event_within(Duration::from_secs(10)).await;

    // By either server, heard on both.
    for (number, writer) in [&host, &other, &host, &other].into_iter().enumerate() {
        let saved = Client::new(writer.address()).save(&report("a", number + 1)).await.unwrap();
        let acknowledged = Instant::now();
        for (name, socket) in [("near", &mut near), ("far", &mut far)] {
            let event = socket.event_within(Duration::from_secs(10)).await;
            let took = event.at.duration_since(acknowledged);
            assert!(took < SOON, "{name}: it took {took:?}");
            assert_eq!(event.record, saved);
        }
    }

    // By plain SQL, several rows and users in one statement, as the replaced system writes them.
    let mut session = host.psql().await;
    let insert = "INSERT INTO task_history (user_id, task_id, step, result, status) SELECT u, 'sql', g, \
                  jsonb_build_object('step', 's', 'message', u || g, 'status', 'running'), 'running' \
                  FROM unnest(ARRAY['b', 'a']) u, generate_series(1, 3) g";
    session.execute(insert).await.unwrap();
    let committed = Instant::now();
    for (name, socket) in [("near", &mut near), ("far", &mut far)] {
        for step in 1..=3 {
            let event = socket.event_within(Duration::from_secs(10)).await;
            let took = event.at.duration_since(committed);
            assert!(took < SOON, "{name}: it took {took:?}");
            assert_eq!((event.record.position, event.record.step), (5 + step, step));
            assert_eq!(event.record.message, format!("a{step}"));
        }
    }
    // What is rolled back is never told.
    session.execute("BEGIN").await.unwrap();
    session.execute(insert).await.unwrap();
    session.execute("ROLLBACK").await.unwrap();
    let saved = Client::new(other.address()).save(&report("a", 100)).await.unwrap();
    assert_eq!(saved.position, 9);
    assert_eq!(near.event_within(SOON).await.record, saved);
    assert_eq!(far.event_within(SOON).await.record, saved);
    session.close().await.unwrap();
}

/// All events that a stream has from here to a position.
async fn until(socket: &mut Socket, position: i64) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    while events.last().is_none_or(|event| event.record.position < position) {
        events.push(socket.event_within(Duration::from_secs(10)).await);
    }
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_of_one_is_good_on_the_other() {
    let host = Server::start(&NO_CHECK).await;
    let other = Server::start_beside(&host, &NO_CHECK).await;
    let client = Client::new(host.address());
    let mut socket = live(&host, "a").await;
    let mut records: Vec<Record> = Vec::new();
    for number in 1..=12 {
        records.push(client.save(&report("a", number)).await.unwrap());
    }
    let events = until(&mut socket, 13).await;
    assert_eq!(events.iter().map(|event| event.record.clone()).collect::<Vec<_>>(), records);
    // Nobody has watched this user on the other server: its ring is empty at each of these.
    for (index, event) in events.iter().enumerate() {
        let mut resumed = Socket::open(other.address(), "a", Some(&event.cursor)).await.unwrap();
        let rest = &records[index + 1..];
        for expected in rest {
            let event = resumed.event_within(Duration::from_secs(10)).await;
            assert_eq!(event.record, *expected, "after {}", index + 2);
            assert!(event.is_replay);
        }
        resumed.silent_for(Duration::from_millis(20)).await;
    }
    // Resumed at the end, the stream is live: the next record comes, and no other.
    let mut resumed = Socket::open(other.address(), "a", Some(&events[11].cursor)).await.unwrap();
    let next = client.save(&report("a", 50)).await.unwrap();
    let event = resumed.event_within(Duration::from_secs(10)).await;
    assert_eq!(event.record, next);
    // A cursor made by the other server is good here.
    let back = client.save(&report("a", 51)).await.unwrap();
    let mut returned = Socket::open(host.address(), "a", Some(&event.cursor)).await.unwrap();
    assert_eq!(returned.event_within(Duration::from_secs(10)).await.record, back);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listener_terminated_just_before_a_write() {
    let host = Server::start(&[]).await;
    let other = Server::start_beside(&host, &["--feed-check-interval", "1s"]).await;
    let mut far = live(&other, "a").await;
    let writer = Client::new(host.address());
    let mut session = host.psql().await;
    for number in 1..=3 {
        // Both servers' listeners, and whatever else has just been tried like one by a ping; and the write in the same
        // round trip, so that nobody can be listening again by then. (tests/it/feed/wakeups.rs counts who found it.)
        eventually("the listeners listen", async || {
            let sql = format!(
                "DO $$ BEGIN
                     IF (SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%') > 1 THEN
                         PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query = 'SELECT 1';
                         INSERT INTO task_history (user_id, task_id, step, result, timestamp, status)
                         VALUES ('a', 'at-once', {number}, '{{}}', now(), 'running');
                     END IF;
                 END $$"
            );
            session.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
            let written = "SELECT count(*) FROM task_record WHERE user_id = 'a' AND task_id = 'at-once' AND step = $1";
            let written: i64 = sqlx::query_scalar(written).bind(number).fetch_one(&mut session).await.unwrap();
            (written == 1).then_some(())
        })
        .await;
        let event = far.event_within(Duration::from_secs(3)).await;
        assert_eq!((event.record.task_id.as_str(), event.record.step), ("at-once", number));
    }
    // The new listener hears again, at once.
    eventually("a new listener", async || {
        let listeners = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
        let count: i64 = sqlx::query_scalar(listeners).fetch_one(&mut session).await.unwrap();
        (count >= 2).then_some(())
    })
    .await;
    let saved = writer.save(&report("a", 10)).await.unwrap();
    assert_eq!(far.event_within(SOON).await.record, saved);
    session.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_write_and_one_is_killed() {
    let host = Server::start(&[]).await;
    let mut other = Server::start_beside(&host, &[]).await;
    let mut subscribers: Vec<Subscriber> = [&host, &other]
        .into_iter()
        .flat_map(|server| (0..2).map(|number| Subscriber::start(server.address(), &load::user(number))))
        .collect();
    let mut here = Load::start(host.address(), 4, 2, Ids::Mixed);
    let mut there = Load::start(other.address(), 4, 2, Ids::Worker);
    for _ in 0..2 {
        there.goes_on(100).await;
        other.kill();
        here.goes_on(100).await;
        other.restart().await;
    }
    there.goes_on(100).await;
    let (mut all, there) = (here.finish().await, there.finish().await);
    assert!(all.faults.is_empty(), "one server's end disturbed the other: {:?}", all.faults);
    all.acknowledged.extend(there.acknowledged);
    let seen = check::run(&host, &all, &mut subscribers).await;
    assert!(seen[..2].iter().all(|seen| seen.subscribed == 1), "one server's end disturbed the other");
}

const BATCH: &str = "mutation($input: SaveTaskHistoryBatchInput!) { saveTaskHistoryBatch(input: $input) { savedCount \
                     duplicateCount records { recordId position userId taskId step message } } }";

/// PostgreSQL goes on with what it was told by a server that is gone: the retry by the other server meets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_outlives_its_server() {
    let host = Server::start(&NO_CHECK).await;
    let mut other = Server::start_beside(&host, &NO_CHECK).await;
    let mut socket = live(&host, "a").await;
    let records: Vec<_> = (1..=3)
        .map(|step| {
            let result = json!({ "stepName": "s", "status": "RUNNING", "message": step.to_string() });
            json!({ "userId": "a", "taskId": "t", "step": step, "recordId": Uuid::new_v4(), "stepResult": result })
        })
        .collect();
    let variables = json!({ "input": { "records": records } });

    let mut holder = host.psql().await;
    holder.execute("BEGIN").await.unwrap();
    holder.execute("SELECT 1 FROM feed_head WHERE user_id = 'a' FOR UPDATE").await.unwrap();
    let mut looker = host.psql().await;
    let mut wait = async |sessions: i64| {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        eventually("they wait for the lock", async || {
            let count: i64 = sqlx::query_scalar(waiting).fetch_one(&mut looker).await.unwrap();
            (count == sessions).then_some(())
        })
        .await;
    };
    let [first, second] = [other.address(), host.address()].map(|address| {
        let variables = variables.clone();
        async move { Client::new(address).ask(BATCH, variables).await }
    });
    let first = tokio::spawn(first);
    wait(1).await;
    other.kill();
    assert_eq!(first.await.unwrap().expect_err("answered by the dead").code(), None);
    let second = tokio::spawn(second);
    wait(2).await;
    holder.execute("COMMIT").await.unwrap();

    let answer = second.await.unwrap().unwrap();
    let batch = &answer["saveTaskHistoryBatch"];
    assert_eq!(batch["savedCount"].as_i64().unwrap() + batch["duplicateCount"].as_i64().unwrap(), 3, "{answer}");
    let saved: Vec<Record> = batch["records"].as_array().unwrap().iter().map(Record::read).collect();
    let stored = check::stored(&mut holder).await;
    check::dense(&stored);
    assert_eq!(stored["a"][1..], saved);
    for record in saved {
        assert_eq!(socket.event_within(SOON).await.record, record);
    }
}
