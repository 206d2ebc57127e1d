//! How long an operation may take, and what becomes of it in PostgreSQL.

use std::time::Duration;

use serde_json::json;
use sqlx::{Executor as _, PgConnection};
use tokio::time::{Instant, sleep};

use super::api_server::{ApiServer, SAVE, report};

async fn hurried() -> ApiServer {
    ApiServer::configured(|config| config.graphql.operation_timeout = Duration::from_millis(300)).await
}

/// The server's statements that wait for a lock, but for those by the clock: whether a report is due.
async fn waiting(session: &mut PgConnection) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name = 'taskwire' AND state = 'active' AND wait_event_type = 'Lock' \
         AND query NOT LIKE '%report_due_at IS NOT NULL%' AND query NOT LIKE '%taskwire_report_clock%'";
    sqlx::query_scalar(sql).fetch_one(session).await.unwrap()
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_told_and_ended_in_postgresql() {
    let server = hurried().await;
    let (mut psql, mut look) = (server.database.session().await, server.database.session().await);
    psql.execute("BEGIN; LOCK TABLE task IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let begin = Instant::now();
    let error = server.error("{ tasks(userId: \"u\") { nodes { taskId } } }", json!({})).await;
    assert_eq!(error["extensions"]["code"], "TIMEOUT", "{error}");
    assert_eq!(error["extensions"]["retryable"], true);
    assert_eq!((&error["extensions"]["limit"], &error["extensions"]["maxMs"]), (&json!("operation time"), &json!(300)));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    // The lock is still held: what waited for it has gone all the same.
    while waiting(&mut look).await > 0 {
        assert!(begin.elapsed() < Duration::from_secs(8), "the statement waits on");
        sleep(Duration::from_millis(50)).await;
    }
    // Proxies and clients see whose fault it was.
    let again = server.client.post(server.url()).header("accept", "application/graphql-response+json");
    let again = again.json(&json!({ "query": "{ tasks(userId: \"u\") { nodes { taskId } } }" })).send().await.unwrap();
    assert_eq!(again.status(), 504);
    psql.execute("ROLLBACK").await.unwrap();
    server.data("{ tasks(userId: \"u\") { nodes { taskId } } }", json!({})).await;
}

#[tokio::test]
async fn a_save_in_a_lane_goes_on_and_its_caller_can_ask_for_it() {
    let server = hurried().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let mut psql = server.database.session().await;
    psql.execute("BEGIN; SELECT 1 FROM feed_head WHERE user_id = 'u' FOR UPDATE").await.unwrap();
    let variables = json!({ "input": report("u", "t", 2, "RUNNING", json!({})) });
    let error = server.error(SAVE, variables.clone()).await;
    assert_eq!((&error["extensions"]["code"], &error["extensions"]["retryable"]), (&json!("TIMEOUT"), &json!(true)));
    let record_id = error["extensions"]["recordId"].as_str().expect("the record's id").to_owned();
    psql.execute("ROLLBACK").await.unwrap();
    let mut input = report("u", "t", 2, "RUNNING", json!({}));
    input["recordId"] = json!(record_id);
    let begin = Instant::now();
    loop {
        let saved = server.ask(SAVE, json!({ "input": input })).await;
        if saved["data"]["saveTaskHistory"]["record"]["position"] == 2 {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(8), "{saved}");
    }
    let history = server.data("{ taskHistory(userId: \"u\", taskId: \"t\") { nodes { position } } }", json!({})).await;
    assert_eq!(history["taskHistory"]["nodes"].as_array().unwrap().len(), 2, "{history}");
}

#[tokio::test]
async fn a_batch_of_unknown_outcome_names_its_records_and_is_repeated_safely() {
    const GIVEN: &str = "019aa000-0000-7000-8000-000000000001";
    const BATCH: &str = "mutation($records: [SaveTaskHistoryInput!]!) { saveTaskHistoryBatch(input: { records: $records }) { \
        records { position recordId } } }";
    let server = hurried().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let mut psql = server.database.session().await;
    psql.execute("BEGIN; SELECT 1 FROM feed_head WHERE user_id = 'u' FOR UPDATE").await.unwrap();
    let mut records =
        vec![report("u", "t", 2, "RUNNING", json!({})), report("u", "t", 3, "RUNNING", json!({ "recordId": GIVEN }))];
    let extensions = server.error(BATCH, json!({ "records": records })).await["extensions"].take();
    assert_eq!((&extensions["code"], &extensions["retryable"]), (&json!("TIMEOUT"), &json!(true)));
    let ids = extensions["recordIds"].as_array().expect("the records' ids").clone();
    assert_eq!((ids.len(), &ids[1]), (2, &json!(GIVEN)));
    assert!(extensions.get("recordId").is_none());
    psql.execute("ROLLBACK").await.unwrap();
    records[0]["recordId"] = ids[0].clone();
    let begin = Instant::now();
    // Twice: once more is once too often for what is there already.
    for _ in 0..2 {
        loop {
            let saved = server.ask(BATCH, json!({ "records": records })).await;
            let saved = &saved["data"]["saveTaskHistoryBatch"]["records"];
            if saved[0] == json!({ "position": 2, "recordId": ids[0] }) {
                assert_eq!(saved[1], json!({ "position": 3, "recordId": GIVEN }));
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(8), "{saved}");
        }
    }
    let refused = server.error(BATCH, json!({ "records": [report("u", "t", -1, "RUNNING", json!({}))] })).await;
    assert!(refused["extensions"].get("recordIds").is_none(), "{refused}");
}
