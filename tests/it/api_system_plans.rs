//! `system`: what PostgreSQL says of statements, those that were slow and those that are asked about.

use serde_json::{Value, json};
use sqlx::Executor as _;

use super::api_server::ApiServer;

const SLOW: &str = "query($first: Int) { system { slowQueries(first: $first) { query calls meanMs totalMs rows } } }";
const PLAN: &str = "query($query: NamedQuery!, $userId: ID, $taskId: ID) {
    system { queryPlan(query: $query, userId: $userId, taskId: $taskId) } }";

#[tokio::test]
async fn slow_queries_are_told_the_slowest_first() {
    let server = ApiServer::start().await;
    let mut session = server.database.session().await;
    session.execute("CREATE SCHEMA \"Other\"; CREATE EXTENSION pg_stat_statements SCHEMA \"Other\"").await.unwrap();
    session.execute("SELECT count(*) AS slow_one FROM generate_series(1, 200000)").await.unwrap();
    session.execute("SELECT pg_sleep(0.2) AS slowest").await.unwrap();
    for _ in 0..3 {
        session.execute("SELECT 7 AS thrice FROM generate_series(1, 2)").await.unwrap();
    }
    let told = server.data(SLOW, json!({ "first": 500 })).await["system"]["slowQueries"].take();
    let all = told.as_array().unwrap();
    let place = |text: &str| all.iter().position(|slow| slow["query"].as_str().unwrap().contains(text)).unwrap();
    assert!(place("slowest") < place("slow_one") && place("slow_one") < place("thrice"), "{told:#}");
    let means: Vec<f64> = all.iter().map(|slow| slow["meanMs"].as_f64().unwrap()).collect();
    assert!(means.is_sorted_by(|a, b| a >= b), "{means:?}");
    let thrice = &all[place("thrice")];
    assert_eq!((&thrice["calls"], &thrice["rows"]), (&json!(3), &json!(6)));
    assert_eq!(thrice["query"], "SELECT $1 AS thrice FROM generate_series($2, $3)");
    let slowest = &all[place("slowest")];
    assert!(slowest["meanMs"].as_f64().unwrap() >= 200.0 && slowest["meanMs"] == slowest["totalMs"], "{slowest}");
    let first = server.data(SLOW, json!({ "first": 1 })).await["system"]["slowQueries"].take();
    assert_eq!(first.as_array().unwrap().len(), 1);
    let default = server.data("{ system { slowQueries { calls } } }", json!({})).await;
    assert_eq!(default["system"]["slowQueries"].as_array().unwrap().len(), 10);
    for first in [-1, 501] {
        let error = server.error(SLOW, json!({ "first": first })).await;
        assert_eq!(
            (&error["extensions"]["code"], &error["extensions"]["field"]),
            (&json!("BAD_USER_INPUT"), &json!("first"))
        );
    }
}

#[tokio::test]
async fn where_the_extension_is_missing_that_is_said() {
    let server = ApiServer::start().await;
    let answer = server.ask("{ system { slowQueries { query } version } }", json!({})).await;
    let error = &answer["errors"][0];
    assert_eq!(error["extensions"], json!({ "code": "SLOW_QUERIES_UNAVAILABLE" }));
    assert!(error["message"].as_str().unwrap().contains("CREATE EXTENSION pg_stat_statements"), "{error}");
    let system = json!({ "slowQueries": null, "version": env!("CARGO_PKG_VERSION") });
    assert_eq!(answer["data"]["system"], system);
}

#[tokio::test]
async fn every_named_query_has_a_plan() {
    let server = ApiServer::start().await;
    for step in 1..=3 {
        server.save("u", "t", step, "COMPLETED", json!({})).await;
    }
    for (query, variables, relation) in [
        ("TASK", json!({ "userId": "u", "taskId": "t" }), "task"),
        ("TASKS", json!({ "userId": "u" }), "task_order"),
        ("TASKS_OF_ALL", json!({}), "task_order"),
        ("HISTORY", json!({ "userId": "u", "taskId": "t" }), "task_record_"),
        ("STEPS", json!({ "userId": "u", "taskId": "t" }), "task_record_"),
        ("STATISTICS", json!({}), "task_order"),
        ("STATISTICS", json!({ "userId": "u" }), "task_order"),
        ("FEED_PAGE", json!({ "userId": "u" }), "task_record_"),
        ("FEED_PAGE", json!({ "userId": "nobody" }), "feed_head"),
    ] {
        let mut variables = variables;
        variables["query"] = query.into();
        let plan = server.data(PLAN, variables).await["system"]["queryPlan"].take();
        let top = &plan[0];
        assert!(top["Execution Time"].as_f64().unwrap() > 0.0, "{query}: {plan:#}");
        assert!(top["Plan"]["Shared Hit Blocks"].is_number(), "{query}: {plan:#}");
        assert!(plan.to_string().contains(&format!(r#""Relation Name":"{relation}"#)), "{query}: {plan:#}");
    }
    // What a page reads is really read.
    let plan = server.data(PLAN, json!({ "query": "FEED_PAGE", "userId": "u" })).await["system"]["queryPlan"].take();
    assert_eq!(plan[0]["Plan"]["Actual Rows"].as_f64(), Some(3.0));
    let none = server.data(PLAN, json!({ "query": "STEPS", "userId": "u", "taskId": "none" })).await;
    assert_eq!(none["system"]["queryPlan"], Value::Null);
}

#[tokio::test]
async fn what_a_plan_needs_is_named() {
    let server = ApiServer::start().await;
    for (variables, field) in [
        (json!({ "query": "TASK", "taskId": "t" }), "userId"),
        (json!({ "query": "TASK", "userId": "u" }), "taskId"),
        (json!({ "query": "TASKS" }), "userId"),
        (json!({ "query": "HISTORY", "userId": "u" }), "taskId"),
        (json!({ "query": "STEPS" }), "userId"),
        (json!({ "query": "FEED_PAGE" }), "userId"),
        (json!({ "query": "STATISTICS", "userId": "" }), "userId"),
        (json!({ "query": "TASKS_OF_ALL", "taskId": "\u{0}" }), "taskId"),
        (json!({ "query": "TASKS", "userId": "x".repeat(256) }), "userId"),
    ] {
        let error = server.error(PLAN, variables).await;
        assert_eq!(
            (&error["extensions"]["code"], &error["extensions"]["field"]),
            (&json!("BAD_USER_INPUT"), &json!(field))
        );
    }
}
