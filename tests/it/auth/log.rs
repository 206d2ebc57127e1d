//! What the log holds, and what it never does.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::header::{ACCEPT, AUTHORIZATION};
use serde_json::json;
use taskwire::auth::Role;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::super::api_server::{token, token_for};
use super::super::support::TestDatabase;
use super::super::support::process::Logging;
use super::keys::SECRET;

const ME: &str = "{ viewer { userId } }";

/// The signature, as text and as the hexadecimal digits of its bytes: whoever has one of them has the token.
fn parts(token: &str) -> [String; 2] {
    let signature = token.rsplit('.').next().unwrap();
    let digits: Vec<String> = signature.bytes().take(12).map(|byte| format!("{byte:02x}")).collect();
    [signature.to_owned(), digits.concat()]
}

#[tokio::test]
async fn a_token_is_not_in_the_log_however_much_is_logged() {
    let database = TestDatabase::new().await;
    for filter in ["trace", "trace,tungstenite::protocol=trace,[request]=trace"] {
        let variables = [("TASKWIRE_JWT_SECRET", SECRET), ("TASKWIRE_LOG", filter)];
        let server = Logging::start(&database.url, &[], &variables).await;
        let [header, source, init] = ["header", "event-source", "socket"].map(|sub| token(sub, Role::User));
        let renewal = token_for("socket", Role::User, Duration::from_hours(2));

        let url = format!("http://{}/graphql", server.address);
        let client = reqwest::Client::new();
        let asked = client.post(&url).json(&json!({ "query": ME })).header(AUTHORIZATION, format!("Bearer {header}"));
        assert!(asked.send().await.unwrap().text().await.unwrap().contains(r#""userId":"header""#));
        let url = reqwest::Url::parse_with_params(&url, [("query", ME), ("access_token", &source)]).unwrap();
        let events = client.get(url).header(ACCEPT, "text/event-stream").send().await.unwrap();
        assert!(events.text().await.unwrap().contains(r#""userId":"event-source""#));

        let mut request = format!("ws://{}/graphql", server.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        let (mut socket, _) = connect_async(request).await.unwrap();
        for (kind, token, answer) in [("connection_init", &init, "connection_ack"), ("ping", &renewal, "pong")] {
            let payload = json!({ "Authorization": format!("Bearer {token}") });
            socket.send(Message::text(json!({ "type": kind, "payload": payload }).to_string())).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap().to_text().unwrap().contains(answer));
        }
        socket.close(None).await.unwrap();

        let here = format!("http://{}/graphql", server.address);
        // One that is refused, which is told at the level of debugging: so the filter lets that through.
        let refused = format!("{header}A");
        let asked = client.post(here).json(&json!({ "query": ME })).header(AUTHORIZATION, format!("Bearer {refused}"));
        assert_eq!(asked.send().await.unwrap().status(), 401);

        let log = server.end().await;
        assert!(log.contains("refused a token"), "{log}");
        for token in [header, source, init, renewal, refused] {
            for part in parts(&token) {
                let line = log.lines().find(|line| line.contains(&part));
                assert!(line.is_none(), "{filter}: {}", line.unwrap_or_default());
            }
        }
    }
}

#[tokio::test]
async fn the_log_says_for_whom_a_trusted_proxy_asks() {
    let database = TestDatabase::new().await;
    let variables = [("TASKWIRE_LOG", "debug"), ("TASKWIRE_TRUSTED_PROXY", "127.0.0.0/8")];
    let server = Logging::start(&database.url, &[], &variables).await;
    let refused = reqwest::Client::new()
        .get(format!("http://{}/graphql", server.address))
        .header("origin", "https://evil.example")
        .header("x-forwarded-for", "203.0.113.9")
        .header("x-request-id", "from-nginx-1")
        .send();
    assert_eq!(refused.await.unwrap().status(), 403);
    let line = server.told("refused a request from a foreign origin").await;
    assert!(line.contains("203.0.113.9") && line.contains("from-nginx-1"), "{line}");

    let mut request = format!("ws://{}/graphql", server.address).into_client_request().unwrap();
    request.headers_mut().insert("x-forwarded-for", "203.0.113.10".parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    while socket.next().await.is_some_and(|message| message.is_ok()) {}
    let line = server.told("closing a socket").await;
    assert!(line.contains("203.0.113.10"), "{line}");
    server.end().await;
}

#[tokio::test]
async fn a_server_that_is_left_open_says_so_where_everybody_reads_it() {
    let database = TestDatabase::new().await;
    let quiet = [("TASKWIRE_LOG", "error")];
    for (arguments, is_open) in [
        (&["--listen", "0.0.0.0:0", "--insecure"][..], true),
        (&["--public-host", "tasks.example.com"], true),
        (&[], false),
        (&["--listen", "0.0.0.0:0", "--jwt-secret", SECRET], false),
    ] {
        let server = Logging::start(&database.url, arguments, &quiet).await;
        assert_eq!(server.greeting.contains("INSECURE   nobody has to sign in"), is_open, "{}", server.greeting);
        server.end().await;
    }
    let loud = [("TASKWIRE_LOG", "warn")];
    let server = Logging::start(&database.url, &["--listen", "0.0.0.0:0", "--insecure"], &loud).await;
    assert!(server.end().await.contains("INSECURE: nobody has to sign in"));
}
