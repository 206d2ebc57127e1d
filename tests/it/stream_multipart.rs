//! Apollo's multipart subscriptions.

use std::time::Duration;

use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::stream_body::{Body, EVENTS, server_with};

/// As Apollo Client 4 sends it.
const ACCEPT: &str =
    "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9";
const BOUNDARY: &str = "\r\n--graphql";

/// The next part: it is only there for a client when the boundary behind it is.
async fn part(body: &mut Body) -> Value {
    let text = body.until(BOUNDARY).await;
    let (head, json) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(head, "\r\nContent-Type: application/json");
    serde_json::from_str(json.strip_suffix(BOUNDARY).unwrap()).unwrap()
}

async fn open(server: &ApiServer, query: &str, variables: Value) -> Body {
    let mut body = Body::post(server, ACCEPT, query, variables).await;
    assert_eq!(body.header("content-type"), "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0");
    assert_eq!(body.until(BOUNDARY).await, BOUNDARY);
    body
}

async fn completes(mut body: Body) {
    assert_eq!(body.until("\r\n").await, "--\r\n");
    assert_eq!(body.rest().await, (String::new(), true));
}

#[tokio::test]
async fn each_event_is_there_at_once() {
    let server = ApiServer::start().await;
    // From the start: the header may be there before the subscription stands.
    let mut body = open(&server, EVENTS, json!({ "user": "u", "fromStart": true })).await;
    let mut cursor = Value::Null;
    for step in 1..=3 {
        server.save("u", "t", step, "RUNNING", json!({})).await;
        let event = part(&mut body).await["payload"]["data"]["taskEvents"].clone();
        assert_eq!(event["record"]["position"], step);
        assert_eq!(body.text, "");
        if step == 1 {
            cursor = event["feedCursor"].clone();
        }
    }
    let mut resumed = open(&server, EVENTS, json!({ "user": "u", "after": cursor })).await;
    for position in [2, 3] {
        assert_eq!(part(&mut resumed).await["payload"]["data"]["taskEvents"]["record"]["position"], position);
    }
}

#[tokio::test]
async fn an_idle_stream_has_heartbeats() {
    let server = server_with(Duration::from_millis(100), Duration::from_mins(2)).await;
    let mut body = open(&server, EVENTS, json!({ "user": "u" })).await;
    for _ in 0..3 {
        assert_eq!(part(&mut body).await, json!({}));
    }
}

#[tokio::test]
async fn errors_are_told_in_a_part_and_complete() {
    let server = ApiServer::start().await;
    for (query, code) in [
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        (EVENTS, "BAD_USER_INPUT"),
        (r#"subscription { taskEvents(userId: "u", after: "x") { isReplay } }"#, "BAD_USER_INPUT"),
    ] {
        let mut body = open(&server, query, json!({})).await;
        let part = part(&mut body).await;
        assert_eq!(part["payload"]["errors"][0]["extensions"]["code"], code, "{part}");
        completes(body).await;
    }
}

#[tokio::test]
async fn what_is_no_subscription_is_one_json_text() {
    let server = ApiServer::start().await;
    let body = Body::post(&server, ACCEPT, "{ viewer { role } }", json!({})).await;
    assert!(body.header("content-type").starts_with("application/graphql-response+json"));
    assert_eq!(body.rest().await.0, r#"{"data":{"viewer":{"role":"ADMIN"}}}"#);
}
