//! The limits of sockets, each just under and just over.

use serde_json::{Value, json};
use taskwire::auth::Role;
use taskwire::config::SocketConfig;
use tokio_tungstenite::tungstenite::Message;

use super::api_server::token;
use super::socket_client::{Client, EVENTS, Got, TRANSPORT, guarded_server, server};
use super::support::eventually;

#[tokio::test]
async fn an_operation_too_many_is_refused_and_the_others_go_on() {
    let server = server(SocketConfig { operations: 2, ..SocketConfig::default() }).await;
    let mut client = Client::ready(&server).await;
    for id in ["1", "2", "3"] {
        // From the start: the save may come before they stand.
        client.subscribe(id, EVENTS, json!({ "user": "u", "fromStart": true })).await;
    }
    let error = client.message().await;
    assert_eq!((&error["id"], &error["type"]), (&json!("3"), &json!("error")));
    let id = &client.request_id;
    let extensions = json!({ "code": "LIMIT_EXCEEDED", "limit": "operations", "max": 2, "value": 3, "requestId": id });
    assert_eq!(error["payload"][0]["extensions"], extensions);
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let ids = [client.message().await["id"].clone(), client.message().await["id"].clone()];
    assert!(ids.contains(&json!("1")) && ids.contains(&json!("2")), "{ids:?}");
    client.send(json!({ "id": "1", "type": "complete" })).await;
    client.is_served().await;
}

#[tokio::test]
async fn the_messages_of_all_operations_have_one_limit_together() {
    let server = server(SocketConfig { message_bytes: 4096, ..SocketConfig::default() }).await;
    let mut client = Client::ready(&server).await;
    let query = format!("{EVENTS} #{}", "x".repeat(3000));
    client.subscribe("1", &query, json!({ "user": "u" })).await;
    client.subscribe("2", &query, json!({ "user": "u" })).await;
    client.subscribe("3", &query, json!({ "user": "u" })).await;
    let error = client.message().await;
    assert_eq!((&error["id"], &error["payload"][0]["extensions"]["limit"]), (&json!("3"), &json!("operationBytes")));
    client.send(json!({ "id": "1", "type": "complete" })).await;
    client.is_served().await;
}

#[tokio::test]
async fn a_message_too_large_is_not_even_read() {
    let socket = SocketConfig::default();
    let most = socket.message_bytes;
    let server = server(socket).await;
    let message = |bytes: usize| {
        let empty = json!({ "type": "ping", "payload": { "x": "" } }).to_string().len();
        json!({ "type": "ping", "payload": { "x": "x".repeat(bytes - empty) } }).to_string()
    };
    let mut client = Client::ready(&server).await;
    client.raw(Message::text(message(most))).await;
    assert_eq!(client.message().await, json!({ "type": "pong" }));
    client.raw(Message::text(message(most + 1))).await;
    assert!(matches!(client.next().await, Got::Closed(Some(1009), _)));

    // Whoever comes may knock, and gets no room for more than a token.
    let mut client = Client::open(&server, TRANSPORT).await;
    client.raw(Message::text(message(SocketConfig::FIRST_MESSAGE_BYTES))).await;
    assert_eq!(client.message().await, json!({ "type": "pong" }));
    client.raw(Message::text(message(SocketConfig::FIRST_MESSAGE_BYTES + 1))).await;
    assert!(matches!(client.next().await, Got::Closed(Some(1009), _)));
}

#[tokio::test]
async fn connections_are_counted_in_all_and_per_address() {
    for socket in [
        SocketConfig { connections: 2, ..SocketConfig::default() },
        SocketConfig { connections_per_address: 2, ..SocketConfig::default() },
    ] {
        let server = server(socket).await;
        let mut given = [Client::ready(&server).await, Client::ready(&server).await];
        let mut refused = Client::open(&server, TRANSPORT).await;
        let Got::Closed(Some(1013), reason) = refused.next().await else { panic!("it was not refused") };
        assert!(reason.contains("2 open connections"), "{reason}");
        for client in &mut given {
            client.is_served().await;
        }
        drop(given);
        eventually("there is room again", async || {
            let mut client = Client::open(&server, TRANSPORT).await;
            client.stream.close(None).await.ok()?;
            matches!(client.next().await, Got::Closed(None | Some(1005), _)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn connections_are_counted_per_user_who_has_signed_in() {
    let socket = SocketConfig { connections_per_user: 1, ..SocketConfig::default() };
    let server = guarded_server(socket).await;
    let init = |sub: &str| -> Value { json!({ "Authorization": token(sub, Role::User) }) };
    let mut anna = Client::init(&server, TRANSPORT, init("anna")).await;
    let _ben = Client::init(&server, TRANSPORT, init("ben")).await;
    let mut refused = Client::open(&server, TRANSPORT).await;
    refused.send(json!({ "type": "connection_init", "payload": init("anna") })).await;
    let Got::Closed(Some(1013), reason) = refused.next().await else { panic!("it was not refused") };
    assert!(reason.contains("connectionsPerUser"), "{reason}");
    anna.is_served().await;
}
