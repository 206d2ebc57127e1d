//! Who a socket belongs to: the token of `connection_init`, its end, its renewal, and the end of all of a user's sockets.

use std::time::Duration;

use serde_json::{Value, json};
use taskwire::auth::Role;
use taskwire::config::SocketConfig;
use tokio::net::TcpSocket;

use super::api_server::{ApiServer, token, token_for};
use super::socket_client::{Client, EVENTS, Got, TRANSPORT, guarded_server};

const ME: &str = "{ viewer { userId role } }";
/// A token says its end in whole seconds.
const SHORT: Duration = Duration::from_secs(2);

async fn refused(server: &ApiServer, payload: Value) -> u16 {
    let mut client = Client::open(server, TRANSPORT).await;
    client.send(json!({ "type": "connection_init", "payload": payload })).await;
    match client.next().await {
        Got::Closed(Some(code), reason) => {
            assert!(reason.starts_with("Forbidden"), "{reason}");
            code
        }
        other => panic!("{payload}: {other:?}"),
    }
}

#[tokio::test]
async fn a_token_is_taken_from_connection_init_or_from_the_handshake() {
    let server = guarded_server(SocketConfig::default()).await;
    let anna = token("anna", Role::User);
    for payload in [
        json!({ "Authorization": format!("Bearer {anna}") }),
        json!({ "authorization": format!("bearer {anna}") }),
        json!({ "authorization": anna }),
    ] {
        let mut client = Client::init(&server, TRANSPORT, payload).await;
        assert_eq!(client.ask("1", ME).await["data"]["viewer"], json!({ "userId": "anna", "role": "USER" }));
    }
    for payload in [json!(null), json!({}), json!({ "Authorization": "Bearer x" }), json!({ "Authorization": 1 })] {
        assert_eq!(refused(&server, payload).await, 4403);
    }
    let header = format!("Bearer {anna}");
    let mut client = Client::with(&server, TRANSPORT, Some(&header), TcpSocket::new_v4().unwrap()).await;
    client.say_init(json!({ "other": 1 })).await;
    assert_eq!(client.ask("1", ME).await["data"]["viewer"]["userId"], "anna");
}

#[tokio::test]
async fn a_socket_ends_with_its_token_unless_that_is_renewed() {
    let server = guarded_server(SocketConfig::default()).await;
    let short = json!({ "Authorization": token_for("anna", Role::User, SHORT) });
    let mut expires = Client::init(&server, TRANSPORT, short.clone()).await;
    let mut renewed = Client::init(&server, TRANSPORT, short).await;
    renewed.subscribe("1", EVENTS, json!({})).await;
    let ping =
        json!({ "type": "ping", "payload": { "Authorization": format!("Bearer {}", token("anna", Role::User)) } });
    renewed.send(ping).await;
    assert_eq!(renewed.message().await, json!({ "type": "pong" }));
    expires.subscribe("1", EVENTS, json!({})).await;
    assert_eq!(expires.next().await, Got::Closed(Some(4403), "Forbidden: the token has expired".into()));
    renewed.is_served().await;
}

#[tokio::test]
async fn a_socket_is_not_handed_on_by_somebody_elses_token() {
    let server = guarded_server(SocketConfig::default()).await;
    for (sub, role) in [("ben", Role::User), ("anna", Role::Admin)] {
        let mut client = Client::init(&server, TRANSPORT, json!({ "Authorization": token("anna", Role::User) })).await;
        client.send(json!({ "type": "ping", "payload": { "Authorization": token(sub, role) } })).await;
        assert_eq!(client.close_code().await, 4403, "{sub} {role}");
    }
    let mut client = Client::init(&server, TRANSPORT, json!({ "Authorization": token("anna", Role::User) })).await;
    client.send(json!({ "type": "ping", "payload": { "Authorization": "Bearer nonsense" } })).await;
    assert_eq!(client.close_code().await, 4403);
}

#[tokio::test]
async fn all_sockets_of_a_user_are_closed_and_nobody_elses() {
    let server = guarded_server(SocketConfig::default()).await;
    let init = |sub: &str| json!({ "Authorization": token(sub, Role::User) });
    let mut annas =
        [Client::init(&server, TRANSPORT, init("anna")).await, Client::init(&server, TRANSPORT, init("anna")).await];
    let mut bens = Client::init(&server, TRANSPORT, init("ben")).await;
    assert_eq!(server.app.connections().disconnect("anna"), 2);
    for client in &mut annas {
        assert_eq!(client.next().await, Got::Closed(Some(4403), "Forbidden: the user was disconnected".into()));
    }
    bens.is_served().await;
}
