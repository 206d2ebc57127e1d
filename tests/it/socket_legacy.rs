//! The older sub-protocol, that of `subscriptions-transport-ws`.

use std::time::Duration;

use serde_json::{Value, json};
use taskwire::auth::Role;
use taskwire::config::SocketConfig;
use tokio::io::AsyncReadExt as _;

use super::api_server::{ApiServer, token};
use super::socket_client::{Client, EVENTS, Got, LEGACY, guarded_server, server};

async fn start(client: &mut Client, id: &str, query: &str, variables: Value) {
    client.send(json!({ "id": id, "type": "start", "payload": { "query": query, "variables": variables } })).await;
}

async fn ready(server: &ApiServer) -> Client {
    let mut client = Client::init(server, LEGACY, json!({})).await;
    assert_eq!(client.message().await, json!({ "type": "ka" }));
    client
}

#[tokio::test]
async fn operations_start_bring_data_and_complete_or_are_stopped() {
    let server = ApiServer::start().await;
    let mut client = ready(&server).await;
    start(&mut client, "1", EVENTS, json!({ "user": "u" })).await;
    start(&mut client, "2", "{ __typename }", json!({})).await;
    let data = json!({ "id": "2", "type": "data", "payload": { "data": { "__typename": "Query" } } });
    assert_eq!(client.message().await, data);
    assert_eq!(client.message().await, json!({ "id": "2", "type": "complete" }));
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    let event = client.message().await;
    assert_eq!((&event["id"], &event["type"]), (&json!("1"), &json!("data")));
    assert_eq!(event["payload"]["data"]["taskEvents"]["record"]["position"], 1);
    // An id that is started again takes the place of what was there.
    start(&mut client, "1", EVENTS, json!({ "user": "v", "fromStart": true })).await;
    server.save("u", "t", 2, "RUNNING", json!({})).await;
    server.save("v", "t", 1, "RUNNING", json!({ "stepResult": { "message": "v's" } })).await;
    assert_eq!(client.message().await["payload"]["data"]["taskEvents"]["record"]["message"], "v's");
    client.send(json!({ "id": "1", "type": "stop" })).await;
    server.save("v", "t", 2, "RUNNING", json!({})).await;
    start(&mut client, "3", "{ nothing }", json!({})).await;
    let error = client.message().await;
    assert_eq!((&error["id"], &error["type"]), (&json!("3"), &json!("error")));
    assert_eq!(error["payload"]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED");
    client.send(json!({ "type": "connection_terminate" })).await;
    assert_eq!(client.close_code().await, 1000);
}

#[tokio::test]
async fn the_client_is_kept_alive_and_its_silence_noticed() {
    let time = Duration::from_millis(200);
    let server = server(SocketConfig { ping_interval: time, pong_time: time, ..SocketConfig::default() }).await;
    // This client answers WebSocket's own pings as browsers do, by itself, while it reads.
    let mut client = ready(&server).await;
    for _ in 0..5 {
        assert_eq!(client.message().await, json!({ "type": "ka" }));
    }
    // One that does not answer them: it is not read by the library here, but byte by byte.
    let mut silent = ready(&server).await;
    let mut close = vec![0x88, 0];
    close.extend(4499_u16.to_be_bytes());
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|frame| frame[0] == close[0] && frame[2..] == close[2..]) {
        let more = tokio::time::timeout(Duration::from_secs(20), silent.stream.get_mut().read_u8()).await;
        bytes.push(more.expect("it is closed in time").expect("a close before the end"));
    }
}

#[tokio::test]
async fn nobody_is_let_in_without_a_good_token() {
    let server = guarded_server(SocketConfig::default()).await;
    let mut client = Client::open(&server, LEGACY).await;
    client.send(json!({ "type": "connection_init", "payload": { "Authorization": "Bearer x" } })).await;
    let refusal = client.message().await;
    assert_eq!(refusal["type"], "connection_error");
    assert!(refusal["payload"]["message"].is_string());
    assert_eq!(client.close_code().await, 4403);

    // Its client starts operations before it hears that it is let in.
    let mut client = Client::open(&server, LEGACY).await;
    client.send(json!({ "type": "connection_init", "payload": { "Authorization": token("anna", Role::User) } })).await;
    start(&mut client, "1", "{ viewer { userId } }", json!({})).await;
    assert_eq!(client.message().await, json!({ "type": "connection_ack" }));
    assert_eq!(client.message().await, json!({ "type": "ka" }));
    assert_eq!(client.message().await["payload"]["data"]["viewer"]["userId"], "anna");

    let mut client = Client::open(&server, LEGACY).await;
    start(&mut client, "1", "{ viewer { userId } }", json!({})).await;
    assert_eq!(client.next().await, Got::Closed(Some(4401), "Unauthorized".into()));
}
