//! Lists and histories from a standby: no older than is allowed, never without what the server itself has written, and
//! from the primary where the standby is behind or gone. The feed is always the primary's.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    client::{Client, Report},
    eventually,
    postgres::{self, Node},
    room::Room,
    server::Server,
    socket::Socket,
};

const LIST: &str = "query($user: ID, $first: Int, $after: String) { tasks(userId: $user, first: $first, after: $after) { \
                    nodes { taskId message } pageInfo { endCursor } } }";
const HISTORY: &str =
    "query($user: ID!) { task(userId: $user, taskId: \"a\") { history(first: 50) { nodes { message } } } }";
const STALENESS: Duration = Duration::from_secs(4);

async fn save(client: &Client, user: &str, task: &str, message: &str) {
    let report = Report {
        user_id: user.to_owned(),
        task_id: task.to_owned(),
        step: 0,
        message: message.to_owned(),
        record_id: Some(Uuid::new_v4()),
    };
    client.save_for_sure(&report, |_| ()).await;
}

async fn list(client: &Client, user: Option<&str>, first: i32, after: Option<&str>) -> (Vec<(String, String)>, Value) {
    let data = client.ask(LIST, json!({ "user": user, "first": first, "after": after })).await.unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let nodes = data["tasks"]["nodes"].as_array().unwrap();
    let tasks = nodes.iter().map(|node| (text(&node["taskId"]), text(&node["message"]))).collect();
    (tasks, data["tasks"]["pageInfo"]["endCursor"].clone())
}

async fn latest(client: &Client, user: &str) -> String {
    list(client, Some(user), 1, None).await.0.remove(0).1
}

async fn last_of_history(client: &Client, user: &str) -> String {
    let data = client.ask(HISTORY, json!({ "user": user })).await.unwrap();
    data["task"]["history"]["nodes"].as_array().unwrap().last().unwrap()["message"].as_str().unwrap().to_owned()
}

/// Of everybody, as an admin's list.
async fn latest_of_everybody(client: &Client) -> String {
    list(client, None, 1, None).await.0.remove(0).1
}

/// By itself, beside no task that shows how far the user is.
async fn last_of_records(client: &Client, user: &str) -> String {
    let query = r#"query($user: ID!) { taskHistory(userId: $user, taskId: "a", last: 1) { nodes { message } } }"#;
    let data = client.ask(query, json!({ "user": user })).await.unwrap();
    data["taskHistory"]["nodes"][0]["message"].as_str().unwrap().to_owned()
}

async fn last_step(client: &Client, user: &str) -> u64 {
    let query = r#"query($user: ID!) { task(userId: $user, taskId: "a") { steps(last: 1) { nodes { step } } } }"#;
    let data = client.ask(query, json!({ "user": user })).await.unwrap();
    data["task"]["steps"]["nodes"][0]["step"].as_u64().unwrap()
}

/// How many reads were answered by whom, as the server counts them.
async fn reads_from(server: &Server, from: &str) -> u64 {
    server.counted(&format!("standby_reads_total{{from=\"{from}\"}}")).await
}

async fn over(primary: &Node, standby: &Node) -> Server {
    let (url, read) = (postgres::url(&[primary]), postgres::url(&[standby]));
    let staleness = format!("{}s", STALENESS.as_secs());
    let arguments = ["--database-url", &url, "--read-url", &read, "--read-staleness", &staleness];
    Server::start_in(Room::empty(), &arguments).await
}

/// Keeps the standby where it is, once the server reads from it; then a stranger writes, of whom the server knows nothing.
async fn stop_and_write(primary: &Node, standby: &Node, server: &Server, message: &str) -> Instant {
    eventually("the standby is read from", async || {
        server.log().lines().rev().find(|line| line.contains("a standby to read from"))?.contains("true").then_some(())
    })
    .await;
    let position: String = sqlx::query_scalar("SELECT pg_current_wal_flush_lsn()::text")
        .fetch_one(&mut primary.psql().await)
        .await
        .unwrap();
    standby.says("true", &format!("SELECT (pg_last_wal_replay_lsn() >= '{position}')::text")).await;
    standby.run("SELECT pg_wal_replay_pause()").await;
    standby.says("paused", "SELECT pg_get_wal_replay_pause_state()").await;
    let stopped = Instant::now();
    primary
        .run(&format!(
            "INSERT INTO task_history (user_id, task_id, step, result, status) \
             VALUES ('u', 'a', 1, '{{\"step\": \"s\", \"message\": \"{message}\", \"status\": \"running\"}}', 'running')"
        ))
        .await;
    stopped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_older_than_allowed_and_never_without_ones_own() {
    let primary = Node::primary().await;
    let standby = Node::standby_of(&primary, "second").await;
    let (server, other) = (over(&primary, &standby).await, over(&primary, &standby).await);
    let (client, elsewhere) = (Client::new(server.address()), Client::new(other.address()));
    for task in ["a", "b", "c"] {
        save(&client, "u", task, "old").await;
    }
    let mut socket = Socket::open(server.address(), "u", None).await.unwrap();
    for _ in 0..3 {
        socket.event_within(Duration::from_secs(10)).await;
    }
    // Long enough that the first save is no longer its own latest that the standby might lack.
    eventually("what was saved is read from the standby", async || {
        let mut session = standby.psql().await;
        let scans = "SELECT coalesce(sum(idx_scan), 0)::bigint FROM pg_stat_user_tables WHERE relname = 'task_order'";
        latest(&client, "u").await;
        let seen: i64 = sqlx::query_scalar(scans).fetch_one(&mut session).await.unwrap();
        session.close().await.unwrap();
        (seen > 0).then_some(())
    })
    .await;

    // The standby stands still: its answer is old, then too old. The feed tells of it at once.
    let stopped = stop_and_write(&primary, &standby, &other, "new").await;
    let counted = reads_from(&other, "standby").await;
    assert_eq!(
        (latest(&elsewhere, "u").await, last_of_records(&elsewhere, "u").await),
        ("old".to_owned(), "old".to_owned())
    );
    assert_eq!(reads_from(&other, "standby").await, counted + 2);
    // Nobody's feed would tell what a list of everybody lacks; and what a task shows, its history and steps show.
    assert_eq!(latest_of_everybody(&elsewhere).await, "new");
    assert_eq!((last_of_history(&elsewhere, "u").await, last_step(&elsewhere, "u").await), ("new".to_owned(), 1));
    assert!(stopped.elapsed() < STALENESS, "too slow to tell");
    // What a feed has told shows at once on its server, whoever wrote it.
    assert_eq!(socket.event_within(Duration::from_secs(2)).await.record.message, "new");
    assert_eq!((latest(&client, "u").await, last_of_records(&client, "u").await), ("new".to_owned(), "new".to_owned()));
    assert!(stopped.elapsed() < STALENESS, "too slow to tell");
    // Its own write shows at once, and with it the stranger's.
    save(&client, "u", "b", "own").await;
    assert_eq!(list(&client, Some("u"), 2, None).await.0, [("b".into(), "own".into()), ("a".into(), "new".into())]);
    // The next page is of a moment no earlier than the first, whichever server is asked: nothing comes twice.
    let (first, cursor) = list(&client, Some("u"), 2, None).await;
    let (second, _) = list(&elsewhere, Some("u"), 2, cursor.as_str()).await;
    assert_eq!(first.len(), 2);
    assert_eq!(second, [("c".into(), "old".into())]);
    eventually("the bound", async || (latest(&elsewhere, "u").await == "own").then_some(())).await;
    assert!(stopped.elapsed() < STALENESS + Duration::from_secs(2), "older than allowed: {:?}", stopped.elapsed());

    // It goes on, and is read from again; then it is gone, and nobody notices.
    standby.run("SELECT pg_wal_replay_resume()").await;
    stop_and_write(&primary, &standby, &other, "newer").await;
    standby.kill().await;
    let counted = reads_from(&other, "primary").await;
    assert_eq!(latest(&elsewhere, "u").await, "newer");
    assert_eq!(reads_from(&other, "primary").await, counted + 1);
    assert_eq!(last_of_history(&elsewhere, "u").await, "newer");
    primary.psql().await.execute("SELECT 1").await.unwrap();
}
