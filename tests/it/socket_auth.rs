//! Who a socket belongs to: the token of `connection_init`, its end, its renewal, and the end of all of a user's sockets.

use std::time::Duration;

use futures_util::SinkExt as _;
use serde_json::{Value, json};
use taskwire::auth::Role;
use taskwire::config::{Config, DatabaseSource, SocketConfig};
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::api_server::{ApiServer, token, token_for};
use super::feed::insert;
use super::feed::wakeups::Proxy;
use super::socket_client::{Client, EVENTS, Got, TRANSPORT, guarded_server};
use super::support::TestDatabase;

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
async fn of_many_renewals_in_a_row_all_are_answered() {
    // More than a socket keeps waiting for one look at a token.
    const MANY: usize = 100;
    let server = guarded_server(SocketConfig::default()).await;
    let init = json!({ "Authorization": token("anna", Role::User) });
    let mut client = Client::init(&server, TRANSPORT, init.clone()).await;
    let ping = Message::text(json!({ "type": "ping", "payload": init }).to_string());
    for _ in 0..MANY {
        client.stream.feed(ping.clone()).await.unwrap();
    }
    client.stream.flush().await.unwrap();
    for _ in 0..MANY {
        assert_eq!(client.message().await, json!({ "type": "pong" }));
    }
    client.is_served().await;
}

#[tokio::test]
async fn while_the_database_is_away_nobody_new_is_let_in_and_nobody_thrown_out() {
    let database = TestDatabase::new().await;
    let proxy = Proxy::start(&database).await;
    // Less than what the look at the database may take: who has said `connection_init` in time has done so.
    let socket = SocketConfig { init_time: Duration::from_millis(500), ..SocketConfig::default() };
    let server = ApiServer::configured(|own| {
        *own = Config { socket, database: own.database.clone(), http: own.http.clone(), ..ApiServer::key_config() };
        own.database.url = DatabaseSource::Url { url: proxy.url.clone(), setting: "the test".into() };
    })
    .await;
    let init = json!({ "Authorization": token("anna", Role::User) });
    let ping = json!({ "type": "ping", "payload": init });
    let mut client = Client::init(&server, TRANSPORT, init.clone()).await;
    client.subscribe("1", EVENTS, json!({ "fromStart": true })).await;
    // It stands when something has come.
    insert(&mut database.session().await, "anna", "s").await;
    assert_eq!(client.message().await["payload"]["data"]["taskEvents"]["record"]["position"], 1);
    let proxy = proxy.stop();
    client.send(ping.clone()).await;
    let mut new = Client::open(&server, TRANSPORT).await;
    new.send(json!({ "type": "connection_init", "payload": init })).await;
    assert!(matches!(new.next().await, Got::Closed(Some(1013), reason) if reason.contains("database")));
    let _proxy = proxy.start_again();
    // A renewal that comes to nothing has no pong, so the client says it again; the subscription goes on.
    loop {
        client.send(ping.clone()).await;
        if let Ok(message) = timeout(Duration::from_secs(1), client.message()).await {
            assert_eq!(message, json!({ "type": "pong" }));
            break;
        }
    }
    insert(&mut database.session().await, "anna", "t").await;
    let event = loop {
        let message = client.message().await;
        if message != json!({ "type": "pong" }) {
            break message;
        }
    };
    assert_eq!(event["payload"]["data"]["taskEvents"]["record"]["position"], 2, "{event}");
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
