//! `disconnectUser`: every server closes what the user has open, soon, once, and opens nothing more for old tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sqlx::Executor as _;
use taskwire::app::App;
use taskwire::auth::{Role, Viewer};
use taskwire::config::DatabaseSource;
use taskwire::service::Service;
use taskwire::telemetry::Telemetry;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::api_server::{ApiServer, token};
use super::feed::{NO_CHECK, Server};
use super::support::{TestDatabase, eventually};

/// Counts what it is told to close, of Anna; of others there is nothing.
fn sockets(server: &Server, open: usize) -> (Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (open, calls) = (Arc::new(AtomicUsize::new(open)), Arc::new(AtomicUsize::new(0)));
    let (closing, counting) = (Arc::clone(&open), Arc::clone(&calls));
    server.service.close_by(Box::new(move |user| {
        counting.fetch_add(1, Ordering::SeqCst);
        if user == "anna's \"%_\\" { closing.swap(0, Ordering::SeqCst) } else { 0 }
    }));
    (open, calls)
}

const ANNA: &str = "anna's \"%_\\";

async fn disconnect(service: &Service) -> usize {
    service.disconnect_user(&Viewer::admin(), ANNA.to_owned()).await.unwrap()
}

#[tokio::test]
async fn every_server_closes_within_a_second_and_the_one_asked_counts() {
    let test = TestDatabase::new().await;
    let (here, there) = (Server::start(&test.url, NO_CHECK).await, Server::start(&test.url, NO_CHECK).await);
    let ((open_here, calls_here), (opened_there, _)) = (sockets(&here, 3), sockets(&there, 2));
    let begin = Instant::now();
    assert_eq!(disconnect(&here.service).await, 3);
    let gone = async || (opened_there.load(Ordering::SeqCst) == 0).then_some(());
    eventually("the other server closes", gone).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    // Its own notification comes to the server, too: what has been opened since stays open.
    open_here.store(1, Ordering::SeqCst);
    assert_eq!(disconnect(&there.service).await, 0);
    eventually("the second time", async || (open_here.load(Ordering::SeqCst) == 0).then_some(())).await;
    assert_eq!(calls_here.load(Ordering::SeqCst), 2, "once for each time that it was asked for");
}

#[tokio::test]
async fn a_lost_notification_is_made_up_for_by_the_check() {
    let test = TestDatabase::new().await;
    let server = Server::start(&test.url, Duration::from_millis(200)).await;
    let (open, _) = sockets(&server, 1);
    let insert = "INSERT INTO user_control VALUES ($1, clock_timestamp())";
    sqlx::query(insert).bind(ANNA).execute(&mut test.session().await).await.unwrap();
    eventually("the check finds it", async || (open.load(Ordering::SeqCst) == 0).then_some(())).await;
}

#[tokio::test]
async fn anybodys_notification_closes_nothing() {
    let test = TestDatabase::new().await;
    let server = Server::start(&test.url, NO_CHECK).await;
    let (open, calls) = sockets(&server, 1);
    let mut session = test.session().await;
    for payload in [r#"["anna's"]"#, "garbage", ""] {
        sqlx::query("SELECT pg_notify('taskwire_control', $1)").bind(payload).execute(&mut session).await.unwrap();
    }
    session.execute("SELECT pg_notify('taskwire_feed', 'garbage')").await.unwrap();
    // What comes behind them has been seen: so have they.
    assert_eq!(server.service.disconnect_user(&Viewer::admin(), "ben".into()).await.unwrap(), 0);
    assert_eq!((open.load(Ordering::SeqCst), calls.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn a_token_from_before_opens_nothing_more() {
    let test = TestDatabase::new().await;
    let server = Server::start(&test.url, NO_CHECK).await;
    let admit = async |issued_at: Option<DateTime<Utc>>| {
        server.service.admits(&Viewer::user(ANNA).since(issued_at)).await.unwrap()
    };
    let now = Utc::now();
    assert!(admit(Some(now)).await, "nobody was disconnected yet");
    disconnect(&server.service).await;
    let told = |issued_at| server.service.is_disconnected(&Viewer::user(ANNA).since(issued_at));
    assert!(told(Some(now)) && !told(Some(now + TimeDelta::minutes(1))) && !told(None));
    assert!(!admit(Some(now)).await, "an old token");
    assert!(admit(Some(now + TimeDelta::minutes(1))).await, "signed in again");
    assert!(admit(None).await, "a token that does not say when it was issued");
    assert!(server.service.admits(&Viewer::user("ben").since(Some(now))).await.unwrap());
    assert!(server.service.admits(&Viewer::admin()).await.unwrap());
}

#[tokio::test]
async fn users_and_workers_disconnect_nobody_and_the_id_is_looked_at() {
    let test = TestDatabase::new().await;
    let server = Server::start(&test.url, NO_CHECK).await;
    let (open, _) = sockets(&server, 1);
    for viewer in [Viewer::user(ANNA), Viewer::worker("w")] {
        let refused = server.service.disconnect_user(&viewer, ANNA.into()).await.unwrap_err();
        assert_eq!(refused.code(), "FORBIDDEN");
    }
    for wrong in [String::new(), "a\0b".into(), "x".repeat(256)] {
        let refused = server.service.disconnect_user(&Viewer::admin(), wrong).await.unwrap_err();
        assert_eq!((refused.code(), refused.field()), ("BAD_USER_INPUT", Some("input.userId")));
    }
    assert_eq!(open.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_socket_and_a_stream_of_the_user_are_closed_and_not_opened_again() {
    let server = ApiServer::with_key().await;
    let anna = token("anna", Role::User);
    let ben = token("ben", Role::User);
    let events = "subscription { taskEvents(fromStart: true) { isReplay } }";
    let stream = async |token: &str| {
        let request = server.client.post(server.url()).bearer_auth(token).header("accept", "text/event-stream");
        request.json(&json!({ "query": events })).send().await.unwrap()
    };
    let mut hers = server.open_socket().await;
    hers.send(json!({ "type": "connection_init", "payload": { "token": anna } })).await;
    assert_eq!(hers.next().await["type"], "connection_ack");
    let mut his = server.open_socket().await;
    his.send(json!({ "type": "connection_init", "payload": { "token": ben } })).await;
    assert_eq!(his.next().await["type"], "connection_ack");
    let open = stream(&anna).await;
    assert_eq!(open.status(), 200);
    let query = r#"mutation { disconnectUser(input: { userId: "anna" }) { closedConnections } }"#;
    let asked = server.client.post(server.url()).bearer_auth(token("root", Role::Admin));
    let answer: Value = asked.json(&json!({ "query": query })).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer, json!({ "data": { "disconnectUser": { "closedConnections": 2 } } }));
    assert_eq!(hers.close_code().await, 4403);
    let end = tokio::time::timeout(Duration::from_secs(5), open.bytes()).await;
    assert!(end.is_ok(), "the stream ends");
    his.subscribe("1", "{ viewer { userId } }", json!({})).await;
    assert_eq!(his.event("1").await["viewer"]["userId"], "ben");
    let mut again = server.open_socket().await;
    again.send(json!({ "type": "connection_init", "payload": { "token": anna } })).await;
    assert_eq!(again.close_code().await, 4403);
    assert_eq!(stream(&anna).await.status(), 401);
    let query = server.client.post(server.url()).bearer_auth(&anna).json(&json!({ "query": "{ viewer { userId } }" }));
    assert_eq!(query.send().await.unwrap().status(), 200, "HTTP goes on until the token runs out: docs/security.md");
}

#[tokio::test]
async fn the_sockets_of_another_server_are_closed_too() {
    let server = ApiServer::with_key().await;
    let mut config = ApiServer::key_config();
    config.database.url = DatabaseSource::Url { url: server.database.url.clone(), setting: "the test".into() };
    config.database.min_connections = 1;
    config.http.listen.set_port(0);
    let other = App::start(config, Telemetry::new()).await.unwrap();
    let mut request = format!("ws://{}/graphql", other.address()).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let init = json!({ "type": "connection_init", "payload": { "token": token("anna", Role::User) } });
    socket.send(Message::text(init.to_string())).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().to_text().unwrap().contains("connection_ack"));

    let query = r#"mutation { disconnectUser(input: { userId: "anna" }) { closedConnections } }"#;
    let asked = server.client.post(server.url()).bearer_auth(token("root", Role::Admin));
    let answer: Value = asked.json(&json!({ "query": query })).send().await.unwrap().json().await.unwrap();
    // It counts its own, and hers is not here.
    assert_eq!(answer, json!({ "data": { "disconnectUser": { "closedConnections": 0 } } }));
    let closed = tokio::time::timeout(Duration::from_secs(5), socket.next()).await.expect("hers stays open");
    let Message::Close(Some(frame)) = closed.unwrap().unwrap() else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 4403);
    other.stop().await;
}
