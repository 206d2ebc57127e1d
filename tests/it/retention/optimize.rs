//! `optimizeStorage`.

use serde_json::{Value, json};

use super::*;
use crate::api_server::ApiServer;

const OPTIMIZE: &str =
    "mutation($reindex: Boolean!) { optimizeStorage(input: { reindex: $reindex }) { analyzed reindexed hasMore } }";

async fn optimize(server: &ApiServer, reindex: bool) -> Value {
    server.data(OPTIMIZE, json!({ "reindex": reindex })).await["optimizeStorage"].take()
}

async fn indexes(session: &mut PgConnection) -> Vec<(String, i64)> {
    let sql = "SELECT c.relname::text, c.relfilenode::bigint FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid \
        WHERE c.relkind = 'i' AND x.indisvalid AND x.indrelid IN (SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = \
        'public'::regnamespace AND relname ~ '^(task$|task_order$|feed_head$|task_record_)') ORDER BY 1";
    sqlx::query_as(sql).fetch_all(session).await.unwrap()
}

#[tokio::test]
async fn statistics_are_fresh_and_indexes_new() {
    let server = ApiServer::start().await;
    let mut session = server.database.session().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let looked = "SELECT count(*) FROM pg_stat_user_tables WHERE last_analyze IS NOT NULL AND relname ~ '^(task|task_order|feed_head|task_record_before)$'";
    assert_eq!(count(&mut session, looked).await, 0);
    let told = optimize(&server, false).await;
    let names = |field: &str, told: &Value| -> Vec<String> {
        told[field].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let analyzed = names("analyzed", &told);
    for table in ["feed_head", "task", "task_order", "task_record_before", "task_record"] {
        assert!(analyzed.iter().any(|name| name == table), "{analyzed:?}");
    }
    assert_eq!((&told["reindexed"], &told["hasMore"]), (&json!([]), &json!(false)));
    assert_eq!(count(&mut session, looked).await, 4);

    let before = indexes(&mut session).await;
    let told = optimize(&server, true).await;
    assert_eq!(told["hasMore"], false);
    let mut reindexed = names("reindexed", &told);
    reindexed.sort();
    assert_eq!(reindexed, before.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    let after = indexes(&mut session).await;
    assert_eq!(after.len(), before.len(), "one was left over or lost");
    assert!(before.iter().zip(&after).all(|(old, new)| old.0 == new.0 && old.1 != new.1), "{before:?} {after:?}");
    assert_eq!(server.save("u", "t", 2, "RUNNING", json!({})).await["record"]["position"], 2);
}

#[tokio::test]
async fn somebodys_transaction_makes_it_stop_and_the_next_call_goes_on() {
    let server = ApiServer::configured(|config| {
        config.graphql.operation_timeout = Duration::from_millis(500);
        config.graphql.maintenance_time = Duration::from_secs(4);
    })
    .await;
    let mut session = server.database.session().await;
    let mut psql = server.database.session().await;
    psql.execute("BEGIN; LOCK TABLE task_order IN ROW SHARE MODE").await.unwrap();
    let begin = Instant::now();
    let told = optimize(&server, true).await;
    assert_eq!(told["hasMore"], true, "{told}");
    assert!(begin.elapsed() < Duration::from_secs(5), "it has --maintenance-time, and no more");
    assert!(begin.elapsed() > Duration::from_millis(600), "it has more than --operation-timeout");
    psql.execute("COMMIT").await.unwrap();
    let first = told["reindexed"].as_array().unwrap().clone();
    let told = optimize(&server, true).await;
    assert_eq!(told["hasMore"], false, "{told}");
    let second = told["reindexed"].as_array().unwrap();
    assert!(!second.is_empty() && first.iter().all(|name| !second.contains(name)), "{first:?} {second:?}");
    let all = indexes(&mut session).await;
    assert_eq!(first.len() + second.len(), all.len(), "{all:?}");
    assert!(all.iter().all(|(name, _)| !name.contains("_ccnew")), "{all:?}");
}
