//! Sockets under pressure: clients that do not read. (Those that mean harm are in `socket_hostile`.)

use std::time::Duration;

use serde_json::json;
use taskwire::config::SocketConfig;
use tokio::time::timeout;

use super::api_server::ApiServer;
use super::socket_client::{Client, EVENTS, Got, TRANSPORT, server};
use super::socket_protocol::fill;
use super::support::eventually;

const RECORDS: usize = 2_000;

/// An event of this is about 100 KB: more of them than any buffer of the system holds.
fn fat_events() -> String {
    let fat: String =
        ["m0: message ", "m1: message ", "m2: message ", "m3: message ", "m4: message ", "m5: message "].concat();
    EVENTS.replace("position message", &format!("position {fat}"))
}

/// Waits until so many clients do not take what they are sent.
async fn blocked(server: &ApiServer, many: i64) {
    let blocked = &server.app.telemetry().blocked_connections;
    eventually("a client is behind", async || (blocked.get() == many).then_some(())).await;
}

fn position(message: &serde_json::Value) -> i64 {
    message["payload"]["data"]["taskEvents"]["record"]["position"].as_i64().unwrap_or_else(|| panic!("{message}"))
}

#[tokio::test]
async fn who_does_not_read_costs_little_and_then_gets_everything_on_the_same_socket() {
    let server = ApiServer::start().await;
    fill(&server, "u", RECORDS, &"x".repeat(16_000)).await;
    let mut slow = Client::small(&server, TRANSPORT).await;
    slow.say_init(json!({})).await;
    slow.subscribe("1", &fat_events(), json!({ "user": "u", "fromStart": true })).await;
    blocked(&server, 1).await;
    let mut other = Client::ready(&server).await;
    other.is_served().await;
    let taken = server.app.telemetry().events_delivered.get();
    assert!(taken < 200, "{taken} events of 96 KB were taken for a client that does not read");
    assert_eq!(server.app.telemetry().blocked_connections.get(), 1);
    for wanted in 1..=i64::try_from(RECORDS).unwrap() {
        assert_eq!(position(&slow.message().await), wanted);
    }
    slow.is_served().await;
    blocked(&server, 0).await;
}

#[tokio::test]
async fn who_does_not_read_keeps_no_connection_to_the_database() {
    let server = ApiServer::start().await;
    fill(&server, "u", 300, &"x".repeat(16_000)).await;
    let mut slow = Client::small(&server, TRANSPORT).await;
    slow.say_init(json!({})).await;
    // Many more than the pool has connections, each with a read for every event; with a directive an event is no one else's.
    let query = fat_events().replace("record {", "task { steps(first: 20) { nodes { step } } } record {");
    let query = query.replace("$fromStart) {", "$fromStart) @include(if: true) {");
    for id in 0..30 {
        slow.subscribe(&id.to_string(), &query, json!({ "user": "u", "fromStart": true })).await;
    }
    blocked(&server, 1).await;
    let read = server.data("{ task(userId: \"u\", taskId: \"t\") { steps(first: 1) { nodes { step } } } }", json!({}));
    let read = timeout(Duration::from_secs(10), read).await.expect("a connection for somebody else");
    assert_eq!(read["task"]["steps"]["nodes"][0]["step"], 1);
    assert_eq!(server.app.telemetry().blocked_connections.get(), 1);
}

#[tokio::test]
async fn of_an_operation_that_the_client_has_ended_nothing_is_said_even_what_waited() {
    let server = ApiServer::start().await;
    fill(&server, "u", 500, &"x".repeat(16_000)).await;
    server.save("v", "t", 1, "RUNNING", json!({})).await;
    let mut slow = Client::small(&server, TRANSPORT).await;
    slow.say_init(json!({})).await;
    slow.subscribe("1", &fat_events(), json!({ "user": "u", "fromStart": true })).await;
    blocked(&server, 1).await;
    // Refused, which waits behind all that is not read; ended; and its id begun again.
    let nobodys = json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": "0".repeat(64) } } });
    slow.send(json!({ "id": "2", "type": "subscribe", "payload": nobodys })).await;
    for id in ["2", "1"] {
        slow.send(json!({ "id": id, "type": "complete" })).await;
    }
    slow.subscribe("2", EVENTS, json!({ "user": "v", "fromStart": true })).await;
    let begun = &server.app.telemetry().socket_operations;
    eventually("it has heard all that", async || (begun.get() == 2).then_some(())).await;
    loop {
        let message = slow.message().await;
        if message["id"] == "2" {
            assert_eq!((&message["type"], position(&message)), (&json!("next"), 1), "{message}");
            break;
        }
    }
    slow.is_served().await;
}

#[tokio::test]
async fn who_does_not_read_for_too_long_is_closed_with_1013_and_resumes() {
    let slow_reader_time = Duration::from_secs(1);
    // Pings rest meanwhile: they would end it sooner, with another code.
    let socket = SocketConfig {
        slow_reader_time,
        ping_interval: slow_reader_time / 5,
        pong_time: slow_reader_time / 5,
        ..SocketConfig::default()
    };
    let server = server(socket).await;
    fill(&server, "u", 300, &"x".repeat(16_000)).await;
    let mut slow = Client::small(&server, TRANSPORT).await;
    slow.say_init(json!({})).await;
    slow.subscribe("1", &fat_events(), json!({ "user": "u", "fromStart": true })).await;
    let closes = || server.app.telemetry().socket_closes.get_or_create(&[("code", 1013)]).get();
    eventually("it is closed", async || (closes() == 1).then_some(())).await;
    let (mut last, mut cursor) = (0, json!(null));
    let end = loop {
        match slow.next().await {
            Got::Message(message) if message["type"] == "ping" => {}
            Got::Message(message) => {
                last += 1;
                assert_eq!(position(&message), last);
                cursor = message["payload"]["data"]["taskEvents"]["feedCursor"].clone();
            }
            end => break end,
        }
    };
    assert!(matches!(end, Got::Closed(Some(1013), _)), "{end:?}");
    assert!((1..300).contains(&last), "it had got {last}");
    let mut again = Client::ready(&server).await;
    again.subscribe("1", EVENTS, json!({ "user": "u", "after": cursor })).await;
    while last < 300 {
        let message = again.message().await;
        if message["type"] == "ping" {
            again.send(json!({ "type": "pong" })).await;
            continue;
        }
        last += 1;
        assert_eq!(position(&message), last);
    }
}
