//! How streams over HTTP end that nobody completed: with the server, or since their clients do not read,
//! or with their tokens; and how many there may be.

use std::time::{Duration, Instant};

use serde_json::json;
use taskwire::auth::{NewToken, Role, make_token};
use taskwire::clock::Clock;
use taskwire::config::{AuthConfig, Config, KeyConfig, SocketConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::api_server::{ApiServer, token};
use super::auth::keys::SECRET;
use super::stream_body::{Body, EVENTS, server_with};
use super::support::eventually;

#[tokio::test]
async fn with_the_server_a_stream_ends_properly_but_does_not_complete() {
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let start = json!({ "user": "u", "fromStart": true });
    let mut events = Body::post(&server, "text/event-stream", EVENTS, start.clone()).await;
    events.until("\n\n").await;
    events.until("\n\n").await;
    let mut multipart = Body::post(&server, "multipart/mixed;subscriptionSpec=1.0", EVENTS, start).await;
    multipart.until("\r\n--graphql").await;
    multipart.until("\r\n--graphql").await;
    let ApiServer { app, database: _database, .. } = server;
    let begin = Instant::now();
    let ((), (events, is_proper), (multipart, is_also)) = tokio::join!(app.stop(), events.rest(), multipart.rest());
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert!(is_proper && is_also, "broken off");
    // Nothing says "complete": the clients come back, and not in one instant.
    assert!(events.starts_with("retry: ") && events.lines().count() == 2, "{events}");
    assert_eq!(multipart, "");
}

#[tokio::test]
async fn an_error_in_the_last_event_does_not_make_the_servers_end_a_completion() {
    use sqlx::Executor as _;
    let server = ApiServer::start().await;
    server.save("u", "t", 1, "RUNNING", json!({ "stepResult": { "result": 1 } })).await;
    let poison = "UPDATE task_record SET result = jsonb_set(result::jsonb, '{result}', '1e400')";
    server.database.session().await.execute(poison).await.unwrap();
    let query = EVENTS.replace("message", "result");
    let start = json!({ "user": "u", "fromStart": true });
    let mut events = Body::post(&server, "text/event-stream", &query, start.clone()).await;
    events.until("\"errors\"").await;
    events.until("\n\n").await;
    let mut multipart = Body::post(&server, "multipart/mixed;subscriptionSpec=1.0", &query, start).await;
    multipart.until("\"errors\"").await;
    multipart.until("\r\n--graphql").await;
    let (app, _database) = server.into_parts();
    let ((), (events, _), (multipart, _)) = tokio::join!(app.stop(), events.rest(), multipart.rest());
    // A client that was told "complete" would not come back, though there may be more.
    assert!(events.starts_with("retry: ") && !events.contains("complete"), "{events}");
    assert_eq!(multipart, "");
}

/// As large as messages come, so that a connection's buffers are soon full.
const LARGE: usize = 16 * 1024;

/// Begins a stream and does not read it.
async fn unread(server: &ApiServer, query: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut socket = socket.connect(server.address).await.unwrap();
    let body = json!({ "query": query, "variables": { "user": "u", "fromStart": true } }).to_string();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        server.address,
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

/// Saves so many records of so many bytes, in batches.
async fn save(server: &ApiServer, count: i32, bytes: usize) {
    let query = "mutation($input: SaveTaskHistoryBatchInput!) { saveTaskHistoryBatch(input: $input) { savedCount } }";
    let message = json!({ "stepResult": { "message": "x".repeat(bytes) } });
    for first in (0..count).step_by(100) {
        let records: Vec<_> = (first..count.min(first + 100))
            .map(|step| super::api_server::report("u", "t", step, "RUNNING", message.clone()))
            .collect();
        server.data(query, json!({ "input": { "records": records } })).await;
    }
}

#[tokio::test]
async fn who_stops_reading_gets_everything_later_and_holds_up_no_more_than_a_buffer() {
    let server = ApiServer::start().await;
    save(&server, 2_000, LARGE).await;
    let mut socket = unread(&server, EVENTS).await;
    let metrics = server.app.telemetry();
    eventually("the stream stalls", async || (metrics.blocked_connections.get() == 1).then_some(())).await;
    let stalled = metrics.events_delivered.get();
    // What the connection and the system hold between them: megabytes at the most, of 32.
    assert!(stalled < 1_000, "{stalled} events were taken for a client that does not read");
    let mut text = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    let last = format!("\"position\":{}", 2_000);
    while !text.windows(last.len()).rev().take(40_000).any(|window| window == last.as_bytes()) {
        let read = tokio::time::timeout(Duration::from_secs(10), socket.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0, "the end");
        text.extend_from_slice(&buffer[..read]);
    }
    let text = String::from_utf8(text).unwrap();
    let positions: Vec<i64> = text
        .split("\"position\":")
        .skip(1)
        .map(|rest| rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap()].parse().unwrap())
        .collect();
    assert_eq!(positions, (1..=2_000).collect::<Vec<_>>());
    assert_eq!(metrics.blocked_connections.get(), 0);
}

#[tokio::test]
async fn who_stops_reading_keeps_no_connection_to_the_database() {
    let server = ApiServer::start().await;
    // Two are more than a piece, so that the read of the second one has begun when the first is on its way.
    save(&server, 500, LARGE / 8 * 5).await;
    // More than the pool has connections, each with a read for every event; with a directive an event is no one else's.
    let query = EVENTS.replace("record {", "task { steps(first: 20) { nodes { step } } } record {");
    let query = query.replace("$fromStart) {", "$fromStart) @include(if: true) {");
    let mut sockets = Vec::new();
    for _ in 0..12 {
        sockets.push(unread(&server, &query).await);
    }
    let blocked = &server.app.telemetry().blocked_connections;
    eventually("the streams stall", async || (blocked.get() == 12).then_some(())).await;
    let read = server.data("{ task(userId: \"u\", taskId: \"t\") { steps(first: 1) { nodes { step } } } }", json!({}));
    let read = tokio::time::timeout(Duration::from_secs(10), read).await.expect("a connection for somebody else");
    assert_eq!(read["task"]["steps"]["nodes"][0]["step"], 0);
    assert_eq!(blocked.get(), 12);
}

#[tokio::test]
async fn who_does_not_read_for_long_is_broken_off() {
    let server = server_with(Duration::from_secs(12), Duration::from_millis(500)).await;
    save(&server, 1_000, LARGE).await;
    let mut socket = unread(&server, EVENTS).await;
    let metrics = server.app.telemetry();
    eventually("it is broken off", async || (metrics.slow_readers.get() == 1).then_some(())).await;
    eventually("nothing is left of it", async || (metrics.streams.get() == 0).then_some(())).await;
    // What was on its way is still there; it does not end like a body that is whole.
    let mut text = Vec::new();
    let _ = socket.read_to_end(&mut text).await;
    let text = String::from_utf8_lossy(&text);
    assert!(!text.contains("event: complete") && !text.ends_with("0\r\n\r\n"));
}

/// Where everybody signs in and a token is not taken a moment longer than it says; and a token of two seconds.
async fn server_and_short_token() -> (ApiServer, String) {
    let key = KeyConfig::Secret(SECRET.into());
    let auth = AuthConfig { key, leeway: Duration::ZERO, ..AuthConfig::default() };
    let token = NewToken { sub: "u".into(), role: Role::User, ttl: Duration::from_secs(2) };
    let token = make_token(&auth, &token, &Clock::system()).unwrap();
    (ApiServer::with_config(Config { auth, ..Config::default() }).await, token)
}

#[tokio::test]
async fn with_its_token_a_stream_ends() {
    let (server, token) = server_and_short_token().await;
    let url = reqwest::Url::parse_with_params(&server.url(), [("query", EVENTS), ("access_token", &token)]).unwrap();
    let events = Body::of(server.client.get(url), "text/event-stream");
    let body = json!({ "query": EVENTS });
    let multipart = server.client.post(server.url()).json(&body).bearer_auth(&token);
    let multipart = Body::of(multipart, "multipart/mixed;subscriptionSpec=1.0");
    let (events, multipart) = tokio::join!(async { events.await.rest().await }, async { multipart.await.rest().await });
    let (errors, end) = events.0.split_once("event: next\ndata: ").unwrap().1.split_once("\n\n").unwrap();
    let errors: serde_json::Value = serde_json::from_str(errors).unwrap();
    assert_eq!(errors["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    assert_eq!((end, events.1), ("event: complete\ndata: \n\n", true));
    let (part, end) = multipart.0.split_once("\r\n\r\n").unwrap().1.split_once("\r\n--graphql").unwrap();
    let part: serde_json::Value = serde_json::from_str(part).unwrap();
    assert_eq!((&part["payload"], &part["errors"]), (&serde_json::Value::Null, &errors["errors"]));
    assert_eq!((end, multipart.1), ("--\r\n", true));

    let url = reqwest::Url::parse_with_params(&server.url(), [("query", EVENTS), ("access_token", &token)]).unwrap();
    let again = server.client.get(url).header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(again.status(), 401);
}

#[tokio::test]
async fn who_is_disconnected_is_told_so() {
    let server = ApiServer::with_key().await;
    let open = async |accept: &str| {
        let body = json!({ "query": EVENTS });
        let request = server.client.post(server.url()).json(&body).bearer_auth(token("anna", Role::User));
        Body::of(request, accept).await
    };
    let (events, multipart) = (open("text/event-stream").await, open("multipart/mixed;subscriptionSpec=1.0").await);
    let query = r#"mutation { disconnectUser(input: { userId: "anna" }) { __typename } }"#;
    let request = server.client.post(server.url()).json(&json!({ "query": query }));
    let answer = request.bearer_auth(token("root", Role::Admin)).send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("__typename"), "{answer}");
    for (text, end) in [(events.rest().await, "data: \n\n"), (multipart.rest().await, "\r\n--graphql--\r\n")] {
        assert!(text.1 && text.0.contains("UNAUTHENTICATED") && text.0.ends_with(end), "{text:?}");
    }
}

#[tokio::test]
async fn streams_count_as_connections() {
    let socket = SocketConfig { connections_per_address: 2, connections: 3, ..SocketConfig::default() };
    let server = ApiServer::with_config(Config { socket, ..Config::default() }).await;
    let variables = json!({ "user": "u" });
    let first = Body::post(&server, "text/event-stream", EVENTS, variables.clone()).await;
    let second = Body::post(&server, "multipart/mixed;subscriptionSpec=1.0", EVENTS, variables.clone()).await;
    let metrics = server.app.telemetry();
    assert_eq!((metrics.streams.get(), metrics.connections.get()), (2, 2));
    let third = async |accept: &str| {
        let body = json!({ "query": EVENTS, "variables": variables });
        server.client.post(server.url()).json(&body).header("accept", accept).send().await.unwrap()
    };
    for accept in ["text/event-stream", "multipart/mixed;subscriptionSpec=1.0"] {
        let refused = third(accept).await;
        assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"5".parse().unwrap()));
        let id = refused.headers()["x-request-id"].to_str().unwrap().to_owned();
        let answer: serde_json::Value = refused.json().await.unwrap();
        let extensions = json!({ "requestId": id, "code": "LIMIT_EXCEEDED", "limit": "connectionsPerAddress", "max": 2, "value": 3 });
        assert_eq!(answer["errors"][0]["extensions"], extensions);
    }
    drop((first, second));
    eventually("their places are free", async || (metrics.connections.get() == 0).then_some(())).await;
    assert_eq!(third("text/event-stream").await.status(), 200);
}
