//! Server-sent events: graphql-sse's distinct connections.

use std::time::Duration;

use serde_json::{Value, json};

use super::api_server::{ApiServer, SAVE, report};
use super::stream_body::{Body, EVENTS, server_with};

const ACCEPT: &str = "text/event-stream";

/// The next event that is no comment: its name and its data.
async fn event(body: &mut Body) -> (String, Value) {
    loop {
        let text = body.until("\n\n").await;
        let Some(text) = text.strip_prefix("event: ") else {
            assert!(text.starts_with(':'), "neither event nor comment: {text:?}");
            continue;
        };
        let (name, data) = text.split_once("\ndata: ").unwrap();
        let data = data.trim_end_matches('\n');
        assert!(!data.contains('\n'), "{data}");
        return (name.to_owned(), if data.is_empty() { Value::Null } else { serde_json::from_str(data).unwrap() });
    }
}

async fn next(body: &mut Body) -> Value {
    let (name, data) = event(body).await;
    assert_eq!(name, "next", "{data}");
    data
}

async fn completes(mut body: Body) {
    assert_eq!(event(&mut body).await, ("complete".to_owned(), Value::Null));
    assert_eq!(body.rest().await, (String::new(), true));
}

fn url(server: &ApiServer, query: &str, variables: &str) -> reqwest::Url {
    reqwest::Url::parse_with_params(&server.url(), [("query", query), ("variables", variables)]).unwrap()
}

async fn get(server: &ApiServer, query: &str, variables: Value) -> Body {
    let variables = variables.to_string();
    Body::of(server.client.get(url(server, query, &variables)), ACCEPT).await
}

#[tokio::test]
async fn events_come_as_they_happen_by_get_and_by_post_and_resume_from_their_cursor() {
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let start = json!({ "user": "u", "fromStart": true });
    let mut got = get(&server, EVENTS, start.clone()).await;
    assert_eq!(got.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(got.header("cache-control"), "no-store, no-transform");
    assert_eq!(got.header("x-accel-buffering"), "no");
    let mut posted = Body::post(&server, ACCEPT, EVENTS, start).await;
    let mut cursor = Value::Null;
    for body in [&mut got, &mut posted] {
        let event = next(body).await["data"]["taskEvents"].clone();
        assert_eq!(event["record"]["position"], 1);
        cursor = event["feedCursor"].clone();
    }
    for step in 2..=3 {
        server.save("u", "t", step, "RUNNING", json!({})).await;
        for body in [&mut got, &mut posted] {
            assert_eq!(next(body).await["data"]["taskEvents"]["record"]["position"], step);
        }
    }
    let mut resumed = get(&server, EVENTS, json!({ "user": "u", "after": cursor })).await;
    for position in [2, 3] {
        assert_eq!(next(&mut resumed).await["data"]["taskEvents"]["record"]["position"], position);
    }
    let metrics = server.app.telemetry();
    assert_eq!((metrics.streams.get(), metrics.events_delivered.get()), (3, 8));
    drop((got, posted, resumed));
    super::support::eventually("no stream is left", async || (metrics.streams.get() == 0).then_some(())).await;
}

#[tokio::test]
async fn queries_and_mutations_come_as_events_and_complete() {
    let server = ApiServer::start().await;
    for mut body in [
        get(&server, "{ viewer { role } }", json!({})).await,
        Body::post(&server, ACCEPT, "{ viewer { role } }", json!({})).await,
    ] {
        assert_eq!(next(&mut body).await, json!({ "data": { "viewer": { "role": "ADMIN" } } }));
        completes(body).await;
    }
    let input = report("u", "t", 1, "RUNNING", json!({ "stepResult": { "message": "two\nlines\r\n: and more" } }));
    let mut body = Body::post(&server, ACCEPT, SAVE, json!({ "input": input.clone() })).await;
    assert_eq!(next(&mut body).await["data"]["saveTaskHistory"]["record"]["position"], 1);
    completes(body).await;
    let mut body = get(&server, EVENTS, json!({ "user": "u", "fromStart": true })).await;
    let message = next(&mut body).await["data"]["taskEvents"]["record"]["message"].clone();
    assert_eq!(message, "two\nlines\r\n: and more");

    let variables = json!({ "input": input }).to_string();
    let url = url(&server, SAVE, &variables);
    let refused = server.client.get(url).header("accept", ACCEPT).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["allow"].to_str().unwrap()), (405, "POST"));
    let feed = server.data(r#"{ feed(userId: "u") { position } }"#, json!({})).await;
    assert_eq!(feed["feed"]["position"], 1, "no mutation by GET");
}

#[tokio::test]
async fn what_cannot_be_executed_is_told_in_the_stream() {
    let server = ApiServer::start().await;
    for (query, code) in [
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        (
            r#"subscription { a: taskEvents(userId: "u") { feedCursor } b: taskEvents(userId: "u") { feedCursor } }"#,
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("", "BAD_USER_INPUT"),
    ] {
        for mut body in [get(&server, query, json!({})).await, Body::post(&server, ACCEPT, query, json!({})).await] {
            let answer = next(&mut body).await;
            assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{query}: {answer}");
            assert!(answer.get("data").is_none(), "{answer}");
            completes(body).await;
        }
    }
    let mut body = get(&server, EVENTS, json!({})).await;
    let answer = next(&mut body).await;
    assert_eq!(answer["errors"][0]["extensions"]["field"], "userId", "{answer}");
    completes(body).await;
}

#[tokio::test]
async fn an_idle_stream_shows_that_it_is_alive() {
    let server = server_with(Duration::from_millis(100), Duration::from_mins(2)).await;
    let mut body = get(&server, EVENTS, json!({ "user": "u" })).await;
    for _ in 0..4 {
        assert_eq!(body.until("\n\n").await, ":\n\n");
    }
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    assert_eq!(next(&mut body).await["data"]["taskEvents"]["record"]["position"], 1);
    assert_eq!(body.until("\n\n").await, ":\n\n");
}

#[tokio::test]
async fn who_also_takes_json_gets_a_stream_for_a_subscription_alone() {
    let server = ApiServer::start().await;
    let both = "application/json, text/event-stream, multipart/mixed";
    let query = Body::post(&server, both, "{ viewer { role } }", json!({})).await;
    assert!(query.header("content-type").starts_with("application/json"));
    let subscription = Body::post(&server, both, EVENTS, json!({ "user": "u" })).await;
    assert_eq!(subscription.header("content-type"), "text/event-stream; charset=utf-8");
}

#[tokio::test]
async fn a_foreign_page_reads_no_stream() {
    let server = ApiServer::start().await;
    let url = url(&server, EVENTS, r#"{"user":"u"}"#);
    let request = || server.client.get(url.clone()).header("accept", ACCEPT);
    let foreign = request().header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
    assert!(foreign.headers().get("access-control-allow-origin").is_none());
    let own = request().header("origin", format!("http://{}", server.address)).send().await.unwrap();
    assert_eq!(own.status(), 200);
    let json = server.client.get(format!("{}?query=%7B__typename%7D", server.url())).send().await.unwrap();
    for headers in [own.headers(), json.headers()] {
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
    }
}
