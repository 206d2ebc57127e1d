//! `taskFacets`: what the latest tasks are called, tagged with and fail by.

use serde_json::{Value, json};
use sqlx::Executor as _;

use super::api_server::ApiServer;

const FACETS: &str = "query($userId: ID, $prefix: String, $first: Int) {
    taskFacets(userId: $userId, prefix: $prefix, first: $first) {
        names { value count } tags { value count } errorCodes { value count } } }";

async fn facets(server: &ApiServer, variables: Value) -> Value {
    server.data(FACETS, variables).await["taskFacets"].take()
}

fn list(values: &[(&str, i32)]) -> Value {
    values.iter().map(|(value, count)| json!({ "value": value, "count": count })).collect()
}

async fn fill(server: &ApiServer) {
    let task = |name: &str, tags: &[&str]| json!({ "task": { "name": name, "tags": tags } });
    server.save("anna", "1", 1, "RUNNING", task("Import", &["big", "eu"])).await;
    server.save("anna", "2", 1, "RUNNING", task("Import", &["eu"])).await;
    server.save("anna", "3", 1, "RUNNING", task("Export", &[])).await;
    server.save("anna", "4", 1, "FAILED", json!({ "stepResult": { "errorCode": "E_DISK" } })).await;
    server.save("ben", "1", 1, "FAILED", json!({ "stepResult": { "errorCode": "E_DISK" } })).await;
    server
        .save("ben", "2", 1, "FAILED", json!({ "stepResult": { "errorCode": "D%" }, "task": { "name": "import" } }))
        .await;
}

#[tokio::test]
async fn values_come_most_frequent_first() {
    let server = ApiServer::start().await;
    fill(&server).await;
    let all = facets(&server, json!({})).await;
    let expected = json!({
        "names": list(&[("Import", 2), ("Export", 1), ("import", 1)]),
        "tags": list(&[("eu", 2), ("big", 1)]),
        "errorCodes": list(&[("E_DISK", 2), ("D%", 1)]),
    });
    assert_eq!(all, expected);
    let anna = json!({
        "names": list(&[("Import", 2), ("Export", 1)]),
        "tags": list(&[("eu", 2), ("big", 1)]),
        "errorCodes": list(&[("E_DISK", 1)]),
    });
    assert_eq!(facets(&server, json!({ "userId": "anna" })).await, anna);
    let none = json!({ "names": [], "tags": [], "errorCodes": [] });
    assert_eq!(facets(&server, json!({ "userId": "carl" })).await, none);
    assert_eq!(facets(&server, json!({ "first": 0 })).await, none);
    let one =
        json!({ "names": list(&[("Import", 2)]), "tags": list(&[("eu", 2)]), "errorCodes": list(&[("E_DISK", 2)]) });
    assert_eq!(facets(&server, json!({ "first": 1 })).await, one);
    // No wildcards, and no ignoring of case.
    for (prefix, names, codes) in [
        ("I", list(&[("Import", 2)]), json!([])),
        ("E", list(&[("Export", 1)]), list(&[("E_DISK", 2)])),
        ("E_", json!([]), list(&[("E_DISK", 2)])),
        ("%", json!([]), json!([])),
        ("D%", json!([]), list(&[("D%", 1)])),
    ] {
        let told = facets(&server, json!({ "prefix": prefix })).await;
        assert_eq!((&told["names"], &told["errorCodes"]), (&names, &codes), "{prefix}");
    }
}

#[tokio::test]
async fn they_follow_what_the_tasks_are_now() {
    let server = ApiServer::start().await;
    server
        .save(
            "u",
            "t",
            1,
            "FAILED",
            json!({ "stepResult": { "errorCode": "E" }, "task": { "name": "a", "tags": ["x"] } }),
        )
        .await;
    server.save("u", "t", 1, "RUNNING", json!({ "task": { "name": "", "tags": ["y"] } })).await;
    let told = facets(&server, json!({})).await;
    assert_eq!(told, json!({ "names": [], "tags": list(&[("y", 1)]), "errorCodes": [] }));
}

#[tokio::test]
async fn only_the_latest_ten_thousand_count() {
    let server = ApiServer::start().await;
    server.save("u", "old", 1, "RUNNING", json!({ "task": { "name": "old" } })).await;
    let many = "INSERT INTO task (user_id, task_id, position, record_id, status, step, highest_step, step_status, moved_position,
            moved_at, steps_from_position, steps_from_at, created_at, updated_at, name)
        SELECT 'u', 't' || n, n + 1, gen_random_uuid(), 'running', 1, 1, 'running', n + 1, now(), n + 1, now(), now(), now(), 'new'
        FROM generate_series(1, 10000) n;
        INSERT INTO task_order SELECT user_id, position, task_id, status, updated_at, pg_current_xact_id() FROM task
        WHERE task_id <> 'old'";
    server.database.session().await.execute(many).await.unwrap();
    for variables in [json!({}), json!({ "userId": "u" })] {
        assert_eq!(facets(&server, variables).await["names"], list(&[("new", 10_000)]));
    }
}

#[tokio::test]
async fn what_facets_cannot_take_is_named() {
    let server = ApiServer::start().await;
    for (variables, field) in [
        (json!({ "prefix": "x".repeat(256) }), "prefix"),
        (json!({ "prefix": "\u{0}" }), "prefix"),
        (json!({ "first": -1 }), "first"),
        (json!({ "first": 501 }), "first"),
        (json!({ "first": null }), "first"),
        (json!({ "userId": "" }), "userId"),
    ] {
        let error = server.error(FACETS, variables).await;
        assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{error}");
        assert_eq!(error["extensions"]["field"], field, "{error}");
    }
    facets(&server, json!({ "prefix": "x".repeat(255), "first": 500 })).await;
}
