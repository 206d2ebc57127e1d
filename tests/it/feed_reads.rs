//! What the feed costs the database, as the database counts it: one read a change however many watch, and none for what
//! this server has committed itself.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sqlx::{Executor as _, PgConnection, Row as _};
use taskwire::config::{DatabaseConfig, DatabaseSource};
use tokio::sync::Barrier;
use tokio::time::timeout;

use super::api_server::ApiServer;
use super::socket_client::Client;

const WATCHERS: usize = 200;
const CHANGES: i32 = 500;
/// With the record's result: it comes along, and is not read again.
const QUERY: &str =
    "subscription { taskEvents(userId: \"u\", fromStart: true) { record { position result } task { status } } }";

/// Waits for all of them. One that has failed never comes.
async fn over(rounds: &Barrier) {
    timeout(Duration::from_mins(2), rounds.wait()).await.expect("a watcher has failed, or is still behind");
}

async fn forget(session: &mut PgConnection) {
    let reset = "SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()";
    session.execute(reset).await.unwrap();
}

/// The statements that have read records since then, and how often. Saving is not reading.
async fn reads(session: &mut PgConnection) -> Vec<(i64, String)> {
    let calls = "SELECT calls, query FROM pg_stat_statements \
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
        AND query ~ 'task_record' AND query !~ 'pg_stat_statements|taskwire_append'";
    session.fetch_all(calls).await.unwrap().iter().map(|row| (row.get("calls"), row.get("query"))).collect()
}

#[tokio::test]
async fn a_change_costs_one_read_however_many_watch_and_an_own_one_none() {
    let server = ApiServer::start().await;
    let other = ApiServer::configured(|own| {
        let url = DatabaseSource::Url { url: server.database.url.clone(), setting: "the test".into() };
        own.database = DatabaseConfig { url, min_connections: 1, max_connections: 8, ..DatabaseConfig::default() };
    })
    .await;
    let mut session = server.database.session().await;
    session.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await.unwrap();

    // All of them have seen the changes of one round before the next one begins. The first shows that all of them watch.
    let rounds = Arc::new(Barrier::new(WATCHERS + 1));
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let mut client = Client::ready(&server).await;
        client.subscribe("1", QUERY, json!({})).await;
        let rounds = Arc::clone(&rounds);
        watchers.push(tokio::spawn(async move {
            for round in [1..=1, 2..=1 + CHANGES, 2 + CHANGES..=1 + 2 * CHANGES] {
                for position in round {
                    let mut event = client.message().await["payload"]["data"]["taskEvents"].take();
                    assert_eq!(event["record"]["position"].take(), position);
                    assert_eq!(event["task"]["status"].take(), "RUNNING");
                }
                rounds.wait().await;
            }
        }));
    }
    server.save("u", "t", 0, "RUNNING", json!({})).await;
    over(&rounds).await;

    forget(&mut session).await;
    let result = |step: i32| json!({ "stepResult": { "result": { "step": step } } });
    for step in 0..CHANGES {
        server.save("u", "t", step, "RUNNING", result(step)).await;
    }
    over(&rounds).await;
    assert_eq!(reads(&mut session).await, [], "what this server committed was read again");

    forget(&mut session).await;
    for step in 0..CHANGES {
        other.save("u", "t", step, "RUNNING", result(step)).await;
    }
    over(&rounds).await;
    let reads = reads(&mut session).await;
    let count: i64 = reads.iter().map(|(calls, _)| calls).sum();
    assert!(count <= 520, "{count} reads for {CHANGES} changes and {WATCHERS} subscribers: {reads:?}");
    assert!(count > 0, "whatever was counted, it was not this");
    for watcher in watchers {
        watcher.await.unwrap();
    }
}
