//! Sockets under pressure: clients that do not read, and clients that mean harm. Others do not notice.

use std::time::Duration;

use futures_util::SinkExt as _;
use serde_json::json;
use taskwire::config::SocketConfig;
use tokio_tungstenite::tungstenite::Message;

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

/// Waits until nothing more is delivered, and says how much was.
async fn delivered_at_rest(server: &ApiServer) -> u64 {
    let mut before = 0;
    eventually("nothing more is delivered", async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = server.app.telemetry().events_delivered.get();
        let is_same = now == std::mem::replace(&mut before, now) && now > 0;
        is_same.then_some(now)
    })
    .await
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
    let taken = delivered_at_rest(&server).await;
    assert!(taken < 200, "{taken} events of 96 KB were taken for a client that does not read");
    let mut other = Client::ready(&server).await;
    other.is_served().await;
    for wanted in 1..=i64::try_from(RECORDS).unwrap() {
        assert_eq!(position(&slow.message().await), wanted);
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

#[tokio::test]
async fn hostile_clients_leave_the_others_unharmed() {
    let server = ApiServer::start().await;
    let mut victim = Client::ready(&server).await;
    victim.subscribe("1", EVENTS, json!({ "user": "u" })).await;
    victim.is_served().await;

    let subscribe = |id: usize| {
        let payload = json!({ "query": EVENTS, "variables": { "user": "u" } });
        Message::text(json!({ "id": id.to_string(), "type": "subscribe", "payload": payload }).to_string())
    };
    let complete = |id: usize| Message::text(json!({ "id": id.to_string(), "type": "complete" }).to_string());
    // Many operations: all but the first hundred are refused. It reads nothing of that.
    let mut many = Client::small(&server, TRANSPORT).await;
    many.say_init(json!({})).await;
    let _ = tokio::time::timeout(Duration::from_secs(5), async {
        for id in 0..10_000 {
            many.stream.feed(subscribe(id)).await.ok()?;
        }
        many.stream.flush().await.ok()
    })
    .await;
    // Begun and ended, over and over.
    let mut restless = Client::ready(&server).await;
    for id in 0..1_000 {
        restless.stream.feed(subscribe(id)).await.unwrap();
        restless.stream.feed(complete(id)).await.unwrap();
    }
    restless.stream.flush().await.unwrap();
    restless.is_served().await;
    // Ten megabytes.
    let mut large = Client::ready(&server).await;
    let _ = large.stream.send(Message::text("x".repeat(10 << 20))).await;
    // The close, or what is left of it where the system has thrown it away with what nobody read.
    assert!(matches!(large.next().await, Got::Closed(Some(1009), _) | Got::Lost));
    // Half a message, then nothing.
    let mut half = Client::ready(&server).await;
    tokio::io::AsyncWriteExt::write_all(half.stream.get_mut(), &[0x81, 0xfe, 0x40]).await.unwrap();
    drop(half);

    server.save("u", "t", 1, "RUNNING", json!({})).await;
    assert_eq!(position(&victim.message().await), 1);
    victim.is_served().await;
    drop((many, restless, large));
    eventually("their seats are free again", async || (server.app.connections().len() == 1).then_some(())).await;
    eventually("their subscriptions are gone", async || {
        (server.app.telemetry().subscriptions.get() == 1).then_some(())
    })
    .await;
}
