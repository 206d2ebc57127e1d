//! What is shared when the database fails, goes back, or when there is no room to keep anything.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Executor as _, PgConnection};
use tokio::time::timeout;

use super::api_server::{ApiServer, SAVE, report};
use super::shared_events::{EVENTS, save, subscribed};
use super::socket_client::{Client, TRANSPORT};
use super::support::eventually;

const CHANGES: &str = "subscription($after: FeedCursor) { \
    taskChanged(userId: \"u\", after: $after) { feedCursor task { position message result } } }";

#[tokio::test]
async fn what_was_told_of_a_record_that_is_gone_is_not_told_of_the_one_in_its_place() {
    let server = ApiServer::start().await;
    save(&server, None, "u", 1).await;
    let start = json!({ "user": "u", "start": true });
    let operations = [(EVENTS, start.clone()), (CHANGES, json!({}))];
    // Of these two the answers are kept; the third does not read, so that what is kept outlives the others' end.
    let mut first = subscribed(&server, TRANSPORT, Value::Null, &operations).await;
    let mut second = subscribed(&server, TRANSPORT, Value::Null, &operations).await;
    let cursor = server.data("{ feed(userId: \"u\") { cursor } }", json!({})).await["feed"]["cursor"].clone();
    let mut slow = Client::small(&server, TRANSPORT).await;
    slow.say_init(json!({})).await;
    slow.subscribe("events", EVENTS, start.clone()).await;
    slow.subscribe("changes", CHANGES, json!({ "after": cursor })).await;
    let pad = "x".repeat(30_000);
    let flood = "subscription { taskEvents(userId: \"u\", fromStart: true) { record { message result } } }";
    for id in 0..20 {
        slow.subscribe(&format!("flood{id}"), flood, json!({})).await;
    }
    for step in 2..=60 {
        let more = json!({ "stepResult": { "message": "old", "result": pad } });
        server.save("u", "t", step, "RUNNING", more).await;
    }
    for client in [&mut first, &mut second] {
        let (mut event, mut change) = (0, 0);
        while event < 60 || change < 60 {
            let data = client.message().await["payload"]["data"].take();
            event = data["taskEvents"]["record"]["position"].as_i64().unwrap_or(event);
            change = data["taskChanged"]["task"]["position"].as_i64().unwrap_or(change);
        }
    }
    assert_eq!(server.app.telemetry().blocked_connections.get(), 1);

    // As after a failover to a standby that was behind by one record: the listener is cut once that has been committed.
    let mut session = server.database.session().await;
    session
        .execute(
            "BEGIN; DELETE FROM task_record WHERE user_id = 'u' AND position > 59; \
             UPDATE feed_head h SET position = r.position, recorded_at = r.recorded_at, record_id = r.record_id \
             FROM task_record r WHERE r.user_id = 'u' AND r.position = 59 AND h.user_id = 'u'; \
             UPDATE task SET position = 59 WHERE user_id = 'u'; UPDATE task_order SET position = 59 WHERE user_id = 'u'; \
             COMMIT; SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND (query LIKE 'LISTEN %' OR query = 'SELECT 1')",
        )
        .await
        .unwrap();
    for client in [&mut first, &mut second] {
        let mut expired = 0;
        while expired < 2 {
            let message = client.message().await;
            expired += i32::from(message["payload"]["errors"][0]["extensions"]["code"] == "CURSOR_EXPIRED");
        }
    }

    let feed = server.data("{ feed(userId: \"u\") { cursor position } }", json!({})).await["feed"].take();
    assert_eq!(feed["position"], 59);
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::ready(&server).await;
        client.subscribe("events", EVENTS, json!({ "user": "u", "after": feed["cursor"] })).await;
        client.subscribe("changes", CHANGES, json!({ "after": feed["cursor"] })).await;
        // The one that says that it is live. The other root has nothing to say, and has begun when this one is heard.
        assert_eq!(client.message().await["payload"]["data"]["taskChanged"]["task"], Value::Null);
        client.is_served().await;
        clients.push(client);
    }
    server.save("u", "t", 60, "RUNNING", json!({ "stepResult": { "message": "new", "result": 7 } })).await;
    for client in &mut clients {
        for _ in 0..2 {
            let data = client.message().await["payload"]["data"].take();
            let told = if data["taskEvents"].is_object() { &data["taskEvents"] } else { &data["taskChanged"] };
            assert_eq!(told["task"]["result"], 7, "{told}");
            assert_ne!(told["feedCursor"], Value::Null);
        }
    }
}

#[tokio::test]
async fn a_nested_read_that_takes_too_long_is_told_and_no_subscriber_waits_for_ever() {
    let server = ApiServer::configured(|own| own.graphql.operation_timeout = Duration::from_millis(300)).await;
    save(&server, None, "u", 1).await;
    let query = "subscription($after: FeedCursor, $start: Boolean) { \
        taskEvents(userId: \"u\", after: $after, fromStart: $start) { \
        feedCursor record { position } task { history(first: 1) { nodes { position } } } } }";
    let cursor = server.data("{ feed(userId: \"u\") { cursor } }", json!({})).await["feed"]["cursor"].take();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(subscribed(&server, TRANSPORT, Value::Null, &[(query, json!({ "start": true }))]).await);
    }
    // The save waits for the task's row and has the table by then; whoever wants it alone is next, before any history.
    let (mut psql, mut row) = (server.database.session().await, server.database.session().await);
    let mut look = server.database.session().await;
    row.execute("BEGIN; SELECT 1 FROM task WHERE user_id = 'u' FOR UPDATE").await.unwrap();
    let waiting = async |look: &mut PgConnection, many: i64| {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("so many wait for a lock", async || {
            let waiting: i64 = sqlx::query_scalar(sql).fetch_one(&mut *look).await.unwrap();
            (waiting >= many).then_some(())
        })
        .await;
    };
    let holds = async {
        waiting(&mut look, 1).await;
        let alone = async { psql.execute("BEGIN; LOCK TABLE task_record IN ACCESS EXCLUSIVE MODE").await.unwrap() };
        let release = async {
            waiting(&mut look, 2).await;
            row.execute("ROLLBACK").await.unwrap();
        };
        tokio::join!(alone, release);
    };
    // Its caller may be told that it takes long; it goes on.
    tokio::join!(server.ask(SAVE, json!({ "input": report("u", "t", 2, "RUNNING", json!({})) })), holds);
    for client in &mut clients {
        let message = timeout(Duration::from_secs(5), client.message()).await.expect("nobody waits for ever");
        assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "TIMEOUT", "{message}");
        assert_eq!(client.message().await, json!({ "id": "op0", "type": "complete" }));
        client.is_served().await;
    }
    psql.execute("ROLLBACK").await.unwrap();
    // Nothing of it was kept: who resumes is told.
    save(&server, None, "u", 3).await;
    for client in &mut clients {
        client.subscribe("again", query, json!({ "after": cursor })).await;
        for position in [2, 3] {
            let event = client.message().await["payload"]["data"]["taskEvents"].take();
            assert_eq!(event["record"]["position"], position);
            assert_eq!(event["task"]["history"]["nodes"], json!([{ "position": 1 }]));
        }
    }
}

#[tokio::test]
async fn without_room_for_shared_answers_each_subscriber_is_told_all_the_same() {
    const SUBSCRIBERS: usize = 5;
    for room in [0, 1] {
        let server = ApiServer::configured(|own| own.graphql.shared_answers = room).await;
        save(&server, None, "u", 1).await;
        let operations = [(EVENTS, json!({ "user": "u", "start": true })), (CHANGES, json!({}))];
        let mut clients = Vec::new();
        for _ in 0..SUBSCRIBERS {
            clients.push(subscribed(&server, TRANSPORT, Value::Null, &operations).await);
        }
        let rendered = server.app.telemetry().rendered_events.get();
        for step in 2..=6 {
            save(&server, None, "u", step).await;
            for client in &mut clients {
                for _ in 0..2 {
                    let data = client.message().await["payload"]["data"].take();
                    let told = if data["taskEvents"].is_object() { &data["taskEvents"] } else { &data["taskChanged"] };
                    assert_eq!(told["task"]["result"], json!({ "n": step }), "{data}");
                }
            }
        }
        let rendered = server.app.telemetry().rendered_events.get() - rendered;
        let (most, least) = (2 * 5 * SUBSCRIBERS as u64, 2 * 5);
        assert!((least..=most).contains(&rendered), "{rendered}");
        assert!(room > 0 || rendered == most, "nothing is kept: {rendered}");
    }
}
